//! One LeadSquared account.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::AccountId;

/// One LeadSquared account; its keys are kept apart, sealed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
    /// How long to wait before looking up what became of a write whose answer never came, in milliseconds.
    #[serde(default = "default_look_up_wait_ms")]
    pub look_up_wait_ms: u64,
    /// How long one call to the API may take, in milliseconds.
    #[serde(default = "default_call_timeout_ms")]
    pub call_timeout_ms: u64,
}

fn default_look_up_wait_ms() -> u64 {
    10_000
}

fn default_call_timeout_ms() -> u64 {
    30_000
}

/// How many calls the account may make: LeadSquared counts them in a sliding window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RatePlan {
    /// Calls allowed in one window; 0 means no limit is applied.
    pub calls: u32,
    pub window_ms: u64,
}

impl Default for RatePlan {
    /// The plan that LeadSquared's endpoint pages state: 25 calls in 5 seconds.
    fn default() -> Self {
        Self {
            calls: 25,
            window_ms: 5_000,
        }
    }
}

/// The access key and secret key of one LeadSquared user.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keys {
    pub access_key: String,
    pub secret_key: String,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys(redacted)")
    }
}
