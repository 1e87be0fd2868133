//! What becomes of a sample: every way, in bytes.

use super::*;

fn shown(sample: &[u8], reads: &[&str]) -> Vec<(String, String)> {
    let reads: Vec<String> = reads.iter().map(ToString::to_string).collect();
    messages(sample, &reads)
        .into_iter()
        .map(|variation| match variation.sample {
            Sample::Message(bytes) => {
                (variation.what, String::from_utf8_lossy(&bytes).into_owned())
            }
            Sample::Change(_) => panic!("a message becomes messages"),
        })
        .collect()
}

const SAMPLE: &[u8] =
    b"MSH|^~\\&|A|B|C|D|||ADT^A04|1|P|2.5.1\rPID|1||77^^^X^MR||Sample^Ana\rPV1|1|O\r";

#[test]
fn every_segment_and_every_field_that_is_read_is_varied() {
    let all = shown(SAMPLE, &["PID-5"]);
    let of = |what: &str| {
        let found = all.iter().find(|(known, _)| known == what);
        let (_, text) = found.unwrap_or_else(|| panic!("no {what}"));
        text.replace('\r', "\n")
    };
    assert!(!of("without PID in line 2").contains("PID"));
    assert_eq!(
        of("with PV1 in line 3 200 times")
            .matches("PV1|1|O")
            .count(),
        200
    );
    assert!(of("with null in PID-5 in line 2").contains("||\"\"\n"));
    assert!(of("with another value in PID-5 in line 2, part 2").contains("Sample^Qz7Kx0Vw9\n"));
    assert!(of("with 5 MB in PID-5 in line 2").len() > 5 * 1024 * 1024);
    assert!(of("with other delimiters").starts_with("MSH!@$%*!A!B!"));
    assert!(of("in UTF-8, declared as ASCII").contains("é漢Sample"));
    // What the component may not read is left as it is.
    assert!(
        !all.iter()
            .any(|(what, _)| what.contains("PID-3") || what.contains("PV1-2"))
    );
}

#[test]
fn variations_are_messages_and_the_same_each_time() {
    let all = shown(SAMPLE, &["PID", "PV1", "ZZZ"]);
    let unread: Vec<_> = all
        .iter()
        .filter(|(_, text)| Message::parse(text.as_bytes()).is_err())
        .map(|(what, _)| what)
        .collect();
    assert!(unread.is_empty(), "{unread:?}");
    assert_eq!(all, shown(SAMPLE, &["PID", "PV1", "ZZZ"]));
    assert!(all.iter().all(|(what, _)| !what.contains("Ana")));
}

#[test]
fn a_sample_gets_what_is_read() {
    let reads = ["PID-11".to_owned(), "ZAP".to_owned(), "PV1-3".to_owned()];
    let text = complete("MSH|^~\\&|A\nPID|1||7\nPV1|1|O", &reads);
    assert_eq!(
        String::from_utf8(text).unwrap().replace('\r', "\n"),
        "MSH|^~\\&|A\nPID|1||7|1|1|1|1|1|1|1|1\nPV1|1|O|1\nZAP|1|2|3|4|5|6|7|8\n"
    );
}

#[test]
fn every_field_of_a_change_is_varied() {
    let reads = ["lead.LastName".to_owned(), "activity.Status".to_owned()];
    let whole = change("lead-activity-create", &reads);
    assert!(whole.activity.is_some());
    let all: Vec<_> = changes(&whole).into_iter().map(|one| one.what).collect();
    assert!(
        all.contains(&"with 5 MB in LastName of the lead".to_owned()),
        "{all:?}"
    );
    assert!(
        all.contains(&"with null in Status of the activity".to_owned()),
        "{all:?}"
    );
    assert!(
        all.contains(&"with nothing of the activity".to_owned()),
        "{all:?}"
    );
}
