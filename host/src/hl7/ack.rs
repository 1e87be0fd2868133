//! Acknowledgements: which code answers a message, and the bytes of the answer.
//!
//! The answer is built from bytes, so that what it echoes is what was received; a raw control byte is never echoed.
//! [`replies`] chooses the codes, [`build`] writes one answer, [`build_unreadable`] answers what is no message.

use std::borrow::Cow;

use super::path::{Index, Path};
use super::stamp::time_stamp;
use super::{Delimiters, Message, batch, delimiters, escape};

mod code;

pub use code::{AckCode, AckMode, Condition, Outcome, Replies, UnknownCode, replies, reply_code};

/// What was wrong, for ERR and MSA-3.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The code of table 0357.
    pub condition: Condition,
    /// Fixed wording of ours, without a value of the message: the sender logs it.
    pub text: &'static str,
    /// Where in the message it stands: ERR-2, or ERR-1 up to version 2.4.
    pub location: Option<Path>,
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
