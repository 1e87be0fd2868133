//! The quickstart's documents, as components and natively.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::document::Document;
use super::*;
use crate::flow::mapped::{Assignment, Value};
use crate::flow::{CodeTable, FlowId, Release};
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

/// The one code table of these tests.
pub(super) fn tables() -> Tables {
    let mut genders = CodeTable::new("account".into(), "genders".into());
    let entries = [("F", "Female"), ("M", "Male")];
    let entries = entries.map(|(code, value)| (code.to_owned(), vec![value.to_owned()]));
    genders.entries.extend(entries);
    Tables::from([("genders".to_owned(), Arc::new(genders.into()))])
}

fn input(message: &[u8], release: &Arc<Release>) -> Input {
    Input {
        message: Arc::new(hl7::Message::parse(message).unwrap()),
        release: release.clone(),
        tables: Arc::new(tables()),
        event: "ADT^A04".into(),
        received_at_ms: 0,
        time_zone: "UTC".into(),
        default_country_code: None,
        channel: "ehr".into(),
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

/// Every step on the same text, and one of each of what else there is.
fn everything() -> String {
    let mut text = String::from(
        r#"format = 1
name = "everything"

[[skip]]
reason = "a test"
when = [{ path = "PID-2", equals = "skip" }]

[[refuse]]
reason = "not this"
when = [{ path = "PID-2", equals = "wait" }]
wait = true

[[group]]
name = "loud"
when = [{ any = [{ path = "PID-2", matches = "[A-Z]{2}" }, { not = { count = "OBX", below = 2 } }] }]

[retired]
path = "MRG-1[*].1"
hits = "list"

[[lead]]
target = "hits"
path = "PID-3[*].1"
hits = "all"

[[lead]]
target = "several"
path = "PID-3[*].1"
hits = "refuse"
on-error = { default = "several" }

[[lead]]
target = "loop"
group = "loud"
for-each = "OBX"
filter = [{ path = "OBX-3", present = true }]
limit = 3
template = "{fact.number} {OBX-3}: {OBX-5.1} of {PID-3.1}"

[[lead]]
target = "repetitions"
for-each = "PID-3"
concat = ["PID-3.1", { path = "PID-3.4", steps = ["upper"] }]
separator = "@"
steps = [{ join = " " }]

[[lead]]
target = "raw"
raw = "PID-3"

[[lead]]
target = "facts"
template = "{fact.event} {fact.received-at} {fact.control-id} {fact.channel} {PID-3.1}"

[[activity]]
for-each = "OBX"
filter = [{ path = "OBX-5", at-least = 1 }]
key = { template = "{PID-3.1}-{fact.number}", required = true, on-error = "wait" }
note = { raw = "OBX-5" }
at = { path = "OBX-14", steps = ["date-time"] }

[[activity.field]]
target = "T"
path = "OBX-5[*]"
hits = "last"
"#,
    );
    for (at, chain) in document::tests::reference::chains().into_iter().enumerate() {
        let on_error = match at % 2 {
            0 => "\non-error = { default = \"1\" }",
            _ => "",
        };
        writeln!(
            text,
            "\n[[lead]]\ntarget = \"t{at:02}\"\npath = \"PID-2\"\nsteps = [{chain}]{on_error}"
        )
        .unwrap();
    }
    text
}

/// What is interpreted in the sandbox is what is interpreted natively, whatever the message says.
#[test]
fn a_component_says_what_the_plain_function_says() {
    use proptest::prelude::*;
    use proptest::test_runner::{Config as Cases, TestRunner};

    let folder = tempfile::tempdir().unwrap();
    let runtime = runtime(&folder);
    let document = document(&everything());
    let component = runtime
        .load(&generate::component(&document).unwrap())
        .unwrap();
    let (release, program) = (release(&component), document.to_program());
    let facts = native::Facts {
        channel: "ehr".into(),
        ..native::Facts::of(&release, &tables(), "ADT^A04", jiff::Timestamp::UNIX_EPOCH)
    };
    let text = || {
        prop_oneof![
            "\\PC{0,30}",
            "[0-9]{0,14}",
            "[0-9]{1,2}/[0-9]{1,2}/[0-9]{4}",
            "-?[0-9]{1,12}[.,][0-9]{0,4}",
            "[A-Za-z' ;-]{0,20}",
            Just("skip".to_owned()),
            Just("wait".to_owned()),
        ]
    };
    let messages = prop::collection::vec(text(), 6).prop_map(|texts| {
        let [a, b, c, d, e, f] = &texts[..] else {
            unreachable!("six texts");
        };
        format!(
            "MSH|^~\\&|A|B|C|D|20260302||ADT^A04|Q1|P|2.5.1\rPID|1|{a}|{b}^^^Ward~{c}\r\
             OBX|1||{d}||{e}\rOBX|2||x||{f}~{a}|||||||||20260302\rMRG|{c}~{d}\r"
        )
    });
    let mut runner = TestRunner::new(Cases::with_cases(300));
    let outcome = runner.run(&messages, |message| {
        let Ok(parsed) = hl7::Message::parse(message.as_bytes()) else {
            return Ok(());
        };
        let native = native::map(&program, &parsed, &facts).unwrap();
        let run = runtime.run(component.clone(), input(message.as_bytes(), &release));
        prop_assert!(
            run.outcome == native.outcome,
            "{:?}",
            run.outcome.map(|it| shown::mapped(&it))
        );
        prop_assert_eq!(run.warnings, native.warnings);
        Ok(())
    });
    outcome.unwrap();
}

#[test]
fn warnings_are_counted_and_a_wait_is_its_own_end() {
    let text = "format = 1\nname = \"x\"\n[[lead]]\nid = \"born\"\ntarget = \"mx_Date_of_Birth\"\npath = \"PID-5.1\"\nsteps = [\"date\"]\n\
        [[lead]]\ntarget = \"mx_Gender\"\npath = \"PID-8\"\nsteps = [{ table = \"genders\" }]\non-error = \"wait\"\n";
    let folder = tempfile::tempdir().unwrap();
    let runtime = runtime(&folder);
    let component = runtime
        .load(&generate::component(&document(text)).unwrap())
        .unwrap();
    assert_eq!(component.manifest.tables[0].name, "genders");
    let rows = component.manifest.rows.iter();
    let rows: Vec<_> = rows
        .map(|row| (row.id.as_str(), row.target.as_str()))
        .collect();
    assert_eq!(
        rows,
        [("born", "mx_Date_of_Birth"), ("mx_Gender", "mx_Gender")]
    );
    let release = release(&component);
    let message = |sex: &str| {
        format!("MSH|^~\\&|A|B|C|D|20260302||ADT^A04|Q1|P|2.5.1\rPID|1||7||Roe||19880705|{sex}\r")
    };
    let run = runtime.run(component.clone(), input(message("F").as_bytes(), &release));
    let warned: Vec<_> = run.warned().collect();
    assert_eq!(warned, [("born", Cause::Malformed.words())]);
    assert_eq!(run.warnings[0].path, "PID-5");
    let run = runtime.run(component, input(message("X").as_bytes(), &release));
    let failure = run.outcome.err().unwrap();
    assert_eq!(failure.code(), "mapping-waits");
    assert!(!failure.sentence().contains('X'));
    assert!(
        run.misses
            .iter()
            .any(|miss| miss.table == "genders" && miss.code == "X")
    );
}
