//! What is decided about a message before it is kept: who takes it, under which keys, and what is answered.

use jiff::Zoned;
use sha2::{Digest as _, Sha256};

use super::configuration::Configuration;
use crate::flow::channel::NoFlow;
use crate::flow::{Channel, Direction, Event, MessageId, Status, search};
use crate::hl7::ack::{self, AckCode, AckMode, Condition, Outcome};
use crate::hl7::{self, Path};
use crate::store::journal::{Arrival, DuplicateKey, Route, Routed, Start};

/// What will be answered, once it is known whether the message is durable.
#[derive(Debug)]
pub struct Answer {
    /// The acknowledgement if the message was kept; none where the sender wants none.
    pub kept: Option<Vec<u8>>,
    /// The message, and the code if it could not be kept.
    if_not: Option<(hl7::Message, AckCode)>,
}

impl Answer {
    /// The acknowledgement if the message could not be kept: AE, or CE in enhanced mode.
    pub fn not_kept(self, now: &Zoned) -> Option<Vec<u8>> {
        let (message, code) = self.if_not?;
        let fault = fault(
            Condition::Application,
            "message could not be stored, send it again",
            None,
        );
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
    match hl7::Message::parse(payload) {
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
    let (route, outcome, fault) = decide(configuration, channel, &header, &event);
    let answer = code(channel, &header, outcome)
        .map(|code| ack::build(&message, code, fault.as_ref(), &control_id(), now));
    let failed = code(channel, &header, Outcome::Failed);
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
        duplicate: (!header.control_id.is_empty()).then(|| DuplicateKey {
            identity,
            payload: Sha256::digest(payload).into(),
        }),
        lanes: channel.patient_key.keys(&message),
        search: search::keys(&message),
        acknowledgement: answer.clone().unwrap_or_default(),
        payload: payload.to_vec(),
        route,
    };
    (
        arrival,
        Answer {
            kept: answer,
            if_not: failed.map(|code| (message, code)),
        },
    )
}

/// The code that answers `outcome`; none where the sender wants no answer and the channel obeys.
fn code(channel: &Channel, header: &hl7::Header<'_>, outcome: Outcome) -> Option<AckCode> {
    let never = header.accept_ack == "NE" && header.application_ack == "NE";
    let mode = if never && !channel.obey_never {
        AckMode::Original
    } else {
        AckMode::Auto
    };
    ack::replies(header, mode, outcome).first
}

/// Decides by channel checks alone; mapping never has a say in what is answered.
fn decide(
    configuration: &Configuration,
    channel: &Channel,
    header: &hl7::Header<'_>,
    event: &Event,
) -> (Route, Outcome, Option<ack::Fault>) {
    if header.message_code == "ACK" {
        // `reply_code` never answers one.
        let text =
            "an acknowledgement arrived on a listener, where only messages are expected".into();
        return (
            Route::Skipped {
                reason: "acknowledgement",
                text,
            },
            Outcome::Stored,
            None,
        );
    }
    if header.control_id.is_empty() {
        let text = "MSH-10 is empty: without a control id the sender cannot match an answer".into();
        return (
            Route::Rejected {
                reason: "no-control-id",
                text,
            },
            Outcome::Rejected,
            Some(fault(
                Condition::RequiredFieldMissing,
                "MSH-10 is empty",
                Path::new("MSH", Some(10)),
            )),
        );
    }
    let routed: Vec<Routed> = configuration
        .takers(&channel.id, event)
        .map(|route| Routed {
            flow: route.flow.id.clone(),
            start: match &route.flow.status {
                Status::Paused(why) => Start::Parked {
                    reason: "flow-paused",
                    text: format!("the flow is paused ({why})"),
                },
                _ => Start::Queued,
            },
        })
        .collect();
    if !routed.is_empty() {
        return (Route::Flows(routed), Outcome::Stored, None);
    }
    let text = format!("no flow takes {event}");
    match channel.no_flow {
        NoFlow::Accept => (
            Route::Skipped {
                reason: "no-flow",
                text,
            },
            Outcome::Stored,
            None,
        ),
        NoFlow::Reject => {
            let fault = fault(
                Condition::UnsupportedEvent,
                "event is not taken here",
                Path::new("MSH", Some(9)),
            );
            (
                Route::Rejected {
                    reason: "no-flow",
                    text,
                },
                Outcome::Rejected,
                Some(fault),
            )
        }
    }
}

fn fault(condition: Condition, text: &'static str, location: Option<Path>) -> ack::Fault {
    ack::Fault {
        condition,
        text,
        location,
    }
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
    let answer = ack::build_unreadable(payload, &control_id(), now);
    let route = Route::Rejected {
        reason: "unreadable",
        text: fault.to_string(),
    };
    let arrival = Arrival {
        acknowledgement: answer.clone().unwrap_or_default(),
        ..bare(channel, payload, route, now)
    };
    (
        arrival,
        Answer {
            kept: answer,
            if_not: None,
        },
    )
}

/// Keeps what came of a frame that never was whole; nobody is answered.
pub fn cut_off(
    channel: &Channel,
    payload: &[u8],
    code: &'static str,
    now: &Zoned,
) -> (Arrival, Answer) {
    let text = "the frame was not whole when it ended, so it was not answered: the sender still has the message".into();
    let arrival = bare(
        channel,
        payload,
        Route::Rejected { reason: code, text },
        now,
    );
    (
        arrival,
        Answer {
            kept: None,
            if_not: None,
        },
    )
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
        route,
    }
}
