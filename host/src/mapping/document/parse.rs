//! TOML text to a document, with every fault in it named by line, row and key.

mod keys;

use std::cell::{Cell, RefCell};
use std::fmt;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::text::form_word;
use super::{
    Activity, Condition, Document, FORMAT, Fact, Hits, Kind, Null, OnError, PhoneForm, Row, Rule,
    Source, Step, Subject, Test,
};
use crate::flow::change::Field;
use crate::flow::{Direction, Event, WebhookEvent};
use crate::hl7::Path;
use crate::hl7::fill::{Position, check_place};
use crate::mapping::gate::webhook_events;

use keys::{Faults, Keys, not_a_field};

/// Largest text taken.
const MAX_TEXT_BYTES: usize = 1024 * 1024;

/// Sources inside sources.
const MAX_DEPTH: usize = 4;

/// Something that is wrong with a document's text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// From 1.
    pub line: usize,
    /// Which row, for example `lead row "mx_MRN"`; empty for the document itself.
    pub row: String,
    /// Which key of the row; empty for the row itself.
    pub key: String,
    pub text: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: ", self.line)?;
        if !self.row.is_empty() {
            write!(f, "{}: ", self.row)?;
        }
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.text)
    }
}

pub(super) fn document(text: &str) -> Result<Document, Vec<Fault>> {
    let faults = Faults {
        text,
        direction: Cell::new(Direction::EhrToLeadSquared),
        found: RefCell::default(),
    };
    if text.len() > MAX_TEXT_BYTES {
        faults.add(
            0,
            "",
            "",
            format!("the text is larger than {MAX_TEXT_BYTES} bytes"),
        );
        return Err(faults.found.into_inner());
    }
    let document = match DeTable::parse(text) {
        Ok(table) => read(&faults, &table),
        Err(error) => {
            let at = error.span().map_or(0, |span| span.start);
            faults.add(at, "", "", error.message().into());
            None
        }
    };
    let mut found = faults.found.into_inner();
    found.sort_by_key(|fault| fault.line);
    match document {
        Some(mut document) if found.is_empty() => {
            document.sort();
            Ok(document)
        }
        _ => Err(found),
    }
}

fn read(faults: &Faults<'_>, table: &Spanned<DeTable<'_>>) -> Option<Document> {
    let mut keys = Keys::new(faults, table.get_ref(), 0, "");
    match keys.integer("format") {
        Some(FORMAT) => {}
        Some(_) => keys.fault("format", format!("this release reads format {FORMAT}")),
        None => keys.missing("format"),
    }
    const DIRECTIONS: [Direction; 2] = [Direction::EhrToLeadSquared, Direction::LeadSquaredToEhr];
    let words = DIRECTIONS.map(Direction::as_str);
    if keys.has("direction")
        && let Some(word) = keys.choice("direction", &words)
    {
        let named = DIRECTIONS.into_iter().find(|one| one.as_str() == word);
        faults.direction.set(named.unwrap_or(DIRECTIONS[0]));
    }
    let name = keys.text("name");
    if name.is_none() {
        keys.missing("name");
    }
    let mut document = Document {
        direction: faults.direction.get(),
        name: name.unwrap_or_default(),
        version: keys.text("version").unwrap_or_else(|| "1".into()),
        summary: keys.text("summary").unwrap_or_default(),
        events: Vec::new(),
        changes: Vec::new(),
        lead: Vec::new(),
        activities: Vec::new(),
        places: Vec::new(),
    };
    for event in keys.texts("events") {
        let event = event.as_str();
        if faults.is_outbound() {
            match WebhookEvent::parse(event) {
                Some(event) => document.changes.push(event),
                None => {
                    let known = webhook_events();
                    keys.fault("events", format!("{event:?} is none of {known}"));
                }
            }
        } else {
            match event.parse::<Event>() {
                Ok(event) => document.events.push(event),
                Err(error) => keys.fault("events", error.to_string()),
            }
        }
    }
    if faults.is_outbound() {
        document.places = rows(&mut keys, "place", "place");
    } else {
        document.lead = rows(&mut keys, "lead", "lead row");
        for (at, table) in keys.tables("activity") {
            let position = document.activities.len() + 1;
            let activity = activity(faults, position, at, table);
            document.activities.push(activity);
        }
    }
    let rows = document.lead.len() + document.activities.len() + document.places.len();
    if rows == 0 && faults.none() {
        faults.add(0, "", "", "the document has no row".into());
    }
    keys.end();
    Some(document)
}

/// All rows of a list; two for one target would be two assignments.
fn rows(keys: &mut Keys<'_, '_>, name: &str, what: &str) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    let mut positions: Vec<(String, Position)> = Vec::new();
    let faults = keys.faults;
    for (position, (at, table)) in keys.tables(name).into_iter().enumerate() {
        let target = table.get("target");
        let place = match target.and_then(|target| target.get_ref().as_str()) {
            Some(target) => format!("{what} {target:?}"),
            None => format!("{what} {}", position + 1),
        };
        let Some(mut row) = row(faults, &place, at, table) else {
            continue;
        };
        if rows.iter().any(|before| before.target == row.target) {
            let text = "the target has a row already";
            faults.add(at, &place, "target", text.into());
        } else if name == "place" {
            match element(&row.target) {
                Ok((path, position)) => {
                    let overlaps = |(_, other): &&(String, Position)| other.overlaps(&position);
                    if let Some((other, _)) = positions.iter().find(overlaps) {
                        let text =
                            format!("is {other}, or one of them lies in the other: fill one");
                        faults.add(at, &place, "target", text);
                    }
                    row.target = path.to_string();
                    positions.push((row.target.clone(), position));
                }
                Err(text) => faults.add(at, &place, "target", text),
            }
        }
        rows.push(row);
    }
    rows
}

/// The element that a target of an outbound document names.
fn element(target: &str) -> Result<(Path, Position), String> {
    let path: Path = target
        .parse()
        .map_err(|error| format!("{target:?}: {error}"))?;
    match (Position::of(&path), check_place(&path)) {
        (Some(position), Ok(())) => Ok((path, position)),
        (_, Err(reason)) => Err(format!("{target} cannot be filled: {reason}")),
        (None, Ok(())) => Err(format!("{target} cannot be filled")),
    }
}

fn row(faults: &Faults<'_>, place: &str, at: usize, table: &DeTable<'_>) -> Option<Row> {
    let mut keys = Keys::new(faults, table, at, place);
    let target = keys.text("target");
    if target.is_none() {
        keys.missing("target");
    }
    let label = keys.text("label").unwrap_or_default();
    let rule = rule(&mut keys, None);
    keys.end();
    Some(Row {
        target: target?,
        label,
        rule: rule?,
    })
}

fn activity(faults: &Faults<'_>, position: usize, at: usize, table: &DeTable<'_>) -> Activity {
    let place = format!("activity {position}");
    let mut keys = Keys::new(faults, table, at, &place);
    let mut part = |name: &'static str, kind: Kind| {
        let (at, table) = keys.table(name)?;
        let mut keys = Keys::new(faults, table, at, &format!("{place} {name}"));
        let rule = rule(&mut keys, Some(kind));
        keys.end();
        rule
    };
    let (key, note, starts) = (
        part("key", Kind::Text),
        part("note", Kind::Text),
        part("at", Kind::DateTime),
    );
    let fields = rows(&mut keys, "field", &format!("{place} field"));
    let activity = Activity {
        kind: keys.text("kind"),
        when: conditions(&mut keys),
        key,
        note,
        at: starts,
        fields,
    };
    keys.end();
    activity
}

/// The keys that every row has; `kind` is what the value must be, any if none.
fn rule(keys: &mut Keys<'_, '_>, kind: Option<Kind>) -> Option<Rule> {
    let source = source(keys, 1);
    let rule = Rule {
        steps: steps(keys),
        when: conditions(keys),
        null: match keys.choice("null", &["keep", "clear"]) {
            Some("clear") => Null::Clear,
            _ => Null::Keep,
        },
        on_error: match keys.choice("on-error", &["leave-out", "refuse"]) {
            Some("refuse") => OnError::Refuse,
            _ => OnError::LeaveOut,
        },
        required: keys.boolean("required").unwrap_or_default(),
        source: source?,
    };
    let gives = rule.kind();
    if let Some(kind) = kind
        && gives != kind
    {
        let text = format!("the steps end in {gives}, but {kind} is needed here");
        keys.fault("steps", text);
    }
    Some(rule)
}

/// Exactly one of the sources of the document's direction.
fn source(keys: &mut Keys<'_, '_>, depth: usize) -> Option<Source> {
    const INBOUND: &[&str] = &["path", "constant", "first", "concat"];
    const OUTBOUND: &[&str] = &["field", "fact", "constant", "first", "concat"];
    let known = match keys.faults.is_outbound() {
        true => OUTBOUND,
        false => INBOUND,
    };
    let given: Vec<_> = known
        .iter()
        .copied()
        .filter(|name| keys.has(name))
        .collect();
    let [name] = given[..] else {
        let text = match (given.is_empty(), known.split_last()) {
            (true, Some((last, others))) => {
                format!("one of {} and {last} is needed", others.join(", "))
            }
            _ => format!("{} exclude each other", given.join(" and ")),
        };
        keys.fault("", text);
        known.iter().for_each(|name| keys.skip(name));
        ["hits", "separator", "before"]
            .iter()
            .for_each(|name| keys.skip(name));
        return None;
    };
    match name {
        "path" => {
            let path = keys.path("path");
            let hits = match keys.choice("hits", &["first", "last", "all", "refuse"]) {
                Some("last") => Hits::Last,
                Some("refuse") => Hits::Refuse,
                Some("all") => Hits::All {
                    separator: keys.any_text("separator").unwrap_or_else(|| ", ".into()),
                },
                _ => Hits::First,
            };
            Some(Source::Path { path: path?, hits })
        }
        "field" | "fact" => fact(keys).map(Source::Fact),
        "constant" => keys.text("constant").map(Source::Constant),
        "first" => parts(keys, "first", depth).map(Source::First),
        _ => {
            let parts = parts(keys, "concat", depth);
            Some(Source::Concat {
                separator: keys.any_text("separator").unwrap_or_default(),
                parts: parts?,
            })
        }
    }
}

/// What is asked of a change: a field, before or after, or a fact of the run.
fn fact(keys: &mut Keys<'_, '_>) -> Option<Fact> {
    if keys.has("fact") {
        return match keys.choice("fact", &["event", "received-at"])? {
            "event" => Some(Fact::Event),
            _ => Some(Fact::ReceivedAt),
        };
    }
    let before = keys.boolean("before").unwrap_or_default();
    let field = keys.field("field")?;
    Some(Fact::Field { field, before })
}

/// Sources in a list: a text is a path or a field, a table is any source.
fn parts(keys: &mut Keys<'_, '_>, name: &'static str, depth: usize) -> Option<Vec<Source>> {
    let (faults, row) = (keys.faults, keys.row.clone());
    let items = keys.list(name)?;
    if items.is_empty() || depth == MAX_DEPTH {
        keys.fault(name, "the list is empty or too deep".into());
        return None;
    }
    let mut sources = Vec::new();
    for (at, item) in items {
        match item {
            DeValue::String(text) if faults.is_outbound() => match Field::parse(text) {
                Some(field) => sources.push(Source::Fact(Fact::Field {
                    field: field.to_string(),
                    before: false,
                })),
                None => faults.add(at, &row, name, not_a_field(text)),
            },
            DeValue::String(text) => match text.parse::<Path>() {
                Ok(path) => sources.push(Source::Path {
                    path,
                    hits: Hits::First,
                }),
                Err(error) => faults.add(at, &row, name, format!("{text:?}: {error}")),
            },
            DeValue::Table(table) => {
                let mut keys = Keys::new(faults, table, at, &row);
                sources.extend(source(&mut keys, depth + 1));
                keys.end();
            }
            other => {
                let text = format!("expected a path or a table, found {}", other.type_str());
                faults.add(at, &row, name, text);
            }
        }
    }
    Some(sources)
}

fn steps(keys: &mut Keys<'_, '_>) -> Vec<Step> {
    let (faults, row) = (keys.faults, keys.row.clone());
    let mut steps: Vec<Step> = Vec::new();
    for (position, (at, item)) in keys.list("steps").into_iter().flatten().enumerate() {
        let key = format!("step {}", position + 1);
        if let Some(before) = steps.last()
            && before.gives() != Kind::Text
        {
            let text = format!(
                "the step before gives {}, no step takes that",
                before.gives()
            );
            faults.add(at, &row, &key, text);
        }
        let step = match item {
            DeValue::String(name) => word_step(name),
            DeValue::Table(table) => {
                let mut keys = Keys::new(faults, table, at, &format!("{row} {key}"));
                let step = table_step(&mut keys);
                keys.end();
                match step {
                    Some(step) => Some(step),
                    // What is wrong has been said.
                    None => continue,
                }
            }
            _ => None,
        };
        match step {
            Some(Step::Phone(_)) if !faults.is_outbound() => {
                let text = "a phone number is written as its field has it, without a step";
                faults.add(at, &row, &key, text.into());
            }
            Some(Step::Date { first_day: true }) if faults.is_outbound() => {
                let text = "LeadSquared's dates are whole: write \"date\"";
                faults.add(at, &row, &key, text.into());
            }
            Some(step) => steps.push(step),
            None => faults.add(at, &row, &key, KNOWN_STEPS.into()),
        }
    }
    steps
}

const KNOWN_STEPS: &str = "not a step; there are \"trim\", \"upper\", \"lower\", \"title\", \"date\", \"date-time\", \
     { date = \"first-day\" }, { phone = \"national\" }, { substring = 1, length = 10 }, \
     { replace = \"a\", with = \"b\" } and { map = { A = \"B\" }, default = \"C\" }";

fn word_step(name: &str) -> Option<Step> {
    Some(match name {
        "trim" => Step::Trim,
        "upper" => Step::Upper,
        "lower" => Step::Lower,
        "title" => Step::Title,
        "date" => Step::Date { first_day: false },
        "date-time" => Step::DateTime,
        _ => return None,
    })
}

fn table_step(keys: &mut Keys<'_, '_>) -> Option<Step> {
    if keys.has("substring") {
        let start = keys.count("substring");
        let length = keys.count("length");
        if !keys.has("length") {
            keys.missing("length");
        }
        Some(Step::Substring {
            start: start?,
            length: length?,
        })
    } else if keys.has("replace") {
        let from = keys.text("replace");
        let to = keys.any_text("with").unwrap_or_default();
        Some(Step::Replace { from: from?, to })
    } else if keys.has("map") {
        let default = keys.any_text("default");
        let (at, table) = keys.table("map")?;
        let mut codes = Keys::new(keys.faults, table, at, &keys.row);
        let entries = codes.all_texts();
        Some(Step::Map { entries, default })
    } else if keys.has("date") {
        keys.choice("date", &["first-day"])?;
        Some(Step::Date { first_day: true })
    } else if keys.has("phone") {
        const FORMS: [PhoneForm; 6] = [
            PhoneForm::National,
            PhoneForm::Digits,
            PhoneForm::International,
            PhoneForm::CountryCode,
            PhoneForm::AreaCode,
            PhoneForm::Local,
        ];
        let word = keys.choice("phone", &FORMS.map(form_word))?;
        let mut forms = FORMS.into_iter();
        forms.find(|form| form_word(*form) == word).map(Step::Phone)
    } else {
        keys.fault("", KNOWN_STEPS.into());
        keys.skip_all();
        None
    }
}

fn conditions(keys: &mut Keys<'_, '_>) -> Vec<Condition> {
    let mut conditions = Vec::new();
    let (faults, row) = (keys.faults, keys.row.clone());
    for (position, (at, table)) in keys.tables("when").into_iter().enumerate() {
        let place = format!("{row} condition {}", position + 1);
        let mut keys = Keys::new(faults, table, at, &place);
        let subject = if !keys.faults.is_outbound() {
            if !keys.has("path") {
                keys.missing("path");
            }
            keys.path("path").map(Subject::Path)
        } else {
            if !keys.has("field") && !keys.has("fact") {
                keys.missing("field");
            }
            fact(&mut keys).map(Subject::Fact)
        };
        let test = if keys.has("equals") {
            keys.text("equals").map(Test::Equals)
        } else if keys.has("in") {
            Some(Test::In(keys.texts("in")))
        } else if keys.boolean("present") == Some(true) {
            Some(Test::Present)
        } else if keys.boolean("absent") == Some(true) {
            Some(Test::Absent)
        } else if keys.faults.is_outbound() && keys.has("changed") {
            let is_field = matches!(subject, Some(Subject::Fact(Fact::Field { .. })));
            if keys.boolean("changed") != Some(true) || !is_field || keys.has("before") {
                keys.fault("changed", "is true, of a field without before".into());
            }
            Some(Test::Changed)
        } else {
            let text = "one of equals, in, present = true and absent = true is needed";
            keys.fault("", text.into());
            None
        };
        keys.end();
        let condition = subject.zip(test);
        conditions.extend(condition.map(|(subject, test)| Condition { subject, test }));
    }
    conditions
}
