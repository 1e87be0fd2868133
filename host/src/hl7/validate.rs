//! Compares a message with the standard: a sample that a flow is built on had better be one of its event.
//!
//! Nothing here refuses a message; senders use other versions and tables of their own. What is found names places and
//! offsets, never values. Start with [`validate`].

use super::message::{Message, find};
use super::place::Place;
use super::value::{self, DateTime};
use super::{Repetition, Segment, dictionary};

/// What is listed at most; a wrong character set or version could fill pages.
const MOST: usize = 64;

/// Something in which a message differs from what the standard says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// One of the constants in [`finding`], or a code of [`super::warning`].
    pub code: &'static str,
    /// Bytes from the start of the decoded text.
    pub offset: usize,
    /// Such as `PID-7` or `OBX[2]-3.1`; empty for what was found while parsing.
    pub place: String,
}

/// The codes of [`Finding`]; once released they do not change.
pub mod finding {
    /// The chosen event is not one of the standard.
    pub const EVENT_UNKNOWN: &str = "event-unknown";
    /// MSH-9.1 and MSH-9.2 name another event than the chosen one.
    pub const EVENT_DIFFERS: &str = "event-differs";
    /// MSH-9.3 is not the structure of the chosen event.
    pub const STRUCTURE_DIFFERS: &str = "structure-differs";
    /// No segment of the standard, and no Z-segment.
    pub const SEGMENT_UNKNOWN: &str = "segment-unknown";
    /// A field behind the last one that the standard has in its segment.
    pub const FIELD_UNKNOWN: &str = "field-unknown";
    /// Several repetitions where the standard has one.
    pub const REPEATED: &str = "repeated";
    /// No DT, DTM or TS where one belongs.
    pub const NOT_A_DATE: &str = "not-a-date";
    /// No NM or SI where one belongs.
    pub const NOT_A_NUMBER: &str = "not-a-number";
    /// A code that the HL7 table of an ID lacks.
    pub const CODE_UNLISTED: &str = "code-unlisted";
}

/// Lists what the parser found odd and in what `message` differs from the event `message_code^trigger_event`.
pub fn validate(message: &Message, message_code: &str, trigger_event: &str) -> Vec<Finding> {
    let parsed = message.warnings().iter().map(|warning| Finding {
        code: warning.code,
        offset: warning.offset,
        place: String::new(),
    });
    let mut checks = Checks {
        message,
        version: message.header().version.into_owned(),
        findings: parsed.collect(),
    };
    checks.event(message_code, trigger_event);
    checks.segments();
    let mut findings = checks.findings;
    findings.sort_by_key(|finding| finding.offset);
    findings.truncate(MOST);
    findings
}

struct Checks<'a> {
    message: &'a Message,
    version: String,
    findings: Vec<Finding>,
}

impl Checks<'_> {
    /// `part` is a slice of the message, so that its place in the text is known; an edited line counts as the start.
    fn add(&mut self, code: &'static str, part: &str, place: String) {
        let text = &self.message.text;
        let offset = (part.as_ptr() as usize).wrapping_sub(text.as_ptr() as usize);
        self.findings.push(Finding {
            code,
            offset: if offset <= text.len() { offset } else { 0 },
            place,
        });
    }

    fn event(&mut self, message_code: &str, trigger_event: &str) {
        let message = self.message;
        let Some(header) = message.segments().next() else {
            return;
        };
        let part = header.field(9).unwrap_or(header.raw());
        let said = message.header();
        if (&*said.message_code, &*said.trigger_event) != (message_code, trigger_event) {
            self.add(finding::EVENT_DIFFERS, part, "MSH-9".into());
        }
        match dictionary::event(message_code, trigger_event) {
            None => self.add(finding::EVENT_UNKNOWN, part, "MSH-9".into()),
            Some(event) if !said.structure.is_empty() && said.structure != event.structure => {
                self.add(finding::STRUCTURE_DIFFERS, part, "MSH-9.3".into());
            }
            Some(_) => {}
        }
    }

    fn segments(&mut self) {
        let message = self.message;
        let mut seen: Vec<(&str, usize)> = Vec::new();
        for segment in message.segments() {
            let name = segment.name();
            let number = match seen.iter_mut().find(|(known, _)| *known == name) {
                Some((_, count)) => {
                    *count += 1;
                    *count
                }
                None => {
                    seen.push((name, 1));
                    1
                }
            };
            let place = match number {
                1 => name.to_owned(),
                _ => format!("{name}[{number}]"),
            };
            if name.starts_with('Z') {
                continue;
            }
            if dictionary::segment(name).is_none() {
                self.add(finding::SEGMENT_UNKNOWN, segment.raw(), place);
                continue;
            }
            self.fields(segment, &place);
        }
    }

    fn fields(&mut self, segment: Segment<'_>, place: &str) {
        let value_type = match segment.name() {
            "OBX" => segment.get(2, 1).text_or_empty().trim().to_owned(),
            _ => String::new(),
        };
        // MSH-1 and MSH-2 are the delimiters, without which nothing could be read.
        let first = if segment.name() == "MSH" { 3 } else { 1 };
        for number in first..=segment.field_count() {
            let text = segment.field(number).unwrap_or_default();
            if text.is_empty() {
                continue;
            }
            let place = format!("{place}-{number}");
            let known = u16::try_from(number)
                .ok()
                .and_then(|number| dictionary::field(segment.name(), number));
            let Some(field) = known else {
                self.add(finding::FIELD_UNKNOWN, text, place);
                continue;
            };
            if !field.repeats && segment.repetitions(number).nth(1).is_some() {
                self.add(finding::REPEATED, text, place.clone());
            }
            let of_field = Place::field(segment.name(), number, &self.version, &value_type);
            for repetition in segment.repetitions(number) {
                self.leaves(repetition, of_field, &place);
            }
        }
    }

    fn leaves(&mut self, repetition: Repetition<'_>, of_field: Place, place: &str) {
        let delimiters = *self.message.delimiters();
        let components = parts(repetition.raw(), Some(delimiters.component));
        for (component, text) in (1..).zip(components) {
            let of_component = of_field.part(component);
            for (number, leaf) in (1..).zip(parts(text, delimiters.subcomponent)) {
                if let Some(code) = fault(of_component.part(number), leaf) {
                    self.add(code, leaf, format!("{place}.{component}"));
                }
            }
        }
    }
}

fn parts(text: &str, separator: Option<u8>) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let end = separator.and_then(|separator| find(separator, text));
        rest = end.map(|end| &text[end + 1..]);
        Some(&text[..end.unwrap_or(text.len())])
    })
}

/// What is wrong with `leaf` at its place.
fn fault(place: Place, leaf: &str) -> Option<&'static str> {
    if leaf.is_empty() || leaf == "\"\"" {
        return None;
    }
    let is_listed = |table| {
        dictionary::table_values(table).next().is_none()
            || dictionary::table_value(table, leaf).is_some()
    };
    match place.data_type {
        "DT" | "DTM" | "TS" if DateTime::parse(leaf).is_none() => Some(finding::NOT_A_DATE),
        "NM" if !value::is_number(leaf) => Some(finding::NOT_A_NUMBER),
        "SI" if value::sequence(leaf).is_none() => Some(finding::NOT_A_NUMBER),
        // Tables of an IS are the hospital's own.
        "ID" if place.table.is_some_and(|table| !is_listed(table)) => Some(finding::CODE_UNLISTED),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Findings as `code place@offset`, for an ADT^A04.
    fn check(segments: &str, expected: &[&str]) {
        let text = format!(
            "MSH|^~\\&|A|B|C|D|20260301||ADT^A04^ADT_A01|1|P|2.5.1\rEVN||20260301\r{segments}"
        );
        let message = Message::parse(text.as_bytes()).unwrap();
        let start = text.len() - segments.len();
        let found: Vec<String> = validate(&message, "ADT", "A04")
            .into_iter()
            .map(|found| {
                format!(
                    "{} {}@{}",
                    found.code,
                    found.place,
                    found.offset as i64 - start as i64
                )
            })
            .collect();
        assert_eq!(found, expected, "{segments}");
    }

    #[test]
    fn a_proper_message_has_no_findings() {
        check(
            "PID|1||77^^^A&1.2&ISO^MR||Roe^Ann^^^^^L||19800102|F\rPV1|1|O|3W^1^A\rZPI|1|x|2026-13\r",
            &[],
        );
    }

    #[test]
    fn what_differs_is_found_where_it_stands() {
        check("PID|1||77||Roe||1980-01-02|F\r", &["not-a-date PID-7.1@16"]);
        check("PID|A||77\r", &["not-a-number PID-1.1@4"]);
        check("PID|1||77||Roe||1980|F~M\r", &["repeated PID-8@21"]);
        check("XYZ|1\rPID|1||77\r", &["segment-unknown XYZ@0"]);
        check(
            &format!("EVN{}x\r", "|".repeat(40)),
            &["field-unknown EVN[2]-40@43"],
        );
        check("OBX|1|NM|1||tall\r", &["not-a-number OBX-5.1@12"]);
        check(
            "OBX|1|ST|1||tall\rOBX|2|DT|1||soon\r",
            &["not-a-date OBX[2]-5.1@29"],
        );
        check("PID|1||77||Roe^^^^^^QQQQ\r", &["code-unlisted PID-5.7@20"]);
        check("PID|1||77||Roe||\"\"|\"\"\r", &[]);
        check("PID|1||77\nPV1|1\r", &["line-end @9"]);
    }

    #[test]
    fn the_event_is_compared() {
        let text = "MSH|^~\\&|A|B|C|D|20260301||ADT^A08^ADT_A01|1|P|2.5.1\r";
        let message = Message::parse(text.as_bytes()).unwrap();
        let codes = |code, event| {
            let found = validate(&message, code, event).into_iter();
            found
                .map(|found| (found.code, found.offset))
                .collect::<Vec<_>>()
        };
        assert_eq!(codes("ADT", "A08"), []);
        assert_eq!(codes("ADT", "A04"), [(finding::EVENT_DIFFERS, 27)]);
        assert_eq!(
            codes("SIU", "S12"),
            [
                (finding::EVENT_DIFFERS, 27),
                (finding::STRUCTURE_DIFFERS, 27)
            ]
        );
        assert_eq!(
            codes("ADT", "Z99"),
            [(finding::EVENT_DIFFERS, 27), (finding::EVENT_UNKNOWN, 27)]
        );
    }
}
