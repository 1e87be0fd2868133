//! The reading half of a connection: bytes become payloads, within time, size and the budget.
//!
//! It holds one decoder, at most one decoded payload that waits for its turn, and a buffer only while bytes are
//! pending. Start at [`Inbound::decode`].

use std::future::{Future, poll_fn};
use std::io;
use std::mem;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::Instant;
use tracing::{debug, warn};

use super::budget::{Budget, Share};
use super::{Fault, Limits, Received};
use crate::mllp::frame::{Decoder, Event, Open, Warning};
use crate::mllp::name;

/// One read. It goes over the stack, so that a connection that waits for its peer holds no buffer.
const READ_BYTES: usize = 16 * 1024;
/// Noise that no frame follows: a port scan or a browser gets this long.
const NOISE_TIMEOUT: Duration = Duration::from_secs(10);
/// So much is kept of a frame that is not whole: people look at it, and its sender may mean harm.
const MAX_REST_BYTES: usize = 64 * 1024;

/// A payload that waits to be handed on, with what it holds of the budget.
pub(super) struct Ready {
    pub(super) received: Received,
    pub(super) share: Share,
}

pub(super) struct Inbound {
    limits: Limits,
    peer: SocketAddr,
    peer_subject: Option<Arc<str>>,
    budget: Arc<Budget>,
    decoder: Decoder,
    input: Vec<u8>,
    /// So much of `input` is decoded.
    taken: usize,
    pub(super) ready: Option<Ready>,
    /// What the open frame may take.
    share: Share,
    waiting: Option<Waiting>,
    /// When what is open must have ended.
    clock: Option<(Open, Instant)>,
    /// No byte is read any more.
    closing: bool,
    warned: Vec<Warning>,
    /// What was forgiven since the last payload, each kind once.
    forgiven: Vec<Warning>,
}

/// A place in the queue for a larger share.
struct Waiting {
    share: Pin<Box<dyn Future<Output = Share> + Send>>,
    since: Instant,
}

impl Inbound {
    pub(super) fn new(
        limits: Limits,
        peer: SocketAddr,
        peer_subject: Option<Arc<str>>,
        budget: Arc<Budget>,
    ) -> Self {
        Self {
            limits,
            peer,
            peer_subject,
            budget,
            decoder: Decoder::with_framing(limits.max_payload_bytes, limits.framing),
            input: Vec::new(),
            taken: 0,
            ready: None,
            share: Share::default(),
            waiting: None,
            clock: None,
            closing: false,
            warned: Vec::new(),
            forgiven: Vec::new(),
        }
    }

    pub(super) fn wants_bytes(&self) -> bool {
        !self.is_closing() && self.ready.is_none() && self.waiting.is_none() && self.is_decoded()
    }

    /// Nothing is left that could be handed on.
    pub(super) fn is_over(&self) -> bool {
        self.is_closing() && self.ready.is_none() && self.is_decoded()
    }

    /// Nothing has begun: the peer is between two frames.
    pub(super) fn is_quiet(&self) -> bool {
        self.ready.is_none() && self.is_decoded() && self.decoder.open().is_none()
    }

    pub(super) fn is_waiting(&self) -> bool {
        self.waiting.is_some() && !self.is_closing()
    }

    fn is_closing(&self) -> bool {
        self.closing
    }

    fn is_decoded(&self) -> bool {
        self.taken == self.input.len()
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.clock.map(|(_, at)| at)
    }

    /// Begins the time of what is open anew.
    pub(super) fn restart_clock(&mut self) {
        self.clock = None;
    }

    /// Reads once into the buffer, which is used up; `None` when it came to the larger share that it waited for instead.
    pub(super) fn input<R: AsyncRead + Unpin>(
        &mut self,
        reader: &mut R,
    ) -> impl Future<Output = Option<io::Result<usize>>> {
        poll_fn(move |context| {
            if let Some(waiting) = &mut self.waiting {
                let share = ready!(waiting.share.as_mut().poll(context));
                // The wait is not taken off the frame's time.
                if let Some((_, deadline)) = &mut self.clock {
                    *deadline += waiting.since.elapsed();
                }
                // Memory that is not written to yet costs nothing; a buffer that grows by copying costs twice its size.
                let most = share.allowed_bytes().min(self.limits.max_payload_bytes);
                self.decoder.reserve(most.saturating_add(READ_BYTES));
                (self.share, self.waiting) = (share, None);
                return Poll::Ready(None);
            }
            let mut bytes = [mem::MaybeUninit::uninit(); READ_BYTES];
            let mut read = ReadBuf::uninit(&mut bytes);
            let polled = Pin::new(&mut *reader).poll_read(context, &mut read);
            if polled.is_pending() {
                (self.input, self.taken) = (Vec::new(), 0);
            }
            let polled = ready!(polled);
            self.input.clear();
            self.input.extend_from_slice(read.filled());
            self.taken = 0;
            Poll::Ready(Some(polled.map(|()| self.input.len())))
        })
    }

    /// Decodes up to the next payload.
    pub(super) fn decode(&mut self) {
        while self.ready.is_none() && !self.is_decoded() {
            let mut rest = &self.input[self.taken..];
            let event = self.decoder.next(&mut rest);
            self.taken = self.input.len() - rest.len();
            match event {
                None => break,
                Some(Event::Frame(payload)) => self.hand_on(payload, None),
                Some(Event::Remnant { payload, offset }) => {
                    self.warn(Warning::Restart, offset);
                    self.hand_on_rest(payload, Fault::Restarted);
                }
                Some(Event::Warning { warning, offset }) => self.warn(warning, offset),
                Some(Event::TooLarge) => self.end(Fault::TooLarge),
                Some(Event::Noise) => {
                    warn!(
                        peer = name(self.peer),
                        "an MLLP peer sends what is no MLLP, closing"
                    );
                    self.stop();
                }
                Some(Event::Violation { warning, offset }) => {
                    self.warn(warning, offset);
                    self.end(Fault::NotStrict);
                }
                Some(Event::TlsHello) => {
                    warn!(
                        peer = name(self.peer),
                        "a TLS hello came to a plain MLLP port: turn TLS on for this channel or off at the sender, closing"
                    );
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
        let needs_more = self.decoder.collected_bytes() > self.share.allowed_bytes();
        if needs_more && self.waiting.is_none() && !self.closing {
            let share = mem::take(&mut self.share).grow(self.budget.clone());
            self.waiting = Some(Waiting {
                share: Box::pin(share),
                since: Instant::now(),
            });
        }
    }

    fn hand_on(&mut self, payload: Vec<u8>, fault: Option<Fault>) {
        self.ready = Some(Ready {
            received: Received {
                payload,
                peer: self.peer,
                peer_subject: self.peer_subject.clone(),
                fault,
                warnings: mem::take(&mut self.forgiven),
            },
            share: mem::take(&mut self.share),
        });
    }

    fn hand_on_rest(&mut self, mut rest: Vec<u8>, fault: Fault) {
        self.share = Share::default();
        if !rest.is_empty() {
            rest.truncate(MAX_REST_BYTES);
            rest.shrink_to_fit();
            self.hand_on(rest, Some(fault));
        }
    }

    /// No byte is read any more; what was read whole goes its way.
    pub(super) fn drain(&mut self) {
        self.closing = true;
        self.waiting = None;
    }

    /// Ends reading; an open frame is handed on as what it is.
    pub(super) fn end(&mut self, fault: Fault) {
        self.closing = true;
        self.waiting = None;
        self.taken = self.input.len();
        if matches!(self.decoder.open(), Some(Open::Noise(_))) {
            debug!(
                peer = name(self.peer),
                "an MLLP peer sent noise only, closing"
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
        }
        self.hand_on_rest(rest, fault);
        self.clock = None;
    }

    /// Ends reading and drops what was read and not handed on; none of it was answered.
    pub(super) fn stop(&mut self) {
        self.drain();
        self.ready = None;
        self.taken = self.input.len();
    }

    /// Notes an oddity for the next payload, and logs each kind once for a connection: a sender that is odd once is odd
    /// each time.
    fn warn(&mut self, warning: Warning, offset: u64) {
        if !self.forgiven.contains(&warning) {
            self.forgiven.push(warning);
        }
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

impl Drop for Inbound {
    fn drop(&mut self) {
        debug!(
            peer = name(self.peer),
            skipped_bytes = self.decoder.skipped_bytes(),
            "MLLP connection ended"
        );
    }
}
