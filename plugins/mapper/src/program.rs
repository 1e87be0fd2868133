//! What a mapping says, once for all who deal with it: the host's document, the compact program, the interpreter.
//!
//! A document asks for paths and fields by what they are, a program by where they stand in its lists: that is the
//! parameter `A` of all types here. The host turns one into the other; everything else is the same value.
//! The program is postcard, read in place, so that a fresh instance spends next to nothing on it.
//!
//! A new source, step, condition or rule is a variant here (or in [`Step`]), carried out by one `match` in `evaluate` or
//! `step`, and read and written by one `match` in the host's document. A component carries its own interpreter, so
//! variants may be put in any order.

use serde::{Deserialize, Serialize};

use crate::step::Step;
use crate::text::Text;

/// Where a program asks: a position in one of its lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct At {
    /// Position in the list.
    pub at: u16,
    /// Zero: a list of the program. Else the number of the loop, from 1, whose element is asked.
    pub of: u16,
}

/// All rows of one document, with every path listed once so that the message is asked in one crossing.
#[derive(Serialize, Deserialize)]
pub struct Program<'a> {
    /// Whether it reads a change; what it asks is `lead.Phone` then, or `before lead.Phone`.
    pub outbound: bool,
    /// Of which the first hit is enough.
    #[serde(borrow)]
    pub paths: Vec<Text<'a>>,
    /// Of which every hit is asked for; asked in a second crossing, only if there are any.
    #[serde(borrow)]
    pub hit_paths: Vec<Text<'a>>,
    /// Asked one by one when they are needed: raw texts and counts.
    #[serde(borrow)]
    pub other_paths: Vec<Text<'a>>,
    #[serde(borrow)]
    pub loops: Vec<Loop<'a>>,
    /// Conditions that several rows share; a row names one by its position from 1.
    #[serde(borrow)]
    pub groups: Vec<Vec<Condition<'a, At>>>,
    /// The first that holds ends the run.
    #[serde(borrow)]
    pub endings: Vec<Ending<'a, At>>,
    #[serde(borrow)]
    pub retired: Option<Rule<'a, At>>,
    #[serde(borrow)]
    pub lead: Vec<Row<'a, At>>,
    #[serde(borrow)]
    pub activities: Vec<Activity<'a, At>>,
    /// Outbound: the target of each is an HL7 path.
    #[serde(borrow)]
    pub places: Vec<Row<'a, At>>,
    #[serde(borrow)]
    pub repeats: Vec<Repeat<'a, At>>,
}

/// Before a field whose state before the change is meant.
pub const BEFORE: &str = "before ";

/// Segments of one name, or repetitions of one field, gone through one after another.
#[derive(Serialize, Deserialize)]
pub struct Loop<'a> {
    /// `OBX` or `PID-13`: what is counted.
    #[serde(borrow)]
    pub over: Text<'a>,
    /// What is asked of each element; the element's number goes behind what is counted.
    #[serde(borrow)]
    pub paths: Vec<Text<'a>>,
    /// Likewise, asked one by one: every hit, raw texts and counts.
    #[serde(borrow)]
    pub other_paths: Vec<Text<'a>>,
}

/// One target and how it gets its value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row<'a, A> {
    /// What warnings and counters know it by; stays the same when the target changes.
    #[serde(borrow)]
    pub id: Text<'a>,
    #[serde(borrow)]
    pub target: Text<'a>,
    /// What people call the target; the target's name if empty. Left out of programs.
    #[serde(borrow)]
    pub label: Text<'a>,
    /// Position of its group from 1; zero without one.
    pub group: u16,
    #[serde(borrow)]
    pub rule: Rule<'a, A>,
}

/// One activity to write when all of `when` hold, or one for each element.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Activity<'a, A> {
    #[serde(borrow)]
    pub id: Text<'a>,
    #[serde(borrow)]
    pub kind: Option<Text<'a>>,
    pub group: u16,
    #[serde(borrow)]
    pub when: Vec<Condition<'a, A>>,
    #[serde(borrow)]
    pub each: Option<Each<'a, A>>,
    /// The sender's own key, for example the appointment id.
    #[serde(borrow)]
    pub key: Option<Rule<'a, A>>,
    #[serde(borrow)]
    pub note: Option<Rule<'a, A>>,
    /// Gives a date and time.
    #[serde(borrow)]
    pub at: Option<Rule<'a, A>>,
    #[serde(borrow)]
    pub fields: Vec<Row<'a, A>>,
}

/// Outbound: segments or repetitions of the message, one for each item of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Repeat<'a, A> {
    /// `AL1` or `PID-3`.
    #[serde(borrow)]
    pub target: Text<'a>,
    /// The number of the first one that is filled, from 1.
    pub first: u16,
    pub limit: u16,
    pub group: u16,
    #[serde(borrow)]
    pub items: Rule<'a, A>,
    #[serde(borrow)]
    pub places: Vec<Row<'a, A>>,
}

/// Elements to go through.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Each<'a, A> {
    /// In a program the position of the loop.
    pub over: A,
    /// Elements for which not all hold are passed over.
    #[serde(borrow)]
    pub filter: Vec<Condition<'a, A>>,
    /// Elements taken at most.
    pub limit: u16,
}

/// What ends the run before anything is mapped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ending<'a, A> {
    pub how: End,
    #[serde(borrow)]
    pub reason: Text<'a>,
    #[serde(borrow)]
    pub when: Vec<Condition<'a, A>>,
}

/// How a run ends early.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum End {
    Skip,
    Refuse,
    Wait,
}

/// How a value comes about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule<'a, A> {
    #[serde(borrow)]
    pub source: Source<'a, A>,
    #[serde(borrow)]
    pub steps: Vec<Step<'a>>,
    /// All must hold, else the row says nothing.
    #[serde(borrow)]
    pub when: Vec<Condition<'a, A>>,
    #[serde(borrow)]
    pub null: Silent<'a>,
    #[serde(borrow)]
    pub empty: Silent<'a>,
    #[serde(borrow)]
    pub on_error: OnError<'a>,
    /// Refuses the message, or lets it wait, when there is no value.
    pub required: bool,
}

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Source<'a, A> {
    /// The first hit.
    Ask(A),
    /// Every hit, made one by a rule.
    Hits(A, #[serde(borrow)] Hits<'a>),
    /// The undecoded text.
    Raw(A),
    /// How many there are.
    Count(A),
    Fact(Fact),
    Setting(#[serde(borrow)] Text<'a>),
    Constant(#[serde(borrow)] Text<'a>),
    /// The first part that has text.
    First(#[serde(borrow)] Vec<Source<'a, A>>),
    /// Parts that have text, joined.
    Concat {
        #[serde(borrow)]
        separator: Text<'a>,
        #[serde(borrow)]
        parts: Vec<Source<'a, A>>,
    },
    /// Constants and sources in a row; says nothing where no source does.
    Template(#[serde(borrow)] Vec<Source<'a, A>>),
    /// A source with steps of its own, or one that speaks under conditions only.
    Part(#[serde(borrow)] Box<Part<'a, A>>),
    /// What a source says for each element; a list.
    Each(#[serde(borrow)] Box<EachSource<'a, A>>),
}

/// A source inside a source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part<'a, A> {
    #[serde(borrow)]
    pub source: Source<'a, A>,
    #[serde(borrow)]
    pub steps: Vec<Step<'a>>,
    #[serde(borrow)]
    pub when: Vec<Condition<'a, A>>,
}

/// A source for each element.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EachSource<'a, A> {
    #[serde(borrow)]
    pub each: Each<'a, A>,
    #[serde(borrow)]
    pub source: Source<'a, A>,
}

/// What the run itself is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fact {
    /// `ADT^A04`; outbound which webhook told of the change.
    Event,
    /// `YYYYMMDDHHMMSS+0000`
    ReceivedAt,
    /// Inbound: MSH-10.
    ControlId,
    /// The channel that the message came by, or goes by.
    Channel,
    /// The position of an element from 1.
    Number,
    /// Outbound: the item of a repeat.
    Item,
}

/// What becomes of several hits of one path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Hits<'a> {
    Last,
    /// Joined with a separator.
    All(#[serde(borrow)] Text<'a>),
    /// Several hits are a fault, unless they say the same.
    Refuse,
    /// As they are: a list.
    List,
}

/// Something that must hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Condition<'a, A> {
    Is {
        #[serde(borrow)]
        subject: Source<'a, A>,
        #[serde(borrow)]
        test: Test<'a>,
    },
    /// Outbound: a field differs; the state after and the one before.
    Changed(A, A),
    All(#[serde(borrow)] Vec<Condition<'a, A>>),
    Any(#[serde(borrow)] Vec<Condition<'a, A>>),
    Not(#[serde(borrow)] Box<Condition<'a, A>>),
}

/// What is asked of a condition's value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Test<'a> {
    /// There is text.
    Present,
    /// There is none: absent or null.
    Absent,
    /// The sender asks to delete the value.
    Null,
    Equals {
        #[serde(borrow)]
        text: Text<'a>,
        any_case: bool,
    },
    In {
        #[serde(borrow)]
        texts: Vec<Text<'a>>,
        any_case: bool,
    },
    Matches(#[serde(borrow)] Text<'a>),
    Compare(Order, #[serde(borrow)] Text<'a>),
}

/// How a value must stand to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Order {
    Below,
    AtMost,
    AtLeast,
    Above,
}

/// What becomes of the target when the message says `""`, or nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Silent<'a> {
    /// The field stays as it is.
    Keep,
    /// The field is emptied.
    Clear,
    /// The field gets this.
    Default(#[serde(borrow)] Text<'a>),
}

/// What becomes of the row, or of the message, when a value cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum OnError<'a> {
    /// The field is left out with a warning.
    LeaveOut,
    /// The field gets this, with a warning.
    Default(#[serde(borrow)] Text<'a>),
    /// The message waits until somebody has mended the cause.
    Wait,
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
    #[serde(borrow)]
    pub tables: Vec<&'a str>,
    #[serde(borrow)]
    pub settings: Vec<Setting<'a>>,
    /// In the document's order.
    #[serde(borrow)]
    pub rows: Vec<Named<'a>>,
}

/// What warnings and counters call a row.
#[derive(Serialize, Deserialize)]
pub struct Named<'a> {
    pub id: &'a str,
    pub label: &'a str,
    pub target: &'a str,
}

/// A field that the document writes.
#[derive(Serialize, Deserialize)]
pub struct Target<'a> {
    pub name: &'a str,
    pub label: &'a str,
    pub required: bool,
}

/// What the administrator fills in for each flow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setting<'a> {
    #[serde(borrow)]
    pub name: Text<'a>,
    #[serde(borrow)]
    pub label: Text<'a>,
    #[serde(borrow)]
    pub help: Text<'a>,
    #[serde(borrow)]
    pub kind: SettingKind<'a>,
    #[serde(borrow)]
    pub default: Option<Text<'a>>,
    pub required: bool,
}

/// What a setting holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum SettingKind<'a> {
    Text,
    Number,
    Boolean,
    Choice(#[serde(borrow)] Vec<Text<'a>>),
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
