//! The files as they are read: `setup.toml` and what it names.
//!
//! Channels and flows take the account's id. A flow names one file, `mapping` or `component`, and is active unless it
//! says another `status`; a draft may have no file yet. Its `template` is a sample message that tells about nobody, its
//! `limits` are those of its component. An account without `api` is looked for by its keys.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context, bail};
use serde::Deserialize;

use crate::flow::alert::Settings;
use crate::flow::limits::Limits;
use crate::flow::table::{Otherwise, csv};
use crate::flow::{Account, Channel, CodeTable, Flow, FlowId, Status};
use crate::pipeline::account::ANY_REGION;
use crate::pipeline::activate::Source;

/// An account with all that belongs to it, read from files.
#[derive(Debug, Clone)]
pub struct Setup {
    pub account: Account,
    pub channels: Vec<Channel>,
    pub flows: Vec<(Flow, Option<Source>)>,
    pub code_tables: Vec<CodeTable>,
    /// Sample messages of flows.
    pub templates: Vec<(FlowId, Vec<u8>)>,
    /// Signatures of components, which stand beside them as `ligature plugin sign` writes them.
    pub signatures: Vec<(FlowId, String)>,
    /// Limits of components, by the flows that have them.
    pub limits: Vec<(FlowId, Limits)>,
    /// Mapping documents that flows share: name and text.
    pub shared_mappings: Vec<(String, String)>,
    /// Who is told of what goes wrong, on a host with this account alone.
    pub alerts: Option<Settings>,
    /// The files leave the address of the API out.
    pub finds_api: bool,
}

/// `setup.toml` as written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    account: toml::Table,
    #[serde(default)]
    channels: Vec<toml::Table>,
    #[serde(default)]
    flows: Vec<toml::Table>,
    #[serde(default)]
    code_tables: Vec<CodeTableFile>,
    #[serde(default)]
    shared_mappings: Vec<SharedMappingFile>,
    alerts: Option<Settings>,
}

/// The name of a mapping document that flows share, and its file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SharedMappingFile {
    name: String,
    file: String,
}

/// A code table's name and rules, and the CSV file with its entries.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CodeTableFile {
    name: String,
    file: String,
    #[serde(default)]
    ignore_case: bool,
    #[serde(default)]
    otherwise: Otherwise,
}

impl Setup {
    /// Reads `setup.toml` in `folder` and every file that it names.
    pub fn read(folder: &Path) -> anyhow::Result<Self> {
        let file = folder.join("setup.toml");
        let text = std::fs::read_to_string(&file)
            .with_context(|| format!("cannot read {}", file.display()))?;
        let read = |name: &str| {
            let path = folder.join(name);
            std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))
        };
        let there = |name: &str| folder.join(name).exists();
        Self::parse(&text, read, there)
            .with_context(|| format!("{} cannot be imported", file.display()))
    }

    /// Reads a setup whose files are built into this binary.
    pub fn embedded(text: &str, files: &HashMap<&str, &[u8]>) -> anyhow::Result<Self> {
        let read = |name: &str| {
            files
                .get(name)
                .map(|bytes| bytes.to_vec())
                .with_context(|| format!("no file {name}"))
        };
        Self::parse(text, read, |name| files.contains_key(name))
    }

    fn parse(
        text: &str,
        read: impl Fn(&str) -> anyhow::Result<Vec<u8>>,
        there: impl Fn(&str) -> bool,
    ) -> anyhow::Result<Self> {
        let File {
            account,
            channels,
            flows,
            code_tables,
            shared_mappings,
            alerts,
        } = toml::from_str(text)?;
        let mut account = account;
        let finds_api = !account.contains_key("api");
        if finds_api {
            account.insert("api".into(), ANY_REGION.into());
        }
        let account: Account = account.try_into().context("in [account]")?;
        let read_text = |name: &str| {
            String::from_utf8(read(name)?).with_context(|| format!("{name} is not UTF-8"))
        };
        let of_account = |mut table: toml::Table| {
            table.insert("account".into(), account.id.as_str().into());
            table
        };
        let channels = channels
            .into_iter()
            .map(|table| {
                of_account(table)
                    .try_into::<Channel>()
                    .context("in a [[channels]] entry")
            })
            .collect::<anyhow::Result<Vec<_>>>()?;
        let mut with_source = Vec::new();
        let (mut templates, mut signatures, mut limits) = (Vec::new(), Vec::new(), Vec::new());
        for mut table in flows {
            let name = table
                .get("name")
                .and_then(toml::Value::as_str)
                .unwrap_or("without a name")
                .to_owned();
            let place = || format!("in the [[flows]] entry {name:?}");
            let mut signature = None;
            let source = match (table.remove("mapping"), table.remove("component")) {
                (Some(toml::Value::String(file)), None) => {
                    Some(Source::Document(read_text(&file)?))
                }
                (None, Some(toml::Value::String(file))) => {
                    let beside = format!("{file}.sig");
                    if there(&beside) {
                        signature = Some(read_text(&beside)?);
                    }
                    Some(Source::Component(read(&file)?))
                }
                (None, None) => None,
                _ => bail!(
                    "{}: name one file, mapping = \"….toml\" or component = \"….wasm\"",
                    place()
                ),
            };
            let template = match table.remove("template") {
                Some(toml::Value::String(file)) => Some(read(&file)?),
                None => None,
                Some(_) => bail!("{}: template names one file", place()),
            };
            let own = table.remove("limits");
            let own = own.map(toml::Value::try_into::<Limits>).transpose();
            let own = own.with_context(|| format!("{}: limits", place()))?;
            let says_status = table.contains_key("status");
            let mut flow = of_account(table).try_into::<Flow>().with_context(place)?;
            if !says_status {
                flow.status = Status::Active;
            }
            if source.is_none() && flow.status != Status::Draft {
                bail!(
                    "{}: name one file, mapping = \"….toml\" or component = \"….wasm\"",
                    place()
                );
            }
            if flow.release.is_some() {
                bail!("{}: leave `release` out, it is made of the files", place());
            }
            templates.extend(template.map(|bytes| (flow.id.clone(), bytes)));
            limits.extend(own.map(|own| (flow.id.clone(), own)));
            signatures.extend(signature.map(|signature| (flow.id.clone(), signature)));
            with_source.push((flow, source));
        }
        let mut tables = Vec::new();
        for CodeTableFile {
            name,
            file,
            ignore_case,
            otherwise,
        } in code_tables
        {
            let sheet = csv::read(&read(&file)?);
            let csv::Sheet { columns, entries } =
                sheet.with_context(|| format!("in the code table {file}"))?;
            tables.push(CodeTable {
                account: account.id.clone(),
                name,
                columns,
                ignore_case,
                otherwise,
                entries,
            });
        }
        let shared_mappings = shared_mappings
            .into_iter()
            .map(|SharedMappingFile { name, file }| Ok((name, read_text(&file)?)))
            .collect::<anyhow::Result<_>>()?;
        Ok(Self {
            account,
            channels,
            flows: with_source,
            code_tables: tables,
            templates,
            signatures,
            limits,
            shared_mappings,
            alerts,
            finds_api,
        })
    }
}
