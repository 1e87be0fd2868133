//! Which release of a flow changed what a field gets of a message: halved, not walked through.
//!
//! What the recorded run came to is known without running it, so among 64 releases six runs find the first that comes to
//! the same. Start at [`Pipeline::bisect`].

use serde::Serialize;
use utoipa::ToSchema;

use super::Pipeline;
use super::account::Error;
use super::activate;
use super::replay::{Subject, Tried};
use crate::flow::ran::{Print, Ran, WROTE};
use crate::flow::{Digest, Flow, Release, Status};
use crate::mapping::compare::Answer;
use crate::store::journal::Stored;

/// Where a field's value comes from.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Bisected {
    pub delivery: String,
    pub field: String,
    /// Releases that were in question.
    pub releases: u64,
    /// Runs that were made.
    pub runs: u64,
    /// The release since which it is so; the first one where it was never otherwise.
    pub since: String,
    /// When that release came into force first, RFC 3339.
    pub at: String,
    /// The release before it; none where it was never otherwise.
    pub before: Option<String>,
    /// What the release changed: component, grants, field, setting, version of a code table.
    pub changes: Vec<String>,
}

/// A release and when it came into force first.
struct Step {
    digest: Digest,
    at_ms: i64,
}

/// What a run came to for one field: how it ended, and the fingerprint of the value.
type Came = (String, Option<u64>);

fn came(answer: &Answer, field: &str) -> Came {
    let value = answer.fields.get(field).filter(|_| answer.wrote());
    let print = value.map(|value| Print::of(field, &value.to_string()).value);
    (answer.outcome.into(), print)
}

fn recorded(ran: &Ran, field: &str) -> Came {
    let name = Print::name(field);
    let mut prints = ran.prints.iter().filter(|_| ran.outcome == WROTE);
    let print = prints.find(|print| print.name == name);
    (ran.outcome.clone(), print.map(|print| print.value))
}

impl Pipeline {
    /// Finds the release since which `field` gets of a stored message what it got when it was carried out, or with `bad`.
    ///
    /// Releases are in the order in which they came into force first. Where a value came and went several times, one of
    /// its beginnings is found.
    ///
    /// # Errors
    /// `Refused` says what is no longer kept.
    pub async fn bisect(
        &self,
        stored: &Stored,
        field: &str,
        bad: Option<&Digest>,
    ) -> Result<Bisected, Error> {
        let configuration = self.configuration();
        let refuse = |text: String| Error::Refused(text);
        let id = &stored.delivery;
        let ran = stored.ran.as_ref();
        let bad = bad.or(ran.map(|ran| &ran.release));
        let bad =
            bad.ok_or_else(|| refuse(format!("delivery {id} has not run: say which release")))?;
        let flow_id = ran.map_or(&stored.flow, |ran| &ran.flow);
        let route = configuration.route(flow_id);
        let route = route.ok_or_else(|| refuse(format!("there is no flow {flow_id} any more")))?;
        let subject = Subject::of(&configuration, stored)
            .map_err(|why| refuse(format!("delivery {id} cannot be run again: {why}")))?;
        let steps = self.steps(&route.flow).await?;
        let last = steps.iter().position(|step| step.digest == *bad);
        let last = last.ok_or_else(|| {
            refuse(format!(
                "release {bad} was never in force in flow {flow_id}"
            ))
        })?;

        let mut releases = self.releases()?;
        let mut runs = 0;
        let mut run = async |digest: &Digest| -> Result<Came, Error> {
            let ready = releases.get(&route.flow, digest).await?;
            let ready =
                ready.ok_or_else(|| refuse(format!("release {digest} is no longer kept")))?;
            runs += 1;
            let tried = Tried::of(&releases.runtime, &subject, &ready).await?;
            Ok(came(&tried.answer, field))
        };
        let wanted = match ran.filter(|ran| ran.release == *bad) {
            Some(ran) => recorded(ran, field),
            None => Box::pin(run(bad)).await?,
        };
        let (mut low, mut high) = (0, last);
        while low < high {
            let middle = (low + high) / 2;
            match Box::pin(run(&steps[middle].digest)).await? == wanted {
                true => high = middle,
                false => low = middle + 1,
            }
        }
        let before = low.checked_sub(1).map(|at| &steps[at].digest);
        let changes = match before {
            Some(before) => {
                let before = self.kept_release(&route.flow, before).await?;
                let since = self.kept_release(&route.flow, &steps[low].digest).await?;
                activate::differences(Some(&before), &since)
            }
            None => Vec::new(),
        };
        Ok(Bisected {
            delivery: id.to_string(),
            field: field.into(),
            releases: last as u64 + 1,
            runs,
            since: steps[low].digest.to_string(),
            at: jiff::Timestamp::from_millisecond(steps[low].at_ms)
                .unwrap_or_default()
                .to_string(),
            before: before.map(ToString::to_string),
            changes,
        })
    }

    /// The releases of a flow in the order in which they came into force first.
    async fn steps(&self, flow: &Flow) -> Result<Vec<Step>, Error> {
        let catalog = self.store.catalog();
        let versions = catalog.flow_versions(&flow.account, &flow.id).await?;
        let mut steps: Vec<Step> = Vec::new();
        for version in versions.into_iter().rev() {
            let Some(digest) = version.flow.release else {
                continue;
            };
            let is_known = steps.iter().any(|step| step.digest == digest);
            if version.flow.status == Status::Draft || is_known {
                continue;
            }
            steps.push(Step {
                digest,
                at_ms: version.created_at_ms,
            });
        }
        Ok(steps)
    }

    async fn kept_release(&self, flow: &Flow, digest: &Digest) -> Result<Release, Error> {
        let release = self.store.catalog().release(&flow.account, digest).await?;
        release.ok_or_else(|| Error::Refused(format!("release {digest} is no longer kept")))
    }
}
