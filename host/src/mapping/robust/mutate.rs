//! Variations of a sample: what senders do, and what no sender should.
//!
//! Pure, and the same for the same sample. A field is varied only where the component may read it.

use std::collections::BTreeMap;

use serde_json::json;

use super::Sample;
use crate::flow::Entity;
use crate::flow::change::{Change, Field};
use crate::hl7::{Message, Path};

/// Segments that tell about people.
const PEOPLE: [&str; 5] = ["PID", "NK1", "GT1", "IN1", "IN2"];

/// Shorter values stand in other texts by chance.
const MIN_VALUE: usize = 4;

/// Stands in the place of one value; a text that repeats it has it from the message.
pub const MARK: &str = "Qz7Kx0Vw9";

/// Fields that are varied one by one.
const MAX_FIELDS: usize = 60;

/// Leaves of one field that are varied one by one.
const MAX_LEAVES: usize = 4;

/// The longest field: within the frame that a channel takes.
const LONG_BYTES: usize = 5 * 1024 * 1024;

/// Fields that are made as long as that.
const MAX_LONG: usize = 3;

/// The sample, varied in one way.
pub struct Variation {
    /// The way, without anything of the sample.
    pub what: String,
    pub sample: Sample,
}

/// A message in which every segment and field that is read holds something.
pub fn complete(sample: &str, reads: &[String]) -> Vec<u8> {
    let mut lines: Vec<String> = sample.lines().map(str::to_owned).collect();
    for path in paths(reads) {
        let name = path.segment();
        if !lines.iter().any(|line| line.starts_with(name)) {
            lines.push(format!("{name}|1|2|3|4|5|6|7|8"));
        }
        let Some(field) = path.field().map(usize::from) else {
            continue;
        };
        if let Some(line) = lines
            .iter_mut()
            .find(|line| line.starts_with(name) && name != "MSH")
        {
            let fields = line.split('|').count() - 1;
            line.extend((fields..field).map(|_| "|1"));
        }
    }
    lines
        .iter()
        .flat_map(|line| [line, "\r"])
        .collect::<String>()
        .into()
}

fn paths(reads: &[String]) -> impl Iterator<Item = Path> {
    reads.iter().filter_map(|read| read.parse().ok())
}

/// A message as fields; the header's line is in one piece.
#[derive(Clone)]
struct Lines {
    lines: Vec<Vec<String>>,
    separator: char,
    /// Component, repetition, escape and subcomponent, as far as they are there.
    encoding: Vec<char>,
}

impl Lines {
    fn of(message: &Message) -> Option<Self> {
        let raw: Vec<&str> = message.segments().map(|segment| segment.raw()).collect();
        let separator = raw.first()?.chars().nth(3)?;
        let header: Vec<&str> = raw.first()?.split(separator).collect();
        let encoding = header.get(1)?.chars().collect();
        let mut header: Vec<String> = header.into_iter().map(str::to_owned).collect();
        // What is written here is UTF-8, whatever the sample was.
        header.resize(header.len().max(18), String::new());
        header[17] = "UNICODE UTF-8".into();
        let separated = |line: &&str| line.split(separator).map(str::to_owned).collect();
        let mut lines = vec![vec![header.join(&separator.to_string())]];
        lines.extend(raw.iter().skip(1).map(separated));
        Some(Self {
            lines,
            separator,
            encoding,
        })
    }

    fn to_bytes(&self) -> Vec<u8> {
        let separator = self.separator.to_string();
        let lines = self.lines.iter();
        let lines = lines.map(|fields| fields.join(&separator) + "\r");
        lines.collect::<String>().into()
    }

    /// The places of the fields that `reads` may read: line, number, and what people call it.
    fn fields(&self, reads: &[Path]) -> Vec<(usize, usize, String)> {
        let mut fields = Vec::new();
        for (line, content) in self.lines.iter().enumerate().skip(1) {
            let name = content.first().map_or("", String::as_str);
            for number in 1..content.len() {
                let is_read = reads.iter().any(|path| {
                    let field = path.field().map(usize::from);
                    path.segment() == name && field.is_none_or(|field| field == number)
                });
                if is_read {
                    fields.push((
                        line,
                        number,
                        format!("{name}-{number} in line {}", line + 1),
                    ));
                }
            }
        }
        fields.truncate(MAX_FIELDS);
        fields
    }

    fn delimiter(&self, place: usize, usual: char) -> char {
        self.encoding.get(place).copied().unwrap_or(usual)
    }

    /// The byte ranges of the leaves of a field.
    fn leaves(&self, field: &str) -> Vec<(usize, usize)> {
        let ends = |c: char| self.encoding.contains(&c) && c != self.delimiter(2, '\\');
        let mut leaves = Vec::new();
        let mut start = 0;
        let edges = field.char_indices().filter(|(_, c)| ends(*c));
        for (at, width) in edges
            .map(|(at, c)| (at, c.len_utf8()))
            .chain([(field.len(), 0)])
        {
            if start < at {
                leaves.push((start, at));
            }
            start = at + width;
        }
        leaves.truncate(MAX_LEAVES);
        leaves
    }
}

/// Values of a sample that tell about somebody and that no text of a component can know; settings it does know.
pub fn values(
    sample: &Sample,
    reads: &[String],
    settings: &BTreeMap<String, String>,
) -> Vec<String> {
    let mut values = Vec::new();
    match sample {
        Sample::Message(bytes) => {
            let lines = Message::parse(bytes).ok();
            let Some(lines) = lines.as_ref().and_then(Lines::of) else {
                return values;
            };
            let reads: Vec<Path> = paths(reads).collect();
            for (line, number, _) in lines.fields(&reads) {
                let content = &lines.lines[line];
                if PEOPLE.contains(&content[0].as_str()) {
                    let own = &content[number];
                    let leaves = lines.leaves(own).into_iter();
                    values.extend(leaves.map(|(start, end)| own[start..end].to_owned()));
                }
            }
        }
        Sample::Change(change) => {
            let activity = change.activity.iter();
            let snapshots = [&change.lead].into_iter().chain(activity);
            let fields = snapshots.flat_map(|snapshot| snapshot.after.values());
            values.extend(fields.flatten().cloned());
        }
    }
    values.retain(|value| {
        value.len() >= MIN_VALUE && !settings.values().any(|setting| setting.contains(value))
    });
    values
}

/// Every variation of a message; the first is the message as it is.
pub fn messages(sample: &[u8], reads: &[String]) -> Vec<Variation> {
    let mut all = vec![Variation {
        what: "as it is".into(),
        sample: Sample::Message(sample.to_vec()),
    }];
    let lines = Message::parse(sample).ok();
    let Some(lines) = lines.as_ref().and_then(Lines::of) else {
        return all;
    };
    let reads: Vec<Path> = paths(reads).collect();
    whole(&lines, &mut all);
    segments(&lines, &mut all);
    fields(&lines, &reads, &mut all);
    all
}

fn push(all: &mut Vec<Variation>, what: String, bytes: Vec<u8>) {
    let sample = Sample::Message(bytes);
    all.push(Variation { what, sample });
}

/// Variations of the message as a whole.
fn whole(lines: &Lines, all: &mut Vec<Variation>) {
    let bytes = lines.to_bytes();
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let mut only = lines.clone();
    only.lines.truncate(1);
    push(all, "nothing but its header".into(), only.to_bytes());

    // Each delimiter and its stand-in change places, so that the message says the same.
    let odd = "!@$%*";
    let own: Vec<char> = [lines.separator]
        .into_iter()
        .chain(lines.encoding.iter().copied())
        .collect();
    let swapped = text.chars().map(|c| {
        let own_place = own.iter().position(|it| *it == c);
        let odd_place = odd.chars().position(|it| it == c);
        match (own_place, odd_place) {
            (Some(place), _) => odd.chars().nth(place).unwrap_or(c),
            (None, Some(place)) => own.get(place).copied().unwrap_or(c),
            (None, None) => c,
        }
    });
    push(
        all,
        "with other delimiters".into(),
        swapped.collect::<String>().into(),
    );

    for (declared, words) in [
        ("ASCII", "ASCII"),
        ("8859/1", "8859/1"),
        ("NONE/9", "unknown"),
    ] {
        let other = text.replacen("UNICODE UTF-8", declared, 1);
        // The first value of each field gets letters that the declared set does not have.
        let other = other.replace(lines.separator, &format!("{}é漢", lines.separator));
        let header = other.find('\r').unwrap_or(0);
        let kept = text.find('\r').unwrap_or(0);
        let header_of = text[..kept].replacen("UNICODE UTF-8", declared, 1);
        let mixed = header_of + &other[header..];
        push(all, format!("in UTF-8, declared as {words}"), mixed.into());
    }
    let mut broken = bytes.clone();
    let at = broken.len() - broken.len().min(20);
    broken.splice(at..at, [0xff, 0xfe, 0xc3, 0x28]);
    push(all, "with bytes that are no UTF-8".into(), broken);
    let header = text.find('\r').map_or(0, |end| end + 1);
    let control = text[header..].replace(
        lines.separator,
        &format!("{}\u{0}\u{1b}\u{7f}", lines.separator),
    );
    push(
        all,
        "with control characters in every field".into(),
        (text[..header].to_owned() + &control).into(),
    );
    push(
        all,
        "with line feeds".into(),
        text.replace('\r', "\r\n").into(),
    );
    push(
        all,
        "with empty lines".into(),
        text.replace('\r', "\r\r").into(),
    );
    let mut reversed = lines.clone();
    reversed.lines[1..].reverse();
    push(
        all,
        "with its segments in reverse".into(),
        reversed.to_bytes(),
    );
}

/// Segments missing and repeated.
fn segments(lines: &Lines, all: &mut Vec<Variation>) {
    for (at, content) in lines.lines.iter().enumerate().skip(1) {
        let name: String = content
            .first()
            .map_or("", String::as_str)
            .chars()
            .take(3)
            .collect();
        let shown = format!("{name} in line {}", at + 1);
        let mut without = lines.clone();
        without.lines.remove(at);
        push(all, format!("without {shown}"), without.to_bytes());
        let mut bare = lines.clone();
        bare.lines[at] = vec![name];
        push(all, format!("with nothing in {shown}"), bare.to_bytes());
        for times in [2, 200] {
            let mut more = lines.clone();
            let copies = vec![content.clone(); times - 1];
            more.lines.splice(at..at, copies);
            push(all, format!("with {shown} {times} times"), more.to_bytes());
        }
    }
}

/// What is in one field.
fn fields(lines: &Lines, reads: &[Path], all: &mut Vec<Variation>) {
    let places = lines.fields(reads);
    let escape = lines.delimiter(2, '\\');
    let repeat = lines.delimiter(1, '~');
    let component = lines.delimiter(0, '^');
    let escapes: String = [
        "F", "S", "T", "R", "E", "X41", "Xzz", "C2842", ".br", "H", "Z9",
    ]
    .iter()
    .map(|sequence| format!("{escape}{sequence}{escape}"))
    .collect();
    for (line, number, shown) in &places {
        let own = &lines.lines[*line][*number];
        let mut put = |what: String, value: String| {
            let mut other = lines.clone();
            other.lines[*line][*number] = value;
            push(all, what, other.to_bytes());
        };
        put(format!("with null in {shown}"), "\"\"".into());
        put(format!("with nothing in {shown}"), String::new());
        put(
            format!("with escape sequences in {shown}"),
            format!("{escapes}{own}{escape}"),
        );
        put(
            format!("with two repetitions in {shown}"),
            format!("{own}{repeat}{own}"),
        );
        for (leaf, (start, end)) in lines.leaves(own).into_iter().enumerate() {
            let what = format!("with nothing in {shown}, part {}", leaf + 1);
            put(what, format!("{}{}", &own[..start], &own[end..]));
            let what = format!("with another value in {shown}, part {}", leaf + 1);
            put(what, format!("{}{MARK}{}", &own[..start], &own[end..]));
        }
    }
    let step = places.len().div_ceil(MAX_LONG).max(1);
    for (line, number, shown) in places.iter().step_by(step) {
        let own = &lines.lines[*line][*number];
        let mut put = |what: &str, value: String| {
            let mut other = lines.clone();
            other.lines[*line][*number] = value;
            push(all, format!("with {what} in {shown}"), other.to_bytes());
        };
        put("5 MB", "x".repeat(LONG_BYTES));
        put(
            "1,000 repetitions",
            [own.as_str()].repeat(1_000).join(&repeat.to_string()),
        );
        put("1,000 components", component.to_string().repeat(1_000));
    }
}

/// A change in which every field that is read holds something.
pub fn change(event: &str, reads: &[String]) -> Change {
    let mut entities: BTreeMap<&str, serde_json::Map<String, serde_json::Value>> = BTreeMap::new();
    for field in reads.iter().filter_map(|read| Field::parse(read)) {
        let name = field.name;
        let value = match name {
            name if name.contains("Date") || name.contains("Birth") => "1984-02-19 08:30:00",
            name if name.contains("Phone") || name.contains("Mobile") => "+1-2075550134",
            name if name.contains("Email") => "odalys@example.org",
            _ => "Quillfeather",
        };
        let entity = match field.entity {
            Entity::Lead => "lead",
            Entity::Activity => "activity",
        };
        entities
            .entry(entity)
            .or_default()
            .insert(name.into(), json!(value));
    }
    let after = |entity: &str| entities.get(entity).cloned().unwrap_or_default();
    let mut whole = json!({ "event": event, "lead": { "after": after("lead") } });
    if event.contains("activity") || entities.contains_key("activity") {
        whole["activity"] = json!({ "after": after("activity") });
    }
    let known = serde_json::from_value(whole);
    known.unwrap_or_else(|_| Change {
        event: crate::flow::WebhookEvent::ALL[0],
        lead: Default::default(),
        activity: None,
    })
}

/// Every variation of a change; the first is the change as it is.
pub fn changes(change: &Change) -> Vec<Variation> {
    let mut all = vec![Variation {
        what: "as it is".into(),
        sample: Sample::Change(change.clone()),
    }];
    let Ok(whole) = serde_json::to_value(change) else {
        return all;
    };
    let mut push = |what: String, value: serde_json::Value| {
        if let Ok(change) = serde_json::from_value(value) {
            all.push(Variation {
                what,
                sample: Sample::Change(change),
            });
        }
    };
    for entity in ["lead", "activity"] {
        let Some(fields) = whole[entity]["after"].as_object() else {
            continue;
        };
        let mut bare = whole.clone();
        bare[entity]["after"] = json!({});
        push(format!("with nothing of the {entity}"), bare);
        for (at, name) in fields.keys().take(MAX_FIELDS).enumerate() {
            let shown = format!("{name} of the {entity}");
            let mut put = |what: &str, moment: &str, value: serde_json::Value| {
                let mut other = whole.clone();
                other[entity][moment][name] = value;
                push(format!("with {what} in {shown}"), other);
            };
            put("null", "after", json!(null));
            put("nothing", "after", json!(""));
            put("another value", "after", json!(MARK));
            put("no date", "after", json!("0000-00-00 25:61:61"));
            put(
                "control characters",
                "after",
                json!("\u{0}\u{1b}|^~\\&\r\n漢"),
            );
            put("another value before", "before", json!(MARK));
            if at < MAX_LONG {
                put("5 MB", "after", json!("x".repeat(LONG_BYTES)));
            }
        }
    }
    all
}

#[cfg(test)]
mod tests;
