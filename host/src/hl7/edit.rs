//! Edits: a line that is set is kept whole beside the text; the rest of the message stays as it was received.

use std::borrow::Cow;

use super::charset::Locator;
use super::message::{Message, NO_EDIT, Span, nth, without_mark};
use super::parse::Continuation;
use super::path::{Index, Path};
use super::{Error, Warning, batch, escape, parse, warning};

/// What to put at a path.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Fill<'a> {
    /// Nothing between the delimiters.
    Empty,
    /// `""`: the receiver is to delete what it has.
    Null,
    /// Text, escaped on writing; an empty one empties.
    Text(&'a str),
}

/// A line that replaces one of the text, or is added to it.
#[derive(Clone)]
pub(super) struct Edited {
    pub(super) line: String,
    pub(super) starts: Vec<u32>,
    /// Parts that were never set, in order.
    kept: Vec<Kept>,
}

/// `length` bytes at `at` of the line are those at `from` of the text.
#[derive(Clone, Copy)]
struct Kept {
    at: usize,
    length: usize,
    from: usize,
}

impl Message {
    /// Sets the whole element at `path` and grows what is missing up to it: segments, fields, repetitions, components.
    ///
    /// `PID-5` is the field with all its repetitions, `PID-5.1` the first component of its first repetition.
    /// Trailing empty elements are taken off where the edit made them, and nowhere else.
    ///
    /// # Errors
    /// [`Error::NotSettable`] for a whole segment, MSH-1 and MSH-2, `[*]`, a condition that no repetition meets, and
    /// text that needs a delimiter which the message does not declare.
    pub fn set(&mut self, path: &Path, fill: Fill<'_>) -> Result<(), Error> {
        let refused = |reason| Error::NotSettable {
            path: path.clone(),
            reason,
        };
        let Some(field) = path.field() else {
            return Err(refused("name a field, for example PID-5"));
        };
        let name = path.name();
        let is_header = parse::is_header(&name);
        if is_header && field <= 2 {
            return Err(refused("the delimiters of a message are fixed"));
        }
        if path.occurrence() == Index::Every || path.repetition() == Index::Every {
            return Err(refused("[*] names several places; name one"));
        }
        let value = match fill {
            Fill::Empty => "".into(),
            Fill::Null => "\"\"".into(),
            Fill::Text(text) => escape::encode(text, &self.delimiters).ok_or_else(|| {
                refused("the text needs an escape sequence, and the message declares no escape character")
            })?,
        };
        let repetition = match path.is_conditional() {
            true => Some(
                self.met(path)
                    .ok_or_else(|| refused("no repetition meets the condition"))?,
            ),
            false => match path.repetition() {
                Index::Nth(number) => Some(number),
                _ => path.component().map(|_| 1),
            },
        };
        let delimiters = self.delimiters;
        let line_part = if is_header { field } else { field + 1 };
        let mut steps = vec![(Some(delimiters.field), line_part)];
        steps.extend(repetition.map(|number| (delimiters.repetition, number)));
        steps.extend(
            path.component()
                .map(|number| (Some(delimiters.component), number)),
        );
        steps.extend(
            path.subcomponent()
                .map(|number| (delimiters.subcomponent, number)),
        );

        let nth_segment = path.occurrence().position();
        let found = (self.segments.iter().enumerate())
            .filter(|(_, span)| span.name == name)
            .map(|(index, _)| index)
            .nth(nth_segment);
        let line = match found {
            Some(index) => self.segment(&self.segments[index]).raw(),
            None => path.segment(),
        };
        let new = rewrite(line, &steps, &value).ok_or_else(|| {
            refused("the message declares no delimiter for an element at that place")
        })?;
        if new == line {
            return Ok(());
        }
        let mut encoded = Vec::new();
        let known = self
            .warnings
            .iter()
            .any(|known| known.code == warning::CHARSET_UNMAPPABLE);
        if self.charset.encode(&value, &mut encoded) && !known {
            self.warnings.push(Warning {
                code: warning::CHARSET_UNMAPPABLE,
                offset: 0,
            });
        }
        let index = match found {
            Some(index) => index,
            None => self.grow(path, nth_segment),
        };
        self.replace(index, new);
        Ok(())
    }

    /// The number of the repetition that the path's conditions and index take.
    fn met(&self, path: &Path) -> Option<u16> {
        let segment = self
            .segments()
            .filter(|segment| segment.name() == path.segment())
            .nth(path.occurrence().position())?;
        let field = usize::from(path.field()?);
        segment
            .repetitions(field)
            .enumerate()
            .filter(|(_, repetition)| {
                path.conditions()
                    .iter()
                    .all(|condition| condition.holds(repetition))
            })
            .nth(path.repetition().position())
            .and_then(|(index, _)| u16::try_from(index + 1).ok())
    }

    /// Adds empty segments at the end until the one at `position` among those of its name is there; answers its index.
    fn grow(&mut self, path: &Path, position: usize) -> usize {
        let name = path.name();
        let have = self
            .segments
            .iter()
            .filter(|span| span.name == name)
            .count();
        let end = self.text.len() as u32;
        for _ in have..=position {
            self.segments.push(Span {
                name,
                start: end,
                end,
                first: 0,
                count: 0,
                edit: self.edits.len() as u32,
            });
            self.edits.push(Edited {
                line: path.segment().into(),
                starts: Vec::new(),
                kept: Vec::new(),
            });
        }
        self.segments.len() - 1
    }

    fn replace(&mut self, index: usize, new: String) {
        let span = self.segments[index];
        if span.edit == NO_EDIT {
            let line = self.segment(&span).raw().to_owned();
            let kept = Kept {
                at: 0,
                length: line.len(),
                from: span.start as usize,
            };
            self.segments[index].edit = self.edits.len() as u32;
            self.edits.push(Edited {
                line,
                starts: Vec::new(),
                kept: vec![kept],
            });
        }
        let edited = &mut self.edits[self.segments[index].edit as usize];
        edited.change(new, self.delimiters.field, parse::is_header(&span.name));
    }

    /// Replaces the segment that all of `lines` go on from by one line, parts joined with `\.br\`.
    pub(super) fn join(&mut self, lines: &[Continuation]) {
        let (Some(escape), [first, .., last] | [first @ last]) = (self.delimiters.escape, lines)
        else {
            return;
        };
        let span = self.segments[first.segment];
        let length = (span.end - span.start) as usize;
        let mut line = self.text[span.start as usize..][..length].to_owned();
        let mut kept = vec![Kept {
            at: 0,
            length,
            from: span.start as usize,
        }];
        let escape = char::from(escape);
        let line_break = format!("{escape}.br{escape}");
        for Continuation { range, breaks, .. } in lines {
            line.push_str(&line_break.repeat(*breaks));
            kept.push(Kept {
                at: line.len(),
                length: range.len(),
                from: range.start,
            });
            line.push_str(&self.text[range.clone()]);
        }
        let span = &mut self.segments[first.segment];
        span.end = last.range.end as u32;
        span.edit = self.edits.len() as u32;
        self.edits.push(Edited {
            starts: starts(&line, self.delimiters.field, parse::is_header(&span.name)),
            line,
            kept,
        });
    }

    /// The message as it is written: the bytes received where nothing was set. A copy, see [`Message::bytes`].
    pub fn to_bytes(&self) -> Vec<u8> {
        self.bytes().into_owned()
    }

    /// The message as it is written, without a copy where nothing was set at all: a document may have many megabytes.
    pub fn bytes(&self) -> Cow<'_, [u8]> {
        let source = self.original.as_deref().unwrap_or(self.text.as_bytes());
        if self.edits.is_empty() {
            return Cow::Borrowed(source);
        }
        let source_text = without_mark(source);
        let mut writer = Writer {
            message: self,
            locator: self
                .original
                .as_ref()
                .map(|_| Locator::new(source_text, self.charset)),
            source: source_text,
            out: source[..source.len() - source_text.len()].to_vec(),
        };
        if self.charset.is_stateful() {
            // Pieces cannot be cut out of bytes that switch between sets; all of it is encoded anew.
            let mut whole = String::with_capacity(self.text.len() + 64);
            self.pieces(|piece| whole.push_str(piece.text));
            self.charset.encode(&whole, &mut writer.out);
            return Cow::Owned(writer.out);
        }
        self.pieces(|piece| writer.write(piece));
        Cow::Owned(writer.out)
    }

    /// The message with CR as the end of every line and nothing else changed.
    pub fn normalize(&self) -> Vec<u8> {
        batch::normalize(&self.bytes())
    }

    /// Gives every piece of the message as written, in order.
    fn pieces(&self, mut give: impl FnMut(Piece<'_>)) {
        let mut at = 0;
        let mut ended = true;
        for span in self.segments.iter().filter(|span| span.edit != NO_EDIT) {
            let edited = &self.edits[span.edit as usize];
            let (start, end) = (span.start as usize, span.end as usize);
            let added = start == end;
            give(Piece {
                text: &self.text[at..start],
                from: Some(at),
            });
            if added {
                if at < start {
                    ended = self.text.ends_with(['\r', '\n']);
                }
                if !ended {
                    give(Piece {
                        text: "\r",
                        from: None,
                    });
                }
                ended = true;
            } else {
                // If this is the last line of the text, it may have no end.
                ended = end < self.text.len();
            }
            edited.pieces(&mut give);
            if added {
                give(Piece {
                    text: "\r",
                    from: None,
                });
            }
            at = end;
        }
        give(Piece {
            text: &self.text[at..],
            from: Some(at),
        });
    }
}

/// A part of the message as written; `from` is its offset in the text if it was never set.
struct Piece<'a> {
    text: &'a str,
    from: Option<usize>,
}

struct Writer<'a> {
    message: &'a Message,
    source: &'a [u8],
    /// Set where received bytes and text differ.
    locator: Option<Locator<'a>>,
    out: Vec<u8>,
}

impl Writer<'_> {
    fn write(&mut self, piece: Piece<'_>) {
        match (piece.from, &mut self.locator) {
            (Some(_), _) if piece.text.is_empty() => {}
            (Some(_), None) => self.out.extend_from_slice(piece.text.as_bytes()),
            (Some(from), Some(locator)) => {
                let start = locator.locate(from);
                let end = locator.locate(from + piece.text.len());
                self.out.extend_from_slice(&self.source[start..end]);
            }
            (None, _) => {
                self.message.charset.encode(piece.text, &mut self.out);
            }
        }
    }
}

impl Edited {
    fn change(&mut self, new: String, field: u8, is_header: bool) {
        let old = self.line.as_str();
        let same_start = common(old.chars().zip(new.chars()));
        let same_end = common(
            old[same_start..]
                .chars()
                .rev()
                .zip(new[same_start..].chars().rev()),
        );
        let gap = same_start..old.len() - same_end;
        let cut_in = new.len() - same_end;
        let mut kept = Vec::with_capacity(self.kept.len() + 1);
        for part in &self.kept {
            let end = part.at + part.length;
            if part.at < gap.start {
                kept.push(Kept {
                    length: end.min(gap.start) - part.at,
                    ..*part
                });
            }
            if end > gap.end {
                let skipped = gap.end.saturating_sub(part.at);
                kept.push(Kept {
                    at: cut_in + (part.at + skipped - gap.end),
                    length: part.length - skipped,
                    from: part.from + skipped,
                });
            }
        }
        self.kept = kept;
        self.starts = starts(&new, field, is_header);
        self.line = new;
    }

    fn pieces(&self, give: &mut impl FnMut(Piece<'_>)) {
        let mut at = 0;
        for part in &self.kept {
            if at < part.at {
                give(Piece {
                    text: &self.line[at..part.at],
                    from: None,
                });
            }
            at = part.at + part.length;
            give(Piece {
                text: &self.line[part.at..at],
                from: Some(part.from),
            });
        }
        if at < self.line.len() {
            give(Piece {
                text: &self.line[at..],
                from: None,
            });
        }
    }
}

/// Where the fields of a line start; the first field of a header is its separator.
fn starts(line: &str, field: u8, is_header: bool) -> Vec<u32> {
    let mut starts = Vec::new();
    for at in memchr::memchr_iter(field, line.as_bytes()) {
        if starts.is_empty() && is_header {
            starts.push(at as u32);
        }
        starts.push(at as u32 + 1);
    }
    starts
}

/// Bytes of the leading characters that are alike.
fn common(pairs: impl Iterator<Item = (char, char)>) -> usize {
    pairs
        .take_while(|(a, b)| a == b)
        .map(|(a, _)| a.len_utf8())
        .sum()
}

/// `text` with the part that `steps` lead to replaced; `None` if a step needs a delimiter that is not declared.
fn rewrite(text: &str, steps: &[(Option<u8>, u16)], value: &str) -> Option<String> {
    let [(separator, number), below @ ..] = steps else {
        return Some(value.into());
    };
    // What was null as a whole has parts now.
    let text = if text == "\"\"" { "" } else { text };
    let Some(separator) = *separator else {
        return if *number == 1 {
            rewrite(text, below, value)
        } else {
            None
        };
    };
    let part = nth(text, Some(separator), *number);
    let new = rewrite(part.unwrap_or_default(), below, value)?;
    let separator = char::from(separator);
    let Some(part) = part else {
        if new.is_empty() {
            return Some(text.into());
        }
        let have = text.matches(separator).count() + 1;
        let missing = usize::from(*number) - have;
        return Some([text, &separator.to_string().repeat(missing), &new].concat());
    };
    let start = part.as_ptr() as usize - text.as_ptr() as usize;
    let (before, after) = (&text[..start], &text[start + part.len()..]);
    if new.is_empty() && after.is_empty() && !part.is_empty() {
        return Some(before.trim_end_matches(separator).into());
    }
    Some([before, &new, after].concat())
}
