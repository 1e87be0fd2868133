//! Which code answers a message: tables 0008, 0155 and 0357, and the matrix of original and enhanced mode.

use serde::{Deserialize, Serialize};

use super::super::Header;

/// HL7 table 0008.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AckCode {
    /// Accepted.
    Aa,
    /// Error in content or processing; trying again may help.
    Ae,
    /// Rejected; the same message will not be taken later either.
    Ar,
    /// Commit: in safe storage.
    Ca,
    /// Commit error: could not be stored now.
    Ce,
    /// Commit reject.
    Cr,
}

impl AckCode {
    /// The code as it stands in MSA-1.
    pub fn as_str(self) -> &'static str {
        match self {
            AckCode::Aa => "AA",
            AckCode::Ae => "AE",
            AckCode::Ar => "AR",
            AckCode::Ca => "CA",
            AckCode::Ce => "CE",
            AckCode::Cr => "CR",
        }
    }

    /// Whether the sender may forget the message.
    pub fn is_positive(self) -> bool {
        matches!(self, AckCode::Aa | AckCode::Ca)
    }
}

impl std::str::FromStr for AckCode {
    type Err = UnknownCode;

    fn from_str(text: &str) -> Result<Self, UnknownCode> {
        use AckCode::{Aa, Ae, Ar, Ca, Ce, Cr};
        let codes = [Aa, Ae, Ar, Ca, Ce, Cr].into_iter();
        codes
            .into_iter()
            .find(|code| code.as_str() == text)
            .ok_or(UnknownCode)
    }
}

/// MSA-1 holds none of the six codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("acknowledgement code is none of AA, AE, AR, CA, CE, CR")]
pub struct UnknownCode;

/// HL7 table 0357.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Condition {
    /// 100: segments missing, or in another order than the structure has them.
    SegmentSequence,
    /// 101: a required field is empty.
    RequiredFieldMissing,
    /// 102: a value is not of its field's type, a letter in a number.
    DataType,
    /// 103: a code that its table does not hold.
    TableValueNotFound,
    /// 104: a value is longer than its field.
    ValueTooLong,
    /// 199: the message cannot be read in another way.
    OtherSyntax,
    /// 200: MSH-9.1 is not taken.
    UnsupportedMessageType,
    /// 201: MSH-9.2 is not taken.
    UnsupportedEvent,
    /// 202: MSH-11 is not taken.
    UnsupportedProcessingId,
    /// 203: MSH-12 is not taken.
    UnsupportedVersion,
    /// 204: what the message is about is not known.
    UnknownKey,
    /// 205: what it adds is there already.
    DuplicateKey,
    /// 206: what it changes is locked just now.
    RecordLocked,
    /// 207: an error of the receiver that has no code of its own.
    Application,
}

impl Condition {
    /// The code of the table, for example 101.
    pub fn code(self) -> u16 {
        self.entry().0
    }

    /// The table's own wording.
    pub fn text(self) -> &'static str {
        self.entry().1
    }

    fn entry(self) -> (u16, &'static str) {
        match self {
            Condition::SegmentSequence => (100, "Segment sequence error"),
            Condition::RequiredFieldMissing => (101, "Required field missing"),
            Condition::DataType => (102, "Data type error"),
            Condition::TableValueNotFound => (103, "Table value not found"),
            Condition::ValueTooLong => (104, "Value too long"),
            Condition::OtherSyntax => (199, "Other HL7 syntax error"),
            Condition::UnsupportedMessageType => (200, "Unsupported message type"),
            Condition::UnsupportedEvent => (201, "Unsupported event code"),
            Condition::UnsupportedProcessingId => (202, "Unsupported processing id"),
            Condition::UnsupportedVersion => (203, "Unsupported version id"),
            Condition::UnknownKey => (204, "Unknown key identifier"),
            Condition::DuplicateKey => (205, "Duplicate key identifier"),
            Condition::RecordLocked => (206, "Application record locked"),
            Condition::Application => (207, "Application error"),
        }
    }
}

/// What became of a message at intake; mapping and delivery never change the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Durable.
    Stored,
    /// Not stored; the same message may be taken later.
    Failed,
    /// Will not be taken.
    Rejected,
}

/// How a channel answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AckMode {
    /// MSH-15 and MSH-16 are not looked at.
    Original,
    /// A commit code first, whatever MSH-15 says.
    Enhanced,
    /// As MSH-15 and MSH-16 ask.
    #[default]
    Auto,
}

/// The codes that answer one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Replies {
    /// The answer on the same connection; none if the sender asked for none, or sent an acknowledgement.
    pub first: Option<AckCode>,
    /// A second message, after a commit code, where MSH-16 asks for it.
    pub application: Option<AckCode>,
    /// MSH-15 or MSH-16 holds a value that table 0155 does not have.
    pub is_unclear: bool,
}

/// The one answer in [`AckMode::Auto`].
pub fn reply_code(header: &Header<'_>, outcome: Outcome) -> Option<AckCode> {
    replies(header, AckMode::Auto, outcome).first
}

/// Chooses codes by MSH-15 and MSH-16 (table 0155).
///
/// A message without MSH-10 cannot be correlated and is never answered positively.
pub fn replies(header: &Header<'_>, mode: AckMode, outcome: Outcome) -> Replies {
    if header.message_code == "ACK" {
        return Replies::default();
    }
    let outcome = match outcome {
        Outcome::Stored if header.control_id.trim().is_empty() => Outcome::Failed,
        outcome => outcome,
    };
    let stored = outcome == Outcome::Stored;
    let (application, commit) = match outcome {
        Outcome::Stored => (AckCode::Aa, AckCode::Ca),
        Outcome::Failed => (AckCode::Ae, AckCode::Ce),
        Outcome::Rejected => (AckCode::Ar, AckCode::Cr),
    };
    let accept = Wanted::of(&header.accept_ack);
    let second = Wanted::of(&header.application_ack);
    let is_unclear = mode != AckMode::Original && (accept.is_err() || second.is_err());
    let accept = accept.unwrap_or(Wanted::Unsaid);
    let second = second.unwrap_or(Wanted::Unsaid);
    let committed = |first| Replies {
        first: Some(first),
        application: second.wants(stored, false).then_some(application),
        is_unclear,
    };
    let single = |first| Replies {
        first,
        application: None,
        is_unclear,
    };
    match (mode, accept) {
        (AckMode::Original, _) => single(Some(application)),
        (AckMode::Enhanced, _) | (AckMode::Auto, Wanted::Always) => committed(commit),
        (AckMode::Auto, Wanted::Never) if second == Wanted::Never => single(None),
        (AckMode::Auto, Wanted::Unsaid | Wanted::Never) => single(Some(application)),
        (AckMode::Auto, Wanted::OnError) if stored => {
            single(second.wants(true, true).then_some(application))
        }
        (AckMode::Auto, Wanted::OnError) => committed(commit),
        (AckMode::Auto, Wanted::OnSuccess) if stored => committed(commit),
        (AckMode::Auto, Wanted::OnSuccess) => single(Some(application)),
    }
}

/// HL7 table 0155.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Unsaid,
    Always,
    Never,
    OnError,
    OnSuccess,
}

impl Wanted {
    fn of(value: &str) -> Result<Self, ()> {
        match value {
            "" => Ok(Wanted::Unsaid),
            "AL" => Ok(Wanted::Always),
            "NE" => Ok(Wanted::Never),
            "ER" => Ok(Wanted::OnError),
            "SU" => Ok(Wanted::OnSuccess),
            _ => Err(()),
        }
    }

    fn wants(self, stored: bool, when_unsaid: bool) -> bool {
        match self {
            Wanted::Unsaid => when_unsaid,
            Wanted::Always => true,
            Wanted::Never => false,
            Wanted::OnError => !stored,
            Wanted::OnSuccess => stored,
        }
    }
}
