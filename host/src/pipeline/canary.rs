//! A candidate release that serves some of a flow's patients: whom, what came of it, and that it ends by itself.
//!
//! Which of the two releases a delivery runs with is decided by its lane alone, see
//! [`Route::serving`](super::configuration::Route::serving). A candidate that breaks too often serves nobody any more, by
//! the flow's own settings of falling back, and what it broke on runs again with the release in force.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;
use tracing::error;
use utoipa::ToSchema;

use super::Pipeline;
use super::account::Error;
use crate::flow::canary::Canary;
use crate::flow::fall_back::FellBack;
use crate::flow::{DeliveryId, Digest, Flow};
use crate::store::catalog::audit::Record;
use crate::store::catalog::{Author, Change, Expected};
use crate::store::{self};

/// Lanes that are named one by one.
const MOST_LANES: usize = 1_000;

/// Figures go back at most so far.
const DAY_MS: i64 = 24 * 60 * 60 * 1_000;

/// A candidate, and what came of it beside the release in force.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Standing {
    pub canary: Canary,
    /// Messages that came since then are counted: since the candidate began, at most for a day.
    pub since: String,
    pub candidate: Figures,
    pub in_force: Figures,
}

/// What became of the deliveries that ran last with a release.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Figures {
    pub release: Option<Digest>,
    pub deliveries: u64,
    /// Those that it ended with a trap or a limit.
    pub broke: u64,
    /// By state: `delivered`, `skipped`, `parked`, ...
    pub states: BTreeMap<String, u64>,
    /// By how the mapping ended: `wrote`, `skipped`, `mapping-refused`, ...
    pub outcomes: BTreeMap<String, u64>,
}

impl Pipeline {
    /// A candidate of `flow` for some of a hundred lanes, and for the patients of some deliveries.
    ///
    /// # Errors
    /// `Refused` says what of it has no meaning.
    pub async fn canary(
        &self,
        flow: &Flow,
        release: Digest,
        percent: u8,
        deliveries: &[DeliveryId],
    ) -> Result<Canary, Error> {
        let refuse = |text: &str| Err(Error::Refused(text.into()));
        if flow.release.is_none() || flow.release.as_ref() == Some(&release) {
            return refuse("a candidate is beside another release that is in force");
        }
        if percent > 100 {
            return refuse("percent is 0 to 100");
        }
        let known = flow.canary.as_ref();
        let known = known.filter(|known| known.release == release && known.ended.is_none());
        let mut lanes = known.map(|known| known.lanes.clone()).unwrap_or_default();
        for delivery in deliveries {
            let of_delivery = self
                .store
                .journal()
                .lane_of(&flow.account, delivery)
                .await?;
            let Some(lane) = of_delivery else {
                return refuse(&format!("there is no delivery {delivery}"));
            };
            let name = Canary::name(&lane);
            if !lanes.contains(&name) {
                lanes.push(name);
            }
        }
        if lanes.len() > MOST_LANES {
            return refuse(&format!("at most {MOST_LANES} patients are named"));
        }
        if percent == 0 && lanes.is_empty() {
            return refuse("it would serve nobody: say a percent, or name deliveries of patients");
        }
        let now = || Timestamp::now().to_string();
        Ok(Canary {
            release,
            percent,
            lanes,
            since: known.map_or_else(now, |known| known.since.clone()),
            ended: None,
        })
    }

    /// How the candidate of a flow does beside the release in force; none where there is none.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn canary_standing(&self, flow: &Flow) -> Result<Option<Standing>, store::Error> {
        let Some(canary) = flow.canary.clone() else {
            return Ok(None);
        };
        let now_ms = Timestamp::now().as_millisecond();
        let since_ms = began_ms(&canary).max(now_ms - DAY_MS);
        let journal = self.store.journal();
        let counts = journal.ran_since(&flow.account, &flow.id, since_ms).await?;
        let figures = |release: Option<&Digest>| {
            let mut figures = Figures {
                release: release.cloned(),
                ..Figures::default()
            };
            let of_release = counts
                .iter()
                .filter(|count| Some(count.release.as_str()) == release.map(Digest::as_str));
            for one in of_release {
                figures.deliveries += one.count;
                figures.broke += if one.broke { one.count } else { 0 };
                *figures.states.entry(one.state.clone()).or_default() += one.count;
                *figures.outcomes.entry(one.outcome.clone()).or_default() += one.count;
            }
            figures
        };
        Ok(Some(Standing {
            since: Timestamp::from_millisecond(since_ms)
                .unwrap_or_default()
                .to_string(),
            candidate: figures(Some(&canary.release)),
            in_force: figures(flow.release.as_ref()),
            canary,
        }))
    }

    /// Looks whether the candidate of `flow` must end, after a delivery broke with it and was settled.
    pub(super) async fn candidate_broke(&self, flow: &Flow) -> Result<(), store::Error> {
        let Some(canary) = &flow.canary else {
            return Ok(());
        };
        let (release, journal) = (&canary.release, self.store.journal());
        if canary.ended.is_some() {
            // It was under way when the candidate ended.
            journal.release_broken(&flow.account, release).await?;
            return Ok(());
        }
        let settings = &flow.fall_back;
        if !settings.on {
            return Ok(());
        }
        let now = Timestamp::now();
        let window_ms = now
            .as_millisecond()
            .saturating_sub_unsigned(settings.window_ms);
        let since_ms = began_ms(canary).max(window_ms);
        let failures = journal.broken(&flow.account, release, since_ms).await?;
        if failures < u64::from(settings.failures) {
            return Ok(());
        }
        let catalog = self.store.catalog();
        let mut flows = catalog.list().await?.flows.into_iter();
        let kept = flows.find(|kept| {
            kept.document.id == flow.id
                && kept.document.account == flow.account
                && kept.document.candidate() == Some(release)
        });
        // Somebody was quicker.
        let Some(kept) = kept else { return Ok(()) };
        let mut ended = kept.document;
        if let Some(canary) = &mut ended.canary {
            canary.ended = Some(FellBack {
                from: release.clone(),
                at: now.to_string(),
                failures,
            });
        }
        let record = Record::of(
            "end-canary",
            flow.account.as_str(),
            "flow",
            flow.id.as_str(),
        );
        let changes = [
            Change::Note(record),
            Change::Flow(Box::new(ended), Expected::Version(kept.version)),
        ];
        match catalog.apply(&changes, &Author::host()).await {
            Ok(_) => {
                error!(flow = %flow.id, %release, failures, "the candidate broke too often: it serves nobody any more");
                // What failed is queued again when it is in force, see `configuration::keep`.
                self.changed();
                Ok(())
            }
            Err(store::Error::Conflict { .. }) => Ok(()),
            Err(fault) => Err(fault),
        }
    }
}

fn began_ms(canary: &Canary) -> i64 {
    let began: Option<Timestamp> = canary.since.parse().ok();
    began.unwrap_or_default().as_millisecond()
}
