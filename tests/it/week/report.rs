//! What came of the week, for people to read: leads, appointments, messages to the hospitals, and each row's end.
//!
//! Only what differs from run to run is left out: times and numbers that this host or LeadSquared gives.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::Context;
use jiff::civil;
use jiff::tz::TimeZone;
use ligature::simulator::ehr::Received;
use ligature::simulator::lead_squared::LeadView;
use serde_json::Value;

use super::script::{Person, zone};
use super::{Played, Week, is_of_leadsquared};

/// Fields of a lead that are shown, in columns.
const SHOWN: [(&str, &str); 11] = [
    ("Born", "mx_Date_of_Birth"),
    ("Sex", "mx_Gender"),
    ("Phone", "Phone"),
    ("Email", "EmailAddress"),
    ("Street", "mx_Street1"),
    ("City", "mx_City"),
    ("Harbor", "mx_Harbor_MRN"),
    ("Quarry", "mx_Quarry_MRN"),
    ("Practice", "mx_Practice_Number"),
    ("Deceased", "mx_Deceased"),
    ("Shared with another", "Notes"),
];

fn value<'a>(lead: &'a LeadView, field: &str) -> &'a str {
    lead.values.get(field).map_or("", String::as_str)
}

/// Whether a lead is a person's, by any of their numbers.
pub(super) fn is_of(lead: &LeadView, person: &Person) -> bool {
    let numbers = [
        ("Harbor", "mx_Harbor_MRN"),
        ("Quarry", "mx_Quarry_MRN"),
        ("practice", "mx_Practice_Number"),
    ];
    numbers.iter().any(|(column, field)| {
        !person.get(column).is_empty() && value(lead, field) == person.get(column)
    })
}

fn name(lead: &LeadView) -> String {
    format!("{} {}", value(lead, "FirstName"), value(lead, "LastName"))
}

/// Writes the whole of it.
pub(super) async fn write(week: &Week) -> anyhow::Result<String> {
    let mut text = String::from(
        "# What came of the week\n\n\
         Made by the test `week` from [script.md](script.md), and compared with what happens.\n",
    );
    leads(week, &mut text);
    visits(week, &mut text)?;
    for (site, name) in [(0, "Harbor"), (1, "Quarry")] {
        messages(week, site, name, &mut text);
    }
    rows(week, &mut text).await?;
    Ok(text)
}

fn leads(week: &Week, text: &mut String) {
    text.push_str("\n## Leads in LeadSquared\n\n| Lead |");
    for (title, _) in SHOWN {
        let _ = write!(text, " {title} |");
    }
    text.push_str("\n| --- |");
    text.push_str(&" --- |".repeat(SHOWN.len()));
    text.push('\n');
    let mut leads = week.bridge.office.simulator.leads();
    leads.sort_by_cached_key(|lead| {
        (
            value(lead, "LastName").to_owned(),
            name(lead),
            value(lead, "mx_Quarry_MRN").to_owned(),
        )
    });
    for lead in &leads {
        let _ = write!(text, "| {} |", name(lead));
        for (_, field) in SHOWN {
            let held = value(lead, field);
            let held = match field {
                "mx_Date_of_Birth" => held.split(' ').next().unwrap_or_default(),
                "mx_Deceased" if held == "1" || held == "true" => "yes",
                "mx_Deceased" => "",
                _ => held,
            };
            let _ = write!(text, " {held} |");
        }
        text.push('\n');
    }
}

fn visits(week: &Week, text: &mut String) -> anyhow::Result<()> {
    text.push_str(
        "\n## Appointments in LeadSquared\n\n| Lead | Number | Starts | Status | For | With | Where |\n\
         | --- | --- | --- | --- | --- | --- | --- |\n",
    );
    let simulator = &week.bridge.office.simulator;
    let leads: BTreeMap<String, String> = simulator
        .leads()
        .iter()
        .map(|lead| {
            let numbers = ["mx_Harbor_MRN", "mx_Quarry_MRN", "mx_Practice_Number"];
            let number = numbers.iter().map(|field| value(lead, field));
            let number = number.into_iter().find(|number| !number.is_empty());
            let shown = format!("{} ({})", name(lead), number.unwrap_or("no number"));
            (lead.id.clone(), shown)
        })
        .collect();
    let zone = zone()?;
    let mut lines = Vec::new();
    for visit in simulator.activities() {
        let held = |field: &str| visit.values.get(field).map_or("", String::as_str);
        let starts: civil::DateTime = held("mx_Custom_2")
            .split('.')
            .next()
            .unwrap_or_default()
            .parse()
            .context("the start of a visit")?;
        let local = starts.to_zoned(TimeZone::UTC)?.with_time_zone(zone.clone());
        let number = match held("mx_Custom_1") {
            number if number.starts_with("F-") => "given by Harbor",
            number => number,
        };
        lines.push((
            starts,
            format!(
                "| {} | {number} | {} | {} | {} | {} | {} |\n",
                leads.get(&visit.lead).map_or("nobody", String::as_str),
                local.strftime("%a %d %b %Y %H:%M %Z"),
                held("Status"),
                held("mx_Custom_6"),
                held("mx_Custom_4"),
                held("mx_Custom_5"),
            ),
        ));
    }
    lines.sort();
    text.extend(lines.into_iter().map(|(_, line)| line));
    Ok(())
}

fn messages(week: &Week, site: usize, name: &str, text: &mut String) {
    let _ = write!(text, "\n## Messages to {name}\n");
    for Played { row, sent, .. } in &week.played {
        for message in &sent[site] {
            let _ = write!(
                text,
                "\n{}, {row}: {} answered {}\n\n```\n{}```\n",
                row.at.strftime("%A %H:%M"),
                message.event,
                message.answered,
                readable(message)
            );
        }
    }
}

/// A message a line a segment, without what differs from run to run.
fn readable(message: &Received) -> String {
    let mut lines = String::new();
    for segment in message
        .text
        .split('\r')
        .filter(|segment| !segment.is_empty())
    {
        let mut fields: Vec<String> = segment.split('|').map(str::to_owned).collect();
        match fields[0].as_str() {
            "MSH" => {
                fields[6] = "(now)".into();
                fields[9] = "(our number)".into();
            }
            "EVN" => fields[2] = "(now)".into(),
            "PID" => {
                let ids = fields[3]
                    .split('~')
                    .map(|id| match id.split_once("^^^LSQ") {
                        Some((_, kind)) => format!("(lead number)^^^LSQ{kind}"),
                        None => id.to_owned(),
                    });
                fields[3] = ids.collect::<Vec<_>>().join("~");
            }
            "SCH" => fields[1] = "(number in LeadSquared)^LSQ".into(),
            _ => {}
        }
        lines.push_str(&fields.join("|"));
        lines.push('\n');
    }
    lines
}

async fn rows(week: &Week, text: &mut String) -> anyhow::Result<()> {
    text.push_str("\n## What became of everything\n\n| When | What | Details | Answered | What became of it |\n| --- | --- | --- | --- | --- |\n");
    let messages = week.bridge.messages().await?;
    let mut repeats: Vec<&str> = Vec::new();
    for Played {
        row,
        control_id,
        answer,
        told,
        ..
    } in &week.played
    {
        let own = |message: &&Value| match control_id {
            Some(id) => message["control_id"] == id.as_str() && !is_of_leadsquared(message),
            None => told.iter().any(|id| message["id"] == id.as_str()),
        };
        let mut ends = Vec::new();
        for message in messages.iter().rev().filter(own) {
            ends.extend(end_of(message));
        }
        if let Some(id) = control_id {
            if repeats.contains(&id.as_str()) {
                ends = vec!["known: answered as the first time, and nothing done".into()];
            }
            repeats.push(id);
        }
        if row.who == "LeadSquared" {
            ends.sort();
        }
        let _ = writeln!(
            text,
            "| {} | {row} | {} | {answer} | {} |",
            row.at.strftime("%a %H:%M %Z"),
            row.notes.join("; "),
            ends.join("; ")
        );
    }
    Ok(())
}

/// How each delivery of a message ended, or why there is none.
fn end_of(message: &Value) -> Vec<String> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let deliveries = message["deliveries"].as_array();
    let ends: Vec<String> = deliveries
        .into_iter()
        .flatten()
        .map(|delivery| {
            let (flow, reason) = (text(&delivery["flow"]), text(&delivery["reason"]));
            match flow.contains("-told-of-") || flow == "identifiers" {
                true => format!("{flow}: {reason}"),
                false => reason,
            }
        })
        .collect();
    match ends.is_empty() {
        true => vec![format!(
            "{}: {}",
            text(&message["state"]),
            text(&message["reason"])
        )],
        false => ends,
    }
}
