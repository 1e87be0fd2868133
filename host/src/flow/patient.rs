//! Which patient a message is about: the key of its lanes.
//!
//! A merge or a change of identifiers is about two, and so are messages with two PID segments (A17, A24, A37).

use serde::{Deserialize, Serialize};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

use crate::hl7::{Message, Path, Segment};

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
        let mut keys = Vec::new();
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
            return keys;
        }
        for segment in message.segments() {
            let key = match segment.name() {
                "PID" => identifier(segment, 3).or_else(|| identifier(segment, 2)),
                "MRG" => identifier(segment, 1),
                _ => None,
            };
            add(&mut keys, &key.unwrap_or_default());
        }
        keys
    }
}

fn add(keys: &mut Vec<String>, key: &str) {
    let key = key.trim();
    if !key.is_empty() && !keys.iter().any(|known| known == key) {
        keys.push(key.into());
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
    let text = |content: crate::hl7::Content<'_>| content.text_or_empty().trim().to_owned();
    segment
        .repetitions(field)
        .map(|repetition| {
            (
                rank(&text(repetition.leaf(5, 1))),
                text(repetition.leaf(1, 1)),
                repetition,
            )
        })
        .filter(|(_, id, _)| !id.is_empty())
        // The first of those that rank alike.
        .min_by_key(|(rank, _, _)| *rank)
        .map(|(_, id, repetition)| format!("{id}^{}", text(repetition.leaf(4, 1))))
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
