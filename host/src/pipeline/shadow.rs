//! A candidate release over stored messages, beside the one in force, without any effect.
//!
//! Messages run in bounded parts on one or two threads of their own engine: one while components run for messages on
//! their way, so that those are not held up. After each part the place and all counts are kept together, so that a run
//! goes on where it was, on this host or another, and counts nothing twice. Start at [`Pipeline::start_shadow`].

pub mod proof;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value as Json;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use utoipa::ToSchema;

use super::Pipeline;
use super::account::Error;
use super::configuration::InForce;
use super::replay::{Subject, Tried};
use crate::flow::shadow::{Cost, Counts, Sample, Shadow, State, Tally, What};
use crate::flow::{DeliveryId, Digest, Flow};
use crate::mapping::Runtime;
use crate::mapping::compare::{Answer, Verdict, compare, masked};
use crate::store::catalog::Author;
use crate::store::journal::Window;

/// Deliveries of one shadow run.
pub const MOST: u64 = 100_000;
const USUAL: u64 = 10_000;

/// What of several hosts one does: no channel has such a name.
const SHADOWING: &str = "(shadow)";

/// A host that is gone is replaced after this long.
const LEASE: Duration = Duration::from_secs(60);

/// How often it is looked for shadow runs.
const LOOK: Duration = Duration::from_millis(500);

/// Before what failed is tried again.
const AFTER_FAILURE: Duration = Duration::from_secs(10);

/// Deliveries that are read together, and threads that run them.
const PART: usize = 64;
const THREADS: usize = 2;

/// A candidate that broke so often has shown enough.
const MOST_BROKEN: u64 = 100;

/// A shadow run as it stands.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Standing {
    pub id: String,
    pub account: String,
    pub flow: String,
    pub state: State,
    /// All of it in words.
    pub summary: String,
    /// The release that is to be proven.
    pub candidate: String,
    /// The release in force when it began.
    pub base: Option<String>,
    pub from: String,
    pub to: String,
    /// Deliveries to look at, and those that were.
    pub total: u64,
    pub done: u64,
    /// Messages that ran through both.
    pub messages: u64,
    /// Those of which any field, or the end, is another.
    pub different: u64,
    /// Deliveries that cannot be run again, by reason.
    pub left_out: BTreeMap<String, u64>,
    /// How both ended, `wrote -> mapping-refused`, with the number of messages.
    pub ends: BTreeMap<String, u64>,
    pub fields: BTreeMap<String, Counts>,
    pub samples: Vec<Sample>,
    pub cost_of_base: CostView,
    pub cost_of_candidate: CostView,
    /// Why it failed.
    pub error: Option<String>,
    pub created_at: String,
    pub updated_at: String,
}

/// What one run costs: half of all, and all but one in a hundred, cost at most this.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct CostView {
    pub p50_us: Option<u64>,
    pub p99_us: Option<u64>,
    /// Instructions: the same on any machine.
    pub p50_fuel: Option<u64>,
    pub p99_fuel: Option<u64>,
}

/// Carries shadow runs until `shutdown`, one after the other.
pub async fn keep(pipeline: Arc<Pipeline>, shutdown: CancellationToken) {
    loop {
        tokio::select! {
            () = sleep(LOOK) => {}
            () = shutdown.cancelled() => return,
        }
        // The journal says so already, and louder.
        let Ok(running) = pipeline.store.shadows().running().await else {
            continue;
        };
        for shadow in running {
            let carrying = Box::pin(pipeline.carry_shadow(&shadow.id));
            // Cut off anywhere, it goes on from where it was.
            if let Some(Err(fault)) = shutdown.run_until_cancelled(carrying).await {
                warn!(shadow = %shadow.id, %fault, "the shadow run does not go on; tried again in a moment");
                shutdown.run_until_cancelled(sleep(AFTER_FAILURE)).await;
            }
        }
    }
}

/// Which messages a shadow run is over.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Over {
    /// Messages that came from then on, RFC 3339; the last 24 hours if left out.
    pub from: Option<String>,
    /// Messages that came before then, RFC 3339; now if left out.
    pub to: Option<String>,
    /// The first so many.
    pub limit: Option<u64>,
}

impl Pipeline {
    /// Begins a shadow run of `candidate`, a release of `flow`, over stored messages.
    ///
    /// # Errors
    /// `Refused` says what of it has no meaning.
    pub async fn start_shadow(
        &self,
        flow: &Flow,
        candidate: &Digest,
        over: &Over,
        author: &Author,
    ) -> Result<Shadow, Error> {
        let release = self
            .store
            .catalog()
            .release(&flow.account, candidate)
            .await?;
        if release.is_none_or(|release| release.flow != flow.id) {
            let text = format!("flow {} has no release {candidate}", flow.id);
            return Err(Error::Refused(text));
        }
        let id = flow.id.clone();
        let window = Window::of(Some(id), over.from.as_deref(), over.to.as_deref())?;
        let most = over.limit.unwrap_or(USUAL);
        if !(1..=MOST).contains(&most) {
            let text = format!("a shadow run is over 1 to {MOST} messages");
            return Err(Error::Refused(text));
        }
        let journal = self.store.journal();
        let total = journal.count_stored(&flow.account, &window, most).await?;
        let now_ms = Timestamp::now().as_millisecond();
        let shadow = Shadow {
            id: uuid::Uuid::now_v7().to_string(),
            account: flow.account.clone(),
            flow: flow.id.clone(),
            state: State::Running,
            done: 0,
            created_at_ms: now_ms,
            updated_at_ms: now_ms,
            what: What {
                candidate: candidate.clone(),
                base: flow.release.clone(),
                from_ms: window.from_ms,
                to_ms: window.to_ms,
                total,
                behind: None,
                tally: Tally::default(),
                error: None,
            },
        };
        self.store.shadows().create(&shadow, author).await?;
        Ok(shadow)
    }

    /// Carries a shadow run to its end, or until somebody cancels it.
    ///
    /// # Errors
    /// What the store says; nothing is lost, and it can be carried on.
    pub async fn carry_shadow(&self, id: &str) -> Result<(), Error> {
        let shadows = self.store.shadows();
        let mut ready = None;
        while let Some(shadow) = shadows.get(id).await? {
            let journal = self.store.journal();
            let holding = journal.hold(&shadow.account, SHADOWING, &self.owner, LEASE);
            if shadow.state != State::Running || !holding.await? {
                return Ok(());
            }
            let carried = match &ready {
                Some(both) => Box::pin(self.carry_part(&shadow, both)).await,
                None => Box::pin(self.make_ready(&shadow))
                    .await
                    .map(|both| ready = Some(both)),
            };
            match carried {
                Ok(()) => {}
                Err(Error::Store(fault)) => return Err(fault.into()),
                Err(fault) => {
                    let what = What {
                        error: Some(fault.to_string()),
                        ..shadow.what.clone()
                    };
                    shadows
                        .advance(&shadow, shadow.done, State::Failed, &what)
                        .await?;
                }
            }
        }
        Ok(())
    }

    async fn make_ready(&self, shadow: &Shadow) -> Result<Both, Error> {
        let configuration = self.configuration();
        let gone = |what: &dyn std::fmt::Display| Error::Refused(format!("{what} is gone"));
        let route = configuration
            .route(&shadow.flow)
            .ok_or_else(|| gone(&format_args!("flow {}", shadow.flow)))?;
        let mut releases = self.releases()?;
        let candidate = &shadow.what.candidate;
        let ready = releases.get(&route.flow, candidate).await?;
        let ready = ready.ok_or_else(|| gone(&format_args!("release {candidate}")))?;
        let base = match &shadow.what.base {
            Some(base) => {
                let found = releases.get(&route.flow, base).await?;
                Some(found.ok_or_else(|| gone(&format_args!("release {base}")))?)
            }
            None => None,
        };
        Ok(Both {
            runtime: releases.runtime,
            base,
            candidate: ready,
        })
    }

    /// Runs the next messages, and keeps what came of them.
    async fn carry_part(&self, shadow: &Shadow, both: &Both) -> Result<(), Error> {
        let configuration = self.configuration();
        let window = Window {
            flow: Some(shadow.flow.clone()),
            from_ms: shadow.what.from_ms,
            to_ms: shadow.what.to_ms,
        };
        let left = shadow.what.total.saturating_sub(shadow.done) as usize;
        let asked = left.min(PART);
        let journal = self.store.journal();
        let behind = shadow.what.behind.as_ref();
        let found = journal.stored(&shadow.account, &window, behind, asked);
        let found = found.await?;
        let mut what = shadow.what.clone();
        let mut subjects = Vec::with_capacity(found.len());
        for stored in &found {
            match Subject::of(&configuration, stored) {
                Ok(subject) => subjects.push((stored.delivery.clone(), subject)),
                Err(why) => *what.tally.left_out.entry(why.into()).or_default() += 1,
            }
        }
        // Whoever's message is on its way goes first.
        let threads = match self.runtime.is_busy() || self.store.is_busy() {
            true => 1,
            false => THREADS,
        };
        let size = subjects.len().div_ceil(threads).max(1);
        let mut running = Vec::new();
        while !subjects.is_empty() {
            let rest = subjects.split_off(size.min(subjects.len()));
            let (part, both) = (std::mem::replace(&mut subjects, rest), both.clone());
            running.push(tokio::task::spawn_blocking(move || both.run(&part)));
        }
        for part in running {
            let tally = part.await;
            let tally = tally.map_err(|_| Error::Refused("a run could not be made".into()))?;
            what.tally.add(tally);
        }
        what.behind = found
            .last()
            .map(|last| last.delivery.clone())
            .or(what.behind);
        let done = shadow.done + found.len() as u64;
        let mut state = match done >= what.total || found.len() < asked {
            true => State::Done,
            false => State::Running,
        };
        if what.tally.broke >= MOST_BROKEN {
            state = State::Failed;
            what.error = Some(format!(
                "the candidate broke on {} messages",
                what.tally.broke
            ));
        }
        self.store
            .shadows()
            .advance(shadow, done, state, &what)
            .await?;
        if state != State::Running {
            info!(shadow = %shadow.id, flow = %shadow.flow, messages = what.tally.messages, different = what.tally.different, "a shadow run has ended");
        }
        Ok(())
    }
}

/// Two releases, ready to run.
#[derive(Debug, Clone)]
struct Both {
    runtime: Arc<Runtime>,
    base: Option<InForce>,
    candidate: InForce,
}

impl Both {
    fn run(&self, subjects: &[(DeliveryId, Subject)]) -> Tally {
        let mut tally = Tally::default();
        let nothing = Answer {
            outcome: "nothing",
            broke: false,
            fields: BTreeMap::new(),
        };
        for (delivery, subject) in subjects {
            let base = self.base.as_ref();
            let base = base.map(|base| subject.run(&self.runtime, base));
            let candidate = subject.run(&self.runtime, &self.candidate);
            if let Some(base) = &base {
                note(&mut tally.base, base);
            }
            note(&mut tally.candidate, &candidate);
            let before = base.as_ref().map_or(&nothing, |base| &base.answer);
            count(&mut tally, delivery, before, &candidate.answer);
        }
        tally
    }
}

fn note(cost: &mut Cost, tried: &Tried) {
    let nanos = u64::try_from(tried.duration.as_nanos()).unwrap_or(u64::MAX / 2);
    cost.duration_ns.note(nanos);
    cost.fuel.note(tried.fuel);
}

/// Counts how one message differs.
fn count(tally: &mut Tally, delivery: &DeliveryId, before: &Answer, after: &Answer) {
    tally.messages += 1;
    tally.different += u64::from(before != after);
    tally.broke += u64::from(after.broke);
    let ends = format!("{} -> {}", before.outcome, after.outcome);
    *tally.ends.entry(ends).or_default() += 1;
    for (field, verdict) in compare(before, after) {
        // Looked up first: nearly always it is there.
        if !tally.fields.contains_key(field) {
            tally.fields.insert(field.into(), Counts::default());
        }
        let Some(counts) = tally.fields.get_mut(field) else {
            continue;
        };
        let number = match verdict {
            Verdict::Same => &mut counts.same,
            Verdict::Changed => &mut counts.changed,
            Verdict::NewlyEmpty => &mut counts.newly_empty,
            Verdict::NewlyFilled => &mut counts.newly_filled,
            Verdict::NewlyRefused => &mut counts.newly_refused,
            Verdict::NewlySkipped => &mut counts.newly_skipped,
        };
        *number += 1;
        if verdict == Verdict::Same {
            continue;
        }
        let shape = |answer: &Answer| {
            let value: Option<&Json> = answer.fields.get(field).filter(|_| answer.wrote());
            value.map(masked).unwrap_or_default()
        };
        let sample = || Sample {
            delivery: delivery.to_string(),
            field: field.into(),
            change: verdict.as_str().into(),
            was: shape(before),
            now: shape(after),
        };
        tally.sample(sample, field, verdict.as_str());
    }
}

impl Standing {
    pub fn of(shadow: &Shadow) -> Self {
        let at = |at_ms: i64| {
            let at = Timestamp::from_millisecond(at_ms).unwrap_or_default();
            at.to_string()
        };
        let (what, tally) = (&shadow.what, &shadow.what.tally);
        Self {
            id: shadow.id.clone(),
            account: shadow.account.to_string(),
            flow: shadow.flow.to_string(),
            state: shadow.state,
            summary: summary(shadow),
            candidate: what.candidate.to_string(),
            base: what.base.as_ref().map(ToString::to_string),
            from: at(what.from_ms),
            to: at(what.to_ms),
            total: what.total,
            done: shadow.done,
            messages: tally.messages,
            different: tally.different,
            left_out: tally.left_out.clone(),
            ends: tally.ends.clone(),
            fields: tally.fields.clone(),
            samples: tally.samples.clone(),
            cost_of_base: CostView::of(&tally.base),
            cost_of_candidate: CostView::of(&tally.candidate),
            error: what.error.clone(),
            created_at: at(shadow.created_at_ms),
            updated_at: at(shadow.updated_at_ms),
        }
    }
}

impl CostView {
    fn of(cost: &Cost) -> Self {
        let us = |percent| Some(cost.duration_ns.percentile(percent)?.div_ceil(1_000));
        Self {
            p50_us: us(50),
            p99_us: us(99),
            p50_fuel: cost.fuel.percentile(50),
            p99_fuel: cost.fuel.percentile(99),
        }
    }
}

fn summary(shadow: &Shadow) -> String {
    let Tally {
        messages,
        different,
        fields,
        left_out,
        ..
    } = &shadow.what.tally;
    let (done, total) = (shadow.done, shadow.what.total);
    let mut text = match shadow.state {
        State::Running => format!("{done} of {total} looked at"),
        State::Done => format!("all {done} looked at"),
        State::Cancelled => format!("cancelled after {done} of {total}"),
        State::Failed => format!("ended after {done} of {total}"),
    };
    text.push_str(&format!(
        ": {different} of {messages} messages come out differently"
    ));
    let touched = fields.iter().filter(|(_, counts)| counts.differences() > 0);
    let touched: Vec<_> = touched
        .map(|(field, counts)| format!("{field} {}", counts.differences()))
        .collect();
    if !touched.is_empty() {
        text.push_str(&format!(" ({})", touched.join(", ")));
    }
    let left: u64 = left_out.values().sum();
    if left > 0 {
        text.push_str(&format!("; {left} cannot be run again"));
    }
    if let Some(error) = &shadow.what.error {
        text.push_str(&format!(": {error}"));
    }
    text
}
