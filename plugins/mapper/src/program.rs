//! The compact form of a mapping document: postcard, read in place, so that a fresh instance spends nothing on it.
//!
//! A new source, step or condition starts here as a variant, is carried out by one `match` in `evaluate` or `step`,
//! and is written and read by one `match` in the host's document.
//! Variants are numbered by their order: add at the end, never reorder, so that components generated earlier keep
//! their meaning.
//!
//! A program of the other direction has `places` instead of `lead` and `activities`, and its paths are what
//! [`outbound`] writes: `lead.Phone`, `before lead.Phone`, `event`, `received-at`.

use serde::{Deserialize, Serialize};

/// All rows of one document, with every path listed once so that the message is asked in one crossing.
#[derive(Serialize, Deserialize)]
pub struct Program<'a> {
    /// Paths of which the first hit is enough; sources and conditions name them by position.
    #[serde(borrow)]
    pub paths: Vec<&'a str>,
    /// Paths of which every hit is asked for; asked in a second crossing, only if there are any.
    #[serde(borrow)]
    pub hit_paths: Vec<&'a str>,
    #[serde(borrow)]
    pub lead: Vec<Row<'a>>,
    #[serde(borrow)]
    pub activities: Vec<Activity<'a>>,
    /// Outbound: the target of each is an HL7 path.
    #[serde(borrow)]
    pub places: Vec<Row<'a>>,
}

/// How an outbound program names what it asks.
pub mod outbound {
    /// Before a field whose state before the change is meant.
    pub const BEFORE: &str = "before ";
    /// Before a field of the lead.
    pub const LEAD: &str = "lead.";
    /// Before a field of the activity.
    pub const ACTIVITY: &str = "activity.";
    /// Which webhook told of the change.
    pub const EVENT: &str = "event";
    /// When it came in, as `YYYYMMDDHHMMSS+0000`.
    pub const RECEIVED_AT: &str = "received-at";
}

/// One target and how it gets its value.
#[derive(Serialize, Deserialize)]
pub struct Row<'a> {
    pub target: &'a str,
    #[serde(borrow)]
    pub rule: Rule<'a>,
}

/// One activity to write when all of `when` hold.
#[derive(Serialize, Deserialize)]
pub struct Activity<'a> {
    #[serde(borrow)]
    pub when: Vec<Condition<'a>>,
    #[serde(borrow)]
    pub kind: Option<&'a str>,
    #[serde(borrow)]
    pub key: Option<Rule<'a>>,
    #[serde(borrow)]
    pub note: Option<Rule<'a>>,
    /// Ends in a date-time step.
    #[serde(borrow)]
    pub at: Option<Rule<'a>>,
    #[serde(borrow)]
    pub fields: Vec<Row<'a>>,
}

/// How a value comes about.
#[derive(Serialize, Deserialize)]
pub struct Rule<'a> {
    #[serde(borrow)]
    pub source: Source<'a>,
    #[serde(borrow)]
    pub steps: Vec<Step<'a>>,
    /// All must hold, else the row says nothing.
    #[serde(borrow)]
    pub when: Vec<Condition<'a>>,
    pub null: Null,
    pub on_error: OnError,
    /// Refuses the message when there is no value.
    pub required: bool,
}

/// Where a value comes from.
#[derive(Serialize, Deserialize)]
pub enum Source<'a> {
    /// First hit of `paths[_]`.
    Path(u16),
    /// Every hit of `hit_paths[_]`, made one by a rule.
    Hits(u16, #[serde(borrow)] Hits<'a>),
    Constant(&'a str),
    /// The first part that has text.
    First(#[serde(borrow)] Vec<Source<'a>>),
    /// Parts that have text, joined.
    Concat {
        separator: &'a str,
        #[serde(borrow)]
        parts: Vec<Source<'a>>,
    },
}

/// What becomes of several hits of one path.
#[derive(Serialize, Deserialize)]
pub enum Hits<'a> {
    Last,
    /// Joined with a separator.
    All(&'a str),
    /// Several hits are a fault, unless they say the same.
    Refuse,
}

/// One change of a value on its way.
#[derive(Serialize, Deserialize)]
pub enum Step<'a> {
    Trim,
    Upper,
    Lower,
    Title,
    /// Characters from `start` (the first is 1), at most `length`.
    Substring {
        start: u32,
        length: u32,
    },
    Replace {
        from: &'a str,
        to: &'a str,
    },
    /// An inline code map, sorted by code.
    Map {
        #[serde(borrow)]
        entries: Vec<(&'a str, &'a str)>,
        #[serde(borrow)]
        default: Option<&'a str>,
    },
    /// Text to a calendar date; with `first_day`, a year or month alone is its first day.
    Date {
        first_day: bool,
    },
    /// Text to a date and time; a date alone is its midnight.
    DateTime,
    /// LeadSquared's text to a calendar date.
    FieldDate,
    /// LeadSquared's text, which is UTC, to a date and time; a date alone is its midnight.
    FieldDateTime,
    /// A phone number for the host to write in this form.
    Phone(PhoneForm),
}

/// How the receiver is to get a phone number; the contract's `phone-form`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum PhoneForm {
    National,
    Digits,
    International,
    CountryCode,
    AreaCode,
    Local,
}

/// Something that must hold of the message.
#[derive(Serialize, Deserialize)]
pub struct Condition<'a> {
    /// Position in `paths`.
    pub path: u16,
    #[serde(borrow)]
    pub test: Test<'a>,
}

/// What is asked of the value at a condition's path.
#[derive(Serialize, Deserialize)]
pub enum Test<'a> {
    Present,
    Absent,
    Equals(&'a str),
    In(#[serde(borrow)] Vec<&'a str>),
    /// Differs from the value at this position in `paths`.
    Changed(u16),
}

/// What `""` in the message does to the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Null {
    /// The field stays as it is.
    Keep,
    /// The field is emptied.
    Clear,
}

/// What a value that cannot be used does to the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum OnError {
    /// The field is left out with a warning.
    LeaveOut,
    Refuse,
}

/// What the component says of itself; stands behind the program and is not read while mapping.
#[derive(Serialize, Deserialize)]
pub struct Manifest<'a> {
    pub name: &'a str,
    pub version: &'a str,
    pub summary: &'a str,
    #[serde(borrow)]
    pub events: Vec<&'a str>,
    #[serde(borrow)]
    pub reads: Vec<&'a str>,
    #[serde(borrow)]
    pub lead_targets: Vec<Target<'a>>,
    #[serde(borrow)]
    pub activity_targets: Vec<Target<'a>>,
    #[serde(borrow)]
    pub activity_kinds: Vec<&'a str>,
    #[serde(borrow)]
    pub places: Vec<&'a str>,
}

/// A field that the document writes.
#[derive(Serialize, Deserialize)]
pub struct Target<'a> {
    pub name: &'a str,
    pub label: &'a str,
    pub required: bool,
}

/// The bytes are not a program of this interpreter.
#[derive(Debug)]
pub struct Unreadable;

/// Writes program and manifest, one behind the other.
///
/// # Panics
///
/// Never: writing to memory does not fail.
pub fn encode(program: &Program<'_>, manifest: &Manifest<'_>) -> Vec<u8> {
    let mut bytes = postcard::to_allocvec(program).expect("memory takes any program");
    bytes.extend(postcard::to_allocvec(manifest).expect("memory takes any manifest"));
    bytes
}

/// Reads the program; texts borrow from `bytes`.
///
/// # Errors
///
/// [`Unreadable`] when the bytes were not written by [`encode`].
pub fn decode(bytes: &[u8]) -> Result<Program<'_>, Unreadable> {
    match postcard::take_from_bytes(bytes) {
        Ok((program, _manifest)) => Ok(program),
        Err(_) => Err(Unreadable),
    }
}

/// Reads the manifest behind the program.
///
/// # Errors
///
/// [`Unreadable`] when the bytes were not written by [`encode`].
pub fn decode_manifest(bytes: &[u8]) -> Result<Manifest<'_>, Unreadable> {
    let (_, rest) = postcard::take_from_bytes::<Program<'_>>(bytes).map_err(|_| Unreadable)?;
    postcard::from_bytes(rest).map_err(|_| Unreadable)
}
