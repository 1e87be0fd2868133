//! The sending side: one connection that stays open, payloads out, answers in.
//!
//! It knows no HL7: whether an answer belongs to a payload is asked of the caller, and an answer that does not
//! is put aside and never credited. Sending again is the caller's business, too.
//! [`Link`] (`sender/link.rs`) is what a flow or a command holds: it connects, again when it must, and keeps account of
//! what is unanswered; [`Line`] (`sender/line.rs`) is one that several callers share. Start there, then at [`Sender`], one connection of it.

mod line;
mod link;
mod stream;
#[cfg(test)]
mod tests;

use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::mem::MaybeUninit;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};

pub use self::line::Line;
pub use self::link::{Backoff, Link, Match, Settled};
pub use self::stream::Stream;
use super::frame::{self, Decoder, Event, Warning};
use super::tls::Connector;
use super::{prepare, tune};

/// An acknowledgement is a few hundred bytes; this leaves room for query responses.
const MAX_ANSWER_BYTES: usize = 16 * 1024 * 1024;

/// How long bytes that have arrived take to be read.
const AT_ONCE: Duration = Duration::from_millis(20);

/// How long a peer may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// For TCP and, where it is spoken, the TLS handshake together.
    pub connect: Duration,
    /// From the moment a payload is given to the sender to its answer.
    pub answer: Duration,
    /// From a commit acknowledgement to the application acknowledgement, where one is expected.
    pub application: Duration,
}

impl Default for Timeouts {
    /// Connect 10 s, answer 30 s: longer than the 20 s that our own listener takes at most; application 60 s.
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            answer: Duration::from_secs(30),
            application: Duration::from_secs(60),
        }
    }
}

/// Where to send to.
#[derive(Debug, Clone)]
pub struct Target {
    /// `host:port`; an IPv6 address stands in brackets.
    pub address: String,
    /// TLS from the first byte; `None` for a plain connection.
    pub tls: Option<Connector>,
    /// How long the peer may take.
    pub timeouts: Timeouts,
}

/// Why there is no answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// Nothing was sent.
    #[error("connecting to {address} failed: {cause}")]
    Connect {
        /// As the target writes it: host and port.
        address: String,
        /// What the name resolution or the socket says.
        cause: Arc<io::Error>,
    },
    /// Nothing was sent.
    #[error("connecting to {address} took longer than {} s", timeout.as_secs_f32())]
    ConnectTimedOut {
        /// As the target writes it: host and port.
        address: String,
        /// [`Timeouts::connect`].
        timeout: Duration,
    },
    /// Nothing was sent.
    #[error("TLS with {address} failed: {cause}")]
    Tls {
        /// As the target writes it: host and port.
        address: String,
        /// Mostly a `rustls::Error` inside.
        cause: Arc<io::Error>,
    },
    /// Nothing was sent.
    #[error(transparent)]
    Payload(#[from] frame::Error),
    /// Nothing was sent: connecting failed before, and is not tried again yet.
    #[error("{address} could not be reached before; it is tried again in {} s", wait.as_secs_f32().ceil())]
    Resting {
        /// As the target writes it: host and port.
        address: String,
        /// Until it is tried again.
        wait: Duration,
    },
    /// Nothing was sent.
    #[error("{waiting} messages wait for the connection already")]
    Busy {
        /// How many.
        waiting: usize,
        /// Until it is the caller's turn, at the rate of the last answers.
        wait: Duration,
    },
    /// Nothing was sent.
    #[error("the connection is no longer kept")]
    Stopped,
    /// The peer may have taken the payload. The connection can be used further: a late answer is put aside.
    #[error("no acknowledgement came within {} s", .0.as_secs_f32())]
    TimedOut(Duration),
    /// The peer has taken the payload. The connection can be used further.
    #[error("the message was taken, but no application acknowledgement came within {} s", .0.as_secs_f32())]
    NotApplied(Duration),
    /// The peer may have taken the payload. The connection was closed by this side.
    #[error("the connection was given up, because its answers could not be told apart")]
    GivenUp,
    /// The peer may have taken the payload. The connection is over.
    #[error("the peer closed the connection before it acknowledged")]
    Closed,
    /// The peer may have taken the payload. The connection is over.
    #[error("the connection broke before the acknowledgement: {0}")]
    Broken(Arc<io::Error>),
    /// The peer may have taken the payload. The connection is over.
    #[error("the peer answers, but not in MLLP frames")]
    NotMllp,
}

impl Error {
    /// Whether the peer may have taken the payload.
    pub fn was_sent(&self) -> bool {
        match self {
            Self::Connect { .. }
            | Self::ConnectTimedOut { .. }
            | Self::Tls { .. }
            | Self::Payload(_)
            | Self::Resting { .. }
            | Self::Busy { .. }
            | Self::Stopped => false,
            Self::TimedOut(_)
            | Self::NotApplied(_)
            | Self::GivenUp
            | Self::Closed
            | Self::Broken(_)
            | Self::NotMllp => true,
        }
    }

    /// Whether another payload may be sent on this connection.
    pub fn keeps_connection(&self) -> bool {
        matches!(
            self,
            Self::TimedOut(_) | Self::NotApplied(_) | Self::Payload(_)
        )
    }
}

/// What came back for one payload.
pub struct Answer {
    /// As it came.
    pub payload: Vec<u8>,
    /// From the moment the payload was given to the sender.
    pub duration: Duration,
    /// Answers that came meanwhile and belong to something else.
    pub foreign: usize,
}

/// An open connection to a listener.
pub struct Sender<S = Stream> {
    stream: S,
    timeouts: Timeouts,
    decoder: Decoder,
    input: Vec<u8>,
    taken: usize,
    output: Vec<u8>,
    written: usize,
    warnings: Vec<Warning>,
}

impl Sender {
    /// Connects, over TLS where the target says so.
    ///
    /// # Errors
    /// [`Error::Connect`], [`Error::Tls`] and [`Error::ConnectTimedOut`].
    pub async fn connect(target: &Target) -> Result<Self, Error> {
        let address = &target.address;
        let tcp = async {
            let stream = TcpStream::connect(address.as_str()).await?;
            tune(&stream)?;
            Ok(stream)
        };
        let connect = async {
            let stream = tcp.await.map_err(|cause: io::Error| Error::Connect {
                address: address.clone(),
                cause: Arc::new(cause),
            })?;
            let Some(connector) = &target.tls else {
                return Ok(Stream::Plain(stream));
            };
            let host = address
                .rsplit_once(':')
                .map_or(address.as_str(), |(host, _)| host);
            let stream = connector.connect(host, stream).await;
            stream
                .map(|stream| Stream::Tls(Box::new(stream)))
                .map_err(|cause| Error::Tls {
                    address: address.clone(),
                    cause: Arc::new(cause),
                })
        };
        let limit = target.timeouts.connect;
        let timed_out = || Error::ConnectTimedOut {
            address: address.clone(),
            timeout: limit,
        };
        let stream = timeout(limit, connect)
            .await
            .unwrap_or_else(|_| Err(timed_out()))?;
        Ok(Self::over(stream, target.timeouts))
    }

    /// Whether the peer has hung up by now.
    ///
    /// Asked before a payload goes out over a connection that was idle: what is written to a closed one is lost
    /// without a word, and nobody knows whether it was taken.
    pub async fn has_ended(&mut self) -> bool {
        // The kernel is asked itself: the runtime may not have looked yet.
        let peeked = SockRef::from(self.stream.tcp()).peek(&mut [MaybeUninit::uninit()]);
        match peeked {
            Ok(0) => return true,
            Ok(_) => {}
            Err(cause) => return cause.kind() != io::ErrorKind::WouldBlock,
        }
        // What follows an answer, a carriage return mostly, is not decoded yet.
        if matches!(self.decode(), Ok(Some(_)) | Err(_)) || self.taken < self.input.len() {
            return false;
        }
        // A late answer, or a polite end of TLS: what is there can be read at once.
        prepare(&mut self.input, self.decoder.open().is_none());
        self.taken = 0;
        let read = timeout(AT_ONCE, self.stream.read_buf(&mut self.input)).await;
        matches!(read, Ok(Ok(0) | Err(_)))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Sender<S> {
    /// Speaks MLLP over a stream that is open already.
    pub fn over(stream: S, timeouts: Timeouts) -> Self {
        Self {
            stream,
            timeouts,
            decoder: Decoder::new(MAX_ANSWER_BYTES),
            input: Vec::new(),
            taken: 0,
            output: Vec::new(),
            written: 0,
            warnings: Vec::new(),
        }
    }

    /// Sends one payload and waits for the answer that `is_mine` recognises.
    ///
    /// # Errors
    /// All but the two of connecting.
    pub async fn send(
        &mut self,
        payload: &[u8],
        mut is_mine: impl FnMut(&[u8]) -> bool,
    ) -> Result<Answer, Error> {
        let started = Instant::now();
        self.queue(payload)?;
        let mut foreign = 0;
        loop {
            let payload = self.answer(started + self.timeouts.answer).await?;
            if is_mine(&payload) {
                let duration = started.elapsed();
                return Ok(Answer {
                    payload,
                    duration,
                    foreign,
                });
            }
            foreign += 1;
        }
    }

    /// Puts one payload behind those that wait to be written; [`Sender::answer`] writes.
    ///
    /// For more than one outstanding payload; [`Sender::send`] does all of it for one.
    ///
    /// # Errors
    /// [`Error::Payload`] when the payload holds a block character.
    pub fn queue(&mut self, payload: &[u8]) -> Result<(), Error> {
        Ok(frame::encode(payload, &mut self.output)?)
    }

    /// Writes what is queued and returns the next answer, whatever it belongs to.
    ///
    /// Reads while it writes, so that two peers with full buffers cannot wait for each other.
    ///
    /// # Errors
    /// All but the two of connecting.
    pub async fn answer(&mut self, deadline: Instant) -> Result<Vec<u8>, Error> {
        let timeout = self.timeouts.answer;
        loop {
            if let Some(answer) = self.decode()? {
                return Ok(answer);
            }
            prepare(&mut self.input, self.decoder.open().is_none());
            self.taken = 0;
            timeout_at(deadline, poll_fn(|context| self.poll_turn(context)))
                .await
                .unwrap_or(Err(Error::TimedOut(timeout)))?;
        }
    }

    /// Writes what is queued without waiting for an answer.
    ///
    /// # Errors
    /// [`Error::Broken`].
    pub async fn flush(&mut self) -> Result<(), Error> {
        poll_fn(|context| self.poll_write(context)).await
    }

    /// Oddities of the peer's framing, each kind once.
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    /// Takes the next answer out of what was read.
    fn decode(&mut self) -> Result<Option<Vec<u8>>, Error> {
        let mut rest = &self.input[self.taken..];
        while let Some(event) = self.decoder.next(&mut rest) {
            let warning = match event {
                Event::Frame(payload) => {
                    self.taken = self.input.len() - rest.len();
                    return Ok(Some(payload));
                }
                // Half an answer is none.
                Event::Remnant { .. } => Warning::Restart,
                Event::Warning { warning, .. } => warning,
                Event::TooLarge | Event::Noise | Event::Violation { .. } | Event::TlsHello => {
                    return Err(Error::NotMllp);
                }
            };
            if !self.warnings.contains(&warning) {
                self.warnings.push(warning);
            }
        }
        Ok(None)
    }

    /// Reads once, writing meanwhile.
    fn poll_turn(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        // A write that fails is not the end: the answer may be here already.
        let written = self.poll_write(context);
        let read = pin!(self.stream.read_buf(&mut self.input)).poll(context);
        match read {
            Poll::Ready(Ok(1..)) => Poll::Ready(Ok(())),
            Poll::Ready(Ok(0)) => Poll::Ready(Err(Error::Closed)),
            Poll::Ready(Err(cause)) => Poll::Ready(Err(broken(cause))),
            Poll::Pending => match written {
                Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
                _ => Poll::Pending,
            },
        }
    }

    fn poll_write(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        while self.written < self.output.len() {
            let rest = &self.output[self.written..];
            match Pin::new(&mut self.stream).poll_write(context, rest) {
                Poll::Ready(Ok(0)) => {
                    return Poll::Ready(Err(broken(io::ErrorKind::WriteZero.into())));
                }
                Poll::Ready(Ok(count)) => self.written += count,
                Poll::Ready(Err(cause)) => return Poll::Ready(Err(broken(cause))),
                Poll::Pending => return Poll::Pending,
            }
        }
        self.output.clear();
        self.written = 0;
        Pin::new(&mut self.stream)
            .poll_flush(context)
            .map_err(broken)
    }
}

fn broken(cause: io::Error) -> Error {
    Error::Broken(Arc::new(cause))
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer")
            .field("size_bytes", &self.payload.len())
            .field("duration", &self.duration)
            .field("foreign", &self.foreign)
            .finish()
    }
}

impl<S> fmt::Debug for Sender<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender")
            .field("timeouts", &self.timeouts)
            .field("warnings", &self.warnings)
            .finish_non_exhaustive()
    }
}
