//! `ligature send`: puts the messages of files on an MLLP connection and shows what is answered.
//!
//! With `--count` it is a load generator. Start at [`run`]; one connection's work is in `send/connection.rs`.

mod connection;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use anyhow::Context;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use self::connection::{Outcome, Plan};
use super::tls::Tls;
use crate::hl7::{self, Message};
use crate::mllp::frame::{Decoder, Event, START_BLOCK};
use crate::mllp::sender::{Target, Timeouts};

/// Sends HL7 messages over MLLP and prints the acknowledgements.
///
/// Exit status 0: every message was accepted (AA or CA) under its own control id.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example: ligature send admissions.hl7 --to 127.0.0.1:2575 --new-control-id"
)]
pub struct Args {
    /// Files with one message, several, a batch, or a recording of MLLP; segments may end in CR, LF or CR LF.
    /// Of a folder all files are sent in the order of their names, without those that begin with a dot.
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Where the listener is.
    #[arg(long, value_name = "HOST:PORT")]
    pub to: String,
    /// Send this many messages, going round the files, and print figures; gives every message a new control id.
    #[arg(long, value_name = "N")]
    pub count: Option<NonZeroUsize>,
    /// Connections to send over at once.
    #[arg(long, value_name = "N", default_value = "1")]
    pub connections: NonZeroUsize,
    /// Messages that may be unacknowledged on one connection.
    #[arg(long, value_name = "N", default_value = "1")]
    pub window: NonZeroUsize,
    /// Set MSH-10 to a new control id and MSH-7 to now, so that nothing is taken for a duplicate.
    #[arg(long)]
    pub new_control_id: bool,
    /// Seconds to wait for an acknowledgement.
    #[arg(long, value_name = "SECONDS", default_value = "30")]
    pub timeout: NonZeroUsize,
    /// After a commit acknowledgement (CA) wait for the application acknowledgement, and show that one.
    #[arg(long)]
    pub application_ack: bool,
    #[command(flatten)]
    pub tls: Tls,
    /// Print JSON: an object for each message on a line of its own, then one with the key `summary`.
    #[arg(long)]
    pub json: bool,
}

/// From so many messages on there is a progress bar.
const LONG_WORK: usize = 50;

/// Sends, prints to `out` and returns the exit status: 0 when every message was accepted, else 1.
///
/// # Errors
/// A file that cannot be read or stamped, and an `out` that cannot be written.
pub async fn run(args: Args, out: &mut dyn Write) -> anyhow::Result<u8> {
    let renew = args.new_control_id || args.count.is_some();
    let mut messages = Vec::new();
    for file in &input_files(&args.files)? {
        let bytes = std::fs::read(file).with_context(|| format!("reading {}", file.display()))?;
        for (index, bytes) in payloads(&bytes).iter().enumerate() {
            let place = || format!("{}, message {}", file.display(), index + 1);
            messages.push(Original::new(file, bytes, renew).with_context(place)?);
        }
    }
    anyhow::ensure!(!messages.is_empty(), "the files hold no message");

    let listing = args.count.is_none();
    let plan = Arc::new(Plan {
        total: args.count.map_or(messages.len(), NonZeroUsize::get),
        messages,
        next: AtomicUsize::new(0),
        renew,
        window: args.window.get(),
        application: args.application_ack,
        target: Target {
            tls: args.tls.connector()?,
            address: args.to,
            timeouts: Timeouts {
                answer: Duration::from_secs(args.timeout.get() as u64),
                application: Duration::from_secs(args.timeout.get() as u64),
                ..Timeouts::default()
            },
        },
    });
    let connections = args.connections.get().min(plan.total);
    let started = Instant::now();
    let (outcomes, mut received) = mpsc::channel(256);
    let mut tasks = JoinSet::new();
    for _ in 0..connections {
        tasks.spawn(connection::send(plan.clone(), outcomes.clone()));
    }
    drop(outcomes);

    let bar = progress_bar(plan.total);
    let mut tally = Tally::default();
    while let Some(batch) = received.recv().await {
        for outcome in batch {
            if listing {
                let line = match args.json {
                    true => json_line(&plan, &outcome).to_string(),
                    false => text_line(&outcome),
                };
                bar.suspend(|| writeln!(out, "{line}"))?;
            }
            tally.add(&outcome);
            bar.inc(1);
        }
    }
    bar.finish_and_clear();
    while let Some(ended) = tasks.join_next().await {
        ended.context("a sending task failed")?;
    }
    let duration = started.elapsed();
    let unsent = plan.total - tally.messages;
    if listing && args.json {
        writeln!(out, "{}", tally.json(unsent, duration))?;
    } else if listing {
        if unsent > 0 {
            writeln!(out, "{}", unsent_line(unsent))?;
        }
        if plan.total > 1 {
            writeln!(out, "{}", tally.summary())?;
        }
    } else {
        tally.latencies_us.sort_unstable();
        let figures = Figures {
            tally: &tally,
            connections,
            window: plan.window,
            unsent,
            duration,
        };
        match args.json {
            true => writeln!(out, "{}", figures.json())?,
            false => write!(out, "{}", figures.text())?,
        }
    }
    let accepted = tally.accepted == plan.total;
    Ok(if accepted { 0 } else { 1 })
}

/// The files themselves, and those of the folders among them.
pub(super) fn input_files(paths: &[PathBuf]) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in paths {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        let reading = || format!("reading the folder {}", path.display());
        let mut inside = Vec::new();
        for entry in std::fs::read_dir(path).with_context(reading)? {
            let entry = entry.with_context(reading)?;
            let is_hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
            if !is_hidden && entry.path().is_file() {
                inside.push(entry.path());
            }
        }
        anyhow::ensure!(
            !inside.is_empty(),
            "the folder {} holds no file",
            path.display()
        );
        inside.sort();
        files.append(&mut inside);
    }
    Ok(files)
}

/// Drawn on standard error, and only where that is a terminal.
pub(super) fn progress_bar(total: usize) -> ProgressBar {
    if total < LONG_WORK || !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(total as u64);
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len}  {per_sec}  {eta} left");
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// One message of a file, ready to be sent.
struct Original {
    file: String,
    bytes: Vec<u8>,
    /// MSH-10 as it stands; empty when there is none.
    control_id: Vec<u8>,
}

impl Original {
    /// Reads and writes the message, so that its segments end in CR whatever the file has.
    ///
    /// What is no message is sent as it is: how a listener takes it may be the question.
    fn new(file: &Path, bytes: &[u8], renew: bool) -> Result<Self, hl7::Error> {
        let file = file.display().to_string();
        match Message::parse(bytes) {
            Ok(message) => Ok(Self {
                file,
                control_id: connection::control_id(&message),
                bytes: message.normalize(),
            }),
            Err(error) if renew => Err(error),
            Err(_) => Ok(Self {
                file,
                control_id: Vec::new(),
                bytes: bytes.to_vec(),
            }),
        }
    }
}

/// Takes a file apart: frames, if it is a recording of MLLP, then the messages of each.
pub(super) fn payloads(bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    if bytes.contains(&START_BLOCK) {
        let mut decoder = Decoder::new(bytes.len());
        let mut rest = bytes;
        while let Some(event) = decoder.next(&mut rest) {
            if let Event::Frame(payload) | Event::Remnant { payload, .. } = event {
                frames.push(payload);
            }
        }
        frames.push(decoder.take_rest());
    } else {
        frames.push(bytes.to_vec());
    }
    let has_text = |payload: &&[u8]| !payload.trim_ascii().is_empty();
    let split = |frame: &Vec<u8>| -> Vec<Vec<u8>> {
        let messages = hl7::batch::split(frame).into_iter();
        messages.filter(has_text).map(<[u8]>::to_vec).collect()
    };
    frames.iter().flat_map(split).collect()
}

/// `A0001  AA  12.3 ms  text`
fn text_line(outcome: &Outcome) -> String {
    let id = printable(&outcome.control_id);
    let ms = outcome.duration.as_secs_f64() * 1_000.0;
    match &outcome.answer {
        Ok(answer) => {
            let line = format!("{id}  {}  {ms:.1} ms  {}", answer.code, answer.text);
            line.trim_end().to_owned()
        }
        Err(error) => format!("{id}  --  {ms:.1} ms  {error}"),
    }
}

fn json_line(plan: &Plan, outcome: &Outcome) -> serde_json::Value {
    let (code, text, error) = match &outcome.answer {
        Ok(answer) => (Some(&answer.code), Some(&answer.text), None),
        Err(error) => (None, None, Some(error.to_string())),
    };
    json!({
        "file": plan.messages[outcome.message].file,
        "control_id": printable(&outcome.control_id),
        "code": code,
        "text": text,
        "error": error,
        "accepted": outcome.is_accepted(),
        "duration_ms": milliseconds(outcome.duration),
    })
}

fn unsent_line(unsent: usize) -> String {
    format!("{unsent} more not sent")
}

/// A control id for a terminal.
fn printable(id: &[u8]) -> String {
    let text = String::from_utf8_lossy(id);
    match text.as_ref() {
        "" => "(no control id)".to_owned(),
        text => text.chars().filter(|c| !c.is_control()).collect(),
    }
}

/// Rounded to microseconds.
fn milliseconds(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1_000.0
}

/// What came of the messages so far.
#[derive(Default)]
struct Tally {
    messages: usize,
    accepted: usize,
    codes: BTreeMap<String, usize>,
    errors: BTreeMap<String, usize>,
    latencies_us: Vec<u64>,
}

impl Tally {
    /// `3 messages: 2 AA, 1 without an acknowledgement`
    fn summary(&self) -> String {
        let codes = self
            .codes
            .iter()
            .map(|(code, count)| format!("{count} {code}"));
        let failed: usize = self.errors.values().sum();
        let failed = (failed > 0).then(|| format!("{failed} without an acknowledgement"));
        let parts: Vec<String> = codes.chain(failed).collect();
        let noun = if self.messages == 1 {
            "message"
        } else {
            "messages"
        };
        format!("{} {noun}: {}", self.messages, parts.join(", "))
    }

    /// The last line of JSON output, told from the others by its one key.
    fn json(&self, unsent: usize, duration: Duration) -> serde_json::Value {
        json!({
            "summary": {
                "messages": self.messages,
                "accepted": self.accepted,
                "unsent": unsent,
                "duration_ms": milliseconds(duration),
                "codes": self.codes,
                "errors": self.errors,
            }
        })
    }

    fn add(&mut self, outcome: &Outcome) {
        self.messages += 1;
        self.accepted += usize::from(outcome.is_accepted());
        match &outcome.answer {
            Ok(answer) => {
                *self.codes.entry(answer.code.clone()).or_default() += 1;
                self.latencies_us.push(outcome.duration.as_micros() as u64);
            }
            Err(error) => *self.errors.entry(error.to_string()).or_default() += 1,
        }
    }
}

/// The load generator's summary; the latencies are sorted.
struct Figures<'a> {
    tally: &'a Tally,
    connections: usize,
    window: usize,
    unsent: usize,
    duration: Duration,
}

impl Figures<'_> {
    fn rate(&self) -> f64 {
        let answered = self.tally.latencies_us.len() as f64;
        (answered / self.duration.as_secs_f64().max(1e-6)).round()
    }

    /// The latency in milliseconds that so many per cent of the answers kept.
    fn percentile(&self, percent: usize) -> f64 {
        let sorted = &self.tally.latencies_us;
        let rank = (sorted.len() * percent).div_ceil(100);
        sorted.get(rank.saturating_sub(1)).copied().unwrap_or(0) as f64 / 1_000.0
    }

    fn json(&self) -> serde_json::Value {
        json!({
            "messages": self.tally.messages,
            "accepted": self.tally.accepted,
            "unsent": self.unsent,
            "connections": self.connections,
            "window": self.window,
            "duration_ms": milliseconds(self.duration),
            "messages_per_second": self.rate(),
            "latency_ms": {
                "p50": self.percentile(50),
                "p95": self.percentile(95),
                "p99": self.percentile(99),
                "max": self.percentile(100),
            },
            "codes": self.tally.codes,
            "errors": self.tally.errors,
        })
    }

    fn text(&self) -> String {
        let [p50, p95, p99, max] = [50, 95, 99, 100].map(|percent| self.percentile(percent));
        let mut text = format!(
            "{} messages over {} connections, window {}, in {:.2} s: {} messages/s\n\
             latency p50 {p50:.2} ms, p95 {p95:.2} ms, p99 {p99:.2} ms, max {max:.2} ms\n",
            self.tally.messages,
            self.connections,
            self.window,
            self.duration.as_secs_f64(),
            self.rate(),
        );
        for (code, count) in &self.tally.codes {
            text.push_str(&format!("{code} {count}\n"));
        }
        for (error, count) in &self.tally.errors {
            text.push_str(&format!("{count} without an acknowledgement: {error}\n"));
        }
        if self.unsent > 0 {
            text.push_str(&unsent_line(self.unsent));
            text.push('\n');
        }
        text
    }
}
