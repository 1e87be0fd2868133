//! Documents in, what they say or what is wrong with them out.

use insta::assert_snapshot;

use super::*;
use crate::flow::mapped::Refusal;
use crate::hl7::Message;
use crate::mapping::native::{self, Facts, Ran};
use crate::mapping::{Failure, shown};

mod laws;
mod outbound;
pub(in crate::mapping) mod reference;
mod rows;

/// All faults of a text, a line each.
fn faults(text: &str) -> String {
    match Document::parse(text) {
        Ok(_) => "no fault".into(),
        Err(faults) => faults.iter().map(|fault| format!("{fault}\n")).collect(),
    }
}

fn document(text: &str) -> Document {
    Document::parse(text).unwrap_or_else(|_| panic!("{}", faults(text)))
}

/// What the host of these tests answers.
fn facts() -> Facts {
    Facts {
        event: "ADT^A04".into(),
        received_at: "2026-03-02T13:15:14Z".parse().unwrap(),
        channel: "ehr".into(),
        settings: [("clinic".to_owned(), "Lakeside".to_owned())].into(),
        tables: crate::mapping::tests::tables(),
    }
}

/// Maps one message by a document's text.
fn map(text: &str, message: &str) -> Ran<crate::flow::mapped::Mapped> {
    let message = Message::parse(message.as_bytes()).unwrap();
    native::map(&document(text).to_program(), &message, &facts()).unwrap()
}

/// A message with these segments.
fn message(segments: &str) -> String {
    format!("MSH|^~\\&|A|B|C|D|20260302||ADT^A04|Q1|P|2.5.1\r{segments}\r")
}

/// What came of target `T`: its value as JSON, or as it is where it is text.
fn outcome(text: &str, message: &str) -> String {
    let ran = map(text, message);
    let value = |mapped| shown::mapped(&mapped)["lead"].get("T").cloned();
    said(ran.outcome.map(value), &ran.warnings)
}

fn said(
    outcome: Result<Option<serde_json::Value>, Failure>,
    warnings: &[crate::mapping::Warning],
) -> String {
    use serde_json::Value as Json;
    let value = match outcome {
        Err(Failure::Refused(refusal)) => return refused(refusal),
        Err(Failure::Waits(refusal)) => return format!("waits: {}", refused(refusal)),
        Err(failure) => return failure.sentence(),
        Ok(value) => value,
    };
    let warned = warnings.first().map(|warning| warning.cause.words());
    match (value, warned) {
        (None, None) => "nothing".into(),
        (None, Some(why)) => format!("left out: {why}"),
        (Some(Json::Null), _) => "clear".into(),
        (Some(Json::String(text)), None) => text,
        (Some(Json::String(text)), Some(why)) => format!("{text}, for {why}"),
        (Some(other), None) => other.to_string(),
        (Some(other), Some(why)) => format!("{other}, for {why}"),
    }
}

fn refused(refusal: Refusal) -> String {
    match refusal {
        Refusal::Missing(path) => format!("missing {path}"),
        Refusal::Malformed { path, expected } => format!("malformed {path}: {expected}"),
        Refusal::UnmappedCode { table, code } => format!("no {code} in {table}"),
        Refusal::Other(text) => text,
    }
}

/// One of everything that the text can say.
const FULL: &str = r#"format = 1
name = "Full \"quoted\""
version = "2"
summary = "All there is."
events = ["ADT^A04", "ADT^A08"]

[[lead]]
target = "A"
label = "An A"
path = "PID-3[.5='MR' and .4='IT''S'].1"
hits = "all"
separator = "; "
steps = ["trim", "upper", "lower", "title", { substring = 1, length = 10 }, { replace = "a", with = "b" }, { map = { A = "1", "B C" = "2" }, default = "" }]
when = [{ path = "PID-8", equals = "F" }, { path = "PID-9", in = ["A", "B"] }, { path = "PID-10", present = true }, { path = "PID-11", absent = true }]
null = "clear"
on-error = "refuse"
required = true

[[lead]]
target = "B"
concat = [{ constant = "x" }, { first = ["PID-1", { path = "PID-2", hits = "last" }] }]
separator = " "
steps = [{ date = "first-day" }]

[[activity]]
kind = "visit"
when = [{ path = "SCH-1", present = true }]
key = { path = "SCH-1", required = true }
at = { path = "SCH-11.4", steps = ["date-time"] }
note = { path = "NTE-3" }

[[activity.field]]
target = "C"
path = "PV1-2"
hits = "refuse"

[[activity]]
"#;

#[test]
fn the_written_form_is_read_back_as_it_was() {
    assert_eq!(document(FULL).to_text(), FULL);
}

#[test]
fn rows_and_events_are_sorted() {
    let text = "name='n'\nformat=1\nevents=['ADT^A08','ADT^A04','ADT^A04']\n\
        [[lead]]\npath='PID-2'\ntarget='b'\n[[lead]]\ntarget='a'\nconstant='x'\n";
    assert_snapshot!(document(text).to_text(), @r#"
    format = 1
    name = "n"
    version = "1"
    events = ["ADT^A04", "ADT^A08"]

    [[lead]]
    target = "a"
    constant = "x"

    [[lead]]
    target = "b"
    path = "PID-2"
    "#);
}

#[test]
fn what_is_read_is_what_is_granted() {
    assert_eq!(
        document(FULL).reads(),
        [
            "NTE-3", "PID-1", "PID-10", "PID-11", "PID-2", "PID-3.1", "PID-3.4", "PID-3.5",
            "PID-8", "PID-9", "PV1-2", "SCH-1", "SCH-11.4"
        ]
    );
}

#[test]
fn every_fault_is_told_with_line_row_and_key() {
    let text = r#"format = 2
titel = "x"
events = ["A04", 5]

[[lead]]
target = "A"
path = "PID-"
steps = ["trimm", { substring = 0, length = 2 }, "date", "trim"]
required = "yes"

[[lead]]
path = "PID-3"
constant = "x"

[[lead]]
target = "A"
when = [{ path = "PID-8" }, "PID-8"]
null = "delete"
concat = []
colour = "red"

[[activity]]
key = { path = "PID-3", steps = ["date"] }
at = { path = "SCH-11.4" }
note = "PID-3"
"#;
    assert_snapshot!(faults(text), @r#"
    line 1: format: this release reads format 1
    line 1: name: is needed
    line 2: titel: there is no such key
    line 3: events: expected text, found integer
    line 3: events: event "A04" is not of the form ADT^A04
    line 7: lead row "A": path: "PID-": path "PID-", character 5: expected a field number from 1
    line 8: lead row "A": step 1: "trimm" is not a step; there are trim, upper, lower, title, name, pad, truncate, substring, split, pick, join, replace, extract, replace-pattern, digits, prefix, suffix, default, plain-text, base64, hash, mask, map, table, date, date-time, time, format-date, shift, age, number, add, subtract, multiply, divide, round, format-number, boolean, words, phone
    line 8: lead row "A" step 2: substring: is a number from 1
    line 8: lead row "A": step 4: trim takes text or a list, but a date comes here
    line 9: lead row "A": required: expected true or false, found string
    line 11: lead row 2: target: is needed
    line 11: lead row 2: path and constant exclude each other
    line 17: lead row "A": when: expected a table, found string
    line 17: lead row "A" condition 1: one of present, absent, null, equals, in, matches, below, at-most, at-least and above is needed
    line 18: lead row "A": null: "delete" is none of keep, clear
    line 19: lead row "A": concat: the list is empty or too deep
    line 20: lead row "A": colour: there is no such key
    line 23: activity 1 key: steps: the steps end in a date, but text is needed here
    line 24: activity 1 at: steps: the steps end in text, but a date and time or a date is needed here
    line 25: activity 1: note: expected a table, found string
    "#);
    assert_eq!(
        faults(
            "format = 1\nname = \"x\"\n[[lead]]\ntarget = \"A\"\nconstant = \"x\"\n[[lead]]\ntarget = \"A\"\nconstant = \"y\"\n"
        ),
        "line 6: lead row \"A\": target: the target has a row already\n"
    );
    assert_eq!(
        faults("format = 1\nname = \"x\"\n"),
        "line 1: the document has no row\n"
    );
    assert_snapshot!(faults("format = 1\nname = \n"), @"line 2: string values must be quoted, expected literal string");
}
