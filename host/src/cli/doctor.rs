//! `ligature doctor`: looks at a connection and prints a report for whoever looks after its other end.
//!
//! What is looked at and how it is judged is in the room `doctor`.

use std::io::Write;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use jiff::Zoned;
use serde_json::json;

use super::tls::Tls;
use crate::doctor::{self, Probe, Question};

/// The kinds of connection.
#[derive(Debug, clap::Subcommand)]
pub enum Doctor {
    /// Looks at an MLLP listener: name, TCP, TLS, framing, acknowledgement.
    ///
    /// Sends one message: a query for the receiver's clock with processing id T and no patient in it, or the one that
    /// is given. Exit status 0: all is well.
    #[command(after_help = "Example: ligature doctor mllp ehr.example.org:2575 --tls")]
    Mllp(Mllp),
}

/// What to look at.
#[derive(Debug, clap::Args)]
pub struct Mllp {
    /// Where the listener is.
    #[arg(value_name = "HOST:PORT")]
    address: String,
    /// Send the message of this file instead of the harmless query.
    #[arg(long, value_name = "FILE")]
    message: Option<PathBuf>,
    /// Seconds to wait in each step.
    #[arg(long, value_name = "SECONDS", default_value = "15")]
    timeout: NonZeroU32,
    #[command(flatten)]
    tls: Tls,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Prints the report to `out` and returns the exit status: 0 when all is well, else 1.
///
/// # Errors
/// A message or certificate file that cannot be used, and an `out` that cannot be written.
pub async fn run(Doctor::Mllp(args): Doctor, out: &mut (dyn Write + Send)) -> anyhow::Result<u8> {
    let probe = match &args.message {
        None => Probe::harmless(uuid::Uuid::now_v7().as_u128(), &Zoned::now()),
        Some(file) => {
            let bytes = std::fs::read(file);
            let bytes = bytes.with_context(|| format!("reading {}", file.display()))?;
            Probe::message(&bytes).with_context(|| file.display().to_string())?
        }
    };
    let question = Question {
        tls: args.tls.connector()?,
        address: args.address,
        probe,
        limit: Duration::from_secs(u64::from(args.timeout.get())),
    };
    let report = Box::pin(doctor::examine(question)).await;
    match args.json {
        true => {
            let mut value = serde_json::to_value(&report)?;
            value["well"] = json!(report.is_well());
            writeln!(out, "{value}")?;
        }
        false => write!(out, "{report}")?,
    }
    Ok(u8::from(!report.is_well()))
}
