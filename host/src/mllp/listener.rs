//! The listening side: takes frames off connections, hands each payload on, writes the answers back in order.
//!
//! It knows no HL7: what an answer is, and whether there is one, is the business of the function it is given.
//! On one connection a payload is handed on only after the one before was answered; meanwhile the next bytes
//! are read, up to one more frame and one buffer, then TCP holds the sender back.
//! Start at [`serve`], then `connection.rs`.

mod connection;
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

use self::connection::Connection;
use super::frame::Warning;
use super::{name, tune};

/// What one listener allows.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Largest payload of one frame; a larger one closes the connection.
    pub max_payload_bytes: usize,
    /// From the first byte of a frame to its last.
    pub frame_timeout: Duration,
    /// Further connections wait in the kernel's queue.
    pub max_connections: usize,
}

/// What came off a connection.
pub struct Received {
    pub payload: Vec<u8>,
    pub peer: SocketAddr,
    /// Set when the frame is not whole: the payload is what came of it, and no answer is sent for it.
    pub fault: Option<Fault>,
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
}

impl Fault {
    /// The stable name for logs and reports.
    pub fn code(self) -> &'static str {
        match self {
            Self::Restarted => Warning::Restart.code(),
            Self::CutOff => "mllp-frame-cut-off",
            Self::TimedOut => "mllp-frame-timed-out",
            Self::TooLarge => "mllp-frame-too-large",
        }
    }
}

/// What to do after a payload.
#[derive(Default)]
pub struct Reply {
    /// Payloads to frame and send, in order; none for a message that asks for no answer.
    pub answers: Vec<Vec<u8>>,
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
    receive: F,
    tracker: TaskTracker,
    shutdown: CancellationToken,
) where
    F: Fn(Received) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = Reply> + Send + 'static,
{
    let permits = Arc::new(Semaphore::new(limits.max_connections));
    let parent = shutdown.clone();
    let accept = async move {
        let mut failures = 0;
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
            if let Err(cause) = tune(&stream) {
                debug!(peer = name(peer), %cause, "MLLP connection ended at once");
                continue;
            }
            let connection = Connection {
                peer,
                limits,
                receive: receive.clone(),
                shutdown: parent.child_token(),
            };
            tracker.spawn(async move {
                let (reader, writer) = stream.into_split();
                connection.run(reader, writer).await;
                drop(permit);
            });
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
            .field("fault", &self.fault)
            .finish()
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reply")
            .field("answers", &self.answers.len())
            .field("close", &self.close)
            .field("pause", &self.pause)
            .finish()
    }
}
