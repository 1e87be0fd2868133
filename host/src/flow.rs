//! What an administrator configures: accounts, channels, flows and their releases, as plain data and rules.
//!
//! Knows HL7 paths and events; knows nothing of where messages come from, how they are kept or how they are sent.
//! [`Flow`] is the noun everything else hangs on.

pub mod account;
pub mod alert;
pub mod canary;
pub mod change;
pub mod channel;
pub mod check;
pub mod event;
pub mod event_time;
pub mod exclusion;
pub mod fall_back;
pub mod id;
pub mod limits;
pub mod load;
pub mod mapped;
pub mod outbound;
pub mod patient;
pub mod ran;
pub mod release;
pub mod retention;
pub mod search;
pub mod shadow;
pub mod shared;
pub mod table;
pub mod target;
pub mod template;
pub mod transport;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use account::Account;
use canary::Canary;
pub use channel::Channel;
pub use event::Event;
use fall_back::{FallBack, FellBack};
pub use id::{AccountId, ChannelId, DeliveryId, FlowId, MessageId};
pub use outbound::{Outbound, WebhookEvent};
pub use release::{Choices, Digest, Grants, Release};
pub use table::CodeTable;

/// Which way a flow carries messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
pub enum Direction {
    #[serde(rename = "ehr-to-leadsquared")]
    EhrToLeadSquared,
    #[serde(rename = "leadsquared-to-ehr")]
    LeadSquaredToEhr,
}

impl Direction {
    /// The word kept in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            Direction::EhrToLeadSquared => "ehr-to-leadsquared",
            Direction::LeadSquaredToEhr => "leadsquared-to-ehr",
        }
    }
}

/// What a flow writes or reads in LeadSquared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Entity {
    Lead,
    Activity,
}

/// What happens to a record that exists, and to one that does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Behaviour {
    /// Create what is missing, update what is there.
    #[default]
    Capture,
    /// Create what is missing, leave what is there as it is.
    CreateOnly,
    /// Update what is there, never create.
    UpdateOnly,
    /// Neither.
    Nothing,
}

/// The LeadSquared activity type of an activity flow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ActivityType {
    /// The numeric event code, for example 205.
    pub code: u32,
    /// The slot (`mx_Custom_n`) that holds the sender's own key; the host writes it.
    /// LeadSquared neither deduplicates activities nor finds them by key, so this field is their identity.
    /// A flow to the EHR needs none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub key_field: String,
    /// What an activity is closed with when its key arrives for another patient: LeadSquared cannot move one.
    #[serde(default = "moved")]
    pub moved: Constant,
}

fn moved() -> Constant {
    Constant {
        field: "Status".into(),
        value: "Moved".into(),
    }
}

/// One field and the value that is always written to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Constant {
    pub field: String,
    pub value: String,
}

/// What to do for a patient when the lead that was found is another person's: a shared phone, a family's email.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum OtherPerson {
    /// Make a lead without the value that the other one holds.
    Create {
        /// The value goes into this lead field, which must not be unique; none keeps it nowhere.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        keep_in: Option<String>,
    },
    /// Make nothing until a person has decided.
    Wait,
}

impl Default for OtherPerson {
    fn default() -> Self {
        Self::Create { keep_in: None }
    }
}

/// When LeadSquared is asked to run its automations (`postUpdatedLead`, `leadsquared.md` 4.2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Automations {
    /// For messages as they come; never for loads of existing data.
    pub run: bool,
    /// Not for messages whose event is older than this, in milliseconds.
    pub max_age_ms: u64,
    /// Written where automations are not to run. Creating an activity may fire them whatever is sent, so they can test
    /// for this field.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub marker: Option<Constant>,
}

impl Default for Automations {
    fn default() -> Self {
        Self {
            run: true,
            max_age_ms: 24 * 60 * 60 * 1_000,
            marker: None,
        }
    }
}

/// Which deliveries go first when calls are scarce.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Default,
    Serialize,
    Deserialize,
    ToSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Priority {
    /// Somebody is waiting for it: appointments and registrations.
    High,
    #[default]
    Normal,
    /// When there is nothing else to do.
    Low,
}

fn default_wait_for_lead_ms() -> u64 {
    15 * 60 * 1_000
}

fn yes() -> bool {
    true
}

/// Whether a flow takes messages.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case", tag = "state", content = "reason")]
pub enum Status {
    #[default]
    Draft,
    Active,
    /// Deliveries are kept and wait; the reason is shown.
    Paused(String),
}

/// One direction, one event type, one entity: the route from a channel to LeadSquared records.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Flow {
    pub id: FlowId,
    pub account: AccountId,
    pub name: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    pub direction: Direction,
    pub channel: ChannelId,
    pub event: Event,
    pub entity: Entity,
    #[serde(default)]
    pub lead_behaviour: Behaviour,
    #[serde(default)]
    pub activity_behaviour: Behaviour,
    /// Set for activity flows only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub activity: Option<ActivityType>,
    /// Set for flows to the EHR only, and then what is said of searching, writing and automations has no meaning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outbound: Option<Outbound>,
    /// The unique lead field that finds the lead, for example `mx_MRN`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub primary_search_field: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secondary_search_field: Option<String>,
    /// What happens to a patient whose lead was found by a value that belongs to another one.
    #[serde(default)]
    pub other_person: OtherPerson,
    /// How long an activity waits for its lead where the flow may not create one, in milliseconds: registrations and
    /// appointments come over different connections.
    #[serde(default = "default_wait_for_lead_ms")]
    pub wait_for_lead_ms: u64,
    /// Make no call for an update whose values are those that this host wrote last.
    #[serde(default = "yes")]
    pub skip_unchanged: bool,
    /// Whether LeadSquared's automations run for what this flow writes.
    #[serde(default)]
    pub automations: Automations,
    /// Which deliveries go first when calls are scarce; none goes by the event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<Priority>,
    /// Written to `Source` when a lead is created.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lead_source: Option<String>,
    /// Country calling code without `+`; falls back to the account's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_country_code: Option<String>,
    /// IANA name; local times of the message are read in this zone. Falls back to the account's, then to UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
    /// A dead delivery keeps holding its patient's lane until a person decides.
    #[serde(default)]
    pub hold_lane: bool,
    /// Deliveries of one message run in this order, lowest first.
    #[serde(default)]
    pub position: i64,
    /// The mapping document of several flows of the account that this one shares, by its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shared_mapping: Option<String>,
    /// What the component of the flow is told, and bound to.
    #[serde(default, skip_serializing_if = "Choices::is_empty")]
    pub choices: Choices,
    #[serde(default)]
    pub status: Status,
    /// The release that is active.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<Digest>,
    /// Whether another release comes into force only when a shadow run has proven it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub require_shadow: bool,
    /// When the flow goes back to the release before by itself.
    #[serde(default, skip_serializing_if = "FallBack::is_default")]
    pub fall_back: FallBack,
    /// What the flow went back from by itself, until a person puts a release in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fell_back: Option<FellBack>,
    /// A candidate release that serves some of the patients.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<Canary>,
}

impl Flow {
    /// Names the release that is in force; a candidate that comes into force is none any more.
    pub fn put_in_force(&mut self, release: Digest) {
        let is_it = |canary: &Canary| canary.release == release;
        if self.canary.as_ref().is_some_and(is_it) {
            self.canary = None;
        }
        self.release = Some(release);
    }

    /// The candidate release, while it serves somebody.
    pub fn candidate(&self) -> Option<&Digest> {
        let canary = self.canary.as_ref();
        let serving = canary.filter(|canary| canary.ended.is_none());
        serving.map(|canary| &canary.release)
    }

    /// What is set, or what the event calls for: appointments and registrations go before updates.
    pub fn priority(&self) -> Priority {
        let event = (
            self.event.message_code.as_str(),
            self.event.trigger_event.as_str(),
        );
        self.priority.unwrap_or(match event {
            ("SIU", _) | ("ADT", "A01" | "A04" | "A05" | "A14" | "A28") => Priority::High,
            _ => Priority::Normal,
        })
    }

    /// Whether a message of `event` that came in over `channel` is this flow's.
    ///
    /// A paused flow takes messages too: they wait in its queue with the reason shown.
    pub fn takes(&self, channel: &ChannelId, event: &Event) -> bool {
        self.direction == Direction::EhrToLeadSquared
            && self.status != Status::Draft
            && self.channel == *channel
            && self.event == *event
    }

    /// The settings of a flow to the EHR, if `event` of a lead, or of an activity of type `code`, sets it going.
    pub fn sends(&self, event: WebhookEvent, code: Option<u32>) -> Option<&Outbound> {
        let outbound = self.outbound.as_ref()?;
        let is_type = match event.entity() {
            Entity::Lead => true,
            Entity::Activity => self.activity.as_ref().map(|activity| activity.code) == code,
        };
        (self.direction == Direction::LeadSquaredToEhr
            && self.status != Status::Draft
            && outbound.webhook == event
            && is_type)
            .then_some(outbound)
    }
}
