//! How pages write times, states and counts.

use jiff::Timestamp;

use crate::hl7::warning;

/// For people: to the second, in UTC.
pub fn utc(at_ms: i64) -> String {
    timestamp(at_ms).strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// For machines that show it in a person's own zone, see `console.js`.
pub fn iso(at_ms: i64) -> String {
    timestamp(at_ms).to_string()
}

fn timestamp(at_ms: i64) -> Timestamp {
    Timestamp::from_millisecond(at_ms).unwrap_or_default()
}

/// A time as a page has it: for people without script in UTC, and for the script.
#[derive(Debug, Clone, Default)]
pub struct Time {
    pub text: String,
    pub iso: String,
}

impl Time {
    pub fn of(at_ms: i64) -> Self {
        Self {
            text: format!("{} UTC", utc(at_ms)),
            iso: iso(at_ms),
        }
    }
}

/// So many things: `1 delivery`, `2 deliveries`.
pub fn count<N: std::fmt::Display + PartialEq + From<u8>>(
    number: N,
    one: &str,
    several: &str,
) -> String {
    match number == N::from(1) {
        true => format!("1 {one}"),
        false => format!("{number} {several}"),
    }
}

/// A text with its digests cut to what tells them apart.
pub fn short_digests(text: &str) -> String {
    let is_digest = |word: &str| word.len() == 64 && word.bytes().all(|b| b.is_ascii_hexdigit());
    let cut = |part: &str| match part.trim_matches('"') {
        word if is_digest(word) => part.replace(word, &word[..12]),
        _ => part.to_owned(),
    };
    let words: Vec<String> = text.split(' ').map(cut).collect();
    words.join(" ")
}

/// What was odd about a message, in words, by the codes of its reading.
pub fn oddities(codes: &str) -> String {
    let mut said: Vec<&str> = Vec::new();
    for code in codes.split_whitespace() {
        let code = code.split_once('@').map_or(code, |(code, _)| code);
        let words = oddity(code);
        if !said.contains(&words) {
            said.push(words);
        }
    }
    said.join("; ")
}

/// The same of one code, of the reading or of the comparison with the standard; unknown ones stay as they are.
pub fn oddity(code: &str) -> &str {
    match code {
        warning::BYTE_ORDER_MARK => "a byte order mark stands before it",
        warning::LEADING_BYTES => "something stands before MSH",
        warning::DOUBLED_ESCAPE => "MSH-2 has its escape character twice",
        warning::SHORT_DELIMITERS => "MSH-2 has fewer than four characters",
        warning::LINE_END => "lines end in LF where the standard asks for CR",
        warning::BLANK_LINE => "there are lines without a segment",
        warning::NOT_A_SEGMENT => "there is a line that is no segment: no field can be taken of it",
        warning::CONTINUATION_LINE => "a line that is no segment was joined to the one before",
        warning::LOWER_CASE_SEGMENT => "a segment's name is in small letters",
        warning::SECOND_HEADER => "there is more than one message in it",
        warning::CHARSET_UNDECLARED => "MSH-18 does not say which characters these are",
        warning::CHARSET_UNKNOWN => "MSH-18 names a character set that is not known",
        warning::CHARSET_MISMATCH => "the characters are not of the set that MSH-18 names",
        warning::CHARSET_UNMAPPABLE => "some characters cannot be written in the message's set",
        warning::ESCAPE_UNKNOWN | warning::ESCAPE_UNTERMINATED | warning::ESCAPE_BAD_HEX => {
            "an escape sequence was not understood and is kept as it came"
        }
        warning::MORE => "and more of the kind",
        "event-unknown" => "the standard does not know this event",
        "event-differs" => "the sample is of another event than the flow",
        "structure-differs" => "MSH-9 names another structure than this event has",
        "segment-unknown" => {
            "the standard does not know this segment; it can be mapped all the same"
        }
        "field-unknown" => "the standard has no such field here",
        "repeated" => "the standard does not let this repeat",
        "not-a-date" => "is not of the form of a date",
        "not-a-number" => "is not a number",
        "code-unlisted" => "is no code of the standard's table",
        other => other,
    }
}
