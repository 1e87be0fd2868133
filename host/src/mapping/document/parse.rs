//! TOML text to a document, with every fault in it named by line, row and key.

mod keys;
mod rule;
mod step;
mod template;

use std::cell::{Cell, RefCell};
use std::fmt;

use ligature_mapper::{End, Kind, SettingKind};
use toml::Spanned;
use toml::de::DeTable;

use super::{
    Activity, Ask, Document, Ending, FORMAT, Group, MAX_LIMIT, Repeat, Row, Setting, activity_id,
};
use crate::flow::{Direction, Event, WebhookEvent};
use crate::hl7::Path;
use crate::hl7::fill::{Position, check_place};
use crate::mapping::gate::webhook_events;

use keys::{Faults, Keys};
use rule::{Part, conditions, each, rule};

pub(super) use rule::FACTS;
pub(super) use step::{FORMS, UNITS};

/// Largest text taken.
const MAX_TEXT_BYTES: usize = 1024 * 1024;

/// Longest id of a row or an activity.
const MAX_ID_BYTES: usize = 64;

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
        settings: RefCell::default(),
        groups: RefCell::default(),
        ids: RefCell::default(),
        in_loop: Cell::new(false),
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
        Ok(table) => Some(read(&faults, &table)),
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

fn read(faults: &Faults<'_>, table: &Spanned<DeTable<'_>>) -> Document {
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
    let mut document = Document::new(faults.direction.get(), &name.unwrap_or_default());
    if let Some(version) = keys.text("version") {
        document.version = version;
    }
    document.summary = keys.text("summary").unwrap_or_default();
    events(&mut keys, &mut document);
    document.settings = settings(&mut keys);
    *faults.settings.borrow_mut() = document
        .settings
        .iter()
        .map(|setting| setting.name.to_string())
        .collect();
    document.endings = endings(&mut keys, "skip");
    document.endings.extend(endings(&mut keys, "refuse"));
    document.groups = groups(&mut keys);
    if faults.is_outbound() {
        document.places = rows(&mut keys, "place", "place", None);
        repeats(&mut keys, &mut document);
    } else {
        if let Some((at, table)) = keys.table("retired") {
            let mut keys = Keys::new(faults, table, at, "retired");
            document.retired = rule(&mut keys, Part::Retired);
            keys.end();
        }
        document.lead = rows(&mut keys, "lead", "lead row", Some(""));
        for (position, (at, table)) in keys.tables("activity").into_iter().enumerate() {
            let activity = activity(faults, position, at, table);
            document.activities.push(activity);
        }
    }
    let rows = document.lead.len()
        + document.activities.len()
        + document.places.len()
        + document.repeats.len();
    if rows == 0 && faults.none() {
        faults.add(0, "", "", "the document has no row".into());
    }
    keys.end();
    document
}

fn events(keys: &mut Keys<'_, '_>, document: &mut Document) {
    for event in keys.texts("events") {
        let event = event.as_str();
        if keys.faults.is_outbound() {
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
}

fn settings(keys: &mut Keys<'_, '_>) -> Vec<Setting> {
    let mut settings: Vec<Setting> = Vec::new();
    for (at, table) in keys.tables("setting") {
        let name = table.get("name").and_then(|name| name.get_ref().as_str());
        let place = format!("setting {:?}", name.unwrap_or_default());
        let mut keys = Keys::new(keys.faults, table, at, &place);
        let name = keys.text("name").unwrap_or_else(|| {
            keys.missing("name");
            String::new()
        });
        if settings.iter().any(|before| *before.name == *name) {
            keys.fault("name", "there is a setting of this name already".into());
        }
        let kind = match keys.choice("kind", &["text", "number", "boolean", "choice"]) {
            Some("number") => SettingKind::Number,
            Some("boolean") => SettingKind::Boolean,
            Some("choice") => {
                let choices = keys.texts("choices");
                if choices.is_empty() {
                    keys.fault("choices", "a choice has at least one".into());
                }
                SettingKind::Choice(choices.into_iter().map(Into::into).collect())
            }
            _ => SettingKind::Text,
        };
        settings.push(Setting {
            name: name.into(),
            label: keys.text("label").unwrap_or_default().into(),
            help: keys.text("help").unwrap_or_default().into(),
            kind,
            default: keys.any_text("default").map(Into::into),
            required: keys.boolean("required").unwrap_or_default(),
        });
        keys.end();
    }
    settings
}

/// `[[skip]]` or `[[refuse]]`.
fn endings(keys: &mut Keys<'_, '_>, name: &'static str) -> Vec<Ending> {
    let faults = keys.faults;
    let tables = keys.tables(name).into_iter().enumerate();
    tables
        .map(|(position, (at, table))| {
            let place = format!("{name} {}", position + 1);
            let mut keys = Keys::new(faults, table, at, &place);
            let reason = keys.text("reason");
            if reason.is_none() {
                keys.missing("reason");
            }
            let when = conditions(&mut keys, "when");
            if when.is_empty() {
                keys.fault("when", "is needed: no message would be mapped".into());
            }
            let waits = name == "refuse" && keys.boolean("wait").unwrap_or_default();
            keys.end();
            Ending {
                how: match (name, waits) {
                    ("skip", _) => End::Skip,
                    (_, true) => End::Wait,
                    (_, false) => End::Refuse,
                },
                reason: reason.unwrap_or_default().into(),
                when,
            }
        })
        .collect()
}

fn groups(keys: &mut Keys<'_, '_>) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    let faults = keys.faults;
    for (position, (at, table)) in keys.tables("group").into_iter().enumerate() {
        let place = format!("group {}", position + 1);
        let mut keys = Keys::new(faults, table, at, &place);
        let name = keys.text("name").unwrap_or_else(|| {
            keys.missing("name");
            String::new()
        });
        if groups.iter().any(|before| before.name == name) {
            keys.fault("name", "there is a group of this name already".into());
        }
        let when = conditions(&mut keys, "when");
        if when.is_empty() {
            keys.fault("when", "is needed".into());
        }
        keys.end();
        faults.groups.borrow_mut().push(name.clone());
        groups.push(Group { name, when });
    }
    groups
}

/// All rows of a list; two for one target would be two assignments. With `scope`, ids are the row's within it.
fn rows(keys: &mut Keys<'_, '_>, name: &str, what: &str, scope: Option<&str>) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    let mut positions: Vec<(String, Position)> = Vec::new();
    let faults = keys.faults;
    for (position, (at, table)) in keys.tables(name).into_iter().enumerate() {
        let target = table.get("target");
        let place = match target.and_then(|target| target.get_ref().as_str()) {
            Some(target) => format!("{what} {target:?}"),
            None => format!("{what} {}", position + 1),
        };
        let Some(mut row) = row(faults, &place, at, table, name == "place") else {
            continue;
        };
        if rows.iter().any(|before| before.target == row.target) {
            let text = "the target has a row already";
            faults.add(at, &place, "target", text.into());
        } else {
            if name == "place" {
                match element(&row.target) {
                    Ok((path, position)) => {
                        let overlaps = |(_, other): &&(String, Position)| other.overlaps(&position);
                        if let Some((other, _)) = positions.iter().find(overlaps) {
                            let text =
                                format!("is {other}, or one of them lies in the other: fill one");
                            faults.add(at, &place, "target", text);
                        }
                        let written = path.to_string();
                        if row.id == row.target {
                            row.id = written.clone().into();
                        }
                        row.target = written.into();
                        positions.push((row.target.to_string(), position));
                    }
                    Err(text) => faults.add(at, &place, "target", text),
                }
            }
            let id = match scope {
                Some(scope) if !scope.is_empty() => format!("{scope}.{}", row.id),
                _ => row.id.to_string(),
            };
            faults.take_id(at, &place, id);
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

fn row(
    faults: &Faults<'_>,
    place: &str,
    at: usize,
    table: &DeTable<'_>,
    is_place: bool,
) -> Option<Row> {
    let mut keys = Keys::new(faults, table, at, place);
    let target = keys.text("target");
    if target.is_none() {
        keys.missing("target");
    }
    let id = id(&mut keys);
    let label = keys.text("label").unwrap_or_default();
    let group = group(&mut keys);
    let part = if is_place { Part::Place } else { Part::Field };
    let rule = rule(&mut keys, part);
    keys.end();
    let target = target?;
    Some(Row {
        id: id.unwrap_or_else(|| target.clone()).into(),
        target: target.into(),
        label: label.into(),
        group,
        rule: rule?,
    })
}

/// A row's own id.
fn id(keys: &mut Keys<'_, '_>) -> Option<String> {
    let id = keys.text("id")?;
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if id.len() > MAX_ID_BYTES || !id.bytes().all(fits) {
        let text = format!("is up to {MAX_ID_BYTES} letters, digits, - and _");
        keys.fault("id", text);
    }
    Some(id)
}

/// The position of a row's group, from 1; zero without one.
fn group(keys: &mut Keys<'_, '_>) -> u16 {
    let Some(name) = keys.text("group") else {
        return 0;
    };
    let groups = keys.faults.groups.borrow();
    match groups.iter().position(|known| *known == name) {
        Some(position) => u16::try_from(position + 1).unwrap_or(u16::MAX),
        None => {
            keys.fault("group", format!("there is no [[group]] named {name:?}"));
            0
        }
    }
}

fn activity(faults: &Faults<'_>, position: usize, at: usize, table: &DeTable<'_>) -> Activity {
    let place = format!("activity {}", position + 1);
    let mut keys = Keys::new(faults, table, at, &place);
    let id = id(&mut keys).unwrap_or_else(|| activity_id(position));
    faults.take_id(at, &place, id.clone());
    let each = each(&mut keys);
    faults.in_loop.set(each.is_some());
    let mut own = |name: &'static str, part: Part| {
        let (at, table) = keys.table(name)?;
        let mut keys = Keys::new(faults, table, at, &format!("{place} {name}"));
        let rule = rule(&mut keys, part);
        keys.end();
        rule
    };
    let (key, note, starts) = (
        own("key", Part::Key),
        own("note", Part::Note),
        own("at", Part::At),
    );
    let fields = rows(&mut keys, "field", &format!("{place} field"), Some(&id));
    faults.in_loop.set(false);
    let activity = Activity {
        id: id.into(),
        kind: keys.text("kind").map(Into::into),
        group: group(&mut keys),
        when: conditions(&mut keys, "when"),
        each,
        key,
        note,
        at: starts,
        fields,
    };
    keys.end();
    activity
}

/// `[[repeat]]`, after the places that stand for themselves.
fn repeats(keys: &mut Keys<'_, '_>, document: &mut Document) {
    let faults = keys.faults;
    for (position, (at, table)) in keys.tables("repeat").into_iter().enumerate() {
        let place = format!("repeat {}", position + 1);
        let mut keys = Keys::new(faults, table, at, &place);
        let target = keys.path("target");
        if !keys.has("target") {
            keys.missing("target");
        }
        let first = keys.count("from").unwrap_or(1);
        let limit = keys.count("limit").unwrap_or(super::DEFAULT_LIMIT.into());
        if limit > MAX_LIMIT.into() {
            keys.fault("limit", format!("is at most {MAX_LIMIT}"));
        }
        let items = match keys.table("items") {
            Some((at, table)) => {
                let mut keys = Keys::new(faults, table, at, &format!("{place} items"));
                let rule = rule(&mut keys, Part::Items);
                keys.end();
                rule
            }
            None => {
                keys.missing("items");
                None
            }
        };
        let group = group(&mut keys);
        faults.in_loop.set(true);
        let what = format!("{place} place");
        let scope = format!("repeat-{}", position + 1);
        let places = rows(&mut keys, "place", &what, Some(&scope));
        faults.in_loop.set(false);
        if let Some(target) = &target {
            check_repeat(&keys, target, &places, document);
        }
        if places.is_empty() {
            keys.missing("place");
        }
        keys.end();
        if let Some((target, items)) = target.zip(items) {
            document.repeats.push(Repeat {
                target: target.to_string().into(),
                first: u16::try_from(first).unwrap_or(u16::MAX),
                limit: u16::try_from(limit).unwrap_or(MAX_LIMIT),
                group,
                items,
                places,
            });
        }
    }
}

/// What is repeated is a segment or a field without a number, every place of it lies within, and nobody else fills it.
fn check_repeat(keys: &Keys<'_, '_>, target: &Path, places: &[Row], document: &Document) {
    if !is_countable(target) {
        let text = "is a segment or a field without numbers: AL1 or PID-3";
        return keys.fault("target", text.into());
    }
    let path = |row: &Row| row.target.parse::<Path>().ok();
    for place in places {
        let within = path(place).is_some_and(|path| is_of(target, &path));
        if !within {
            let text = format!(
                "{} is not a part of {target} without a number",
                place.target
            );
            keys.fault("place", text);
        }
    }
    let mut others = document.places.iter().filter_map(path);
    if let Some(other) = others.find(|other| target.covers(other)) {
        let text = format!("{other} has a row of its own: what is repeated is filled here alone");
        keys.fault("target", text);
    }
    let mut repeats = document.repeats.iter();
    if repeats.any(|repeat| *repeat.target == target.to_string()) {
        keys.fault("target", "is repeated already".into());
    }
}

/// `OBX` or `PID-13`: what has a number of its own for each element.
fn is_countable(path: &Path) -> bool {
    let text = path.to_string();
    path.component().is_none() && !text.contains('[')
}

/// Whether a path says which element of `over` it means by saying nothing: the one that a loop has come to.
pub(super) fn is_of(over: &Path, path: &Path) -> bool {
    use crate::hl7::path::Index;
    over.covers(path)
        && path.occurrence() == Index::Unset
        && (over.field().is_none() || !path.is_conditional() && path.repetition() == Index::Unset)
}

/// What a rule of this kind must give.
fn needed(part: Part) -> Option<&'static [Kind]> {
    Some(match part {
        Part::Field => return None,
        Part::Place => &[
            Kind::Text,
            Kind::Number,
            Kind::Date,
            Kind::DateTime,
            Kind::Phone,
        ],
        Part::Key | Part::Note => &[Kind::Text],
        Part::At => &[Kind::DateTime, Kind::Date],
        Part::Items | Part::Retired => &[Kind::List, Kind::Text],
    })
}

/// A path's or field's text as a document asks for it.
fn ask(faults: &Faults<'_>, text: &str) -> Result<Ask, String> {
    if faults.is_outbound() {
        return match crate::flow::change::Field::parse(text) {
            Some(field) => Ok(Ask::Field {
                field: field.to_string(),
                before: false,
            }),
            None => Err(keys::not_a_field(text)),
        };
    }
    match text.parse() {
        Ok(path) => Ok(Ask::Path(path)),
        Err(error) => Err(format!("{text:?}: {error}")),
    }
}
