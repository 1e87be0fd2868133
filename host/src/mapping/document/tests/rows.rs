//! One row each: sources, steps, conditions, and what becomes of what does not fit.

use super::*;

/// The outcome of one lead row, written as the row's keys, for a message of one PID segment.
fn check(row: &str, pid: &str, expected: &str) {
    let text = format!("format = 1\nname = \"t\"\n[[lead]]\ntarget = \"T\"\n{row}\n");
    let outcome = outcome(&text, &message(&format!("PID|{pid}")));
    assert_eq!(outcome, expected, "{row}");
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
    let differ = "left out: the message has several values for it";
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
    check(
        "path = \"PID-7\"\nsteps = [\"date\"]",
        PID,
        r#"{"date":"1988-07-05"}"#,
    );
    check(
        "path = \"PID-7\"\nsteps = [\"date-time\"]",
        PID,
        r#"{"date-time":"1988-07-05T10:30:00-05:00"}"#,
    );
    let no_date = "left out: it is not of the form that the mapping expects";
    check("path = \"PID-5.1\"\nsteps = [\"date\"]", PID, no_date);
    check(
        "constant = \"1961\"\nsteps = [{ date = \"first-day\" }]",
        PID,
        r#"{"date":"1961-01-01"}"#,
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

#[test]
fn what_is_silent_may_have_a_default() {
    check("path = \"PID-5.2\"\nnull = { default = \"x\" }", PID, "x");
    check("path = \"PID-6\"\nempty = { default = \"x\" }", PID, "x");
    check("path = \"PID-6\"\nempty = \"clear\"", PID, "clear");
    check("path = \"PID-5.2\"\nempty = \"clear\"", PID, "nothing");
    check(
        "path = \"PID-6\"\nsteps = [\"upper\", { default = \"x\" }, \"upper\"]",
        PID,
        "X",
    );
    check(
        "path = \"PID-5.2\"\nsteps = [{ default = \"x\" }]",
        PID,
        "nothing",
    );
    check(
        "path = \"PID-6\"\nrequired = true\nempty = { default = \"x\" }",
        PID,
        "x",
    );
    // Nothing is parsed of nothing.
    check("path = \"PID-6\"\nsteps = [\"date\"]", PID, "nothing");
    check(
        "constant = \" \"\nsteps = [\"trim\", \"date\"]",
        PID,
        "nothing",
    );
}

#[test]
fn what_cannot_be_used_does_what_its_row_says() {
    let row = |rest: &str| format!("path = \"PID-5.1\"\nsteps = [\"date\"]\n{rest}");
    let malformed = "malformed PID-5.1: a date, YYYYMMDD";
    let left_out = "left out: it is not of the form that the mapping expects";
    check(&row(""), PID, left_out);
    check(&row("on-error = \"leave-out\""), PID, left_out);
    check(&row("on-error = \"refuse\""), PID, malformed);
    check(
        &row("on-error = \"wait\""),
        PID,
        &format!("waits: {malformed}"),
    );
    check(&row("required = true"), PID, malformed);
    check(
        &row("required = true\non-error = \"wait\""),
        PID,
        &format!("waits: {malformed}"),
    );
    check(
        "path = \"PID-6\"\nrequired = true\non-error = \"wait\"",
        PID,
        "waits: missing PID-6",
    );
    check(
        &row("on-error = { default = \"1900-01-01\" }"),
        PID,
        "1900-01-01, for it is not of the form that the mapping expects",
    );
}

#[test]
fn code_tables_are_asked_and_their_misses_told() {
    let row = |rest: &str| format!("path = \"PID-8\"\nsteps = [{{ table = \"genders\"{rest} }}]");
    check(&row(""), PID, "Female");
    check(&row(", column = \"value\""), PID, "Female");
    let other = PID.replace("|F|", "|X|");
    check(&row(""), &other, "left out: its code has no entry");
    check(
        &(row("") + "\non-error = \"wait\""),
        &other,
        "waits: no X in genders",
    );
    check(&row(", default = \"?\""), &other, "?");
    check(&row(", pass = true"), &other, "X");
    check(
        "path = \"PID-8\"\nsteps = [{ table = \"nowhere\" }]",
        PID,
        "nowhere is not known",
    );
}

#[test]
fn conditions_are_nested_and_compare() {
    let with = |when: &str| format!("constant = \"x\"\nwhen = [{when}]");
    let holds = |when: &str| check(&with(when), PID, "x");
    let fails = |when: &str| check(&with(when), PID, "nothing");
    holds("{ any = [{ path = \"PID-8\", equals = \"M\" }, { path = \"PID-8\", equals = \"F\" }] }");
    fails("{ all = [{ path = \"PID-8\", equals = \"M\" }, { path = \"PID-8\", equals = \"F\" }] }");
    holds("{ not = { path = \"PID-8\", equals = \"M\" } }");
    holds("{ path = \"PID-8\", equals = \"f\", any-case = true }");
    holds("{ path = \"PID-8\", in = [\"f\"], any-case = true }");
    holds("{ path = \"PID-5.1\", matches = \"^o'.*-\" }");
    fails("{ path = \"PID-5.1\", matches = \"^bauer\" }");
    holds("{ path = \"PID-5.2\", null = true }");
    fails("{ path = \"PID-6\", null = true }");
    holds("{ path = \"PID-3.1\", equals = \"007\" }");
    holds("{ path = \"PID-3.1\", at-most = 7 }");
    fails("{ path = \"PID-3.1\", below = 7 }");
    holds("{ path = \"PID-3.1\", at-least = \"6.5\" }");
    fails("{ path = \"PID-5.1\", above = 0 }");
    holds("{ path = \"PID-7\", steps = [\"date\"], below = \"1990-01-01\" }");
    holds("{ path = \"PID-7\", steps = [\"date\", { age = \"years\" }], at-least = 18 }");
    holds("{ path = \"PID-7\", steps = [\"date\"], equals = \"1988-07-05\" }");
    // What cannot be read is no value.
    holds("{ path = \"PID-5.1\", steps = [\"date\"], absent = true }");
    holds("{ fact = \"channel\", equals = \"ehr\" }");
    holds("{ count = \"PID-3\", equals = \"3\" }");
}

#[test]
fn parts_have_steps_and_conditions_of_their_own() {
    check(
        "concat = [{ path = \"PID-5.1\", steps = [\"upper\"] }, { path = \"PID-7\", steps = [\"date\", { format-date = \"%Y\" }] }]\nseparator = \" \"",
        PID,
        "O'NEIL-BAUER 1988",
    );
    let first = |code: &str| {
        format!(
            "first = [{{ constant = \"Woman\", when = [{{ path = \"PID-8\", equals = \"{code}\" }}] }}, {{ constant = \"Person\" }}]"
        )
    };
    check(&first("F"), PID, "Woman");
    check(&first("M"), PID, "Person");
}
