//! Components generated from documents.

use std::process::Command;

use ligature::mapping::native::{self, Facts};
use ligature::mapping::starter::STARTERS;

use super::*;

const LEAD: &str = include_str!("../../../examples/quickstart/adt-a04-lead.toml");
const ACTIVITY: &str = include_str!("../../../examples/quickstart/siu-s12-activity.toml");
const A04: &[u8] = include_bytes!("../../../examples/quickstart/adt-a04.hl7");
const S12: &[u8] = include_bytes!("../../../examples/quickstart/siu-s12.hl7");

fn document(text: &str) -> Document {
    Document::parse(text).unwrap_or_else(|faults| panic!("{}", faults[0]))
}

const LEAD_UPDATE: &str = include_str!("../../../examples/quickstart/lead-update-adt-a08.toml");
const ACTIVITY_BOOKED: &str = include_str!("../../../examples/quickstart/activity-siu-s12.toml");

#[test]
fn the_same_document_gives_the_same_small_component_and_gives_it_back() {
    for text in [LEAD, ACTIVITY, LEAD_UPDATE, ACTIVITY_BOOKED] {
        let parsed = document(text);
        let component = generate::component(&parsed).unwrap();
        assert!(component.len() < 512 * 1024, "{} bytes", component.len());
        assert!(component == generate::component(&document(&parsed.to_text())).unwrap());
        let back = generate::document_of(&component).unwrap();
        assert_eq!(back.to_text(), parsed.to_text());
    }
    assert!(generate::document_of(&guests::guest("misbehaving")).is_none());
}

#[test]
fn the_quickstart_documents_are_in_their_written_form() {
    for text in [LEAD, ACTIVITY, LEAD_UPDATE, ACTIVITY_BOOKED] {
        assert_eq!(document(text).to_text(), text);
    }
}

#[test]
fn the_manifest_is_the_documents() {
    let fixture = Fixture::new();
    let component = fixture.load(&generate::component(&document(ACTIVITY)).unwrap());
    let manifest = &component.manifest;
    assert_eq!(manifest.name, "SIU S12 to activity");
    assert_eq!(manifest.events, ["SIU^S12", "SIU^S14", "SIU^S15"]);
    assert_eq!(manifest.reads, document(ACTIVITY).reads());
    let targets: Vec<_> = manifest
        .activity_targets
        .iter()
        .map(|target| target.name.as_str())
        .collect();
    assert_eq!(
        targets,
        [
            "Status",
            "mx_Custom_2",
            "mx_Custom_4",
            "mx_Custom_5",
            "mx_Custom_6"
        ]
    );
    let mrn = manifest
        .lead_targets
        .iter()
        .find(|target| target.name == "mx_MRN");
    assert!(mrn.unwrap().required);
}

#[test]
fn a_component_and_the_plain_function_map_alike() {
    let fixture = Fixture::new();
    for (text, messages) in [(LEAD, A04), (ACTIVITY, S12)] {
        let document = document(text);
        compare(
            &fixture,
            &document,
            &generate::component(&document).unwrap(),
            messages,
        );
    }
}

#[test]
fn an_outbound_component_and_the_plain_function_compose_alike() {
    let fixture = Fixture::new();
    for text in [LEAD_UPDATE, ACTIVITY_BOOKED] {
        let document = document(text);
        compare_outbound(
            &fixture,
            &document,
            &generate::component(&document).unwrap(),
        );
    }
}

#[test]
fn starters_map_alike_as_components() {
    let fixture = Fixture::new();
    for starter in STARTERS {
        if !["adt-a03", "adt-a40", "siu-s15", "lead-to-adt-a08"].contains(&starter.name) {
            continue;
        }
        let document = starter.document();
        let component = generate::component(&document).unwrap();
        match document.direction {
            Direction::EhrToLeadSquared => {
                let message = starter.sample.replace('\n', "\r");
                compare(&fixture, &document, &component, message.as_bytes());
            }
            Direction::LeadSquaredToEhr => compare_outbound(&fixture, &document, &component),
        }
    }
}

/// The kept interpreters are what their source gives: to the byte with the compiler that is recorded, in what they do
/// with another.
#[test]
fn the_kept_interpreters_are_what_their_source_gives() {
    let [inbound, outbound] = guests::mappers();
    let recorded = std::fs::read_to_string(guests::root().join("plugins/mapper/compiler.txt"));
    let recorded = recorded.unwrap();
    let here = Command::new("rustc").arg("--version").output().unwrap();
    let here = String::from_utf8(here.stdout).unwrap();
    if here == recorded {
        assert!(
            inbound == ligature_mapper::INBOUND_MODULE
                && outbound == ligature_mapper::OUTBOUND_MODULE,
            "the modules in plugins/mapper are not what its source gives: run plugins/mapper/build"
        );
        return;
    }
    #[expect(clippy::print_stderr, reason = "the reader of the test must know")]
    {
        eprintln!(
            "the interpreters were built with {}, this is {}: comparing what both do instead of bytes",
            recorded.trim(),
            here.trim()
        );
    }
    let fixture = Fixture::new();
    for (text, messages) in [(LEAD, A04), (ACTIVITY, S12)] {
        let document = document(text);
        let kept = generate::component(&document).unwrap();
        let other = generate::component_with(&inbound, &document).unwrap();
        compare(&fixture, &document, &kept, messages);
        compare(&fixture, &document, &other, messages);
    }
    for text in [LEAD_UPDATE, ACTIVITY_BOOKED] {
        let document = document(text);
        let other = generate::component_with(&outbound, &document).unwrap();
        compare_outbound(&fixture, &document, &other);
    }
}

/// Composes a change as a component and natively, and compares all that came of it.
fn compare_outbound(fixture: &Fixture, document: &Document, component: &[u8]) {
    let component = fixture.load(component);
    assert_eq!(component.manifest.reads, document.reads());
    let release = Arc::new(release(&component));
    let input = change_input(&release, CHANGE);
    let facts = facts(&release, "");
    let native = native::compose(&document.to_program(), &input.change, &facts).unwrap();
    let run = fixture.runtime.compose(component, input);
    assert!(run.outcome == native.outcome, "{:?}", run.outcome);
    assert_eq!(run.warnings, native.warnings);
}

/// Maps each message as a component and natively, and compares all that came of it.
fn compare(fixture: &Fixture, document: &Document, component: &[u8], messages: &[u8]) {
    let component = fixture.load(component);
    assert_eq!(component.manifest.reads, document.reads());
    let release = Arc::new(release(&component));
    let program = document.to_program();
    for bytes in ligature::hl7::batch::split(messages) {
        let input = input(&release, "ADT^A04", bytes);
        let facts = facts(&release, "ADT^A04");
        let native = native::map(&program, &input.message, &facts).unwrap();
        let run = fixture.runtime.run(component.clone(), input);
        assert!(run.outcome == native.outcome, "{:?}", run.outcome);
        assert_eq!(run.warnings, native.warnings);
    }
}

/// What the host of [`input`] and [`change_input`] would answer.
fn facts(release: &Release, event: &str) -> Facts {
    let received_at = jiff::Timestamp::from_millisecond(1_772_438_114_000).unwrap();
    Facts {
        channel: "ehr".into(),
        ..Facts::of(release, &Tables::new(), event, received_at)
    }
}
