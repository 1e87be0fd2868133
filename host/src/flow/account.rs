//! One LeadSquared account.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{AccountId, Flow};

/// One LeadSquared account; its keys are kept apart, sealed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Account {
    pub id: AccountId,
    pub name: String,
    /// Base address of the API without `/v2`, for example `https://api-us11.leadsquared.com`.
    pub api: String,
    #[serde(default)]
    pub rate_plan: RatePlan,
    /// Country calling code without `+`, for numbers that have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_country_code: Option<String>,
    /// IANA name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
    /// Lead fields that hold patient identifiers. A lead that holds another identifier is another person. Email, phone
    /// and mobile cannot be among them.
    #[serde(default)]
    pub identifier_fields: Vec<String>,
    /// The lead field that holds the birth date; none takes a date field whose name says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub birth_date_field: Option<String>,
    /// Values that stand for "none", `*` for any text: never searched by, and never written to a unique field.
    #[serde(default = "default_placeholders")]
    pub placeholders: Vec<String>,
    /// How the EHR is told the lead's own number, so that it can name the lead to us.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lead_number: Option<LeadNumber>,
    /// What is written to the lead that a merge retired.
    #[serde(default)]
    pub retired_lead: RetiredLead,
    /// Reads what was changed in LeadSquared regularly, beside webhooks or in their place; none leaves it to webhooks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub poll: Option<Poll>,
    /// LeadSquared roles whose users may use the connector, beside administrators.
    #[serde(default)]
    pub roles: Vec<Role>,
    /// Whose components are taken.
    #[serde(default, skip_serializing_if = "ComponentPolicy::is_usual")]
    pub components: Box<ComponentPolicy>,
    /// How long to wait before looking up what became of a write whose answer never came, in milliseconds.
    #[serde(default = "default_look_up_wait_ms")]
    pub look_up_wait_ms: u64,
    /// How long one call to the API may take, in milliseconds.
    #[serde(default = "default_call_timeout_ms")]
    pub call_timeout_ms: u64,
}

/// What people type where a field wants a value and they have none.
fn default_placeholders() -> Vec<String> {
    [
        "0000000000",
        "1111111111",
        "9999999999",
        "555-555-5555",
        "123-456-7890",
        "999-99-9999",
        "000-00-0000",
        "none",
        "none@*",
        "noemail@*",
        "no@*",
        "na@*",
        "unknown",
        "unknown@*",
        "n/a",
        "test@test.*",
    ]
    .map(str::to_owned)
    .into()
}

/// Whose uploaded components an account takes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ComponentPolicy {
    /// Refuses a component without a signature of one of the keys.
    pub signed_only: bool,
    /// Keys that are trusted to sign.
    pub trusted_keys: Vec<TrustedKey>,
}

impl ComponentPolicy {
    fn is_usual(&self) -> bool {
        *self == Self::default()
    }
}

/// The public key of a vendor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TrustedKey {
    /// Whose it is.
    pub name: String,
    /// `ed25519:` and 64 hexadecimal digits, as `ligature plugin key` prints it.
    pub key: String,
}

/// How a public key begins.
pub const PUBLIC_KEY_PREFIX: &str = "ed25519:";

impl TrustedKey {
    /// Whether `key` has the form of one.
    pub fn is_key(&self) -> bool {
        let digits = self.key.strip_prefix(PUBLIC_KEY_PREFIX);
        digits.is_some_and(|digits| {
            digits.len() == 64
                && digits
                    .bytes()
                    .all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
        })
    }
}

/// What is written to the lead that a merge retired; LeadSquared's API cannot merge leads.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum RetiredLead {
    /// Nothing: the host remembers who the survivor is.
    #[default]
    Nothing,
    /// An activity whose note says that the patient was merged, with the surviving lead's id in `key_field`.
    Activity { code: u32, key_field: String },
}

/// The lead's number (`ProspectAutoId`) as a patient identifier in messages to the EHR. A message from the EHR that
/// carries it is about that lead.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LeadNumber {
    /// The assigning authority of our numbers (PID-3.4.1), agreed with the EHR's team, such as `LSQ`.
    pub authority: String,
    /// The field of repetitions that it goes to, of data type CX.
    #[serde(default = "default_number_field")]
    pub field: String,
    /// Identifier type (PID-3.5, table 0203).
    #[serde(default = "default_number_type")]
    pub identifier_type: String,
}

fn default_number_field() -> String {
    "PID-3".into()
}

/// Patient external identifier.
fn default_number_type() -> String {
    "PT".into()
}

/// How leads that were changed are read regularly, for changes that no webhook told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Poll {
    /// From one reading to the next, in milliseconds.
    pub interval_ms: u64,
    /// How far each reading goes back behind the one before, in milliseconds: clocks differ, and LeadSquared lists a
    /// change some time after it was made.
    pub overlap_ms: u64,
    /// How long webhooks are given to tell first, in milliseconds: they say what a field held before.
    pub settle_ms: u64,
}

impl Default for Poll {
    fn default() -> Self {
        Self {
            interval_ms: 5 * 60 * 1_000,
            overlap_ms: 10 * 60 * 1_000,
            settle_ms: 60 * 1_000,
        }
    }
}

/// A role of LeadSquared's users (`leadsquared.md` 10) that can be let in; `Administrator` always is.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
)]
pub enum Role {
    #[serde(rename = "Marketing_User")]
    MarketingUser,
    #[serde(rename = "Sales_Manager")]
    SalesManager,
    #[serde(rename = "Sales_User")]
    SalesUser,
}

impl Role {
    pub const ALL: [Role; 3] = [Role::MarketingUser, Role::SalesManager, Role::SalesUser];

    /// As LeadSquared writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Role::MarketingUser => "Marketing_User",
            Role::SalesManager => "Sales_Manager",
            Role::SalesUser => "Sales_User",
        }
    }
}

impl Account {
    /// The lead fields that hold patient identifiers: those of the account, or where it names none, the search fields
    /// of `flow` that are neither email nor a phone.
    pub fn identifiers(&self, flow: &Flow) -> Vec<String> {
        if !self.identifier_fields.is_empty() {
            return self.identifier_fields.clone();
        }
        std::iter::once(&flow.primary_search_field)
            .chain(&flow.secondary_search_field)
            .filter(|field| !SHARED_FIELDS.contains(&field.as_str()))
            .cloned()
            .collect()
    }
}

/// Unique fields whose values people share all the same.
pub const SHARED_FIELDS: [&str; 3] = ["EmailAddress", "Phone", "Mobile"];

fn default_look_up_wait_ms() -> u64 {
    10_000
}

fn default_call_timeout_ms() -> u64 {
    30_000
}

/// How many calls the account may make: LeadSquared counts them in a sliding window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RatePlan {
    /// Calls allowed in one window; 0 means no limit is applied.
    pub calls: u32,
    pub window_ms: u64,
    /// Calls allowed in one day of UTC; none means no limit is applied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub daily: Option<u32>,
    /// The share of the day's calls that is left to the account's other integrations, in percent.
    #[serde(default = "default_reserve_percent")]
    pub reserve_percent: u8,
}

/// Other integrations of the account share its quota.
fn default_reserve_percent() -> u8 {
    30
}

impl RatePlan {
    /// The calls of a day that this host may make: what the reserve leaves.
    pub fn ours_of_a_day(&self) -> Option<u32> {
        let share = 100 - u64::from(self.reserve_percent.min(100));
        let ours = u64::from(self.daily?) * share / 100;
        Some(u32::try_from(ours).unwrap_or(u32::MAX))
    }
}

impl Default for RatePlan {
    /// The plan that LeadSquared's endpoint pages state: 25 calls in 5 seconds.
    fn default() -> Self {
        Self {
            calls: 25,
            window_ms: 5_000,
            daily: None,
            reserve_percent: default_reserve_percent(),
        }
    }
}

/// The access key and secret key of one LeadSquared user.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keys {
    pub access_key: String,
    pub secret_key: String,
}

/// An API with keys that open it: the simulator of a process that runs one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reach {
    pub api: String,
    pub keys: Keys,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys(redacted)")
    }
}
