//! What a channel's settings mean for its listener: limits, who may connect, TLS.
//!
//! Start at [`listen`].

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::ensure;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::Tasks;
use crate::flow::transport::{self, ClientCertificates, TlsVersion};
use crate::flow::{self, Channel};
use crate::mllp::frame::Framing;
use crate::mllp::listener::{self, Access, Limits};
use crate::mllp::sender;
use crate::mllp::tls::{self, Acceptor, Connecting, Connector, Identity, Listening, Oldest, Trust};
use crate::pipeline::Pipeline;

/// How often certificate files are looked at.
const FRESH: Duration = Duration::from_secs(10);

/// What opens a message or a batch where the start block is missing.
const HEADERS: &[&[u8]] = &[b"MSH", b"FHS", b"BHS"];

/// Takes messages off the channel's socket until shutdown.
pub(super) async fn listen(
    pipeline: Arc<Pipeline>,
    channel: Arc<Channel>,
    socket: TcpListener,
    acceptor: Option<Arc<Acceptor>>,
    tasks: Tasks,
) {
    let access = Access {
        peers: channel.allowed_peers.iter().map(|peer| peer.0).collect(),
        tls: acceptor,
    };
    let limits = limits(&channel);
    let receive = move |received| {
        let (pipeline, channel) = (pipeline.clone(), channel.clone());
        async move { pipeline.receive(&channel, received).await }
    };
    let (tracker, stop) = (tasks.tracker.clone(), tasks.stop.clone());
    listener::serve(socket, limits, access, receive, tracker, stop).await;
}

fn limits(channel: &Channel) -> Limits {
    let idle = Duration::from_millis(channel.idle_close_ms);
    Limits {
        max_payload_bytes: channel.max_frame_bytes,
        frame_timeout: Duration::from_millis(channel.frame_timeout_ms),
        max_connections: channel.max_connections,
        budget_bytes: channel.max_pending_bytes,
        idle_close: (!idle.is_zero()).then_some(idle),
        framing: Framing {
            strict: channel.framing == transport::Framing::Strict,
            unframed_starts: if channel.unframed_start { HEADERS } else { &[] },
        },
        commit_blocks: channel.commit_blocks,
    }
}

/// Says where the channel listens, and what is unwise about it.
pub(super) fn announce(channel: &Channel, address: SocketAddr) {
    let tls = channel.tls.is_some();
    info!(channel = %channel.id, %address, tls, "listening for MLLP");
    if !address.ip().is_loopback() && !tls {
        warn!(channel = %channel.id, %address, "patient data come over the network in clear text: turn TLS on, or let a tunnel end on this machine");
    }
    if channel.unframed_start && channel.framing == transport::Framing::Strict {
        warn!(channel = %channel.id, "`unframed_start` has no effect with strict framing");
    }
}

/// Says where the channel sends to, and what is unwise about it.
pub(super) fn announce_target(channel: &Channel) {
    let Some(target) = &channel.target else {
        return;
    };
    let tls = target.tls.is_some();
    info!(channel = %channel.id, address = %target.address, tls, "sending over MLLP");
    let host = target.address.as_str();
    let host = host.rsplit_once(':').map_or(host, |(host, _)| host);
    let ip: Option<std::net::IpAddr> = host.trim_matches(['[', ']']).parse().ok();
    if !tls && host != "localhost" && !ip.is_some_and(|ip| ip.is_loopback()) {
        warn!(channel = %channel.id, address = %target.address, "patient data go over the network in clear text: turn TLS on, or let a tunnel begin on this machine");
    }
}

/// Reads the certificates of a channel.
pub(super) fn acceptor(settings: &transport::Tls) -> anyhow::Result<Acceptor> {
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
        identity: Identity {
            certificate: settings.certificate.clone(),
            key: settings.key.clone(),
        },
        clients,
        oldest: oldest(settings.oldest_version),
    })?)
}

/// Reads what connecting to a target takes.
pub(super) fn target(settings: &flow::target::Target) -> anyhow::Result<sender::Target> {
    let tls = match &settings.tls {
        None => None,
        Some(tls) => {
            let pinned = tls.pinned.iter().map(|text| text.parse());
            let identity = tls.identity.as_ref().map(|identity| Identity {
                certificate: identity.certificate.clone(),
                key: identity.key.clone(),
            });
            Some(Connector::load(&Connecting {
                identity,
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

fn oldest(version: TlsVersion) -> Oldest {
    match version {
        TlsVersion::Tls12 => Oldest::Tls12,
        TlsVersion::Tls13 => Oldest::Tls13,
    }
}

/// Looks after the certificates of a channel until shutdown.
pub(super) async fn keep_fresh(acceptor: Arc<Acceptor>, stop: CancellationToken) {
    tokio::select! {
        () = tls::keep_fresh(acceptor, FRESH) => {}
        () = stop.cancelled() => {}
    }
}
