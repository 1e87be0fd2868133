//! Documents of the other direction: fields in, places out.

use insta::assert_snapshot;

use super::*;
use crate::flow::change::{Change, Composed};
use crate::flow::mapped::OnError;

const CHANGE: &str = r#"{"event":"lead-activity-update",
    "lead":{"before":{"FirstName":"Ann","Phone":"+1-2075550134","City":"Rye"},
            "after":{"FirstName":"Anne","Phone":"","City":"Rye","Mobile":null,"Born":"1988-07-05 00:00:00",
                "Seen":"2026-10-07 14:03:21","Gender":"Female"}},
    "activity":{"after":{"mx_Custom_1":"B-1"}}}"#;

/// What came of one place; `!` where nothing is sent without it.
fn outcome(text: &str, place: &str) -> String {
    let ran = compose(text);
    let refused = match &ran.outcome {
        Ok(Composed::Write(places)) => {
            let mut places = places.iter();
            places.any(|one| one.path.to_string() == place && one.on_error == OnError::Refuse)
        }
        _ => false,
    };
    let value = |composed| shown::composed(&composed)["places"].get(place).cloned();
    let said = said(ran.outcome.map(value), &ran.warnings);
    said + if refused { "!" } else { "" }
}

fn compose(text: &str) -> Ran<Composed> {
    let change: Change = serde_json::from_str(CHANGE).unwrap();
    native::compose(&document(text).to_program(), &change, &facts()).unwrap()
}

/// The outcome of one place, written as the row's keys.
fn check(row: &str, expected: &str) {
    let text = format!(
        "format = 1\ndirection = \"leadsquared-to-ehr\"\nname = \"t\"\n[[place]]\ntarget = \"PID-5.1\"\n{row}\n"
    );
    assert_eq!(outcome(&text, "PID-5.1"), expected, "{row}");
}

#[test]
fn fields_before_and_after_and_facts() {
    check("field = \"lead.FirstName\"", "Anne");
    check("field = \"lead.FirstName\"\nbefore = true", "Ann");
    check("field = \"activity.mx_Custom_1\"", "B-1");
    check("field = \"lead.Nothing\"", "nothing");
    check("fact = \"event\"", "lead-activity-update");
    check(
        "fact = \"received-at\"\nsteps = [\"date-time\"]",
        r#"{"date-time":"2026-03-02T13:15:14+00:00"}"#,
    );
    check("first = [\"lead.Mobile\", \"lead.FirstName\"]", "Anne");
    check(
        "concat = [\"lead.FirstName\", { field = \"lead.FirstName\", before = true }]\nseparator = \"/\"",
        "Anne/Ann",
    );
}

#[test]
fn what_the_change_emptied_is_null_and_what_was_empty_says_nothing() {
    check("field = \"lead.Phone\"", "nothing");
    check("field = \"lead.Phone\"\nnull = \"clear\"", "clear");
    check("field = \"lead.Mobile\"\nnull = \"clear\"", "nothing");
    check(
        "field = \"lead.Phone\"\nrequired = true",
        "missing lead.Phone",
    );
}

#[test]
fn steps_read_what_leadsquared_writes() {
    check(
        "field = \"lead.Born\"\nsteps = [\"date\"]",
        r#"{"date":"1988-07-05"}"#,
    );
    check(
        "field = \"lead.Seen\"\nsteps = [\"date-time\"]",
        r#"{"date-time":"2026-10-07T14:03:21+00:00"}"#,
    );
    check(
        "field = \"lead.City\"\nsteps = [\"date\"]",
        "left out: it is not of the form that the mapping expects",
    );
    check(
        "field = \"lead.City\"\nsteps = [\"date-time\"]\non-error = \"refuse\"",
        "malformed lead.City: a date and time, yyyy-MM-dd HH:mm:ss",
    );
    check(
        "field = \"lead.Phone\"\nbefore = true\nsteps = [{ phone = \"area-code\" }]",
        r#"{"form":"area-code","phone":"+1-2075550134"}"#,
    );
    check(
        "constant = \"1\"\nsteps = [{ phone = \"local\" }]\non-error = \"refuse\"",
        r#"{"form":"local","phone":"1"}!"#,
    );
    check(
        "field = \"lead.Gender\"\nsteps = [{ map = { Female = \"F\" } }]",
        "F",
    );
}

#[test]
fn conditions_look_at_fields_and_facts() {
    let with = |when: &str| format!("constant = \"x\"\nwhen = [{{ {when} }}]");
    check(&with("field = \"lead.FirstName\", changed = true"), "x");
    check(&with("field = \"lead.Phone\", changed = true"), "x");
    check(&with("field = \"lead.City\", changed = true"), "nothing");
    check(&with("field = \"lead.Phone\", absent = true"), "x");
    check(
        &with("field = \"lead.Phone\", before = true, present = true"),
        "x",
    );
    check(
        &with("fact = \"event\", equals = \"lead-create\""),
        "nothing",
    );
}

const FULL: &str = r#"format = 1
direction = "leadsquared-to-ehr"
name = "Full"
version = "2"
events = ["lead-create", "lead-update"]

[[place]]
target = "NK1[2]-2.1"
fact = "event"

[[place]]
target = "PID-3.1"
label = "Number"
first = ["lead.mx_MRN", { field = "lead.mx_MRN", before = true }, { constant = "x" }]
required = true

[[place]]
target = "PID-3[2].1"
field = "lead.Seen"
before = true
steps = ["date-time"]
when = [{ field = "lead.City", changed = true }, { field = "lead.City", before = true, equals = "Rye" }, { fact = "event", in = ["lead-update"] }]

[[place]]
target = "PID-13.1"
field = "lead.Phone"
steps = [{ phone = "national" }]
null = "clear"
on-error = "refuse"
"#;

#[test]
fn the_written_form_is_read_back_and_grants_are_what_is_read() {
    let parsed = document(FULL);
    assert_eq!(parsed.to_text(), FULL);
    assert_eq!(
        parsed.reads(),
        ["lead.City", "lead.Phone", "lead.Seen", "lead.mx_MRN"]
    );
}

#[test]
fn faults_are_those_of_the_direction() {
    let text = r#"format = 1
direction = "leadsquared-to-ehr"
name = "x"
events = ["ADT^A04"]

[[lead]]
target = "A"
constant = "x"

[[place]]
target = "PID-5"
path = "PID-5"

[[place]]
target = "PID[1]-5.2"
field = "PID-5"

[[place]]
target = "MSH-10"
constant = "x"

[[place]]
target = "PID-3[.5='MR'].1"
first = ["PID-3", "lead.A"]
steps = [{ date = "first-day" }]

[[place]]
target = "nowhere"
fact = "time"
when = [{ fact = "event", changed = true }, { path = "PID-3", present = true }]
"#;
    assert_snapshot!(faults(text), @r#"
    line 4: events: "ADT^A04" is none of lead-create, lead-update, lead-activity-create, lead-activity-update
    line 6: lead: there is no such key
    line 10: place "PID-5": one of field, fact, setting, constant, template, first and concat is needed
    line 12: place "PID-5": path: there is no such key
    line 16: place "PID[1]-5.2": field: "PID-5" is no field: write lead.<Schema> or activity.<Schema>
    line 18: place "MSH-10": target: MSH-10 cannot be filled: MSH-1, 2, 7, 9, 10, 12 and 18 are set by the host and by the template
    line 22: place "PID-3[.5='MR'].1": target: PID-3[.5='MR'].1 cannot be filled: a condition has nothing to look at in an empty message; write a repetition's number
    line 24: place "PID-3[.5='MR'].1": first: "PID-3" is no field: write lead.<Schema> or activity.<Schema>
    line 25: place "PID-3[.5='MR'].1": step 1: LeadSquared's dates are whole: write "date"
    line 29: place "nowhere": fact: "time" is none of event, received-at, channel
    line 30: place "nowhere" condition 1: changed: is true, of a field without before
    line 30: place "nowhere" condition 2: one of field, fact, setting, constant, template, first and concat is needed
    line 30: place "nowhere" condition 2: path: there is no such key
    "#);
    let inbound = "format = 1\nname = \"x\"\n[[lead]]\ntarget = \"A\"\npath = \"PID-13.1\"\nsteps = [{ phone = \"local\" }]\n";
    assert_eq!(
        faults(inbound),
        "line 6: lead row \"A\": step 1: a phone number is written as its field has it, without a step\n"
    );
}

#[test]
fn segments_are_repeated_for_each_item() {
    let text = r#"format = 1
direction = "leadsquared-to-ehr"
name = "x"
version = "1"

[[place]]
target = "PID-1"
constant = "1"

[[repeat]]
target = "AL1"
items = { constant = "DUST; MILK;;NUTS", steps = [{ split = ";" }, "trim"] }
from = 2
limit = 2

[[repeat.place]]
target = "AL1-1"
fact = "number"

[[repeat.place]]
target = "AL1-3.1"
fact = "item"
"#;
    assert_eq!(document(text).to_text(), text);
    let ran = compose(text);
    let composed = ran.outcome.unwrap();
    assert_snapshot!(shown::composed(&composed)["places"], @r#"{"AL1[2]-1":"1","AL1[2]-3.1":"DUST","AL1[3]-1":"2","AL1[3]-3.1":"MILK","PID-1":"1"}"#);
    assert_eq!(ran.warnings[0].row.as_deref(), Some("AL1"));
}
