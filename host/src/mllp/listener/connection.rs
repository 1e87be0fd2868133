//! One connection: a reading half, a writing half and at most one payload handed on between them.
//!
//! Start at [`Connection::run`]: it decodes what is there, hands on what is next, and waits for whatever comes first.

use std::future::{Future, pending, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::task::{Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy, sink};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, warn};

use super::{Fault, Limits, Received, Reply};
use crate::mllp::frame::{self, Decoder, Event, Open, Warning};
use crate::mllp::{READ_BYTES, name, prepare};

/// Noise that no frame follows: a port scan, a TLS hello or a browser gets this long.
const NOISE_TIMEOUT: Duration = Duration::from_secs(10);
/// A peer that does not take its answers for this long is gone.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// Answers waiting to be written beyond which no further payload is handed on.
const MAX_UNWRITTEN_BYTES: usize = 64 * 1024;
/// How long what the peer still sends is read and dropped after the last answer.
/// Closing a socket with unread bytes resets it, and a reset may destroy the answer on its way.
const LINGER: Duration = Duration::from_millis(500);

/// One connection, over any byte stream: TCP today, TLS on top of it later.
pub(super) struct Connection<F> {
    pub(super) peer: SocketAddr,
    pub(super) limits: Limits,
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
}

/// What happened while a connection waited.
enum Turn {
    Shutdown,
    Replied(Reply),
    Wrote(io::Result<()>),
    Read(io::Result<usize>),
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
        let mut inbound = Inbound::new(self.limits, peer);
        let mut outbound = Outbound::default();
        let mut current: Option<Current<Fut>> = None;
        let mut paused_until: Option<Instant> = None;
        let mut draining = false;
        let mut shutdown = pin!(self.shutdown.cancelled());

        loop {
            inbound.decode();
            let may_start = current.is_none() && paused_until.is_none() && outbound.has_room();
            if may_start && let Some(received) = inbound.ready.take() {
                current = Some(Current {
                    is_whole: received.fault.is_none(),
                    reply: Box::pin((self.receive)(received)),
                });
                continue;
            }
            if inbound.is_over() && current.is_none() && outbound.is_empty() {
                break;
            }

            let may_read = inbound.wants_bytes() && paused_until.is_none();
            let read_deadline = inbound.deadline().filter(|_| may_read);
            let deadline = [paused_until, outbound.deadline, read_deadline];
            let deadline = deadline.into_iter().flatten().min();
            let idle = current.is_none();
            // Replies come first and reading last, so that answers that are ready together leave together.
            let turn = tokio::select! {
                biased;
                () = &mut shutdown, if !draining => Turn::Shutdown,
                reply = reply(&mut current) => Turn::Replied(reply),
                result = outbound.write(&mut writer), if !outbound.is_empty() => Turn::Wrote(result),
                result = inbound.read(&mut reader, idle), if may_read => Turn::Read(result),
                () = expire(deadline) => Turn::Timer,
            };
            match turn {
                Turn::Shutdown => {
                    draining = true;
                    inbound.closing = true;
                    paused_until = None;
                }
                Turn::Replied(reply) => {
                    let answered = match current.take() {
                        Some(Current { is_whole: true, .. }) => outbound.queue(&reply.answers),
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
                Turn::Wrote(Ok(())) => outbound.clear(),
                Turn::Wrote(Err(cause)) => {
                    debug!(peer = name(peer), %cause, "writing to an MLLP connection failed");
                    outbound.clear();
                    inbound.stop();
                }
                Turn::Read(Ok(1..)) => {}
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
                        inbound.clock = None;
                    } else if past(outbound.deadline) {
                        warn!(
                            peer = name(peer),
                            "an MLLP peer does not take its answers, closing"
                        );
                        outbound.clear();
                        inbound.stop();
                    } else if past(read_deadline) {
                        inbound.end(Fault::TimedOut);
                    }
                }
            }
        }
        drop((inbound, outbound));
        close(reader, writer).await;
    }
}

/// The reading half: one buffer, one decoder, at most one decoded payload that waits for its turn.
struct Inbound {
    limits: Limits,
    peer: SocketAddr,
    decoder: Decoder,
    input: Vec<u8>,
    /// So much of `input` is decoded.
    taken: usize,
    ready: Option<Received>,
    /// When what is open must have ended.
    clock: Option<(Open, Instant)>,
    /// No byte is read any more.
    closing: bool,
    warned: Vec<Warning>,
}

impl Inbound {
    fn new(limits: Limits, peer: SocketAddr) -> Self {
        Self {
            limits,
            peer,
            decoder: Decoder::new(limits.max_payload_bytes),
            input: Vec::new(),
            taken: 0,
            ready: None,
            clock: None,
            closing: false,
            warned: Vec::new(),
        }
    }

    fn wants_bytes(&self) -> bool {
        !self.closing && self.ready.is_none() && self.taken == self.input.len()
    }

    /// Nothing is left that could be handed on.
    fn is_over(&self) -> bool {
        self.closing && self.ready.is_none() && self.taken == self.input.len()
    }

    fn deadline(&self) -> Option<Instant> {
        self.clock.map(|(_, at)| at)
    }

    /// Reads once into the buffer, which is used up.
    async fn read<R: AsyncRead + Unpin>(
        &mut self,
        reader: &mut R,
        idle: bool,
    ) -> io::Result<usize> {
        self.taken = 0;
        prepare(&mut self.input, idle && self.decoder.open().is_none());
        reader.read_buf(&mut self.input).await
    }

    /// Decodes up to the next payload.
    fn decode(&mut self) {
        while self.ready.is_none() && self.taken < self.input.len() {
            let mut rest = &self.input[self.taken..];
            let event = self.decoder.next(&mut rest);
            self.taken = self.input.len() - rest.len();
            match event {
                None => break,
                Some(Event::Frame(payload)) => self.hand_on(payload, None),
                Some(Event::Remnant { payload, offset }) => {
                    self.warn(Warning::Restart, offset);
                    if !payload.is_empty() {
                        self.hand_on(payload, Some(Fault::Restarted));
                    }
                }
                Some(Event::Warning { warning, offset }) => self.warn(warning, offset),
                Some(Event::TooLarge) => self.end(Fault::TooLarge),
                Some(Event::Noise) => {
                    warn!(peer = name(self.peer), "an MLLP peer sends noise, closing");
                    self.stop();
                }
            }
        }
        match (self.decoder.open(), self.clock) {
            (None, _) => self.clock = None,
            (Some(open), Some((same, _))) if open == same => {}
            (Some(open), _) => {
                let allowed = match open {
                    Open::Frame(_) => self.limits.frame_timeout,
                    Open::Noise(_) => NOISE_TIMEOUT,
                };
                self.clock = Some((open, Instant::now() + allowed));
            }
        }
    }

    fn hand_on(&mut self, payload: Vec<u8>, fault: Option<Fault>) {
        self.ready = Some(Received {
            payload,
            peer: self.peer,
            fault,
        });
    }

    /// Ends reading; an open frame is handed on as what it is.
    fn end(&mut self, fault: Fault) {
        self.closing = true;
        let size_bytes = self.input.len();
        let in_noise = matches!(self.decoder.open(), Some(Open::Noise(_)));
        if in_noise {
            debug!(
                peer = name(self.peer),
                size_bytes, "an MLLP peer sent noise only, closing"
            );
        }
        let rest = self.decoder.take_rest();
        if !rest.is_empty() {
            let code = fault.code();
            let size_bytes = rest.len();
            warn!(
                peer = name(self.peer),
                code, size_bytes, "an MLLP frame is not whole, closing"
            );
            self.hand_on(rest, Some(fault));
        }
        self.clock = None;
    }

    /// Ends reading and drops what was read and not handed on; none of it was answered.
    fn stop(&mut self) {
        self.closing = true;
        self.ready = None;
        self.taken = self.input.len();
    }

    /// Logs each kind of oddity once for a connection: a sender that is odd once is odd each time.
    fn warn(&mut self, warning: Warning, offset: u64) {
        if !self.warned.contains(&warning) {
            self.warned.push(warning);
            let code = warning.code();
            warn!(
                peer = name(self.peer),
                code, offset, "MLLP framing is odd; said once for a connection"
            );
        }
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
        self.bytes.clear();
        self.bytes.shrink_to(READ_BYTES);
        self.written = 0;
        self.deadline = None;
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
