//! Escape sequences, read and written.
//!
//! Elements are split first and decoded after, exactly once, with no nesting.
//! What is not a known sequence is data: a lone escape character in `4\5 re.` stays where it is.

use std::borrow::Cow;

use super::message::find;
use super::{Charset, Delimiters, warning};

/// Decodes one leaf; formatting, highlighting, character set switches and local sequences are kept as they are.
pub fn decode<'a>(raw: &'a str, delimiters: &Delimiters, charset: Charset) -> Cow<'a, str> {
    render(raw, delimiters, charset, |body, out| {
        out.push(escape_of(delimiters));
        out.push_str(body);
        out.push(escape_of(delimiters));
    })
}

/// Decodes one leaf to plain text: vertical space becomes line breaks, indents become blanks, other formatting,
/// highlighting and local sequences vanish.
pub fn plain_text<'a>(raw: &'a str, delimiters: &Delimiters, charset: Charset) -> Cow<'a, str> {
    render(raw, delimiters, charset, |body, out| {
        let (text, digits) = match body.as_bytes() {
            [b'.', b's', b'p', ..] => ("\n", &body[3..]),
            [b'.', b'i', b'n', ..] | [b'.', b't', b'i', ..] | [b'.', b's', b'k', ..] => {
                (" ", &body[3..])
            }
            [b'C' | b'M', ..] => {
                out.push(escape_of(delimiters));
                out.push_str(body);
                out.push(escape_of(delimiters));
                return;
            }
            _ => return,
        };
        let count: usize = match digits.trim().trim_start_matches('+') {
            "" => 1,
            number => number.parse().unwrap_or(0),
        };
        // A message cannot ask for more space than a page has.
        out.push_str(&text.repeat(count.min(200)));
    })
}

/// Encodes text for one leaf; `None` if it holds what needs an escape and the message declares no escape character.
///
/// The delimiters and the escape character become their sequences, LF and CR LF `\.br\`, other control characters
/// `\Xhh\`. The text `""` is written so that it does not read as null.
pub fn encode<'a>(text: &'a str, delimiters: &Delimiters) -> Option<Cow<'a, str>> {
    let special = |byte: u8| {
        delimiters.splits(byte)
            || Some(byte) == delimiters.escape
            || Some(byte) == delimiters.truncation
            || byte.is_ascii_control()
    };
    if text != "\"\"" && !text.bytes().any(special) {
        return Some(Cow::Borrowed(text));
    }
    let escape = char::from(delimiters.escape?);
    let mut out = String::with_capacity(text.len() + 16);
    if text == "\"\"" {
        return Some(Cow::Owned(format!("\"{escape}X22{escape}")));
    }
    let mut characters = text.chars().peekable();
    while let Some(c) = characters.next() {
        let byte = u8::try_from(u32::from(c)).ok().filter(u8::is_ascii);
        let Some(byte) = byte.filter(|&byte| special(byte)) else {
            out.push(c);
            continue;
        };
        out.push(escape);
        match byte {
            _ if byte == delimiters.field => out.push('F'),
            _ if byte == delimiters.component => out.push('S'),
            _ if Some(byte) == delimiters.subcomponent => out.push('T'),
            _ if Some(byte) == delimiters.repetition => out.push('R'),
            _ if Some(byte) == delimiters.escape => out.push('E'),
            _ if Some(byte) == delimiters.truncation => out.push('P'),
            b'\n' => out.push_str(".br"),
            b'\r' if characters.peek() == Some(&'\n') => {
                characters.next();
                out.push_str(".br");
            }
            _ => out.push_str(&format!("X{byte:02X}")),
        }
        out.push(escape);
    }
    Some(Cow::Owned(out))
}

/// Calls `report` with code and offset of every escape in `text` (from `start` on) that will be read as data.
pub(super) fn check(
    text: &str,
    start: usize,
    delimiters: &Delimiters,
    mut report: impl FnMut(&'static str, usize),
) {
    let Some(escape) = delimiters.escape else {
        return;
    };
    let bytes = text.as_bytes();
    let next = |from: usize| memchr::memchr(escape, &bytes[from..]).map(|at| from + at);
    let mut at = next(start);
    while let Some(open) = at {
        let close = next(open + 1);
        let element_ends = |range: &[u8]| {
            range
                .iter()
                .any(|&byte| delimiters.splits(byte) || matches!(byte, b'\r' | b'\n'))
        };
        at = match close {
            Some(close) if !element_ends(&bytes[open + 1..close]) => {
                match Sequence::of(&text[open + 1..close]) {
                    Sequence::Unknown => {
                        report(warning::ESCAPE_UNKNOWN, open);
                        Some(close)
                    }
                    Sequence::BadHex => {
                        report(warning::ESCAPE_BAD_HEX, open);
                        Some(close)
                    }
                    _ => next(close + 1),
                }
            }
            _ => {
                report(warning::ESCAPE_UNTERMINATED, open);
                close
            }
        };
    }
}

/// What stands between two escape characters.
pub(super) enum Sequence<'a> {
    Delimiter(u8),
    /// Pairs of hexadecimal digits.
    Hex(&'a str),
    LineBreak,
    /// Formatting, highlighting, character set switches, local sequences.
    Kept,
    BadHex,
    Unknown,
}

impl<'a> Sequence<'a> {
    pub(super) fn of(body: &'a str) -> Self {
        match body.as_bytes() {
            [letter @ (b'F' | b'S' | b'T' | b'R' | b'E' | b'P')] => Sequence::Delimiter(*letter),
            b"H" | b"N" => Sequence::Kept,
            b".br" | b".BR" => Sequence::LineBreak,
            [b'.', a, b, rest @ ..]
                if a.is_ascii_lowercase()
                    && b.is_ascii_lowercase()
                    && rest.iter().all(|c| b"+- 0123456789".contains(c)) =>
            {
                Sequence::Kept
            }
            [b'X', digits @ ..] => {
                if !digits.is_empty()
                    && digits.len() % 2 == 0
                    && digits.iter().all(u8::is_ascii_hexdigit)
                {
                    Sequence::Hex(&body[1..])
                } else {
                    Sequence::BadHex
                }
            }
            [b'C', digits @ ..]
                if digits.len() == 4 && digits.iter().all(u8::is_ascii_hexdigit) =>
            {
                Sequence::Kept
            }
            [b'M', digits @ ..]
                if matches!(digits.len(), 4 | 6) && digits.iter().all(u8::is_ascii_hexdigit) =>
            {
                Sequence::Kept
            }
            [b'Z', ..] => Sequence::Kept,
            _ => Sequence::Unknown,
        }
    }
}

fn escape_of(delimiters: &Delimiters) -> char {
    char::from(delimiters.escape.unwrap_or(b'\\'))
}

fn render<'a>(
    raw: &'a str,
    delimiters: &Delimiters,
    charset: Charset,
    keep: impl Fn(&str, &mut String),
) -> Cow<'a, str> {
    let Some(escape) = delimiters.escape else {
        return Cow::Borrowed(raw);
    };
    let Some(first) = find(escape, raw) else {
        return Cow::Borrowed(raw);
    };
    let mut out = String::with_capacity(raw.len());
    out.push_str(&raw[..first]);
    let mut rest = &raw[first..];
    // Bytes of adjacent `\X..\` sequences: together they may form one character.
    let mut hex: Vec<u8> = Vec::new();
    loop {
        // `rest` begins with an escape character.
        let close = memchr::memchr(escape, &rest.as_bytes()[1..]).map(|at| at + 1);
        let sequence = close.map_or(Sequence::Unknown, |close| Sequence::of(&rest[1..close]));
        if !matches!(sequence, Sequence::Hex(_)) {
            flush(&mut hex, charset, &mut out);
        }
        let after = close.map_or(rest.len(), |close| close + 1);
        let after = match sequence {
            Sequence::Delimiter(letter) => {
                out.push(char::from(delimiter(letter, delimiters)));
                after
            }
            Sequence::Hex(digits) => {
                hex_bytes(digits, &mut hex);
                after
            }
            Sequence::LineBreak => {
                out.push('\n');
                after
            }
            Sequence::Kept => {
                keep(&rest[1..after - 1], &mut out);
                after
            }
            Sequence::BadHex | Sequence::Unknown => {
                out.push(char::from(escape));
                1
            }
        };
        rest = &rest[after..];
        let text = memchr::memchr(escape, rest.as_bytes()).unwrap_or(rest.len());
        if text > 0 {
            flush(&mut hex, charset, &mut out);
            out.push_str(&rest[..text]);
        }
        rest = &rest[text..];
        if rest.is_empty() {
            flush(&mut hex, charset, &mut out);
            return Cow::Owned(out);
        }
    }
}

fn flush(hex: &mut Vec<u8>, charset: Charset, out: &mut String) {
    if !hex.is_empty() {
        out.push_str(&charset.decode_hex(hex));
        hex.clear();
    }
}

fn delimiter(letter: u8, delimiters: &Delimiters) -> u8 {
    match letter {
        b'F' => delimiters.field,
        b'S' => delimiters.component,
        b'T' => delimiters.subcomponent.unwrap_or(b'&'),
        b'R' => delimiters.repetition.unwrap_or(b'~'),
        b'P' => delimiters.truncation.unwrap_or(b'#'),
        _ => delimiters.escape.unwrap_or(b'\\'),
    }
}

fn hex_bytes(digits: &str, out: &mut Vec<u8>) {
    // HAPI writes CR and LF as a UTF-16 unit.
    if digits.eq_ignore_ascii_case("000D") || digits.eq_ignore_ascii_case("000A") {
        out.push(if digits.ends_with(['D', 'd']) {
            b'\r'
        } else {
            b'\n'
        });
        return;
    }
    let value = |digit: u8| char::from(digit).to_digit(16).unwrap_or(0) as u8;
    out.extend(
        digits
            .as_bytes()
            .chunks_exact(2)
            .map(|pair| value(pair[0]) << 4 | value(pair[1])),
    );
}
