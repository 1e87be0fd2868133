//! Several messages in one input: `[FHS] { [BHS] { message } [BTS] } [FTS]`, all four optional, or just one MSH after another.
//!
//! Works on bytes, because each message may be in a character set of its own.

use super::delimiters::usable;
use super::{Warning, warning};

/// Splits input into messages, one entry for every MSH at the start of a line; envelope lines are left out.
///
/// Other lines outside a message are an entry of their own, which will not parse: nothing is dropped silently.
/// Input without any of this is one entry.
pub fn split(bytes: &[u8]) -> Vec<&[u8]> {
    read(bytes).messages
}

/// One input with its envelope.
#[derive(Clone, PartialEq, Eq)]
pub struct Batch<'a> {
    /// One entry for every MSH, and for every run of lines that belongs to none.
    pub messages: Vec<&'a [u8]>,
    /// FHS, BHS, BTS and FTS lines in order, without their ends.
    pub envelope: Vec<&'a [u8]>,
    /// Offsets count bytes of the input.
    pub warnings: Vec<Warning>,
}

impl Batch<'_> {
    /// How many envelope lines there are of a name.
    pub fn count(&self, name: &str) -> usize {
        let named = |line: &&&[u8]| line[..3].eq_ignore_ascii_case(name.as_bytes());
        self.envelope.iter().filter(named).count()
    }
}

impl std::fmt::Debug for Batch<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Batch")
            .field("messages", &self.messages.len())
            .field("envelope", &self.envelope.len())
            .field("warnings", &self.warnings)
            .finish()
    }
}

/// Codes of the warnings that only a batch has.
pub const LINES_OUTSIDE_MESSAGE: &str = "lines-outside-message";
/// BTS-1 or FTS-1 says another number than there is.
pub const COUNT_DIFFERS: &str = "count-differs";

/// Reads input with its envelope; see [`split`].
pub fn read(bytes: &[u8]) -> Batch<'_> {
    let mut batch = Batch {
        messages: Vec::new(),
        envelope: Vec::new(),
        warnings: Vec::new(),
    };
    let mark = if bytes.starts_with(b"\xEF\xBB\xBF") {
        3
    } else {
        0
    };
    // Where the entry that is being collected began, and whether it has a header.
    let mut open: Option<(usize, bool)> = None;
    let mut seen = Seen::default();
    let mut at = mark;
    while at < bytes.len() {
        let end = memchr::memchr2(b'\r', b'\n', &bytes[at..]).map_or(bytes.len(), |end| at + end);
        let next = end + usize::from(end < bytes.len());
        let line = trim_start(&bytes[at..end]);
        match kind(line) {
            Kind::Message => {
                // A byte order mark and blank lines at the very start belong to the first message.
                let is_first =
                    open.is_none() && batch.messages.is_empty() && batch.envelope.is_empty();
                batch.close(bytes, open, at);
                open = Some((if is_first { 0 } else { at }, true));
                seen.messages += 1;
            }
            Kind::Envelope => {
                batch.close(bytes, open, at);
                open = None;
                batch.envelope.push(line);
                seen.envelope(line, at, &mut batch.warnings);
            }
            Kind::Other if open.is_none() && !line.is_empty() => open = Some((at, false)),
            Kind::Other => {}
        }
        at = next;
    }
    batch.close(bytes, open, bytes.len());
    if batch.messages.is_empty() {
        batch.messages.push(bytes);
    }
    batch
}

/// The input, a batch or a single message, with CR as the end of every line and nothing else changed.
pub fn normalize(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    // CR and LF are no part of a character in any set that travels over MLLP.
    while let Some(at) = memchr::memchr2(b'\r', b'\n', rest) {
        out.extend_from_slice(&rest[..at]);
        out.push(b'\r');
        rest = &rest[at..];
        rest = rest.strip_prefix(b"\r\n").unwrap_or(&rest[1..]);
    }
    out.extend_from_slice(rest);
    out
}

impl<'a> Batch<'a> {
    fn close(&mut self, bytes: &'a [u8], open: Option<(usize, bool)>, end: usize) {
        if let Some((start, has_header)) = open {
            self.messages.push(&bytes[start..end]);
            if !has_header {
                self.warnings.push(Warning {
                    code: LINES_OUTSIDE_MESSAGE,
                    offset: start,
                });
            }
        }
    }
}

/// The offset of the first `MSH` with a usable separator that begins a line.
pub(super) fn find_header(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let end = memchr::memchr2(b'\r', b'\n', &bytes[at..]).map_or(bytes.len(), |end| at + end);
        let line = trim_start(
            bytes[at..end]
                .strip_prefix(b"\xEF\xBB\xBF")
                .unwrap_or(&bytes[at..end]),
        );
        if matches!(kind(line), Kind::Message) {
            return Some(end - line.len());
        }
        if end == bytes.len() {
            return None;
        }
        at = end + 1;
    }
}

/// What the trailers are checked against.
#[derive(Default)]
struct Seen {
    messages: usize,
    batches: usize,
    files: usize,
    open_batch: bool,
}

impl Seen {
    fn envelope(&mut self, line: &[u8], offset: usize, warnings: &mut Vec<Warning>) {
        let name = line[..3].to_ascii_uppercase();
        let counted = match name.as_slice() {
            b"FHS" => {
                self.files += 1;
                if self.files > 1 {
                    warnings.push(Warning {
                        code: warning::SECOND_HEADER,
                        offset,
                    });
                }
                return;
            }
            b"BHS" => {
                if self.open_batch {
                    warnings.push(Warning {
                        code: warning::SECOND_HEADER,
                        offset,
                    });
                }
                self.batches += 1;
                self.messages = 0;
                self.open_batch = true;
                return;
            }
            b"BTS" => {
                let counted = self.messages;
                if !self.open_batch {
                    self.batches += 1;
                }
                self.open_batch = false;
                self.messages = 0;
                counted
            }
            _ => self.batches.max(1),
        };
        let said = line.get(4..).unwrap_or_default();
        let digits = said.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let said = std::str::from_utf8(&said[..digits])
            .ok()
            .and_then(|digits| digits.parse::<usize>().ok());
        if said.is_some_and(|said| said != counted) {
            warnings.push(Warning {
                code: COUNT_DIFFERS,
                offset,
            });
        }
    }
}

enum Kind {
    Message,
    Envelope,
    Other,
}

fn kind(line: &[u8]) -> Kind {
    let is = |names: &[&[u8; 3]]| {
        names.iter().any(|name| {
            line.get(..3)
                .is_some_and(|start| start.eq_ignore_ascii_case(&name[..]))
        })
    };
    let followed = line.get(3).is_some_and(|&byte| usable(byte));
    if is(&[b"MSH"]) && followed {
        Kind::Message
    } else if is(&[b"FHS", b"BHS", b"BTS", b"FTS"]) && (followed || line.len() == 3) {
        Kind::Envelope
    } else {
        Kind::Other
    }
}

/// Blanks and control bytes before a segment, such as a start block that a file still holds.
fn trim_start(line: &[u8]) -> &[u8] {
    let start = line
        .iter()
        .position(|byte| !(byte.is_ascii_whitespace() || byte.is_ascii_control()));
    &line[start.unwrap_or(line.len())..]
}
