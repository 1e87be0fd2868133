//! Which patient a message is about: the key of its lanes.
//!
//! A merge or a change of identifiers is about two, and so are messages with two PID segments (A17, A24, A37).

use indexmap::IndexSet;
use serde::{Deserialize, Serialize};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

use super::Event;
use crate::hl7::{Fill, Message, Path, Segment};

/// How the patient key of a message is read.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PatientKeyRule {
    /// PID-3 where `.5` is MR, else PI, else PT, else the first repetition, together with `.4`; else PID-2. MRG-1 alike.
    #[default]
    Default,
    /// What stands at this path, for senders that keep their identifier elsewhere. If it is in PID-2 or PID-3, the
    /// retired identifier is at the same place of MRG-1, else it is the first of MRG-1.
    Path(Path),
}

/// Written as text, which no derived schema can know.
impl PartialSchema for Path {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .examples([serde_json::json!("PID-3[.5='MR'].1")])
            .into()
    }
}

impl ToSchema for Path {}

impl PatientKeyRule {
    /// The patient keys of a message, without duplicates; none if it is about no patient.
    pub fn keys(&self, message: &Message) -> Vec<String> {
        let mut keys = IndexSet::new();
        if let PatientKeyRule::Path(path) = self {
            let retired = match (path.segment(), path.field()) {
                ("PID", Some(2 | 3)) => path.moved_to("MRG", 1),
                _ => Path::new("MRG", Some(1)).and_then(|path| path.moved_to("MRG", 1)),
            };
            let every = path
                .field()
                .and_then(|field| path.moved_to(path.segment(), field));
            for path in every.iter().chain(&retired) {
                for hit in message.get_all(path) {
                    add(&mut keys, &hit.text_or_empty());
                }
            }
            return keys.into_iter().collect();
        }
        for segment in message.segments() {
            let key = match segment.name() {
                "PID" => identifier(segment, 3).or_else(|| identifier(segment, 2)),
                "MRG" => identifier(segment, 1),
                _ => None,
            };
            add(&mut keys, &key.unwrap_or_default());
        }
        keys.into_iter().collect()
    }
}

/// What a message says about which identifiers belong to one patient.
#[derive(Clone, PartialEq, Eq)]
pub enum Change {
    /// `from` is retired; the patient is `to` from now on.
    Merged { from: String, to: String },
    /// Two identifiers of one patient, both in use.
    Linked(String, String),
    /// Two patients after all.
    Unlinked(String, String),
}

/// Whether an event changes which identifiers belong to whom (chapter 3 of the standard).
///
/// That is: merges of patients and persons (A18, A30, A34, A36, A39, A40), moves and changes of identifiers (A43, A46,
/// A47), link (A24) and unlink (A37). Merges and moves of accounts and visits (A35, A41, A42, A44, A45, A49, A50) leave the patient's identifiers alone.
pub fn changes_identifiers(event: &Event) -> bool {
    event.message_code == "ADT"
        && matches!(
            event.trigger_event.as_str(),
            "A18" | "A24" | "A30" | "A34" | "A36" | "A37" | "A39" | "A40" | "A43" | "A46" | "A47"
        )
}

impl PatientKeyRule {
    /// What a message of one of the events above says, in patient keys.
    pub fn changes(&self, event: &Event, message: &Message) -> Vec<Change> {
        if !changes_identifiers(event) {
            return Vec::new();
        }
        if matches!(event.trigger_event.as_str(), "A24" | "A37") {
            let keys = self.keys(message);
            let [first, second] = keys.as_slice() else {
                return Vec::new();
            };
            let (first, second) = (first.clone(), second.clone());
            return vec![match event.trigger_event.as_str() {
                "A24" => Change::Linked(first, second),
                _ => Change::Unlinked(first, second),
            }];
        }
        let mut to: Option<String> = None;
        let mut changes = Vec::new();
        for segment in message.segments() {
            match segment.name() {
                "PID" => to = self.key_of(message, segment),
                "MRG" => {
                    let from = self.retired_of(segment);
                    if let (Some(from), Some(to)) = (from, to.clone())
                        && from != to
                    {
                        changes.push(Change::Merged { from, to });
                    }
                }
                _ => {}
            }
        }
        changes
    }

    /// The key that one PID gives.
    fn key_of(&self, message: &Message, pid: Segment<'_>) -> Option<String> {
        match self {
            PatientKeyRule::Default => identifier(pid, 3).or_else(|| identifier(pid, 2)),
            // A path says which repetition to read, and messages with several patients have none that says which PID.
            PatientKeyRule::Path(_) => self.keys(message).into_iter().next(),
        }
    }

    /// The key that an MRG retires.
    fn retired_of(&self, mrg: Segment<'_>) -> Option<String> {
        match self {
            PatientKeyRule::Default => identifier(mrg, 1),
            PatientKeyRule::Path(_) => {
                let id = mrg.get(1, 1).text_or_empty().trim().to_owned();
                (!id.is_empty()).then_some(id)
            }
        }
    }

    /// Writes identifier `to` where the message has `from`, so that it reads like a message about the survivor; gives
    /// whether it was there.
    pub fn replace(&self, message: &mut Message, from: &str, to: &str) -> bool {
        if let PatientKeyRule::Path(path) = self {
            return message.set(path, Fill::Text(to)).is_ok();
        }
        let (id, authority) = to.split_once('^').unwrap_or((to, ""));
        for field in [3, 2] {
            let Some(pid) = message.segments().find(|segment| segment.name() == "PID") else {
                return false;
            };
            let place = pid
                .repetitions(field)
                .position(|repetition| key(repetition).as_deref() == Some(from));
            let Some(place) = place else { continue };
            let path = |component: u8| {
                format!("PID-{field}[{}].{component}", place + 1)
                    .parse::<Path>()
                    .ok()
            };
            let mut is_set = path(1).is_some_and(|path| message.set(&path, Fill::Text(id)).is_ok());
            if from.split_once('^').map(|(_, authority)| authority) != Some(authority) {
                is_set &=
                    path(4).is_some_and(|path| message.set(&path, Fill::Text(authority)).is_ok());
            }
            return is_set;
        }
        false
    }
}

/// `<id>^<authority>` of one repetition.
fn key(repetition: crate::hl7::Repetition<'_>) -> Option<String> {
    let text = |component| {
        repetition
            .leaf(component, 1)
            .text_or_empty()
            .trim()
            .to_owned()
    };
    let id = text(1);
    (!id.is_empty()).then(|| format!("{id}^{}", text(4)))
}

fn add(keys: &mut IndexSet<String>, key: &str) {
    if !key.trim().is_empty() {
        keys.insert(key.trim().into());
    }
}

/// `<id>^<authority>` of the repetition that names the patient best; medical record number first.
fn identifier(segment: Segment<'_>, field: usize) -> Option<String> {
    let rank = |kind: &str| {
        ["MR", "PI", "PT"]
            .iter()
            .position(|known| *known == kind)
            .unwrap_or(3)
    };
    segment
        .repetitions(field)
        .filter_map(|repetition| {
            let kind = repetition.leaf(5, 1).text_or_empty();
            Some((rank(kind.trim()), key(repetition)?))
        })
        // The first of those that rank alike.
        .min_by_key(|(rank, _)| *rank)
        .map(|(_, key)| key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(rule: &PatientKeyRule, segments: &str, expected: &[&str]) {
        let bytes = format!("MSH|^~\\&|EHR|||||ADT^A01|1|P|2.5\r{segments}");
        let message = Message::parse(bytes.as_bytes()).unwrap();
        assert_eq!(rule.keys(&message), expected, "{segments}");
    }

    #[test]
    fn keys_by_default() {
        let check =
            |segments, expected: &[&str]| check(&PatientKeyRule::Default, segments, expected);
        check(
            "PID|1||77^^^NORTH&1.2.3&ISO^PI~12^^^WEST^MR~13^^^EAST^MR",
            &["12^WEST"],
        );
        check("PID|1||77^^^NORTH^PT~12^^^WEST^PI", &["12^WEST"]);
        check("PID|1||77^^^NORTH^SS~12^^^WEST^XX", &["77^NORTH"]);
        check("PID|1||^^^NORTH^MR~ 12 ^^^WEST", &["12^WEST"]);
        check("PID|1||77", &["77^"]);
        check("PID|1|5^^^OLD|", &["5^OLD"]);
        check("PID|1||\"\"", &[]);
        check("PID|1||1^^^A^MR\rMRG|2^^^A^PI~3^^^A^MR", &["1^A", "3^A"]);
        check("PID|1||1^^^A^MR\rMRG|1^^^A^MR", &["1^A"]);
        check(
            "PID|1||1^^^A^MR\rPV1|1\rPID|2||2^^^A^MR\rPV1|2",
            &["1^A", "2^A"],
        );
        check("SCH|1", &[]);
    }

    /// What a message says about identifiers, in words.
    fn changes(rule: &PatientKeyRule, trigger: &str, segments: &str) -> String {
        let bytes = format!("MSH|^~\\&|EHR|||||ADT^{trigger}|1|P|2.5\r{segments}");
        let message = Message::parse(bytes.as_bytes()).unwrap();
        let words = rule.changes(&Event::new("ADT", trigger), &message);
        let words = words.into_iter().map(|change| match change {
            Change::Merged { from, to } => format!("{from} > {to}"),
            Change::Linked(one, two) => format!("{one} = {two}"),
            Change::Unlinked(one, two) => format!("{one} / {two}"),
        });
        words.collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn merges_links_and_changes_of_identifiers() {
        let rule = &PatientKeyRule::Default;
        let one = "PID|1||1^^^A^MR\rMRG|2^^^A^MR";
        for trigger in [
            "A18", "A30", "A34", "A36", "A39", "A40", "A43", "A46", "A47",
        ] {
            assert_eq!(changes(rule, trigger, one), "2^A > 1^A", "{trigger}");
        }
        for trigger in ["A08", "A35", "A41", "A44", "A45"] {
            assert_eq!(changes(rule, trigger, one), "", "{trigger}");
        }
        // A40 repeats its patients.
        let two = "PID|1||1^^^A^MR\rMRG|2^^^A^PI~3^^^A^MR\rPID|2||4^^^A^MR\rMRG|5^^^A^MR";
        assert_eq!(changes(rule, "A40", two), "3^A > 1^A, 5^A > 4^A");
        assert_eq!(changes(rule, "A40", "PID|1||1^^^A^MR\rMRG|1^^^A^MR"), "");
        assert_eq!(changes(rule, "A40", "PID|1||\rMRG|1^^^A^MR"), "");
        let pair = "PID|1||1^^^A^MR\rPID|2||2^^^A^MR";
        assert_eq!(changes(rule, "A24", pair), "1^A = 2^A");
        assert_eq!(changes(rule, "A37", pair), "1^A / 2^A");
        assert_eq!(changes(rule, "A37", "PID|1||1^^^A^MR"), "");
        let rule = &PatientKeyRule::Path("PID-3.1".parse().unwrap());
        assert_eq!(changes(rule, "A40", one), "2 > 1");
    }

    #[test]
    fn a_retired_identifier_gives_way_to_the_survivors() {
        let check = |rule: &PatientKeyRule, pid: &str, from: &str, to: &str, expected: &str| {
            let bytes = format!("MSH|^~\\&|EHR|||||ADT^A08|1|P|2.5\r{pid}\r");
            let mut message = Message::parse(bytes.as_bytes()).unwrap();
            rule.replace(&mut message, from, to);
            let text = String::from_utf8(message.to_bytes()).unwrap();
            assert_eq!(text.split('\r').nth(1), Some(expected), "{from} {to}");
        };
        let rule = PatientKeyRule::Default;
        let pid = "PID|1||9^^^X^SS~2^^^A&1.2&ISO^MR||Ana";
        check(
            &rule,
            pid,
            "2^A",
            "1^A",
            "PID|1||9^^^X^SS~1^^^A&1.2&ISO^MR||Ana",
        );
        check(&rule, pid, "2^A", "1^B", "PID|1||9^^^X^SS~1^^^B^MR||Ana");
        check(&rule, pid, "3^A", "1^A", pid);
        check(&rule, "PID|1|2|", "2^", "1^", "PID|1|1|");
        let rule = PatientKeyRule::Path("PID-18.1".parse().unwrap());
        check(
            &rule,
            "PID|||||||||||||||||| 5 ^^^A",
            "5",
            "7",
            "PID||||||||||||||||||7^^^A",
        );
    }

    #[test]
    fn keys_by_path() {
        let rule = PatientKeyRule::Path("PID-3[.5='PI'].1".parse().unwrap());
        check(
            &rule,
            "PID|1||1^^^A^MR~2^^^A^PI\rMRG|8^^^A^MR~9^^^A^PI",
            &["2", "9"],
        );
        check(&rule, "PID|1||2^^^A^PI\rPID|2||3^^^A^PI", &["2", "3"]);
        let rule = PatientKeyRule::Path("PID-18.1".parse().unwrap());
        check(
            &rule,
            "PID|||||||||||||||||| 5 ^^^A\rMRG|9^^^A~8",
            &["5", "9"],
        );
        let kept = serde_json::to_string(&rule).unwrap();
        assert_eq!(serde_json::from_str::<PatientKeyRule>(&kept).unwrap(), rule);
    }
}
