//! Sending to the EHR: a message out over its channel's line, the answer to it back, and what that answer means.
//!
//! [`TABLE`] says what follows each outcome; nothing else decides. The lines themselves are kept by `serve`, which notes
//! them here: this room knows no sockets. Start at [`Pipeline::send`].

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;
use utoipa::ToSchema;

use super::Pipeline;
use crate::flow::ChannelId;
use crate::hl7::ack::AckCode;
use crate::hl7::{self, Message};
use crate::mllp::sender::{Error, Line, Match, Settled};

/// A line that could not connect is left alone for this long at least.
const SHORTEST_REST: Duration = Duration::from_secs(2);

/// How a channel to the EHR stands on this host.
#[derive(Debug, Clone)]
pub enum Sending {
    /// Messages go out over this line.
    Here(Line),
    /// Another host has the connection: many EHRs take only one.
    Elsewhere,
    /// It cannot send, and why: for people.
    Not(String),
}

/// The channels that send, by what `serve` has noted last.
#[derive(Debug, Default)]
pub struct Lines(Mutex<BTreeMap<ChannelId, Sending>>);

/// What can come of sending one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    Accepted,
    Committed,
    /// Committed; the application acknowledgement that was asked for did not come.
    NotApplied,
    ApplicationError,
    CommitError,
    ApplicationReject,
    CommitReject,
    /// Answered, with a code that table 0008 does not have.
    UnknownCode,
    /// Only answers to something else came.
    Foreign,
    Silent,
    /// The connection ended before the answer.
    Lost,
    NotMllp,
    NotSent,
    Elsewhere,
    NoLine,
    Unsendable,
}

/// What follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Then {
    /// The EHR has it.
    Delivered,
    /// It waits, and is sent again as often as the flow allows: the same bytes with the same control id.
    SentAgain,
    /// The EHR may have it: the same bytes with the same control id go out until there is an answer.
    Repeated,
    /// Nothing went out: it is sent as soon as it can be.
    Waits,
    /// A person decides.
    Dead,
}

/// One row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub struct Row {
    pub outcome: Outcome,
    /// What came back.
    pub answer: &'static str,
    pub then: Then,
    /// The code that the delivery shows.
    pub code: &'static str,
    /// What happened, and what to do or what happens next.
    pub text: &'static str,
}

/// What follows each outcome (HL7 chapter 2.9, table 0008; `hl7.md` 2.6).
pub const TABLE: [Row; 16] = [
    row(
        Outcome::Accepted,
        "AA",
        Then::Delivered,
        "ehr-accepted",
        "The EHR has accepted the message.",
    ),
    row(
        Outcome::Committed,
        "CA",
        Then::Delivered,
        "ehr-committed",
        "The EHR has the message in safe storage.",
    ),
    row(
        Outcome::NotApplied,
        "CA, and no application acknowledgement in time",
        Then::Delivered,
        "ehr-committed",
        "The EHR has the message in safe storage; what it made of it was not told in time.",
    ),
    row(
        Outcome::ApplicationError,
        "AE",
        Then::SentAgain,
        "ehr-error",
        "The EHR could not process the message. It is sent again; see its answer for why.",
    ),
    row(
        Outcome::CommitError,
        "CE",
        Then::SentAgain,
        "ehr-error",
        "The EHR could not store the message. It is sent again; see its answer for why.",
    ),
    row(
        Outcome::ApplicationReject,
        "AR",
        Then::Dead,
        "ehr-rejected",
        "The EHR rejected the message and will reject it again. Correct the flow's template or mapping with the EHR's \
         team, then release it.",
    ),
    row(
        Outcome::CommitReject,
        "CR",
        Then::Dead,
        "ehr-rejected",
        "The EHR rejected the message and will reject it again. Correct the flow's template or mapping with the EHR's \
         team, then release it.",
    ),
    row(
        Outcome::UnknownCode,
        "a code that is none",
        Then::Repeated,
        "ehr-answer-unknown",
        "The EHR answered with a code that HL7 does not have. The same message is sent again with the same control id.",
    ),
    row(
        Outcome::Foreign,
        "only acknowledgements of something else, or none that can be read",
        Then::Repeated,
        "ehr-answer-foreign",
        "The EHR answered, but not to this message. The same message is sent again with the same control id.",
    ),
    row(
        Outcome::Silent,
        "nothing in time",
        Then::Repeated,
        "ehr-silent",
        "The EHR did not answer in time. The same message is sent again with the same control id.",
    ),
    row(
        Outcome::Lost,
        "the connection ended",
        Then::Repeated,
        "ehr-connection-lost",
        "The connection ended before the EHR answered. The same message is sent again with the same control id.",
    ),
    row(
        Outcome::NotMllp,
        "something that is no MLLP",
        Then::Repeated,
        "ehr-not-mllp",
        "What answers is no MLLP listener: check the channel's address. The same message is sent again.",
    ),
    row(
        Outcome::NotSent,
        "nothing was sent",
        Then::Waits,
        "ehr-unreachable",
        "The EHR cannot be reached. The message is sent as soon as it can be.",
    ),
    row(
        Outcome::Elsewhere,
        "nothing was sent",
        Then::Waits,
        "ehr-sent-by-another-host",
        "Another host has the connection to the EHR, and sends the message.",
    ),
    row(
        Outcome::NoLine,
        "nothing was sent",
        Then::Waits,
        "ehr-no-connection",
        "The channel does not send on this host: see the channel for why. The message is sent as soon as it can be.",
    ),
    row(
        Outcome::Unsendable,
        "nothing was sent",
        Then::Dead,
        "ehr-unsendable",
        "The message cannot be sent: it is no HL7, or holds a character that ends frames.",
    ),
];

const fn row(
    outcome: Outcome,
    answer: &'static str,
    then: Then,
    code: &'static str,
    text: &'static str,
) -> Row {
    Row {
        outcome,
        answer,
        then,
        code,
        text,
    }
}

impl Outcome {
    /// The row that says what follows.
    pub fn row(self) -> &'static Row {
        // Rows stand in the order of the outcomes; a test looks.
        &TABLE[self as usize]
    }

    fn of_code(code: AckCode) -> Self {
        match code {
            AckCode::Aa => Outcome::Accepted,
            AckCode::Ae => Outcome::ApplicationError,
            AckCode::Ar => Outcome::ApplicationReject,
            AckCode::Ca => Outcome::Committed,
            AckCode::Ce => Outcome::CommitError,
            AckCode::Cr => Outcome::CommitReject,
        }
    }
}

/// The EHR has a message.
#[derive(Debug)]
pub struct Acknowledged {
    pub outcome: Outcome,
    /// The last answer, to read patient and appointment identifiers from.
    pub response: Message,
    /// From the moment the message was given to the line.
    pub duration: Duration,
    /// Answers that came meanwhile and belong to something else.
    pub foreign: u64,
}

/// The EHR has not acknowledged a message.
#[derive(Debug)]
pub struct Unsent {
    pub outcome: Outcome,
    /// What happened on the wire, without patient data; empty where the outcome says it all.
    pub cause: String,
    /// The code of table 0357 that the EHR gave (ERR-3, or MSA-6 before 2.5).
    pub condition: Option<u16>,
    /// What the EHR answered; may hold patient data.
    pub response: Option<Box<Message>>,
    /// When it is of use to try again, where that is known.
    pub wait: Option<Duration>,
}

impl Unsent {
    fn of(outcome: Outcome) -> Self {
        Self {
            outcome,
            cause: String::new(),
            condition: None,
            response: None,
            wait: None,
        }
    }

    pub fn then(&self) -> Then {
        self.outcome.row().then
    }

    /// The short name kept with an attempt.
    pub fn code(&self) -> &'static str {
        self.outcome.row().code
    }

    /// One or two sentences for the administrator.
    pub fn sentence(&self) -> String {
        let text = self.outcome.row().text;
        let condition = self.condition.map(|code| format!("condition {code}"));
        let cause = Some(self.cause.clone()).filter(|cause| !cause.is_empty());
        match condition.or(cause) {
            Some(more) => format!("{text} ({more})"),
            None => text.to_owned(),
        }
    }
}

impl Pipeline {
    /// Notes how a channel sends from now on; none takes the note away.
    pub fn note_sending(&self, channel: &ChannelId, sending: Option<Sending>) {
        let mut lines = self.lines.0.lock().unwrap_or_else(PoisonError::into_inner);
        match sending {
            Some(sending) => drop(lines.insert(channel.clone(), sending)),
            None => drop(lines.remove(channel)),
        }
    }

    /// How a channel sends on this host; none while it was not tried, or for one that does not send.
    pub fn sending(&self, channel: &ChannelId) -> Option<Sending> {
        let lines = self.lines.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.get(channel).cloned()
    }

    /// Sends a message over its channel and waits for the EHR's answer; `control_id` is its MSH-10 as it stands.
    ///
    /// Never sends twice: what is to be done next is in the error.
    ///
    /// # Errors
    /// Every outcome but the three that are delivered.
    pub async fn send(
        &self,
        channel: &ChannelId,
        control_id: &str,
        bytes: &[u8],
    ) -> Result<Acknowledged, Unsent> {
        let line = match self.sending(channel) {
            Some(Sending::Here(line)) => line,
            Some(Sending::Elsewhere) => return Err(Unsent::of(Outcome::Elsewhere)),
            Some(Sending::Not(cause)) => {
                return Err(Unsent {
                    cause,
                    ..Unsent::of(Outcome::NoLine)
                });
            }
            None => return Err(Unsent::of(Outcome::NoLine)),
        };
        let reading = self.reading_of_answers(channel);
        let Some(asks) = asks_for_application(bytes, control_id) else {
            return Err(Unsent::of(Outcome::Unsendable));
        };
        let id = control_id.to_owned();
        let judge = move |answer: &[u8]| recognise(answer, &id, reading, asks);
        let settled = line.send(bytes.to_vec(), judge).await;
        judged(settled, reading)
    }

    fn reading_of_answers(&self, channel: &ChannelId) -> hl7::Options {
        let configuration = self.configuration();
        let mut targets = configuration.targets.iter();
        let target = targets.find(|known| known.id == *channel);
        target.map(|target| target.reading()).unwrap_or_default()
    }
}

/// Whether a message asks for an application acknowledgement behind the commit (MSH-16); none for what is no message
/// with this control id.
///
/// `SU` and `ER` ask for one only sometimes: whether to wait cannot be known, and the commit is enough.
fn asks_for_application(bytes: &[u8], control_id: &str) -> Option<bool> {
    let message = Message::parse(bytes).ok()?;
    let header = message.header();
    (header.control_id == control_id && !control_id.is_empty())
        .then(|| header.application_ack == "AL")
}

/// MSA-1 and MSA-2 of an answer; none where it has no MSA.
fn msa(message: &Message) -> Option<(&str, &str)> {
    let msa = message.segments().find(|segment| segment.name() == "MSA")?;
    let field = |number| msa.field(number).unwrap_or_default().trim();
    Some((field(1), field(2)))
}

fn recognise(answer: &[u8], control_id: &str, reading: hl7::Options, asks: bool) -> Match {
    let Ok(message) = Message::parse_with(answer, reading) else {
        return Match::Foreign;
    };
    match msa(&message) {
        Some((code, id)) if id == control_id => match code.parse() {
            Ok(AckCode::Ca) if asks => Match::Commit,
            _ => Match::Final,
        },
        _ => Match::Foreign,
    }
}

/// What an end of a payload on its line means.
fn judged(settled: Settled<()>, reading: hl7::Options) -> Result<Acknowledged, Unsent> {
    let Settled {
        commit,
        result,
        duration,
        foreign,
        ..
    } = settled;
    let read = |bytes: &[u8]| Message::parse_with(bytes, reading).ok();
    let acknowledged = |outcome, response| Acknowledged {
        outcome,
        response,
        duration,
        foreign,
    };
    let error = match result {
        Ok(answer) => {
            let response = read(&answer).ok_or_else(|| Unsent::of(Outcome::Foreign))?;
            let code = msa(&response).map(|(code, _)| code.to_owned());
            let code: Option<AckCode> = code.and_then(|code| code.parse().ok());
            let outcome = code.map_or(Outcome::UnknownCode, Outcome::of_code);
            return match outcome.row().then {
                Then::Delivered => Ok(acknowledged(outcome, response)),
                _ => Err(Unsent {
                    condition: condition(&response),
                    response: Some(Box::new(response)),
                    ..Unsent::of(outcome)
                }),
            };
        }
        Err(error) => error,
    };
    // The commit says "do not send again", whatever became of the connection afterwards.
    if let Some(response) = commit.as_deref().and_then(read) {
        return Ok(acknowledged(Outcome::NotApplied, response));
    }
    let outcome = match &error {
        Error::Payload(_) => Outcome::Unsendable,
        error if !error.was_sent() => Outcome::NotSent,
        Error::TimedOut(_) | Error::NotApplied(_) if foreign > 0 => Outcome::Foreign,
        Error::TimedOut(_) | Error::NotApplied(_) => Outcome::Silent,
        Error::NotMllp => Outcome::NotMllp,
        _ => Outcome::Lost,
    };
    let wait = match &error {
        Error::Resting { wait, .. } => Some((*wait).max(SHORTEST_REST)),
        Error::Busy { wait, .. } => Some(*wait),
        _ => None,
    };
    Err(Unsent {
        cause: error.to_string(),
        wait,
        ..Unsent::of(outcome)
    })
}

/// The first code of table 0357 in the answer: a number of the table, never text.
fn condition(response: &Message) -> Option<u16> {
    let field = |name: &str, number: usize| {
        let mut segments = response.segments();
        let segment = segments.find(|segment| segment.name() == name)?;
        let text = segment.field(number)?;
        let code: String = text.chars().take_while(char::is_ascii_digit).collect();
        code.parse().ok().filter(|code| (0..=299).contains(code))
    };
    field("ERR", 3).or_else(|| field("MSA", 6))
}

#[cfg(test)]
mod tests;
