//! Which messages a channel keeps out: no flow and no component sees them, and only their header facts are kept.
//!
//! Pure. Tells the rule that took a message, never the value that it took. Start with [`Exclusions::rule`].

mod pattern;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Event;
use crate::hl7::{Message, Repetition, Segment};

pub use pattern::{Pattern, fits};

/// What an administrator keeps out of LeadSquared; any rule that fits is enough.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Exclusions {
    /// Family or given names in any repetition of any PID-5.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<Pattern>,
    /// Patients and visits that the hospital marks as protected: PD1-12 or PV2-22 is `Y`.
    pub protected: bool,
    /// Codes of PV1-16 (table 0099, which every hospital fills in for itself).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub vip: Vec<Pattern>,
    /// Units and clinics: the point of care (PL.1) of PV1-3 and AIL-3.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub departments: Vec<Pattern>,
    /// Places, wide or narrow: point of care (PL.1), facility (PL.4.1), building (PL.7) or description (PL.9) of PV1-3
    /// and AIL-3.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub locations: Vec<Pattern>,
    /// Codes and texts of PV1-10 and AIS-3: `.1` and `.2`, and the alternate `.4` and `.5`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub services: Vec<Pattern>,
    /// Events as `ADT^A60` or `ORU^*`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<Pattern>,
    /// Lists that come with the host, each taken by its name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub proposals: Vec<Proposal>,
}

impl Default for Exclusions {
    /// Protected patients alone: the hospital has said so of each of them. Everything else is somebody's decision.
    fn default() -> Self {
        Self {
            names: Vec::new(),
            protected: true,
            vip: Vec::new(),
            departments: Vec::new(),
            locations: Vec::new(),
            services: Vec::new(),
            events: Vec::new(),
            proposals: Vec::new(),
        }
    }
}

/// A list that comes with the host; [`Proposal::patterns`] shows what is in it.
///
/// Hospitals name their units and services themselves (tables 0302 and 0069 are theirs), so these go by the words and
/// short forms that are common: look at the channel's traffic, and add your own codes beside them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Proposal {
    /// Psychiatry, psychology and counselling, by department, location and service.
    BehaviouralHealth,
    /// Addiction, detoxification and recovery, by department, location and service.
    SubstanceUse,
    /// `ZZ*` and `TEST*` by name. Surnames such as Testa fit, too: see first who is called what.
    TestPatients,
}

impl Proposal {
    pub const ALL: [Proposal; 3] = [
        Proposal::BehaviouralHealth,
        Proposal::SubstanceUse,
        Proposal::TestPatients,
    ];

    /// What is compared: names for [`Proposal::TestPatients`], else departments, locations and services.
    pub fn patterns(self) -> &'static [&'static str] {
        match self {
            Proposal::BehaviouralHealth => &[
                "BH",
                "BH-*",
                "BH *",
                "BHU*",
                "MH",
                "MH-*",
                "MH *",
                "MHU*",
                "PSY",
                "PSYC*",
                "*PSYCH*",
                "*BEHAVIORAL*",
                "*BEHAVIOURAL*",
                "*MENTAL H*",
                "*MENTALH*",
                "*COUNSELING*",
                "*COUNSELLING*",
            ],
            Proposal::SubstanceUse => &[
                "SUD",
                "SUD-*",
                "SUD *",
                "SUBAB*",
                "*SUBSTANCE*",
                "*ADDICT*",
                "*DETOX*",
                "*CHEMICAL DEP*",
                "CHEMDEP*",
                "*METHADONE*",
                "*BUPRENORPHINE*",
                "*OPIOID*",
                "*ALCOHOL*",
                "OTP",
            ],
            Proposal::TestPatients => &["ZZ*", "TEST*"],
        }
    }

    fn fits(self, value: &str) -> bool {
        self.patterns()
            .iter()
            .any(|written| pattern::fits(written, value))
    }
}

/// The rule that keeps a message out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    Event,
    Name,
    Protected,
    Vip,
    Department,
    Location,
    Service,
}

impl Rule {
    /// The code kept with the message.
    pub fn code(self) -> &'static str {
        match self {
            Rule::Event => "excluded-event",
            Rule::Name => "excluded-name",
            Rule::Protected => "excluded-protected",
            Rule::Vip => "excluded-vip",
            Rule::Department => "excluded-department",
            Rule::Location => "excluded-location",
            Rule::Service => "excluded-service",
        }
    }

    /// The setting of the channel and what it looks at, for people.
    pub fn sentence(self) -> &'static str {
        match self {
            Rule::Event => "the channel's exclusions leave out this event",
            Rule::Name => {
                "the channel's exclusions leave out patients by name (`names`, or the test patients; PID-5)"
            }
            Rule::Protected => {
                "the channel's exclusions leave out protected patients and visits (`protected`; PD1-12, PV2-22)"
            }
            Rule::Vip => "the channel's exclusions leave out VIP codes (`vip`; PV1-16)",
            Rule::Department => {
                "the channel's exclusions leave out departments (`departments`, or a proposal; PV1-3, AIL-3)"
            }
            Rule::Location => {
                "the channel's exclusions leave out locations (`locations`, or a proposal; PV1-3, AIL-3)"
            }
            Rule::Service => {
                "the channel's exclusions leave out services (`services`, or a proposal; PV1-10, AIS-3)"
            }
        }
    }
}

impl Exclusions {
    /// The first rule that keeps `message` out; none lets it in.
    ///
    /// Every patient, visit and resource of the message counts: one that is to be kept out keeps out all of it.
    pub fn rule(&self, event: &Event, message: &Message) -> Option<Rule> {
        if any(&self.events, &event.to_string()) {
            return Some(Rule::Event);
        }
        message.segments().find_map(|segment| match segment.name() {
            "PID" => self.name(segment),
            "PD1" => self.protection(segment, 12),
            "PV2" => self.protection(segment, 22),
            "PV1" => self
                .vip(segment)
                .or_else(|| self.place(segment, 3))
                .or_else(|| self.service(segment, 10)),
            "AIL" => self.place(segment, 3),
            "AIS" => self.service(segment, 3),
            _ => None,
        })
    }

    /// XPN.1 is the family name, from version 2.5 with subcomponents (own surname, prefix, partner's); XPN.2 the given.
    fn name(&self, segment: Segment<'_>) -> Option<Rule> {
        let proposed = self.proposals.contains(&Proposal::TestPatients);
        if self.names.is_empty() && !proposed {
            return None;
        }
        let is_out = |value: &str| {
            any(&self.names, value) || (proposed && Proposal::TestPatients.fits(value))
        };
        let hit = segment.repetitions(5).any(|name| {
            (1..=5).any(|part| leaf(name, 1, part, is_out)) || leaf(name, 2, 1, is_out)
        });
        hit.then_some(Rule::Name)
    }

    fn protection(&self, segment: Segment<'_>, field: usize) -> Option<Rule> {
        let is_yes = |value: &str| value.eq_ignore_ascii_case("Y");
        let hit = self.protected
            && segment
                .repetitions(field)
                .any(|indicator| leaf(indicator, 1, 1, is_yes));
        hit.then_some(Rule::Protected)
    }

    fn vip(&self, segment: Segment<'_>) -> Option<Rule> {
        let hit = segment
            .repetitions(16)
            .any(|code| leaf(code, 1, 1, |value| any(&self.vip, value)));
        hit.then_some(Rule::Vip)
    }

    fn place(&self, segment: Segment<'_>, field: usize) -> Option<Rule> {
        segment.repetitions(field).find_map(|place| {
            let is_department = |value: &str| any(&self.departments, value);
            let is_location = |value: &str| any(&self.locations, value) || self.sensitive(value);
            if leaf(place, 1, 1, is_department) {
                return Some(Rule::Department);
            }
            [1, 4, 7, 9]
                .iter()
                .any(|component| leaf(place, *component, 1, is_location))
                .then_some(Rule::Location)
        })
    }

    fn service(&self, segment: Segment<'_>, field: usize) -> Option<Rule> {
        let is_out = |value: &str| any(&self.services, value) || self.sensitive(value);
        let hit = segment.repetitions(field).any(|service| {
            [1, 2, 4, 5]
                .iter()
                .any(|component| leaf(service, *component, 1, is_out))
        });
        hit.then_some(Rule::Service)
    }

    /// Whether a proposal for departments, locations and services has it.
    fn sensitive(&self, value: &str) -> bool {
        self.proposals
            .iter()
            .filter(|proposal| **proposal != Proposal::TestPatients)
            .any(|proposal| proposal.fits(value))
    }
}

fn any(patterns: &[Pattern], value: &str) -> bool {
    patterns.iter().any(|pattern| pattern.fits(value))
}

/// Whether `test` holds for the decoded text of a leaf; not for one that is empty or null.
fn leaf(
    repetition: Repetition<'_>,
    component: u16,
    subcomponent: u16,
    test: impl Fn(&str) -> bool,
) -> bool {
    let text = repetition.leaf(component, subcomponent).text_or_empty();
    let text = text.trim();
    !text.is_empty() && test(text)
}
