//! A document in its one written form: keys in a fixed order, rows sorted, what is usual left out.

mod step;

use ligature_mapper::{End, Fact, Hits, OnError, Order, SettingKind, Silent, Test};

use super::parse::FACTS;
use super::{
    Activity, Ask, Condition, DEFAULT_LIMIT, Document, Ending, FORMAT, Repeat, Row, Rule, Setting,
    Source, activity_id,
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
    let events = document.events.iter().map(ToString::to_string);
    let changes = document.changes.iter().map(ToString::to_string);
    let events: Vec<_> = events.chain(changes).collect();
    if !events.is_empty() {
        out.line("events", list(events.iter().map(|event| quoted(event))));
    }
    for setting in &document.settings {
        out.setting(setting);
    }
    for ending in &document.endings {
        out.ending(ending);
    }
    for group in &document.groups {
        out.heading("group");
        out.line("name", quoted(&group.name));
        out.line("when", conditions(&group.when));
    }
    if let Some(retired) = &document.retired {
        out.0.push_str("\n[retired]\n");
        out.keys(rule(retired));
    }
    for row in &document.lead {
        out.row("lead", row, &document);
    }
    for (position, activity) in document.activities.iter().enumerate() {
        out.activity(position, activity, &document);
    }
    for row in &document.places {
        out.row("place", row, &document);
    }
    for repeat in &document.repeats {
        out.repeat(repeat, &document);
    }
    out.0
}

/// The source of a rule and its steps, without the quotes and braces that a lone value needs in a file.
pub(super) fn words(rule: &Rule) -> (String, Vec<String>) {
    let from = match source(&rule.source).as_slice() {
        [("path" | "field", place)] => bare(place),
        keys => {
            let keys = keys
                .iter()
                .map(|(key, value)| format!("{key} {}", bare(value)));
            keys.collect::<Vec<_>>().join(", ")
        }
    };
    let steps = rule.steps.iter().map(|step| bare(&step::step(step)));
    (from, steps.collect())
}

fn bare(text: &str) -> String {
    let inside = |start: &str, end: &str| text.strip_prefix(start)?.strip_suffix(end);
    let inside =
        inside("{ ", " }").or_else(|| inside("\"", "\"").filter(|text| !text.contains('"')));
    inside.unwrap_or(text).to_owned()
}

#[derive(Default)]
struct Text(String);

impl Text {
    fn line(&mut self, key: &str, value: String) {
        for part in [key, " = ", &value, "\n"] {
            self.0.push_str(part);
        }
    }

    fn keys(&mut self, keys: Keys) {
        for (key, value) in keys {
            self.line(key, value);
        }
    }

    fn heading(&mut self, name: &str) {
        for part in ["\n[[", name, "]]\n"] {
            self.0.push_str(part);
        }
    }

    fn setting(&mut self, setting: &Setting) {
        self.heading("setting");
        self.line("name", quoted(&setting.name));
        for (key, text) in [("label", &setting.label), ("help", &setting.help)] {
            if !text.is_empty() {
                self.line(key, quoted(text));
            }
        }
        match &setting.kind {
            SettingKind::Text => {}
            SettingKind::Number => self.line("kind", quoted("number")),
            SettingKind::Boolean => self.line("kind", quoted("boolean")),
            SettingKind::Choice(choices) => {
                self.line("kind", quoted("choice"));
                let choices = choices.iter().map(|choice| quoted(choice));
                self.line("choices", list(choices));
            }
        }
        if let Some(default) = &setting.default {
            self.line("default", quoted(default));
        }
        if setting.required {
            self.line("required", "true".into());
        }
    }

    fn ending(&mut self, ending: &Ending) {
        self.heading(match ending.how {
            End::Skip => "skip",
            End::Refuse | End::Wait => "refuse",
        });
        self.line("reason", quoted(&ending.reason));
        self.line("when", conditions(&ending.when));
        if ending.how == End::Wait {
            self.line("wait", "true".into());
        }
    }

    fn row(&mut self, name: &str, row: &Row, document: &Document) {
        self.heading(name);
        if row.id != row.target {
            self.line("id", quoted(&row.id));
        }
        self.line("target", quoted(&row.target));
        if !row.label.is_empty() {
            self.line("label", quoted(&row.label));
        }
        self.group(row.group, document);
        self.keys(rule(&row.rule));
    }

    fn group(&mut self, group: u16, document: &Document) {
        let position = usize::from(group).checked_sub(1);
        if let Some(group) = position.and_then(|at| document.groups.get(at)) {
            self.line("group", quoted(&group.name));
        }
    }

    fn activity(&mut self, position: usize, activity: &Activity, document: &Document) {
        self.heading("activity");
        if *activity.id != activity_id(position) {
            self.line("id", quoted(&activity.id));
        }
        if let Some(kind) = &activity.kind {
            self.line("kind", quoted(kind));
        }
        self.group(activity.group, document);
        if !activity.when.is_empty() {
            self.line("when", conditions(&activity.when));
        }
        if let Some(one) = &activity.each {
            self.keys(each(one));
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
            self.row("activity.field", field, document);
        }
    }

    fn repeat(&mut self, repeat: &Repeat, document: &Document) {
        self.heading("repeat");
        self.line("target", quoted(&repeat.target));
        self.group(repeat.group, document);
        self.line("items", table(rule(&repeat.items)));
        if repeat.first != 1 {
            self.line("from", repeat.first.to_string());
        }
        if repeat.limit != DEFAULT_LIMIT {
            self.line("limit", repeat.limit.to_string());
        }
        for place in &repeat.places {
            self.row("repeat.place", place, document);
        }
    }
}

type Keys = Vec<(&'static str, String)>;

fn rule(rule: &Rule) -> Keys {
    let mut keys = source(&rule.source);
    if !rule.steps.is_empty() {
        keys.push(("steps", steps(&rule.steps)));
    }
    if !rule.when.is_empty() {
        keys.push(("when", conditions(&rule.when)));
    }
    for (key, silent) in [("null", &rule.null), ("empty", &rule.empty)] {
        match silent {
            Silent::Keep => {}
            Silent::Clear => keys.push((key, quoted("clear"))),
            Silent::Default(text) => keys.push((key, default(text))),
        }
    }
    match &rule.on_error {
        OnError::LeaveOut => {}
        OnError::Default(text) => keys.push(("on-error", default(text))),
        OnError::Wait => keys.push(("on-error", quoted("wait"))),
        OnError::Refuse => keys.push(("on-error", quoted("refuse"))),
    }
    if rule.required {
        keys.push(("required", "true".into()));
    }
    keys
}

fn default(text: &str) -> String {
    table(vec![("default", quoted(text))])
}

fn each(each: &ligature_mapper::Each<'static, Ask>) -> Keys {
    let mut keys = vec![("for-each", quoted(&each.over.name()))];
    if !each.filter.is_empty() {
        keys.push(("filter", conditions(&each.filter)));
    }
    if each.limit != DEFAULT_LIMIT {
        keys.push(("limit", each.limit.to_string()));
    }
    keys
}

fn source(source: &Source) -> Keys {
    match source {
        Source::Ask(asked) => ask(asked),
        Source::Hits(asked, hits) => {
            let mut keys = ask(asked);
            match hits {
                Hits::Last => keys.push(("hits", quoted("last"))),
                Hits::Refuse => keys.push(("hits", quoted("refuse"))),
                Hits::List => keys.push(("hits", quoted("list"))),
                Hits::All(separator) => {
                    keys.push(("hits", quoted("all")));
                    keys.push(("separator", quoted(separator)));
                }
            }
            keys
        }
        Source::Raw(asked) => vec![("raw", quoted(&asked.name()))],
        Source::Count(asked) => vec![("count", quoted(&asked.name()))],
        Source::Fact(fact) => vec![("fact", quoted(word(*fact)))],
        Source::Setting(name) => vec![("setting", quoted(name))],
        Source::Constant(text) => vec![("constant", quoted(text))],
        Source::Template(parts) => vec![("template", quoted(&template(parts)))],
        Source::First(parts) => vec![("first", list(parts.iter().map(part)))],
        Source::Concat { separator, parts } => {
            let mut keys = vec![("concat", list(parts.iter().map(part)))];
            if !separator.is_empty() {
                keys.push(("separator", quoted(separator)));
            }
            keys
        }
        Source::Part(part) => {
            let mut keys = self::source(&part.source);
            if !part.steps.is_empty() {
                keys.push(("steps", steps(&part.steps)));
            }
            if !part.when.is_empty() {
                keys.push(("when", conditions(&part.when)));
            }
            keys
        }
        Source::Each(one) => {
            let mut keys = each(&one.each);
            keys.extend(self::source(&one.source));
            keys
        }
    }
}

fn ask(ask: &Ask) -> Keys {
    match ask {
        Ask::Path(path) => vec![("path", quoted(&path.to_string()))],
        Ask::Field { field, before } => {
            let mut keys = vec![("field", quoted(field))];
            if *before {
                keys.push(("before", "true".into()));
            }
            keys
        }
    }
}

fn word(fact: Fact) -> &'static str {
    let mut facts = FACTS.iter();
    let named = facts.find(|(_, known)| *known == fact);
    named.map_or("", |(word, _)| word)
}

/// A source in a list: a path or a field that needs no more is written as a text.
fn part(part: &Source) -> String {
    match part {
        Source::Ask(Ask::Path(path)) => quoted(&path.to_string()),
        Source::Ask(Ask::Field {
            field,
            before: false,
        }) => quoted(field),
        other => table(source(other)),
    }
}

fn template(parts: &[Source]) -> String {
    let mut out = String::new();
    for part in parts {
        let inside = match part {
            Source::Constant(text) => {
                out.push_str(&text.replace('{', "{{").replace('}', "}}"));
                continue;
            }
            Source::Ask(asked) => asked.name(),
            Source::Fact(fact) => format!("fact.{}", word(*fact)),
            Source::Setting(name) => format!("setting.{name}"),
            // Nothing else is read from a template.
            _ => continue,
        };
        out.push('{');
        out.push_str(&inside);
        out.push('}');
    }
    out
}

fn steps(steps: &[super::Step]) -> String {
    list(steps.iter().map(step::step))
}

pub(super) fn conditions(conditions: &[Condition]) -> String {
    list(conditions.iter().map(condition))
}

fn condition(condition: &Condition) -> String {
    table(match condition {
        Condition::All(inner) => vec![("all", conditions(inner))],
        Condition::Any(inner) => vec![("any", conditions(inner))],
        Condition::Not(inner) => vec![("not", self::condition(inner))],
        Condition::Changed(after, _) => {
            let mut keys = ask(after);
            keys.push(("changed", "true".into()));
            keys
        }
        Condition::Is { subject, test } => {
            let mut keys = source(subject);
            keys.extend(asked(test));
            keys
        }
    })
}

fn asked(test: &Test<'_>) -> Keys {
    let yes = || "true".to_owned();
    let cased = |mut keys: Keys, any_case: bool| {
        if any_case {
            keys.push(("any-case", yes()));
        }
        keys
    };
    match test {
        Test::Present => vec![("present", yes())],
        Test::Absent => vec![("absent", yes())],
        Test::Null => vec![("null", yes())],
        Test::Equals { text, any_case } => cased(vec![("equals", quoted(text))], *any_case),
        Test::In { texts, any_case } => {
            let texts = texts.iter().map(|text| quoted(text));
            cased(vec![("in", list(texts))], *any_case)
        }
        Test::Matches(pattern) => vec![("matches", quoted(pattern))],
        Test::Compare(order, with) => vec![(
            match order {
                Order::Below => "below",
                Order::AtMost => "at-most",
                Order::AtLeast => "at-least",
                Order::Above => "above",
            },
            quoted(with),
        )],
    }
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
