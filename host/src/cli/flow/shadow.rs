//! `ligature flow shadow`: a candidate release over stored messages, beside the one in force, without any effect.
//!
//! A running host does the work, and this can be ended at any time; without one this process does it. Start at [`run`].

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Subcommand;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::way::Way;
use crate::cli::interface::OnSite;
use crate::cli::send;
use crate::flow::Digest;
use crate::pipeline::shadow::{Over, Standing};

/// How often a running host is asked how far it is.
const LOOK: Duration = Duration::from_millis(500);

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Runs a candidate over stored messages and shows which fields come out differently.
    #[command(
        after_help = "Examples: ligature flow shadow start registrations --mapping new.toml --config /etc/ligature.toml\n          \
                      ligature flow shadow start registrations --release 5e3a… --since 2026-01-31 --config /etc/ligature.toml"
    )]
    Start(Start),
    /// Lists shadow runs.
    #[command(after_help = "Example: ligature flow shadow list --config /etc/ligature.toml")]
    List {
        #[command(flatten)]
        site: OnSite,
    },
    /// Shows what a shadow run has found.
    #[command(after_help = "Example: ligature flow shadow show 0199… --config /etc/ligature.toml")]
    Show(Which),
    /// Ends a shadow run; what it has found stays.
    #[command(
        after_help = "Example: ligature flow shadow cancel 0199… --config /etc/ligature.toml"
    )]
    Cancel(Which),
}

#[derive(Debug, clap::Args)]
pub struct Start {
    /// The flow's id.
    flow: String,
    /// The digest of a release of the flow.
    #[arg(long, required_unless_present = "mapping")]
    release: Option<String>,
    /// A mapping document; a release is made of it by the running host.
    #[arg(long, conflicts_with = "release")]
    mapping: Option<PathBuf>,
    /// Messages that came since a day or a time, in UTC; the last 24 hours if left out.
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// And until then.
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// The first so many, up to 100,000; 10,000 if left out.
    #[arg(long)]
    limit: Option<u64>,
    /// Does not wait for the end.
    #[arg(long)]
    background: bool,
    /// Prints JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    site: OnSite,
}

#[derive(Debug, clap::Args)]
pub struct Which {
    /// The shadow run's id.
    id: String,
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
        Command::List { site } => site,
        Command::Show(which) | Command::Cancel(which) => &which.site,
    };
    let way = Box::pin(Way::find(site)).await?;
    let done = Box::pin(carry_out(command, &way, out)).await;
    way.close().await;
    done.map(|()| ExitCode::SUCCESS)
}

async fn carry_out(
    command: &Command,
    way: &Way,
    out: &mut (dyn Write + Send),
) -> anyhow::Result<()> {
    match command {
        Command::Start(args) => Box::pin(start(args, way, out)).await,
        Command::List { .. } => {
            for shadow in list(way).await? {
                let (id, flow) = (text(&shadow["id"]), text(&shadow["flow"]));
                let (state, summary) = (text(&shadow["state"]), text(&shadow["summary"]));
                writeln!(out, "{id}  {flow}  {state}  {summary}")?;
            }
            Ok(())
        }
        Command::Show(which) => print(out, &show(way, &which.id).await?, which.json),
        Command::Cancel(which) => print(out, &cancel(way, &which.id).await?, which.json),
    }
}

async fn start(args: &Start, way: &Way, out: &mut (dyn Write + Send)) -> anyhow::Result<()> {
    let time = |text: &Option<String>| text.as_deref().map(super::load::time).transpose();
    let over = Over {
        from: time(&args.since)?,
        to: time(&args.until)?,
        limit: args.limit,
    };
    let id = begin(args, way, &over).await?;
    if args.background {
        writeln!(out, "shadow run {id} has begun")?;
        return Ok(());
    }
    if let Way::Store(stored) = way {
        Box::pin(stored.pipeline.carry_shadow(&id)).await?;
        return print(out, &show(way, &id).await?, args.json);
    }
    let shadow = show(way, &id).await?;
    let total = shadow["total"].as_u64().unwrap_or(0);
    let bar = send::progress_bar(usize::try_from(total).unwrap_or(usize::MAX));
    loop {
        let shadow = show(way, &id).await?;
        bar.set_position(shadow["done"].as_u64().unwrap_or(0));
        if shadow["state"] != "running" {
            bar.finish_and_clear();
            return print(out, &shadow, args.json);
        }
        sleep(LOOK).await;
    }
}

async fn begin(args: &Start, way: &Way, over: &Over) -> anyhow::Result<String> {
    let mapping = args.mapping.as_deref().map(read).transpose()?;
    match way {
        Way::Host(host) => {
            let body = json!({
                "release": args.release, "mapping": mapping, "from": over.from, "to": over.to, "limit": over.limit,
            });
            let path = format!("flows/{}/shadows", args.flow);
            let body = Some(body.to_string().into());
            let shadow = host.send("POST", &path, body).await?;
            Ok(text(&shadow["id"]))
        }
        Way::Store(stored) => {
            let Some(release) = &args.release else {
                bail!("no host runs that could make a release of the mapping: name a release");
            };
            let flows = stored.pipeline.store.catalog().list().await?.flows;
            let flow = flows
                .into_iter()
                .find(|kept| kept.document.id.as_str() == args.flow);
            let flow = flow.with_context(|| format!("there is no flow {}", args.flow))?;
            let digest = Digest::from(release.clone());
            let (pipeline, author) = (&stored.pipeline, &stored.author);
            let starting = pipeline.start_shadow(&flow.document, &digest, over, author);
            Ok(starting.await?.id)
        }
    }
}

fn read(file: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))
}

async fn list(way: &Way) -> anyhow::Result<Vec<Value>> {
    match way {
        Way::Host(host) => {
            let page = host.send("GET", "shadows?limit=500", None).await?;
            Ok(page["items"].as_array().cloned().unwrap_or_default())
        }
        Way::Store(stored) => {
            let found = stored.pipeline.store.shadows().list().await?;
            let found = found.iter().map(Standing::of);
            Ok(found.map(serde_json::to_value).collect::<Result<_, _>>()?)
        }
    }
}

async fn show(way: &Way, id: &str) -> anyhow::Result<Value> {
    match way {
        Way::Host(host) => host.send("GET", &format!("shadows/{id}"), None).await,
        Way::Store(stored) => {
            let shadow = stored.pipeline.store.shadows().get(id).await?;
            let shadow = shadow.with_context(|| format!("there is no shadow run {id}"))?;
            Ok(serde_json::to_value(Standing::of(&shadow))?)
        }
    }
}

async fn cancel(way: &Way, id: &str) -> anyhow::Result<Value> {
    match way {
        Way::Host(host) => {
            let path = format!("shadows/{id}/cancel");
            host.send("POST", &path, Some(b"{}".to_vec())).await
        }
        Way::Store(stored) => {
            let shadows = stored.pipeline.store.shadows();
            let shadow = shadows.get(id).await?;
            let shadow = shadow.with_context(|| format!("there is no shadow run {id}"))?;
            if !shadows.cancel(&shadow, &stored.author).await? {
                bail!("shadow run {id} has ended already");
            }
            show(way, id).await
        }
    }
}

fn print(out: &mut (dyn Write + Send), shadow: &Value, as_json: bool) -> anyhow::Result<()> {
    if as_json {
        writeln!(out, "{}", serde_json::to_string_pretty(shadow)?)?;
        return Ok(());
    }
    writeln!(out, "{}", text(&shadow["summary"]))?;
    for (field, counts) in shadow["fields"].as_object().into_iter().flatten() {
        let counts = counts.as_object().into_iter().flatten();
        let counts = counts.filter(|(_, count)| count.as_u64() != Some(0));
        let counts: Vec<_> = counts
            .map(|(change, count)| format!("{count} {}", change.replace('_', " ")))
            .collect();
        writeln!(out, "  {field}  {}", counts.join(", "))?;
    }
    for (end, count) in shadow["ends"].as_object().into_iter().flatten() {
        writeln!(out, "  {count} messages {end}")?;
    }
    for (whose, cost) in [
        ("in force", &shadow["cost_of_base"]),
        ("candidate", &shadow["cost_of_candidate"]),
    ] {
        let number = |name: &str| cost[name].as_u64().unwrap_or(0);
        writeln!(
            out,
            "  {whose}: p50 {} us, p99 {} us; fuel p50 {}, p99 {}",
            number("p50_us"),
            number("p99_us"),
            number("p50_fuel"),
            number("p99_fuel"),
        )?;
    }
    writeln!(out, "shadow run {}", text(&shadow["id"]))?;
    Ok(())
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
