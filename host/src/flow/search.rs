//! What an operator finds a message by: patient, appointment, visit, control id.

use indexmap::IndexSet;

use crate::hl7::{Message, Segment};

/// Values that a message is found by, at most; the patient's and the appointment's stand among the first.
const MOST: usize = 200;

/// Values without duplicates, the first 200 of them: every id of PID-3, PID-2 and MRG-1, the appointment's of SCH-1 and SCH-2, PV1-19 and MSH-10.
pub fn keys(message: &Message) -> Vec<String> {
    let mut keys = IndexSet::new();
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
    keys.into_iter().collect()
}

fn add(keys: &mut IndexSet<String>, segment: Segment<'_>, field: usize) {
    for repetition in segment.repetitions(field) {
        let value = repetition.leaf(1, 1).text_or_empty();
        if keys.len() == MOST {
            return;
        }
        if !value.trim().is_empty() {
            keys.insert(value.trim().to_owned());
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

    #[test]
    fn of_very_many_the_first_are_taken() {
        let ids: Vec<String> = (0..100_000).map(|id| id.to_string()).collect();
        let text = format!(
            "MSH|^~\\&|EHR||||||ADT^A04|C|P|2.5\rPID|1||{}",
            ids.join("~")
        );
        let keys = keys(&Message::parse(text.as_bytes()).unwrap());
        assert_eq!(
            (keys.len(), keys[1].as_str(), keys[199].as_str()),
            (200, "0", "198")
        );
    }
}
