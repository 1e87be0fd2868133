//! `ligature flow`: accounts, channels and flows as files.

use std::collections::HashMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Subcommand;
use serde::Deserialize;

use crate::config::{self, Config};
use crate::flow::account::Keys;
use crate::flow::{Account, Channel, Flow};
use crate::mapping::Runtime;
use crate::pipeline::activate::{self, Source};
use crate::serve;
use crate::store::Store;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Puts an account with its channels and flows into the store, each flow with a component of its mapping.
    ///
    /// The account's keys are read from `LEADSQUARED_ACCESS_KEY` and `LEADSQUARED_SECRET_KEY`. A running host takes it
    /// up at its next start.
    #[command(
        after_help = "Example: ligature flow import examples/quickstart --config /etc/ligature.toml"
    )]
    Import {
        /// A folder with `setup.toml` and the files that it names.
        folder: PathBuf,
        #[arg(long)]
        config: PathBuf,
    },
}

pub(super) async fn run(
    command: Command,
    out: &mut (dyn Write + Send),
) -> anyhow::Result<ExitCode> {
    match command {
        Command::Import { folder, config } => {
            let config = Config::load(&config)?;
            let setup = Setup::read(&folder)?;
            let keys = config::lead_squared_keys()?;
            let open = serve::open(
                &config.storage,
                config.migrate,
                config.keys,
                &config.mapping,
            )
            .await?;
            let imported = setup.import(&open.store, &open.runtime, &keys).await;
            open.close().await;
            for flow in imported? {
                writeln!(out, "{}: active", flow.name)?;
            }
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// An account with its channels and flows, read from files.
#[derive(Debug)]
pub struct Setup {
    pub account: Account,
    pub channels: Vec<Channel>,
    flows: Vec<(Flow, Source)>,
}

/// `setup.toml` as written; channels and flows take the account's id.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    account: Account,
    #[serde(default)]
    channels: Vec<toml::Table>,
    #[serde(default)]
    flows: Vec<toml::Table>,
}

impl Setup {
    /// Reads `setup.toml` in `folder` and every mapping document and component that it names.
    pub fn read(folder: &Path) -> anyhow::Result<Self> {
        let file = folder.join("setup.toml");
        let text = std::fs::read_to_string(&file)
            .with_context(|| format!("cannot read {}", file.display()))?;
        let read = |name: &str| {
            let path = folder.join(name);
            std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))
        };
        Self::parse(&text, read).with_context(|| format!("{} cannot be imported", file.display()))
    }

    /// Reads a setup whose files are built into this binary.
    pub fn embedded(text: &str, files: &HashMap<&str, &[u8]>) -> anyhow::Result<Self> {
        Self::parse(text, |name| {
            files
                .get(name)
                .map(|bytes| bytes.to_vec())
                .with_context(|| format!("no file {name}"))
        })
    }

    fn parse(text: &str, read: impl Fn(&str) -> anyhow::Result<Vec<u8>>) -> anyhow::Result<Self> {
        let File {
            account,
            channels,
            flows,
        } = toml::from_str(text)?;
        let of_account = |mut table: toml::Table| {
            table.insert("account".into(), account.id.as_str().into());
            table
        };
        let channels = channels
            .into_iter()
            .map(|table| {
                let channel = of_account(table)
                    .try_into::<Channel>()
                    .context("in a [[channels]] entry")?;
                match channel.faults().first() {
                    Some((setting, fault)) => {
                        bail!("channel {:?}: {setting}: {fault}", channel.name)
                    }
                    None => Ok(channel),
                }
            })
            .collect::<anyhow::Result<Vec<_>>>()?;
        let mut with_source = Vec::new();
        for mut table in flows {
            let name = table
                .get("name")
                .and_then(toml::Value::as_str)
                .unwrap_or("without a name")
                .to_owned();
            let flow = || format!("in the [[flows]] entry {name:?}");
            let source = match (table.remove("mapping"), table.remove("component")) {
                (Some(toml::Value::String(file)), None) => Source::Document(
                    String::from_utf8(read(&file)?)
                        .with_context(|| format!("{file} is not UTF-8"))?,
                ),
                (None, Some(toml::Value::String(file))) => Source::Component(read(&file)?),
                _ => bail!(
                    "{}: name one file, mapping = \"….toml\" or component = \"….wasm\"",
                    flow()
                ),
            };
            with_source.push((
                of_account(table).try_into::<Flow>().with_context(flow)?,
                source,
            ));
        }
        Ok(Self {
            account,
            channels,
            flows: with_source,
        })
    }

    /// Puts everything into the store and activates each flow.
    pub async fn import(
        self,
        store: &Store,
        runtime: &std::sync::Arc<Runtime>,
        keys: &Keys,
    ) -> anyhow::Result<Vec<Flow>> {
        let catalog = store.catalog();
        catalog.put_account(&self.account).await?;
        catalog.put_keys(&self.account.id, keys).await?;
        for channel in &self.channels {
            catalog.put_channel(channel).await?;
        }
        let mut imported = Vec::new();
        for (flow, source) in self.flows {
            let name = flow.name.clone();
            let flow = activate::activate(store, runtime, flow, source)
                .await
                .with_context(|| format!("flow {name:?}"))?;
            imported.push(flow);
        }
        Ok(imported)
    }
}
