//! Documents in, what they say or what is wrong with them out.

use insta::assert_snapshot;
use ligature_mapper as mapper;

use super::*;
use crate::hl7::Message;
use crate::mapping::native::Native;

mod outbound;

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

/// The outcome of one lead row, written as the row's keys, for a message of one PID segment.
fn check(row: &str, pid: &str, expected: &str) {
    let text = format!("format = 1\nname = \"t\"\n[[lead]]\ntarget = \"T\"\n{row}\n");
    let program = document(&text).to_program();
    let program = mapper::decode(&program).unwrap_or_else(|_| panic!("{row}"));
    let message = format!("MSH|^~\\&|A|B|C|D|20260302||ADT^A04|1|P|2.5.1\rPID|{pid}\r");
    let message = Message::parse(message.as_bytes()).unwrap();
    let reader = Native::new(&program, &message).unwrap();
    let contents = mapper::Contents::read(&program, &reader);
    let contents = contents.unwrap_or_else(|_| panic!("{row}"));
    let outcome = match mapper::evaluate(&program, &contents) {
        Ok(evaluated) => match (evaluated.lead.first(), evaluated.left_out.first()) {
            (Some(assignment), _) => shown(&assignment.value),
            (None, Some(left_out)) => {
                format!(
                    "left out, {}: {}",
                    left_out.path,
                    left_out.reason.expected()
                )
            }
            (None, None) => "nothing".into(),
        },
        Err(refusal) => refused(refusal),
    };
    assert_eq!(outcome, expected, "{row}");
}

fn shown(value: &mapper::Value<'_>) -> String {
    let day = |date: &mapper::Date| format!("{}-{}-{}", date.year, date.month, date.day);
    match value {
        mapper::Value::Clear => "clear".into(),
        mapper::Value::Text(text) => text.to_string(),
        mapper::Value::Phone(number, form) => format!("{number} {form:?}"),
        mapper::Value::Date(date) => day(date),
        mapper::Value::DateTime(at) => format!(
            "{} {}:{} {:?}",
            day(&at.date),
            at.time.hour,
            at.time.minute,
            at.offset_minutes
        ),
    }
}

fn refused(refusal: mapper::Refusal) -> String {
    match refusal {
        mapper::Refusal::Missing(path) => format!("missing {path}"),
        mapper::Refusal::Malformed { path, expected } => format!("malformed {path}: {expected}"),
        mapper::Refusal::UnmappedCode { table, code } => format!("no {code} in {table}"),
        mapper::Refusal::Other(text) => text,
    }
}

/// Two MR numbers of different clinics, a null first name, a birth date with a time, a language that is twice there.
const PID: &str = "1||007^^^NORTH^MR~8^^^SOUTH^MR~9^^^STATE^SS||o'neil-bauer^\"\"||19880705103000-0500|F||||||en~en";

#[test]
fn paths_and_their_hits() {
    check("path = \"PID-3[.5='MR'].1\"", PID, "007");
    check("path = \"PID-3[.5='MR' and .4='SOUTH'].1\"", PID, "8");
    check("path = \"PID-3[.5='MR'].1\"\nhits = \"last\"", PID, "8");
    check("path = \"PID-3[.5='MR'].1\"\nhits = \"all\"", PID, "007, 8");
    check(
        "path = \"PID-3[*].1\"\nhits = \"all\"\nseparator = \";\"",
        PID,
        "007;8;9",
    );
    let differ = "left out, PID-3[.5='MR'].1: one value, several hits differ";
    check(
        "path = \"PID-3[.5='MR'].1\"\nhits = \"refuse\"",
        PID,
        differ,
    );
    let refused = "malformed PID-3[.5='MR'].1: one value, several hits differ";
    check(
        "path = \"PID-3[.5='MR'].1\"\nhits = \"refuse\"\nrequired = true",
        PID,
        refused,
    );
    check("path = \"PID-14[*].1\"\nhits = \"refuse\"", PID, "en");
    check(
        "path = \"PID-3[.5='XX'].1\"\nhits = \"all\"",
        PID,
        "nothing",
    );
}

#[test]
fn constants_first_and_concatenation() {
    check("constant = \"EHR\"", PID, "EHR");
    check("first = [\"PID-2\", \"PID-3.1\"]", PID, "007");
    check("first = [\"PID-2\", { constant = \"none\" }]", PID, "none");
    check("first = [\"PID-2\", \"PID-4\"]", PID, "nothing");
    check(
        "concat = [\"PID-2\", \"PID-8\", \"PID-3.4\"]\nseparator = \" \"",
        PID,
        "F NORTH",
    );
    check(
        "concat = [{ constant = \"Sex \" }, \"PID-8\"]",
        PID,
        "Sex F",
    );
    check(
        "concat = [{ constant = \"Sex \" }, \"PID-9\"]",
        PID,
        "nothing",
    );
    check(
        "concat = [{ first = [\"PID-2\", \"PID-8\"] }, \"PID-3.1\"]",
        PID,
        "F007",
    );
}

#[test]
fn steps() {
    check(
        "path = \"PID-5.1\"\nsteps = [\"title\"]",
        PID,
        "O'Neil-Bauer",
    );
    check(
        "path = \"PID-5.1\"\nsteps = [\"upper\", { replace = \"'\" }, { substring = 2, length = 4 }]",
        PID,
        "NEIL",
    );
    check("path = \"PID-7\"\nsteps = [\"date\"]", PID, "1988-7-5");
    check(
        "path = \"PID-7\"\nsteps = [\"date-time\"]",
        PID,
        "1988-7-5 10:30 Some(-300)",
    );
    let no_date = "left out, PID-5.1: a date, YYYYMMDD";
    check("path = \"PID-5.1\"\nsteps = [\"date\"]", PID, no_date);
    check(
        "constant = \"1961\"\nsteps = [{ date = \"first-day\" }]",
        PID,
        "1961-1-1",
    );
    let codes = "path = \"PID-8\"\nsteps = [{ map = { F = \"Female\" } }]";
    check(codes, PID, "Female");
    let other = "path = \"PID-3.4\"\nsteps = [{ map = { F = \"Female\" } }]\non-error = \"refuse\"";
    check(other, PID, "no NORTH in T");
    let default = "path = \"PID-3.4\"\nsteps = [{ map = { F = \"Female\" }, default = \"?\" }]";
    check(default, PID, "?");
}

#[test]
fn null_absent_and_required() {
    check("path = \"PID-5.2\"", PID, "nothing");
    check("path = \"PID-5.2\"\nnull = \"clear\"", PID, "clear");
    check("path = \"PID-6\"\nnull = \"clear\"", PID, "nothing");
    check("path = \"PID-6\"\nrequired = true", PID, "missing PID-6");
    check(
        "path = \"PID-5.2\"\nnull = \"clear\"\nrequired = true",
        PID,
        "missing PID-5.2",
    );
    check(
        "first = [\"PID-2\", \"PID-5.2\"]\nnull = \"clear\"",
        PID,
        "clear",
    );
}

#[test]
fn conditions() {
    let with = |when: &str| format!("path = \"PID-3.1\"\nwhen = [{when}]");
    check(&with("{ path = \"PID-8\", equals = \"F\" }"), PID, "007");
    check(
        &with("{ path = \"PID-8\", equals = \"M\" }"),
        PID,
        "nothing",
    );
    check(
        &with("{ path = \"PID-8\", in = [\"M\", \"F\"] }"),
        PID,
        "007",
    );
    check(
        &with("{ path = \"PID-5.2\", present = true }"),
        PID,
        "nothing",
    );
    check(&with("{ path = \"PID-5.2\", absent = true }"), PID, "007");
    check(
        &with("{ path = \"PID-8\", present = true }, { path = \"PID-2\", present = true }"),
        PID,
        "nothing",
    );
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
    line 8: lead row "A": step 1: not a step; there are "trim", "upper", "lower", "title", "date", "date-time", { date = "first-day" }, { phone = "national" }, { substring = 1, length = 10 }, { replace = "a", with = "b" } and { map = { A = "B" }, default = "C" }
    line 8: lead row "A" step 2: substring: is a number from 1
    line 8: lead row "A": step 4: the step before gives a date, no step takes that
    line 9: lead row "A": required: expected true or false, found string
    line 11: lead row 2: target: is needed
    line 11: lead row 2: path and constant exclude each other
    line 17: lead row "A": when: expected a table, found string
    line 17: lead row "A" condition 1: one of equals, in, present = true and absent = true is needed
    line 18: lead row "A": null: "delete" is none of keep, clear
    line 19: lead row "A": concat: the list is empty or too deep
    line 20: lead row "A": colour: there is no such key
    line 23: activity 1 key: steps: the steps end in a date, but text is needed here
    line 24: activity 1 at: steps: the steps end in text, but a date and time is needed here
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

mod laws {
    use proptest::prelude::*;

    use super::*;

    fn path() -> impl Strategy<Value = Path> {
        prop_oneof![
            Just("PID-3"),
            Just("PID-3[.5='MR'].1"),
            Just("PID-3[.5='M R''s' and .4='\"'].1"),
            Just("OBX[2]-5"),
            Just("ZZZ-1.2.3"),
        ]
        .prop_map(|text| text.parse().unwrap())
    }

    fn text() -> impl Strategy<Value = String> {
        "[a-zA-Zé'\"\\\\ \n\t{}=,]{1,8}"
    }

    fn hits() -> impl Strategy<Value = Hits> {
        prop_oneof![
            Just(Hits::First),
            Just(Hits::Last),
            Just(Hits::Refuse),
            text().prop_map(|separator| Hits::All { separator }),
        ]
    }

    fn source() -> impl Strategy<Value = Source> {
        let leaf = prop_oneof![
            (path(), hits()).prop_map(|(path, hits)| Source::Path { path, hits }),
            text().prop_map(Source::Constant),
        ];
        leaf.prop_recursive(2, 8, 3, |inner| {
            let parts = prop::collection::vec(inner, 1..3);
            prop_oneof![
                parts.clone().prop_map(Source::First),
                (text(), parts).prop_map(|(separator, parts)| Source::Concat { separator, parts }),
            ]
        })
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            Just(Step::Trim),
            Just(Step::Title),
            (1..9_u32, 1..9_u32).prop_map(|(start, length)| Step::Substring { start, length }),
            (text(), text()).prop_map(|(from, to)| Step::Replace { from, to }),
            (
                prop::collection::btree_map(text(), text(), 0..3),
                prop::option::of(text())
            )
                .prop_map(|(entries, default)| Step::Map {
                    entries: entries.into_iter().collect(),
                    default,
                }),
        ]
    }

    fn row() -> impl Strategy<Value = Row> {
        let steps = prop::collection::vec(step(), 0..4);
        (text(), source(), steps, any::<bool>()).prop_map(|(target, source, steps, required)| Row {
            target,
            label: String::new(),
            rule: Rule {
                steps,
                required,
                ..Rule::of(source)
            },
        })
    }

    proptest! {
        #[test]
        fn any_document_is_read_back_as_it_was_written(
            name in text(),
            rows in prop::collection::vec(row(), 1..4),
        ) {
            let mut document = Document {
                direction: Direction::EhrToLeadSquared,
                name,
                version: "1".into(),
                summary: String::new(),
                events: Vec::new(),
                changes: Vec::new(),
                lead: rows,
                activities: Vec::new(),
                places: Vec::new(),
            };
            document.sort();
            document.lead.dedup_by(|a, b| a.target == b.target);
            let text = document.to_text();
            let read = Document::parse(&text);
            prop_assert!(read.is_ok(), "{}\n{}", faults(&text), text);
            prop_assert!(read.is_ok_and(|read| read == document), "{}", text);
        }
    }
}
