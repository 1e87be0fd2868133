//! A message as a tree: what stands at every path, what the standard calls it, and what its codes mean.
//!
//! Made once by [`Node::segments`] and written as indented text or JSON. Every node carries a path that
//! `ligature message get` takes. Elements that are empty are left out; nothing else is.

use serde::{Serialize, Serializer};
use serde_json::{Value, json};

use crate::hl7::dictionary::{self, Element};
use crate::hl7::{Content, Header, Message, Repetition, Segment};

/// One element of a message.
#[derive(Serialize)]
struct Node {
    path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data_type: Option<&'static str>,
    /// Set where nothing lies below.
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<Leaf>,
    /// What the code means, where its table is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    meaning: Option<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    parts: Vec<Node>,
}

enum Leaf {
    Null,
    Text(String),
}

impl Serialize for Leaf {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Leaf::Null => serializer.serialize_none(),
            Leaf::Text(text) => serializer.serialize_str(text),
        }
    }
}

/// What is known of an element before it is looked at.
#[derive(Clone, Copy, Default)]
struct Known {
    name: Option<&'static str>,
    data_type: Option<&'static str>,
    table: Option<u16>,
}

impl Known {
    fn of(element: Option<Element>, version: &str) -> Self {
        element.map_or_else(Self::default, |element| Self {
            name: Some(element.name),
            data_type: Some(element.data_type_in(version)).filter(|id| !id.is_empty()),
            table: element.table,
        })
    }

    /// The component of a number. The first one of a coded element holds a code of the element's own table.
    fn part(self, number: u16, version: &str) -> Self {
        let element = self
            .data_type
            .and_then(|id| dictionary::component(id, number));
        let part = Self::of(element, version);
        Self {
            table: part.table.or(self.table.filter(|_| number == 1)),
            ..part
        }
    }
}

/// The message as indented text, its warnings last.
pub(super) fn text(message: &Message) -> String {
    let header = message.header();
    let mut out = message_type(&header);
    if let Some(event) = dictionary::event(&header.message_code, &header.trigger_event) {
        out.push_str(&format!(", {}", event.description));
    }
    for (what, value) in [
        ("version", &*header.version),
        ("control id", header.control_id),
    ] {
        if !value.is_empty() {
            out.push_str(&format!(", {what} {}", printable(value)));
        }
    }
    let segments = Node::segments(message);
    out.push_str(&format!(
        ", {}, {} segments\n",
        message.charset().name(),
        segments.len()
    ));
    for segment in &segments {
        segment.write(0, &mut out);
    }
    for warning in message.warnings() {
        out.push_str(&format!(
            "warning: {} at byte {}\n",
            warning.code, warning.offset
        ));
    }
    out
}

/// The message as JSON: facts of its header, `segments` with their `parts`, `warnings`.
pub(super) fn json(message: &Message) -> Value {
    let header = message.header();
    let event = dictionary::event(&header.message_code, &header.trigger_event);
    json!({
        "type": message_type(&header),
        "label": event.map(|event| event.label()),
        "structure": header.structure,
        "version": header.version,
        "control_id": header.control_id,
        "charset": message.charset().name(),
        "segments": Node::segments(message),
        "warnings": warnings(message),
    })
}

pub(super) fn warnings(message: &Message) -> Vec<Value> {
    let warnings = message.warnings().iter();
    warnings
        .map(|warning| json!({ "code": warning.code, "offset": warning.offset }))
        .collect()
}

/// `ADT^A04`, whatever the delimiters of the message are.
pub(super) fn message_type(header: &Header<'_>) -> String {
    let parts = [&*header.message_code, &*header.trigger_event];
    let parts = parts.into_iter().filter(|part| !part.is_empty());
    parts.collect::<Vec<_>>().join("^")
}

impl Node {
    fn segments(message: &Message) -> Vec<Self> {
        let version = message.header().version.into_owned();
        let names: Vec<&str> = message.segment_names().collect();
        let segments = message.segments().enumerate().map(|(index, segment)| {
            let name = segment.name();
            let count = |names: &[&str]| names.iter().filter(|other| **other == name).count();
            let path = match count(&names) {
                1 => name.to_owned(),
                _ => format!("{name}[{}]", count(&names[..=index])),
            };
            let fields = 1..=u16::try_from(segment.field_count()).unwrap_or(u16::MAX);
            Node {
                parts: fields
                    .filter_map(|number| Self::field(&path, &segment, number, &version))
                    .collect(),
                path,
                name: dictionary::segment(name),
                data_type: None,
                value: None,
                meaning: None,
            }
        });
        segments.collect()
    }

    fn field(
        segment_path: &str,
        segment: &Segment<'_>,
        number: u16,
        version: &str,
    ) -> Option<Self> {
        let mut known = Known::of(dictionary::field(segment.name(), number), version);
        if segment.name() == "OBX" && number == 5 {
            // OBX-2 says what OBX-5 is.
            let stated = segment.get(2, 1).text_or_empty();
            known.data_type = dictionary::data_type_id(stated.trim());
        }
        let path = format!("{segment_path}-{number}");
        let repetitions: Vec<_> = segment.repetitions(usize::from(number)).collect();
        match repetitions[..] {
            [] => None,
            [only] => Self::repetition(path, only, known, version),
            _ => Some(Node {
                parts: (repetitions.into_iter().enumerate())
                    .filter_map(|(index, repetition)| {
                        let path = format!("{path}[{}]", index + 1);
                        let unnamed = Known {
                            name: None,
                            ..known
                        };
                        Self::repetition(path, repetition, unnamed, version)
                    })
                    .collect(),
                path,
                name: known.name,
                data_type: known.data_type,
                value: None,
                meaning: None,
            }),
        }
    }

    fn repetition(
        path: String,
        repetition: Repetition<'_>,
        known: Known,
        version: &str,
    ) -> Option<Self> {
        let has = |component, subcomponent| {
            repetition
                .element(Some(component), Some(subcomponent))
                .is_some()
        };
        if !has(2, 1) && !has(1, 2) {
            return Self::leaf(
                path,
                repetition.leaf(1, 1),
                known.part_or_self(version),
                known,
            );
        }
        let components = (1..).take_while(|number| has(*number, 1));
        let parts = components.filter_map(|number| {
            let part = known.part(number, version);
            let path = format!("{path}.{number}");
            if !has(number, 2) {
                return Self::leaf(path, repetition.leaf(number, 1), part, part);
            }
            let subcomponents = (1..).take_while(|below| has(number, *below));
            let below = subcomponents.filter_map(|below| {
                let known = part.part(below, version);
                let path = format!("{path}.{below}");
                Self::leaf(path, repetition.leaf(number, below), known, known)
            });
            Self::inner(path.clone(), part, below.collect())
        });
        Self::inner(path.clone(), known, parts.collect())
    }

    fn inner(path: String, known: Known, parts: Vec<Node>) -> Option<Self> {
        (!parts.is_empty()).then_some(Node {
            path,
            name: known.name,
            data_type: known.data_type,
            value: None,
            meaning: None,
            parts,
        })
    }

    /// `code` tells the table of the leaf, `known` what the element is called.
    fn leaf(path: String, content: Content<'_>, code: Known, known: Known) -> Option<Self> {
        let value = match content {
            Content::Absent => return None,
            Content::Null => Leaf::Null,
            Content::Text(text) => Leaf::Text(text.into_owned()),
        };
        let meaning = match (&value, code.table) {
            (Leaf::Text(text), Some(table)) => dictionary::table_value(table, text),
            _ => None,
        };
        Some(Node {
            path,
            name: known.name,
            data_type: known.data_type,
            value: Some(value),
            meaning,
            parts: Vec::new(),
        })
    }

    fn write(&self, depth: usize, out: &mut String) {
        out.push_str(&"  ".repeat(depth));
        out.push_str(&self.path);
        if let Some(name) = self.name {
            out.push_str("  ");
            out.push_str(name);
        }
        if let (Some(data_type), None) = (self.data_type, &self.value) {
            out.push_str(&format!(" ({data_type})"));
        }
        match &self.value {
            None => {}
            Some(Leaf::Null) => out.push_str(": \"\""),
            Some(Leaf::Text(text)) => out.push_str(&format!(": {}", printable(text))),
        }
        if let Some(meaning) = self.meaning {
            out.push_str(&format!(" = {meaning}"));
        }
        out.push('\n');
        for part in &self.parts {
            part.write(depth + 1, out);
        }
    }
}

impl Known {
    /// What a value without separators is: the element itself, coded by its first component's table.
    fn part_or_self(self, version: &str) -> Self {
        Self {
            table: self.table.or(self.part(1, version).table),
            ..self
        }
    }
}

/// Text on one line of a terminal: control characters, which could also steer it, are written as escapes.
fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c.is_control() {
            true => out.extend(c.escape_default()),
            false => out.push(c),
        }
    }
    out
}
