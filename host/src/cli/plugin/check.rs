//! `ligature plugin check`: the robustness run of the upload, for the component's author.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::ensure;

use super::{Bench, Compiled, read};
use crate::flow::Direction;
use crate::mapping::robust::{Trial, examine};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The component.
    component: PathBuf,
    /// A file with one HL7 message, which is varied; the usual one for the component's first event if left out.
    #[arg(long)]
    message: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    compiled: Compiled,
}

pub(super) async fn run(args: &Args, out: &mut (dyn Write + Send)) -> anyhow::Result<ExitCode> {
    let bench = Bench::open(&args.compiled)?;
    let component = bench.load(&read(&args.component)?).await?;
    let usual = Trial::usual(&component);
    let trial = match &args.message {
        Some(file) => {
            let is_inbound = component.direction() == Direction::EhrToLeadSquared;
            ensure!(is_inbound, "the component maps no messages");
            usual.with_message(read(file)?, file.display().to_string())
        }
        None => usual,
    };
    let report = examine(&bench.runtime, &component, trial).await;
    let report = report.map_err(anyhow::Error::msg)?;
    if args.json {
        writeln!(out, "{}", serde_json::to_string_pretty(&report)?)?;
    } else {
        for finding in &report.findings {
            writeln!(
                out,
                "FAILED  {}\n        {}",
                finding.variation, finding.did
            )?;
        }
        writeln!(
            out,
            "{} variations of {}, {} findings{}, slowest {} ms",
            report.variations,
            report.sample,
            report.findings.len(),
            if report.is_cut { " (given up)" } else { "" },
            report.slowest_ms
        )?;
    }
    Ok(match report.findings.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}
