//! Documents to start from, one for each usual event, with a sample and what comes of it; and sets of flows that belong
//! together, each with one document that all of its flows can share.
//!
//! They are files in `examples/starters`, embedded so that every host has them. A starter is copied into a flow and
//! changed there; nothing refers to it afterwards.

use super::document::Document;

/// One document to start from.
#[derive(Debug, Clone, Copy)]
pub struct Starter {
    /// The name of its files.
    pub name: &'static str,
    /// The document's text, in its written form.
    pub document: &'static str,
    /// One HL7 message, with line feeds; outbound one change, as JSON.
    pub sample: &'static str,
    /// What comes of the sample, as JSON.
    pub expected: &'static str,
    /// Outbound: a made-up message to fill.
    pub template: Option<&'static str>,
}

macro_rules! template {
    () => {
        None
    };
    ($file:literal) => {
        Some(include_str!(concat!(
            "../../../examples/quickstart/",
            $file
        )))
    };
}

macro_rules! starters {
    ($($name:literal $sample:literal $(fills $template:literal)?)*) => {
        &[$(Starter {
            name: $name,
            document: include_str!(concat!("../../../examples/starters/", $name, ".toml")),
            sample: include_str!(concat!("../../../examples/starters/", $name, $sample)),
            expected: include_str!(concat!("../../../examples/starters/", $name, ".expected.json")),
            template: template!($($template)?),
        }),*]
    };
}

/// Every starter, sorted by name.
pub const STARTERS: &[Starter] = starters! {
    "activity-to-siu-s12" ".sample.json" fills "siu-s12-template.hl7"
    "adt-a01" ".hl7"
    "adt-a02" ".hl7"
    "adt-a03" ".hl7"
    "adt-a04" ".hl7"
    "adt-a05" ".hl7"
    "adt-a08" ".hl7"
    "adt-a11" ".hl7"
    "adt-a13" ".hl7"
    "adt-a28" ".hl7"
    "adt-a31" ".hl7"
    "adt-a40" ".hl7"
    "lead-to-adt-a08" ".sample.json" fills "adt-a08-template.hl7"
    "siu-s12" ".hl7"
    "siu-s13" ".hl7"
    "siu-s14" ".hl7"
    "siu-s15" ".hl7"
    "siu-s16" ".hl7"
    "siu-s17" ".hl7"
    "siu-s26" ".hl7"
};

impl Starter {
    /// The document.
    ///
    /// # Panics
    ///
    /// Never: a test reads all of them.
    pub fn document(&self) -> Document {
        Document::parse(self.document).expect("a starter is checked by a test")
    }
}

/// Flows that belong together.
#[derive(Debug, Clone, Copy)]
pub struct Set {
    pub name: &'static str,
    /// One flow for each, with a starter of its own.
    pub events: &'static [&'static str],
    /// What all of them can share: of a message of any of its events comes what the event's own starter makes of it.
    pub document: &'static str,
}

pub const SETS: &[Set] = &[
    Set {
        name: "registration",
        events: &["ADT^A04", "ADT^A08", "ADT^A28", "ADT^A31"],
        document: include_str!("../../../examples/starters/sets/registration.toml"),
    },
    Set {
        name: "appointments",
        events: &["SIU^S12", "SIU^S13", "SIU^S14", "SIU^S15", "SIU^S26"],
        document: include_str!("../../../examples/starters/sets/appointments.toml"),
    },
];

/// The starters that are made for an event: `ADT^A04`, `lead-update`.
pub fn for_event(event: &str) -> impl Iterator<Item = &'static Starter> {
    STARTERS.iter().filter(move |starter| {
        let document = starter.document();
        let events = document.events.iter().map(ToString::to_string);
        let changes = document.changes.iter().map(ToString::to_string);
        events.chain(changes).any(|known| known == event)
    })
}

#[cfg(test)]
mod tests;
