//! How an EHR may connect to a channel: address, networks, TLS.
//!
//! Plain data with its defaults; `mllp` acts on it and `serve` hands it over. Start at [`Tls`].

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use ipnet::IpNet;
use serde::de::{Error as _, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

/// A network of peers, `10.1.0.0/16`, or one peer, `10.1.2.3`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(try_from = "String", into = "String")]
#[schema(value_type = String, example = "10.1.0.0/16")]
pub struct Network(pub IpNet);

/// A text that is no network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is no network: write 10.1.0.0/16, fd00::/8 or one address")]
pub struct NotANetwork(String);

impl FromStr for Network {
    type Err = NotANetwork;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let network = text.parse::<IpNet>().ok();
        let network = network.or_else(|| Some(text.parse::<IpAddr>().ok()?.into()));
        network
            .map(Self)
            .ok_or_else(|| NotANetwork(text.to_owned()))
    }
}

impl TryFrom<String> for Network {
    type Error = NotANetwork;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Network> for String {
    fn from(network: Network) -> Self {
        network.0.to_string()
    }
}

/// TLS of a listener; the files are PEM and read again when they change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// The channel's certificate, then the chain above it.
    #[schema(value_type = String)]
    pub certificate: PathBuf,
    /// Its private key.
    #[schema(value_type = String)]
    pub key: PathBuf,
    /// Whether peers must show a certificate.
    #[serde(default)]
    pub client_certificates: ClientCertificates,
    /// Authorities whose certificates peers may show.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub client_authorities: Option<PathBuf>,
    /// SHA-256 fingerprints of certificates that peers may show, whoever signed them, and after they have expired, too:
    /// a pin names the key that a peer proves to have, and an interface must not stop at midnight for a date.
    #[serde(default)]
    pub pinned_clients: Vec<String>,
    /// The oldest version of TLS that is spoken.
    #[serde(default)]
    pub oldest_version: TlsVersion,
}

/// Whether peers must show a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ClientCertificates {
    /// Not asked for.
    #[default]
    None,
    /// Asked for; a peer may have none, but one that it shows must be trusted.
    Want,
    /// No connection without a trusted one.
    Require,
}

/// A version of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub enum TlsVersion {
    #[default]
    #[serde(rename = "1.2")]
    Tls12,
    #[serde(rename = "1.3")]
    Tls13,
}

/// What is forgiven around frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Framing {
    /// Everything that real senders do and that cannot be misread.
    #[default]
    Tolerant,
    /// Nothing: what is not VT, message, FS, CR closes the connection.
    Strict,
}

/// Reads `10.1.2.3:2575`, or a port alone, which means loopback: who wants the network to reach a channel says so.
pub(super) fn address<'de, D: Deserializer<'de>>(from: D) -> Result<SocketAddr, D::Error> {
    struct Address;

    impl Visitor<'_> for Address {
        type Value = SocketAddr;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an address with a port, such as \"0.0.0.0:2575\", or a port of loopback")
        }

        fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<SocketAddr, E> {
            match (text.parse(), text.parse()) {
                (Ok(address), _) => Ok(address),
                (_, Ok(port)) => Ok(loopback(port)),
                _ => Err(E::invalid_value(serde::de::Unexpected::Str(text), &self)),
            }
        }

        fn visit_u64<E: serde::de::Error>(self, port: u64) -> Result<SocketAddr, E> {
            let port = u16::try_from(port);
            port.map(loopback)
                .map_err(|_| E::custom("a port is a number from 0 to 65535"))
        }

        fn visit_i64<E: serde::de::Error>(self, port: i64) -> Result<SocketAddr, E> {
            let port = u64::try_from(port);
            self.visit_u64(port.map_err(|_| E::custom("a port is a number from 0 to 65535"))?)
        }
    }

    match from.is_human_readable() {
        true => from.deserialize_any(Address),
        false => SocketAddr::deserialize(from).map_err(D::Error::custom),
    }
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}
