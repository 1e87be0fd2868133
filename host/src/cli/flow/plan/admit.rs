//! What files have to stand before anything of them is in force: the same as what comes over the interface.
//!
//! A vendor's component passes signature and policy, gate and robustness run, and gets what a person has approved; a flow
//! that requires shadow runs takes only what one has proven.

use std::collections::BTreeSet;
use std::sync::Arc;

use anyhow::{Context, bail};

use super::super::setup::Setup;
use crate::flow::{Account, CodeTable, Digest, Flow, FlowId, Release};
use crate::mapping::Runtime;
use crate::pipeline::activate::{self, Ready, Source};
use crate::pipeline::shadow::proof;
use crate::pipeline::upload::{self, Circumstances, Upload};
use crate::store::Store;
use crate::store::catalog::audit::Record;
use crate::store::catalog::{Listing, Snapshot};

/// Where flows of files come in.
pub(super) struct Door<'a> {
    runtime: &'a Arc<Runtime>,
    account: &'a Account,
    tables: &'a [CodeTable],
    /// Who takes components although they have findings.
    accepted_by: Option<String>,
    snapshot: Snapshot,
    /// Components that have been through it.
    known: BTreeSet<Digest>,
}

/// A flow that may come in.
pub(super) struct Admitted {
    pub(super) ready: Ready,
    pub(super) records: Vec<Record>,
}

impl<'a> Door<'a> {
    pub(super) async fn open(
        store: &Store,
        runtime: &'a Arc<Runtime>,
        account: &'a Account,
        tables: &'a [CodeTable],
        accepted_by: Option<String>,
    ) -> anyhow::Result<Self> {
        let catalog = store.catalog();
        let kept = catalog.components(&account.id).await?.into_iter();
        Ok(Self {
            runtime,
            account,
            tables,
            accepted_by,
            snapshot: catalog.load().await?,
            known: kept.map(|row| row.digest).collect(),
        })
    }

    /// Makes a flow of the files ready with what its files hold.
    pub(super) async fn admit(
        &mut self,
        flow: &mut Flow,
        source: Source,
        setup: &Setup,
    ) -> anyhow::Result<Admitted> {
        let of_flow = |id: &FlowId| *id == flow.id;
        let template = setup.templates.iter().find(|(id, _)| of_flow(id));
        let signature = setup.signatures.iter().find(|(id, _)| of_flow(id));
        let mut records = Vec::new();
        let mut examination = String::new();
        let source = match source {
            Source::Component(bytes) => {
                let signature = signature.map(|(_, signature)| signature.clone());
                let (bytes, signature) = upload::opened(bytes, signature)?;
                let digest = Digest::of(&bytes);
                if !self.known.contains(&digest) {
                    let circumstances = Circumstances {
                        account: self.account,
                        flow: Some(flow),
                        template: template.map(|(_, bytes)| bytes.as_slice()),
                        tables: self.tables,
                    };
                    let upload = Upload {
                        bytes: bytes.clone(),
                        signature,
                        accepted_by: self.accepted_by.clone(),
                    };
                    let examining = upload::examine(self.runtime, &circumstances, upload);
                    let taken = Box::pin(examining).await?;
                    records.extend(taken.record(&self.account.id));
                    examination = taken.examination.to_text();
                    self.known.insert(digest);
                }
                Source::Component(bytes)
            }
            source => source,
        };
        let preparing = activate::prepare(self.runtime, flow, source, self.tables);
        let mut ready = Box::pin(preparing).await?;
        ready.kept.examination = examination;
        let said = flow.choices.grants.clone();
        if let Err(more) = ready.approve(flow, said.as_ref(), self.active(flow)) {
            let wishes = activate::wishes(&more).join(", ");
            bail!(
                "the component asks for what nobody has approved yet: {wishes}. Write what it may have below \
                 [flows.choices.grants], as `ligature plugin inspect` shows it"
            );
        }
        Ok(Admitted { ready, records })
    }

    fn active(&self, flow: &Flow) -> Option<&Release> {
        let mut kept = self.snapshot.flows.iter();
        let kept = kept.find(|kept| kept.id == flow.id && kept.account == flow.account)?;
        self.snapshot.release(kept)
    }
}

/// The record of the shadow run that proves what the files put in force in a flow, where it takes nothing else.
pub(super) async fn proof(
    store: &Store,
    listing: &Listing,
    flow: &Flow,
    ready: Option<&Ready>,
) -> anyhow::Result<Option<Record>> {
    let mut flows = listing.flows.iter().map(|kept| &kept.document);
    let before = flows.find(|kept| kept.id == flow.id && kept.account == flow.account);
    let (Some(before), Some(ready)) = (before, ready) else {
        return Ok(None);
    };
    let proven = proof::any(store, before, &ready.release.digest()).await;
    let proven = proven.with_context(|| format!("flow {:?}", flow.name))?;
    Ok(proven.as_ref().map(proof::record))
}
