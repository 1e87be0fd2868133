//! Whether stored messages still come to what was recorded of them, a window at a time.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::{Subject, Tried, against, is_same};
use crate::flow::{AccountId, DeliveryId, FlowId};
use crate::mapping::compare::Verdict;
use crate::pipeline::Pipeline;
use crate::pipeline::account::Error;
use crate::store::journal::Window;

/// Mismatches that are named; more are counted.
const MOST_NAMED: usize = 100;

/// Deliveries that are verified at once.
const PART: usize = 250;

/// How far back is looked where nobody says.
const DAY_MS: i64 = 24 * 60 * 60 * 1_000;

/// Whether stored messages still come to what was recorded, a part of a window at a time.
#[derive(Debug, Clone, PartialEq, Default, Serialize, ToSchema)]
pub struct Verified {
    /// Runs that were made again.
    pub checked: u64,
    pub same: u64,
    pub different: u64,
    /// Deliveries that cannot be compared, by reason.
    pub not_compared: BTreeMap<String, u64>,
    /// The first of those that differ.
    pub mismatches: Vec<Mismatch>,
    /// What to send as `after` for the next part; none at the end.
    pub next: Option<String>,
}

/// A run that came to something else than was recorded.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Mismatch {
    pub delivery: String,
    pub flow: String,
    pub release: String,
    pub recorded: String,
    pub outcome: String,
    /// The fields that differ.
    pub fields: Vec<String>,
}

/// What is to be verified.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Asked {
    /// The account; needed where there are several.
    pub account: Option<String>,
    /// Deliveries of one flow; all if left out.
    pub flow: Option<String>,
    /// Messages that came from then on, RFC 3339; the last 24 hours if left out.
    pub from: Option<String>,
    /// Messages that came before then, RFC 3339; now if left out.
    pub to: Option<String>,
    /// Deliveries of one part, up to 500; 250 if left out.
    pub limit: Option<usize>,
}

impl Pipeline {
    /// Verifies a part of what is asked for, behind `after`.
    ///
    /// # Errors
    /// `Refused` says what of it has no meaning.
    pub async fn verify_asked(
        &self,
        asked: &Asked,
        after: Option<&DeliveryId>,
    ) -> Result<Verified, Error> {
        let configuration = self.configuration();
        let account = match &asked.account {
            Some(account) => account.as_str().into(),
            None => {
                let mut accounts = configuration.accounts();
                match (accounts.next(), accounts.next()) {
                    (Some(only), None) => only.clone(),
                    _ => return Err(Error::Refused("say which account".into())),
                }
            }
        };
        let window = Window::of(
            asked.flow.as_deref().map(FlowId::from),
            asked.from.as_deref(),
            asked.to.as_deref(),
        )?;
        let limit = asked.limit.unwrap_or(PART).clamp(1, 2 * PART);
        Box::pin(self.verify(&account, &window, after, limit)).await
    }

    /// Runs up to `limit` deliveries of a window behind `after` again, each through the release of its record.
    ///
    /// # Errors
    /// When the store does not answer, or a component cannot be loaded.
    pub async fn verify(
        &self,
        account: &AccountId,
        window: &Window,
        after: Option<&DeliveryId>,
        limit: usize,
    ) -> Result<Verified, Error> {
        let configuration = self.configuration();
        let journal = self.store.journal();
        let mut releases = self.releases()?;
        let mut verified = Verified::default();
        let found = journal.stored(account, window, after, limit).await?;
        if found.len() == limit {
            verified.next = found.last().map(|last| last.delivery.to_string());
        }
        for stored in &found {
            // What never ran has nothing to be compared with.
            let Some(ran) = &stored.ran else { continue };
            let mut leave = |why: &str| {
                let count = verified.not_compared.entry(why.to_owned()).or_default();
                *count += 1;
            };
            // How long a run takes, and what the host could not do, is no matter of its release.
            if ["mapping-timed-out", "mapping-host"].contains(&ran.outcome.as_str()) {
                leave(&ran.outcome);
                continue;
            }
            let subject = match Subject::of(&configuration, stored) {
                Ok(subject) => subject,
                Err(why) => {
                    leave(why);
                    continue;
                }
            };
            let Some(route) = configuration.route(&ran.flow) else {
                leave("flow-gone");
                continue;
            };
            let Some(in_force) = releases.get(&route.flow, &ran.release).await? else {
                leave("release-gone");
                continue;
            };
            let now = Tried::of(&releases.runtime, &subject, &in_force).await?;
            verified.checked += 1;
            if is_same(ran, &now.answer) {
                verified.same += 1;
                continue;
            }
            verified.different += 1;
            if verified.mismatches.len() < MOST_NAMED {
                let differ = against(ran, &now.answer);
                let differ = differ.into_iter().filter(|it| it.change != Verdict::Same);
                verified.mismatches.push(Mismatch {
                    delivery: stored.delivery.to_string(),
                    flow: ran.flow.to_string(),
                    release: ran.release.to_string(),
                    recorded: ran.outcome.clone(),
                    outcome: now.answer.outcome.into(),
                    fields: differ.map(|it| it.field).collect(),
                });
            }
        }
        Ok(verified)
    }
}

impl Window {
    /// Of times as people write them; the last 24 hours where they say nothing.
    ///
    /// # Errors
    /// `Refused` for what is no time.
    pub(in crate::pipeline) fn of(
        flow: Option<FlowId>,
        from: Option<&str>,
        to: Option<&str>,
    ) -> Result<Self, Error> {
        let at_ms = |text: &str| match text.parse::<Timestamp>() {
            Ok(at) => Ok(at.as_millisecond()),
            Err(_) => Err(Error::Refused(format!(
                "{text:?} is no time such as 2026-01-31T00:00:00Z"
            ))),
        };
        let to_ms = match to {
            Some(to) => at_ms(to)?,
            // What has just come belongs to now.
            None => Timestamp::now().as_millisecond() + 1,
        };
        Ok(Self {
            flow,
            from_ms: from.map(at_ms).transpose()?.unwrap_or(to_ms - DAY_MS),
            to_ms,
        })
    }
}
