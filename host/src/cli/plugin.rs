//! `ligature plugin`: a vendor's loop, through the host's own code.
//!
//! A project is written by `new` ([`project`]), made into a component by `build` ([`build`]), looked at by `inspect`
//! ([`inspect`]), tried on one message by `run`, on many by `test` ([`cases`]) and on what nobody expects by `check`
//! ([`check`]), and sent out signed and packed ([`ship`]), fetched from a registry ([`pull`]) or sent to a host
//! ([`upload`]). What runs here runs under the same
//! limits and grants as in a flow, with everything granted that the component asks for.

mod build;
mod cases;
mod check;
pub(super) mod eject;
mod inspect;
mod project;
mod pull;
mod registry;
mod report;
mod ship;
mod upload;

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, bail, ensure};
use clap::Subcommand;
use serde_json::Value;

use crate::flow::change::Change;
use crate::flow::table::csv;
use crate::flow::{CodeTable, Digest, Direction, Release};
use crate::hl7;
use crate::mapping::{self, ChangeInput, Component, Input, Run, Runtime, Tables, shown};

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Writes a project that builds and passes its tests as it is.
    #[command(after_help = "Example: ligature plugin new appointments --language rust")]
    New(project::Args),
    /// Makes the component of a project.
    #[command(after_help = "Example: ligature plugin build appointments")]
    Build(build::Args),
    /// Shows what a component is, reads and writes, or why a host would not take it.
    #[command(after_help = "Example: ligature plugin inspect appointments.wasm")]
    Inspect(inspect::Args),
    /// Maps one message, or one change in LeadSquared, and prints the result as JSON.
    #[command(
        after_help = "Example: ligature plugin run appointments.wasm --message booking.hl7 --table providers=providers.csv"
    )]
    Run(RunArgs),
    /// Maps every message of a folder and compares the results with what is expected of them.
    ///
    /// NAME.hl7 (or NAME.change.json, a change in LeadSquared) goes with NAME.expected.json, and with NAME.toml where it
    /// needs settings, tables or an event of its own; what stands in case.toml holds for all.
    #[command(after_help = "Example: ligature plugin test cases --component appointments.wasm")]
    Test(cases::Args),
    /// Gives the component variations of a message, as the upload does, and says which it does not stand.
    #[command(
        after_help = "Example: ligature plugin check appointments.wasm --message booking.hl7"
    )]
    Check(check::Args),
    /// Makes a key to sign components with, and prints the part of it that others may know.
    #[command(after_help = "Example: ligature plugin key vendor.key")]
    Key(ship::KeyArgs),
    /// Signs a component; the signature goes beside it.
    #[command(after_help = "Example: ligature plugin sign appointments.wasm --key vendor.key")]
    Sign(ship::SignArgs),
    /// Checks whose signature a component has.
    #[command(after_help = "Example: ligature plugin verify appointments.wasm --key ed25519:3d40…")]
    Verify(ship::VerifyArgs),
    /// Puts a component, its signature, its manifest and a text for people into one file.
    #[command(after_help = "Example: ligature plugin pack appointments.wasm --readme README.md")]
    Pack(ship::PackArgs),
    /// Fetches a component and its signature from a registry.
    #[command(
        after_help = "Example: ligature plugin pull registry.example.org/vendor/appointments:1.2.0 --login ~/.docker/config.json"
    )]
    Pull(pull::Args),
    /// Sends a component to a running host, with a token in `LIGATURE_TOKEN`.
    #[command(after_help = "Example: ligature plugin upload appointments.wasm --account clinic")]
    Upload(upload::Args),
    /// Takes such a file apart.
    #[command(
        after_help = "Example: ligature plugin unpack appointments.tar --folder appointments"
    )]
    Unpack(ship::UnpackArgs),
}

#[derive(Debug, clap::Args)]
pub struct RunArgs {
    /// The component.
    component: PathBuf,
    /// A file with one HL7 message.
    #[arg(long, required_unless_present = "change", conflicts_with = "change")]
    message: Option<PathBuf>,
    /// A file with one change in LeadSquared: {"event": "lead-update", "lead": {"before": {…}, "after": {…}}}
    #[arg(long)]
    change: Option<PathBuf>,
    /// The event of the flow; the message's own if left out.
    #[arg(long)]
    event: Option<String>,
    /// A setting.
    #[arg(long = "setting", value_name = "NAME=VALUE")]
    settings: Vec<String>,
    /// A code table, by the component's name for it.
    #[arg(long = "table", value_name = "NAME=FILE.csv")]
    tables: Vec<String>,
    /// The flow's time zone.
    #[arg(long, default_value = "UTC")]
    time_zone: String,
    /// The flow's country calling code for numbers without one.
    #[arg(long)]
    country_code: Option<String>,
    /// Maps it as often as this, each time in a fresh instance, and tells what that cost.
    #[arg(long, default_value_t = 1, value_name = "TIMES")]
    repeat: u32,
    #[command(flatten)]
    compiled: Compiled,
}

/// Runs the subcommand.
pub async fn run(command: Command, out: &mut (dyn Write + Send)) -> anyhow::Result<ExitCode> {
    match command {
        Command::New(args) => project::run(&args, out),
        Command::Build(args) => build::run(&args, out),
        Command::Inspect(args) => Box::pin(inspect::run(&args, out)).await,
        Command::Run(args) => Box::pin(run_one(&args, out)).await,
        Command::Test(args) => Box::pin(cases::run(&args, out)).await,
        Command::Check(args) => Box::pin(check::run(&args, out)).await,
        Command::Key(args) => ship::key(&args, out),
        Command::Sign(args) => ship::sign(&args, out),
        Command::Verify(args) => ship::verify(&args, out),
        Command::Pack(args) => Box::pin(ship::pack(&args, out)).await,
        Command::Pull(args) => Box::pin(pull::run(&args, out)).await,
        Command::Upload(args) => Box::pin(upload::run(&args, out)).await,
        Command::Unpack(args) => ship::unpack(&args, out),
    }
}

async fn run_one(args: &RunArgs, out: &mut (dyn Write + Send)) -> anyhow::Result<ExitCode> {
    let bench = Bench::open(&args.compiled)?;
    let component = bench.load(&read(&args.component)?).await?;
    let mut flow = Flow {
        event: args.event.clone(),
        time_zone: args.time_zone.clone(),
        country_code: args.country_code.clone(),
        ..Flow::default()
    };
    for setting in &args.settings {
        let (name, value) = pair(setting, "--setting NAME=VALUE")?;
        flow.settings.insert(name.into(), value.into());
    }
    for table in &args.tables {
        let (name, file) = pair(table, "--table NAME=FILE.csv")?;
        flow.tables.insert(name.into(), file.into());
    }
    let subject = match (&args.message, &args.change) {
        (Some(file), _) => Subject::message(&read(file)?)?,
        (None, Some(file)) => Subject::change(&read(file)?)?,
        (None, None) => bail!("name a --message or a --change"),
    };
    let once = async || {
        let subject = subject.clone();
        bench.run(&component, &flow, Path::new(""), subject).await
    };
    let result = once().await?;
    let mut durations = vec![result.duration];
    for _ in 1..args.repeat {
        durations.push(once().await?.duration);
    }
    let whole = result.whole(durations);
    writeln!(out, "{}", serde_json::to_string_pretty(&whole)?)?;
    Ok(match result.is_answer {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

fn pair<'a>(text: &'a str, form: &str) -> anyhow::Result<(&'a str, &'a str)> {
    text.split_once('=')
        .with_context(|| format!("{text:?} is not of the form {form}"))
}

fn read(file: &Path) -> anyhow::Result<Vec<u8>> {
    std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))
}

/// What a flow would tell the component.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Flow {
    /// The message's own if left out.
    event: Option<String>,
    settings: BTreeMap<String, String>,
    /// The component's names to CSV files.
    tables: BTreeMap<String, String>,
    time_zone: String,
    country_code: Option<String>,
    channel: String,
    /// RFC 3339; the beginning of 1970 if left out, so that results stay the same.
    received_at: Option<jiff::Timestamp>,
}

/// What is mapped.
#[derive(Clone)]
enum Subject {
    Message(Arc<hl7::Message>),
    Change(Arc<Change>),
}

impl Subject {
    fn message(bytes: &[u8]) -> anyhow::Result<Self> {
        let message = hl7::Message::parse(bytes).context("the file is no HL7 message")?;
        Ok(Self::Message(Arc::new(message)))
    }

    fn change(bytes: &[u8]) -> anyhow::Result<Self> {
        let change =
            serde_json::from_slice(bytes).context("the file is no change in LeadSquared")?;
        Ok(Self::Change(Arc::new(change)))
    }
}

/// Where compiled components are.
#[derive(Debug, Default, clap::Args)]
struct Compiled {
    /// Keeps compiled components in this folder, which nobody else may write to: the next run of the same component
    /// starts at once.
    #[arg(long, value_name = "FOLDER")]
    compiled: Option<PathBuf>,
}

/// A runtime; without a folder of its own for compiled components, one that goes when it goes.
struct Bench {
    runtime: Arc<Runtime>,
    _folder: Option<tempfile::TempDir>,
}

impl Bench {
    fn open(compiled: &Compiled) -> anyhow::Result<Self> {
        let (folder, path) = match &compiled.compiled {
            Some(path) => (None, path.clone()),
            None => {
                let folder =
                    tempfile::tempdir().context("cannot make a folder for compiled components")?;
                let path = folder.path().to_owned();
                (Some(folder), path)
            }
        };
        let config = mapping::Config::new(path);
        // Nobody else writes into the folder, so there is nothing to tell apart.
        let runtime = Runtime::new(config, |_| [0; 32])?;
        Ok(Self {
            runtime: Arc::new(runtime),
            _folder: folder,
        })
    }

    async fn load(&self, bytes: &[u8]) -> anyhow::Result<Arc<Component>> {
        let (runtime, bytes) = (self.runtime.clone(), bytes.to_vec());
        let loaded = tokio::task::spawn_blocking(move || runtime.load(&bytes)).await?;
        Ok(loaded?)
    }

    /// Maps one subject; tables are read from `folder`.
    async fn run(
        &self,
        component: &Arc<Component>,
        flow: &Flow,
        folder: &Path,
        subject: Subject,
    ) -> anyhow::Result<report::Result> {
        let known = &component.manifest.settings;
        for name in flow.settings.keys() {
            let is_known = known.iter().any(|setting| setting.name == *name);
            ensure!(is_known, "the component has no setting {name:?}");
        }
        let release = Arc::new(Release {
            flow: "plugin".into(),
            component: component.digest.clone(),
            grants: component.manifest.grants(),
            bindings: BTreeMap::new(),
            settings: flow.settings.clone(),
            tables: BTreeMap::new(),
        });
        let tables = Arc::new(self.tables(component, flow, folder)?);
        let received_at = flow.received_at.unwrap_or_default();
        let time_zone = match flow.time_zone.as_str() {
            "" => "UTC".to_owned(),
            name => name.to_owned(),
        };
        match (subject, component.direction()) {
            (Subject::Message(message), Direction::EhrToLeadSquared) => {
                let header = message.header();
                let own = format!("{}^{}", header.message_code, header.trigger_event);
                let input = Input {
                    message,
                    release,
                    tables,
                    event: flow.event.clone().unwrap_or(own),
                    received_at_ms: received_at.as_millisecond(),
                    time_zone,
                    default_country_code: flow.country_code.clone(),
                    channel: flow.channel.clone(),
                };
                let run = self.runtime.to_lead_squared(component, input).await;
                Ok(report::result(run, shown::mapped))
            }
            (Subject::Change(change), Direction::LeadSquaredToEhr) => {
                let input = ChangeInput {
                    change,
                    release,
                    tables,
                    received_at_ms: received_at.as_millisecond(),
                    time_zone,
                    default_country_code: flow.country_code.clone(),
                    channel: flow.channel.clone(),
                };
                let run: Run<_> = self.runtime.to_ehr(component, input).await;
                Ok(report::result(run, shown::composed))
            }
            (_, direction) => bail!(
                "the component maps {}: give it one of those",
                mapping::gate::words(direction)
            ),
        }
    }

    fn tables(&self, component: &Component, flow: &Flow, folder: &Path) -> anyhow::Result<Tables> {
        let known = &component.manifest.tables;
        let mut tables = Tables::new();
        for (name, file) in &flow.tables {
            let is_known = known.iter().any(|table| table.name == *name);
            ensure!(is_known, "the component has no code table {name:?}");
            let sheet = csv::read(&read(&folder.join(file))?);
            let csv::Sheet { columns, entries } = sheet.with_context(|| file.clone())?;
            let table = CodeTable {
                columns,
                entries,
                ..CodeTable::new("plugin".into(), name.clone())
            };
            tables.insert(name.clone(), Arc::new(table.into()));
        }
        Ok(tables)
    }
}

/// A digest as people compare it.
fn short(digest: &Digest) -> &str {
    digest.as_str().get(..12).unwrap_or_default()
}

/// Objects without nothing in them read better.
fn object(members: impl IntoIterator<Item = (&'static str, Value)>) -> Value {
    let is_something = |value: &Value| match value {
        Value::Null => false,
        Value::Array(items) => !items.is_empty(),
        Value::Object(members) => !members.is_empty(),
        _ => true,
    };
    let members = members.into_iter().filter(|(_, value)| is_something(value));
    Value::Object(
        members
            .map(|(name, value)| (name.to_owned(), value))
            .collect(),
    )
}
