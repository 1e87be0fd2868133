//! HL7 v2 messages: bytes in, values by path, edits, bytes out.
//!
//! Knows nothing of sockets, storage, components or LeadSquared.
//! [`Message`] owns the decoded text and a flat table of where its fields start; reads borrow from it, edits lie
//! over it line by line, and what nobody touched is written back byte for byte.
//! Start with [`message`], then [`path`] for how a place in a message is written.
//!
//! No text of this room (errors, warnings, `Debug`) holds anything from a message but delimiters and offsets.

#![warn(missing_docs)]

pub mod message;
pub mod path;

pub mod ack;
pub mod batch;
pub mod charset;
pub mod deidentify;
pub mod delimiters;
pub mod dictionary;
pub mod escape;
pub mod fill;
pub mod validate;
pub mod value;

mod edit;
mod header;
mod parse;
mod place;
mod stamp;

#[cfg(test)]
mod tests;

pub use charset::Charset;
pub use delimiters::Delimiters;
pub use edit::Fill;
pub use header::{Header, PROBE_EVENT, PROBE_SENDER, is_probe};
pub use message::{Content, Message, Repetition, Segment};
pub use parse::Options;
pub use path::Path;
pub use stamp::stamp;

/// Why bytes are no message, or why an edit is impossible.
///
/// Offsets are bytes of the decoded text; without a byte order mark and in UTF-8 those are the bytes received.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// White space, then something other than `MSH`.
    #[error("no MSH segment at offset {offset}, where the message starts")]
    NotHl7 {
        /// Of the first byte that is no white space.
        offset: usize,
    },
    /// MSH-1 or MSH-2 is missing or holds what cannot split a message; what can is in [`Delimiters::read`].
    #[error("MSH-1 or MSH-2 is not usable at offset {offset}: {reason}")]
    BadDelimiters {
        /// Of the character at fault.
        offset: usize,
        /// What is wrong with it, to be read by people.
        reason: &'static str,
    },
    /// Offsets are of 32 bits.
    #[error("message is {size_bytes} bytes long; 4 GiB is the most that can be read")]
    TooLong {
        /// Of what was received, or of its text.
        size_bytes: usize,
    },
    /// Asked for by [`Options::strict_charset`] alone: without it such bytes are read with a warning.
    #[error("byte at offset {offset} is not valid in {charset}")]
    NotInCharset {
        /// The set in force, as the WHATWG encoding standard names it.
        charset: &'static str,
        /// Of the first such byte in UTF-8, of its replacement in the text otherwise.
        offset: usize,
    },
    /// Neither in table 0211, nor seen in the field, nor a label of the WHATWG encoding standard.
    #[error(
        "character set \"{0}\" is not known; use a name of HL7 table 0211 such as 8859/1 or UNICODE UTF-8"
    )]
    UnknownCharset(String),
    /// See [`Message::set`] for what cannot be.
    #[error("{path} cannot be set: {reason}")]
    NotSettable {
        /// The place asked for; what was to be put there is not named.
        path: Path,
        /// Why, and what to write instead.
        reason: &'static str,
    },
}

/// An oddity that was read anyway: a stable code and where it is, never what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Warning {
    /// One of the constants in [`warning`].
    pub code: &'static str,
    /// Bytes from the start of the decoded text.
    pub offset: usize,
}

/// The codes of [`Warning`]; once released they do not change.
pub mod warning {
    /// A UTF-8 byte order mark before the message.
    pub const BYTE_ORDER_MARK: &str = "byte-order-mark";
    /// White space or control bytes before MSH.
    pub const LEADING_BYTES: &str = "leading-bytes";
    /// MSH-2 holds its escape character twice, as over-escaped exports do.
    pub const DOUBLED_ESCAPE: &str = "doubled-escape";
    /// MSH-2 has fewer than four characters.
    pub const SHORT_DELIMITERS: &str = "short-delimiters";
    /// A line ends in LF or CR LF; given once, for the first.
    pub const LINE_END: &str = "line-end";
    /// A line of nothing, blanks or control bytes between segments; no path reaches it.
    pub const BLANK_LINE: &str = "blank-line";
    /// A line that is no segment, usually text broken by a raw line end; kept, but no path reaches it.
    pub const NOT_A_SEGMENT: &str = "not-a-segment";
    /// The same, joined to the segment before it because [`Options::join_lines`](super::Options::join_lines) says so.
    pub const CONTINUATION_LINE: &str = "continuation-line";
    /// A segment id in small letters; paths find it as if it were in capitals.
    pub const LOWER_CASE_SEGMENT: &str = "lower-case-segment";
    /// MSH, FHS, BHS, BTS or FTS after the first line: the input should have been split.
    pub const SECOND_HEADER: &str = "second-header";
    /// Bytes outside ASCII, while MSH-18 is empty or says ASCII.
    pub const CHARSET_UNDECLARED: &str = "charset-undeclared";
    /// MSH-18 names a set that is not known here.
    pub const CHARSET_UNKNOWN: &str = "charset-unknown";
    /// The bytes are not of the set in force; read as windows-1252 or with replacement characters.
    pub const CHARSET_MISMATCH: &str = "charset-mismatch";
    /// A set value has characters that the message's set lacks; they are written as `?`.
    pub const CHARSET_UNMAPPABLE: &str = "charset-unmappable";
    /// Two escape characters around what is no sequence (chapter 2.7); read as data.
    pub const ESCAPE_UNKNOWN: &str = "escape-unknown";
    /// An escape character without a second one in the same element, as in `4\5 re.`; read as data.
    pub const ESCAPE_UNTERMINATED: &str = "escape-unterminated";
    /// `\X..\` without pairs of hexadecimal digits; read as data.
    pub const ESCAPE_BAD_HEX: &str = "escape-bad-hex";
    /// The list was cut; there are more.
    pub const MORE: &str = "more-warnings";
}
