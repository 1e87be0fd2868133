//! Existing data through a flow: messages that people have in files, or leads that are in LeadSquared already.
//!
//! What is to be loaded is collected first, so that its count and its price are known before anything happens; then it
//! becomes messages of the journal at the lowest rank, a few ahead of what is under way ([`feed`]). Everything is durable:
//! a host that is killed goes on where it was, and the identity of each message keeps it from being taken twice.
//! Start at [`Pipeline::create_load`].

pub mod feed;

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::account::Error;
use super::configuration::Route;
use super::outlook::{Outlook, outlook};
use super::{Pipeline, ahead};
use crate::flow::load::{Leads, Load, State, What};
use crate::flow::{Behaviour, Direction, Entity, Event, FlowId, Status};
use crate::hl7;
use crate::store::catalog::Author;
use crate::store::loads::{Item, Progress};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A load as it stands: what it takes, what it costs, what became of it.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Standing {
    pub id: String,
    pub account: String,
    pub flow: String,
    pub state: State,
    /// All of it in words.
    pub summary: String,
    /// Messages, or leads.
    pub total: u64,
    /// Those that have become messages of the journal.
    pub taken: u64,
    /// Messages that are not the flow's or cannot be read, by reason.
    pub left_out: BTreeMap<String, u64>,
    /// Patients of what is still to come; none once the load has ended.
    pub patients: Option<u64>,
    /// Calls to LeadSquared that what is still to come is expected to cost.
    pub expected_calls: u64,
    /// How long those calls take behind what is queued already; none where nothing limits them.
    pub expected_ms: Option<u64>,
    /// Of what was taken: those that had come before.
    pub repeated: u64,
    /// Deliveries, by what became of them.
    pub delivered: u64,
    pub skipped: u64,
    pub dead: u64,
    /// Those that wait for a person, for their patient or for their flow, and hold nobody up.
    pub aside: u64,
    /// Those that are queued, running, or waiting for their next try.
    pub open: u64,
    /// Why leads could not be listed.
    pub error: Option<String>,
    pub created_at: String,
    pub updated_at: String,
}

impl Pipeline {
    /// Makes a load for a flow: of `leads` for a flow to the EHR, else of messages that are sent next.
    ///
    /// # Errors
    /// `Refused` says what the flow lacks.
    pub async fn create_load(
        &self,
        flow: &FlowId,
        leads: Option<Leads>,
        author: &Author,
    ) -> Result<Load, Error> {
        let configuration = self.configuration();
        let refuse = |text: String| Err(Error::Refused(text));
        let Some(route) = configuration.route(flow) else {
            return refuse(format!("there is no flow {flow} in force"));
        };
        if route.flow.status != Status::Active || route.in_force.is_none() {
            return refuse(format!("flow {flow} is not in force: activate it first"));
        }
        match (route.flow.direction, &leads) {
            (Direction::EhrToLeadSquared, Some(_)) => {
                return refuse(format!(
                    "flow {flow} comes from the EHR: it loads messages, not leads"
                ));
            }
            (Direction::LeadSquaredToEhr, _) if route.flow.entity == Entity::Activity => {
                return refuse(format!(
                    "flow {flow} is of activities: leads are loaded by lead flows"
                ));
            }
            (Direction::LeadSquaredToEhr, None) => {
                return refuse(format!(
                    "flow {flow} goes to the EHR: say which leads, by a field and its value or by when they were changed"
                ));
            }
            (Direction::LeadSquaredToEhr, Some(leads)) => check(leads)?,
            (Direction::EhrToLeadSquared, None) => {}
        }
        let now_ms = Timestamp::now().as_millisecond();
        let load = Load {
            id: uuid::Uuid::now_v7().to_string(),
            account: route.flow.account.clone(),
            flow: flow.clone(),
            state: State::Collecting,
            what: What {
                leads,
                ..What::default()
            },
            taken: 0,
            total: 0,
            created_at_ms: now_ms,
            updated_at_ms: now_ms,
        };
        self.store.loads().create(&load, author).await?;
        Ok(load)
    }

    /// Adds the messages of a file to a load of messages, behind the first `total` that it has.
    ///
    /// Messages of other events than the flow's and what is no message are left out and counted.
    ///
    /// # Errors
    /// `Refused` when the load takes none, or has another number of messages than `total`.
    pub async fn add_messages(&self, load: &Load, total: u64, bytes: &[u8]) -> Result<(), Error> {
        let configuration = self.configuration();
        let route = configuration.route(&load.flow);
        let channels = configuration.channels.iter();
        let found = route.and_then(|route| {
            let mut channels = channels.filter(|channel| channel.id == route.flow.channel);
            Some((route, channels.next()?))
        });
        let Some((route, channel)) = found.filter(|_| load.what.leads.is_none()) else {
            return Err(Error::Refused(format!(
                "load {} takes no messages",
                load.id
            )));
        };
        let mut what = load.what.clone();
        let mut items = Vec::new();
        for message in hl7::batch::split(bytes) {
            let mut leave_out = |why: String| *what.left_out.entry(why).or_default() += 1;
            match hl7::Message::parse_with(message, channel.reading()) {
                Err(_) => leave_out("unreadable".into()),
                Ok(parsed) => {
                    let header = parsed.header();
                    let event = Event::new(&header.message_code, &header.trigger_event);
                    match event == route.flow.event {
                        true => items.push(Item {
                            patient: channel.patient_key.keys(&parsed).into_iter().next(),
                            bytes: message.to_vec(),
                        }),
                        false => leave_out(event.to_string()),
                    }
                }
            }
        }
        let loads = self.store.loads();
        if !loads.add(load, total, &items).await? {
            return Err(Error::Refused(format!(
                "load {} has begun, or has not {total} messages: read it again",
                load.id
            )));
        }
        if what != load.what {
            loads.put_what(load, &what).await?;
        }
        Ok(())
    }

    /// Begins a load of which everything is there, or goes on with one that was paused.
    ///
    /// # Errors
    /// `Refused` when it is in another state, or empty.
    pub async fn start_load(&self, load: &Load, author: &Author) -> Result<(), Error> {
        if load.total == 0 {
            return Err(Error::Refused(format!("load {} is empty", load.id)));
        }
        let (from, action): (&[State], _) = match (load.state, &load.what.leads) {
            (State::Paused, _) => (&[State::Paused], "resume"),
            (_, None) => (&[State::Collecting, State::Ready], "start"),
            // Leads are still being listed.
            (_, Some(_)) => (&[State::Ready], "start"),
        };
        self.change_load(load, from, State::Running, (author, action))
            .await
    }

    /// Holds a load: what has become a message is carried out, and nothing more becomes one.
    ///
    /// # Errors
    /// `Refused` when it is not running.
    pub async fn pause_load(&self, load: &Load, author: &Author) -> Result<(), Error> {
        self.change_load(load, &[State::Running], State::Paused, (author, "pause"))
            .await
    }

    /// Ends a load; what has become a message is carried out, and the rest is forgotten.
    ///
    /// # Errors
    /// `Refused` when it has ended.
    pub async fn cancel_load(&self, load: &Load, author: &Author) -> Result<(), Error> {
        let from = [
            State::Collecting,
            State::Ready,
            State::Running,
            State::Paused,
        ];
        self.change_load(load, &from, State::Cancelled, (author, "cancel"))
            .await
    }

    async fn change_load(
        &self,
        load: &Load,
        from: &[State],
        to: State,
        author: (&Author, &str),
    ) -> Result<(), Error> {
        let loads = self.store.loads();
        if loads.change(load, from, to, Some(author)).await? {
            return Ok(());
        }
        let now = loads.get(&load.id).await?;
        let state = now.map_or(load.state, |load| load.state);
        Err(Error::Refused(format!(
            "load {} is {state}: it cannot be {to} now",
            load.id
        )))
    }

    /// How a load stands.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn load_standing(&self, load: &Load) -> Result<Standing, Error> {
        let loads = self.store.loads();
        let progress = loads.progress(load).await?;
        let patients = match load.state.is_final() {
            true => None,
            false => Some(loads.patients(load).await?),
        };
        let configuration = self.configuration();
        let route = configuration.route(&load.flow);
        let left = match load.state.is_final() {
            true => 0,
            false => load.total.saturating_sub(load.taken),
        };
        let calls = route.map_or(0.0, |route| calls(route, left, patients.unwrap_or(0)));
        let outlook = outlook(self, &load.account).await?;
        let expected_ms = outlook.and_then(|outlook| time_ms(&outlook, calls));
        Ok(standing(load, progress, patients, calls, expected_ms))
    }
}

/// What is wrong with a filter.
fn check(leads: &Leads) -> Result<(), Error> {
    let fault = match leads {
        Leads::Changed { from, to } => {
            let is_time = |text: &str| text.parse::<Timestamp>().is_ok();
            let are_times = is_time(from) && to.as_deref().is_none_or(is_time);
            (!are_times)
                .then_some("`changed.from` and `changed.to` are times such as 2026-01-31T00:00:00Z")
        }
        Leads::Field { name, value } => (name.trim().is_empty() || value.trim().is_empty())
            .then_some("`field.name` is a lead field, and `field.value` what it holds"),
    };
    match fault {
        Some(text) => Err(Error::Refused(text.into())),
        None => Ok(()),
    }
}

/// The calls that what is still to come is expected to cost.
fn calls(route: &Route, left: u64, patients: u64) -> f64 {
    match route.flow.direction {
        Direction::EhrToLeadSquared => {
            let is_idle = route.flow.entity == Entity::Lead
                && route.flow.lead_behaviour == Behaviour::Nothing;
            match is_idle {
                true => 0.0,
                false => {
                    let joins = ahead::joins(&route.flow);
                    // Without a key a message is of a patient of its own.
                    let patients = if patients == 0 { left } else { patients };
                    route.account.pace.of_load(left, patients.min(left), joins)
                }
            }
        }
        Direction::LeadSquaredToEhr => {
            let reads_back = route.flow.outbound.as_ref();
            let reads_back = reads_back.is_some_and(|outbound| !outbound.read_back.is_empty());
            // Each lead is read when its turn comes: what it held before may be wrong by then.
            left as f64 * if reads_back { 2.0 } else { 1.0 }
        }
    }
}

/// How long `calls` take behind what is queued already.
fn time_ms(outlook: &Outlook, calls: f64) -> Option<u64> {
    let per_window = outlook
        .calls_per_window
        .map(|limit| f64::from(limit.max(1)));
    let by_window = per_window.map(|limit| {
        let windows = (calls + outlook.expected_calls) / limit;
        (windows * outlook.window_ms as f64) as u64
    });
    let by_day = outlook.calls_of_today.map(|limit| {
        let left = f64::from(limit.saturating_sub(outlook.used_today));
        let days = ((calls + outlook.expected_calls - left) / f64::from(limit.max(1))).ceil();
        days.max(0.0) as u64 * DAY.as_millis() as u64
    });
    by_window.max(by_day)
}

fn standing(
    load: &Load,
    progress: Progress,
    patients: Option<u64>,
    calls: f64,
    expected_ms: Option<u64>,
) -> Standing {
    let expected_calls = calls.ceil() as u64;
    let at = |at_ms: i64| {
        let at = Timestamp::from_millisecond(at_ms).unwrap_or_default();
        at.to_string()
    };
    let summary = summary(load, &progress, patients, expected_calls, expected_ms);
    Standing {
        id: load.id.clone(),
        account: load.account.to_string(),
        flow: load.flow.to_string(),
        state: load.state,
        summary,
        total: load.total,
        taken: load.taken,
        left_out: load.what.left_out.clone(),
        patients,
        expected_calls,
        expected_ms,
        repeated: load.taken.saturating_sub(progress.messages),
        delivered: progress.delivered,
        skipped: progress.skipped,
        dead: progress.dead,
        aside: progress.aside,
        open: progress.open,
        error: load.what.error.clone(),
        created_at: at(load.created_at_ms),
        updated_at: at(load.updated_at_ms),
    }
}

fn summary(
    load: &Load,
    progress: &Progress,
    patients: Option<u64>,
    calls: u64,
    expected_ms: Option<u64>,
) -> String {
    let (total, taken) = (load.total, load.taken);
    let what = match &load.what.leads {
        Some(_) => format!("{total} leads"),
        None => match patients.filter(|count| *count > 0 && taken == 0) {
            Some(patients) => format!("{total} messages about {patients} patients"),
            None => format!("{total} messages"),
        },
    };
    let price = || {
        let time = match expected_ms {
            Some(ms) => format!("about {}", duration(ms)),
            None => "no limit of calls is set".into(),
        };
        format!("{calls} calls to LeadSquared, {time}")
    };
    let became = || {
        let Progress {
            delivered,
            skipped,
            dead,
            aside,
            open,
            ..
        } = progress;
        let mut text =
            format!("{delivered} delivered, {skipped} skipped, {dead} dead, {open} under way");
        if *aside > 0 {
            text.push_str(&format!(
                ", {aside} waiting for a person or for their patient"
            ));
        }
        text
    };
    let left_out: u64 = load.what.left_out.values().sum();
    let mut text = match load.state {
        State::Collecting if load.what.leads.is_some() => {
            format!("leads are being listed, {total} so far")
        }
        State::Collecting | State::Ready => format!("{what}, {}", price()),
        State::Running => format!("{taken} of {what} taken; {}; still {}", became(), price()),
        State::Paused => format!("paused: {taken} of {what} taken; {}", became()),
        State::Done => format!("all {what} taken; {}", became()),
        State::Cancelled => format!("cancelled: {taken} of {what} taken; {}", became()),
        State::Failed => "nothing was loaded".into(),
    };
    if left_out > 0 {
        let reasons = load.what.left_out.iter();
        let reasons: Vec<_> = reasons
            .map(|(why, count)| format!("{count} {why}"))
            .collect();
        text.push_str(&format!("; {left_out} left out ({})", reasons.join(", ")));
    }
    if let Some(error) = &load.what.error {
        text.push_str(&format!(": {error}"));
    }
    text
}

/// A time as people say it.
pub fn duration(ms: u64) -> String {
    let seconds = ms.div_ceil(1_000);
    match seconds {
        0..=90 => format!("{seconds} s"),
        91..=5_400 => format!("{} minutes", seconds.div_ceil(60)),
        5_401..=172_800 => format!("{} hours", seconds.div_ceil(3_600)),
        _ => format!("{} days", seconds.div_ceil(86_400)),
    }
}

#[cfg(test)]
mod tests;
