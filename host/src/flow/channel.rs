//! One wire to an EHR: a listener that it sends to, or a target that is sent to.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::exclusion::Exclusions;
use super::patient::PatientKeyRule;
use super::retention::Retention;
use super::target::Target;
use super::transport::{self, Framing, Network, Tls};
use super::{AccountId, ChannelId};
use crate::hl7::ack::AckMode;
use crate::hl7::{self, Charset};

/// Inbound, an MLLP listener where the EHR sends to; outbound, the EHR's own listener in `target`, and then what is said
/// below of listening, answering and peers has no meaning.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Channel {
    pub id: ChannelId,
    pub account: AccountId,
    pub name: String,
    /// Where an inbound channel listens. Port 0 takes a free one; a port alone means loopback.
    #[serde(
        default = "nowhere",
        deserialize_with = "transport::address",
        skip_serializing_if = "is_nowhere"
    )]
    #[schema(value_type = Option<String>, example = "127.0.0.1:2575")]
    pub address: SocketAddr,
    /// Where an outbound channel sends to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Target>,
    #[serde(default)]
    pub patient_key: PatientKeyRule,
    /// Messages that no flow sees, and of which only header facts are kept.
    #[serde(default)]
    pub exclusions: Exclusions,
    /// How long messages are kept.
    #[serde(default)]
    pub retention: Retention,
    /// What an event that no flow takes is answered with.
    #[serde(default)]
    pub no_flow: NoFlow,
    /// Send no answer where MSH-15 and MSH-16 both say NE. Without it such a message is answered like one that leaves
    /// them empty: an answer that nobody waits for does no harm, a sender that waits for none stalls the feed.
    #[serde(default)]
    pub obey_never: bool,
    /// `auto` gives one answer, as MSH-15 asks; `enhanced` a commit code, and the application's answer behind it where
    /// MSH-16 asks for one; `original` looks at neither.
    #[serde(default)]
    #[schema(value_type = String, pattern = "^(auto|enhanced|original)$")]
    pub ack_mode: AckMode,
    /// How long a message may wait for storage before it is answered AE, in milliseconds: less than senders wait.
    #[serde(default = "default_answer_budget_ms")]
    pub answer_budget_ms: u64,
    /// What bytes that are no message are answered with.
    #[serde(default)]
    pub unreadable: Unreadable,
    #[serde(default)]
    pub duplicates: Duplicates,
    /// Who sends here; empty for anyone. What another sends is kept and answered AR.
    #[serde(default)]
    pub senders: Vec<Sender>,
    /// Values of MSH-12 that are taken; empty for any. What has another is kept and answered AR.
    #[serde(default)]
    pub versions: Vec<String>,
    /// Values of MSH-11 that are taken; `""` for an empty one. `T` and `D` that are not among them are kept, answered AA
    /// and skipped; what has another is kept and answered AR.
    #[serde(default = "default_processing_ids")]
    pub processing_ids: Vec<String>,
    /// Largest payload of one frame in bytes.
    #[serde(default = "default_max_frame_bytes")]
    pub max_frame_bytes: usize,
    /// How long a frame may take from its first byte to its last, in milliseconds.
    #[serde(default = "default_frame_timeout_ms")]
    pub frame_timeout_ms: u64,
    /// Connections held at once.
    #[serde(default = "default_max_connections")]
    pub max_connections: usize,
    /// How many of them one address may have (one network of 64 bits with IPv6); further ones are closed at once. Left out:
    /// three quarters of `max_connections` where that is 64 or more, else all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_connections_of_one: Option<usize>,
    /// Bytes that frames over 32 KiB may hold together, over all connections of the channel.
    #[serde(default = "default_max_pending_bytes")]
    pub max_pending_bytes: usize,
    /// Close a connection on which nothing happened for so many milliseconds; 0 never does.
    #[serde(default)]
    pub idle_close_ms: u64,
    /// Networks from which peers may connect; empty allows all.
    #[serde(default)]
    pub allowed_peers: Vec<Network>,
    /// What is forgiven around frames.
    #[serde(default)]
    pub framing: Framing,
    /// Take a message whose start block is missing; it must begin with MSH, FHS or BHS. Not with strict framing.
    #[serde(default)]
    pub unframed_start: bool,
    /// Speak release 2 of MLLP: answer every frame with a commit acknowledgement (`VT ACK FS CR`, or `VT NAK FS CR` for
    /// what could not be stored) before the HL7 acknowledgement. Only for senders that ask for it: one of release 1 takes
    /// it for its answer.
    #[serde(default)]
    pub commit_blocks: bool,
    /// What lines that are no segments are taken for.
    #[serde(default)]
    pub stray_lines: StrayLines,
    /// Read every message in this character set, whatever MSH-18 says: a name of HL7 table 0211, such as `8859/1`.
    #[serde(default)]
    #[schema(value_type = Option<String>, example = "windows-1252")]
    pub charset: Option<Charset>,
    /// TLS from the first byte; without it connections are plain.
    #[serde(default)]
    pub tls: Option<Tls>,
}

/// Which way messages go over a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The EHR connects and sends.
    Inbound,
    /// The host connects and sends.
    Outbound,
}

/// The address of a channel that does not listen.
fn nowhere() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0))
}

fn is_nowhere(address: &SocketAddr) -> bool {
    *address == nowhere()
}

impl Channel {
    pub fn kind(&self) -> Kind {
        match self.target {
            Some(_) => Kind::Outbound,
            None => Kind::Inbound,
        }
    }

    /// What contradicts itself, each as the setting's name and what to do about it.
    pub fn faults(&self) -> Vec<(&'static str, &'static str)> {
        let mut faults = Vec::new();
        match self.kind() {
            Kind::Inbound if is_nowhere(&self.address) => faults.push((
                "address",
                "name the address to listen on, or the `target` of an outbound channel",
            )),
            Kind::Outbound if !is_nowhere(&self.address) => faults.push((
                "address",
                "an outbound channel listens nowhere: leave it out, or leave out `target`",
            )),
            Kind::Inbound | Kind::Outbound => {}
        }
        if self.kind() == Kind::Outbound && self.tls.is_some() {
            faults.push((
                "tls",
                "this is TLS of a listener: that of an outbound channel is `target.tls`",
            ));
        }
        faults
    }

    /// Whether a sender with this MSH-3.1 and MSH-4.1 may send here.
    pub fn expects(&self, application: &str, facility: &str) -> bool {
        let fits =
            |wanted: &Option<String>, given: &str| wanted.as_deref().is_none_or(|w| w == given);
        self.senders.is_empty()
            || self.senders.iter().any(|sender| {
                fits(&sender.application, application) && fits(&sender.facility, facility)
            })
    }

    /// What to do with a message of this MSH-11.1 (table 0103).
    pub fn processing(&self, id: &str) -> ProcessingId {
        if self.processing_ids.iter().any(|taken| taken == id) {
            ProcessingId::Taken
        } else if matches!(id, "T" | "D") {
            ProcessingId::Test
        } else {
            ProcessingId::Unknown
        }
    }

    /// How messages of this channel are read.
    pub fn reading(&self) -> hl7::Options {
        hl7::Options {
            charset: self.charset,
            join_lines: self.stray_lines == StrayLines::Join,
            ..hl7::Options::default()
        }
    }

    pub fn answer_budget(&self) -> Duration {
        Duration::from_millis(self.answer_budget_ms)
    }
}

/// A sender that a channel expects; what is left out may be anything.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Sender {
    /// MSH-3.1
    pub application: Option<String>,
    /// MSH-4.1
    pub facility: Option<String>,
}

/// What MSH-11 makes of a message on a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProcessingId {
    Taken,
    /// For training or debugging: kept, never delivered.
    Test,
    Unknown,
}

/// What a line that is no segment is taken for: text of the line before, mostly, that its sender broke by a raw line end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum StrayLines {
    /// Kept with a warning; no mapping sees it.
    #[default]
    Keep,
    /// The rest of the segment before it, with a line break (`\.br\`) between.
    Join,
}

/// What to do with bytes that are no message; they are kept in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Unreadable {
    /// AR, with what can be read of MSH; the connection goes on.
    #[default]
    Answer,
    /// Nothing; the connection is closed.
    Close,
}

/// What to do with a message that came before: same sender, control id, time and bytes within seven days.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Duplicates {
    /// Answer as the first time, and do nothing.
    #[default]
    Answer,
    /// Take it for another message.
    Process,
}

/// From so many connections on, some are left for others than the one that takes most.
const SHARED_FROM: usize = 64;

impl Channel {
    /// How many connections one address may have.
    ///
    /// Most hospitals have one interface engine, which has some ten connections and in a bad hour some hundred: it may have
    /// nearly all, and only a sender that forgets its connections meets the end of its share.
    pub fn connections_of_one(&self) -> usize {
        let all = self.max_connections;
        let share = if all < SHARED_FROM {
            all
        } else {
            all - all / 4
        };
        self.max_connections_of_one
            .unwrap_or(share)
            .clamp(1, all.max(1))
    }
}

/// Senders wait 5 s to 30 s; a commit takes milliseconds.
fn default_answer_budget_ms() -> u64 {
    20_000
}

fn default_processing_ids() -> Vec<String> {
    vec!["P".into(), String::new()]
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

/// 32 MiB: one frame of 16 MiB and 16 of up to 1 MiB at once.
fn default_max_pending_bytes() -> usize {
    32 * 1024 * 1024
}

/// What to do with an event that no flow takes: hospitals send whole feeds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum NoFlow {
    /// Keep it, answer AA, show it as skipped.
    #[default]
    Accept,
    /// Keep it, answer AR.
    Reject,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The kind of a channel and the settings that contradict each other.
    fn check(settings: &str, kind: Kind, faults: &[&str]) {
        let text = format!("id = \"c\"\naccount = \"a\"\nname = \"C\"\n{settings}");
        let channel: Channel = toml::from_str(&text).unwrap();
        assert_eq!(channel.kind(), kind, "{settings}");
        let found: Vec<_> = channel.faults().into_iter().map(|(path, _)| path).collect();
        assert_eq!(found, faults, "{settings}");
        let kept = serde_json::to_string(&channel).unwrap();
        assert_eq!(serde_json::from_str::<Channel>(&kept).unwrap(), channel);
    }

    #[test]
    fn one_address_leaves_some_connections_to_others() {
        let check = |settings: &str, expected: usize| {
            let text = format!("id = \"c\"\naccount = \"a\"\nname = \"C\"\n{settings}");
            let channel: Channel = toml::from_str(&text).unwrap();
            assert_eq!(channel.connections_of_one(), expected, "{settings}");
        };
        check("", 768);
        check("max_connections = 4", 4);
        check("max_connections = 64", 48);
        check("max_connections_of_one = 1024", 1_024);
        check("max_connections = 8\nmax_connections_of_one = 20", 8);
        check("max_connections_of_one = 0", 1);
    }

    #[test]
    fn a_channel_listens_or_sends() {
        let target = "target = { address = \"ehr:2575\" }";
        check("address = 2575", Kind::Inbound, &[]);
        check("address = \"127.0.0.1:0\"", Kind::Inbound, &[]);
        check("", Kind::Inbound, &["address"]);
        check(target, Kind::Outbound, &[]);
        check(
            &format!("address = 2575\n{target}"),
            Kind::Outbound,
            &["address"],
        );
        let tls = "tls = { certificate = \"c\", key = \"k\" }";
        check(&format!("{target}\n{tls}"), Kind::Outbound, &["tls"]);
    }
}
