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

/// Bytes that are neither frame nor white space, tolerated between two frames.
pub const MAX_NOISE_BYTES: usize = 4 * 1024;

/// A payload that cannot travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// MLLP has no escape for its own block characters.
    #[error(
        "byte 0x{byte:02x} at offset {offset} is a block character of MLLP and cannot stand in a payload"
    )]
    BlockCharacter { byte: u8, offset: usize },
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
    /// Never to be answered as accepted. `offset` is that of the second start block.
    Remnant { payload: Vec<u8>, offset: u64 },
    /// An oddity that was forgiven; `offset` counts the bytes of the stream from 0.
    Warning { warning: Warning, offset: u64 },
    /// The frame is larger than allowed. Nothing more is decoded; [`Decoder::take_rest`] holds its start.
    TooLarge,
    /// More than [`MAX_NOISE_BYTES`] between two frames. Nothing more is decoded.
    Noise,
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
}

impl Warning {
    /// The stable name for logs and reports.
    pub fn code(self) -> &'static str {
        match self {
            Self::Noise => "mllp-noise-before-frame",
            Self::NoCarriageReturn => "mllp-no-cr-after-end-block",
            Self::Restart => "mllp-start-block-in-frame",
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
    Frame {
        offset: u64,
    },
    Broken,
}

const QUIET: State = State::Gap {
    noise_bytes: 0,
    noise_offset: 0,
};

impl Decoder {
    /// A decoder that refuses payloads over `max_payload_bytes`.
    pub fn new(max_payload_bytes: usize) -> Self {
        Self {
            max_payload_bytes,
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
                State::Gap {
                    noise_bytes,
                    noise_offset,
                } => {
                    let offset = self.offset;
                    match byte {
                        START_BLOCK => {
                            self.state = State::Frame { offset };
                            self.advance(input, 1);
                        }
                        b'\r' | b'\n' | b' ' | b'\t' | 0 => {
                            self.skipped_bytes += 1;
                            self.advance(input, 1);
                        }
                        _ if noise_bytes == MAX_NOISE_BYTES => {
                            self.state = State::Broken;
                            return Some(Event::Noise);
                        }
                        _ => {
                            let first = noise_bytes == 0;
                            let noise_offset = if first { offset } else { noise_offset };
                            let event = first.then(|| self.warning(Warning::Noise));
                            self.state = State::Gap {
                                noise_bytes: noise_bytes + 1,
                                noise_offset,
                            };
                            self.advance(input, 1);
                            if event.is_some() {
                                return event;
                            }
                        }
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
            State::Frame { offset } => Some(Open::Frame(offset)),
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

    /// White space between frames that was skipped silently.
    pub fn skipped_bytes(&self) -> u64 {
        self.skipped_bytes
    }

    /// Collects payload up to the next block character.
    fn collect(&mut self, input: &mut &[u8]) -> Option<Event> {
        let block = memchr::memchr2(START_BLOCK, END_BLOCK, input);
        let length = block.unwrap_or(input.len());
        let room = self.max_payload_bytes - self.payload.len();
        if length > room {
            self.payload.extend_from_slice(&input[..room]);
            self.advance(input, room);
            self.state = State::Broken;
            return Some(Event::TooLarge);
        }
        self.payload.extend_from_slice(&input[..length]);
        self.advance(input, length);
        match input.first() {
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
