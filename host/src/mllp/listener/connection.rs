//! One connection: a reading half, a writing half and at most one payload handed on between them.
//!
//! The reading half is in `inbound.rs`.
//! Start at [`Connection::run`]: it decodes what is there, hands on what is next, and waits for whatever comes first.

use std::future::{Future, pending, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, copy, sink};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, warn};

use super::budget::{Budget, Share};
use super::inbound::{Inbound, Ready};
use super::{Fault, Limits, Received, Reply};
use crate::mllp::frame;
use crate::mllp::name;

/// A peer that does not take its answers for this long is gone.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// Answers waiting to be written beyond which no further payload is handed on.
const MAX_UNWRITTEN_BYTES: usize = 64 * 1024;
/// How long what the peer still sends is read and dropped after the last answer.
/// Closing a socket with unread bytes resets it, and a reset may destroy the answer on its way.
const LINGER: Duration = Duration::from_millis(500);

/// One connection, over any byte stream: TCP, or TLS on top of it.
pub(super) struct Connection<F> {
    pub(super) peer: SocketAddr,
    pub(super) peer_subject: Option<Arc<str>>,
    pub(super) limits: Limits,
    pub(super) budget: Arc<Budget>,
    pub(super) receive: F,
    /// A token of its own: the parent's is shared by all connections, and polling it takes a lock.
    pub(super) shutdown: CancellationToken,
}

/// A payload that was handed on.
struct Current<Fut> {
    /// Boxed, so that an idle connection does not carry the room for it.
    reply: Pin<Box<Fut>>,
    /// False for what came of a broken frame.
    is_whole: bool,
    #[expect(dead_code, reason = "held until the answer is there")]
    share: Share,
}

/// What happened while a connection waited.
enum Turn {
    Shutdown,
    Replied(Reply),
    Wrote(io::Result<()>),
    Read(io::Result<usize>),
    Shared,
    Timer,
}

impl<F, Fut> Connection<F>
where
    F: Fn(Received) -> Fut,
    Fut: Future<Output = Reply>,
{
    /// Serves the connection to its end.
    pub(super) async fn run<R, W>(self, mut reader: R, mut writer: W)
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        let peer = self.peer;
        let mut inbound = Inbound::new(self.limits, peer, self.peer_subject, self.budget);
        let mut outbound = Outbound::default();
        let mut current: Option<Current<Fut>> = None;
        let mut paused_until: Option<Instant> = None;
        let mut draining = false;
        let mut active_at = Instant::now();
        let mut shutdown = pin!(self.shutdown.cancelled());

        loop {
            inbound.decode();
            let may_start = current.is_none() && paused_until.is_none() && outbound.has_room();
            if may_start && let Some(Ready { received, share }) = inbound.ready.take() {
                current = Some(Current {
                    is_whole: received.fault.is_none(),
                    reply: Box::pin((self.receive)(received)),
                    share,
                });
                continue;
            }
            if inbound.is_over() && current.is_none() && outbound.is_empty() {
                break;
            }

            let may_read = inbound.wants_bytes() && paused_until.is_none();
            let read_deadline = inbound.deadline().filter(|_| may_read);
            let idle = current.is_none() && outbound.is_empty() && inbound.is_quiet();
            let idle_deadline = self.limits.idle_close.filter(|_| idle && may_read);
            let idle_deadline = idle_deadline.map(|allowed| active_at + allowed);
            let deadlines = [
                paused_until,
                outbound.deadline,
                read_deadline,
                idle_deadline,
            ];
            let deadline = deadlines.into_iter().flatten().min();
            // Replies come first and reading last, so that answers that are ready together leave together.
            let turn = tokio::select! {
                biased;
                () = &mut shutdown, if !draining => Turn::Shutdown,
                reply = reply(&mut current) => Turn::Replied(reply),
                result = outbound.write(&mut writer), if !outbound.is_empty() => Turn::Wrote(result),
                input = inbound.input(&mut reader), if may_read || inbound.is_waiting() => match input {
                    Some(result) => Turn::Read(result),
                    None => Turn::Shared,
                },
                () = expire(deadline) => Turn::Timer,
            };
            match turn {
                Turn::Shutdown => {
                    draining = true;
                    inbound.drain();
                    paused_until = None;
                }
                Turn::Shared => {}
                Turn::Replied(reply) => {
                    active_at = Instant::now();
                    let answered = match current.take() {
                        Some(Current { is_whole: true, .. }) => {
                            if self.limits.commit_blocks {
                                outbound.commit(reply.is_stored);
                            }
                            outbound.queue(&reply.answers)
                        }
                        _ => Ok(()),
                    };
                    if let Err(cause) = answered {
                        error!(peer = name(peer), %cause, "an answer cannot be sent over MLLP, closing");
                        inbound.stop();
                    }
                    if reply.close {
                        inbound.stop();
                    }
                    if !draining {
                        paused_until = reply.pause.map(|pause| Instant::now() + pause);
                    }
                }
                Turn::Wrote(Ok(())) => {
                    active_at = Instant::now();
                    outbound.clear();
                }
                Turn::Wrote(Err(cause)) => {
                    debug!(peer = name(peer), %cause, "writing to an MLLP connection failed");
                    outbound.clear();
                    inbound.stop();
                }
                Turn::Read(Ok(1..)) => active_at = Instant::now(),
                Turn::Read(Ok(0)) => inbound.end(Fault::CutOff),
                Turn::Read(Err(cause)) => {
                    debug!(peer = name(peer), %cause, "reading from an MLLP connection failed");
                    inbound.end(Fault::CutOff);
                }
                Turn::Timer => {
                    let now = Instant::now();
                    let past = |at: Option<Instant>| at.is_some_and(|at| at <= now);
                    if past(paused_until) {
                        paused_until = None;
                        inbound.restart_clock();
                    } else if past(outbound.deadline) {
                        warn!(
                            peer = name(peer),
                            "an MLLP peer does not take its answers, closing"
                        );
                        outbound.clear();
                        inbound.stop();
                    } else if past(read_deadline) {
                        inbound.end(Fault::TimedOut);
                    } else if past(idle_deadline) {
                        debug!(peer = name(peer), "an MLLP connection was idle, closing");
                        inbound.stop();
                    }
                }
            }
        }
        drop((inbound, outbound));
        close(reader, writer).await;
    }
}

/// The writing half: framed answers that have not left yet.
#[derive(Default)]
struct Outbound {
    bytes: Vec<u8>,
    written: usize,
    /// When the peer must have taken some.
    deadline: Option<Instant>,
}

impl Outbound {
    fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    fn has_room(&self) -> bool {
        self.bytes.len() - self.written < MAX_UNWRITTEN_BYTES
    }

    /// Queues the commit acknowledgement of release 2, which goes before the answers.
    fn commit(&mut self, is_stored: bool) {
        self.bytes.extend_from_slice(match is_stored {
            true => &frame::COMMIT_ACKNOWLEDGEMENT,
            false => &frame::NEGATIVE_COMMIT_ACKNOWLEDGEMENT,
        });
    }

    fn queue(&mut self, answers: &[Vec<u8>]) -> Result<(), frame::Error> {
        for answer in answers {
            frame::encode(answer, &mut self.bytes)?;
        }
        if self.deadline.is_none() && !self.is_empty() {
            self.deadline = Some(Instant::now() + WRITE_TIMEOUT);
        }
        Ok(())
    }

    /// Writes all there is; may be dropped and begun again at any time.
    fn write<W: AsyncWrite + Unpin>(
        &mut self,
        writer: &mut W,
    ) -> impl Future<Output = io::Result<()>> {
        poll_fn(move |context| {
            while self.written < self.bytes.len() {
                let rest = &self.bytes[self.written..];
                let count = ready!(Pin::new(&mut *writer).poll_write(context, rest))?;
                if count == 0 {
                    return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                }
                self.written += count;
                self.deadline = Some(Instant::now() + WRITE_TIMEOUT);
            }
            Pin::new(&mut *writer).poll_flush(context)
        })
    }

    fn clear(&mut self) {
        // A connection that waits for its peer holds no buffer.
        *self = Self::default();
    }
}

async fn reply<Fut: Future<Output = Reply>>(current: &mut Option<Current<Fut>>) -> Reply {
    match current {
        Some(current) => current.reply.as_mut().await,
        None => pending().await,
    }
}

async fn expire(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => pending().await,
    }
}

/// Says that nothing more comes and lets the peer take its last answer.
async fn close<R, W>(mut reader: R, mut writer: W)
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    if writer.shutdown().await.is_ok() {
        // How it ends does not matter: whatever comes now is not taken.
        let _ = timeout(LINGER, copy(&mut reader, &mut sink())).await;
    }
}
