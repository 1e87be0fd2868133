//! What goes into an evaluation and what comes out of it, as plain data.

use std::borrow::Cow;

use crate::program::PhoneForm;

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
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Date {
    pub year: u16,
    pub month: u8,
    pub day: u8,
}

/// A time of day.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
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
    Date(Date),
    DateTime(DateTime),
    /// Outbound only.
    Phone(Cow<'a, str>, PhoneForm),
}

/// One value for one place of an outgoing message.
#[derive(Clone, PartialEq, Eq)]
pub struct Placement<'a> {
    pub path: &'a str,
    pub value: Value<'a>,
    /// Whether nothing is sent where the host cannot finish the value.
    pub required: bool,
}

/// One value for one target.
#[derive(Clone, PartialEq, Eq)]
pub struct Assignment<'a> {
    pub target: &'a str,
    pub value: Value<'a>,
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

/// The outcome of an evaluation that was not refused.
#[derive(Clone, PartialEq, Eq)]
pub struct Evaluated<'a> {
    pub lead: Vec<Assignment<'a>>,
    pub activities: Vec<ActivityWrite<'a>>,
    pub places: Vec<Placement<'a>>,
    /// Rows whose value could not be used and that are not required.
    pub left_out: Vec<LeftOut<'a>>,
}

/// A row that was left out, and why; holds nothing of the message.
#[derive(Clone, PartialEq, Eq)]
pub struct LeftOut<'a> {
    pub target: &'a str,
    pub path: &'a str,
    pub reason: Reason,
}

/// Why a value could not be used.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    NotADate,
    NotADateTime,
    NoSuchCode,
    HitsDiffer,
    NotAFieldDate,
    NotAFieldDateTime,
}

impl Reason {
    /// What the value was expected to be, as words that follow "expected".
    pub fn expected(self) -> &'static str {
        match self {
            Reason::NotADate => "a date, YYYYMMDD",
            Reason::NotADateTime => "a date and time, YYYYMMDDHHMMSS[+ZZZZ]",
            Reason::NoSuchCode => "a code of the row's map",
            Reason::HitsDiffer => "one value, several hits differ",
            Reason::NotAFieldDate => "a date, yyyy-MM-dd",
            Reason::NotAFieldDateTime => "a date and time, yyyy-MM-dd HH:mm:ss",
        }
    }
}

/// Why the message is not mapped; may hold text of the message.
#[derive(Clone, PartialEq, Eq)]
pub enum Refusal {
    Missing(String),
    Malformed { path: String, expected: String },
    UnmappedCode { table: String, code: String },
    Other(String),
}
