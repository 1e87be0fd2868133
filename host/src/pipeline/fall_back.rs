//! A flow goes back by itself to the release before when the one in force breaks too often.
//!
//! What counts is in the store: the deliveries whose last run ended with a trap or a limit. So it is the same on every host
//! and after every start. It happens once: a flow that went back stays where it is until a person puts a release in force.
//! Start at [`Pipeline::broke`].

use jiff::Timestamp;
use tracing::{error, warn};

use super::Pipeline;
use crate::flow::fall_back::FellBack;
use crate::flow::{Digest, Flow, FlowId, Release, Status};
use crate::store::catalog::audit::Record;
use crate::store::catalog::{Author, Change, Expected};
use crate::store::{self};

impl Pipeline {
    /// Looks whether a flow must go back, after a delivery of it broke with `release` and was settled.
    ///
    /// # Errors
    /// When the store does not answer; the next delivery that breaks looks again.
    pub(super) async fn broke(&self, flow: &FlowId, release: &Digest) -> Result<(), store::Error> {
        let configuration = self.configuration();
        let Some(route) = configuration.route(flow) else {
            return Ok(());
        };
        let (flow, journal) = (&route.flow, self.store.journal());
        let canary = flow.canary.as_ref();
        if canary.is_some_and(|canary| canary.release == *release) {
            return Box::pin(self.candidate_broke(flow)).await;
        }
        if let Some(gone_back) = &flow.fell_back {
            if gone_back.from == *release {
                // It was under way when the flow went back.
                journal.release_broken(&flow.account, release).await?;
            }
            return Ok(());
        }
        let settings = &flow.fall_back;
        let is_in_force = flow.release.as_ref() == Some(release);
        if !settings.on || !is_in_force || flow.status != Status::Active {
            return Ok(());
        }
        let now_ms = Timestamp::now().as_millisecond();
        let since_ms = now_ms.saturating_sub_unsigned(settings.window_ms);
        let failures = journal.broken(&flow.account, release, since_ms).await?;
        if failures < u64::from(settings.failures) {
            return Ok(());
        }
        let Some((digest, good)) = Box::pin(self.last_good(flow, release)).await? else {
            if failures == u64::from(settings.failures) {
                warn!(flow = %flow.id, release = %release, failures, "the release breaks, and there is none to go back to");
            }
            return Ok(());
        };
        let catalog = self.store.catalog();
        let mut flows = catalog.list().await?.flows.into_iter();
        let kept = flows.find(|kept| {
            kept.document.id == flow.id
                && kept.document.account == flow.account
                && kept.document.release.as_ref() == Some(release)
        });
        // Somebody was quicker.
        let Some(kept) = kept else { return Ok(()) };
        let back = Flow {
            release: Some(digest.clone()),
            choices: good.choices(),
            fell_back: Some(FellBack {
                from: release.clone(),
                at: Timestamp::now().to_string(),
                failures,
            }),
            ..kept.document
        };
        let id = back.id.clone();
        let record = Record::of("fall-back", back.account.as_str(), "flow", id.as_str());
        let changes = [
            Change::Note(record),
            Change::Flow(Box::new(back), Expected::Version(kept.version)),
        ];
        match catalog.apply(&changes, &Author::host()).await {
            Ok(_) => {
                error!(flow = %id, from = %release, to = %digest, failures, "the release broke too often: the flow went back to the one before");
                // What failed is queued again when it is in force, see `configuration::keep`.
                self.changed();
                Ok(())
            }
            Err(store::Error::Conflict { .. }) => Ok(()),
            Err(fault) => Err(fault),
        }
    }

    /// The release that was in force last before `bad` and has not broken as often.
    async fn last_good(
        &self,
        flow: &Flow,
        bad: &Digest,
    ) -> Result<Option<(Digest, Release)>, store::Error> {
        let catalog = self.store.catalog();
        let versions = catalog.flow_versions(&flow.account, &flow.id).await?;
        let mut seen = vec![bad.clone()];
        for version in versions {
            let Some(digest) = version.flow.release else {
                continue;
            };
            // A draft's release was never in force.
            if version.flow.status == Status::Draft || seen.contains(&digest) {
                continue;
            }
            seen.push(digest.clone());
            let journal = self.store.journal();
            let broken = journal.broken(&flow.account, &digest, 0).await?;
            if broken >= u64::from(flow.fall_back.failures) {
                continue;
            }
            if let Some(release) = catalog.release(&flow.account, &digest).await? {
                return Ok(Some((digest, release)));
            }
        }
        Ok(None)
    }
}
