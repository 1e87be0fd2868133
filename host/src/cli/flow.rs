//! `ligature flow`: an account with its channels, flows, mappings, components and code tables as files.
//!
//! The form of the files is in `setup`, what an import would change in `plan`, writing them in `export`.

mod bisect;
mod canary;
mod export;
mod load;
pub mod plan;
mod replay;
pub mod setup;
mod shadow;
mod template;
mod way;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Subcommand;

use crate::cli::plugin::eject;
use crate::config::{self, Config};
use crate::serve;
use plan::{Plan, Said};
use setup::Setup;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Shows what files would change, and makes all of it so, or nothing.
    ///
    /// A new account's keys are read from `LEADSQUARED_ACCESS_KEY` and `LEADSQUARED_SECRET_KEY`. Each flow gets a
    /// component of its mapping and is active unless its file says another status. What is not in the files stays.
    #[command(
        after_help = "Example: ligature flow import examples/quickstart --config /etc/ligature.toml"
    )]
    Import {
        /// A folder with `setup.toml` and the files that it names.
        folder: PathBuf,
        /// Shows it and changes nothing.
        #[arg(long)]
        plan: bool,
        /// Takes components although they do not stand the robustness run; this is recorded.
        #[arg(long)]
        accept_findings: bool,
        #[arg(long)]
        config: PathBuf,
    },
    /// Writes an account without its keys, so that an import of the files makes the same.
    #[command(
        after_help = "Example: ligature flow export backup/clinic --config /etc/ligature.toml"
    )]
    Export {
        /// A folder to write to; files of an earlier export are written over.
        folder: PathBuf,
        /// The account's id; needed where there are several.
        #[arg(long)]
        account: Option<String>,
        #[arg(long)]
        config: PathBuf,
    },
    /// The sample message of a flow.
    #[command(subcommand)]
    Template(template::Command),
    /// Existing data: messages in files, or leads that are in LeadSquared already.
    #[command(subcommand)]
    Load(load::Command),
    /// Stored messages through releases again, without any effect.
    Replay(replay::Replay),
    /// A Rust project of a mapping document.
    Eject(eject::Args),
    /// A candidate release that serves some of a flow's patients.
    #[command(subcommand)]
    Canary(canary::Command),
    /// The release since which a field gets what it gets of a stored message.
    Bisect(bisect::Bisect),
    /// A candidate release over stored messages, beside the one in force.
    #[command(subcommand)]
    Shadow(shadow::Command),
}

pub(super) async fn run(
    command: Command,
    out: &mut (dyn Write + Send),
) -> anyhow::Result<ExitCode> {
    let config = match &command {
        Command::Load(command) => return Box::pin(load::run(command, out)).await,
        Command::Replay(command) => return Box::pin(replay::run(command, out)).await,
        Command::Bisect(command) => return Box::pin(bisect::run(command, out)).await,
        Command::Shadow(command) => return Box::pin(shadow::run(command, out)).await,
        Command::Eject(args) => return Box::pin(eject::run(args, out)).await,
        Command::Canary(command) => return Box::pin(canary::run(command, out)).await,
        Command::Import { config, .. } | Command::Export { config, .. } => config,
        Command::Template(command) => &command.args().config,
    };
    let config = Config::load(config)?;
    let setup = match &command {
        Command::Import { folder, .. } => Some(Setup::read(folder)?),
        _ => None,
    };
    let open = serve::open_configured(config).await?;
    let done = async {
        match (command, setup) {
            (
                Command::Export {
                    folder, account, ..
                },
                _,
            ) => {
                let files = export::files(&open.store, account.as_deref()).await?;
                export::write(&folder, &files, out)
            }
            (
                Command::Import {
                    plan,
                    accept_findings,
                    ..
                },
                Some(setup),
            ) => {
                let said = Said {
                    keys: config::lead_squared_keys(),
                    accept_findings,
                };
                let planned = Box::pin(Plan::make(setup, &open.store, &open.runtime, said)).await?;
                write!(out, "{planned}")?;
                if plan {
                    return Ok(());
                }
                planned.carry_out(&open.store).await?;
                writeln!(out, "imported")?;
                Ok(())
            }
            (Command::Template(command), _) => template::run(&command, &open.store, out).await,
            (
                Command::Import { .. }
                | Command::Load(_)
                | Command::Replay(_)
                | Command::Bisect(_)
                | Command::Canary(_)
                | Command::Eject(_)
                | Command::Shadow(_),
                None | Some(_),
            ) => {
                unreachable!("an import has been read, and the others have a way of their own")
            }
        }
    };
    let done = Box::pin(done).await;
    open.close().await;
    done.map(|()| ExitCode::SUCCESS)
}
