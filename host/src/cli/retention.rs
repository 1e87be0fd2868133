//! `ligature retention`: what has been kept long enough, and letting go of it.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Subcommand;
use jiff::Timestamp;
use serde_json::json;

use crate::config::Config;
use crate::flow::retention::Policies;
use crate::serve;
use crate::store::Store;
use crate::store::journal::{Going, Removed};

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Says per channel and outcome how many messages would go now and how old the oldest is; changes nothing.
    ///
    /// `unclaimed` are messages that no flow takes: their payload goes and their header facts stay. A SQLite file must
    /// not be in use by a running host.
    #[command(after_help = "Example: ligature retention preview --config /etc/ligature.toml")]
    Preview(Args),
    /// Lets go of them at once; a running host does so by itself every hour.
    #[command(after_help = "Example: ligature retention apply --config /etc/ligature.toml")]
    Apply(Args),
}

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The host's configuration file.
    #[arg(long)]
    config: PathBuf,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(
    command: Command,
    out: &mut (dyn Write + Send),
) -> anyhow::Result<ExitCode> {
    let (Command::Preview(args) | Command::Apply(args)) = &command;
    let config = Config::load(&args.config)?;
    let open = serve::open_configured(config).await?;
    let done = match &command {
        Command::Preview(_) => preview(&open.store).await.map(|going| match args.json {
            true => going_json(&going),
            false => going_text(&going),
        }),
        Command::Apply(_) => apply(&open.store).await.map(|removed| match args.json {
            true => removed_json(&removed),
            false => removed_text(&removed),
        }),
    };
    open.close().await;
    out.write_all(done?.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

async fn policies(store: &Store) -> anyhow::Result<Policies> {
    Ok(Policies::of(&store.catalog().load().await?.channels))
}

async fn preview(store: &Store) -> anyhow::Result<Vec<Going>> {
    let policies = policies(store).await?;
    let now = Timestamp::now().as_millisecond();
    Ok(store.journal().going(&policies, now).await?)
}

async fn apply(store: &Store) -> anyhow::Result<Removed> {
    let policies = policies(store).await?;
    let now = Timestamp::now().as_millisecond();
    let mut sweep = store.journal().sweep(&policies, now).await?;
    let mut removed = Removed::default();
    while let Some(step) = sweep.step().await? {
        removed += step;
    }
    Ok(removed)
}

fn going_text(going: &[Going]) -> String {
    if going.is_empty() {
        return "nothing has been kept long enough\n".into();
    }
    let mut text = format!(
        "{:<24} {:<24} {:<12} {:>10}  oldest\n",
        "account", "channel", "outcome", "messages"
    );
    for line in going {
        text.push_str(&format!(
            "{:<24} {:<24} {:<12} {:>10}  {}\n",
            line.account.as_str(),
            line.channel.as_str(),
            line.outcome,
            line.messages,
            at(line.oldest_received_at_ms).strftime("%Y-%m-%d %H:%M")
        ));
    }
    text
}

fn going_json(going: &[Going]) -> String {
    let lines: Vec<_> = going
        .iter()
        .map(|line| {
            json!({
                "account": line.account.as_str(),
                "channel": line.channel.as_str(),
                "outcome": line.outcome.as_str(),
                "messages": line.messages,
                "oldest_received_at": at(line.oldest_received_at_ms).to_string(),
            })
        })
        .collect();
    format!("{}\n", json!({ "going": lines }))
}

fn removed_text(removed: &Removed) -> String {
    format!(
        "{} messages let go of, and the payloads of {} that no flow takes; {} search values and {} duplicate keys with them\n",
        removed.messages, removed.payloads, removed.search_keys, removed.duplicate_keys
    )
}

fn removed_json(removed: &Removed) -> String {
    let line = json!({
        "messages": removed.messages,
        "payloads": removed.payloads,
        "search_keys": removed.search_keys,
        "duplicate_keys": removed.duplicate_keys,
        "ledger_rows": removed.ledger_rows,
    });
    format!("{line}\n")
}

fn at(at_ms: i64) -> Timestamp {
    Timestamp::from_millisecond(at_ms).unwrap_or_default()
}
