//! What stands beside flows in force: drafts, limits of components, mapping documents that flows share, and who is told of
//! faults.

use anyhow::{Context, bail};

use super::super::setup::Setup;
use super::{Becomes, Plan};
use crate::flow::alert::Settings;
use crate::flow::shared::SharedMapping;
use crate::flow::{Digest, Flow, FlowId};
use crate::mapping::document::Document;
use crate::mapping::generate;
use crate::pipeline::activate::Ready;
use crate::store::Store;
use crate::store::catalog::{Change, Expected, Kept, Listing};

impl Plan {
    /// A draft is saved with what its files hold, and nothing of it is in force.
    pub(super) async fn draft(
        &mut self,
        mut flow: Flow,
        ready: Ready,
        listing: &Listing,
        store: &Store,
    ) -> anyhow::Result<()> {
        let what = format!("flow {}", flow.id);
        let mut flows = listing.flows.iter();
        let is_it = |kept: &&Kept<Flow>| {
            kept.document.account == flow.account && kept.document.id == flow.id
        };
        let known = flows.find(is_it);
        flow.release = known.and_then(|known| known.document.release.clone());
        flow.canary = known.and_then(|known| known.document.canary.clone());
        flow.fell_back = None;
        let digest = ready.release.digest();
        let is_kept = store.catalog().release(&flow.account, &digest).await?;
        let expected = match self.compare(&what, known, &flow) {
            Some(expected) => Some(expected),
            None if is_kept.is_some() => return Ok(()),
            None => {
                let saved = format!("saved with release {digest}");
                self.lines.pop();
                self.say(what, Becomes::Changed(vec![saved]));
                None
            }
        };
        let account = flow.account.clone();
        self.changes.extend([
            Change::Component(account.clone(), ready.kept),
            Change::Release(account, ready.release),
        ]);
        let flow = expected.map(|expected| Change::Flow(Box::new(flow), expected));
        self.changes.extend(flow);
        Ok(())
    }

    /// Those of `components`, each of a flow; what the files do not name stays.
    pub(super) async fn limits(
        &mut self,
        setup: &Setup,
        components: &[(FlowId, Digest)],
        store: &Store,
    ) -> anyhow::Result<()> {
        let account = &setup.account.id;
        for (flow, limits) in &setup.limits {
            let what = format!("limits of the component of flow {flow}");
            if let Some(fault) = limits.faults().first() {
                bail!("{what}: {fault}");
            }
            let component = components.iter().find(|(id, _)| id == flow);
            let (_, component) = component.with_context(|| format!("{what}: it has none"))?;
            let known = store.catalog().component_limits(account, component).await?;
            if known == *limits {
                self.say(what, Becomes::Unchanged);
                continue;
            }
            self.say(what, Becomes::Changed(Vec::new()));
            let change = Change::Limits(account.clone(), component.clone(), *limits);
            self.changes.push(change);
        }
        Ok(())
    }

    /// The documents alone: each flow of the files has a mapping of its own in force.
    pub(super) async fn shared_mappings(
        &mut self,
        setup: &Setup,
        flows: &[Flow],
        store: &Store,
    ) -> anyhow::Result<()> {
        for (name, text) in &setup.shared_mappings {
            let what = format!("shared mapping {name}");
            let mut sharers = flows.iter();
            if !sharers.any(|flow| flow.shared_mapping.as_ref() == Some(name)) {
                bail!("{what}: no flow of the files has shared_mapping = {name:?}");
            }
            let document = Document::parse(text).map_err(|faults| {
                let faults: Vec<_> = faults.iter().map(ToString::to_string).collect();
                anyhow::anyhow!("{what} has faults:\n  {}", faults.join("\n  "))
            })?;
            let bytes = generate::component(&document).with_context(|| what.clone())?;
            let new = SharedMapping {
                account: setup.account.id.clone(),
                name: name.clone(),
                mapping: document.to_text(),
                component: Digest::of(&bytes),
            };
            let known = store.catalog().shared_mapping(&new.account, name).await?;
            if let Some(expected) = self.compare(&what, known.as_ref(), &new) {
                self.changes.push(Change::SharedMapping(new, expected));
            }
        }
        Ok(())
    }

    /// They are the host's: where it has other accounts, files of one do not decide them.
    pub(super) async fn alerts(
        &mut self,
        setup: &Setup,
        listing: &Listing,
        store: &Store,
    ) -> anyhow::Result<()> {
        let Some(settings) = &setup.alerts else {
            return Ok(());
        };
        let what = "alerts".to_owned();
        let mut accounts = listing.accounts.iter().map(|kept| &kept.document.id);
        if accounts.any(|id| *id != setup.account.id) {
            let text = "this host has other accounts, whose alerts they are as well: they stay as they are";
            self.say(what, Becomes::Warning(text.into()));
            return Ok(());
        }
        if let Some(fault) = settings.faults().first() {
            bail!("alerts.{fault}");
        }
        let known = store.alerts().settings().await?;
        let new = Settings {
            // An export leaves it out, as it does the mail server's password.
            webhook: settings.webhook.clone().or(known.document.webhook.clone()),
            ..settings.clone()
        };
        if let Some(Expected::Version(seen)) = self.compare(&what, Some(&known), &new) {
            self.changes.push(Change::Alerts(Box::new(new), seen));
        }
        Ok(())
    }
}
