//! `ligature message` as a process: what is printed where, and the exit status.

use std::io::Write;
use std::process::{Command, Stdio};

use anyhow::Context;
use ligature_tests::ligature_binary;
use serde_json::{Value, json};

const ADMIT: &str = "MSH|^~\\&|EHR|NORTH|CRM|HUB|20260102030405||ADT^A04^ADT_A01|M-7|P|2.5.1\r\
PID|1||0012^^^WEST&1.2&ISO^MR~98^^^EAST^PI||Roe&van^Ann^\"\"||19800203|F|||1 \\T\\ 2 Street\\.br\\East^^Town\r\
OBX|1|ST|code||first\r\
OBX|2|CE|code||U^unsure\r\
ZPI|local\r";

/// Exit status, standard output, standard error.
type Ran = (Option<i32>, Vec<u8>, String);

/// Runs `ligature message` with `input` on standard input.
fn run(arguments: &[&str], input: &[u8]) -> anyhow::Result<Ran> {
    let mut child = Command::new(ligature_binary())
        .arg("message")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    // Wrong use ends the process before it reads.
    let _ = child.stdin.take().context("a pipe")?.write_all(input);
    let output = child.wait_with_output()?;
    let said = String::from_utf8(output.stderr)?;
    Ok((output.status.code(), output.stdout, said))
}

#[track_caller]
fn prints(arguments: &[&str], input: &[u8], expected: &[u8]) {
    let (code, printed, said) = run(arguments, input).unwrap();
    let shown = String::from_utf8_lossy(&printed);
    assert_eq!(printed, expected, "{arguments:?}: {shown:?} {said}");
    assert_eq!(code, Some(0), "{arguments:?}: {said}");
}

#[track_caller]
fn fails(arguments: &[&str], input: &[u8], status: i32, expected: &str) {
    let (code, printed, said) = run(arguments, input).unwrap();
    assert_eq!((code, &*printed), (Some(status), &b""[..]), "{arguments:?}");
    assert!(said.contains(expected), "{arguments:?}: {said}");
}

#[test]
fn get_prints_the_value_and_nothing_else() {
    let check = |path: &str, expected: &str| {
        prints(&["get", "-", path], ADMIT.as_bytes(), expected.as_bytes())
    };
    check("PID-5.1", "Roe\n");
    check("PID-3[.5='PI'].1", "98\n");
    check("PID-11", "1 & 2 Street\nEast\n");
    check("PID-5.3", "\"\"\n");
    check("PID-4", "");
    check("PV1-3", "");
    check("OBX[*]-5", "first\nU\n");
    check("OBX[*]-9", "");
    check("MSH-2", "^~\\&\n");
    let raw = |path: &str, expected: &str| {
        prints(
            &["get", "-", path, "--raw"],
            ADMIT.as_bytes(),
            expected.as_bytes(),
        )
    };
    raw("PID-11", "1 \\T\\ 2 Street\\.br\\East^^Town\n");
    raw("PID-3", "0012^^^WEST&1.2&ISO^MR~98^^^EAST^PI\n");
    raw("ZPI", "ZPI|local\n");
    raw("ZPI-2", "");
    let latin = b"MSH|^~\\&|A\rPID|||||Zo\xEB\r";
    prints(&["get", "-", "PID-5"], latin, "Zoë\n".as_bytes());
    prints(
        &["get", "-", "PID-5", "--charset", "8859/2"],
        latin,
        "Zoë\n".as_bytes(),
    );
    let envelope = b"FHS|^~\\&\rBHS|^~\\&\rMSH|^~\\&|ONE\rBTS|1\rFTS|1\r";
    prints(&["get", "-", "MSH-3"], envelope, b"ONE\n");
}

#[test]
fn what_cannot_be_read_prints_nothing() {
    for command in [
        &["get", "-", "PID-5"][..],
        &["set", "-", "PID-5=x"],
        &["show", "-"],
        &["normalize", "-"],
        &["split", "-"],
    ] {
        fails(command, b"PID|1\r", 1, "no MSH segment");
        fails(command, b"", 1, "");
        fails(command, b"MSH|^^\\&|A\r", 1, "MSH-2");
    }
    fails(
        &["get", "no-such-file.hl7", "PID-5"],
        b"",
        1,
        "no-such-file.hl7",
    );
    fails(
        &["get", "-", "MSH-3"],
        b"BHS|^~\\&\rMSH|^~\\&|A\rMSH|^~\\&|B\r",
        1,
        "batch of 2",
    );
}

#[test]
fn wrong_use_points_at_the_character() {
    fails(
        &["get", "-", "PID-3[.5=MR].1"],
        b"",
        2,
        "  PID-3[.5=MR].1\n           ^\n",
    );
    fails(&["get", "-", "PID-"], b"", 2, "character 5");
    fails(&["set", "-", "PID-5"], b"", 2, "PATH=VALUE");
    fails(&["set", "-", "PI=x"], b"", 2, "character 3");
    fails(&["set", "-", "PID-3[.5='MR=x"], b"", 2, "does not end");
    fails(&["set", "-"], b"", 2, "PATH=VALUE");
    fails(
        &["get", "-", "PID-5", "--charset", "KLINGON"],
        b"",
        2,
        "KLINGON",
    );
}

#[test]
fn set_writes_the_rest_back() {
    let check = |edits: &[&str], from: &str, to: &str| {
        let arguments: Vec<&str> = ["set", "-"].iter().chain(edits).copied().collect();
        prints(
            &arguments,
            ADMIT.as_bytes(),
            ADMIT.replacen(from, to, 1).as_bytes(),
        );
    };
    check(&["PID-5.1.1=O|Neil"], "Roe&van", "O\\F\\Neil&van");
    check(&["PID-3[.5='PI'].1=a=b"], "~98^", "~a=b^");
    check(&["PID-7=\"\"", "PID-8="], "19800203|F|", "\"\"||");
    check(&["ZPI-3=x", "ZPI-4=y"], "ZPI|local", "ZPI|local||x|y");
    fails(&["set", "-", "MSH-2=x"], ADMIT.as_bytes(), 1, "delimiters");
    fails(
        &["set", "-", "PID-3[.5='XX'].1=1"],
        ADMIT.as_bytes(),
        1,
        "no repetition",
    );
    let envelope = b"\r\nBHS|^~\\&\nMSH|^~\\&|ONE\r\nPID|\xE9\nBTS|1\n";
    let edited = b"\r\nBHS|^~\\&\nMSH|^~\\&|TWO\r\nPID|\xE9\nBTS|1\n";
    prints(&["set", "-", "MSH-3=TWO"], envelope, edited);
}

#[test]
fn deidentify_prints_another_message_of_the_same_shape() -> anyhow::Result<()> {
    let (code, printed, said) = run(&["deidentify", "-"], ADMIT.as_bytes())?;
    assert_eq!((code, said.as_str()), (Some(0), ""));
    let printed = String::from_utf8(printed)?;
    assert_eq!(printed.len(), ADMIT.len());
    assert_eq!(printed.split('\r').next(), ADMIT.split('\r').next());
    for value in ["0012", "Roe", "Ann", "19800203", "Street", "first", "local"] {
        assert!(!printed.contains(value), "{value} in {printed}");
    }
    assert!(printed.contains("^MR~") && printed.contains("|F|") && printed.contains("\\.br\\"));
    Ok(())
}

#[test]
fn normalize_changes_line_ends_only() {
    prints(
        &["normalize", "-"],
        b"MSH|^~\\&|A\nPID|\xE9\r\n\nZZZ||\"\"",
        b"MSH|^~\\&|A\rPID|\xE9\r\rZZZ||\"\"",
    );
    prints(
        &["normalize", "-"],
        b"BHS|^~\\&\r\nMSH|^~\\&|A\nMSH|^~\\&|B\nBTS|2\n",
        b"BHS|^~\\&\rMSH|^~\\&|A\rMSH|^~\\&|B\rBTS|2\r",
    );
}

#[test]
fn show_names_everything_that_stands_there() -> anyhow::Result<()> {
    let (code, printed, said) = run(&["show", "-"], ADMIT.as_bytes())?;
    assert_eq!((code, &*said), (Some(0), ""));
    let printed = String::from_utf8(printed)?;
    insta::assert_snapshot!(printed);
    let (_, printed, _) = run(&["show", "-", "--json"], ADMIT.as_bytes())?;
    let shown: Value = serde_json::from_slice(&printed)?;
    assert_eq!(shown["label"], "A04 - Register a patient");
    assert_eq!(
        shown["segments"][1]["parts"][3],
        json!({ "path": "PID-7", "name": "Date/Time of Birth", "data_type": "TS", "value": "19800203" })
    );
    assert_eq!(
        shown["segments"][1]["parts"][2]["parts"][2],
        json!({ "path": "PID-5.3", "name": "Second and Further Given Names or Initials Thereof", "data_type": "ST", "value": null })
    );
    // Every leaf is where its path says.
    let mut leaves = Vec::new();
    collect(&shown["segments"], &mut leaves);
    assert_eq!(leaves.len(), 40);
    let message = ligature::hl7::Message::parse(ADMIT.as_bytes())?;
    for (path, value) in leaves {
        let content = message.get(&path.parse()?).text();
        assert_eq!(content.as_deref(), value.as_str(), "{path}");
    }
    Ok(())
}

fn collect(nodes: &Value, leaves: &mut Vec<(String, Value)>) {
    for node in nodes.as_array().into_iter().flatten() {
        if let Some(value) = node.get("value") {
            let path = node["path"].as_str().unwrap_or_default();
            leaves.push((path.to_owned(), value.clone()));
        }
        collect(&node["parts"], leaves);
    }
}

#[test]
fn split_prints_a_line_for_each_message() -> anyhow::Result<()> {
    let batch = b"FHS|^~\\&\nBHS|^~\\&\nMSH|^~\\&|A|||||ADT^A08|||7|P|2.4\nMSH|^^|bad\nMSH$%~\\&$B$$$$20260101$$SIU%S12$8$P$2.3\nBTS|3\nFTS|1\n";
    let (code, printed, said) = run(&["split", "-"], batch)?;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("byte 51"), "{said}");
    let lines: Vec<Value> = String::from_utf8(printed)?
        .lines()
        .map(serde_json::from_str)
        .collect::<Result<_, _>>()?;
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[1]["control_id"], "8");
    assert_eq!(lines[1]["type"], "SIU^S12");
    assert_eq!(lines[1]["message"], 3);
    assert_eq!(
        lines[1]["label"],
        "S12 - Notification of new appointment booking"
    );
    let offset = lines[1]["offset"].as_u64().context("a number")? as usize;
    let size = lines[1]["size_bytes"].as_u64().context("a number")? as usize;
    assert!(batch[offset..offset + size].starts_with(b"MSH$"));
    Ok(())
}

#[test]
fn every_command_shows_an_example() -> anyhow::Result<()> {
    for command in ["get", "set", "show", "normalize", "deidentify", "split"] {
        let (code, printed, _) = run(&[command, "--help"], b"")?;
        let help = String::from_utf8(printed)?;
        assert_eq!(code, Some(0));
        assert!(
            help.contains(&format!("Example: ligature message {command} ")),
            "{help}"
        );
    }
    Ok(())
}
