//! Who may connect: the peers that are allowed, and the TLS handshake.
//!
//! Start at [`Access`].

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::connections::Connections;
use crate::mllp::name;
use crate::mllp::tls::Acceptor;

/// A peer that does not come to the end of the handshake in this time is none of ours.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Refused peers are counted and said this often, not one by one: a scanner would fill the log.
const REFUSALS_SAID: Duration = Duration::from_secs(60);

/// Who may connect to a listener, and how.
#[derive(Debug, Clone, Default)]
pub struct Access {
    /// Networks of allowed peers; empty allows all.
    pub peers: Vec<IpNet>,
    /// TLS from the first byte; `None` for plain connections.
    pub tls: Option<Arc<Acceptor>>,
    /// Notes who is connected.
    pub connections: Connections,
}

impl Access {
    /// Whether a peer at this address may connect. IPv4 addresses mapped into IPv6 count as IPv4.
    pub fn admits(&self, peer: IpAddr) -> bool {
        let peer = peer.to_canonical();
        self.peers.is_empty() || self.peers.iter().any(|network| network.contains(&peer))
    }
}

/// Peers that were turned away, counted for the log.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    total: u64,
    said: Option<Instant>,
}

impl Refusals {
    /// Counts one and says why, the first at once and further ones at most once a minute.
    pub(super) fn count(&mut self, peer: SocketAddr, why: &'static str) {
        self.total += 1;
        let now = Instant::now();
        if self.said.is_none_or(|said| now - said >= REFUSALS_SAID) {
            self.said = Some(now);
            let refused = self.total;
            warn!(
                peer = name(peer),
                refused, why, "an MLLP peer was closed at once; said once a minute"
            );
        }
    }
}

/// Shakes hands; gives the subject of the peer's certificate, too. What goes wrong is said in the log.
pub(super) async fn handshake(
    acceptor: &Acceptor,
    stream: TcpStream,
    peer: SocketAddr,
    shutdown: &CancellationToken,
) -> Option<(TlsStream<TcpStream>, Option<Arc<str>>)> {
    let shaken = tokio::select! {
        shaken = timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)) => shaken,
        () = shutdown.cancelled() => return None,
    };
    match shaken {
        Ok(Ok((stream, subject))) => {
            if let Some(subject) = &subject {
                info!(peer = name(peer), %subject, "an MLLP peer showed its certificate");
            }
            Some((stream, subject))
        }
        Ok(Err(cause)) if is_plain(&cause) => {
            warn!(
                peer = name(peer),
                "plain bytes came to an MLLP port that speaks TLS: turn TLS on at the sender or off for this channel, closing"
            );
            None
        }
        // A port scan or a health check: connected and gone.
        Ok(Err(cause)) if cause.kind() == io::ErrorKind::UnexpectedEof => {
            debug!(
                peer = name(peer),
                "an MLLP peer left before the TLS handshake"
            );
            None
        }
        Ok(Err(cause)) => {
            warn!(peer = name(peer), %cause, "the TLS handshake with an MLLP peer failed, closing");
            None
        }
        Err(_) => {
            warn!(
                peer = name(peer),
                "an MLLP peer did not finish the TLS handshake in time, closing"
            );
            None
        }
    }
}

/// Whether the first bytes were no TLS at all.
fn is_plain(cause: &io::Error) -> bool {
    let inner = cause.get_ref().and_then(|inner| inner.downcast_ref());
    matches!(inner, Some(rustls::Error::InvalidMessage(_)))
}
