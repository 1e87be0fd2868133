//! `ligature plugin upload`: a component goes to a running host.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;

use super::read;
use super::ship::{beside, text};
use crate::cli::interface::{Interface, Trusted};
use crate::config;
use crate::mapping::pack::{self, Pack};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The component, or a pack; a signature that lies beside it goes along.
    component: PathBuf,
    /// The console's address.
    #[arg(long, default_value = "http://127.0.0.1:8080")]
    to: String,
    #[command(flatten)]
    trusted: Trusted,
    /// The account that is to have it.
    #[arg(long)]
    account: String,
    /// A flow of the account, whose template, settings and tables it is tried with.
    #[arg(long)]
    flow: Option<String>,
    /// Takes it although it does not stand the robustness run; this is recorded.
    #[arg(long)]
    accept_findings: bool,
}

pub(super) async fn run(args: &Args, out: &mut (dyn Write + Send)) -> anyhow::Result<ExitCode> {
    let token = config::token()
        .context("the host takes a token with the right publish: set LIGATURE_TOKEN")?;
    let component = read(&args.component)?;
    let signature = beside(&args.component);
    let bytes = match signature.exists() && !pack::is_pack(&component) {
        true => {
            let pack = Pack {
                component,
                signature: Some(text(&signature)?),
                ..Pack::default()
            };
            pack.to_bytes()
        }
        false => component,
    };
    let mut asked = vec![("account", args.account.as_str())];
    asked.extend(args.flow.iter().map(|flow| ("flow", flow.as_str())));
    asked.extend(args.accept_findings.then_some(("accept_findings", "true")));
    let asked = reqwest::Url::parse_with_params("http://host/", asked)?;
    let path = format!("components?{}", asked.query().unwrap_or_default());
    let host = Interface::at(&args.to, &args.trusted)?.with(token);
    let uploaded = Box::pin(host.send("POST", &path, Some(bytes))).await?;
    let said = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    writeln!(out, "uploaded {}", said(&uploaded["digest"]))?;
    let examination = &uploaded["examination"];
    if let Some(name) = examination["signed_by"].as_str() {
        writeln!(out, "  signed by {name}")?;
    }
    let report = &examination["robustness"];
    let findings = report["findings"].as_array().map_or(0, Vec::len);
    writeln!(
        out,
        "  {} variations of {}, {findings} findings",
        report["variations"],
        said(&report["sample"]),
    )?;
    writeln!(
        out,
        "an administrator puts it in force: `activate` of a flow with this digest"
    )?;
    Ok(ExitCode::SUCCESS)
}
