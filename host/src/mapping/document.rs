//! The mapping document: what the mapping screen edits, as versioned text that is sorted and can be compared.
//!
//! A [`Document`] is read from TOML with every fault of it ([`Document::parse`]), written in one form
//! ([`Document::to_text`]), and becomes a component through its program ([`Document::to_program`]).
//! `host/docs/mapping.md` is its reference.
//! It knows nothing of accounts: targets are names, which a release binds to fields.
//!
//! A document maps one way. An inbound one reads HL7 paths and writes lead and activity fields; an outbound one
//! (`direction = "leadsquared-to-ehr"`) reads fields of the record that changed and fills places of a message.
//!
//! What rows are made of is `ligature_mapper`'s, with what they ask for said as [`Ask`]: a new source, step or condition is
//! a variant there, one arm in each of `parse` and `text`, and one where the interpreter carries it out.

mod changes;
mod parse;
mod program;
mod spoken;
mod text;

#[cfg(test)]
pub(in crate::mapping) mod tests;

use ligature_mapper as mapper;

use crate::flow::{Direction, Event, WebhookEvent};
use crate::hl7::Path;
use crate::hl7::fill::Position;

pub use changes::changes;
pub use parse::Fault;
pub use spoken::{Part, groups, spoken};

/// The form of the text; a later one is read beside it.
pub const FORMAT: i64 = 1;

/// Elements that a loop takes unless the document says otherwise, and at most.
const DEFAULT_LIMIT: u16 = 100;
const MAX_LIMIT: u16 = 1_000;

/// One target and how it gets its value.
pub type Row = mapper::Row<'static, Ask>;
/// One activity to write, or one for each element.
pub type Activity = mapper::Activity<'static, Ask>;
/// Segments or repetitions to fill, one for each item of a list.
pub type Repeat = mapper::Repeat<'static, Ask>;
/// How a value comes about.
pub type Rule = mapper::Rule<'static, Ask>;
/// Where a value comes from.
pub type Source = mapper::Source<'static, Ask>;
/// One change of a value on its way.
pub type Step = mapper::Step<'static>;
/// Something that must hold.
pub type Condition = mapper::Condition<'static, Ask>;
/// What ends the run before anything is mapped.
pub type Ending = mapper::Ending<'static, Ask>;
/// What the administrator fills in for each flow.
pub type Setting = mapper::Setting<'static>;

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
    /// Sorted by name.
    pub settings: Vec<Setting>,
    /// In the order written, skips first.
    pub endings: Vec<Ending>,
    /// In the order written, because rows know them by their position.
    pub groups: Vec<Group>,
    /// Inbound: former values of the flow's search field.
    pub retired: Option<Rule>,
    /// Sorted by target.
    pub lead: Vec<Row>,
    /// In the order written, because an activity without a key is known by its position.
    pub activities: Vec<Activity>,
    /// Outbound: targets are HL7 paths, sorted as they stand in a message, none inside another.
    pub places: Vec<Row>,
    /// Outbound: in the order written.
    pub repeats: Vec<Repeat>,
}

/// Conditions that several rows share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    pub name: String,
    pub when: Vec<Condition>,
}

/// What a document asks of a message, or of a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ask {
    Path(Path),
    Field {
        /// `lead.FirstName`, `activity.mx_Custom_1`.
        field: String,
        /// The state before the change instead of the one after it.
        before: bool,
    },
}

impl Document {
    /// A document that says nothing yet.
    pub fn new(direction: Direction, name: &str) -> Self {
        Self {
            direction,
            name: name.into(),
            version: "1".into(),
            summary: String::new(),
            events: Vec::new(),
            changes: Vec::new(),
            settings: Vec::new(),
            endings: Vec::new(),
            groups: Vec::new(),
            retired: None,
            lead: Vec::new(),
            activities: Vec::new(),
            places: Vec::new(),
            repeats: Vec::new(),
        }
    }

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

    /// The code tables that it looks codes up in, sorted.
    pub fn tables(&self) -> Vec<String> {
        program::tables(self)
    }

    /// Puts rows in the order that the text has.
    pub fn sort(&mut self) {
        self.events.sort_by_key(Event::to_string);
        self.events.dedup();
        self.changes.sort_by_key(|event| event.as_str());
        self.changes.dedup();
        self.settings.sort_by(|a, b| a.name.cmp(&b.name));
        self.endings
            .sort_by_key(|ending| ending.how != mapper::End::Skip);
        self.lead.sort_by(|a, b| a.target.cmp(&b.target));
        for activity in &mut self.activities {
            activity.fields.sort_by(|a, b| a.target.cmp(&b.target));
        }
        sort_places(&mut self.places);
        for repeat in &mut self.repeats {
            sort_places(&mut repeat.places);
        }
    }
}

/// A rule as people read it: where its value comes from, and each step.
pub fn words(rule: &Rule) -> (String, Vec<String>) {
    text::words(rule)
}

fn sort_places(places: &mut [Row]) {
    places.sort_by_cached_key(|row| {
        let position = row.target.parse().ok().as_ref().and_then(Position::of);
        (position, row.target.clone())
    });
}

/// The plain rule of a source.
pub fn rule_of(source: Source) -> Rule {
    Rule {
        source,
        steps: Vec::new(),
        when: Vec::new(),
        null: mapper::Silent::Keep,
        empty: mapper::Silent::Keep,
        on_error: mapper::OnError::LeaveOut,
        required: false,
    }
}

/// What a source gives before any step.
pub fn kind_of(source: &Source) -> mapper::Kind {
    match source {
        Source::Each(_) | Source::Hits(_, mapper::Hits::List) => mapper::Kind::List,
        Source::Part(part) => {
            let mut steps = part.steps.iter();
            let kind = kind_of(&part.source);
            steps
                .try_fold(kind, |kind, step| step.gives(kind))
                .unwrap_or(kind)
        }
        Source::Ask(_)
        | Source::Hits(..)
        | Source::Raw(_)
        | Source::Count(_)
        | Source::Fact(_)
        | Source::Setting(_)
        | Source::Constant(_)
        | Source::First(_)
        | Source::Concat { .. }
        | Source::Template(_) => mapper::Kind::Text,
    }
}

/// The id that an activity has without one of its own.
fn activity_id(position: usize) -> String {
    format!("activity-{}", position + 1)
}
