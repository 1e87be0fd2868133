//! Where each value that a mapping document gives comes from: places, steps with what each made of it, the table's entry.
//!
//! The interpreter runs natively, once as the document stands and once for each step with the steps from there on left out.
//! Holds values of the message, for whoever may see those. Start at [`of`].

use std::collections::BTreeMap;

use ligature_mapper as mapper;
use serde_json::Value as Json;

use super::compare::Answer;
use super::document::{self, Document, Row};
use super::host::Tables;
use super::native::{self, Facts};
use crate::flow::change::Change;
use crate::flow::{Direction, Release};
use crate::hl7::{Message, Path, dictionary};

/// Steps that are looked at one by one; a longer row shows its last ones without what they made.
const MOST: usize = 8;

/// What a document runs on.
#[derive(Clone, Copy)]
pub enum On<'a> {
    Message(&'a Message),
    Change(&'a Change),
}

/// One field and its way.
#[derive(Debug, Clone, PartialEq)]
pub struct Way {
    /// As [`Answer`] names it.
    pub field: String,
    /// What people call it; empty where the document does not say.
    pub label: String,
    /// The source as the document writes it.
    pub from: String,
    /// What the row reads, with the dictionary's names.
    pub places: Vec<(String, String)>,
    pub steps: Vec<Stepped>,
    pub entry: Option<Entry>,
    pub value: Option<Json>,
    /// Without a value the message goes no further.
    pub is_required: bool,
}

/// One step, and what there was after it.
#[derive(Debug, Clone, PartialEq)]
pub struct Stepped {
    pub step: String,
    pub value: Option<Json>,
}

/// Which entry of a code table was taken.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The account's name of the table.
    pub table: String,
    /// The version of it that the release has.
    pub version: String,
    /// What was looked up.
    pub code: Option<Json>,
    /// There is no such entry: what the table says otherwise was taken.
    pub is_miss: bool,
}

/// The ways of all fields of a document, in its order; of a document with several activities their rows alone.
pub fn of(
    document: &Document,
    on: On<'_>,
    release: &Release,
    tables: &Tables,
    facts: &Facts,
) -> Vec<Way> {
    let longest = rows(document)
        .map(|(_, row)| row.rule.steps.len())
        .max()
        .unwrap_or(0);
    let mut whole = answer(document, on, facts);
    // Of a message that is refused there are values all the same: of every row that does not need what is missing.
    let lenient = match whole.is_empty() {
        true => Some(forgiving(document)),
        false => None,
    };
    let run = lenient.as_ref().unwrap_or(document);
    if lenient.is_some() {
        whole = answer(run, on, facts);
    }
    let cuts: Vec<_> = (0..longest.min(MOST))
        .map(|kept| answer(&cut(run, kept), on, facts))
        .collect();
    let is_known =
        document.activities.len() < 2 && document.activities.iter().all(|one| one.each.is_none());
    let ways = rows(document).map(|(prefix, row)| {
        let field = format!("{prefix}{}", row.target);
        let known = is_known || !prefix.starts_with("activity");
        let after = |kept: usize| {
            let answer = match kept == row.rule.steps.len() {
                true => Some(&whole),
                false => cuts.get(kept),
            };
            answer
                .filter(|_| known)
                .and_then(|answer| answer.get(&field))
                .cloned()
        };
        let (from, steps) = document::words(&row.rule);
        let entry = row.rule.steps.iter().enumerate().find_map(|(at, step)| {
            let mapper::Step::Table { table, .. } = step else {
                return None;
            };
            let code = after(at);
            let found = tables
                .get(&**table)
                .zip(code.as_ref().and_then(Json::as_str));
            let version = release.tables.get(&**table);
            Some(Entry {
                table: version.map_or_else(|| table.to_string(), |version| version.name.clone()),
                version: version.map_or_else(String::new, |version| version.digest.to_string()),
                is_miss: found.is_some_and(|(lookup, code)| lookup.find(code).is_miss),
                code,
            })
        });
        Way {
            label: row.label.to_string(),
            is_required: row.rule.required,
            from,
            places: places(document.direction, row),
            steps: steps
                .into_iter()
                .enumerate()
                .map(|(at, step)| Stepped {
                    step,
                    value: after(at + 1),
                })
                .collect(),
            entry,
            value: after(row.rule.steps.len()),
            field,
        }
    });
    ways.collect()
}

/// Every row with what stands before its target.
fn rows(document: &Document) -> impl Iterator<Item = (String, &Row)> {
    let lead = document.lead.iter().map(|row| ("lead.".to_owned(), row));
    let activities = document.activities.iter().enumerate();
    let activities = activities.flat_map(|(at, activity)| {
        let prefix = match at {
            0 => "activity.".to_owned(),
            at => format!("activity[{}].", at + 1),
        };
        activity.fields.iter().map(move |row| (prefix.clone(), row))
    });
    let places = document.places.iter().map(|row| (String::new(), row));
    lead.chain(activities).chain(places)
}

/// Every row of a document.
fn rows_mut(document: &mut Document) -> impl Iterator<Item = &mut Row> {
    let activities = document.activities.iter_mut();
    let fields = activities.flat_map(|activity| activity.fields.iter_mut());
    document
        .lead
        .iter_mut()
        .chain(document.places.iter_mut())
        .chain(fields)
}

/// The document with no row that must have a value, or whose value must be in order.
fn forgiving(document: &Document) -> Document {
    let mut document = document.clone();
    for row in rows_mut(&mut document) {
        row.rule.required = false;
        row.rule.on_error = mapper::OnError::LeaveOut;
    }
    document
}

/// The document with no more than the first `kept` steps of each row; what is no value yet is no reason to stop.
fn cut(document: &Document, kept: usize) -> Document {
    let mut document = document.clone();
    for row in rows_mut(&mut document) {
        if row.rule.steps.len() > kept {
            row.rule.steps.truncate(kept);
            row.rule.required = false;
            row.rule.on_error = mapper::OnError::LeaveOut;
        }
    }
    document
}

fn answer(document: &Document, on: On<'_>, facts: &Facts) -> BTreeMap<String, Json> {
    let program = document.to_program();
    let answer = match on {
        On::Message(message) => {
            native::map(&program, message, facts).map(|ran| Answer::from(&ran.outcome))
        }
        On::Change(change) => {
            native::compose(&program, change, facts).map(|ran| Answer::from(&ran.outcome))
        }
    };
    match answer {
        Ok(answer) if answer.wrote() => answer.fields,
        _ => BTreeMap::new(),
    }
}

/// The paths or fields that a row reads, each with its name.
fn places(direction: Direction, row: &Row) -> Vec<(String, String)> {
    let mut alone = Document::new(direction, "row");
    match direction {
        Direction::EhrToLeadSquared => alone.lead.push(row.clone()),
        Direction::LeadSquaredToEhr => alone.places.push(row.clone()),
    }
    let named = |place: String| {
        let path: Option<Path> = place.parse().ok();
        let name = path
            .as_ref()
            .and_then(dictionary::label)
            .unwrap_or_default();
        (place, name)
    };
    alone.reads().into_iter().map(named).collect()
}
