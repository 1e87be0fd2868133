//! What an operator finds a message by: patient, appointment, visit, control id.

use crate::hl7::{Message, Segment};

/// Values without duplicates: every id of PID-3, PID-2 and MRG-1, the appointment's of SCH-1 and SCH-2, PV1-19 and MSH-10.
pub fn keys(message: &Message) -> Vec<String> {
    let mut keys = Vec::new();
    for segment in message.segments() {
        match segment.name() {
            "PID" => {
                add(&mut keys, segment, 3);
                add(&mut keys, segment, 2);
            }
            "SCH" => {
                add(&mut keys, segment, 1);
                add(&mut keys, segment, 2);
            }
            "MSH" => add(&mut keys, segment, 10),
            "MRG" => add(&mut keys, segment, 1),
            "PV1" => add(&mut keys, segment, 19),
            _ => {}
        }
    }
    keys
}

fn add(keys: &mut Vec<String>, segment: Segment<'_>, field: usize) {
    for repetition in segment.repetitions(field) {
        let value = repetition.leaf(1, 1).text_or_empty();
        let key = value.trim().to_owned();
        if !key.is_empty() && !keys.contains(&key) {
            keys.push(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_every_kind() {
        let text = "MSH|^~\\&|EHR||||||SIU^S12|1|P|2.5\rSCH|A1^X|A2\rPID|1|7|8^^^N~9\rMRG|10~8\rPV1|1|O|||||||||||||||||V5^^^N";
        let message = Message::parse(text.as_bytes()).unwrap();
        assert_eq!(keys(&message), ["1", "A1", "A2", "8", "9", "7", "10", "V5"]);
    }
}
