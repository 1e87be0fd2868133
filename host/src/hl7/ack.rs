//! Acknowledgements: which code answers a message, and the bytes of the answer.
//!
//! The answer is built from bytes, so that what it echoes is what was received; a raw control byte is never echoed.
//! [`replies`] chooses the codes, [`build`] writes one answer, [`build_unreadable`] answers what is no message.

use std::borrow::Cow;

use super::path::{Index, Path};
use super::stamp::time_stamp;
use super::{Delimiters, Header, Message, batch, delimiters, escape};

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
    SegmentSequence,
    RequiredFieldMissing,
    DataType,
    TableValueNotFound,
    ValueTooLong,
    OtherSyntax,
    UnsupportedMessageType,
    UnsupportedEvent,
    UnsupportedProcessingId,
    UnsupportedVersion,
    UnknownKey,
    DuplicateKey,
    RecordLocked,
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

/// What was wrong, for ERR and MSA-3.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    pub condition: Condition,
    /// Fixed wording of ours, without a value of the message: the sender logs it.
    pub text: &'static str,
    pub location: Option<Path>,
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
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

/// Writes the answer to `inbound` in its own delimiters, character set and version.
///
/// `control_id` is our own MSH-10, at most 20 characters up to version 2.5.1; see [`control_id`].
pub fn build(
    inbound: &Message,
    code: AckCode,
    fault: Option<&Fault>,
    control_id: &str,
    now: &jiff::Zoned,
) -> Vec<u8> {
    let mut fields = vec![Cow::Borrowed(&b""[..]); 19];
    if let Some(header) = inbound.segments().next() {
        for (number, slot) in fields.iter_mut().enumerate() {
            *slot = inbound.bytes_of(header.field(number).unwrap_or_default());
        }
    }
    let event = inbound.header().trigger_event.into_owned();
    let origin = Origin {
        delimiters: *inbound.delimiters(),
        encoding_characters: fields[2].to_vec(),
        version: Version::of(&inbound.header().version),
        fields,
        event,
    };
    origin.answer(code, fault, control_id, now)
}

/// Writes the answer to bytes that are no message; `None` if they are no text at all, and the connection should be closed.
///
/// A line that begins with `MSH` is answered AR with what it holds; without one, the answer has no MSA-2.
pub fn build_unreadable(bytes: &[u8], control_id: &str, now: &jiff::Zoned) -> Option<Vec<u8>> {
    let controls = bytes
        .iter()
        .filter(|byte| byte.is_ascii_control() && !byte.is_ascii_whitespace())
        .count();
    if controls * 10 > bytes.len() * 3 {
        return None;
    }
    let header = batch::find_header(bytes);
    let origin = header.map_or_else(Origin::unknown, |at| Origin::of_line(&bytes[at..]));
    let (condition, text) = match header {
        None => (Condition::SegmentSequence, "no MSH segment found"),
        Some(_) if origin.fields[10].is_empty() => {
            (Condition::RequiredFieldMissing, "MSH-10 is empty")
        }
        Some(_) => (Condition::OtherSyntax, "message cannot be read"),
    };
    let fault = Fault {
        condition,
        text,
        location: Path::new("MSH", None),
    };
    Some(origin.answer(AckCode::Ar, Some(&fault), control_id, now))
}

/// A control id of 20 characters, the most that every version allows, from a `UUIDv7`: its time and 52 of its random bits.
pub fn control_id(uuid: u128) -> String {
    const DIGITS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    let bits = (uuid >> 80) << 52 | (uuid & ((1 << 52) - 1));
    (0..20)
        .rev()
        .map(|digit| char::from(DIGITS[(bits >> (digit * 5)) as usize % 32]))
        .collect()
}

/// What an answer takes over from the message it answers.
struct Origin<'a> {
    delimiters: Delimiters,
    encoding_characters: Vec<u8>,
    /// By field number of MSH, as received.
    fields: Vec<Cow<'a, [u8]>>,
    event: String,
    version: Version,
}

impl<'a> Origin<'a> {
    fn unknown() -> Self {
        let delimiters = Delimiters::default();
        Self {
            encoding_characters: delimiters.encoding_characters(),
            delimiters,
            fields: vec![Cow::Borrowed(&b""[..]); 19],
            event: String::new(),
            version: Version(2, 5, 1),
        }
    }

    /// Takes what it can from a line that begins with `MSH` and a usable separator.
    fn of_line(header: &'a [u8]) -> Self {
        let end = memchr::memchr2(b'\r', b'\n', header).unwrap_or(header.len());
        let separator = header[3];
        let mut fields: Vec<_> = std::iter::once(&b""[..])
            .chain(header[..end].split(|&byte| byte == separator))
            .map(Cow::Borrowed)
            .take(19)
            .collect();
        fields.resize(19, Cow::Borrowed(&b""[..]));
        let (delimiters, encoding_characters) = match Delimiters::read(header) {
            Ok((delimiters, _)) => (delimiters, fields[2].to_vec()),
            Err(_) => {
                let delimiters = Delimiters::around(separator);
                (delimiters, delimiters.encoding_characters())
            }
        };
        let first = |field: &[u8], number| {
            let part = field
                .split(|&byte| byte == delimiters.component)
                .nth(number);
            String::from_utf8_lossy(part.unwrap_or_default())
                .trim()
                .to_owned()
        };
        Self {
            delimiters,
            encoding_characters,
            event: first(&fields[9], 1),
            version: Version::of(&first(&fields[12], 0)),
            fields,
        }
    }

    fn answer(
        &self,
        code: AckCode,
        fault: Option<&Fault>,
        control_id: &str,
        now: &jiff::Zoned,
    ) -> Vec<u8> {
        let version = self.version;
        let component = char::from(self.delimiters.component);
        let event = self.event.as_str();
        let message_type = match version >= Version(2, 4, 0)
            && !event.is_empty()
            && event.bytes().all(|b| b.is_ascii_alphanumeric())
        {
            true => format!("ACK{component}{event}{component}ACK"),
            false => "ACK".into(),
        };
        let or = |number: usize, default: &'static str| match self.echo(number) {
            value if value.is_empty() => default.as_bytes().to_vec(),
            value => value,
        };
        let msh = [
            b"MSH".to_vec(),
            self.encoding_characters.clone(),
            self.echo(5),
            self.echo(6),
            self.echo(3),
            self.echo(4),
            time_stamp(now).into_bytes(),
            Vec::new(),
            message_type.into_bytes(),
            self.own(control_id),
            or(11, "P"),
            or(12, "2.5.1"),
            Vec::new(),
            Vec::new(),
            Vec::new(),
            Vec::new(),
            Vec::new(),
            self.echo(18),
        ];
        let mut out = Vec::with_capacity(256);
        self.segment(msh.to_vec(), &mut out);
        let condition = fault.map(|fault| {
            let condition = fault.condition;
            format!(
                "{}{component}{}{component}HL70357",
                condition.code(),
                condition.text()
            )
        });
        let text = fault.map(|fault| self.own(fault.text)).unwrap_or_default();
        let mut msa = vec![
            b"MSA".to_vec(),
            code.as_str().as_bytes().to_vec(),
            self.echo(10),
        ];
        if version < Version(2, 7, 0) {
            msa.push(text.clone());
        }
        if version >= Version(2, 2, 0)
            && version < Version(2, 5, 0)
            && let Some(condition) = &condition
        {
            msa.extend([Vec::new(), Vec::new(), condition.clone().into_bytes()]);
        }
        self.segment(msa, &mut out);
        if let (Some(fault), Some(condition)) = (fault, condition)
            && !code.is_positive()
        {
            let err = match version < Version(2, 5, 0) {
                true => vec![b"ERR".to_vec(), self.location_with_code(fault).into_bytes()],
                false => {
                    let mut err = vec![
                        b"ERR".to_vec(),
                        Vec::new(),
                        self.location(fault, 6).into_bytes(),
                        condition.into_bytes(),
                        b"E".to_vec(),
                        Vec::new(),
                        Vec::new(),
                        text.clone(),
                    ];
                    if version >= Version(2, 7, 0) {
                        err.push(text);
                    }
                    err
                }
            };
            self.segment(err, &mut out);
        }
        out
    }

    /// A field of the inbound header byte for byte, but for control bytes, which could break the answer's frame.
    fn echo(&self, number: usize) -> Vec<u8> {
        let field = &self.fields[number];
        let mut out = Vec::with_capacity(field.len());
        for &byte in field.iter() {
            match self.delimiters.escape {
                _ if !byte.is_ascii_control() => out.push(byte),
                Some(escape) => {
                    out.push(escape);
                    out.extend_from_slice(format!("X{byte:02X}").as_bytes());
                    out.push(escape);
                }
                None => out.push(b'?'),
            }
        }
        out
    }

    /// Our own text, escaped; where the message has no escape character, what would need one becomes a blank.
    fn own(&self, text: &str) -> Vec<u8> {
        match escape::encode(text, &self.delimiters) {
            Some(text) => text.into_owned().into_bytes(),
            None => text
                .bytes()
                .map(|byte| {
                    if delimiters::usable(byte) || byte.is_ascii_control() {
                        b' '
                    } else {
                        byte
                    }
                })
                .collect(),
        }
    }

    fn segment(&self, mut fields: Vec<Vec<u8>>, out: &mut Vec<u8>) {
        while fields.last().is_some_and(Vec::is_empty) {
            fields.pop();
        }
        out.extend_from_slice(&fields.join(&self.delimiters.field));
        out.push(b'\r');
    }

    /// ERR-2 from 2.5: segment, sequence, field, repetition, component, subcomponent.
    fn location(&self, fault: &Fault, parts: usize) -> String {
        let Some(path) = &fault.location else {
            return String::new();
        };
        let nth = |index| match index {
            Index::Nth(nth) => Some(nth),
            _ => Some(1),
        };
        let numbers = [
            nth(path.occurrence()),
            path.field(),
            path.field().and(nth(path.repetition())),
            path.component(),
            path.subcomponent(),
        ];
        let numbers = numbers
            .into_iter()
            .flatten()
            .map(|number| number.to_string());
        let mut all: Vec<String> = std::iter::once(path.segment().to_owned())
            .chain(numbers)
            .collect();
        all.truncate(parts);
        all.join(&char::from(self.delimiters.component).to_string())
    }

    /// ERR-1 up to 2.4: segment, sequence, field, and the condition as subcomponents.
    fn location_with_code(&self, fault: &Fault) -> String {
        let component = char::from(self.delimiters.component);
        let mut out = self.location(fault, 3);
        let have = out.matches(component).count();
        out.extend(std::iter::repeat_n(component, 3 - have));
        out.push_str(&fault.condition.code().to_string());
        if let Some(subcomponent) = self.delimiters.subcomponent.map(char::from) {
            out.push_str(&format!(
                "{subcomponent}{}{subcomponent}HL70357",
                fault.condition.text()
            ));
        }
        out
    }
}

/// Major, minor and patch of MSH-12; an unknown version is answered as 2.5.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Version(u8, u8, u8);

impl Version {
    fn of(text: &str) -> Self {
        let mut numbers = text.split('.').map(|number| number.parse().ok());
        match (numbers.next().flatten(), numbers.next(), numbers.next()) {
            (Some(2), Some(Some(minor)), None) => Version(2, minor, 0),
            (Some(2), Some(Some(minor)), Some(patch)) => Version(2, minor, patch.unwrap_or(0)),
            _ => Version(2, 5, 1),
        }
    }
}
