//! Each starter's sample gives what its file says.

use serde_json::json;

use super::*;
use crate::flow::Direction;
use crate::flow::change::Change;
use crate::hl7::Message;
use crate::mapping::native::{self, Facts};
use crate::mapping::shown;

/// Document in its written form, and what comes of the sample, as they should stand in the files.
fn run(starter: &Starter) -> (String, String) {
    run_as(starter, "")
}

/// The same of a message of `event`.
fn run_as(starter: &Starter, event: &str) -> (String, String) {
    let parsed = Document::parse(starter.document);
    let document = parsed.unwrap_or_else(|faults| panic!("{}: {}", starter.name, faults[0]));
    let program = document.to_program();
    let facts = Facts {
        event: event.into(),
        received_at: "2026-03-02T13:15:14Z".parse().unwrap(),
        channel: "ehr".into(),
        ..Facts::default()
    };
    let (outcome, warnings) = match document.direction {
        Direction::EhrToLeadSquared => {
            let message = starter.sample.replace('\n', "\r");
            let message = Message::parse(message.as_bytes()).unwrap();
            let ran = native::map(&program, &message, &facts).unwrap();
            let outcome = ran.outcome.map(|mapped| shown::mapped(&mapped));
            (outcome, ran.warnings)
        }
        Direction::LeadSquaredToEhr => {
            let change: Change = serde_json::from_str(starter.sample).unwrap();
            let ran = native::compose(&program, &change, &facts).unwrap();
            let outcome = ran.outcome.map(|composed| shown::composed(&composed));
            (outcome, ran.warnings)
        }
    };
    let mut outcome = outcome.unwrap_or_else(|failure| json!({ "failed": failure.sentence() }));
    if !warnings.is_empty() {
        outcome["warnings"] = shown::warnings(&warnings);
    }
    let outcome = serde_json::to_string_pretty(&outcome).unwrap() + "\n";
    (document.to_text(), outcome)
}

#[test]
fn every_sample_gives_what_its_file_says() {
    let folder = std::env::temp_dir().join("ligature-starters");
    let mut wrong = Vec::new();
    for starter in STARTERS {
        let (text, outcome) = run(starter);
        let files = [
            ("toml", text, starter.document),
            ("expected.json", outcome, starter.expected),
        ];
        for (ending, came, kept) in files {
            if came != kept {
                let name = format!("{}.{ending}", starter.name);
                std::fs::create_dir_all(&folder).unwrap();
                std::fs::write(folder.join(&name), came).unwrap();
                wrong.push(name);
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{wrong:?} should be as in {}",
        folder.display()
    );
}

#[test]
fn starters_are_sorted_and_found_by_their_event() {
    assert!(STARTERS.is_sorted_by_key(|starter| starter.name));
    for event in [
        "ADT^A01",
        "ADT^A40",
        "SIU^S26",
        "lead-update",
        "lead-activity-create",
    ] {
        assert_eq!(for_event(event).count(), 1, "{event}");
    }
}

#[test]
fn the_dead_are_not_contacted() {
    for starter in STARTERS {
        if !starter.sample.contains("-0500|Y\n") {
            continue;
        }
        let expected: serde_json::Value = serde_json::from_str(starter.expected).unwrap();
        assert_eq!(
            expected["lead"]["ProspectStage"], "Deceased",
            "{}",
            starter.name
        );
        for field in ["DoNotCall", "DoNotEmail", "DoNotSMS"] {
            assert_eq!(expected["lead"][field], true, "{}", starter.name);
        }
    }
}

#[test]
fn every_starter_to_the_ehr_has_a_message_to_fill() {
    for starter in STARTERS {
        let is_outbound = starter.document().direction == Direction::LeadSquaredToEhr;
        assert_eq!(starter.template.is_some(), is_outbound, "{}", starter.name);
        if let Some(template) = starter.template {
            let message = Message::parse(template.replace('\n', "\r").as_bytes());
            assert!(message.is_ok(), "{}", starter.name);
        }
    }
}

#[test]
fn a_set_makes_of_each_event_what_its_own_starter_makes() {
    let folder = std::env::temp_dir().join("ligature-starters");
    for set in SETS {
        for event in set.events {
            let own = for_event(event).next().unwrap();
            let shared = Starter {
                document: set.document,
                ..*own
            };
            let (text, outcome) = run_as(&shared, event);
            assert_eq!(outcome, own.expected, "{} {event}", set.name);
            if text != set.document {
                std::fs::create_dir_all(&folder).unwrap();
                std::fs::write(folder.join(format!("{}.toml", set.name)), text).unwrap();
                panic!("{} should be as in {}", set.name, folder.display());
            }
        }
    }
}
