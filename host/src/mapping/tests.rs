//! The quickstart's documents, as components and natively.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::document::Document;
use super::*;
use crate::flow::mapped::{Assignment, Value};
use crate::flow::{FlowId, Release};
use crate::hl7;

const LEAD: &str = include_str!("../../../examples/quickstart/adt-a04-lead.toml");
const ACTIVITY: &str = include_str!("../../../examples/quickstart/siu-s12-activity.toml");
const A04: &[u8] = include_bytes!("../../../examples/quickstart/adt-a04.hl7");
const S12: &[u8] = include_bytes!("../../../examples/quickstart/siu-s12.hl7");

fn document(text: &str) -> Document {
    Document::parse(text).unwrap_or_else(|faults| panic!("{}", faults[0]))
}

fn runtime(folder: &tempfile::TempDir) -> Arc<Runtime> {
    let config = Config::new(folder.path().into());
    Arc::new(Runtime::new(config, |bytes| Sha256::digest(bytes).into()).unwrap())
}

use sha2::{Digest as _, Sha256};

fn release(component: &Component) -> Arc<Release> {
    Arc::new(Release {
        flow: FlowId::from("flow"),
        component: component.digest.clone(),
        grants: component.manifest.grants(),
        bindings: BTreeMap::new(),
        settings: BTreeMap::new(),
        tables: BTreeMap::new(),
    })
}

fn input(message: &[u8], release: &Arc<Release>) -> Input {
    Input {
        message: Arc::new(hl7::Message::parse(message).unwrap()),
        release: release.clone(),
        tables: Default::default(),
        event: "ADT^A04".into(),
        received_at_ms: 0,
        time_zone: "UTC".into(),
        default_country_code: None,
    }
}

fn shown(mapped: &Mapped) -> String {
    let mut out = String::new();
    let Mapped::Write(write) = mapped else {
        return "skipped".into();
    };
    let assign = |out: &mut String, prefix: &str, assignment: &Assignment| {
        let value = match &assignment.value {
            Value::Text(text) => format!("{text:?}"),
            Value::Date(date) => date.to_string(),
            Value::DateTime(at) => format!("{} {:?}", at.at, at.offset_minutes),
            Value::Clear => "clear".into(),
            _ => "other".into(),
        };
        writeln!(out, "{prefix}{} = {value}", assignment.target).unwrap();
    };
    for assignment in &write.lead {
        assign(&mut out, "", assignment);
    }
    for activity in &write.activities {
        let at = activity.at.map(|at| at.at.to_string());
        writeln!(
            out,
            "activity {:?} at {at:?}: {:?}",
            activity.key, activity.note
        )
        .unwrap();
        for assignment in &activity.fields {
            assign(&mut out, "  ", assignment);
        }
    }
    out
}

fn run(text: &str, messages: &[u8]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let runtime = runtime(&folder);
    let component = generate::component(&document(text)).unwrap();
    let component = runtime.load(&component).unwrap();
    let release = release(&component);
    hl7::batch::split(messages)
        .into_iter()
        .map(|message| {
            let run = runtime.run(component.clone(), input(message, &release));
            match run.outcome {
                Ok(mapped) => shown(&mapped) + "\n",
                Err(failure) => failure.sentence() + "\n",
            }
        })
        .collect()
}

#[test]
fn the_quickstart_registrations_become_leads() {
    insta::assert_snapshot!(run(LEAD, A04));
}

#[test]
fn the_quickstart_bookings_become_activities() {
    insta::assert_snapshot!(run(ACTIVITY, S12));
}
