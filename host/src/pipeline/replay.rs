//! Stored messages through any release of their flow, without any effect, and what came of it beside what was recorded.
//!
//! A run is given what the recorded one was given: the message as it was kept, the identifier that had been replaced, the
//! fields that had been read, the flow's facts of then, and the code tables of the release. Fuel is counted instead of a
//! deadline, so that a busy machine changes nothing. Start at [`Pipeline::replay`]; whole windows are in [`verify`].

pub mod verify;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value as Json;
use utoipa::ToSchema;

use super::account::Error;
use super::configuration::{Configuration, InForce};
use super::{Pipeline, compose};
use crate::flow::change::Change;
use crate::flow::ran::{Given, Print, Ran, SKIPPED, WROTE};
use crate::flow::{DeliveryId, Digest, Direction, Flow, Release};
use crate::hl7;
use crate::mapping::compare::{Answer, Verdict, compare};
use crate::mapping::lineage::On;
use crate::mapping::native::Facts;
use crate::mapping::{ChangeInput, Failure, Input, Run, Runtime, Tables};
use crate::store::Store;
use crate::store::journal::Stored;

/// One stored message through one release.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Replay {
    pub delivery: String,
    pub message: String,
    pub flow: String,
    /// The release that ran now.
    pub release: String,
    /// What ran when the delivery was carried out; none if nothing has.
    pub recorded: Option<Recorded>,
    /// `wrote`, `skipped`, or the code of a failure.
    pub outcome: String,
    /// Whether everything is as it was recorded; none if nothing was.
    pub is_same: Option<bool>,
    /// Every field that either wrote.
    pub fields: Vec<FieldReplay>,
    /// Instructions that the run took; the same on any machine.
    pub fuel: u64,
    pub duration_us: u64,
}

/// What was recorded of a delivery's last run.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Recorded {
    pub release: String,
    /// RFC 3339.
    pub at: String,
    pub outcome: String,
}

/// What became of one field.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct FieldReplay {
    /// `lead.LastName`, `activity.mx_Custom_1`, `PID-5.1`; `?` for one whose name is not known any more.
    pub field: String,
    pub change: Verdict,
    /// Only for those who may see patient data.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub was: Option<Json>,
    /// Only for those who may see patient data.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub now: Option<Json>,
}

/// What a mapping runs on; clones share it.
#[derive(Debug, Clone)]
pub(super) struct Subject {
    what: What,
    given: Given,
    event: String,
    received_at_ms: i64,
}

#[derive(Debug, Clone)]
enum What {
    Message(Arc<hl7::Message>),
    Change(Arc<Change>),
}

/// One run and its price.
#[derive(Debug)]
pub(super) struct Tried {
    pub(super) answer: Answer,
    pub(super) fuel: u64,
    pub(super) duration: Duration,
}

impl<T> From<Run<T>> for Tried
where
    for<'a> Answer: From<&'a Result<T, Failure>>,
{
    fn from(run: Run<T>) -> Self {
        Self {
            answer: Answer::from(&run.outcome),
            fuel: run.fuel.unwrap_or(0),
            duration: run.duration,
        }
    }
}

/// Releases made ready to run with their fuel counted.
#[derive(Debug)]
pub(super) struct Releases {
    store: Store,
    pub(super) runtime: Arc<Runtime>,
    ready: BTreeMap<Digest, Option<InForce>>,
}

impl Releases {
    /// A release of `flow`; none where it, or what it names, is no longer kept.
    pub(super) async fn get(
        &mut self,
        flow: &Flow,
        digest: &Digest,
    ) -> Result<Option<InForce>, Error> {
        if let Some(known) = self.ready.get(digest) {
            return Ok(known.clone());
        }
        let release = self.store.catalog().release(&flow.account, digest).await?;
        let ready = match release.filter(|release| release.flow == flow.id) {
            Some(release) => {
                let loading = InForce::load(&self.store, &self.runtime, flow, release);
                let loaded = Box::pin(loading).await;
                Some(loaded.map_err(|fault| Error::Refused(format!("{fault:#}")))?)
            }
            None => None,
        };
        self.ready.insert(digest.clone(), ready.clone());
        Ok(ready)
    }
}

impl Subject {
    /// What a stored delivery's mapping ran on, or why it cannot be made again.
    pub(super) fn of(configuration: &Configuration, stored: &Stored) -> Result<Self, &'static str> {
        let payload = stored.payload.as_deref().ok_or("payload-gone")?;
        let route = configuration.route(&stored.flow);
        let is_change = stored.direction == Direction::LeadSquaredToEhr;
        let given = match (&stored.ran, route) {
            (Some(ran), _) => ran.given.clone(),
            (None, Some(route)) if is_change => route.given_of_change(),
            (None, Some(route)) => route.given(configuration, &stored.channel),
            (None, None) => return Err("flow-gone"),
        };
        let what = match is_change {
            true => {
                // Before a run nothing may have been read: what the webhook left out would be missed.
                if stored.ran.is_none() {
                    return Err("not-run");
                }
                let change = compose::stored_change(&stored.event, payload, stored.read.as_deref());
                What::Change(Arc::new(change.ok_or("unreadable")?))
            }
            false => {
                let reading = hl7::Options {
                    charset: given.charset,
                    join_lines: given.join_lines,
                    ..hl7::Options::default()
                };
                let message = hl7::Message::parse_with(payload, reading);
                let mut message = message.map_err(|_| "unreadable")?;
                if let Some((from, to)) = &given.replaced {
                    let rule = configuration.patient_key(&stored.channel);
                    rule.replace(&mut message, from, to);
                }
                What::Message(Arc::new(message))
            }
        };
        Ok(Self {
            what,
            given,
            event: stored.event.clone(),
            received_at_ms: stored.received_at_ms,
        })
    }

    /// What a document runs on natively.
    pub(super) fn on(&self) -> On<'_> {
        match &self.what {
            What::Message(message) => On::Message(message),
            What::Change(change) => On::Change(change),
        }
    }

    /// What a document is told beside it.
    pub(super) fn facts(&self, release: &Release, tables: &Tables) -> Facts {
        let received_at = Timestamp::from_millisecond(self.received_at_ms).unwrap_or_default();
        Facts {
            channel: self.given.channel.clone(),
            ..Facts::of(release, tables, &self.event, received_at)
        }
    }

    /// Runs a release on it, on this thread.
    pub(super) fn run(&self, runtime: &Runtime, in_force: &InForce) -> Tried {
        let component = in_force.component.clone();
        let release = in_force.release.clone();
        let tables = in_force.tables.clone();
        let Given {
            time_zone,
            country_code,
            channel,
            ..
        } = self.given.clone();
        match &self.what {
            What::Message(message) => {
                let input = Input {
                    message: message.clone(),
                    release,
                    tables,
                    event: self.event.clone(),
                    received_at_ms: self.received_at_ms,
                    time_zone,
                    default_country_code: country_code,
                    channel,
                };
                runtime.run(component, input).into()
            }
            What::Change(change) => {
                let input = ChangeInput {
                    change: change.clone(),
                    release,
                    tables,
                    received_at_ms: self.received_at_ms,
                    time_zone,
                    default_country_code: country_code,
                    channel,
                };
                runtime.compose(component, input).into()
            }
        }
    }
}

impl Tried {
    /// Runs a release on a thread for blocking work.
    pub(super) async fn of(
        runtime: &Arc<Runtime>,
        subject: &Subject,
        in_force: &InForce,
    ) -> Result<Self, Error> {
        let (runtime, subject, in_force) = (runtime.clone(), subject.clone(), in_force.clone());
        tokio::task::spawn_blocking(move || subject.run(&runtime, &in_force))
            .await
            .map_err(|_| Error::Refused("the host could not run the component".into()))
    }
}

impl Pipeline {
    /// Makes releases ready on the engine that counts fuel.
    pub(super) fn releases(&self) -> Result<Releases, Error> {
        let runtime = self.runtime.metered();
        Ok(Releases {
            store: self.store.clone(),
            runtime: runtime.map_err(|fault| Error::Refused(fault.to_string()))?,
            ready: BTreeMap::new(),
        })
    }

    /// Runs a stored message again through `release`, or the one that it was carried out with, and compares.
    ///
    /// Nothing is written anywhere. Values are part of the answer only `with_values`.
    ///
    /// # Errors
    /// `Refused` says what is no longer kept.
    pub async fn replay(
        &self,
        stored: &Stored,
        release: Option<&Digest>,
        with_values: bool,
    ) -> Result<Replay, Error> {
        let configuration = self.configuration();
        let refuse = |text: String| Error::Refused(text);
        let id = &stored.delivery;
        let subject = Subject::of(&configuration, stored)
            .map_err(|why| refuse(format!("delivery {id} cannot be run again: {}", words(why))))?;
        let ran = stored.ran.as_ref();
        let flow_id = ran.map_or(&stored.flow, |ran| &ran.flow);
        let route = configuration
            .route(flow_id)
            .ok_or_else(|| refuse(format!("there is no flow {flow_id} any more")))?;
        let own = route.in_force.as_ref().map(|in_force| &in_force.digest);
        let release = release.or(ran.map(|ran| &ran.release)).or(own);
        let release =
            release.ok_or_else(|| refuse(format!("flow {flow_id} has no release yet")))?;
        let mut releases = self.releases()?;
        let in_force = releases.get(&route.flow, release).await?;
        let in_force =
            in_force.ok_or_else(|| refuse(format!("flow {flow_id} has no release {release}")))?;
        let now = Tried::of(&releases.runtime, &subject, &in_force).await?;
        // What it was before is made again, too: fingerprints alone were kept.
        let before = match ran {
            Some(ran) if ran.release != *release => {
                match releases.get(&route.flow, &ran.release).await? {
                    Some(before) => {
                        let tried = Tried::of(&releases.runtime, &subject, &before).await?;
                        Some(tried.answer).filter(|answer| is_same(ran, answer))
                    }
                    None => None,
                }
            }
            _ => None,
        };
        let fields = match (&before, ran) {
            (Some(before), _) => {
                let compared = compare(before, &now.answer).into_iter();
                compared
                    .map(|(field, change)| FieldReplay {
                        field: field.into(),
                        change,
                        was: before.fields.get(field).cloned(),
                        now: now.answer.fields.get(field).cloned(),
                    })
                    .collect()
            }
            (None, Some(ran)) => against(ran, &now.answer),
            (None, None) => fresh(&now.answer),
        };
        Ok(Replay {
            delivery: id.to_string(),
            message: stored.message.to_string(),
            flow: flow_id.to_string(),
            release: release.to_string(),
            recorded: ran.map(|ran| Recorded {
                release: ran.release.to_string(),
                at: Timestamp::from_millisecond(ran.at_ms)
                    .unwrap_or_default()
                    .to_string(),
                outcome: ran.outcome.clone(),
            }),
            outcome: now.answer.outcome.into(),
            is_same: ran.map(|ran| is_same(ran, &now.answer)),
            fields: match with_values {
                true => fields,
                false => fields
                    .into_iter()
                    .map(|field| FieldReplay {
                        was: None,
                        now: None,
                        ..field
                    })
                    .collect(),
            },
            fuel: now.fuel,
            duration_us: u64::try_from(now.duration.as_micros()).unwrap_or(u64::MAX),
        })
    }

    /// A delivery of any account, with what its mapping ran on.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn stored_anywhere(&self, delivery: &DeliveryId) -> Result<Option<Stored>, Error> {
        let configuration = self.configuration();
        for account in configuration.accounts() {
            let journal = self.store.journal();
            if let Some(stored) = journal.stored_one(account, delivery).await? {
                return Ok(Some(stored));
            }
        }
        Ok(None)
    }
}

/// Why a delivery cannot be run again, in words.
pub(super) fn words(why: &str) -> &str {
    match why {
        "payload-gone" => "of its message the header facts alone are kept",
        "unreadable" => "its message cannot be read",
        "not-run" => "its mapping has not run, so nothing was read for it",
        _ => "its flow is gone",
    }
}

/// Whether a run came to what was recorded.
pub(super) fn is_same(ran: &Ran, now: &Answer) -> bool {
    ran.outcome == now.outcome && ran.prints == now.prints()
}

/// What differs from a record of which the fingerprints alone are known.
fn against(ran: &Ran, now: &Answer) -> Vec<FieldReplay> {
    let known: BTreeMap<u32, u64> = ran
        .prints
        .iter()
        .map(|print| (print.name, print.value))
        .collect();
    let unknown = |count: usize, change| {
        std::iter::repeat_with(move || FieldReplay {
            field: "?".into(),
            change,
            was: None,
            now: None,
        })
        .take(count)
    };
    if !now.wrote() {
        let change = match now.outcome {
            SKIPPED => Verdict::NewlySkipped,
            _ => Verdict::NewlyRefused,
        };
        let count = match ran.outcome == WROTE {
            true => ran.prints.len(),
            false => 0,
        };
        return unknown(count, change).collect();
    }
    let mut named = BTreeSet::new();
    let mut fields: Vec<_> = now
        .fields
        .iter()
        .map(|(name, value)| {
            let print = Print::of(name, &value.to_string());
            named.insert(print.name);
            let change = match known.get(&print.name) {
                Some(was) if *was == print.value => Verdict::Same,
                Some(_) => Verdict::Changed,
                None => Verdict::NewlyFilled,
            };
            FieldReplay {
                field: name.clone(),
                change,
                was: (change == Verdict::Same).then(|| value.clone()),
                now: Some(value.clone()),
            }
        })
        .collect();
    if ran.outcome == WROTE {
        let gone = known.keys().filter(|name| !named.contains(name)).count();
        fields.extend(unknown(gone, Verdict::NewlyEmpty));
    }
    fields
}

/// The fields of a run with nothing to compare it with.
fn fresh(now: &Answer) -> Vec<FieldReplay> {
    let fields = now.fields.iter();
    fields
        .map(|(name, value)| FieldReplay {
            field: name.clone(),
            change: Verdict::NewlyFilled,
            was: None,
            now: Some(value.clone()),
        })
        .collect()
}
