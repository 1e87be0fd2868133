//! What a channel's settings mean for its listener: limits, who may connect. TLS is in `pipeline/wire.rs`.
//!
//! Start at [`listen`].

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::Tasks;
use crate::flow::{Channel, transport};
use crate::mllp::frame::Framing;
use crate::mllp::listener::{self, Access, Limits};
use crate::mllp::tls::{self, Acceptor};
use crate::pipeline::Pipeline;
use crate::pipeline::wire::Wire;

/// How often certificate files are looked at.
const FRESH: Duration = Duration::from_secs(10);

/// What opens a message or a batch where the start block is missing.
const HEADERS: &[&[u8]] = &[b"MSH", b"FHS", b"BHS"];

/// Takes messages off the channel's socket until shutdown.
pub(super) async fn listen(
    pipeline: Arc<Pipeline>,
    channel: Arc<Channel>,
    socket: TcpListener,
    wire: Wire,
    tasks: Tasks,
) {
    let access = Access {
        peers: channel.allowed_peers.iter().map(|peer| peer.0).collect(),
        tls: wire.acceptor,
        connections: wire.connections,
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
        max_connections_of_one: channel.connections_of_one(),
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

/// Looks after the certificates of a channel until shutdown.
pub(super) async fn keep_fresh(acceptor: Arc<Acceptor>, stop: CancellationToken) {
    tokio::select! {
        () = tls::keep_fresh(acceptor, FRESH) => {}
        () = stop.cancelled() => {}
    }
}
