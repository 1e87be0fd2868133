//! `ligature token`: who may use the interface.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Subcommand;
use jiff::Timestamp;

use crate::access::{self, Rights};
use crate::config::Config;
use crate::serve;
use crate::store::catalog::{Author, Catalog};

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Makes a token and prints it, this once.
    #[command(
        after_help = "Example: ligature token add console --rights view,operate --config /etc/ligature.toml"
    )]
    Add {
        /// What the audit calls it.
        name: String,
        /// view, operate, map, publish, see-patient-data, administer, audit; or all, which is all but patient data.
        #[arg(long, value_name = "RIGHTS")]
        rights: Rights,
        #[arg(long)]
        config: PathBuf,
    },
    /// Prints every token with its rights, never its secret.
    #[command(after_help = "Example: ligature token list --config /etc/ligature.toml")]
    List {
        #[arg(long)]
        config: PathBuf,
    },
    /// Makes a token useless, at once.
    #[command(after_help = "Example: ligature token revoke console --config /etc/ligature.toml")]
    Revoke {
        /// Its name or its id.
        name: String,
        #[arg(long)]
        config: PathBuf,
    },
}

pub(super) async fn run(
    command: Command,
    out: &mut (dyn Write + Send),
) -> anyhow::Result<ExitCode> {
    let (Command::Add { config, .. } | Command::List { config } | Command::Revoke { config, .. }) =
        &command;
    let config = Config::load(config)?;
    let open = serve::open_configured(config).await?;
    let done = carry_out(command, &open.store.catalog(), out).await;
    open.close().await;
    done.map(|()| ExitCode::SUCCESS)
}

async fn carry_out(
    command: Command,
    catalog: &Catalog,
    out: &mut (dyn Write + Send),
) -> anyhow::Result<()> {
    let author = Author("command line".into());
    match command {
        Command::Add { name, rights, .. } => {
            let token = access::issue(catalog, &name, &rights, &author).await?;
            writeln!(out, "{}", token.reveal())?;
        }
        Command::List { .. } => {
            for token in catalog.tokens().await? {
                let at = |at: Option<i64>| {
                    let at = at.and_then(|at| Timestamp::from_millisecond(at).ok());
                    at.map_or_else(|| "never".to_owned(), |at| at.strftime("%F %T").to_string())
                };
                let state = match token.revoked_at_ms {
                    Some(revoked) => format!("revoked {}", at(Some(revoked))),
                    None => format!("used {}", at(token.used_at_ms)),
                };
                let maker = token.maker.map(|(_, login)| format!(" by {login}"));
                let until = token.expires_at_ms;
                let until = until.map(|until| format!("  until {}", at(Some(until))));
                writeln!(
                    out,
                    "{}  {}  {}  made {}{}{}  {state}",
                    token.id,
                    token.name,
                    token.rights,
                    at(Some(token.created_at_ms)),
                    maker.unwrap_or_default(),
                    until.unwrap_or_default(),
                )?;
            }
        }
        Command::Revoke { name, .. } => {
            let revoked = catalog.revoke_token(&name, &author).await?;
            writeln!(out, "{revoked} revoked")?;
        }
    }
    Ok(())
}
