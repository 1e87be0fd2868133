//! One wire to an EHR.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::patient::PatientKeyRule;
use super::{AccountId, ChannelId};

/// An MLLP listener: where the EHR sends to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Channel {
    pub id: ChannelId,
    pub account: AccountId,
    pub name: String,
    /// Port 0 takes a free one.
    pub address: SocketAddr,
    #[serde(default)]
    pub patient_key: PatientKeyRule,
    /// What an event that no flow takes is answered with.
    #[serde(default)]
    pub no_flow: NoFlow,
    /// Send no answer where MSH-15 and MSH-16 both say NE. Without it such a message is answered like one that leaves
    /// them empty: an answer that nobody waits for does no harm, a sender that waits for none stalls the feed.
    #[serde(default)]
    pub obey_never: bool,
    /// Largest payload of one frame in bytes.
    #[serde(default = "default_max_frame_bytes")]
    pub max_frame_bytes: usize,
    /// How long a frame may take from its first byte to its last, in milliseconds.
    #[serde(default = "default_frame_timeout_ms")]
    pub frame_timeout_ms: u64,
    /// Connections held at once.
    #[serde(default = "default_max_connections")]
    pub max_connections: usize,
}

/// 16 MiB, the limit other engines use.
fn default_max_frame_bytes() -> usize {
    16 * 1024 * 1024
}

fn default_frame_timeout_ms() -> u64 {
    30_000
}

fn default_max_connections() -> usize {
    1_024
}

/// What to do with an event that no flow takes: hospitals send whole feeds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NoFlow {
    /// Keep it, answer AA, show it as skipped.
    #[default]
    Accept,
    /// Keep it, answer AR.
    Reject,
}
