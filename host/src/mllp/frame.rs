//! The frame state machine: bytes in, frames out, the same frames for any chunking.
//!
//! A frame is a start block (VT, 0x0B), a payload and an end block (FS, 0x1C) with a carriage return after it.
//! This file knows no sockets, no clock and no HL7. It forgives what senders in the field do and says so with a
//! [`Warning`]; what it does not forgive (endless frames, endless noise) ends the stream.
//! Start at [`Decoder::next`].

#[cfg(test)]
mod tests;

use std::fmt;
use std::mem;

/// VT, before the payload.
pub const START_BLOCK: u8 = 0x0b;
/// FS, after the payload; a [`CARRIAGE_RETURN`] follows.
pub const END_BLOCK: u8 = 0x1c;
/// Ends a frame for strict peers; ours is delivered at the end block already.
pub const CARRIAGE_RETURN: u8 = 0x0d;
/// The frame `VT ACK FS CR` of MLLP release 2, a commit acknowledgement: what was sent is in safe storage.
pub const COMMIT_ACKNOWLEDGEMENT: [u8; 4] = [START_BLOCK, 0x06, END_BLOCK, CARRIAGE_RETURN];
/// The frame `VT NAK FS CR` of MLLP release 2: what was sent is not in safe storage, send it again.
pub const NEGATIVE_COMMIT_ACKNOWLEDGEMENT: [u8; 4] =
    [START_BLOCK, 0x15, END_BLOCK, CARRIAGE_RETURN];

/// Bytes that are neither frame nor white space, tolerated between two frames.
pub const MAX_NOISE_BYTES: usize = 4 * 1024;

/// A payload that cannot travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// MLLP has no escape for its own block characters.
    #[error(
        "byte 0x{byte:02x} at offset {offset} is a block character of MLLP and cannot stand in a payload"
    )]
    BlockCharacter {
        /// VT or FS.
        byte: u8,
        /// In the payload.
        offset: usize,
    },
}

/// Appends one frame to `out`.
///
/// # Errors
/// [`Error::BlockCharacter`] when the payload holds VT or FS; `out` is untouched then.
pub fn encode(payload: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
    if let Some(offset) = memchr::memchr2(START_BLOCK, END_BLOCK, payload) {
        let byte = payload[offset];
        return Err(Error::BlockCharacter { byte, offset });
    }
    out.reserve(payload.len() + 3);
    out.push(START_BLOCK);
    out.extend_from_slice(payload);
    out.extend_from_slice(&[END_BLOCK, CARRIAGE_RETURN]);
    Ok(())
}

/// What the bytes turned out to be.
#[derive(Clone, PartialEq, Eq)]
pub enum Event {
    /// A payload, whole; delivered at the end block, because waiting for the carriage return would hold back
    /// the answer until the next message.
    Frame(Vec<u8>),
    /// What had been collected when a start block stood inside a frame: the sender began anew.
    /// Never to be answered as accepted.
    Remnant {
        /// Without the blocks around it.
        payload: Vec<u8>,
        /// Of the second start block, in bytes of the stream from 0.
        offset: u64,
    },
    /// An oddity that was forgiven.
    Warning {
        /// Which.
        warning: Warning,
        /// In bytes of the stream from 0.
        offset: u64,
    },
    /// The frame is larger than allowed. Nothing more is decoded; [`Decoder::take_rest`] holds its start.
    TooLarge,
    /// More than [`MAX_NOISE_BYTES`] between two frames. Nothing more is decoded.
    Noise,
    /// An oddity that [`Framing::strict`] does not forgive. Nothing more is decoded; [`Decoder::take_rest`] holds what
    /// was collected.
    Violation {
        /// What a tolerant decoder would have forgiven.
        warning: Warning,
        /// In bytes of the stream from 0.
        offset: u64,
    },
    /// The stream opens with a TLS record: its sender believes that TLS is spoken here. Nothing more is decoded.
    TlsHello,
}

/// What a decoder forgives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Framing {
    /// Takes VT, payload, FS, CR and nothing else: no byte between frames, no frame without its carriage return, no
    /// start block inside one. A frame is delivered at the carriage return then.
    pub strict: bool,
    /// Texts that open a frame where its start block is missing; the end block is still needed. Strict framing takes
    /// none of them.
    pub unframed_starts: &'static [&'static [u8]],
}

/// What was forgiven.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Warning {
    /// Bytes other than white space before a start block; said once for each gap between frames.
    Noise,
    /// No carriage return after the end block.
    NoCarriageReturn,
    /// A start block inside a frame; comes as [`Event::Remnant`].
    Restart,
    /// A frame that one of [`Framing::unframed_starts`] opened.
    NoStartBlock,
}

impl Warning {
    /// The stable name for logs and reports.
    pub fn code(self) -> &'static str {
        match self {
            Self::Noise => "mllp-noise-before-frame",
            Self::NoCarriageReturn => "mllp-no-cr-after-end-block",
            Self::Restart => "mllp-start-block-in-frame",
            Self::NoStartBlock => "mllp-no-start-block",
        }
    }
}

/// Something that has begun and not ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Open {
    /// A frame whose start block stands at this offset.
    Frame(u64),
    /// Noise whose first byte stands at this offset.
    Noise(u64),
}

/// Takes the frames out of one direction of a connection.
pub struct Decoder {
    max_payload_bytes: usize,
    framing: Framing,
    state: State,
    payload: Vec<u8>,
    offset: u64,
    skipped_bytes: u64,
}

enum State {
    /// Between frames, right after an end block.
    Ended,
    Gap {
        noise_bytes: usize,
        noise_offset: u64,
    },
    /// What stands in `payload` may become one of the unframed starts.
    Start {
        offset: u64,
    },
    Frame {
        offset: u64,
    },
    /// Strict framing only: after the end block, before the carriage return.
    Ending {
        offset: u64,
    },
    Broken,
}

/// The first byte of every TLS handshake record; no text begins with it.
const TLS_HANDSHAKE: u8 = 0x16;

const QUIET: State = State::Gap {
    noise_bytes: 0,
    noise_offset: 0,
};

impl Decoder {
    /// A tolerant decoder that refuses payloads over `max_payload_bytes`.
    pub fn new(max_payload_bytes: usize) -> Self {
        Self::with_framing(max_payload_bytes, Framing::default())
    }

    /// The same, forgiving what `framing` says.
    pub fn with_framing(max_payload_bytes: usize, framing: Framing) -> Self {
        Self {
            max_payload_bytes,
            framing,
            state: QUIET,
            payload: Vec::new(),
            offset: 0,
            skipped_bytes: 0,
        }
    }

    /// Takes the next event off the front of `input`; `None` when all of `input` is consumed.
    pub fn next(&mut self, input: &mut &[u8]) -> Option<Event> {
        while let Some(&byte) = input.first() {
            match self.state {
                State::Frame { .. } => {
                    if let Some(event) = self.collect(input) {
                        return Some(event);
                    }
                }
                State::Ended => {
                    self.state = QUIET;
                    if byte != CARRIAGE_RETURN {
                        return Some(self.warning(Warning::NoCarriageReturn));
                    }
                    self.advance(input, 1);
                }
                State::Ending { .. } => {
                    if byte != CARRIAGE_RETURN {
                        return Some(self.violation(Warning::NoCarriageReturn));
                    }
                    self.state = QUIET;
                    self.advance(input, 1);
                    return Some(Event::Frame(mem::take(&mut self.payload)));
                }
                State::Start { offset } => {
                    if let Some(event) = self.begin_unframed(input, byte, offset) {
                        return Some(event);
                    }
                }
                State::Gap {
                    noise_bytes,
                    noise_offset,
                } => {
                    if let Some(event) = self.skip(input, byte, noise_bytes, noise_offset) {
                        return Some(event);
                    }
                }
                State::Broken => self.advance(input, input.len()),
            }
        }
        None
    }

    /// The frame or noise that has begun and not ended in what was consumed so far.
    pub fn open(&self) -> Option<Open> {
        match self.state {
            State::Frame { offset } | State::Ending { offset } => Some(Open::Frame(offset)),
            State::Start { offset } => Some(Open::Noise(offset)),
            State::Gap {
                noise_bytes: 1..,
                noise_offset,
            } => Some(Open::Noise(noise_offset)),
            _ => None,
        }
    }

    /// Takes what was collected of a frame that will not end; the decoder is of no use afterwards.
    pub fn take_rest(&mut self) -> Vec<u8> {
        self.state = State::Broken;
        mem::take(&mut self.payload)
    }

    /// Makes room for a payload of so many bytes in all, so that a large one is not moved again and again as it grows.
    pub fn reserve(&mut self, payload_bytes: usize) {
        let more = payload_bytes.saturating_sub(self.payload.len());
        self.payload.reserve_exact(more);
    }

    /// How much of the open frame's payload is held.
    pub fn collected_bytes(&self) -> usize {
        self.payload.len()
    }

    /// White space between frames that was skipped silently.
    pub fn skipped_bytes(&self) -> u64 {
        self.skipped_bytes
    }

    /// Takes one byte between frames.
    fn skip(
        &mut self,
        input: &mut &[u8],
        byte: u8,
        noise_bytes: usize,
        noise_offset: u64,
    ) -> Option<Event> {
        let offset = self.offset;
        let first = noise_bytes == 0;
        match byte {
            START_BLOCK => {
                self.state = State::Frame { offset };
                self.advance(input, 1);
                None
            }
            TLS_HANDSHAKE if offset == 0 => {
                self.state = State::Broken;
                Some(Event::TlsHello)
            }
            _ if self.framing.strict => Some(self.violation(Warning::Noise)),
            b'\r' | b'\n' | b' ' | b'\t' | 0 => {
                self.skipped_bytes += 1;
                self.advance(input, 1);
                None
            }
            _ if first && self.is_unframed_start(&[byte]).is_some() => {
                self.state = State::Start { offset };
                None
            }
            _ if noise_bytes == MAX_NOISE_BYTES => {
                self.state = State::Broken;
                Some(Event::Noise)
            }
            _ => {
                let noise_offset = if first { offset } else { noise_offset };
                let event = first.then(|| self.warning(Warning::Noise));
                self.state = State::Gap {
                    noise_bytes: noise_bytes + 1,
                    noise_offset,
                };
                self.advance(input, 1);
                event
            }
        }
    }

    /// Takes one byte that may belong to an unframed start, the first of which stood at `offset`.
    fn begin_unframed(&mut self, input: &mut &[u8], byte: u8, offset: u64) -> Option<Event> {
        self.payload.push(byte);
        let warning = match self.is_unframed_start(&self.payload) {
            Some(false) => {
                self.advance(input, 1);
                return None;
            }
            Some(true) => {
                self.advance(input, 1);
                self.state = State::Frame { offset };
                Warning::NoStartBlock
            }
            // It was noise all along, and this byte is yet to be judged.
            None => {
                self.state = State::Gap {
                    noise_bytes: self.payload.len() - 1,
                    noise_offset: offset,
                };
                self.payload.clear();
                Warning::Noise
            }
        };
        Some(Event::Warning { warning, offset })
    }

    /// Whether `bytes` are a whole unframed start, or may become one.
    fn is_unframed_start(&self, bytes: &[u8]) -> Option<bool> {
        let starts = self.framing.unframed_starts.iter();
        let mut candidates = starts.filter(|start| start.starts_with(bytes));
        candidates.next().map(|start| start.len() == bytes.len())
    }

    /// Collects payload up to the next block character.
    fn collect(&mut self, input: &mut &[u8]) -> Option<Event> {
        let block = memchr::memchr2(START_BLOCK, END_BLOCK, input);
        let length = block.unwrap_or(input.len());
        let room = self.max_payload_bytes.saturating_sub(self.payload.len());
        if length > room {
            self.payload.extend_from_slice(&input[..room]);
            self.advance(input, room);
            self.state = State::Broken;
            return Some(Event::TooLarge);
        }
        self.payload.extend_from_slice(&input[..length]);
        self.advance(input, length);
        match input.first() {
            Some(&END_BLOCK) if self.framing.strict => {
                if let State::Frame { offset } = self.state {
                    self.state = State::Ending { offset };
                }
                self.advance(input, 1);
                None
            }
            Some(_) if self.framing.strict => Some(self.violation(Warning::Restart)),
            Some(&END_BLOCK) => {
                self.state = State::Ended;
                self.advance(input, 1);
                Some(Event::Frame(mem::take(&mut self.payload)))
            }
            Some(_) => {
                let offset = self.offset;
                self.state = State::Frame { offset };
                self.advance(input, 1);
                let payload = mem::take(&mut self.payload);
                Some(Event::Remnant { payload, offset })
            }
            None => None,
        }
    }

    fn advance(&mut self, input: &mut &[u8], count: usize) {
        *input = &input[count..];
        self.offset += count as u64;
    }

    fn violation(&mut self, warning: Warning) -> Event {
        self.state = State::Broken;
        Event::Violation {
            warning,
            offset: self.offset,
        }
    }

    fn warning(&self, warning: Warning) -> Event {
        Event::Warning {
            warning,
            offset: self.offset,
        }
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Frame(payload) => write!(f, "Frame({} bytes)", payload.len()),
            Self::Remnant { payload, offset } => {
                write!(f, "Remnant({} bytes, restart at {offset})", payload.len())
            }
            Self::Warning { warning, offset } => write!(f, "Warning({warning:?} at {offset})"),
            Self::TooLarge => f.write_str("TooLarge"),
            Self::Noise => f.write_str("Noise"),
            Self::Violation { warning, offset } => {
                write!(f, "Violation({warning:?} at {offset})")
            }
            Self::TlsHello => f.write_str("TlsHello"),
        }
    }
}

impl fmt::Debug for Decoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decoder")
            .field("open", &self.open())
            .field("collected_bytes", &self.payload.len())
            .field("offset", &self.offset)
            .finish_non_exhaustive()
    }
}
