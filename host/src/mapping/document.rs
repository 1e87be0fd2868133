//! The mapping document: what the mapping screen edits, as versioned text that is sorted and can be compared.
//!
//! A [`Document`] is read from TOML with every fault of it ([`Document::parse`]), written in one form
//! ([`Document::to_text`]), and becomes a component through its program ([`Document::to_program`]).
//! It knows nothing of accounts: targets are names, which a release binds to fields.
//!
//! A new source, step or condition is a variant here and in `ligature_mapper::program`, one arm in each of `parse`,
//! `text` and `program`, and one arm where the interpreter carries it out.

mod parse;
mod program;
mod text;

#[cfg(test)]
mod tests;

use std::fmt;

use crate::flow::Event;
use crate::hl7::Path;

pub use ligature_mapper::{Null, OnError};
pub use parse::Fault;

/// The form of the text; a later one is read beside it.
pub const FORMAT: i64 = 1;

/// What one kind of message means in LeadSquared's fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    pub name: String,
    pub version: String,
    pub summary: String,
    /// Events it is made for; empty means any.
    pub events: Vec<Event>,
    /// Sorted by target.
    pub lead: Vec<Row>,
    /// In the order written, because an activity without a key is known by its position.
    pub activities: Vec<Activity>,
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
    Constant(String),
    /// The first part that has text.
    First(Vec<Source>),
    /// Parts that have text, joined.
    Concat {
        separator: String,
        parts: Vec<Source>,
    },
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
    /// Text to a date and time; a date alone is its midnight.
    DateTime,
}

/// Something that must hold of the message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    pub path: Path,
    pub test: Test,
}

/// What is asked of the value at a condition's path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Test {
    /// The path has text.
    Present,
    /// The path has none: absent or null.
    Absent,
    Equals(String),
    In(Vec<String>),
}

/// What kind of value a step takes or gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Text,
    Date,
    DateTime,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Text => "text",
            Kind::Date => "a date",
            Kind::DateTime => "a date and time",
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

    /// The paths that a component of this document asks to read, sorted.
    pub fn reads(&self) -> Vec<String> {
        program::reads(self)
    }

    /// Puts rows in the order that the text has.
    pub fn sort(&mut self) {
        self.events.sort_by_key(Event::to_string);
        self.events.dedup();
        self.lead.sort_by(|a, b| a.target.cmp(&b.target));
        for activity in &mut self.activities {
            activity.fields.sort_by(|a, b| a.target.cmp(&b.target));
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
