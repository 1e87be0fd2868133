//! Makes a message tell nothing about anybody, and keeps its shape: a sample to build a mapping on.
//!
//! Only what is known to be harmless stays: MSH, numbers of segments (type SI), and codes that the dictionary lists for
//! their place. Everything else, known or not, is replaced leaf by leaf: letters by letters, digits by digits, dates by
//! dates that lie as far apart as before. Delimiters, repetitions, lengths, punctuation and escape sequences stay, so that
//! every path leads where it led. The same text is replaced alike everywhere in one message, and otherwise in another.
//! Start with [`deidentify`].

#[cfg(test)]
mod tests;
mod text;

use super::message::{Message, find};
use super::place::Place;
use super::value::DateTime;
use super::{Segment, dictionary, parse};
use text::Replace;

/// Gives `message` with other values in the same shape, in the same character set.
pub fn deidentify(message: &Message) -> Vec<u8> {
    rewrite(message, Replace::seeded(message.text.as_bytes()))
}

/// Gives `message` with every letter and digit that may tell about somebody hidden, for people to look at its shape.
pub fn mask(message: &Message) -> Vec<u8> {
    rewrite(message, Replace::Masked)
}

fn rewrite(message: &Message, replace: Replace) -> Vec<u8> {
    // Edits lie over the text; a message that was read again has none.
    let again = (!message.edits.is_empty())
        .then(|| Message::parse(&message.to_bytes()).ok())
        .flatten();
    let rewrite = Rewrite {
        message: again.as_ref().unwrap_or(message),
        replace,
    };
    let text = rewrite.text();
    let mut bytes = Vec::with_capacity(text.len());
    rewrite.message.charset.encode(&text, &mut bytes);
    bytes
}

struct Rewrite<'a> {
    message: &'a Message,
    replace: Replace,
}

impl Rewrite<'_> {
    fn text(&self) -> String {
        let message = self.message;
        let version = message.header().version.into_owned();
        let mut out = String::with_capacity(message.text.len());
        let mut at = 0;
        for (index, span) in message.segments.iter().enumerate() {
            let (start, end) = (span.start as usize, span.end as usize);
            self.between(&message.text[at..start], &mut out);
            let segment = message.segment(span);
            if index == 0 {
                out.push_str(segment.raw());
            } else {
                self.segment(segment, &version, &mut out);
            }
            at = end;
        }
        self.between(&message.text[at..], &mut out);
        out
    }

    /// Line ends, and lines that are no segments: text that a raw line end broke off.
    fn between(&self, text: &str, out: &mut String) {
        for line in text.split_inclusive(['\r', '\n']) {
            self.leaf(line, Harm::Text, out);
        }
    }

    fn segment(&self, segment: Segment<'_>, version: &str, out: &mut String) {
        let separator = char::from(self.message.delimiters.field);
        let raw = segment.raw();
        let (name, _) = raw.split_at(raw.len().min(3));
        let is_header = parse::is_header(segment.name().as_bytes());
        let value_type = match segment.name() {
            "OBX" => segment.get(2, 1).text_or_empty().trim().to_owned(),
            _ => String::new(),
        };
        out.push_str(name);
        for number in 1..=segment.field_count() {
            let field = segment.field(number).unwrap_or_default();
            if is_header && number <= 2 {
                // The separator stands between the name and MSH-2.
                out.push_str(field);
                continue;
            }
            out.push(separator);
            let place = Place::field(segment.name(), number, version, &value_type);
            self.field(field, place, out);
        }
    }

    fn field(&self, field: &str, place: Place, out: &mut String) {
        let delimiters = &self.message.delimiters;
        each(field, delimiters.repetition, out, |repetition, _, out| {
            each(
                repetition,
                Some(delimiters.component),
                out,
                |component, number, out| {
                    let place = place.part(number);
                    each(
                        component,
                        delimiters.subcomponent,
                        out,
                        |leaf, number, out| {
                            self.leaf(leaf, harm(place.part(number), leaf), out);
                        },
                    );
                },
            );
        });
    }

    fn leaf(&self, leaf: &str, harm: Harm, out: &mut String) {
        if leaf == "\"\"" || matches!(harm, Harm::None) {
            out.push_str(leaf);
            return;
        }
        self.replace
            .leaf(leaf, harm, self.message.delimiters.escape, out);
    }
}

/// Calls `write` for every part of `text` with its number, and writes the separators between them.
fn each(
    text: &str,
    separator: Option<u8>,
    out: &mut String,
    mut write: impl FnMut(&str, u16, &mut String),
) {
    let mut rest = text;
    let mut number: u16 = 1;
    loop {
        let end = separator.and_then(|separator| find(separator, rest));
        write(&rest[..end.unwrap_or(rest.len())], number, out);
        let (Some(end), Some(separator)) = (end, separator) else {
            return;
        };
        out.push(char::from(separator));
        rest = &rest[end + 1..];
        number = number.saturating_add(1);
    }
}

/// How a leaf is to be treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Harm {
    /// It stays.
    None,
    /// DT, DTM and TS.
    Date,
    /// TM.
    Time,
    Text,
}

fn harm(place: Place, leaf: &str) -> Harm {
    let is_listed = |table| dictionary::table_value(table, leaf).is_some();
    match place.data_type {
        "SI" if leaf.len() <= 4 => Harm::None,
        "DT" | "DTM" | "TS" => Harm::Date,
        "TM" => Harm::Time,
        _ if place.table.is_some_and(is_listed) => Harm::None,
        // Nobody says what it is: what reads as a date of our times is one.
        _ if !place.is_known && is_likely_date(leaf) => Harm::Date,
        _ => Harm::Text,
    }
}

fn is_likely_date(leaf: &str) -> bool {
    matches!(leaf.len(), 8 | 12 | 14 | 19)
        && DateTime::parse(leaf).is_some_and(|date| (1880..2100).contains(&date.year))
}
