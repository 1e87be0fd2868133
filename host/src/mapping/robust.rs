//! The robustness run: what a component makes of messages that are not as its author thought, before a patient's is.
//!
//! The sample is varied ([`mutate`]), and each variation goes through the component twice under its usual limits.
//! A refusal is a good answer. Start at [`examine`].

pub mod mutate;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use self::mutate::{MARK, Variation};
use super::manifest::Kind;
use super::{ChangeInput, Component, Failure, Input, Run, Runtime, Tables, starter};
use crate::flow::change::{Change, Composed};
use crate::flow::mapped::{Mapped, Refusal};
use crate::flow::{CodeTable, Direction, Event, Release};
use crate::hl7::Message;

/// After so many findings nobody needs more of them.
const MAX_FINDINGS: usize = 20;

/// Tries of a run that does not end in time.
const TRIES: usize = 2;

/// How many times as long as usual a run may take: the machine serves others meanwhile, and reading 5 MB for the component
/// counts as well. What never ends is found out all the same, and the report says how long the slowest run took.
const PATIENCE: u32 = 20;

/// What came of a robustness run; holds nothing of the sample.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// What the sample was.
    pub sample: String,
    /// Variations of it that the component was given.
    pub variations: usize,
    /// Nothing where the component stood all of them.
    pub findings: Vec<Finding>,
    /// Whether it was given up after so many findings.
    pub is_cut: bool,
    /// Of one run.
    pub slowest_ms: u64,
}

/// A variation that the component does not stand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// How the sample was varied.
    pub variation: String,
    /// What the component did.
    pub did: String,
}

/// What is varied.
#[derive(Clone, PartialEq, Eq)]
pub enum Sample {
    /// Bytes of one HL7 message.
    Message(Vec<u8>),
    Change(Change),
}

/// A sample, and what the component is told beside it.
#[derive(Clone)]
pub struct Trial {
    pub sample: Sample,
    /// What the sample is, in words.
    pub from: String,
    pub event: String,
    pub settings: BTreeMap<String, String>,
    pub tables: Arc<Tables>,
    pub time_zone: String,
    pub default_country_code: Option<String>,
}

impl Trial {
    /// A sample of an event that the component is made for, with something in every segment and field that it reads.
    pub fn usual(component: &Component) -> Self {
        let manifest = &component.manifest;
        let settings = manifest.settings.iter().filter_map(|setting| {
            let value = match (&setting.default, &setting.kind) {
                (Some(default), _) => default.clone(),
                (None, _) if !setting.required => return None,
                (None, Kind::Text) => "text".into(),
                (None, Kind::Number) => "1".into(),
                (None, Kind::Boolean) => "true".into(),
                (None, Kind::Choice(choices)) => choices.first().cloned().unwrap_or_default(),
            };
            Some((setting.name.clone(), value))
        });
        // One without entries is there to be asked; none at all is the fault of whoever binds tables.
        let tables = manifest.tables.iter().map(|asked| {
            let table = CodeTable::new("robustness".into(), asked.name.clone());
            (asked.name.clone(), Arc::new(table.into()))
        });
        let (sample, event) = match component.direction() {
            Direction::EhrToLeadSquared => {
                let event = manifest.events.first();
                let event = event.cloned().unwrap_or_else(|| "ADT^A04".into());
                let known = starter::for_event(&event).next();
                let known = known.or_else(|| starter::for_event("ADT^A04").next());
                let known = known.map_or("MSH|^~\\&|A|B|C|D|||ADT^A04|1|P|2.5.1", |it| it.sample);
                let message = mutate::complete(known, &manifest.reads);
                (Sample::Message(message), event)
            }
            Direction::LeadSquaredToEhr => {
                let event = manifest.events.first();
                let event = event.cloned().unwrap_or_else(|| "lead-update".into());
                (
                    Sample::Change(mutate::change(&event, &manifest.reads)),
                    event,
                )
            }
        };
        Self {
            sample,
            from: format!("the usual sample for {event}"),
            event,
            settings: settings.collect(),
            tables: Arc::new(tables.collect()),
            time_zone: "UTC".into(),
            default_country_code: None,
        }
    }

    /// The same with another message; the event is the message's own where it has one.
    #[must_use]
    pub fn with_message(mut self, message: Vec<u8>, from: String) -> Self {
        let header = Message::parse(&message).ok();
        let event = header.and_then(|message| {
            let header = message.header();
            let event = format!("{}^{}", header.message_code, header.trigger_event);
            event.parse::<Event>().ok()
        });
        self.event = event.map_or(self.event, |event| event.to_string());
        self.sample = Sample::Message(message);
        self.from = from;
        self
    }
}

/// Gives a component variations of the sample, each twice; takes one worker for as long as it lasts.
///
/// # Errors
/// The runtime is closing.
pub async fn examine(
    runtime: &Arc<Runtime>,
    component: &Arc<Component>,
    trial: Trial,
) -> Result<Report, String> {
    let closing = "the runtime is closing";
    let worker = runtime.workers.clone().acquire_owned().await;
    let worker = worker.map_err(|_| closing.to_owned())?;
    let (runtime, component) = (runtime.clone(), component.clone());
    let examining = tokio::task::spawn_blocking(move || {
        let report = report(&runtime, &component, &trial);
        drop(worker);
        report
    });
    examining.await.map_err(|_| closing.to_owned())
}

fn report(runtime: &Runtime, component: &Arc<Component>, trial: &Trial) -> Report {
    let reads = &component.manifest.reads;
    let variations = match &trial.sample {
        Sample::Message(message) => mutate::messages(message, reads),
        Sample::Change(change) => mutate::changes(change),
    };
    let release = Arc::new(Release {
        flow: "robustness".into(),
        component: component.digest.clone(),
        grants: component.manifest.grants(),
        bindings: BTreeMap::new(),
        settings: trial.settings.clone(),
        tables: BTreeMap::new(),
    });
    let mut report = Report {
        sample: trial.from.clone(),
        variations: 0,
        findings: Vec::new(),
        is_cut: false,
        slowest_ms: 0,
    };
    let values = mutate::values(&trial.sample, reads, &trial.settings);
    let mut slowest = Duration::ZERO;
    for Variation { what, sample } in variations {
        let did = match sample {
            Sample::Message(bytes) => {
                // What is no message never gets as far as a component.
                let Ok(message) = Message::parse(&bytes) else {
                    continue;
                };
                let message = Arc::new(message);
                let once = || {
                    let input = Input {
                        message: message.clone(),
                        release: release.clone(),
                        tables: trial.tables.clone(),
                        event: trial.event.clone(),
                        received_at_ms: 0,
                        time_zone: trial.time_zone.clone(),
                        default_country_code: trial.default_country_code.clone(),
                        channel: "robustness".into(),
                    };
                    runtime.run_within(PATIENCE, component.clone(), input)
                };
                twice(once, skipped, &values, &mut slowest)
            }
            Sample::Change(change) => {
                let change = Arc::new(change);
                let once = || {
                    let input = ChangeInput {
                        change: change.clone(),
                        release: release.clone(),
                        tables: trial.tables.clone(),
                        received_at_ms: 0,
                        time_zone: trial.time_zone.clone(),
                        default_country_code: trial.default_country_code.clone(),
                        channel: "robustness".into(),
                    };
                    runtime.compose_within(PATIENCE, component.clone(), input)
                };
                twice(once, not_sent, &values, &mut slowest)
            }
        };
        report.variations += 1;
        if let Some(did) = did {
            report.findings.push(Finding {
                variation: what,
                did,
            });
        }
        if report.findings.len() == MAX_FINDINGS {
            report.is_cut = true;
            break;
        }
    }
    report.slowest_ms = slowest.as_millis() as u64;
    report
}

fn skipped(mapped: &Mapped) -> Option<&str> {
    match mapped {
        Mapped::Skip(reason) => Some(reason),
        Mapped::Write(_) => None,
    }
}

fn not_sent(composed: &Composed) -> Option<&str> {
    match composed {
        Composed::Skip(reason) => Some(reason),
        Composed::Write(_) => None,
    }
}

/// Runs twice; gives what is wrong with what came of it.
fn twice<T: PartialEq>(
    once: impl Fn() -> Run<T>,
    skipped: impl Fn(&T) -> Option<&str>,
    values: &[String],
    slowest: &mut Duration,
) -> Option<String> {
    let mut runs = Vec::with_capacity(2);
    while runs.len() < 2 {
        let mut run = once();
        for _ in 1..TRIES {
            if !matches!(&run.outcome, Err(failure) if failure.is_transient()) {
                break;
            }
            run = once();
        }
        *slowest = (*slowest).max(run.duration);
        if let Err(failure) = &run.outcome
            && !matches!(failure, Failure::Refused(_) | Failure::Waits(_))
        {
            return Some(failure.sentence());
        }
        runs.push(run);
    }
    if !runs.windows(2).all(|pair| same(&pair[0], &pair[1])) {
        return Some("gave two results for the same message".into());
    }
    let run = runs.pop()?;
    let tells = match &run.outcome {
        Ok(answer) => skipped(answer).is_some_and(|reason| holds(reason, values)),
        Err(Failure::Refused(refusal) | Failure::Waits(refusal)) => tells(refusal, values),
        Err(_) => false,
    };
    tells.then(|| {
        "repeated a value of the message in the text of a refusal or a reason to skip: \
         name the path instead"
            .into()
    })
}

fn same<T: PartialEq>(one: &Run<T>, other: &Run<T>) -> bool {
    one.outcome == other.outcome
        && one.log == other.log
        && one.misses == other.misses
        && one.warnings == other.warnings
}

/// A code is what the keeper of its table must see; anything else has a path.
fn tells(refusal: &Refusal, values: &[String]) -> bool {
    match refusal {
        Refusal::Missing(text) | Refusal::Other(text) => holds(text, values),
        Refusal::Malformed { path, expected } => holds(path, values) || holds(expected, values),
        Refusal::UnmappedCode { table, .. } => holds(table, values),
    }
}

fn holds(text: &str, values: &[String]) -> bool {
    text.contains(MARK) || values.iter().any(|value| text.contains(value))
}

/// What is kept with a component of what was found out about it when it was uploaded.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Examination {
    pub robustness: Option<Report>,
    /// Who took it although there were findings.
    pub accepted_by: Option<String>,
    /// The name of the trusted key that it is signed with.
    pub signed_by: Option<String>,
    /// The signature, for whoever takes the component elsewhere.
    pub signature: Option<String>,
}

impl Examination {
    /// The form that is kept; empty for nothing.
    pub fn to_text(&self) -> String {
        match *self == Self::default() {
            true => String::new(),
            false => serde_json::to_string(self).unwrap_or_default(),
        }
    }

    /// Reads the form that is kept; what cannot be read says nothing.
    pub fn parse(text: &str) -> Self {
        serde_json::from_str(text).unwrap_or_default()
    }
}
