//! `ligature flow canary`: a candidate release for some of a flow's patients, asked of the running host.
//!
//! Start at [`run`].

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, anyhow};
use clap::Subcommand;
use serde_json::{Value, json};

use super::way::Way;
use crate::cli::interface::{Interface, OnSite};

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Has a candidate serve a share of the patients, or patients of named deliveries; again with another share as it proves
    /// itself.
    #[command(
        after_help = "Examples: ligature flow canary start registrations --mapping new.toml --percent 5 --config /etc/ligature.toml\n          \
                      ligature flow canary start registrations --percent 20 --config /etc/ligature.toml\n          \
                      ligature flow canary start registrations --release 5e3a… --delivery 0199….0 --config /etc/ligature.toml"
    )]
    Start(Start),
    /// Shows what came of the candidate beside the release in force.
    #[command(
        after_help = "Example: ligature flow canary show registrations --config /etc/ligature.toml"
    )]
    Show(Which),
    /// Puts the candidate in force, for everybody.
    #[command(
        after_help = "Example: ligature flow canary promote registrations --config /etc/ligature.toml"
    )]
    Promote(Which),
    /// Ends the candidate; what it broke on runs again with the release in force.
    #[command(
        after_help = "Example: ligature flow canary end registrations --config /etc/ligature.toml"
    )]
    End(Which),
}

#[derive(Debug, clap::Args)]
pub struct Start {
    /// The flow's id.
    flow: String,
    /// The digest of a release of the flow; neither this nor a mapping is the candidate that serves now.
    #[arg(long)]
    release: Option<String>,
    /// A mapping document; a release is made of it.
    #[arg(long, conflicts_with = "release")]
    mapping: Option<PathBuf>,
    /// Of a hundred patients so many.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=100))]
    percent: u8,
    /// A delivery of a patient who is served as well.
    #[arg(long = "delivery", value_name = "ID")]
    deliveries: Vec<String>,
    /// A shadow run that proves the release.
    #[arg(long)]
    shadow: Option<String>,
    #[command(flatten)]
    site: OnSite,
}

#[derive(Debug, clap::Args)]
pub struct Which {
    /// The flow's id.
    flow: String,
    /// Prints JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    site: OnSite,
}

pub(super) async fn run(
    command: &Command,
    out: &mut (dyn Write + Send),
) -> anyhow::Result<ExitCode> {
    let site = match command {
        Command::Start(start) => &start.site,
        Command::Show(which) | Command::Promote(which) | Command::End(which) => &which.site,
    };
    let way = Box::pin(Way::find(site)).await?;
    let done = match &way {
        Way::Host(host) => Box::pin(carry_out(command, host, out)).await,
        Way::Store(_) => Err(anyhow!(
            "no host runs: a candidate serves patients of a running host"
        )),
    };
    way.close().await;
    done.map(|()| ExitCode::SUCCESS)
}

async fn carry_out(
    command: &Command,
    host: &Interface,
    out: &mut (dyn Write + Send),
) -> anyhow::Result<()> {
    match command {
        Command::Start(args) => {
            let mapping = args.mapping.as_ref().map(|file| {
                let text = std::fs::read_to_string(file);
                text.with_context(|| format!("reading {}", file.display()))
            });
            let more = json!({
                "release": args.release, "mapping": mapping.transpose()?, "percent": args.percent,
                "deliveries": args.deliveries, "shadow": args.shadow,
            });
            let flow = act(host, &args.flow, "canary", more).await?;
            let canary = &flow["flow"]["canary"];
            let lanes = canary["lanes"].as_array().map_or(0, Vec::len);
            writeln!(
                out,
                "release {} serves {} % of the patients and {lanes} that are named",
                text(&canary["release"]),
                canary["percent"],
            )?;
        }
        Command::Show(which) => {
            let path = format!("flows/{}/canary", which.flow);
            print(out, &host.send("GET", &path, None).await?, which.json)?;
        }
        Command::Promote(which) => {
            let flow = act(host, &which.flow, "canary/promote", json!({})).await?;
            writeln!(
                out,
                "release {} is in force",
                text(&flow["flow"]["release"])
            )?;
        }
        Command::End(which) => {
            let flow = act(host, &which.flow, "canary/end", json!({})).await?;
            let release = text(&flow["flow"]["release"]);
            writeln!(out, "release {release} serves everybody")?;
        }
    }
    Ok(())
}

/// Does it to the flow as it stands.
async fn act(host: &Interface, flow: &str, action: &str, mut body: Value) -> anyhow::Result<Value> {
    let known = host.send("GET", &format!("flows/{flow}"), None).await?;
    body["version"] = known["version"].clone();
    let path = format!("flows/{flow}/{action}");
    host.send("POST", &path, Some(body.to_string().into()))
        .await
}

fn print(out: &mut (dyn Write + Send), standing: &Value, as_json: bool) -> anyhow::Result<()> {
    if as_json {
        writeln!(out, "{}", serde_json::to_string_pretty(standing)?)?;
        return Ok(());
    }
    for (whose, figures) in [
        ("candidate", &standing["candidate"]),
        ("in force", &standing["in_force"]),
    ] {
        let release = text(&figures["release"]);
        let (deliveries, broke) = (&figures["deliveries"], &figures["broke"]);
        write!(
            out,
            "{whose}  {release}  {deliveries} deliveries, {broke} broke"
        )?;
        for (state, count) in figures["states"].as_object().into_iter().flatten() {
            write!(out, ", {count} {state}")?;
        }
        writeln!(out)?;
    }
    let ended = &standing["canary"]["ended"];
    match ended.is_null() {
        true => writeln!(out, "messages since {}", text(&standing["since"]))?,
        false => writeln!(
            out,
            "the candidate ended by itself {}, after it broke {} deliveries",
            text(&ended["at"]),
            ended["failures"],
        )?,
    }
    Ok(())
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
