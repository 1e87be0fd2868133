//! The mapping document: what the mapping screen edits, as versioned text that is sorted and can be compared.
//!
//! A [`Document`] is read from TOML with every fault of it ([`Document::parse`]), written in one form
//! ([`Document::to_text`]), and becomes a component through its program ([`Document::to_program`]).
//! It knows nothing of accounts: targets are names, which a release binds to fields.
//!
//! A document maps one way. An inbound one reads HL7 paths and writes lead and activity fields; an outbound one
//! (`direction = "leadsquared-to-ehr"`) reads fields of the record that changed and fills places of a message.
//!
//! A new source, step or condition is a variant here and in `ligature_mapper::program`, one arm in each of `parse`,
//! `text` and `program`, and one arm where the interpreter carries it out.

mod parse;
mod program;
mod text;

#[cfg(test)]
mod tests;

use std::fmt;

use crate::flow::{Direction, Event, WebhookEvent};
use crate::hl7::Path;
use crate::hl7::fill::Position;

pub use ligature_mapper::{Null, OnError, PhoneForm};
pub use parse::Fault;

/// The form of the text; a later one is read beside it.
pub const FORMAT: i64 = 1;

/// What one kind of message means in LeadSquared's fields, or one kind of change in an HL7 message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    pub direction: Direction,
    pub name: String,
    pub version: String,
    pub summary: String,
    /// Inbound: events it is made for; empty means any.
    pub events: Vec<Event>,
    /// Outbound: likewise.
    pub changes: Vec<WebhookEvent>,
    /// Sorted by target.
    pub lead: Vec<Row>,
    /// In the order written, because an activity without a key is known by its position.
    pub activities: Vec<Activity>,
    /// Outbound: targets are HL7 paths, sorted as they stand in a message, none inside another.
    pub places: Vec<Row>,
}

/// One target and how it gets its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    pub target: String,
    /// What people call the target; the target's name if empty.
    pub label: String,
    pub rule: Rule,
}

/// One activity to write when all of `when` hold.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Activity {
    pub kind: Option<String>,
    pub when: Vec<Condition>,
    /// The sender's own key, for example the appointment id.
    pub key: Option<Rule>,
    pub note: Option<Rule>,
    /// Ends in a date-time step.
    pub at: Option<Rule>,
    /// Sorted by target.
    pub fields: Vec<Row>,
}

/// How a value comes about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    pub source: Source,
    pub steps: Vec<Step>,
    /// All must hold, else the row says nothing.
    pub when: Vec<Condition>,
    pub null: Null,
    pub on_error: OnError,
    /// Refuses the message when there is no value.
    pub required: bool,
}

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    Path {
        path: Path,
        hits: Hits,
    },
    /// Outbound: what is asked of the change.
    Fact(Fact),
    Constant(String),
    /// The first part that has text.
    First(Vec<Source>),
    /// Parts that have text, joined.
    Concat {
        separator: String,
        parts: Vec<Source>,
    },
}

/// What an outbound document asks of a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fact {
    Field {
        /// `lead.FirstName`, `activity.mx_Custom_1`.
        field: String,
        /// The state before the change instead of the one after it.
        before: bool,
    },
    /// Which webhook told of it: `lead-update`.
    Event,
    /// When it came in, for the step `date-time`.
    ReceivedAt,
}

/// What becomes of several hits of one path.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Hits {
    #[default]
    First,
    Last,
    All {
        separator: String,
    },
    /// Several hits are a fault, unless they say the same.
    Refuse,
}

/// One change of a value on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
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
        from: String,
        to: String,
    },
    /// An inline code map, sorted by code; without a default, a code that is not in it is a fault.
    Map {
        entries: Vec<(String, String)>,
        default: Option<String>,
    },
    /// Text to a date; with `first_day`, a year or a month alone is its first day.
    Date {
        first_day: bool,
    },
    /// Text to a date and time; a date alone is its midnight. Of a field it is read in UTC, and the host writes it in
    /// the flow's zone.
    DateTime,
    /// Outbound: the host writes the phone number in this form.
    Phone(PhoneForm),
}

/// Something that must hold of the message or the change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    pub subject: Subject,
    pub test: Test,
}

/// What a condition looks at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    Path(Path),
    Fact(Fact),
}

/// What is asked of a condition's value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Test {
    /// There is text.
    Present,
    /// There is none: absent or null.
    Absent,
    Equals(String),
    In(Vec<String>),
    /// Of a field alone: it differs before and after.
    Changed,
}

/// What kind of value a step takes or gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Text,
    Date,
    DateTime,
    Phone,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Text => "text",
            Kind::Date => "a date",
            Kind::DateTime => "a date and time",
            Kind::Phone => "a phone number",
        })
    }
}

impl Document {
    /// Reads a document; rows are sorted by target.
    ///
    /// # Errors
    ///
    /// Every fault that there is, in the order of the text.
    pub fn parse(text: &str) -> Result<Self, Vec<Fault>> {
        parse::document(text)
    }

    /// Writes the document in its one form: `parse` of it gives the same document.
    pub fn to_text(&self) -> String {
        text::write(self)
    }

    /// The program and manifest that the interpreter reads.
    pub fn to_program(&self) -> Vec<u8> {
        program::encode(self)
    }

    /// The paths or fields that a component of this document asks to read, sorted.
    pub fn reads(&self) -> Vec<String> {
        program::reads(self)
    }

    /// Puts rows in the order that the text has.
    pub fn sort(&mut self) {
        self.events.sort_by_key(Event::to_string);
        self.events.dedup();
        self.changes.sort_by_key(|event| event.as_str());
        self.changes.dedup();
        self.lead.sort_by(|a, b| a.target.cmp(&b.target));
        for activity in &mut self.activities {
            activity.fields.sort_by(|a, b| a.target.cmp(&b.target));
        }
        self.places.sort_by_cached_key(|row| {
            let position = row.target.parse().ok().as_ref().and_then(Position::of);
            (position, row.target.clone())
        });
    }
}

impl Fact {
    /// What asks for it, as texts and programs have it.
    pub fn name(&self) -> &str {
        match self {
            Fact::Field { field, .. } => field,
            Fact::Event => "event",
            Fact::ReceivedAt => "received-at",
        }
    }
}

impl Rule {
    /// The plain rule of a source.
    pub fn of(source: Source) -> Self {
        Self {
            source,
            steps: Vec::new(),
            when: Vec::new(),
            null: Null::Keep,
            on_error: OnError::LeaveOut,
            required: false,
        }
    }

    /// What the value is after the last step.
    pub fn kind(&self) -> Kind {
        self.steps.last().map_or(Kind::Text, Step::gives)
    }
}

impl Step {
    /// What the value is after this step; every step takes text.
    pub fn gives(&self) -> Kind {
        match self {
            Step::Date { .. } => Kind::Date,
            Step::DateTime => Kind::DateTime,
            Step::Phone(_) => Kind::Phone,
            Step::Trim
            | Step::Upper
            | Step::Lower
            | Step::Title
            | Step::Substring { .. }
            | Step::Replace { .. }
            | Step::Map { .. } => Kind::Text,
        }
    }
}
