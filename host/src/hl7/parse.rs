//! Bytes to a [`Message`]: character set, delimiters, lines, fields. One pass finds them all; what lies below a
//! field is found when it is asked for.

use std::mem;
use std::ops::Range;

use super::charset::{self, Charset, Declared};
use super::message::{Message, NO_EDIT, Span};
use super::{Delimiters, Error, Warning, escape, warning};

/// How bytes are read where the message does not say, or is not to be trusted.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// Overrides MSH-18.
    pub charset: Option<Charset>,
    /// Refuses bytes that are not of the character set in force, instead of reading them as windows-1252.
    pub strict_charset: bool,
    /// Joins a line that is no segment to the segment before it, with `\.br\` between: senders break long text with raw
    /// line ends, which chapter 2.5.4 does not allow. Read, set and written, the message has the joined line then.
    /// Blank lines before it are breaks too. Without it, behind MSH and segments without fields, and in
    /// messages that declare no escape character, such a line is kept and no path reaches it.
    pub join_lines: bool,
}

/// A hostile message must not make a list longer than itself.
const MAX_WARNINGS: usize = 64;

pub(super) fn parse(bytes: &[u8], options: Options) -> Result<Message, Error> {
    let mut warnings = Warnings(Vec::new());
    let content = bytes.strip_prefix(b"\xEF\xBB\xBF");
    let marked = content.is_some();
    let content = content.unwrap_or(bytes);
    if content.len() >= u32::MAX as usize / 2 {
        return Err(Error::TooLong {
            size_bytes: content.len(),
        });
    }
    let start = content
        .iter()
        .position(|&byte| !(byte.is_ascii_whitespace() || byte.is_ascii_control()))
        .unwrap_or(content.len());
    let header = &content[start..];
    if !header
        .get(..3)
        .is_some_and(|name| name.eq_ignore_ascii_case(b"MSH"))
    {
        return Err(Error::NotHl7 { offset: start });
    }
    let (delimiters, odd) = Delimiters::read(header).map_err(|error| match error {
        Error::BadDelimiters { offset, reason } => Error::BadDelimiters {
            offset: start + offset,
            reason,
        },
        other => other,
    })?;
    if marked {
        warnings.add(warning::BYTE_ORDER_MARK, 0);
    }
    if start > 0 {
        warnings.add(warning::LEADING_BYTES, 0);
    }
    if let Some(odd) = odd {
        warnings.add(odd.code, start + odd.offset);
    }
    let decoded = decode(content, header, marked, &delimiters, options, &mut warnings)?;
    if decoded.text.len() >= u32::MAX as usize {
        return Err(Error::TooLong {
            size_bytes: decoded.text.len(),
        });
    }
    let mut lines = Lines {
        bytes: decoded.text.as_bytes(),
        // A guess that spares growing; a long text is a document in one field rather than many fields.
        starts: Vec::with_capacity((decoded.text.len() / 8 + 8).min(4_096)),
        segments: Vec::with_capacity(16),
        warnings,
        line_end_seen: false,
        // Offsets are of 32 bits, and a blank line of one byte becomes a break of five.
        join: options.join_lines
            && delimiters.escape.is_some()
            && decoded.text.len() < u32::MAX as usize / 5,
        continuations: Vec::new(),
        blank_lines: 0,
    };
    lines.split(start, delimiters.field);
    let Lines {
        starts,
        segments,
        mut warnings,
        continuations,
        ..
    } = lines;
    // MSH-2 holds the escape character itself, in a second header too.
    let encoding_characters = |offset: usize| {
        let line = segments.partition_point(|span| span.start as usize <= offset);
        let span = line.checked_sub(1).map(|line| &segments[line]);
        span.is_some_and(|span| {
            let fields = &starts[span.first as usize..][..span.count as usize];
            is_header(&span.name) && offset < fields.get(2).map_or(span.end, |&end| end) as usize
        })
    };
    escape::check(&decoded.text, start, &delimiters, |code, offset| {
        if !encoding_characters(offset) {
            warnings.add(code, offset);
        }
    });
    let same = decoded.text.as_bytes() == bytes;
    let mut message = Message {
        original: (!same).then(|| bytes.into()),
        text: decoded.text,
        charset: decoded.charset,
        delimiters,
        starts,
        segments,
        edits: Vec::new(),
        warnings: warnings.0,
    };
    for lines in continuations.chunk_by(|one, next| one.segment == next.segment) {
        message.join(lines);
    }
    Ok(message)
}

struct Decoded {
    text: String,
    charset: Charset,
}

/// Decodes by the rule: override, byte order mark, MSH-18, strict UTF-8, windows-1252 with a warning.
fn decode(
    content: &[u8],
    header: &[u8],
    marked: bool,
    delimiters: &Delimiters,
    options: Options,
    warnings: &mut Warnings,
) -> Result<Decoded, Error> {
    let declared = match options.charset {
        Some(charset) => Declared::Known(charset),
        None if marked => Declared::Known(Charset::UTF_8),
        None => charset::declared(header, delimiters.field, delimiters.repetition),
    };
    let charset = match declared {
        Declared::Known(charset) if charset != Charset::UTF_8 => charset,
        declared => {
            let header_at = content.len() - header.len();
            if matches!(declared, Declared::Unknown) {
                warnings.add(warning::CHARSET_UNKNOWN, header_at);
            }
            match std::str::from_utf8(content) {
                Ok(text) => {
                    if matches!(declared, Declared::Nothing) && !text.is_ascii() {
                        let offset = text.bytes().position(|byte| !byte.is_ascii()).unwrap_or(0);
                        warnings.add(warning::CHARSET_UNDECLARED, offset);
                    }
                    return Ok(Decoded {
                        text: text.into(),
                        charset: Charset::UTF_8,
                    });
                }
                Err(error) if options.strict_charset => {
                    return Err(Error::NotInCharset {
                        charset: "UTF-8",
                        offset: error.valid_up_to(),
                    });
                }
                Err(error) => {
                    let code = match declared {
                        Declared::Nothing => warning::CHARSET_UNDECLARED,
                        _ => warning::CHARSET_MISMATCH,
                    };
                    warnings.add(code, error.valid_up_to());
                    Charset::WINDOWS_1252
                }
            }
        }
    };
    let (text, malformed) = charset.decode(content);
    if malformed {
        let offset = text.find(char::REPLACEMENT_CHARACTER).unwrap_or(0);
        if options.strict_charset {
            return Err(Error::NotInCharset {
                charset: charset.name(),
                offset,
            });
        }
        warnings.add(warning::CHARSET_MISMATCH, offset);
    }
    Ok(Decoded { text, charset })
}

struct Warnings(Vec<Warning>);

impl Warnings {
    fn add(&mut self, code: &'static str, offset: usize) {
        match self.0.len() {
            0..MAX_WARNINGS => self.0.push(Warning { code, offset }),
            MAX_WARNINGS => self.0.push(Warning {
                code: warning::MORE,
                offset,
            }),
            _ => {}
        }
    }
}

/// A line that goes on where a segment left off.
pub(super) struct Continuation {
    pub(super) segment: usize,
    /// In the text.
    pub(super) range: Range<usize>,
    /// Line breaks before it: one, and one for each blank line between.
    pub(super) breaks: usize,
}

struct Lines<'a> {
    bytes: &'a [u8],
    starts: Vec<u32>,
    segments: Vec<Span>,
    warnings: Warnings,
    line_end_seen: bool,
    /// Whether lines that are no segments are joined to the segment before them.
    join: bool,
    continuations: Vec<Continuation>,
    /// Since the last line with something in it.
    blank_lines: usize,
}

impl Lines<'_> {
    fn split(&mut self, from: usize, field: u8) {
        let mut line = from;
        // The first entry of this line's fields in `starts`, once the line is known to be a segment.
        let mut first: Option<usize> = None;
        let mut separators = 0;
        for at in memchr::memchr3_iter(field, b'\r', b'\n', &self.bytes[from..]) {
            let at = from + at;
            if self.bytes[at] == field {
                if first.is_some() {
                    self.starts.push(at as u32 + 1);
                } else if separators == 0 && at == line + 3 && is_name(&self.bytes[line..at]) {
                    first = Some(self.starts.len());
                    if is_header(&self.bytes[line..at]) {
                        // Field 1 of a header is the separator itself.
                        self.starts.push(at as u32);
                    }
                    self.starts.push(at as u32 + 1);
                }
                separators += 1;
                continue;
            }
            if self.bytes[at] == b'\n' && !self.line_end_seen {
                self.line_end_seen = true;
                self.warnings.add(warning::LINE_END, at);
            }
            let second_half =
                at == line && self.bytes[at] == b'\n' && at > from && self.bytes[at - 1] == b'\r';
            if !second_half {
                self.end_line(line, at, first);
            }
            line = at + 1;
            first = None;
            separators = 0;
        }
        if line < self.bytes.len() {
            self.end_line(line, self.bytes.len(), first);
        }
    }

    fn end_line(&mut self, start: usize, end: usize, first: Option<usize>) {
        let line = &self.bytes[start..end];
        // Three letters alone are a segment without fields, if they cannot be a word of broken text.
        let bare = first.is_none()
            && line.len() == 3
            && is_name(line)
            && !line.iter().any(u8::is_ascii_lowercase);
        if first.is_none() && !bare {
            let blank = line
                .iter()
                .all(|byte| byte.is_ascii_whitespace() || byte.is_ascii_control());
            // A header and a segment without fields hold no text that could go on.
            let goes_on = |last: &Span| last.count > 0 && !is_header(&last.name);
            let segment = match self.segments.last() {
                Some(last) if self.join && goes_on(last) => Some(self.segments.len() - 1),
                _ => None,
            };
            let code = match segment {
                _ if blank => {
                    self.blank_lines += 1;
                    warning::BLANK_LINE
                }
                Some(segment) => {
                    self.continuations.push(Continuation {
                        segment,
                        range: start..end,
                        breaks: 1 + mem::take(&mut self.blank_lines),
                    });
                    warning::CONTINUATION_LINE
                }
                None => warning::NOT_A_SEGMENT,
            };
            self.warnings.add(code, start);
            return;
        }
        self.blank_lines = 0;
        let mut name = [line[0], line[1], line[2]];
        if name.iter().any(u8::is_ascii_lowercase) {
            name.make_ascii_uppercase();
            self.warnings.add(warning::LOWER_CASE_SEGMENT, start);
        }
        if !self.segments.is_empty() && matches!(&name, b"MSH" | b"FHS" | b"BHS" | b"BTS" | b"FTS")
        {
            self.warnings.add(warning::SECOND_HEADER, start);
        }
        let first = first.unwrap_or(self.starts.len());
        self.segments.push(Span {
            name,
            start: start as u32,
            end: end as u32,
            first: first as u32,
            count: (self.starts.len() - first) as u32,
            edit: NO_EDIT,
        });
    }
}

/// Whether `name` is a segment id, in either case.
pub(super) fn is_name(name: &[u8]) -> bool {
    matches!(name, [a, b, c] if a.is_ascii_alphabetic() && b.is_ascii_alphanumeric() && c.is_ascii_alphanumeric())
}

/// Whether the first field of a segment of this name is its separator.
pub(super) fn is_header(name: &[u8]) -> bool {
    [&b"MSH"[..], b"FHS", b"BHS"]
        .iter()
        .any(|header| name.eq_ignore_ascii_case(header))
}
