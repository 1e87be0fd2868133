//! What two runs of one message came to, field by field.
//!
//! Holds values of the message, for whoever may see those; a [`Verdict`] holds none. Start at [`compare`].

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use utoipa::ToSchema;

use super::failure::Failure;
use super::shown;
use crate::flow::change::Composed;
use crate::flow::mapped::Mapped;
use crate::flow::ran::{Print, SKIPPED, WROTE};

/// What one run came to.
#[derive(Clone, PartialEq, Eq)]
pub struct Answer {
    /// `wrote`, `skipped`, or the code of the failure.
    pub outcome: &'static str,
    /// Whether the component broke: a trap or a limit.
    pub broke: bool,
    /// What each field got: `lead.LastName`, `activity.mx_Custom_1`, `activity[2].(key)`, `PID-5.1`. Of a run that wrote
    /// nothing the component's reason, if it gave one.
    pub fields: BTreeMap<String, Json>,
}

/// How what a field gets differs from what it got before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    Same,
    Changed,
    NewlyEmpty,
    NewlyFilled,
    /// It had a value, and now the message ends with a refusal or a failure.
    NewlyRefused,
    /// It had a value, and now the message is skipped.
    NewlySkipped,
}

impl Verdict {
    pub const ALL: [Verdict; 6] = [
        Verdict::Same,
        Verdict::Changed,
        Verdict::NewlyEmpty,
        Verdict::NewlyFilled,
        Verdict::NewlyRefused,
        Verdict::NewlySkipped,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Verdict::Same => "same",
            Verdict::Changed => "changed",
            Verdict::NewlyEmpty => "newly empty",
            Verdict::NewlyFilled => "newly filled",
            Verdict::NewlyRefused => "newly refused",
            Verdict::NewlySkipped => "newly skipped",
        }
    }
}

impl fmt::Debug for Answer {
    /// Leaves the values out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Answer({}, {} fields)", self.outcome, self.fields.len())
    }
}

/// Where the reason of a run stands that wrote nothing.
const REASON: &str = "(reason)";

impl Answer {
    pub fn wrote(&self) -> bool {
        self.outcome == WROTE
    }

    /// The fingerprints of all fields, in their order.
    pub fn prints(&self) -> Vec<Print> {
        let fields = self.fields.iter();
        fields
            .map(|(name, value)| Print::of(name, &value.to_string()))
            .collect()
    }

    fn ended(failure: &Failure) -> Self {
        let words = failure
            .words()
            .map(|words| (REASON.to_owned(), words.into()));
        Self {
            outcome: failure.code(),
            broke: failure.is_breakage(),
            fields: words.into_iter().collect(),
        }
    }

    fn skipped(why: &str) -> Self {
        Self {
            outcome: SKIPPED,
            broke: false,
            fields: [(REASON.to_owned(), why.into())].into(),
        }
    }

    fn of(fields: BTreeMap<String, Json>) -> Self {
        Self {
            outcome: WROTE,
            broke: false,
            fields,
        }
    }
}

impl From<&Result<Mapped, Failure>> for Answer {
    fn from(outcome: &Result<Mapped, Failure>) -> Self {
        match outcome {
            Ok(Mapped::Skip(why)) => Self::skipped(why),
            Ok(mapped) => Self::of(flat(shown::mapped(mapped))),
            Err(failure) => Self::ended(failure),
        }
    }
}

impl From<&Result<Composed, Failure>> for Answer {
    fn from(outcome: &Result<Composed, Failure>) -> Self {
        match outcome {
            Ok(Composed::Skip(why)) => Self::skipped(why),
            Ok(composed) => Self::of(flat(shown::composed(composed))),
            Err(failure) => Self::ended(failure),
        }
    }
}

/// The fields of what [`shown`] makes of an answer, under one name each.
fn flat(shown: Json) -> BTreeMap<String, Json> {
    let mut fields = BTreeMap::new();
    let Json::Object(parts) = shown else {
        return fields;
    };
    let mut add = |prefix: String, part: Json| {
        if let Json::Object(members) = part {
            fields.extend(
                members
                    .into_iter()
                    .map(|(name, value)| (format!("{prefix}{name}"), value)),
            );
        }
    };
    let mut retired = None;
    for (part, value) in parts {
        match (part.as_str(), value) {
            ("places", value) => add(String::new(), value),
            ("retired", value) => retired = Some(value),
            ("activities", Json::Array(activities)) => {
                for (at, mut activity) in activities.into_iter().enumerate() {
                    let prefix = match at {
                        0 => "activity.".to_owned(),
                        at => format!("activity[{}].", at + 1),
                    };
                    let own = activity
                        .as_object_mut()
                        .and_then(|own| own.remove("fields"));
                    add(prefix.clone(), own.unwrap_or_default());
                    if let Json::Object(members) = activity {
                        // Brackets: a target may be called the same.
                        let members = members
                            .into_iter()
                            .map(|(name, value)| (format!("({name})"), value));
                        add(prefix, Json::Object(members.collect()));
                    }
                }
            }
            (_, value) => add(format!("{part}."), value),
        }
    }
    fields.extend(retired.map(|retired| ("lead.(retired)".to_owned(), retired)));
    fields
}

/// Whether a field is given something to hold; to empty it is not.
fn holds(value: Option<&Json>) -> bool {
    value.is_some_and(|value| !value.is_null() && value.as_str() != Some(""))
}

/// How each field differs; a field that neither run writes is not named.
///
/// Where neither wrote anything there are no fields: the outcomes say all.
pub fn compare<'a>(before: &'a Answer, after: &'a Answer) -> Vec<(&'a str, Verdict)> {
    let held = |answer: &'a Answer| {
        let fields = answer.fields.iter();
        fields
            .filter(|(_, value)| holds(Some(value)))
            .map(|(name, _)| name.as_str())
    };
    match (before.wrote(), after.wrote()) {
        (false, false) => Vec::new(),
        (false, true) => held(after)
            .map(|name| (name, Verdict::NewlyFilled))
            .collect(),
        (true, false) => {
            let verdict = match after.outcome {
                SKIPPED => Verdict::NewlySkipped,
                _ => Verdict::NewlyRefused,
            };
            held(before).map(|name| (name, verdict)).collect()
        }
        (true, true) => {
            let names = before.fields.keys().chain(after.fields.keys());
            let names: BTreeSet<&str> = names.map(String::as_str).collect();
            names
                .into_iter()
                .map(|name| {
                    let (was, is) = (before.fields.get(name), after.fields.get(name));
                    (name, verdict(was, is))
                })
                .collect()
        }
    }
}

fn verdict(was: Option<&Json>, is: Option<&Json>) -> Verdict {
    match (holds(was), holds(is)) {
        _ if was == is => Verdict::Same,
        (true, false) => Verdict::NewlyEmpty,
        (false, true) => Verdict::NewlyFilled,
        _ => Verdict::Changed,
    }
}

/// A value by its shape: letters as `x` and `X`, digits as `9`.
pub fn masked(value: &Json) -> String {
    const MOST: usize = 40;
    let text = match value {
        Json::Null => return "(emptied)".into(),
        Json::String(text) => text.clone(),
        other => other.to_string(),
    };
    let mut shape: String = text
        .chars()
        .take(MOST)
        .map(|letter| match letter {
            letter if letter.is_numeric() => '9',
            letter if letter.is_uppercase() => 'X',
            letter if letter.is_alphabetic() => 'x',
            letter if letter.is_ascii() => letter,
            _ => '?',
        })
        .collect();
    if text.chars().nth(MOST).is_some() {
        shape.push('…');
    }
    shape
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn wrote(fields: Json) -> Answer {
        Answer::of(flat(fields))
    }

    fn check(before: &Answer, after: &Answer, expected: &str) {
        let said = compare(before, after);
        let said = said
            .iter()
            .map(|(name, verdict)| format!("{name} {}", verdict.as_str()));
        assert_eq!(said.collect::<Vec<_>>().join(", "), expected);
    }

    #[test]
    fn fields_are_compared_one_by_one() {
        let before = wrote(json!({ "lead": { "A": "1", "B": "2", "C": null, "D": "4" } }));
        let after = wrote(json!({ "lead": { "A": "1", "B": "3", "C": "x", "E": null } }));
        check(
            &before,
            &after,
            "lead.A same, lead.B changed, lead.C newly filled, lead.D newly empty, lead.E changed",
        );
        let refused = Answer::ended(&Failure::Host("gone".into()));
        let skipped = Answer::skipped("Ana is not meant");
        check(
            &before,
            &refused,
            "lead.A newly refused, lead.B newly refused, lead.D newly refused",
        );
        check(
            &before,
            &skipped,
            "lead.A newly skipped, lead.B newly skipped, lead.D newly skipped",
        );
        check(
            &skipped,
            &after,
            "lead.A newly filled, lead.B newly filled, lead.C newly filled",
        );
        check(&skipped, &refused, "");
    }

    #[test]
    fn activities_have_names_of_their_own() {
        let answer = wrote(json!({
            "lead": {}, "retired": ["7"],
            "activities": [{ "key": "k", "fields": { "key": "v" } }, { "fields": { "key": "w" } }],
        }));
        let names: Vec<_> = answer.fields.keys().map(String::as_str).collect();
        assert_eq!(
            names,
            [
                "activity.(key)",
                "activity.key",
                "activity[2].key",
                "lead.(retired)"
            ]
        );
    }

    #[test]
    fn a_mask_keeps_the_shape_alone() {
        assert_eq!(
            masked(&json!("Ana Müller, 12.3.1980 ✓")),
            "Xxx Xxxxxx, 99.9.9999 ?"
        );
        assert_eq!(masked(&json!(null)), "(emptied)");
        assert_eq!(
            masked(&json!({ "date": "1980-03-12" })),
            "{\"xxxx\":\"9999-99-99\"}"
        );
        assert_eq!(masked(&json!("x".repeat(50))).chars().count(), 41);
    }
}
