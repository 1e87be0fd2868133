//! A channel's wire: what its settings mean for TLS, who is connected to it, what its certificates say.
//!
//! `serve` opens the wires and notes them here; pages and alerts look. This room opens no socket.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use anyhow::ensure;
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::Pipeline;
use super::send::Sending;
use crate::flow::transport::{self, ClientCertificates, TlsVersion};
use crate::flow::{self, Channel, ChannelId};
use crate::mllp::listener::{Connections, Peer};
use crate::mllp::sender;
use crate::mllp::tls::{
    self, Acceptor, Connecting, Connector, Facts, Identity, Listening, Oldest, Trust,
};

/// The wires of this host, by what `serve` has noted last.
#[derive(Debug, Default)]
pub(super) struct Wires {
    channels: Mutex<BTreeMap<ChannelId, Wire>>,
    /// The console's own side of TLS.
    console: OnceLock<Arc<Acceptor>>,
}

/// A listener that runs.
#[derive(Debug, Clone, Default)]
pub struct Wire {
    pub connections: Connections,
    pub acceptor: Option<Arc<Acceptor>>,
}

/// A certificate as people are told of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Certificate {
    /// The distinguished name.
    pub subject: String,
    /// Good up to this time, RFC 3339.
    pub not_after: String,
    /// Whole days until then; negative once it is over.
    pub days_left: i64,
}

impl Certificate {
    /// What a page says of a certificate now.
    pub fn of(facts: &Facts) -> Self {
        Self {
            subject: facts.subject.clone(),
            not_after: facts.not_after.to_string(),
            days_left: facts.days_left(Timestamp::now()),
        }
    }
}

impl Pipeline {
    /// Notes the listener of a channel; none takes the note away.
    pub fn note_wire(&self, channel: &ChannelId, wire: Option<Wire>) {
        let mut wires = self
            .wires
            .channels
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        match wire {
            Some(wire) => drop(wires.insert(channel.clone(), wire)),
            None => drop(wires.remove(channel)),
        }
    }

    /// The listener of a channel on this host.
    pub fn wire(&self, channel: &ChannelId) -> Option<Wire> {
        let wires = self
            .wires
            .channels
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        wires.get(channel).cloned()
    }

    /// Notes what the console shows browsers.
    pub fn note_console(&self, acceptor: Arc<Acceptor>) {
        // Once a start; another would be of another host.
        let _ = self.wires.console.set(acceptor);
    }

    /// The certificate that the console shows browsers; none where it speaks no TLS.
    pub fn console_certificate(&self) -> Option<Certificate> {
        let certificates = self.wires.console.get()?.certificates();
        certificates.first().map(Certificate::of)
    }

    /// Who is connected to a channel of this host.
    pub fn peers(&self, channel: &ChannelId) -> Vec<Peer> {
        let wire = self.wire(channel);
        wire.map_or_else(Vec::new, |wire| wire.connections.peers())
    }

    /// The certificates of a channel that end at some time: our own first, then those that it trusts; for a channel to
    /// the EHR our own, and what the EHR's listener showed last.
    pub fn certificates(&self, channel: &Channel) -> Vec<Certificate> {
        let facts = match &channel.target {
            None => {
                let wire = self.wire(&channel.id);
                let acceptor = wire.and_then(|wire| wire.acceptor);
                acceptor.map_or_else(Vec::new, |acceptor| acceptor.certificates())
            }
            Some(target) => {
                let identity = target.tls.as_ref().and_then(|tls| tls.identity.as_ref());
                let own = identity.and_then(|own| tls::first_of(&own.certificate));
                let seen = match self.sending(&channel.id) {
                    Some(Sending::Here(line)) => line.certificate(),
                    _ => None,
                };
                own.into_iter().chain(seen).collect()
            }
        };
        facts.iter().map(Certificate::of).collect()
    }
}

/// Reads the certificates of a channel that listens.
///
/// # Errors
/// Names the file or the setting, and what is wrong with it.
pub fn acceptor(settings: &transport::Tls) -> anyhow::Result<Acceptor> {
    let pinned = settings.pinned_clients.iter();
    let trust = Trust {
        authorities: settings.client_authorities.clone(),
        pinned: pinned.map(|text| text.parse()).collect::<Result<_, _>>()?,
    };
    let clients = match settings.client_certificates {
        ClientCertificates::None => {
            ensure!(
                trust == Trust::default(),
                "client_authorities or pinned_clients are named, but client_certificates is \"none\": write \"want\" or \"require\""
            );
            tls::ClientCertificates::None
        }
        ClientCertificates::Want => tls::ClientCertificates::Want(trust),
        ClientCertificates::Require => tls::ClientCertificates::Require(trust),
    };
    Ok(Acceptor::load(Listening {
        identity: identity(&settings.certificate, &settings.key),
        clients,
        oldest: oldest(settings.oldest_version),
    })?)
}

/// Reads the certificate of a server that asks its peers for none.
///
/// # Errors
/// Names the file and what is wrong with it.
pub fn plain_acceptor(own: &flow::target::Identity) -> anyhow::Result<Acceptor> {
    Ok(Acceptor::load(Listening {
        identity: identity(&own.certificate, &own.key),
        clients: tls::ClientCertificates::None,
        oldest: Oldest::default(),
    })?)
}

/// Reads what connecting to a target takes.
///
/// # Errors
/// Names the file or the setting, and what is wrong with it.
pub fn target(settings: &flow::target::Target) -> anyhow::Result<sender::Target> {
    let tls = match &settings.tls {
        None => None,
        Some(tls) => {
            let pinned = tls.pinned.iter().map(|text| text.parse());
            let own = tls.identity.as_ref();
            Some(Connector::load(&Connecting {
                identity: own.map(|own| identity(&own.certificate, &own.key)),
                trust: Trust {
                    authorities: tls.authorities.clone(),
                    pinned: pinned.collect::<Result<_, _>>()?,
                },
                server_name: tls.server_name.clone(),
                oldest: oldest(tls.oldest_version),
            })?)
        }
    };
    Ok(sender::Target {
        address: settings.address.to_string(),
        tls,
        timeouts: sender::Timeouts {
            connect: settings.connect_timeout_ms.into(),
            answer: settings.answer_timeout_ms.into(),
            application: settings.application_timeout_ms.into(),
        },
    })
}

/// What connecting to a channel of this host takes, from this machine: its own certificate is the one to be shown.
///
/// # Errors
/// Where the channel does not listen, or its certificate cannot be read.
pub fn own_listener(pipeline: &Pipeline, channel: &Channel) -> anyhow::Result<sender::Target> {
    let listening = pipeline.listening(&channel.id);
    let address = match listening {
        Some(Ok(address)) => reachable(address),
        Some(Err(fault)) => anyhow::bail!("it does not listen: {fault}"),
        None => anyhow::bail!("it does not listen on this host yet"),
    };
    let wire = pipeline.wire(&channel.id);
    let certificates = wire.and_then(|wire| wire.acceptor);
    let own = certificates.and_then(|acceptor| acceptor.certificates().into_iter().next());
    let tls = match own {
        None => None,
        Some(own) => Some(Connector::load(&Connecting {
            trust: Trust {
                authorities: None,
                pinned: vec![own.sha256],
            },
            ..Connecting::default()
        })?),
    };
    Ok(sender::Target {
        address: address.to_string(),
        tls,
        timeouts: sender::Timeouts::default(),
    })
}

/// A listener on all addresses is reached by loopback.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

fn identity(certificate: &std::path::Path, key: &std::path::Path) -> Identity {
    Identity {
        certificate: certificate.to_owned(),
        key: key.to_owned(),
    }
}

fn oldest(version: TlsVersion) -> Oldest {
    match version {
        TlsVersion::Tls12 => Oldest::Tls12,
        TlsVersion::Tls13 => Oldest::Tls13,
    }
}

/// How long the doctor waits in each step.
pub const DOCTORS_PATIENCE: Duration = Duration::from_secs(10);
