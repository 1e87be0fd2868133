//! What an operator finds a message by: patient, appointment, visit.

use crate::hl7::{Message, Segment};

/// Values by kind, without duplicates: `patient` is every id of PID-3, PID-2 and MRG-1, `appointment` SCH-1 and SCH-2,
/// `visit` PV1-19.
pub fn keys(message: &Message) -> Vec<(&'static str, String)> {
    let mut keys = Vec::new();
    for segment in message.segments() {
        match segment.name() {
            "PID" => {
                add(&mut keys, "patient", segment, 3);
                add(&mut keys, "patient", segment, 2);
            }
            "MRG" => add(&mut keys, "patient", segment, 1),
            "SCH" => {
                add(&mut keys, "appointment", segment, 1);
                add(&mut keys, "appointment", segment, 2);
            }
            "PV1" => add(&mut keys, "visit", segment, 19),
            _ => {}
        }
    }
    keys
}

fn add(
    keys: &mut Vec<(&'static str, String)>,
    kind: &'static str,
    segment: Segment<'_>,
    field: usize,
) {
    for repetition in segment.repetitions(field) {
        let value = repetition.leaf(1, 1).text_or_empty();
        let key = (kind, value.trim().to_owned());
        if !key.1.is_empty() && !keys.contains(&key) {
            keys.push(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_every_kind() {
        let text = "MSH|^~\\&|EHR|||||SIU^S12|1|P|2.5\rSCH|A1^X|A2\rPID|1|7|8^^^N~9\rMRG|10~8\rPV1|1|O|||||||||||||||||V5^^^N";
        let message = Message::parse(text.as_bytes()).unwrap();
        let keys: Vec<_> = keys(&message)
            .into_iter()
            .map(|(kind, value)| format!("{kind} {value}"))
            .collect();
        assert_eq!(
            keys,
            [
                "appointment A1",
                "appointment A2",
                "patient 8",
                "patient 9",
                "patient 7",
                "patient 10",
                "visit V5"
            ]
        );
    }
}
