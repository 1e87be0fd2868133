//! What a flow from LeadSquared to the EHR has beside the settings of every flow: which webhook sets it going, for which
//! leads, and what the EHR is told of the patient first.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Behaviour, Entity, FlowId};

/// What was done in LeadSquared, by a person or by an automation (`leadsquared.md` 8.1).
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum WebhookEvent {
    LeadCreate,
    LeadUpdate,
    LeadActivityCreate,
    LeadActivityUpdate,
}

impl WebhookEvent {
    pub const ALL: [Self; 4] = [
        Self::LeadCreate,
        Self::LeadUpdate,
        Self::LeadActivityCreate,
        Self::LeadActivityUpdate,
    ];

    /// The word kept in the store, shown to people, and given to components.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::LeadCreate => "lead-create",
            Self::LeadUpdate => "lead-update",
            Self::LeadActivityCreate => "lead-activity-create",
            Self::LeadActivityUpdate => "lead-activity-update",
        }
    }

    /// Reads the word again.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|event| event.as_str() == word)
    }

    /// Whether a record was made, and not changed.
    pub fn is_creation(self) -> bool {
        matches!(self, Self::LeadCreate | Self::LeadActivityCreate)
    }

    pub fn entity(self) -> Entity {
        match self {
            Self::LeadCreate | Self::LeadUpdate => Entity::Lead,
            Self::LeadActivityCreate | Self::LeadActivityUpdate => Entity::Activity,
        }
    }
}

impl fmt::Display for WebhookEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The settings of a flow from LeadSquared to the EHR.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Outbound {
    pub webhook: WebhookEvent,
    /// What must hold of the lead after the change; all of it. Without any, every lead of the account goes to the EHR.
    #[serde(default)]
    pub condition: Vec<Condition>,
    /// What the EHR is told of the patient before it is told of an activity.
    #[serde(default)]
    pub patient: PatientMessage,
    /// What becomes of a change of a lead that the EHR has no identifier for; registrations are not asked.
    #[serde(default)]
    pub unidentified: Unidentified,
    /// How long such a change waits for the identifier, in milliseconds, before it is skipped.
    #[serde(default = "default_wait_for_identifier_ms")]
    pub wait_for_identifier_ms: u64,
    /// Elements of the template that are sent as they stand, beside those that always are.
    #[serde(default)]
    pub fixed: Vec<String>,
    /// Elements of the EHR's answer that are written into the lead, such as the identifier it has given the patient.
    #[serde(default)]
    pub read_back: Vec<ReadBack>,
    /// How many times a message is sent at most that the EHR answers AE or CE: it could not take it just then.
    #[serde(default = "default_max_sends")]
    pub max_sends: u32,
}

/// One thing that must hold of a lead.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Condition {
    /// Schema name, such as `ProspectStage` or `OwnerIdEmailAddress`.
    pub field: String,
    /// The values it may have; case does not count. Empty allows any.
    #[serde(default, skip_serializing_if = "Vec::is_empty", rename = "in")]
    pub any_of: Vec<String>,
    /// The values it must not have.
    #[serde(default, skip_serializing_if = "Vec::is_empty", rename = "not_in")]
    pub none_of: Vec<String>,
    /// Whether it must have a value, or must have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub present: Option<bool>,
}

impl Condition {
    /// Whether it holds of a lead's fields; a field that is not among them has no value.
    pub fn holds(&self, lead: &BTreeMap<String, Option<String>>) -> bool {
        let value = lead.get(&self.field).and_then(Option::as_deref);
        let value = value.unwrap_or_default().trim();
        let same = |known: &String| known.trim().to_lowercase() == value.to_lowercase();
        (self.any_of.is_empty() || self.any_of.iter().any(same))
            && !self.none_of.iter().any(same)
            && self
                .present
                .is_none_or(|present| present != value.is_empty())
    }

    /// Whether it says anything at all.
    pub fn is_empty(&self) -> bool {
        self.any_of.is_empty() && self.none_of.is_empty() && self.present.is_none()
    }
}

/// The patient's messages of an activity flow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PatientMessage {
    /// *Capture*: a registration for a lead without a patient identifier, an update for one that has it. *Create only
    /// new*: the registration alone. *Update only existing*: the update alone. *Do nothing*: neither.
    pub behaviour: Behaviour,
    /// The lead flow that builds the registration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub register: Option<FlowId>,
    /// The lead flow that builds the update.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub update: Option<FlowId>,
}

impl Default for PatientMessage {
    fn default() -> Self {
        Self {
            behaviour: Behaviour::Nothing,
            register: None,
            update: None,
        }
    }
}

impl PatientMessage {
    pub fn registers(&self) -> bool {
        matches!(self.behaviour, Behaviour::Capture | Behaviour::CreateOnly)
    }

    pub fn updates(&self) -> bool {
        matches!(self.behaviour, Behaviour::Capture | Behaviour::UpdateOnly)
    }
}

/// What becomes of a change of a lead that holds no patient identifier: an update of a patient whom the EHR does not know
/// would be about nobody, or about another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Unidentified {
    /// It waits until the lead has one.
    #[default]
    Wait,
    /// The registration is sent first, by the flow that [`PatientMessage::register`] names.
    Register,
    /// It is not sent.
    Skip,
}

/// One element of an answer and the lead field it goes to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReadBack {
    /// Such as `PID-3[.5='MR'].1` or `SCH-2.1`.
    pub path: String,
    /// The field; of the lead, or where `activity` is set of the activity.
    pub field: String,
    #[serde(default)]
    pub activity: bool,
}

fn default_wait_for_identifier_ms() -> u64 {
    24 * 60 * 60 * 1_000
}

fn default_max_sends() -> u32 {
    10
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(condition: &str, lead: &[(&str, &str)], holds: bool) {
        let condition: Condition = toml::from_str(condition).unwrap();
        let lead = lead
            .iter()
            .map(|(field, value)| ((*field).to_owned(), Some((*value).to_owned())))
            .collect();
        assert_eq!(condition.holds(&lead), holds, "{condition:?} {lead:?}");
    }

    #[test]
    fn a_condition_is_asked_of_the_lead() {
        let stage = "field = \"ProspectStage\"\nin = [\"Patient\", \"Booked\"]";
        check(stage, &[("ProspectStage", "patient ")], true);
        check(stage, &[("ProspectStage", "Prospect")], false);
        check(stage, &[], false);
        let not = "field = \"ProspectStage\"\nnot_in = [\"Junk\"]";
        check(not, &[("ProspectStage", "junk")], false);
        check(not, &[], true);
        check(
            "field = \"mx_MRN\"\npresent = true",
            &[("mx_MRN", "1")],
            true,
        );
        check(
            "field = \"mx_MRN\"\npresent = true",
            &[("mx_MRN", " ")],
            false,
        );
        check("field = \"mx_MRN\"\npresent = false", &[], true);
    }
}
