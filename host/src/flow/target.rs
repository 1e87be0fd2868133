//! Where an outbound channel sends to: the far end of an MLLP connection, as plain data.
//!
//! `mllp` connects and `serve` hands it over; running it is not this room's. Start at [`Target`].

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::transport::TlsVersion;

/// An MLLP listener of the EHR.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Target {
    pub address: Address,
    /// TLS from the first byte; without it the connection is plain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<TargetTls>,
    /// How long connecting may take, with the TLS handshake, in milliseconds.
    #[serde(default = "default_connect_timeout_ms")]
    pub connect_timeout_ms: Millis,
    /// From a message to its acknowledgement, in milliseconds. Longer than the far end takes at most: a message whose
    /// answer did not come may have been taken.
    #[serde(default = "default_answer_timeout_ms")]
    pub answer_timeout_ms: Millis,
    /// From a commit acknowledgement to the application's, where one is expected, in milliseconds.
    #[serde(default = "default_application_timeout_ms")]
    pub application_timeout_ms: Millis,
}

/// TLS of a sender; the files are PEM.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TargetTls {
    /// Authorities that may have signed the listener's certificate; without them those of the machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub authorities: Option<PathBuf>,
    /// SHA-256 fingerprints of certificates that are trusted whoever signed them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub pinned: Vec<String>,
    /// The name that the certificate must bear; by default the host of the address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_name: Option<String>,
    /// Our own certificate and its key, where the listener asks for one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identity: Option<Identity>,
    /// The oldest version of TLS that is spoken.
    #[schema(value_type = String, pattern = "^1\\.[23]$")]
    pub oldest_version: TlsVersion,
}

/// A certificate with the chain above it, and its private key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    #[schema(value_type = String)]
    pub certificate: PathBuf,
    #[schema(value_type = String)]
    pub key: PathBuf,
}

/// `host:port`; the name is looked up at every connection, an IPv6 address stands in brackets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(try_from = "String", into = "String")]
#[schema(value_type = String, example = "ehr.example.org:2575")]
pub struct Address(String);

/// A text that is no address of a target.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "\"{0}\" is no target: write host:port, for example ehr.example.org:2575 or [fd00::1]:2575"
)]
pub struct NotAnAddress(String);

impl Address {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Address {
    type Err = NotAnAddress;

    fn from_str(text: &str) -> Result<Self, NotAnAddress> {
        let refused = || NotAnAddress(text.to_owned());
        let (host, port) = text.rsplit_once(':').ok_or_else(refused)?;
        let is_port = port.parse::<u16>().is_ok_and(|port| port > 0);
        let is_host = match host.strip_prefix('[') {
            Some(inner) => inner
                .strip_suffix(']')
                .is_some_and(|inner| inner.parse::<std::net::Ipv6Addr>().is_ok()),
            None => {
                !host.is_empty()
                    && host
                        .bytes()
                        .all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte))
            }
        };
        match is_port && is_host {
            true => Ok(Self(text.to_owned())),
            false => Err(refused()),
        }
    }
}

impl TryFrom<String> for Address {
    type Error = NotAnAddress;

    fn try_from(text: String) -> Result<Self, NotAnAddress> {
        text.parse()
    }
}

impl From<Address> for String {
    fn from(address: Address) -> Self {
        address.0
    }
}

/// A time-out from 1 ms to 10 minutes: a lane waits behind each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(try_from = "u64", into = "u64")]
#[schema(value_type = u64, minimum = 1, maximum = 600_000)]
pub struct Millis(u64);

/// A time-out that is too short or too long.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0} ms is no time-out: write 1 to 600000")]
pub struct NotATimeout(u64);

impl TryFrom<u64> for Millis {
    type Error = NotATimeout;

    fn try_from(ms: u64) -> Result<Self, NotATimeout> {
        match ms {
            1..=600_000 => Ok(Self(ms)),
            _ => Err(NotATimeout(ms)),
        }
    }
}

impl From<Millis> for u64 {
    fn from(ms: Millis) -> Self {
        ms.0
    }
}

impl From<Millis> for std::time::Duration {
    fn from(ms: Millis) -> Self {
        Self::from_millis(ms.0)
    }
}

fn default_connect_timeout_ms() -> Millis {
    Millis(10_000)
}

/// Longer than the 20 s that our own listener takes at most.
fn default_answer_timeout_ms() -> Millis {
    Millis(30_000)
}

fn default_application_timeout_ms() -> Millis {
    Millis(60_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_a_host_and_a_port() {
        for right in [
            "ehr.example.org:2575",
            "10.1.2.3:1",
            "ehr_1:2575",
            "[fd00::1]:65535",
        ] {
            assert_eq!(right.parse::<Address>().unwrap().to_string(), right);
        }
        for wrong in [
            "",
            "ehr",
            "2575",
            ":2575",
            "ehr:",
            "ehr:0",
            "ehr:65536",
            "fd00::1:2575",
            "[fd00:2575",
            "[ehr]:2575",
            "tcp://ehr:2575",
            "a b:2575",
        ] {
            assert!(wrong.parse::<Address>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_target_has_defaults_and_bounds() {
        let text = "address = \"ehr:2575\"\nanswer_timeout_ms = 5000\n[tls]\nserver_name = \"ehr\"";
        let target: Target = toml::from_str(text).unwrap();
        assert_eq!(target.answer_timeout_ms, Millis(5_000));
        assert_eq!(target.connect_timeout_ms, Millis(10_000));
        assert_eq!(target.tls.unwrap().server_name.as_deref(), Some("ehr"));
        for wrong in [
            "address = \"ehr\"",
            "address = \"ehr:1\"\nanswer_timeout_ms = 0",
            "address = \"ehr:1\"\nconnect_timeout_ms = 600001",
            "address = \"ehr:1\"\nwindow = 3",
            "answer_timeout_ms = 1",
        ] {
            assert!(toml::from_str::<Target>(wrong).is_err(), "{wrong}");
        }
    }
}
