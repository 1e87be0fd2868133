//! When a flow goes back to the release before by itself, and that it did.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Digest;

/// When a flow goes back to the release before: the one in force ended so many deliveries of a time with a trap or a limit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct FallBack {
    pub on: bool,
    /// Deliveries, however often each was tried.
    pub failures: u32,
    /// In milliseconds.
    pub window_ms: u64,
}

impl Default for FallBack {
    fn default() -> Self {
        Self {
            on: true,
            failures: 5,
            window_ms: 15 * 60 * 1_000,
        }
    }
}

impl FallBack {
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// What a flow went back from. It does not go back again before a person has put a release in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FellBack {
    /// The release that broke.
    pub from: Digest,
    /// RFC 3339.
    pub at: String,
    /// Deliveries that it had ended by then.
    pub failures: u64,
}
