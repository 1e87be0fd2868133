//! What a mapping made of a message or a change, as JSON for people and golden files.
//!
//! Holds values of the message: for whoever may see those.

use serde_json::{Map, Value as Json, json};

use super::trace::Warning;
use crate::flow::change::{Composed, PhoneForm, Value as Placed};
use crate::flow::mapped::{Assignment, DateTime, Mapped, Value};

/// `{"lead": {…}, "activities": […]}`, or `{"skip": "…"}`.
pub fn mapped(mapped: &Mapped) -> Json {
    let write = match mapped {
        Mapped::Skip(reason) => return json!({ "skip": reason }),
        Mapped::Write(write) => write,
    };
    let mut out = Map::new();
    out.insert("lead".into(), assignments(&write.lead));
    if !write.retired.is_empty() {
        out.insert("retired".into(), json!(write.retired));
    }
    let activities = write.activities.iter().map(|activity| {
        let mut out = Map::new();
        let parts = [
            ("kind", activity.kind.clone()),
            ("key", activity.key.clone()),
            ("at", activity.at.as_ref().map(stamp)),
            ("note", activity.note.clone()),
        ];
        let parts = parts.into_iter();
        out.extend(parts.filter_map(|(name, part)| Some((name.to_owned(), json!(part?)))));
        out.insert("fields".into(), assignments(&activity.fields));
        Json::Object(out)
    });
    let activities: Vec<_> = activities.collect();
    if !activities.is_empty() {
        out.insert("activities".into(), activities.into());
    }
    Json::Object(out)
}

/// `{"places": {"PID-5.1": …}}`, or `{"skip": "…"}`.
pub fn composed(composed: &Composed) -> Json {
    let placements = match composed {
        Composed::Skip(reason) => return json!({ "skip": reason }),
        Composed::Write(placements) => placements,
    };
    let places = placements.iter().map(|placement| {
        let value = match &placement.value {
            Placed::Empty => json!(""),
            Placed::Null => Json::Null,
            Placed::Text(text) => json!(text),
            Placed::Date(date) => json!({ "date": date.to_string() }),
            Placed::DateTime(at) => json!({ "date-time": stamp(at) }),
            Placed::Phone { number, form } => json!({ "phone": number, "form": form_word(*form) }),
        };
        (placement.path.to_string(), value)
    });
    json!({ "places": places.collect::<Map<_, _>>() })
}

/// Row, path and cause of each, in the order met.
pub fn warnings(warnings: &[Warning]) -> Json {
    let warnings = warnings.iter().map(|warning| {
        let did = if warning.defaulted {
            "defaulted"
        } else {
            "left out"
        };
        let row = warning.row.as_deref().unwrap_or("another");
        json!(format!(
            "{row} ({}) {did}: {}",
            warning.path,
            warning.cause.words()
        ))
    });
    warnings.collect()
}

fn assignments(assignments: &[Assignment]) -> Json {
    let values = assignments.iter().map(|assignment| {
        let value = match &assignment.value {
            Value::Clear => Json::Null,
            Value::Text(text) => json!(text),
            Value::Boolean(flag) => json!(flag),
            Value::Integer(number) => json!(number),
            Value::Decimal(text) => json!({ "decimal": text }),
            Value::Date(date) => json!({ "date": date.to_string() }),
            Value::Time(time) => json!({ "time": time.to_string() }),
            Value::DateTime(at) => json!({ "date-time": stamp(at) }),
            Value::Choices(choices) => json!(choices),
        };
        (assignment.target.clone(), value)
    });
    Json::Object(values.collect())
}

fn form_word(form: PhoneForm) -> Json {
    serde_json::to_value(form).unwrap_or(Json::Null)
}

/// `2026-03-09T10:30:00-05:00`, without an offset where the sender gave none.
fn stamp(at: &DateTime) -> String {
    let offset = at.offset_minutes.map(|minutes| {
        let sign = if minutes < 0 { '-' } else { '+' };
        let minutes = minutes.unsigned_abs();
        format!("{sign}{:02}:{:02}", minutes / 60, minutes % 60)
    });
    format!("{}{}", at.at, offset.unwrap_or_default())
}
