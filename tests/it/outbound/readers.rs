//! What the EHR gets says the same to parsers that are not ours: `hl7` and `hl7apy` of Python, at pinned versions.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};
use ligature_tests::{python_with, workspace_root};
use serde::Deserialize;
use serde_json::json;

use super::many::{OF_BOOKINGS, PLACES, Values, belongs, send};

const PACKAGES: &[&str] = &["hl7==0.4.5", "hl7apy==1.3.5"];

/// What a message says by either of them: place to value.
#[derive(Debug, Deserialize)]
struct Read {
    hl7: BTreeMap<String, String>,
    hl7apy: BTreeMap<String, String>,
    valid: serde_json::Value,
}

/// Has messages read at all places; each is the bytes that were sent.
fn read(messages: &[Vec<u8>], places: &[&str]) -> anyhow::Result<Vec<Read>> {
    let mut python = Command::new(python_with(PACKAGES)?.join("bin/python"));
    let mut child = python
        .arg(workspace_root().join("tests/clients/read.py"))
        .args(places)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut input = child.stdin.take().context("its input")?;
    let lines: String = messages
        .iter()
        .map(|message| {
            let hex: String = message.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("{}\n", json!({ "bytes": hex }))
        })
        .collect();
    let writing = std::thread::spawn(move || input.write_all(lines.as_bytes()));
    let output = child.wait_with_output()?;
    writing.join().ok().context("the writer")??;
    ensure!(output.status.success(), "read.py failed, see above");
    String::from_utf8(output.stdout)?
        .lines()
        .map(|line| Ok(serde_json::from_str(line)?))
        .collect()
}

/// Every place at which something may stand: what nobody fills is left out, so that a second segment may come first.
const MOVED: [&str; 2] = ["NK1[2]-2.1", "AIP-3.2"];

/// What the places of one message are to say.
fn wanted(lead: &Values, booking: Option<&Values>) -> BTreeMap<String, String> {
    let mut wanted = BTreeMap::new();
    let mut segments: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (place, field, _) in PLACES.iter().chain(&OF_BOOKINGS) {
        let text = match (field.split_once('.'), booking) {
            (Some(("lead", _)), _) => expected(lead, field),
            (_, Some(booking)) => expected(booking, field),
            _ => String::new(),
        };
        let (segment, rest) = place.split_once('-').unwrap_or_default();
        let name = &segment[..3];
        if text.is_empty() || !belongs(place, booking.is_some()) {
            continue;
        }
        let known = segments.entry(name).or_default();
        if !known.contains(&segment) {
            known.push(segment);
        }
        let number = known
            .iter()
            .position(|known| *known == segment)
            .unwrap_or_default();
        let place = match number {
            0 => format!("{name}-{rest}"),
            number => format!("{name}[{}]-{rest}", number + 1),
        };
        wanted.insert(place, text);
    }
    wanted
}

/// What a place is to say for a field's value.
fn expected(values: &Values, field: &str) -> String {
    let (_, name) = field.split_once('.').unwrap_or_default();
    let value = values.get(name).map_or("", String::as_str);
    match name {
        "mx_Date_of_Birth" => value.replace('-', ""),
        "mx_Gender" => value.chars().take(1).collect(),
        "Phone" if !value.is_empty() => {
            format!("({}){}-{}", &value[3..6], &value[6..9], &value[9..])
        }
        _ => value.to_owned(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_parsers_that_are_not_ours_read_what_was_typed() -> anyhow::Result<()> {
    let sent = send(60).await?;
    let mut messages = Vec::new();
    for message in &sent.received {
        let is_latin = message.field("MSH", 18) == "8859/1";
        messages.push(match is_latin {
            // The simulator shows each byte of such a message as the letter it is.
            true => message.text.chars().map(|letter| letter as u8).collect(),
            false => message.text.clone().into_bytes(),
        });
        ensure!(message.findings.is_empty(), "{:?}", message.findings);
    }
    let places: Vec<&str> = PLACES
        .iter()
        .chain(&OF_BOOKINGS)
        .map(|(place, ..)| *place)
        .chain(MOVED)
        .collect();
    let read = tokio::task::block_in_place(|| read(&messages, &places))?;
    ensure!(read.len() == messages.len());
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    for (message, read) in sent.received.iter().zip(&read) {
        let mrn = &read.hl7["PID-3.1"];
        let (lead, booking) = sent
            .leads
            .iter()
            .find(|(lead, _)| lead["mx_MRN"] == *mrn)
            .with_context(|| format!("{mrn:?} in {}", message.text))?;
        let is_booking = message.event == "SIU^S12";
        let wanted = wanted(lead, is_booking.then_some(booking));
        for place in &places {
            let wanted = wanted.get(*place).map_or("", String::as_str);
            for (parser, values) in [("hl7", &read.hl7), ("hl7apy", &read.hl7apy)] {
                ensure!(
                    values[*place] == *wanted,
                    "{parser}: {place} of {:?} is {:?}, not {wanted:?}:\n{}",
                    message.event,
                    values[*place],
                    message.text
                );
            }
            if !wanted.is_empty() {
                *seen.entry(*place).or_default() += 1;
            }
        }
    }
    // Every place was read with a value in it somewhere.
    ensure!(seen.len() == places.len() - 2, "{seen:?}");
    // It is strict about the versions that it knows well.
    for (message, read) in sent.received.iter().zip(&read) {
        let is_asked = message.field("MSH", 12) == "2.5.1";
        ensure!(
            !is_asked || read.valid == true,
            "hl7apy: {}\n{}",
            read.valid,
            message.text
        );
    }
    Ok(())
}
