//! `ligature flow load`: existing data through a flow, from files or from LeadSquared.
//!
//! A running host is asked by its interface and does the work; without one the load is put into the store, and the
//! next host that runs on it does. Who is asked is in `way.rs`. Start at [`run`].

use std::io::{BufRead, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use clap::Subcommand;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde_json::Value;
use tokio::time::sleep;

use super::way::Way;
use crate::cli::interface::OnSite;
use crate::cli::send;
use crate::flow::load::Leads;

/// Bytes of messages that are sent at once.
const CHUNK_BYTES: usize = 4 * 1024 * 1024;

/// How often a running host is asked how far it is.
const LOOK: Duration = Duration::from_millis(500);

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Shows how much it is, what it costs and how long it takes, asks, and then puts existing data through a flow.
    ///
    /// For a flow from the EHR name files or folders of messages, for a lead flow to the EHR which leads. Everything goes
    /// behind what happens now, and LeadSquared's automations do not run for it. It can be ended here at any time: the
    /// host goes on.
    #[command(
        after_help = "Examples: ligature flow load start registrations history/ --config /etc/ligature.toml\n          \
                      ligature flow load start updates-out --field mx_City=Rye --plan --config /etc/ligature.toml"
    )]
    Start(Start),
    /// Lists loads and how far they are.
    #[command(after_help = "Example: ligature flow load list --config /etc/ligature.toml")]
    List {
        #[command(flatten)]
        site: OnSite,
    },
    /// Holds a load: nothing more of it is begun.
    #[command(after_help = "Example: ligature flow load pause 0199… --config /etc/ligature.toml")]
    Pause(Which),
    /// Goes on with a load.
    #[command(after_help = "Example: ligature flow load resume 0199… --config /etc/ligature.toml")]
    Resume(Which),
    /// Ends a load; what has been done stays done.
    #[command(after_help = "Example: ligature flow load cancel 0199… --config /etc/ligature.toml")]
    Cancel(Which),
}

#[derive(Debug, clap::Args)]
pub struct Start {
    /// The flow's id.
    flow: String,
    /// Files with messages or batches, or folders of such files.
    files: Vec<PathBuf>,
    /// Leads of which a field holds a value, such as `ProspectStage=Patient`.
    #[arg(long, value_name = "FIELD=VALUE", conflicts_with_all = ["files", "changed_since"])]
    field: Option<String>,
    /// Leads that were changed, or had an activity, since a day or a time, in UTC.
    #[arg(long, value_name = "TIME", conflicts_with = "files")]
    changed_since: Option<String>,
    /// And until then.
    #[arg(long, value_name = "TIME", requires = "changed_since")]
    changed_until: Option<String>,
    /// Shows what it would be and loads nothing.
    #[arg(long)]
    plan: bool,
    /// Does not ask.
    #[arg(long, conflicts_with = "plan")]
    yes: bool,
    /// Does not wait for the end.
    #[arg(long)]
    background: bool,
    #[command(flatten)]
    site: OnSite,
}

#[derive(Debug, clap::Args)]
pub struct Which {
    /// The load's id.
    id: String,
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
        Command::Pause(which) | Command::Resume(which) | Command::Cancel(which) => &which.site,
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
    let (which, action) = match command {
        Command::Start(args) => return Box::pin(start(args, way, out)).await,
        Command::List { .. } => {
            for load in way.list().await? {
                let (id, flow) = (text(&load, "id"), text(&load, "flow"));
                let (state, summary) = (text(&load, "state"), text(&load, "summary"));
                writeln!(out, "{id}  {flow}  {state}  {summary}")?;
            }
            return Ok(());
        }
        Command::Pause(which) => (which, "pause"),
        Command::Resume(which) => (which, "resume"),
        Command::Cancel(which) => (which, "cancel"),
    };
    let load = way.act(&which.id, action).await?;
    writeln!(out, "{}", text(&load, "summary"))?;
    Ok(())
}

async fn start(args: &Start, way: &Way, out: &mut (dyn Write + Send)) -> anyhow::Result<()> {
    let leads = leads(args)?;
    ensure!(
        leads.is_some() || !args.files.is_empty(),
        "name files of messages, or which leads: --field or --changed-since"
    );
    // Read first: a file that is not there is no reason to leave half a load behind.
    let chunks = chunks(args)?;
    let load = way.create(&args.flow, leads.as_ref()).await?;
    let id = text(&load, "id");
    let collected = Box::pin(collect(way, &id, chunks, leads.is_some())).await;
    let load = match collected {
        Ok(load) => load,
        Err(fault) => {
            let _ = way.act(&id, "cancel").await;
            return Err(fault);
        }
    };
    writeln!(out, "{}", text(&load, "summary"))?;
    let total = number(&load, "total");
    let goes = total > 0 && !args.plan && (args.yes || asked(out)?);
    if !goes {
        way.act(&id, "cancel").await?;
        return match total {
            0 => bail!("there is nothing to load"),
            _ if args.plan => Ok(()),
            _ => bail!("nothing was loaded"),
        };
    }
    way.act(&id, "start").await?;
    if !way.is_host() {
        writeln!(out, "load {id} begins when a host runs on this store")?;
        return Ok(());
    }
    writeln!(out, "load {id} has begun")?;
    if args.background {
        return Ok(());
    }
    let bar = send::progress_bar(usize::try_from(total).unwrap_or(usize::MAX));
    loop {
        let load = way.show(&id).await?;
        bar.set_position(number(&load, "taken"));
        let state = text(&load, "state");
        let is_over = state != "running" && (state != "done" || number(&load, "open") == 0);
        if is_over {
            bar.finish_and_clear();
            writeln!(out, "{}", text(&load, "summary"))?;
            return Ok(());
        }
        sleep(LOOK).await;
    }
}

/// Sends messages, or waits until leads are listed; gives the load as it then stands.
async fn collect(
    way: &Way,
    id: &str,
    chunks: Vec<Vec<u8>>,
    lists_leads: bool,
) -> anyhow::Result<Value> {
    let mut load = way.show(id).await?;
    for chunk in chunks {
        load = way.add(id, number(&load, "total"), chunk).await?;
    }
    while lists_leads && text(&load, "state") == "collecting" {
        sleep(LOOK).await;
        load = way.show(id).await?;
    }
    if text(&load, "state") == "failed" {
        bail!("{}", text(&load, "summary"));
    }
    Ok(load)
}

/// The messages of the files, in order, as many together as are sent at once.
fn chunks(args: &Start) -> anyhow::Result<Vec<Vec<u8>>> {
    let mut chunks: Vec<Vec<u8>> = Vec::new();
    for file in send::input_files(&args.files)? {
        let bytes = std::fs::read(&file).with_context(|| format!("reading {}", file.display()))?;
        for message in send::payloads(&bytes) {
            // Anything else would become lines of the message in front of it.
            let has_header = message.trim_ascii_start().starts_with(b"MSH");
            match chunks.last_mut() {
                Some(chunk) if has_header && chunk.len() + message.len() < CHUNK_BYTES => {
                    // A header begins a line.
                    if !chunk.ends_with(b"\r") && !chunk.ends_with(b"\n") {
                        chunk.push(b'\r');
                    }
                    chunk.extend(message);
                }
                _ => chunks.push(message),
            }
        }
    }
    Ok(chunks)
}

fn leads(args: &Start) -> anyhow::Result<Option<Leads>> {
    if let Some(field) = &args.field {
        let (name, value) = field
            .split_once('=')
            .context("--field takes a lead field and its value, such as ProspectStage=Patient")?;
        return Ok(Some(Leads::Field {
            name: name.trim().to_owned(),
            value: value.to_owned(),
        }));
    }
    let Some(since) = &args.changed_since else {
        return Ok(None);
    };
    let until = args.changed_until.as_deref().map(time).transpose()?;
    Ok(Some(Leads::Changed {
        from: time(since)?,
        to: until,
    }))
}

/// A day or a time as the interface takes it.
pub(super) fn time(text: &str) -> anyhow::Result<String> {
    if let Ok(at) = text.parse::<Timestamp>() {
        return Ok(at.to_string());
    }
    let day: Date = text.parse().with_context(|| {
        format!("{text:?} is no day or time, such as 2026-01-31 or 2026-01-31T08:00:00Z")
    })?;
    Ok(day.to_zoned(TimeZone::UTC)?.timestamp().to_string())
}

fn asked(out: &mut (dyn Write + Send)) -> anyhow::Result<bool> {
    write!(out, "load it? [y/N] ")?;
    out.flush()?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    Ok(["y", "yes"].contains(&answer.trim().to_lowercase().as_str()))
}

fn text(load: &Value, name: &str) -> String {
    load[name].as_str().unwrap_or_default().to_owned()
}

fn number(load: &Value, name: &str) -> u64 {
    load[name].as_u64().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_times_are_taken() {
        let check = |text: &str, expected: Option<&str>| {
            assert_eq!(time(text).ok().as_deref(), expected, "{text}");
        };
        check("2026-01-31", Some("2026-01-31T00:00:00Z"));
        check("2026-01-31T08:00:00-05:00", Some("2026-01-31T13:00:00Z"));
        check("yesterday", None);
    }

    #[test]
    fn messages_of_files_go_together() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a.hl7"), "MSH|1\rPID|1\rMSH|2").unwrap();
        std::fs::write(folder.path().join("b.hl7"), "\x0bMSH|3\r\x1c\r").unwrap();
        std::fs::write(folder.path().join("c.txt"), "nothing of the kind").unwrap();
        let args = Start {
            flow: "f".into(),
            files: vec![folder.path().into()],
            field: None,
            changed_since: None,
            changed_until: None,
            plan: false,
            yes: false,
            background: false,
            site: OnSite::default(),
        };
        let chunks = chunks(&args).unwrap();
        let chunks: Vec<_> = chunks
            .iter()
            .map(|chunk| chunk.escape_ascii().to_string())
            .collect();
        let expected = [r"MSH|1\rPID|1\rMSH|2\rMSH|3\r", "nothing of the kind"];
        assert_eq!(chunks, expected);
        assert!(leads(&args).unwrap().is_none());
    }
}
