//! One message: its text, where its fields start, the edits over it, and how it is read.
//!
//! [`Message::get`] is the way in; [`Segment`] and [`Repetition`] are the same for code that walks.

use std::borrow::Cow;
use std::fmt;
use std::ops::ControlFlow;

use super::charset::Locator;
use super::edit::Edited;
use super::path::{Index, Path};
use super::{Charset, Delimiters, Error, Header, Options, Warning, escape, header, parse};

/// One HL7 v2 message. Reading borrows; it is `Send + Sync`, so that one message can be read by many behind an `Arc`.
#[derive(Clone)]
pub struct Message {
    pub(super) text: String,
    /// The bytes received, where they are not those of `text`.
    pub(super) original: Option<Box<[u8]>>,
    pub(super) charset: Charset,
    pub(super) delimiters: Delimiters,
    /// Start of every field of every parsed segment; a field ends one byte before the next.
    pub(super) starts: Vec<u32>,
    pub(super) segments: Vec<Span>,
    /// Lines that were set, whole.
    pub(super) edits: Vec<Edited>,
    pub(super) warnings: Vec<Warning>,
}

/// Where one segment is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    /// In upper case.
    pub(super) name: [u8; 3],
    /// The line in the text, without its end. Both are the text's length for a segment that was added.
    pub(super) start: u32,
    pub(super) end: u32,
    pub(super) first: u32,
    pub(super) count: u32,
    /// Index of the line that replaces this one, or [`NO_EDIT`].
    pub(super) edit: u32,
}

pub(super) const NO_EDIT: u32 = u32::MAX;

/// What stands at a path: HL7 tells "nothing said" from "delete it".
#[derive(Clone, PartialEq, Eq)]
pub enum Content<'a> {
    /// Empty or not there: the receiver keeps what it has.
    Absent,
    /// `""`: the receiver deletes what it has.
    Null,
    /// The decoded text; never empty.
    Text(Cow<'a, str>),
}

impl<'a> Content<'a> {
    /// The text, if there is one.
    pub fn text(self) -> Option<Cow<'a, str>> {
        match self {
            Content::Text(text) => Some(text),
            Content::Absent | Content::Null => None,
        }
    }

    /// The text, or nothing for absent and null.
    pub fn text_or_empty(self) -> Cow<'a, str> {
        self.text().unwrap_or_default()
    }
}

impl fmt::Debug for Content<'_> {
    /// Tells the state and never the text, which is patient data.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Content::Absent => f.write_str("Absent"),
            Content::Null => f.write_str("Null"),
            Content::Text(text) => write!(f, "Text({} bytes)", text.len()),
        }
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("size_bytes", &self.text.len())
            .field("segments", &self.segments.len())
            .field("charset", &self.charset)
            .field("warnings", &self.warnings)
            .finish_non_exhaustive()
    }
}

impl Message {
    /// Reads one message: white space, then `MSH`, then anything.
    ///
    /// Input that may hold several messages or a batch goes through [`super::batch::split`] first.
    ///
    /// # Errors
    /// [`Error::NotHl7`], [`Error::BadDelimiters`] and [`Error::TooLong`]; everything else is a warning.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        Self::parse_with(bytes, Options::default())
    }

    /// Reads one message, with the character set that a channel imposes.
    ///
    /// # Errors
    /// As [`Message::parse`], and [`Error::NotInCharset`] where that is asked for.
    pub fn parse_with(bytes: &[u8], options: Options) -> Result<Self, Error> {
        parse::parse(bytes, options)
    }

    /// What MSH says.
    pub fn header(&self) -> Header<'_> {
        header::read(self)
    }

    /// MSH-1 and MSH-2 of this message.
    pub fn delimiters(&self) -> &Delimiters {
        &self.delimiters
    }

    /// The set that the message was read in and is written in.
    pub fn charset(&self) -> Charset {
        self.charset
    }

    /// Oddities that were read anyway, in the order found; at most 65.
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    /// The decoded first leaf below `path`; its first hit if there are several.
    ///
    /// `PID-5` is `PID-5[1].1.1`. A leaf of an element that is null as a whole is null too.
    /// The path of a whole segment gives the segment's name, if there is one.
    pub fn get(&self, path: &Path) -> Content<'_> {
        self.walk(path, |segment, repetition| {
            ControlFlow::Break(content(path, segment, repetition))
        })
        .unwrap_or(Content::Absent)
    }

    /// Every hit of `path` in message order: all repetitions that its conditions take, or that `[*]` names.
    pub fn get_all(&self, path: &Path) -> Vec<Content<'_>> {
        let mut hits = Vec::new();
        self.walk::<()>(path, |segment, repetition| {
            hits.push(content(path, segment, repetition));
            ControlFlow::Continue(())
        });
        hits
    }

    /// The undecoded text of the whole element at `path`; `None` if there is no such element.
    ///
    /// `PID-3` is the field with all its repetitions, `PID-3[1]` the first of them, `PID` the line.
    pub fn raw(&self, path: &Path) -> Option<&str> {
        if path.is_whole_field() {
            return self
                .named(path)
                .nth(path.occurrence().position())?
                .field(usize::from(path.field()?));
        }
        self.walk(path, |segment, repetition| {
            ControlFlow::Break(match repetition {
                Some(repetition) => repetition.element(path.component(), path.subcomponent()),
                None => path.field().is_none().then_some(segment.raw()),
            })
        })?
    }

    /// The bytes received for the element at `path`, or what would be written for it if it was set.
    pub fn raw_bytes(&self, path: &Path) -> Option<Cow<'_, [u8]>> {
        self.raw(path).map(|raw| self.bytes_of(raw))
    }

    /// How many segments (`OBX`), or repetitions (`PID-3`, `PID-3[.5='MR']`) there are.
    pub fn count(&self, path: &Path) -> usize {
        let Some(field) = path.field() else {
            return match path.occurrence() {
                Index::Unset | Index::Every => self.named(path).count(),
                Index::Nth(nth) => {
                    usize::from(self.named(path).nth(usize::from(nth) - 1).is_some())
                }
            };
        };
        if path.is_first_repetition() {
            return self
                .chosen(path)
                .map(|segment| segment.repetitions(usize::from(field)).count())
                .sum();
        }
        let mut count = 0;
        self.walk::<()>(path, |_, repetition| {
            count += usize::from(repetition.is_some());
            ControlFlow::Continue(())
        });
        count
    }

    /// Segment names in message order, in upper case.
    pub fn segment_names(&self) -> impl Iterator<Item = &str> {
        self.segments().map(|segment| segment.name())
    }

    /// Segments in message order.
    pub fn segments(&self) -> impl Iterator<Item = Segment<'_>> {
        self.segments.iter().map(|span| self.segment(span))
    }

    pub(super) fn segment<'a>(&'a self, span: &'a Span) -> Segment<'a> {
        match self.edits.get(span.edit as usize) {
            Some(edited) => Segment {
                message: self,
                name: &span.name,
                text: &edited.line,
                starts: &edited.starts,
                start: 0,
                end: edited.line.len(),
            },
            None => Segment {
                message: self,
                name: &span.name,
                text: &self.text,
                starts: &self.starts[span.first as usize..][..span.count as usize],
                start: span.start as usize,
                end: span.end as usize,
            },
        }
    }

    /// Segments of the path's name.
    fn named(&self, path: &Path) -> impl Iterator<Item = Segment<'_>> {
        let name = path.name();
        self.segments
            .iter()
            .filter(move |span| span.name == name)
            .map(|span| self.segment(span))
    }

    /// Segments that the path's occurrence names.
    fn chosen(&self, path: &Path) -> impl Iterator<Item = Segment<'_>> {
        let (skip, take) = path.occurrence().range();
        self.named(path).skip(skip).take(take)
    }

    /// Calls `visit` for every hit until it breaks: the segment, and the repetition if the path names a field.
    fn walk<'a, B>(
        &'a self,
        path: &Path,
        mut visit: impl FnMut(Segment<'a>, Option<Repetition<'a>>) -> ControlFlow<B>,
    ) -> Option<B> {
        for segment in self.chosen(path) {
            let Some(field) = path.field() else {
                if let ControlFlow::Break(found) = visit(segment, None) {
                    return Some(found);
                }
                continue;
            };
            let (skip, take) = path.repetition_range();
            let repetitions = segment
                .repetitions(usize::from(field))
                .filter(|repetition| {
                    path.conditions()
                        .iter()
                        .all(|condition| condition.holds(repetition))
                });
            for repetition in repetitions.skip(skip).take(take) {
                if let ControlFlow::Break(found) = visit(segment, Some(repetition)) {
                    return Some(found);
                }
            }
        }
        None
    }

    /// The bytes that were received for `part`, a slice of the text; for other text, what would be written for it.
    pub(super) fn bytes_of<'a>(&'a self, part: &'a str) -> Cow<'a, [u8]> {
        let offset = (part.as_ptr() as usize).wrapping_sub(self.text.as_ptr() as usize);
        let kept = offset
            .checked_add(part.len())
            .is_some_and(|end| end <= self.text.len());
        match &self.original {
            _ if part.is_ascii() && !self.charset.is_stateful() => Cow::Borrowed(part.as_bytes()),
            None if kept => Cow::Borrowed(part.as_bytes()),
            Some(original) if kept => {
                let mut locator = Locator::new(without_mark(original), self.charset);
                let start = locator.locate(offset);
                let end = locator.locate(offset + part.len());
                Cow::Borrowed(&without_mark(original)[start..end])
            }
            _ => {
                let mut out = Vec::new();
                self.charset.encode(part, &mut out);
                Cow::Owned(out)
            }
        }
    }
}

/// Received bytes after the byte order mark, which the text does not hold.
pub(super) fn without_mark(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes)
}

fn content<'a>(
    path: &Path,
    segment: Segment<'a>,
    repetition: Option<Repetition<'a>>,
) -> Content<'a> {
    match repetition {
        Some(repetition) => repetition.leaf(
            path.component().unwrap_or(1),
            path.subcomponent().unwrap_or(1),
        ),
        None => Content::Text(Cow::Borrowed(segment.name())),
    }
}

/// One segment of a message.
#[derive(Clone, Copy)]
pub struct Segment<'a> {
    message: &'a Message,
    name: &'a [u8; 3],
    text: &'a str,
    starts: &'a [u32],
    start: usize,
    end: usize,
}

impl<'a> Segment<'a> {
    /// The name in upper case.
    pub fn name(&self) -> &'a str {
        std::str::from_utf8(self.name).unwrap_or_default()
    }

    /// The line without its end.
    pub fn raw(&self) -> &'a str {
        &self.text[self.start..self.end]
    }

    /// The number of the last field that stands in the line, empty or not.
    pub fn field_count(&self) -> usize {
        self.starts.len()
    }

    /// The undecoded text of a field, counted from 1; MSH-1 is the field separator, MSH-2 the encoding characters.
    pub fn field(&self, number: usize) -> Option<&'a str> {
        let index = number.checked_sub(1)?;
        let start = *self.starts.get(index)? as usize;
        if number == 1 && parse::is_header(self.name) {
            return Some(&self.text[start..start + 1]);
        }
        let end = self
            .starts
            .get(number)
            .map_or(self.end, |&next| next as usize - 1);
        Some(&self.text[start..end])
    }

    /// The repetitions of a field; none if it is empty or not there.
    pub fn repetitions(&self, number: usize) -> impl Iterator<Item = Repetition<'a>> + use<'a> {
        let message = self.message;
        let literal = number <= 2 && parse::is_header(self.name);
        let separator = message.delimiters.repetition.filter(|_| !literal);
        let mut rest = self.field(number).filter(|raw| !raw.is_empty());
        std::iter::from_fn(move || {
            let raw = rest?;
            let end = separator.and_then(|separator| find(separator, raw));
            rest = end.map(|end| &raw[end + 1..]);
            Some(Repetition {
                message,
                raw: &raw[..end.unwrap_or(raw.len())],
                literal,
            })
        })
    }

    /// The decoded content of a component's first leaf in the first repetition of a field.
    pub fn get(&self, field: usize, component: u16) -> Content<'a> {
        self.repetitions(field)
            .next()
            .map_or(Content::Absent, |repetition| repetition.leaf(component, 1))
    }
}

/// One repetition of a field.
#[derive(Clone, Copy)]
pub struct Repetition<'a> {
    message: &'a Message,
    raw: &'a str,
    /// MSH-1 and MSH-2 are neither split nor decoded.
    literal: bool,
}

impl<'a> Repetition<'a> {
    /// The undecoded text.
    pub fn raw(&self) -> &'a str {
        self.raw
    }

    /// The undecoded text of a component or subcomponent, or of the whole repetition; `None` if there is none.
    pub fn element(&self, component: Option<u16>, subcomponent: Option<u16>) -> Option<&'a str> {
        if self.literal {
            return (component.unwrap_or(1) == 1 && subcomponent.unwrap_or(1) == 1)
                .then_some(self.raw);
        }
        let delimiters = &self.message.delimiters;
        let element = match component {
            None => return Some(self.raw),
            Some(number) => nth(self.raw, Some(delimiters.component), number)?,
        };
        match subcomponent {
            None => Some(element),
            Some(number) => nth(element, delimiters.subcomponent, number),
        }
    }

    /// The decoded content of one subcomponent; null if it or an element around it is `""`.
    pub fn leaf(&self, component: u16, subcomponent: u16) -> Content<'a> {
        const NULL: &str = "\"\"";
        if self.literal {
            return match self.element(Some(component), Some(subcomponent)) {
                Some(raw) => Content::Text(Cow::Borrowed(raw)),
                None => Content::Absent,
            };
        }
        let message = self.message;
        if self.raw == NULL {
            return Content::Null;
        }
        let Some(element) = nth(self.raw, Some(message.delimiters.component), component) else {
            return Content::Absent;
        };
        if element == NULL {
            return Content::Null;
        }
        let delimiters = &message.delimiters;
        // Most elements are one leaf of plain text: one look instead of two.
        let is_plain =
            |byte: u8| Some(byte) != delimiters.subcomponent && Some(byte) != delimiters.escape;
        if subcomponent == 1 && !element.is_empty() && element.bytes().all(is_plain) {
            return Content::Text(Cow::Borrowed(element));
        }
        match nth(element, delimiters.subcomponent, subcomponent) {
            None | Some("") => Content::Absent,
            Some(NULL) => Content::Null,
            Some(raw) => match escape::decode(raw, delimiters, message.charset) {
                text if text.is_empty() => Content::Absent,
                text => Content::Text(text),
            },
        }
    }
}

/// The `number`th part of `text`, counted from 1; without a separator the whole text is the first.
pub(super) fn nth(text: &str, separator: Option<u8>, number: u16) -> Option<&str> {
    let Some(separator) = separator else {
        return (number == 1).then_some(text);
    };
    let mut rest = text;
    for _ in 1..number {
        let at = find(separator, rest)?;
        rest = &rest[at + 1..];
    }
    let end = find(separator, rest).unwrap_or(rest.len());
    Some(&rest[..end])
}

/// Where `byte` first stands; most elements are too short for a vector search to pay.
#[inline]
pub(super) fn find(byte: u8, text: &str) -> Option<usize> {
    const SHORT: usize = 24;
    let bytes = text.as_bytes();
    let (head, tail) = bytes.split_at(bytes.len().min(SHORT));
    match head.iter().position(|&other| other == byte) {
        None if !tail.is_empty() => memchr::memchr(byte, tail).map(|at| SHORT + at),
        found => found,
    }
}
