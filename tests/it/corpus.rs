//! Public sample messages, sent whole as a hospital would: each gets one answer, and what arrives is what the table says.
//!
//! The messages are not part of the project; the test reads them from `../shared/corpus` beside it. Where that folder is
//! missing it says so, and in CI it fails.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, ensure};
use ligature::hl7::deidentify::deidentify;
use ligature::hl7::{Message, batch};
use ligature_tests::clinic::{Clinic, Setup, UNLIMITED, unlimited};
use ligature_tests::mllp::Client;

/// The medical record numbers that the registrations and appointments of the corpus carry: one lead each.
const LEADS: [&str; 4] = ["0000000001", "123456789", "MRN12345", "PATID1234"];

/// Every appointment message of the corpus is about this one appointment of this one patient.
const ACTIVITIES: [(&str, &str); 1] = [("12345", "PATID1234")];

/// What the flows take; everything else in the corpus is kept and shown as skipped.
const SETUP: Setup<'_> = Setup {
    account: UNLIMITED,
    // Nine of the messages are marked as tests; here they are traffic like the others.
    channel: "processing_ids = [\"P\", \"T\"]",
    leads: &["ADT^A04"],
    activities: &[
        "SIU^S12", "SIU^S13", "SIU^S14", "SIU^S15", "SIU^S16", "SIU^S17", "SIU^S26",
    ],
};

fn corpus() -> Option<Vec<PathBuf>> {
    let folder = ligature_tests::workspace_root()
        .join("../shared/corpus/microsoft+FHIR-Converter/data/SampleData/Hl7v2");
    let Ok(entries) = std::fs::read_dir(&folder) else {
        assert!(!ligature_tests::in_ci(), "{} is missing", folder.display());
        ligature_tests::say(&format!(
            "not run: the sample messages are not at {}",
            folder.display()
        ));
        return None;
    };
    let mut files: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "hl7"))
        .collect();
    files.sort();
    Some(files)
}

/// Waits until every delivery came to its end, then holds the simulator and the journal against the table.
async fn verify(clinic: &Clinic, sent: usize) -> anyhow::Result<()> {
    clinic.settled(Duration::from_secs(60)).await?;
    let leads = clinic.simulator.leads();
    let mrns: Vec<&str> = leads
        .iter()
        .filter_map(|lead| lead.values.get("mx_MRN").map(String::as_str))
        .collect();
    ensure!(mrns.len() == leads.len(), "a lead without MRN");
    ensure!(
        mrns.iter().copied().collect::<BTreeSet<_>>() == BTreeSet::from(LEADS),
        "leads {mrns:?}"
    );
    ensure!(mrns.len() == LEADS.len(), "leads twice: {mrns:?}");

    let of_lead: BTreeMap<&str, &str> = leads
        .iter()
        .zip(mrns)
        .map(|(lead, mrn)| (lead.id.as_str(), mrn))
        .collect();
    let activities: Vec<(String, &str)> = clinic
        .simulator
        .activities()
        .iter()
        .map(|activity| {
            let key = activity
                .values
                .get("mx_Custom_1")
                .cloned()
                .unwrap_or_default();
            (
                key,
                of_lead
                    .get(activity.lead.as_str())
                    .copied()
                    .unwrap_or("nobody"),
            )
        })
        .collect();
    let expected: Vec<(String, &str)> = ACTIVITIES
        .iter()
        .map(|(key, mrn)| ((*key).to_owned(), *mrn))
        .collect();
    ensure!(activities == expected, "activities {activities:?}");

    let page = clinic.site.json("/api/v1/messages?limit=500").await?;
    let messages = page["messages"].as_array().context("messages")?;
    ensure!(
        messages.len() == sent,
        "{} messages in the journal, {sent} sent",
        messages.len()
    );
    let taken: BTreeSet<&str> = SETUP
        .leads
        .iter()
        .chain(SETUP.activities)
        .copied()
        .collect();
    for message in messages {
        let all = message["deliveries"].as_array().context("deliveries")?;
        // Merges and changes of identifiers are kept up by the host itself, whether or not a flow takes them.
        let (kept, deliveries): (Vec<_>, Vec<_>) = all
            .iter()
            .partition(|delivery| delivery["flow"] == "identifiers");
        ensure!(
            kept.iter().all(|delivery| delivery["state"] == "delivered"),
            "{message}"
        );
        let event = message["event"].as_str().context("event")?;
        if taken.contains(event) {
            ensure!(
                deliveries.len() == 1 && deliveries[0]["state"] == "delivered",
                "{message}"
            );
        } else if kept.is_empty() {
            ensure!(deliveries.is_empty(), "{message}");
            let reason = message["reason"].as_str().unwrap_or_default();
            ensure!(reason == format!("no flow takes {event}"), "{message}");
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn our_sender_delivers_every_public_message() -> anyhow::Result<()> {
    let Some(files) = corpus() else { return Ok(()) };
    ensure!(files.len() == 139, "{} files", files.len());
    let clinic = Clinic::start(unlimited(), SETUP).await?;
    let sent = Command::new(ligature_tests::ligature_binary())
        .arg("send")
        .args(&files)
        .args(["--to", &clinic.site.mllp.to_string(), "--json"])
        .output()?;
    let text = String::from_utf8(sent.stdout)?;
    ensure!(
        sent.status.success(),
        "{text}\n{}",
        String::from_utf8_lossy(&sent.stderr)
    );
    verify(&clinic, files.len()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_public_message_gets_one_answer_with_its_own_control_id() -> anyhow::Result<()> {
    let Some(files) = corpus() else { return Ok(()) };
    let clinic = Clinic::start(unlimited(), SETUP).await?;
    let mut client = Client::connect(clinic.site.mllp).await?;
    for file in &files {
        let bytes = std::fs::read(file)?;
        let answer = client.exchange(&bytes).await?;
        let control_id = field(&bytes, b"MSH", 10).context("MSH-10")?;
        // CA where the message asks for enhanced mode.
        let code = field(&answer, b"MSA", 1).unwrap_or_default();
        ensure!(code == b"AA" || code == b"CA", "{}", file.display());
        ensure!(
            field(&answer, b"MSA", 2) == Some(control_id),
            "{}: a foreign MSA-2",
            file.display()
        );
    }
    ensure!(client.is_silent().await, "more answers than messages");
    verify(&clinic, files.len()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_python_client_delivers_every_public_message() -> anyhow::Result<()> {
    let Some(files) = corpus() else { return Ok(()) };
    let clinic = Clinic::start(unlimited(), SETUP).await?;
    let python = ligature_tests::python_with(&["hl7==0.4.5"])?;
    for file in &files {
        // Framed, so that it goes out as it is: for a loose file this client takes a byte order mark for a message.
        let framed = clinic.site.path("framed");
        std::fs::write(
            &framed,
            [&b"\x0b"[..], &std::fs::read(file)?, b"\x1c\r"].concat(),
        )?;
        let sent = Command::new(python.join("bin/mllp_send"))
            .args(["--port", &clinic.site.mllp.port().to_string(), "--file"])
            .arg(&framed)
            .arg("127.0.0.1")
            .output()?;
        let text = String::from_utf8_lossy(&sent.stdout);
        ensure!(
            sent.status.success() && (text.contains("MSA|AA|") || text.contains("MSA|CA|")),
            "{}: {text}",
            file.display()
        );
    }
    verify(&clinic, files.len()).await
}

/// Field `number` of the first segment `name`, read without the code that is tested.
fn field(message: &[u8], name: &[u8], number: usize) -> Option<Vec<u8>> {
    let text = message.strip_prefix(b"\xef\xbb\xbf").unwrap_or(message);
    let separator = *text.get(3)?;
    let line = text
        .split(|byte| matches!(byte, b'\r' | b'\n'))
        .find(|line| line.starts_with(name))?;
    let shift = usize::from(name == b"MSH");
    line.split(|byte| *byte == separator)
        .nth(number - shift)
        .map(<[u8]>::to_vec)
}

#[test]
fn every_sample_keeps_its_shape_when_it_is_deidentified() -> anyhow::Result<()> {
    let Some(files) = corpus() else { return Ok(()) };
    for file in files {
        let bytes = std::fs::read(&file)?;
        for message in batch::split(&bytes) {
            let Ok(message) = Message::parse(message) else {
                continue;
            };
            let other = Message::parse(&deidentify(&message))?;
            let fields = |message: &Message| -> Vec<(String, usize)> {
                let segments = message.segments();
                segments
                    .map(|segment| (segment.name().to_owned(), segment.field_count()))
                    .collect()
            };
            ensure!(fields(&message) == fields(&other), "{}", file.display());
            for path in [
                "PID-3.1", "PID-5.1", "PID-5.2", "PID-7", "PID-11.1", "PID-19", "NK1-2.1",
            ] {
                let path = path.parse()?;
                let (before, after) = (message.get(&path), other.get(&path));
                ensure!(
                    before.clone().text().is_none() || before != after,
                    "{path} of {}",
                    file.display()
                );
            }
        }
    }
    Ok(())
}
