//! The listening side: takes frames off connections, hands each payload on, writes the answers back in order.
//!
//! It knows no HL7: what an answer is, and whether there is one, is the business of the function it is given.
//! On one connection a payload is handed on only after the one before was answered; meanwhile the next bytes
//! are read, up to one more frame and one buffer, then TCP holds the sender back. Large frames share a budget of bytes
//! (`budget.rs`); who may connect, and TLS, is in `access.rs`. An idle connection holds no buffer.
//! Start at [`serve`], then `connection.rs`.

mod access;
mod budget;
mod connection;
mod connections;
mod guests;
mod inbound;
#[cfg(test)]
mod tests;

use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

pub use self::access::Access;
use self::access::Refusals;
use self::budget::Budget;
use self::connection::Connection;
pub use self::connections::{Connections, Left, Peer};
use self::guests::Guests;
use super::frame::{Framing, Warning};
use super::{name, tune};

/// What one listener allows.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Largest payload of one frame in bytes; a larger one closes the connection.
    pub max_payload_bytes: usize,
    /// From the first byte of a frame to its last. Time in which the listener itself did not read does not count.
    pub frame_timeout: Duration,
    /// Further connections wait in the kernel's queue.
    pub max_connections: usize,
    /// How many of them one address may have (one network of 64 bits with IPv6); further ones are closed at once, so that
    /// a sender that forgets its connections keeps nobody else out.
    pub max_connections_of_one: usize,
    /// Bytes that frames over 32 KiB may hold together, over all connections; the next such frame is read when there
    /// is room again. At least one frame of `max_payload_bytes` always has room.
    pub budget_bytes: usize,
    /// Close a connection on which nothing happened for so long; `None` never does, because hospitals are quiet at
    /// night and senders lose a message when they find out.
    pub idle_close: Option<Duration>,
    /// What is forgiven around frames.
    pub framing: Framing,
    /// Speaks release 2 of MLLP: every whole frame is answered with a commit acknowledgement, positive or negative, and
    /// the answers follow as frames of their own. A sender of release 1 would take that frame for its answer.
    pub commit_blocks: bool,
}

impl Default for Limits {
    /// 16 MiB a frame, 30 s for one, 1,024 connections, 32 MiB for large frames, no idle close, tolerant, release 1.
    fn default() -> Self {
        Self {
            max_payload_bytes: 16 * 1024 * 1024,
            frame_timeout: Duration::from_secs(30),
            max_connections: 1_024,
            max_connections_of_one: 1_024,
            budget_bytes: 32 * 1024 * 1024,
            idle_close: None,
            framing: Framing::default(),
            commit_blocks: false,
        }
    }
}

/// What came off a connection.
pub struct Received {
    /// What stood in the frame; of one that is not whole no more than its first 64 KiB.
    pub payload: Vec<u8>,
    /// Who sent it.
    pub peer: SocketAddr,
    /// The subject of the peer's certificate, where one was asked for and given.
    pub peer_subject: Option<Arc<str>>,
    /// Set when the frame is not whole: the payload is what came of it, and no answer is sent for it.
    pub fault: Option<Fault>,
    /// What was forgiven since the frame before, each kind once. That a frame had no carriage return is known when the
    /// next one begins, and comes with that.
    pub warnings: Vec<Warning>,
}

/// Why a frame is not whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fault {
    /// A start block stood inside; the connection goes on with the frame that it began.
    Restarted,
    /// The connection ended inside the frame.
    CutOff,
    /// The frame's end did not come in time; the connection is closed.
    TimedOut,
    /// The frame is over the limit; the connection is closed.
    TooLarge,
    /// The frame is odd and the listener strict; the connection is closed.
    NotStrict,
}

impl Fault {
    /// The stable name for logs and reports.
    pub fn code(self) -> &'static str {
        match self {
            Self::Restarted => Warning::Restart.code(),
            Self::CutOff => "mllp-frame-cut-off",
            Self::TimedOut => "mllp-frame-timed-out",
            Self::TooLarge => "mllp-frame-too-large",
            Self::NotStrict => "mllp-framing-not-strict",
        }
    }
}

/// What to do after a payload.
#[derive(Default)]
pub struct Reply {
    /// Payloads to frame and send, in order; none for a message that asks for no answer.
    pub answers: Vec<Vec<u8>>,
    /// What was handed on is in safe storage; says which commit acknowledgement [`Limits::commit_blocks`] sends.
    pub is_stored: bool,
    /// Close the connection once the answers are written.
    pub close: bool,
    /// Neither read nor hand on anything for this long: nothing can be stored just now.
    pub pause: Option<Duration>,
}

/// Accepts connections until `shutdown`, each one a task on `tracker`.
///
/// After `shutdown` no byte is read any more: a frame that was read whole is handed on and answered, then its
/// connection closes. Waiting for `tracker` waits for that; `receive` must come to an end by itself.
pub async fn serve<F, Fut>(
    listener: TcpListener,
    limits: Limits,
    access: Access,
    receive: F,
    tracker: TaskTracker,
    shutdown: CancellationToken,
) where
    F: Fn(Received) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = Reply> + Send + 'static,
{
    let permits = Arc::new(Semaphore::new(limits.max_connections));
    let budget = Arc::new(Budget::new(limits.budget_bytes, limits.max_payload_bytes));
    let parent = shutdown.clone();
    let accept = async move {
        let mut failures = 0;
        let (mut strangers, mut crowds) = (Refusals::default(), Refusals::default());
        let guests = Guests::default();
        loop {
            // The permit comes first, so that a connection over the limit is not accepted and then left alone.
            let Ok(permit) = permits.clone().acquire_owned().await else {
                return;
            };
            let (stream, peer) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(cause) => {
                    // Mostly "too many open files": it passes when other connections end.
                    failures += 1;
                    warn!(%cause, "accepting an MLLP connection failed");
                    sleep(Duration::from_millis(50 << failures.min(5))).await;
                    continue;
                }
            };
            failures = 0;
            if !access.admits(peer.ip()) {
                strangers.count(peer, "it is not among the allowed ones");
                continue;
            }
            let Some(place) = guests.admit(peer.ip(), limits.max_connections_of_one) else {
                crowds.count(
                    peer,
                    "its address has as many connections as one may have (max_connections_of_one)",
                );
                continue;
            };
            if let Err(cause) = tune(&stream) {
                debug!(peer = name(peer), %cause, "MLLP connection ended at once");
                continue;
            }
            let connection = Connection {
                peer,
                peer_subject: None,
                limits,
                budget: budget.clone(),
                receive: receive.clone(),
                shutdown: parent.child_token(),
            };
            let connections = access.connections.clone();
            match &access.tls {
                None => tracker.spawn(async move {
                    let _entered = connections.enter(peer, None);
                    let (reader, writer) = stream.into_split();
                    connection.run(reader, writer).await;
                    drop((place, permit));
                }),
                Some(acceptor) => {
                    let acceptor = acceptor.clone();
                    tracker.spawn(async move {
                        let shaken =
                            access::handshake(&acceptor, stream, peer, &connection.shutdown);
                        if let Some((stream, peer_subject)) = shaken.await {
                            let _entered = connections.enter(peer, peer_subject.clone());
                            let (reader, writer) = tokio::io::split(stream);
                            let connection = Connection {
                                peer_subject,
                                ..connection
                            };
                            connection.run(reader, writer).await;
                        }
                        drop((place, permit));
                    })
                }
            };
        }
    };
    tokio::select! {
        () = accept => {}
        () = shutdown.cancelled() => {}
    }
}

impl fmt::Debug for Received {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Received")
            .field("size_bytes", &self.payload.len())
            .field("peer", &self.peer)
            .field("peer_subject", &self.peer_subject)
            .field("fault", &self.fault)
            .field("warnings", &self.warnings)
            .finish()
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reply")
            .field("answers", &self.answers.len())
            .field("is_stored", &self.is_stored)
            .field("close", &self.close)
            .field("pause", &self.pause)
            .finish()
    }
}
