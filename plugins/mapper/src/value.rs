//! What goes into an evaluation and what comes out of it, as plain data.

use std::borrow::Cow;

use crate::number::Number;
use crate::program::OnError;
use crate::step::PhoneForm;

/// Presence of a source value, as HL7 means it.
#[derive(Clone, PartialEq, Eq)]
pub enum Content {
    /// The message says nothing.
    Absent,
    /// `""`: the sender asks to delete the value.
    Null,
    Text(String),
}

/// A calendar date.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Date {
    pub year: u16,
    pub month: u8,
    pub day: u8,
}

/// A time of day.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Time {
    pub hour: u8,
    pub minute: u8,
    pub second: u8,
    pub nanosecond: u32,
}

/// A date and time, with the sender's offset where it gave one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct DateTime {
    pub date: Date,
    pub time: Time,
    pub offset_minutes: Option<i16>,
}

/// What a row gives its target.
#[derive(Clone, PartialEq, Eq)]
pub enum Value<'a> {
    /// Empties the field.
    Clear,
    Text(Cow<'a, str>),
    /// Texts of which none is empty.
    List(Vec<Cow<'a, str>>),
    Number(Number),
    Boolean(bool),
    Date(Date),
    Time(Time),
    DateTime(DateTime),
    /// Outbound only.
    Phone(Cow<'a, str>, PhoneForm),
}

/// One value for one place of an outgoing message.
#[derive(Clone, PartialEq, Eq)]
pub struct Placement<'a> {
    pub path: Cow<'a, str>,
    pub value: Value<'a>,
    /// What becomes of it where the host cannot finish the value.
    pub on_error: &'a OnError<'a>,
}

/// One value for one target.
#[derive(Clone, PartialEq, Eq)]
pub struct Assignment<'a> {
    pub target: &'a str,
    pub value: Value<'a>,
    /// What becomes of it where the host cannot finish the value.
    pub on_error: &'a OnError<'a>,
}

/// One activity to write.
#[derive(Clone, PartialEq, Eq)]
pub struct ActivityWrite<'a> {
    pub key: Option<Cow<'a, str>>,
    pub kind: Option<&'a str>,
    pub note: Option<Cow<'a, str>>,
    pub at: Option<DateTime>,
    pub fields: Vec<Assignment<'a>>,
}

/// What came of an evaluation.
#[derive(Clone, PartialEq, Eq)]
pub enum Evaluated<'a> {
    Write(Written<'a>),
    /// The document's words.
    Skip(&'a str),
}

/// What is to be written.
#[derive(Clone, PartialEq, Eq)]
pub struct Written<'a> {
    pub lead: Vec<Assignment<'a>>,
    pub retired: Vec<Cow<'a, str>>,
    pub activities: Vec<ActivityWrite<'a>>,
    pub places: Vec<Placement<'a>>,
    /// Rows whose value could not be used and that let the message go on.
    pub warnings: Vec<Warning<'a>>,
}

/// A row whose value could not be used, and why; holds nothing of the message.
#[derive(Clone, PartialEq, Eq)]
pub struct Warning<'a> {
    /// The row's id; of an activity's own values the activity's id and the value's name.
    pub row: Cow<'a, str>,
    /// The path that stands for the row's source; empty where it asks for none.
    pub path: &'a str,
    pub reason: Reason,
    /// Whether the target got the row's default instead of being left out.
    pub defaulted: bool,
}

/// Why a value could not be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    NotADate,
    NotADateTime,
    NotATime,
    NotANumber,
    NotABoolean,
    NotBase64,
    OutOfRange,
    NoSuchCode,
    HitsDiffer,
    NotAFieldDate,
    NotAFieldDateTime,
    /// More elements than the row takes; the first of them are used.
    TooMany,
}

impl Reason {
    /// What the value was expected to be, as words that follow "expected".
    pub fn expected(self) -> &'static str {
        match self {
            Reason::NotADate => "a date, YYYYMMDD",
            Reason::NotADateTime => "a date and time, YYYYMMDDHHMMSS[+ZZZZ]",
            Reason::NotATime => "a time, HHMMSS",
            Reason::NotANumber => "a number",
            Reason::NotABoolean => "yes or no",
            Reason::NotBase64 => "text in base64",
            Reason::OutOfRange => "a value within the calendar and 28 digits",
            Reason::NoSuchCode => "a code that has an entry",
            Reason::HitsDiffer => "one value, several hits differ",
            Reason::NotAFieldDate => "a date, yyyy-MM-dd",
            Reason::NotAFieldDateTime => "a date and time, yyyy-MM-dd HH:mm:ss",
            Reason::TooMany => "no more elements than the row's limit",
        }
    }
}

/// Why a run ended without anything to write.
#[derive(Clone, PartialEq, Eq)]
pub struct Stopped {
    pub refusal: Refusal,
    /// Whether the message waits until the cause is mended, instead of being refused.
    pub waits: bool,
}

/// Why the message is not mapped; may hold text of the message.
#[derive(Clone, PartialEq, Eq)]
pub enum Refusal {
    Missing(String),
    Malformed { path: String, expected: String },
    UnmappedCode { table: String, code: String },
    Other(String),
}

impl From<Refusal> for Stopped {
    fn from(refusal: Refusal) -> Self {
        Self {
            refusal,
            waits: false,
        }
    }
}
