//! What changed in LeadSquared, and what a mapping makes of it for the EHR, as plain data.
//!
//! A [`Change`] is all that an outbound mapping reads: what the webhook said and what was read before the run. It is
//! sealed with its delivery, as JSON, so that a replay sees the same.
//! A component answers [`Composed`]: places of an HL7 message and typed values, which `sync` finishes to [`Filling`]s.

use std::collections::BTreeMap;
use std::fmt;

use jiff::civil;
use serde::{Deserialize, Serialize};

use super::mapped::{DateTime, OnError};
use super::{Entity, WebhookEvent};
use crate::hl7::{self, Content, Path};

/// One change of one record, with the lead that it is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Change {
    /// Which webhook told of it.
    pub event: WebhookEvent,
    /// The lead; for an activity the one that it belongs to.
    pub lead: Snapshot,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub activity: Option<Snapshot>,
}

/// Schema name to value; LeadSquared has an empty field as null, as empty text, or not at all.
pub type Fields = BTreeMap<String, Option<String>>;

/// One record before and after a change.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Snapshot {
    /// None where nobody says: a new record, or a webhook without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Fields>,
    pub after: Fields,
}

/// Which state of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    Before,
    After,
}

impl Snapshot {
    /// What a field holds, in HL7's three states.
    ///
    /// It is null only if this change emptied it. A field that was empty before says nothing: the EHR may know what
    /// LeadSquared does not, and must not be told to delete it.
    pub fn get(&self, field: &str, moment: Moment) -> Content<'_> {
        let before = self.before.as_ref().and_then(|before| value(before, field));
        match (moment, value(&self.after, field), before) {
            (Moment::Before, _, Some(text)) | (Moment::After, Some(text), _) => {
                Content::Text(text.into())
            }
            (Moment::After, None, Some(_)) if self.after.contains_key(field) => Content::Null,
            (Moment::After, None, _) | (Moment::Before, _, None) => Content::Absent,
        }
    }

    /// Fields that differ before and after, sorted.
    ///
    /// One of which the state before is not known counts if it holds something now.
    pub fn changed(&self) -> impl Iterator<Item = &str> {
        self.after.keys().filter_map(|field| {
            let before = self.before.as_ref().and_then(|before| value(before, field));
            (before != value(&self.after, field)).then_some(field.as_str())
        })
    }
}

fn value<'a>(fields: &'a Fields, field: &str) -> Option<&'a str> {
    let value = fields.get(field)?.as_deref()?;
    (!value.is_empty()).then_some(value)
}

impl Change {
    /// The record of an entity; an activity only where one changed.
    pub fn snapshot(&self, entity: Entity) -> Option<&Snapshot> {
        match entity {
            Entity::Lead => Some(&self.lead),
            Entity::Activity => self.activity.as_ref(),
        }
    }

    /// The fields that differ before and after, as grants name them.
    pub fn changed(&self) -> impl Iterator<Item = Field<'_>> {
        [Entity::Lead, Entity::Activity]
            .into_iter()
            .filter_map(|entity| Some((entity, self.snapshot(entity)?)))
            .flat_map(|(entity, snapshot)| {
                snapshot.changed().map(move |name| Field { entity, name })
            })
    }

    /// Whether anything changed of what a release's component reads.
    ///
    /// An update in which nothing did has nothing to tell the EHR. Nothing is said of the lead of an
    /// activity: what it was before is not known.
    pub fn concerns(&self, reads: &[String]) -> bool {
        let entity = self.event.entity();
        let mut reads = reads.iter().filter_map(|read| Field::parse(read));
        reads.any(|read| {
            let is_told = |snapshot: &&Snapshot| read.entity == entity || snapshot.before.is_some();
            let snapshot = self.snapshot(read.entity).filter(is_told);
            snapshot.is_some_and(|snapshot| snapshot.changed().any(|name| name == read.name))
        })
    }
}

impl fmt::Debug for Snapshot {
    /// Tells how many fields there are and never what they hold, which is patient data.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot")
            .field("before", &self.before.as_ref().map(BTreeMap::len))
            .field("after", &self.after.len())
            .finish()
    }
}

/// A field as grants and documents write it: `lead.FirstName`, `activity.mx_Custom_1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field<'a> {
    pub entity: Entity,
    /// The schema name.
    pub name: &'a str,
}

impl<'a> Field<'a> {
    /// Reads `lead.<Schema>` or `activity.<Schema>`; none if it is neither.
    pub fn parse(text: &'a str) -> Option<Self> {
        let (entity, name) = match text.split_once('.')? {
            ("lead", name) => (Entity::Lead, name),
            ("activity", name) => (Entity::Activity, name),
            _ => return None,
        };
        let is_name = (1..=100).contains(&name.len())
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        is_name.then_some(Self { entity, name })
    }
}

impl fmt::Display for Field<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let entity = match self.entity {
            Entity::Lead => "lead",
            Entity::Activity => "activity",
        };
        write!(f, "{entity}.{}", self.name)
    }
}

/// What one change means to the EHR.
#[derive(Clone, PartialEq, Eq)]
pub enum Composed {
    /// Places to fill in the flow's template, each once and granted.
    Write(Vec<Placement>),
    /// Nothing; the text may hold patient data.
    Skip(String),
}

/// What a mapping puts at one place of an outgoing message.
#[derive(Clone, PartialEq, Eq)]
pub struct Placement {
    /// One element: see [`hl7::fill::check_place`].
    pub path: Path,
    pub value: Value,
    /// What becomes of a value that cannot be finished.
    pub on_error: OnError,
}

/// What a mapping may put at a place.
#[derive(Clone, PartialEq, Eq)]
pub enum Value {
    /// Nothing between the delimiters.
    Empty,
    /// `""`: the receiver is to delete what it has.
    Null,
    Text(String),
    /// Written `YYYYMMDD`.
    Date(civil::Date),
    /// Written in the flow's zone with its offset.
    DateTime(DateTime),
    Phone {
        /// As LeadSquared has it.
        number: String,
        form: PhoneForm,
    },
}

/// How an EHR has phone numbers: XTN.1 as one text, or parts of its own (HL7 v2.5.1, 2.A.89).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PhoneForm {
    /// XTN.1: `(555)123-4567` where numbers are ten digits (North America), else digits; `+44 2079460958` for one of
    /// another country.
    National,
    /// The national number in digits, `5551234567`; `442079460958` for one of another country.
    Digits,
    /// XTN.12: `+15551234567`.
    International,
    /// XTN.5: `1`.
    CountryCode,
    /// XTN.6: `555` in North America; nothing elsewhere, where it is part of the number.
    AreaCode,
    /// XTN.7: what follows country and area code, in digits.
    Local,
}

impl fmt::Debug for Composed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Composed::Write(placements) => f.debug_tuple("Write").field(placements).finish(),
            Composed::Skip(_) => f.write_str("Skip"),
        }
    }
}

impl fmt::Debug for Placement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Placement({}, {:?})", self.path, self.value)
    }
}

impl fmt::Debug for Value {
    /// Tells the kind and never the value, which is patient data.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Value::Empty => "Empty",
            Value::Null => "Null",
            Value::Text(_) => "Text",
            Value::Date(_) => "Date",
            Value::DateTime(_) => "DateTime",
            Value::Phone { .. } => "Phone",
        })
    }
}

/// A placement finished: what will be written, before it is escaped.
///
/// As JSON it can be sealed, and its bytes compared with those of what was sent last.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Filling {
    pub path: Path,
    pub fill: Fill,
}

/// What is written at a place.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fill {
    Empty,
    Null,
    Text(String),
}

impl Filling {
    /// The form that [`hl7::fill::fill`] takes.
    pub fn as_placement(&self) -> (&Path, hl7::Fill<'_>) {
        let fill = match &self.fill {
            Fill::Empty => hl7::Fill::Empty,
            Fill::Null => hl7::Fill::Null,
            Fill::Text(text) => hl7::Fill::Text(text),
        };
        (&self.path, fill)
    }
}

impl fmt::Debug for Filling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fill = match self.fill {
            Fill::Empty => "Empty",
            Fill::Null => "Null",
            Fill::Text(_) => "Text",
        };
        write!(f, "Filling({}, {fill})", self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHANGE: &str = r#"{"event":"lead-update",
        "lead":{"before":{"FirstName":"Ann","Phone":"+1-2075550134","Mobile":null,"mx_City":"Rye"},
                "after":{"FirstName":"Anne","Phone":"","Mobile":"","mx_City":"Rye","mx_Zip":"04101","mx_State":null}},
        "activity":{"after":{"mx_Custom_1":"B-1","Status":""}}}"#;

    fn change() -> Change {
        serde_json::from_str(CHANGE).unwrap()
    }

    #[test]
    fn a_field_has_three_states_and_null_only_if_the_change_emptied_it() {
        let change = change();
        let check = |field: &str, moment, expected: &str| {
            let field = Field::parse(field).unwrap();
            let content = match change
                .snapshot(field.entity)
                .unwrap()
                .get(field.name, moment)
            {
                Content::Absent => "absent".into(),
                Content::Null => "null".into(),
                Content::Text(text) => format!("'{text}'"),
            };
            assert_eq!(content, expected, "{field} {moment:?}");
        };
        check("lead.FirstName", Moment::Before, "'Ann'");
        check("lead.FirstName", Moment::After, "'Anne'");
        check("lead.Phone", Moment::Before, "'+1-2075550134'");
        check("lead.Phone", Moment::After, "null");
        check("lead.Mobile", Moment::Before, "absent");
        check("lead.Mobile", Moment::After, "absent");
        check("lead.mx_Zip", Moment::Before, "absent");
        check("lead.mx_State", Moment::After, "absent");
        check("lead.nothing", Moment::After, "absent");
        check("activity.mx_Custom_1", Moment::Before, "absent");
        check("activity.mx_Custom_1", Moment::After, "'B-1'");
        check("activity.Status", Moment::After, "absent");
    }

    #[test]
    fn changed_fields_are_told_and_asked_for() {
        let change = change();
        let changed: Vec<_> = change.changed().map(|field| field.to_string()).collect();
        assert_eq!(
            changed,
            [
                "lead.FirstName",
                "lead.Phone",
                "lead.mx_Zip",
                "activity.mx_Custom_1"
            ]
        );
        let concerns = |reads: &[&str]| {
            let reads: Vec<_> = reads.iter().map(|read| String::from(*read)).collect();
            change.concerns(&reads)
        };
        assert!(concerns(&["lead.mx_City", "lead.Phone"]));
        assert!(!concerns(&[
            "lead.mx_City",
            "lead.Mobile",
            "activity.Status"
        ]));
    }

    #[test]
    fn a_change_is_kept_as_json_and_shown_without_values() {
        let change = change();
        let kept = serde_json::to_string(&change).unwrap();
        assert_eq!(serde_json::from_str::<Change>(&kept).unwrap(), change);
        let shown = format!("{change:?}");
        assert!(
            !shown.contains("Ann") && !shown.contains("Phone"),
            "{shown}"
        );
        let filling = Filling {
            path: "PID-5.1".parse().unwrap(),
            fill: Fill::Text("Hartmann".into()),
        };
        assert_eq!(format!("{filling:?}"), "Filling(PID-5.1, Text)");
        let kept = serde_json::to_string(&filling).unwrap();
        assert_eq!(kept, r#"{"path":"PID-5.1","fill":{"text":"Hartmann"}}"#);
    }

    #[test]
    fn a_field_is_named_as_grants_name_it() {
        for right in ["lead.FirstName", "activity.mx_Custom_1"] {
            assert_eq!(Field::parse(right).unwrap().to_string(), right);
        }
        for wrong in ["FirstName", "lead.", "lead.a b", "task.x", "lead.a.b"] {
            assert!(Field::parse(wrong).is_none(), "{wrong}");
        }
    }
}
