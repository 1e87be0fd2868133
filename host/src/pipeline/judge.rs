//! Judges how an attempt ended: what state the delivery takes, why, and when it is tried again.
//!
//! The one place that decides about retries. Every text here is shown to people who may not see patient data, so none
//! carries a value of the message.

use std::time::Duration;

use jiff::Timestamp;

use super::account;
use super::compose::Sent;
use super::configuration::Configuration;
use super::ledger::Ledger;
use super::send::{Outcome as Unreached, Then, Unsent};
use crate::flow::mapped::Refusal;
use crate::hl7;
use crate::leadsquared::{self, webhook};
use crate::mapping::{Failure, Miss};
use crate::store;
use crate::store::journal::{Attempt, Claimed, Missed, Settled, Settlement};
use crate::sync;
use crate::sync::outcome::Outcome;
use crate::sync::outgoing;
use crate::sync::sending::NotSent;

/// How far an attempt came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    Read,
    Map,
    Plan,
    Lead,
    Activity,
    Send,
}

impl Stage {
    pub fn as_str(self) -> &'static str {
        match self {
            Stage::Read => "read",
            Stage::Map => "map",
            Stage::Plan => "plan",
            Stage::Lead => "lead",
            Stage::Activity => "activity",
            Stage::Send => "send",
        }
    }
}

/// An attempt that came to its end.
#[derive(Debug)]
pub enum Done {
    Written(Outcome),
    /// The component said that this message means nothing to LeadSquared; its words may hold patient data.
    Skipped {
        note: String,
    },
    /// The flow's lead behaviour is to do nothing.
    NothingToDo,
    /// Identifiers were kept up.
    Kept(Vec<&'static str>),
    /// The EHR has it.
    Sent(Sent),
    /// There was nothing to tell the EHR.
    NotSent(NotSent),
}

/// Why an attempt stopped before its end.
#[derive(Debug)]
pub enum Stop {
    NoFlow,
    NoRelease,
    Paused(String),
    Unreadable(hl7::Error),
    Mapping(Failure),
    Plan(sync::Fault),
    LeadSquared(leadsquared::Error),
    SeveralLeads {
        field: String,
        count: usize,
    },
    /// A value belongs to another person, and the flow waits for somebody to decide.
    OtherPerson {
        fields: Vec<String>,
    },
    /// There is no lead for an activity, and the flow may not create one: others go on, and it comes back then.
    NoLeadYet {
        due_at_ms: i64,
    },
    LeadGone,
    ActivityGone,
    /// What LeadSquared told cannot be read.
    UnreadableChange(webhook::Unreadable),
    /// The flow has no message to fill.
    NoTemplate,
    Unfinished(outgoing::Fault),
    Unfilled(hl7::fill::Fault),
    /// The EHR has not acknowledged the message.
    Ehr {
        unsent: Box<Unsent>,
        /// It has refused the message as often as the flow allows.
        is_last: bool,
    },
    /// The EHR has no identifier for the lead: others go on, and it comes back then.
    NoIdentifierYet {
        due_at_ms: i64,
    },
    /// This host is writing to LeadSquared, and the change may be that.
    OwnWrite {
        due_at_ms: i64,
    },
    /// A write of unknown outcome is looked up when its request can no longer be under way.
    LookUpLater {
        due_at_ms: i64,
    },
    Store(store::Error),
    /// Another host has the lane; this attempt must not touch it any more.
    LeaseLost,
}

/// The code of [`Stop::NoLeadYet`], by which the next try knows that LeadSquared was searched already.
pub const NO_LEAD_YET: &str = "no-lead-yet";

/// The code of [`Stop::NoIdentifierYet`], by which the next try knows that the lead is to be read again.
pub const NO_IDENTIFIER_YET: &str = "no-identifier-yet";

/// How long an EHR that cannot be reached is left alone at most: its line tries once a minute as well.
const LONGEST_SILENCE: Duration = Duration::from_secs(60);

/// The host that has the connection to the EHR is to claim the delivery next.
const ELSEWHERE: Duration = Duration::from_secs(1);

/// A component that runs out of time is given this many more tries: the machine may have been busy.
const TIMEOUT_TRIES: u32 = 3;

/// Waits between tries of a delivery grow from the first to the second of these.
const FIRST_WAIT: Duration = Duration::from_secs(2);
const LONGEST_WAIT: Duration = Duration::from_secs(15 * 60);

/// Doubles with every try, within bounds.
fn wait(tries: u32) -> Duration {
    FIRST_WAIT
        .saturating_mul(1 << (tries - 1).min(16))
        .min(LONGEST_WAIT)
}

/// Records one attempt: stage, code and duration, never text of the message.
pub fn attempt(
    stage: Stage,
    result: &Result<Done, Stop>,
    started_at: Timestamp,
    duration: Duration,
) -> Attempt {
    Attempt {
        stage: stage.as_str().into(),
        code: match result {
            Ok(done) => done.code(),
            Err(stop) => stop.code(),
        }
        .into(),
        started_at_ms: started_at.as_millisecond(),
        duration_ms: duration.as_millis() as i64,
    }
}

/// Decides the state that the delivery takes.
pub fn settlement(
    configuration: &Configuration,
    claimed: &Claimed,
    ledger: Ledger,
    result: Result<Done, Stop>,
    attempt: Attempt,
) -> Settlement {
    let hold = configuration
        .route(&claimed.flow)
        .is_some_and(|route| route.flow.hold_lane);
    let look_up_wait_ms = configuration
        .route(&claimed.flow)
        .map_or(0, |route| route.account.look_up_wait_ms());
    let code = attempt.code.clone();
    let awaits = awaited(configuration, claimed, &ledger.traces.misses, &result);
    let mut misses: Vec<_> = ledger
        .traces
        .misses
        .into_iter()
        .map(|Miss { table, code }| Missed { table, code })
        .collect();
    misses.sort();
    misses.dedup();
    let forget_below = matches!(result, Err(Stop::LeadGone));
    let (state, text, note) = match result {
        Ok(Done::Written(outcome)) => {
            let state = match outcome.is_delivered() {
                true => Settled::Delivered,
                false => Settled::Skipped,
            };
            (state, outcome.sentence(), None)
        }
        Ok(Done::Skipped { note }) => (
            Settled::Skipped,
            "the component skipped this message; its reason is kept sealed".into(),
            Some(note),
        ),
        Ok(Done::NothingToDo) => (
            Settled::Skipped,
            "the flow's lead behaviour is to do nothing: the message is kept, no component ran and no call was made"
                .into(),
            None,
        ),
        Ok(Done::Kept(said)) => (Settled::Delivered, said.join("; "), None),
        Ok(Done::Sent(sent)) => (Settled::Delivered, sent.sentence(), None),
        Ok(Done::NotSent(why)) => (Settled::Skipped, why.sentence().into(), None),
        Err(stop) => {
            let text = stop.sentence();
            let note = stop.note();
            let state = match awaits {
                // The entry brings it back.
                Some(_) => Settled::Parked,
                None => stop.state(claimed, hold, look_up_wait_ms),
            };
            (state, text, note)
        }
    };
    let mut ran = ledger.traces.ran;
    if let Some(ran) = &mut ran {
        // One that is tried again has not failed by its release yet: the machine may have been busy.
        ran.broke &= matches!(state, Settled::Dead { .. });
    }
    Settlement {
        state,
        reason: code,
        detail: text,
        note,
        attempt,
        finished: ledger.finished,
        links: ledger.links,
        forget: ledger.forget,
        // An activity under a lead that was merged may lie under the survivor now: it is looked for by its key.
        forget_below,
        // What is tried again by itself is found by its ids when it has come to rest.
        found_by: match state {
            Settled::Waiting { .. } | Settled::Aside { .. } => Vec::new(),
            _ => ledger.targets,
        },
        records: ledger.records,
        misses,
        awaits,
        ran,
    }
}

/// The code whose entry in a table of the account would let a refused message through.
fn awaited(
    configuration: &Configuration,
    claimed: &Claimed,
    misses: &[Miss],
    result: &Result<Done, Stop>,
) -> Option<Missed> {
    let Err(Stop::Mapping(Failure::Refused(refusal) | Failure::Waits(refusal))) = result else {
        return None;
    };
    let Refusal::UnmappedCode { table, code } = refusal else {
        return None;
    };
    let route = configuration.route(&claimed.flow)?;
    let in_force = route.serving(&claimed.lease).in_force.as_ref()?;
    let table = &in_force.release.tables.get(table)?.name;
    // A map inside the component may be called like a table.
    let is_looked_up = misses
        .iter()
        .any(|miss| miss.table == *table && miss.code == *code);
    is_looked_up.then(|| Missed {
        table: table.clone(),
        code: code.clone(),
    })
}

impl From<account::Error> for Stop {
    fn from(fault: account::Error) -> Self {
        match fault {
            account::Error::LeadSquared(fault) => Stop::LeadSquared(fault),
            account::Error::Store(fault) => Stop::Store(fault),
            account::Error::NoAccount(_)
            | account::Error::NotReached { .. }
            | account::Error::Refused(_) => Stop::NoFlow,
        }
    }
}

impl Done {
    fn code(&self) -> &'static str {
        match self {
            Done::Written(outcome) => outcome.code(),
            Done::Skipped { .. } => "skipped-by-component",
            Done::NothingToDo => "do-nothing",
            Done::Kept(_) => "identifiers-kept",
            Done::Sent(_) => "delivered",
            Done::NotSent(why) => why.code(),
        }
    }
}

impl Stop {
    fn code(&self) -> &'static str {
        match self {
            Stop::NoFlow => "no-flow",
            Stop::NoRelease => "no-release",
            Stop::Paused(_) => "flow-paused",
            Stop::Unreadable(_) => "unreadable",
            Stop::Mapping(failure) => failure.code(),
            Stop::Plan(fault) => fault.code(),
            Stop::LeadSquared(fault) => fault.code(),
            Stop::SeveralLeads { .. } => "several-leads",
            Stop::OtherPerson { .. } => "other-person",
            Stop::NoLeadYet { .. } => NO_LEAD_YET,
            Stop::LeadGone => "lead-gone",
            Stop::ActivityGone => "activity-gone",
            Stop::UnreadableChange(_) => "unreadable",
            Stop::NoTemplate => "no-template",
            Stop::Unfinished(_) => "unusable-value",
            Stop::Unfilled(_) => "not-filled",
            Stop::Ehr { unsent, .. } => unsent.code(),
            Stop::NoIdentifierYet { .. } => NO_IDENTIFIER_YET,
            Stop::OwnWrite { .. } => "own-write-under-way",
            Stop::LookUpLater { .. } => "looking-up",
            Stop::Store(_) => "storage",
            Stop::LeaseLost => "lease-lost",
        }
    }

    /// One sentence for the administrator: what happened and what to do or expect.
    fn sentence(&self) -> String {
        match self {
            Stop::NoFlow => "the flow was deleted: release the delivery once there is one again".into(),
            Stop::NoRelease => "the flow has no active release: activate one, then release the delivery".into(),
            Stop::Paused(why) => format!("the flow is paused ({why}): it goes on when the flow is started again"),
            Stop::Unreadable(fault) => format!("the message cannot be read: {fault}"),
            Stop::Mapping(failure) => failure.sentence(),
            Stop::Plan(fault) => fault.to_string(),
            Stop::LeadSquared(fault) => fault.sentence(),
            Stop::SeveralLeads { field, count } => format!(
                "{count} leads hold the searched value in {field}: merge them in LeadSquared, or choose a unique search field"
            ),
            Stop::OtherPerson { fields } => format!(
                "another person's lead holds the value of {}: correct it in LeadSquared or in the hospital's system, then release the delivery",
                fields.join(", ")
            ),
            Stop::NoLeadYet { .. } => "no lead has the search values and the flow may not create one: it is waited for, since registrations may come later".into(),
            Stop::LeadGone => "the lead was deleted or merged in LeadSquared: it is looked up again".into(),
            Stop::ActivityGone => "the activity was deleted in LeadSquared: it is created again".into(),
            Stop::UnreadableChange(fault) => format!("what LeadSquared told cannot be read: {fault}"),
            Stop::NoTemplate => "the flow has no message template to fill: give it one, then release the delivery".into(),
            Stop::Unfinished(fault) => fault.to_string(),
            Stop::Unfilled(fault) => format!("the template cannot be filled: {fault}"),
            Stop::Ehr { unsent, is_last: true } => format!(
                "{} It was sent as often as the flow allows: release the delivery when the EHR can take it.",
                unsent.sentence()
            ),
            Stop::Ehr { unsent, .. } => unsent.sentence(),
            Stop::NoIdentifierYet { .. } => "the lead has no patient identifier yet, and the EHR would not know who is meant: it is waited for".into(),
            Stop::OwnWrite { .. } => "this host is writing to LeadSquared, and the change may be its own: it is looked at when that is over".into(),
            Stop::LookUpLater { .. } => {
                "an earlier write was sent and never answered: LeadSquared is asked whether it took place before anything is sent again".into()
            }
            Stop::Store(fault) => format!("the journal could not be read: {fault}"),
            Stop::LeaseLost => "another host took over".into(),
        }
    }

    /// Words of the component, which may hold patient data; kept sealed.
    fn note(&self) -> Option<String> {
        match self {
            Stop::Mapping(failure) => failure.words(),
            _ => None,
        }
    }

    fn state(&self, claimed: &Claimed, hold: bool, look_up_wait_ms: u64) -> Settled {
        let after = |wait: Duration| Settled::Waiting {
            due_at_ms: Timestamp::now().as_millisecond() + wait.as_millis() as i64,
        };
        let retry = after(wait(claimed.tries));
        let dead = Settled::Dead { hold };
        match self {
            Stop::NoFlow | Stop::NoRelease | Stop::Paused(_) | Stop::OtherPerson { .. } => {
                Settled::Parked
            }
            Stop::NoLeadYet { due_at_ms } => Settled::Aside {
                due_at_ms: *due_at_ms,
            },
            Stop::LeadSquared(leadsquared::Error::UsedUp { until_ms }) => Settled::Waiting {
                due_at_ms: *until_ms,
            },
            Stop::NoTemplate => Settled::Parked,
            Stop::Plan(fault) if fault.waits() => Settled::Parked,
            Stop::Unfinished(fault) if fault.waits => Settled::Parked,
            Stop::NoIdentifierYet { due_at_ms } => Settled::Aside {
                due_at_ms: *due_at_ms,
            },
            Stop::Ehr { is_last: true, .. } => dead,
            Stop::Ehr { unsent, .. } => match (unsent.then(), unsent.outcome) {
                (Then::Dead, _) => dead,
                (_, Unreached::Elsewhere) => after(ELSEWHERE),
                (Then::Waits, _) => {
                    let most = wait(claimed.tries).min(LONGEST_SILENCE);
                    after(unsent.wait.unwrap_or(most))
                }
                (Then::Delivered | Then::SentAgain | Then::Repeated, _) => {
                    after(wait(claimed.tries).min(LONGEST_SILENCE))
                }
            },
            Stop::Unreadable(_)
            | Stop::UnreadableChange(_)
            | Stop::Unfinished(_)
            | Stop::Unfilled(_)
            | Stop::Plan(_)
            | Stop::SeveralLeads { .. } => dead,
            Stop::Mapping(Failure::TimedOut { .. }) if claimed.tries > TIMEOUT_TRIES => dead,
            Stop::Mapping(Failure::Waits(_)) => Settled::Parked,
            Stop::Mapping(failure) if failure.is_transient() => retry,
            Stop::Mapping(_) => dead,
            Stop::LeadSquared(fault) if fault.outcome_unknown() => {
                after(Duration::from_millis(look_up_wait_ms))
            }
            // Nothing is wrong with the message: it waits until somebody has mended the account.
            Stop::LeadSquared(fault) if fault.is_transient() || fault.is_account_wide() => retry,
            Stop::LeadSquared(_) => dead,
            // What was known is forgotten, so the next try resolves afresh; growing waits in case that does not help.
            Stop::LeadGone | Stop::ActivityGone if claimed.tries == 1 => after(Duration::ZERO),
            Stop::LeadGone | Stop::ActivityGone => retry,
            Stop::OwnWrite { due_at_ms } | Stop::LookUpLater { due_at_ms } => Settled::Waiting {
                due_at_ms: *due_at_ms,
            },
            Stop::Store(_) | Stop::LeaseLost => retry,
        }
    }
}
