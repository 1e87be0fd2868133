//! What is decided about a message before it is kept: who takes it, under which keys, and what is answered.

use jiff::Zoned;
use sha2::{Digest as _, Sha256};

use super::admission::{self, Admission, MOST_PATIENTS};
use super::configuration::Configuration;
use crate::flow::channel::{Duplicates, Unreadable};
use crate::flow::event_time::event_time;
use crate::flow::{Channel, Direction, Event, MessageId, search};
use crate::hl7;
use crate::hl7::ack::{self, AckCode, AckMode, Condition, Outcome, Replies};
use crate::store::journal::{Arrival, DuplicateKey, Rank, Route, Routed};

/// Oddities noted with a message; a message in a wrong character set could have one for every letter.
const WARNINGS: usize = 16;

/// A message whose event is older than this yields to new ones of other patients, in milliseconds.
const OLD_MS: i64 = 60 * 60 * 1_000;

/// What will be answered, once it is known whether the message is durable.
#[derive(Debug)]
pub struct Answer {
    /// The acknowledgements if the message was kept, in order; none where the sender wants none.
    pub kept: Vec<Vec<u8>>,
    /// The message, and the code if it could not be kept.
    if_not: Option<(hl7::Message, AckCode)>,
    /// What came is no text at all: nothing is answered and the connection is of no use.
    pub close: bool,
}

impl Answer {
    /// The acknowledgement if the message could not be kept: AE, or CE in enhanced mode.
    pub fn not_kept(self, now: &Zoned) -> Option<Vec<u8>> {
        let (message, code) = self.if_not?;
        let fault = ack::Fault {
            condition: Condition::Application,
            text: "message could not be stored, send it again",
            location: None,
        };
        Some(ack::build(&message, code, Some(&fault), &control_id(), now))
    }
}

/// Reads what the channel needs to know of one message and decides its route.
pub fn examine(
    configuration: &Configuration,
    channel: &Channel,
    payload: &[u8],
    now: &Zoned,
) -> (Arrival, Answer) {
    match hl7::Message::parse_with(payload, channel.reading()) {
        Ok(message) => readable(configuration, channel, payload, message, now),
        Err(fault) => unreadable(channel, payload, &fault, now),
    }
}

fn readable(
    configuration: &Configuration,
    channel: &Channel,
    payload: &[u8],
    message: hl7::Message,
    now: &Zoned,
) -> (Arrival, Answer) {
    let header = message.header();
    let event = Event::new(&header.message_code, &header.trigger_event);
    let mut admission = admission::decide(configuration, channel, &header, &event);
    let mut patients = channel.patient_key.keys(&message);
    if patients.len() > MOST_PATIENTS {
        admission = admission::about_too_many();
        patients.clear();
    }
    let rule = channel.exclusions.rule(&event, &message);
    if let Some(rule) = rule {
        admission = admission.excluded(rule);
    }
    let Admission {
        mut route,
        outcome,
        fault,
    } = admission;
    if let Route::Flows(routed) = &mut route {
        yield_if_old(configuration, routed, &message, now);
    }
    let codes = replies(channel, &header, outcome);
    let kept: Vec<Vec<u8>> = [codes.first, codes.application]
        .into_iter()
        .flatten()
        .map(|code| ack::build(&message, code, fault.as_ref(), &control_id(), now))
        .collect();
    let failed = replies(channel, &header, Outcome::Failed).first;
    let identity = [
        channel.id.as_str(),
        &*header.sending_application,
        &*header.sending_facility,
        header.control_id,
        header.message_time,
    ]
    .join("|");
    let arrival = Arrival {
        id: MessageId::generate(),
        account: channel.account.clone(),
        channel: channel.id.clone(),
        direction: Direction::EhrToLeadSquared,
        received_at_ms: now.timestamp().as_millisecond(),
        control_id: header.control_id.to_owned(),
        event: event.to_string(),
        sender: format!("{}|{}", header.sending_application, header.sending_facility),
        version: header.version.to_string(),
        duplicate: (!header.control_id.is_empty() && channel.duplicates == Duplicates::Answer)
            .then(|| DuplicateKey {
                identity,
                payload: Sha256::digest(payload).into(),
            }),
        lanes: patients,
        search: search::keys(&message),
        acknowledgement: kept.concat(),
        payload: payload.to_vec(),
        facts_only: rule.is_some(),
        warnings: warnings(&message, codes.is_unclear),
        peer: String::new(),
        load: None,
        origin: None,
        route,
    };
    let answer = Answer {
        kept,
        if_not: failed.map(|code| (message, code)),
        close: false,
    };
    (arrival, answer)
}

/// What comes late, after hours without a connection, goes behind what happens now to other patients.
fn yield_if_old(
    configuration: &Configuration,
    routed: &mut [Routed],
    message: &hl7::Message,
    now: &Zoned,
) {
    for routed in routed {
        let Some(route) = configuration.route(&routed.flow) else {
            continue;
        };
        let happened = event_time(message, &route.zone);
        let age_ms = happened.map_or(0, |at| now.timestamp().as_millisecond() - at.earliest_ms);
        if age_ms > OLD_MS {
            routed.rank = Rank::new(routed.rank.number() + 2);
        }
    }
}

/// The oddities of a message as codes with offsets, one behind the other.
fn warnings(message: &hl7::Message, acknowledgement_is_unclear: bool) -> String {
    let unclear = acknowledgement_is_unclear.then(|| "ack-condition-unknown".to_owned());
    let read = message
        .warnings()
        .iter()
        .map(|warning| format!("{}@{}", warning.code, warning.offset));
    read.chain(unclear)
        .take(WARNINGS)
        .collect::<Vec<_>>()
        .join(" ")
}

/// The codes that answer `outcome`.
///
/// A second answer goes out on channels in enhanced mode alone: many senders ask for it in MSH-16 without meaning it, and
/// would take it for the answer to their next message.
fn replies(channel: &Channel, header: &hl7::Header<'_>, outcome: Outcome) -> Replies {
    let never = header.accept_ack == "NE" && header.application_ack == "NE";
    let mode = if never && !channel.obey_never {
        AckMode::Original
    } else {
        channel.ack_mode
    };
    let mut codes = ack::replies(header, mode, outcome);
    if mode != AckMode::Enhanced {
        codes.application = None;
    }
    codes
}

/// Our own MSH-10, never the sender's: answers are matched by MSA-2.
fn control_id() -> String {
    ack::control_id(uuid::Uuid::now_v7().as_u128())
}

fn unreadable(
    channel: &Channel,
    payload: &[u8],
    fault: &hl7::Error,
    now: &Zoned,
) -> (Arrival, Answer) {
    let built = match channel.unreadable {
        Unreadable::Answer => ack::build_unreadable(payload, &control_id(), now),
        Unreadable::Close => None,
    };
    let close = built.is_none();
    let kept: Vec<Vec<u8>> = built.into_iter().collect();
    let route = Route::Rejected {
        reason: "unreadable",
        text: fault.to_string(),
    };
    let arrival = Arrival {
        acknowledgement: kept.concat(),
        ..bare(channel, payload, route, now)
    };
    let answer = Answer {
        kept,
        if_not: None,
        close,
    };
    (arrival, answer)
}

/// Keeps what came of a frame that never was whole; nobody is answered.
pub fn cut_off(
    channel: &Channel,
    payload: &[u8],
    code: &'static str,
    now: &Zoned,
) -> (Arrival, Answer) {
    let text = "the frame was not whole when it ended, so it was not answered: the sender still has the message".into();
    let route = Route::Rejected { reason: code, text };
    let answer = Answer {
        kept: Vec::new(),
        if_not: None,
        close: false,
    };
    (bare(channel, payload, route, now), answer)
}

/// A row for bytes of which nothing could be read.
fn bare(channel: &Channel, payload: &[u8], route: Route, now: &Zoned) -> Arrival {
    Arrival {
        id: MessageId::generate(),
        account: channel.account.clone(),
        channel: channel.id.clone(),
        direction: Direction::EhrToLeadSquared,
        received_at_ms: now.timestamp().as_millisecond(),
        control_id: String::new(),
        event: String::new(),
        sender: String::new(),
        version: String::new(),
        duplicate: None,
        lanes: Vec::new(),
        search: Vec::new(),
        acknowledgement: Vec::new(),
        payload: payload.to_vec(),
        facts_only: false,
        warnings: String::new(),
        peer: String::new(),
        load: None,
        origin: None,
        route,
    }
}
