//! A document in its one written form: keys in a fixed order, rows sorted, what is usual left out.

use super::{
    Activity, Condition, Document, FORMAT, Fact, Hits, Null, OnError, PhoneForm, Row, Rule, Source,
    Step, Subject, Test,
};
use crate::flow::Direction;

pub(super) fn write(document: &Document) -> String {
    let mut document = document.clone();
    document.sort();
    let mut out = Text::default();
    out.line("format", FORMAT.to_string());
    if document.direction == Direction::LeadSquaredToEhr {
        out.line("direction", quoted(document.direction.as_str()));
    }
    out.line("name", quoted(&document.name));
    out.line("version", quoted(&document.version));
    if !document.summary.is_empty() {
        out.line("summary", quoted(&document.summary));
    }
    if !document.events.is_empty() {
        let events = document
            .events
            .iter()
            .map(|event| quoted(&event.to_string()));
        out.line("events", list(events));
    }
    if !document.changes.is_empty() {
        let changes = document.changes.iter().map(|event| quoted(event.as_str()));
        out.line("events", list(changes));
    }
    for row in &document.lead {
        out.row("lead", row);
    }
    for activity in &document.activities {
        out.activity(activity);
    }
    for row in &document.places {
        out.row("place", row);
    }
    out.0
}

#[derive(Default)]
struct Text(String);

impl Text {
    fn line(&mut self, key: &str, value: String) {
        for part in [key, " = ", &value, "\n"] {
            self.0.push_str(part);
        }
    }

    fn heading(&mut self, name: &str) {
        for part in ["\n[[", name, "]]\n"] {
            self.0.push_str(part);
        }
    }

    fn row(&mut self, name: &str, row: &Row) {
        self.heading(name);
        self.line("target", quoted(&row.target));
        if !row.label.is_empty() {
            self.line("label", quoted(&row.label));
        }
        for (key, value) in rule(&row.rule) {
            self.line(key, value);
        }
    }

    fn activity(&mut self, activity: &Activity) {
        self.heading("activity");
        if let Some(kind) = &activity.kind {
            self.line("kind", quoted(kind));
        }
        if !activity.when.is_empty() {
            self.line("when", conditions(&activity.when));
        }
        let parts = [
            ("key", &activity.key),
            ("at", &activity.at),
            ("note", &activity.note),
        ];
        for (name, part) in parts {
            if let Some(part) = part {
                self.line(name, table(rule(part)));
            }
        }
        for field in &activity.fields {
            self.row("activity.field", field);
        }
    }
}

type Keys = Vec<(&'static str, String)>;

fn rule(rule: &Rule) -> Keys {
    let mut keys = source(&rule.source);
    if !rule.steps.is_empty() {
        keys.push(("steps", list(rule.steps.iter().map(step))));
    }
    if !rule.when.is_empty() {
        keys.push(("when", conditions(&rule.when)));
    }
    if rule.null == Null::Clear {
        keys.push(("null", quoted("clear")));
    }
    if rule.on_error == OnError::Refuse {
        keys.push(("on-error", quoted("refuse")));
    }
    if rule.required {
        keys.push(("required", "true".into()));
    }
    keys
}

fn source(source: &Source) -> Keys {
    match source {
        Source::Path { path, hits } => {
            let mut keys = vec![("path", quoted(&path.to_string()))];
            match hits {
                Hits::First => {}
                Hits::Last => keys.push(("hits", quoted("last"))),
                Hits::Refuse => keys.push(("hits", quoted("refuse"))),
                Hits::All { separator } => {
                    keys.push(("hits", quoted("all")));
                    keys.push(("separator", quoted(separator)));
                }
            }
            keys
        }
        Source::Fact(asked) => fact(asked),
        Source::Constant(text) => vec![("constant", quoted(text))],
        Source::First(parts) => vec![("first", list(parts.iter().map(part)))],
        Source::Concat { separator, parts } => {
            let mut keys = vec![("concat", list(parts.iter().map(part)))];
            if !separator.is_empty() {
                keys.push(("separator", quoted(separator)));
            }
            keys
        }
    }
}

fn fact(fact: &Fact) -> Keys {
    let name = quoted(fact.name());
    match fact {
        Fact::Field { before: false, .. } => vec![("field", name)],
        Fact::Field { before: true, .. } => vec![("field", name), ("before", "true".into())],
        Fact::Event | Fact::ReceivedAt => vec![("fact", name)],
    }
}

/// A source in a list: a path or a field that needs no more is written as a text.
fn part(part: &Source) -> String {
    match part {
        Source::Path {
            path,
            hits: Hits::First,
        } => quoted(&path.to_string()),
        Source::Fact(Fact::Field {
            field,
            before: false,
        }) => quoted(field),
        other => table(source(other)),
    }
}

fn step(step: &Step) -> String {
    match step {
        Step::Trim => quoted("trim"),
        Step::Upper => quoted("upper"),
        Step::Lower => quoted("lower"),
        Step::Title => quoted("title"),
        Step::Date { first_day: false } => quoted("date"),
        Step::Date { first_day: true } => table(vec![("date", quoted("first-day"))]),
        Step::DateTime => quoted("date-time"),
        Step::Phone(form) => table(vec![("phone", quoted(form_word(*form)))]),
        Step::Substring { start, length } => table(vec![
            ("substring", start.to_string()),
            ("length", length.to_string()),
        ]),
        Step::Replace { from, to } => table(vec![("replace", quoted(from)), ("with", quoted(to))]),
        Step::Map { entries, default } => {
            let entries = entries
                .iter()
                .map(|(code, text)| format!("{} = {}", key(code), quoted(text)));
            let mut keys = vec![("map", braces(entries))];
            if let Some(default) = default {
                keys.push(("default", quoted(default)));
            }
            table(keys)
        }
    }
}

pub(super) fn form_word(form: PhoneForm) -> &'static str {
    match form {
        PhoneForm::National => "national",
        PhoneForm::Digits => "digits",
        PhoneForm::International => "international",
        PhoneForm::CountryCode => "country-code",
        PhoneForm::AreaCode => "area-code",
        PhoneForm::Local => "local",
    }
}

fn conditions(conditions: &[Condition]) -> String {
    list(conditions.iter().map(|condition| {
        let mut keys = match &condition.subject {
            Subject::Path(path) => vec![("path", quoted(&path.to_string()))],
            Subject::Fact(asked) => fact(asked),
        };
        keys.push(match &condition.test {
            Test::Present => ("present", "true".into()),
            Test::Absent => ("absent", "true".into()),
            Test::Equals(text) => ("equals", quoted(text)),
            Test::In(texts) => ("in", list(texts.iter().map(|text| quoted(text)))),
            Test::Changed => ("changed", "true".into()),
        });
        table(keys)
    }))
}

/// A basic string on one line, whatever is in it; also a quoted key.
fn quoted(text: &str) -> String {
    let mut out = String::from('"');
    for letter in text.chars() {
        match letter {
            '"' | '\\' => out.extend(['\\', letter]),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            letter if letter.is_control() => {
                out.push_str(&format!("\\u{:04X}", u32::from(letter)));
            }
            letter => out.push(letter),
        }
    }
    out.push('"');
    out
}

fn key(text: &str) -> String {
    let bare = !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
    if bare { text.into() } else { quoted(text) }
}

fn list(items: impl Iterator<Item = String>) -> String {
    format!("[{}]", items.collect::<Vec<_>>().join(", "))
}

fn table(keys: Keys) -> String {
    braces(
        keys.into_iter()
            .map(|(key, value)| format!("{key} = {value}")),
    )
}

fn braces(items: impl Iterator<Item = String>) -> String {
    let items = items.collect::<Vec<_>>().join(", ");
    if items.is_empty() {
        "{}".into()
    } else {
        format!("{{ {items} }}")
    }
}
