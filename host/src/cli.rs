//! The command line: one function a subcommand.
//!
//! Exit status: 0 done, 1 failed, 2 wrong use. What a command is for prints to standard output; faults and logs go to
//! standard error.

pub mod demo;
pub mod doctor;
pub mod flow;
mod interface;
pub mod message;
pub mod plugin;
pub mod retention;
pub mod send;
pub mod simulate;
mod tls;
pub mod token;

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, Subcommand};

use crate::config::Config;
use crate::flow::target::Identity;
use crate::pipeline::configuration::Configuration;
use crate::{serve, vault};

/// The bridge between a hospital's EHR (HL7 v2 over MLLP) and LeadSquared.
#[derive(Debug, Parser)]
#[command(name = "ligature", version, propagate_version = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the host with a LeadSquared simulator and sample flows, and shows what becomes of sample messages.
    #[command(after_help = "Example: ligature demo --once")]
    Demo(demo::Args),
    /// Runs the host.
    #[command(after_help = "Example: ligature serve --config /etc/ligature.toml")]
    Serve(ServeArgs),
    /// Checks configuration, database and components without opening a port.
    #[command(after_help = "Example: ligature check --config /etc/ligature.toml")]
    Check(ConfigFile),
    /// Applies missing database migrations.
    #[command(after_help = "Example: ligature migrate --config /etc/ligature.toml")]
    Migrate(ConfigFile),
    /// Prints a new key for sealing patient data.
    #[command(after_help = "Example: ligature key > /etc/ligature.key")]
    Key,
    /// Reads flows and mapping documents from files.
    #[command(subcommand)]
    Flow(flow::Command),
    /// Says who may use the interface.
    #[command(subcommand)]
    Token(token::Command),
    /// Looks into an HL7 file, edits it, takes a batch apart.
    #[command(
        subcommand,
        after_help = "Example: ligature message get adt-a04.hl7 PID-5.1"
    )]
    Message(message::Command),
    /// Makes, examines and tries a component, as its vendor.
    #[command(subcommand)]
    Plugin(plugin::Command),
    /// Shows and lets go of messages that have been kept long enough.
    #[command(
        subcommand,
        after_help = "Example: ligature retention preview --config /etc/ligature.toml"
    )]
    Retention(retention::Command),
    /// Sends HL7 files over MLLP and prints the acknowledgements.
    #[command(
        after_help = "Example: ligature send adt-a04.hl7 --to 127.0.0.1:2575 --new-control-id"
    )]
    Send(send::Args),
    /// Examines a connection and writes a report for whoever looks after its other end.
    #[command(subcommand)]
    Doctor(doctor::Doctor),
    /// Runs a stand-in of another system, to talk to in tests.
    #[command(subcommand)]
    Simulate(simulate::Simulate),
}

#[derive(Debug, clap::Args)]
struct ConfigFile {
    /// The host's configuration file.
    #[arg(long)]
    config: PathBuf,
}

#[derive(Debug, clap::Args)]
struct ServeArgs {
    #[command(flatten)]
    file: ConfigFile,
    /// Serves the console over TLS with this certificate and the chain above it, in PEM form.
    #[arg(long, value_name = "FILE", requires = "http_tls_key")]
    http_tls_cert: Option<PathBuf>,
    /// The certificate's private key, in PEM form.
    #[arg(long, value_name = "FILE", requires = "http_tls_cert")]
    http_tls_key: Option<PathBuf>,
}

/// Parses the command line and runs it.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    logs(matches!(cli.command, Command::Serve(_)));
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(fault) => return failed(&fault.into()),
    };
    match runtime.block_on(run(cli.command, &mut io::stdout())) {
        Ok(code) => code,
        // The reader of our output went away: `ligature … | head`.
        Err(fault)
            if fault
                .downcast_ref::<io::Error>()
                .is_some_and(|io| io.kind() == io::ErrorKind::BrokenPipe) =>
        {
            ExitCode::SUCCESS
        }
        Err(fault) => failed(&fault),
    }
}

fn failed(fault: &anyhow::Error) -> ExitCode {
    let _ = writeln!(io::stderr(), "ligature: {fault:#}");
    ExitCode::FAILURE
}

async fn run(command: Command, out: &mut (dyn Write + Send)) -> anyhow::Result<ExitCode> {
    match command {
        Command::Demo(args) => Box::pin(demo::run(args, out)).await,
        Command::Serve(args) => {
            let mut config = Config::load(&args.file.config)?;
            if let (Some(certificate), Some(key)) = (args.http_tls_cert, args.http_tls_key) {
                config.console.tls = Some(Identity { certificate, key });
            }
            Box::pin(serve::run(config)).await?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Check(args) => Box::pin(check(&args, out)).await,
        Command::Migrate(args) => {
            let config = Config::load(&args.config)?;
            let config = Config {
                migrate: true,
                ..config
            };
            serve::open_configured(config).await?.close().await;
            Ok(ExitCode::SUCCESS)
        }
        Command::Key => {
            writeln!(out, "{}", vault::Key::generate()?.to_hex())?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Flow(command) => Box::pin(flow::run(command, out)).await,
        Command::Token(command) => Box::pin(token::run(command, out)).await,
        Command::Message(command) => message::run(command, out),
        Command::Plugin(command) => Box::pin(plugin::run(command, out)).await,
        Command::Retention(command) => Box::pin(retention::run(command, out)).await,
        Command::Send(args) => Ok(ExitCode::from(send::run(args, out).await?)),
        Command::Doctor(doctor) => Ok(ExitCode::from(doctor::run(doctor, out).await?)),
        Command::Simulate(args) => {
            simulate::run(args, out).await?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

async fn check(args: &ConfigFile, out: &mut (dyn Write + Send)) -> anyhow::Result<ExitCode> {
    let config = Config::load(&args.config)?;
    let open = serve::open_configured(Config {
        migrate: false,
        ..config
    })
    .await?;
    let configuration = Box::pin(Configuration::load(&open.store, &open.runtime))
        .await
        .context("the configuration in the store cannot run")?;
    for channel in &configuration.targets {
        serve::target(channel)?;
    }
    writeln!(
        out,
        "storage, key and components are in order: {} channels, {} flows",
        configuration.channels.len() + configuration.targets.len(),
        configuration.flows().count()
    )?;
    open.close().await;
    Ok(ExitCode::SUCCESS)
}

/// Logs go to standard error; `RUST_LOG` chooses more or less.
fn logs(host: bool) {
    use tracing_subscriber::EnvFilter;
    let default = if host { "info" } else { "warn" };
    let filter = EnvFilter::builder().with_default_directive(
        default
            .parse()
            .unwrap_or_else(|_| tracing::level_filters::LevelFilter::WARN.into()),
    );
    tracing_subscriber::fmt()
        .with_env_filter(filter.from_env_lossy())
        .with_writer(io::stderr)
        // Colours are for people at a terminal, not for files and journals.
        .with_ansi(io::stderr().is_terminal())
        .init();
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn verify_cli() {
        super::Cli::command().debug_assert();
    }
}
