//! `ligature flow template`: the sample message of a flow.

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::Subcommand;

use crate::flow::Flow;
use crate::flow::template::{Template, findings};
use crate::hl7::Message;
use crate::store::Store;
use crate::store::catalog::{Author, Change};

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Prints a flow's sample, one segment a line; patient data are masked.
    #[command(
        after_help = "Example: ligature flow template show registrations --config /etc/ligature.toml"
    )]
    Show(Args),
    /// Keeps a message as a flow's sample, with other values in the same shape, and says in what it differs from the event.
    #[command(
        after_help = "Example: ligature flow template put registrations a04.hl7 --config /etc/ligature.toml"
    )]
    Put {
        #[command(flatten)]
        args: Args,
        /// A file with one message.
        file: PathBuf,
        /// It tells about nobody and is kept as it is.
        #[arg(long, conflicts_with = "keep_original")]
        made_up: bool,
        /// Keeps it with its patient data: sealed, shown masked, never exported.
        #[arg(long)]
        keep_original: bool,
    },
    /// Takes a flow's sample away.
    #[command(
        after_help = "Example: ligature flow template remove registrations --config /etc/ligature.toml"
    )]
    Remove(Args),
}

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The flow's id.
    flow: String,
    #[arg(long)]
    pub(super) config: PathBuf,
}

impl Command {
    pub(super) fn args(&self) -> &Args {
        match self {
            Command::Show(args) | Command::Remove(args) | Command::Put { args, .. } => args,
        }
    }
}

pub(super) async fn run(
    command: &Command,
    store: &Store,
    out: &mut (dyn Write + Send),
) -> anyhow::Result<()> {
    let id = &command.args().flow;
    let flows = store.catalog().list().await?.flows.into_iter();
    let mut flows = flows.map(|kept| kept.document);
    let flow = flows.find(|flow| flow.id.as_str() == id);
    let flow = flow.with_context(|| format!("there is no flow {id}"))?;
    let author = Author("command line".into());
    let change = match command {
        Command::Show(_) => {
            let shown = kept(store, &flow).await?.shown()?;
            for segment in Message::parse(&shown)?.segments() {
                writeln!(out, "{}", segment.raw())?;
            }
            return Ok(());
        }
        Command::Remove(_) => {
            kept(store, &flow).await?;
            Change::DeleteTemplate(flow.account, flow.id)
        }
        Command::Put {
            file,
            made_up,
            keep_original,
            ..
        } => {
            let bytes =
                std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
            let message = Message::parse(&bytes)
                .with_context(|| format!("{} is no HL7 message", file.display()))?;
            for finding in findings(&message, &flow.event) {
                writeln!(
                    out,
                    "{} {} at byte {}",
                    finding.code, finding.place, finding.offset
                )?;
            }
            Change::Template(Box::new(match (made_up, keep_original) {
                (true, _) => Template::made_up(&flow, &message),
                (_, true) => Template::original(&flow, &message),
                _ => Template::deidentified(&flow, &message),
            }))
        }
    };
    store.catalog().apply(&[change], &author).await?;
    Ok(())
}

async fn kept(store: &Store, flow: &Flow) -> anyhow::Result<Template> {
    match store.templates().get(&flow.account, &flow.id).await? {
        Some(template) => Ok(template),
        None => bail!("flow {} has no template", flow.id),
    }
}
