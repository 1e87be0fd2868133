//! What a run gave, as JSON that can be compared and kept.

use std::time::Duration;

use serde_json::{Value, json};

use super::object;
use crate::flow::change::{Composed, Value as Placed};
use crate::flow::mapped::{self, Assignment, Mapped, Refusal};
use crate::mapping::{Failure, Level, Run};

/// One run.
pub(super) struct Result {
    /// What it gave and left behind: the same for the same input.
    pub(super) value: Value,
    /// Whether the component wrote or skipped.
    pub(super) is_answer: bool,
    duration: Duration,
}

impl Result {
    /// All of it, with what it cost.
    pub(super) fn whole(&self) -> Value {
        let mut whole = self.value.clone();
        whole["cost"] = json!({ "microseconds": self.duration.as_micros() as u64 });
        whole
    }
}

pub(super) fn result<T>(run: Run<T>, show: impl FnOnce(&T) -> Value) -> Result {
    let is_answer = run.outcome.is_ok();
    let outcome = match &run.outcome {
        Ok(answer) => show(answer),
        Err(Failure::Refused(refusal)) => object([("refused", refused(refusal))]),
        Err(failure) => object([(
            "failed",
            json!({ "code": failure.code(), "text": failure.sentence() }),
        )]),
    };
    let log = run.log.iter().map(|line| {
        let level = match line.level {
            Level::Debug => "debug",
            Level::Info => "info",
            Level::Warn => "warn",
        };
        json!({ "level": level, "text": line.text })
    });
    let misses = run.misses.iter();
    let misses = misses.map(|miss| json!({ "table": miss.table, "code": miss.code }));
    let mut value = outcome;
    if let Value::Object(members) = &mut value {
        let log: Vec<_> = log.collect();
        let misses: Vec<_> = misses.collect();
        if !log.is_empty() {
            members.insert("log".into(), log.into());
        }
        if run.lines_cut > 0 {
            members.insert("lines_cut".into(), run.lines_cut.into());
        }
        if !misses.is_empty() {
            members.insert("misses".into(), misses.into());
        }
    }
    Result {
        value,
        is_answer,
        duration: run.duration,
    }
}

/// An inbound answer.
pub(super) fn mapped(mapped: &Mapped) -> Value {
    let write = match mapped {
        Mapped::Write(write) => write,
        Mapped::Skip(why) => return json!({ "skip": why }),
    };
    let activities = write.activities.iter().map(|activity| {
        object([
            ("key", activity.key.clone().into()),
            ("kind", activity.kind.clone().into()),
            ("note", activity.note.clone().into()),
            ("at", activity.at.map(date_time).into()),
            ("fields", fields(&activity.fields)),
        ])
    });
    object([
        ("lead", fields(&write.lead)),
        ("retired", write.retired.clone().into()),
        ("activities", activities.collect()),
    ])
}

fn fields(assignments: &[Assignment]) -> Value {
    let members = assignments
        .iter()
        .map(|assignment| (assignment.target.clone(), value(&assignment.value)));
    Value::Object(members.collect())
}

/// Text, numbers and flags are themselves; what JSON has no form for is an object that names its kind.
fn value(value: &mapped::Value) -> Value {
    match value {
        mapped::Value::Clear => json!({ "clear": true }),
        mapped::Value::Text(text) => text.as_str().into(),
        mapped::Value::Boolean(flag) => (*flag).into(),
        mapped::Value::Integer(number) => (*number).into(),
        mapped::Value::Decimal(text) => json!({ "decimal": text }),
        mapped::Value::Date(date) => json!({ "date": date.to_string() }),
        mapped::Value::Time(time) => json!({ "time": time.to_string() }),
        mapped::Value::DateTime(at) => json!({ "date_time": date_time(*at) }),
        mapped::Value::Choices(choices) => json!({ "choices": choices }),
    }
}

fn date_time(at: mapped::DateTime) -> String {
    match at.offset_minutes {
        Some(minutes) => {
            let (sign, minutes) = (if minutes < 0 { '-' } else { '+' }, minutes.unsigned_abs());
            format!("{}{sign}{:02}:{:02}", at.at, minutes / 60, minutes % 60)
        }
        None => at.at.to_string(),
    }
}

fn refused(refusal: &Refusal) -> Value {
    match refusal {
        Refusal::Missing(path) => json!({ "missing": path }),
        Refusal::Malformed { path, expected } => {
            json!({ "malformed": { "path": path, "expected": expected } })
        }
        Refusal::UnmappedCode { table, code } => {
            json!({ "unmapped_code": { "table": table, "code": code } })
        }
        Refusal::Other(text) => json!({ "other": text }),
    }
}

/// An outbound answer: places in the order in which they are filled.
pub(super) fn composed(composed: &Composed) -> Value {
    let placements = match composed {
        Composed::Write(placements) => placements,
        Composed::Skip(why) => return json!({ "skip": why }),
    };
    let places = placements.iter().map(|placement| {
        let fill = match &placement.value {
            Placed::Empty => json!({ "empty": true }),
            Placed::Null => json!({ "null": true }),
            Placed::Text(text) => text.as_str().into(),
            Placed::Date(date) => json!({ "date": date.to_string() }),
            Placed::DateTime(at) => json!({ "date_time": date_time(*at) }),
            Placed::Phone { number, form } => json!({ "phone": number, "form": form }),
        };
        (placement.path.to_string(), fill)
    });
    object([("places", Value::Object(places.collect()))])
}
