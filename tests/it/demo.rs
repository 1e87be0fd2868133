//! `ligature demo` as the README shows it, in a process of its own.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};
use serde_json::{Value, json};

fn demo(args: &[&str]) -> Command {
    let mut command = Command::new(ligature_tests::ligature_binary());
    command.arg("demo").args(args);
    command
}

/// Runs the demo to its end on free ports; returns its lines.
fn once(args: &[&str]) -> anyhow::Result<Vec<Value>> {
    let free = [
        "--mllp-addr",
        "127.0.0.1:0",
        "--http-addr",
        "127.0.0.1:0",
        "--leadsquared-addr",
        "127.0.0.1:0",
        "--ehr-addr",
        "127.0.0.1:0",
        "--ehr-page-addr",
        "127.0.0.1:0",
    ];
    let output = demo(&[&["--once", "--json"], &free[..], args].concat()).output()?;
    let text = String::from_utf8(output.stdout)?;
    ensure!(
        output.status.success(),
        "{text}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    text.lines()
        .map(|line| serde_json::from_str(line).context("a line that is not JSON"))
        .collect()
}

#[test]
fn every_sample_arrives() -> anyhow::Result<()> {
    let lines = once(&[])?;
    let (addresses, messages) = lines.split_first().context("no output")?;
    for key in [
        "mllp",
        "http",
        "leadsquared",
        "ehr",
        "ehr_page",
        "access_key",
        "secret_key",
    ] {
        ensure!(
            addresses[key].is_string(),
            "the first line has no {key}: {addresses}"
        );
    }
    ensure!(messages.len() >= 2, "only {} messages", messages.len());
    for message in messages {
        // CA where the sample asks for enhanced mode.
        ensure!(
            ["AA", "CA"]
                .iter()
                .any(|code| message["acknowledgement"] == *code),
            "{message}"
        );
        ensure!(message["state"] == "delivered", "{message}");
        ensure!(
            message["written"]
                .as_array()
                .is_some_and(|written| !written.is_empty()),
            "{message}"
        );
    }
    let back = messages.last().context("a message to the EHR")?;
    ensure!(back["event"] == "ADT^A08", "{back}");
    Ok(())
}

#[test]
fn a_second_start_on_the_same_data_is_no_duplicate() -> anyhow::Result<()> {
    let data = tempfile::tempdir()?;
    let folder = data.path().to_str().context("a plain path")?;
    let count = |lines: Vec<Value>| {
        lines
            .iter()
            .filter(|line| line["state"] == "delivered")
            .count()
    };
    let first = count(once(&["--data", folder])?);
    // The simulator starts empty again, so that every id that the store knows is stale.
    let second = count(once(&["--data", folder])?);
    ensure!(
        first == second && first > 0,
        "{first} delivered at first, then {second}"
    );
    Ok(())
}

#[test]
fn a_port_given_by_flag_that_is_taken_is_an_error() -> anyhow::Result<()> {
    let taken = std::net::TcpListener::bind("127.0.0.1:0")?;
    let address = taken.local_addr()?.to_string();
    let output = demo(&["--once", "--mllp-addr", &address]).output()?;
    let text = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.code() == Some(1), "{:?}", output.status);
    ensure!(
        text.contains("--mllp-addr") && text.contains(&address),
        "{text}"
    );
    Ok(())
}

#[test]
fn one_more_can_be_sent_to_a_demo_that_keeps_running() -> anyhow::Result<()> {
    let free = [
        "--mllp-addr",
        "127.0.0.1:0",
        "--http-addr",
        "127.0.0.1:0",
        "--leadsquared-addr",
        "127.0.0.1:0",
        "--ehr-addr",
        "127.0.0.1:0",
        "--ehr-page-addr",
        "127.0.0.1:0",
    ];
    let mut child = demo(&[&["--json"], &free[..]].concat())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut lines = BufReader::new(child.stdout.take().context("piped")?).lines();
    let addresses: Value = serde_json::from_str(&lines.next().context("a first line")??)?;
    let sample = ligature_tests::workspace_root().join("examples/quickstart/adt-a04.hl7");
    // Twice the same file: a new control id each time, so neither is a duplicate.
    for _ in 0..2 {
        let sent = Command::new(ligature_tests::ligature_binary())
            .arg("send")
            .arg(&sample)
            .args([
                "--to",
                addresses["mllp"].as_str().context("an address")?,
                "--new-control-id",
            ])
            .output()?;
        ensure!(
            sent.status.success(),
            "{}",
            String::from_utf8_lossy(&sent.stdout)
        );
    }
    let stopped = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status()?;
    ensure!(
        stopped.success() && child.wait()?.success(),
        "the demo did not end well"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bare_demo_keeps_what_its_lead_squared_holds() -> anyhow::Result<()> {
    let data = tempfile::tempdir()?;
    let folder = data.path().to_str().context("a plain path")?;
    let free = [
        "--http-addr",
        "127.0.0.1:0",
        "--leadsquared-addr",
        "127.0.0.1:0",
        "--ehr-addr",
        "127.0.0.1:0",
        "--ehr-page-addr",
        "127.0.0.1:0",
    ];
    let start = || -> anyhow::Result<_> {
        let mut child = demo(&[&["--bare", "--data", folder], &free[..]].concat())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut lines = BufReader::new(child.stdout.take().context("piped")?).lines();
        let address = loop {
            let line = lines.next();
            let line = line.context("it does not say where LeadSquared is")??;
            if let Some(address) = line.strip_prefix("LeadSquared  ") {
                break address.trim_end_matches('/').to_owned();
            }
        };
        // It says more, and ends where nobody takes it.
        std::thread::spawn(move || lines.for_each(drop));
        Ok((child, address))
    };
    let end = |mut child: std::process::Child| -> anyhow::Result<()> {
        let asked = Command::new("kill").arg(child.id().to_string()).status()?;
        ensure!(asked.success() && child.wait()?.success());
        Ok(())
    };
    let state = async |address: &str| -> anyhow::Result<Value> {
        let answer = ligature_tests::http().get(format!("{address}/state"));
        let mut state: Value = serde_json::from_slice(&answer.send().await?.bytes().await?)?;
        Ok(json!([state["leads"].take(), state["activities"].take()]))
    };
    let keys = || -> anyhow::Result<Value> {
        let file = data.path().join("leadsquared.json");
        let mode = std::fs::metadata(&file)?.permissions().mode();
        ensure!(mode & 0o077 == 0, "others may read its keys: {mode:o}");
        let kept: Value = serde_json::from_str(&std::fs::read_to_string(file)?)?;
        Ok(json!([kept["access_key"], kept["secret_key"]]))
    };

    let (child, address) = start()?;
    let post = async |path: &str, body: Value| -> anyhow::Result<Value> {
        let request = ligature_tests::http().post(format!("{address}{path}"));
        let request = request.header("content-type", "application/json");
        let answer = request.body(body.to_string()).send().await?;
        ensure!(answer.status().is_success(), "{path}: {}", answer.status());
        Ok(serde_json::from_slice(&answer.bytes().await?)?)
    };
    let lead = json!({ "values": { "FirstName": "Odalys", "mx_MRN": "ZQ1" } });
    let lead = post("/leads", lead).await?;
    let id = lead["id"].as_str().context("an id")?;
    let visit = json!({ "code": 205, "note": "Booked", "values": { "mx_Custom_1": "A1" } });
    post(&format!("/leads/{id}/activities"), visit).await?;
    let (before, before_keys) = (state(&address).await?, keys()?);
    ensure!(before.to_string().contains("Odalys") && before.to_string().contains("Booked"));
    end(child)?;

    let (child, address) = start()?;
    ensure!(state(&address).await? == before, "{before}");
    ensure!(keys()? == before_keys, "other keys");
    // A value that only one lead may hold is still held.
    let taken = ligature_tests::http().post(format!("{address}/leads"));
    let taken = taken.header("content-type", "application/json");
    let body = json!({ "values": { "mx_MRN": "ZQ1" } }).to_string();
    ensure!(taken.body(body).send().await?.status() == 422);
    end(child)
}
