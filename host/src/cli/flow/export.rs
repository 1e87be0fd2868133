//! The files as they are written: sorted, without keys, the same bytes for the same configuration.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::Path;

use anyhow::{Context, bail};
use serde::Serialize;

use crate::flow::alert::Settings;
use crate::flow::limits::Limits;
use crate::flow::table::{Otherwise, csv};
use crate::flow::{Account, Choices, Status};
use crate::mapping::robust::Examination;
use crate::store::Store;

/// Files by their names in the folder.
pub(super) type Files = BTreeMap<String, Vec<u8>>;

const HEAD: &str =
    "# Written by `ligature flow export`, without keys; `ligature flow import` reads it.\n\n";

/// The files of one account.
pub(super) async fn files(store: &Store, account: Option<&str>) -> anyhow::Result<Files> {
    let catalog = store.catalog();
    let snapshot = catalog.load().await?;
    let account = choose(&snapshot.accounts, account)?;
    let components = catalog.components(&account.id).await?;
    let mut files = Files::new();
    let mut setup = toml::Table::new();
    setup.insert("account".into(), table(account)?.into());

    let channels = snapshot.channels.iter();
    let channels = channels.filter(|channel| channel.account == account.id);
    let channels = channels.map(|channel| of_account(table(channel)?));
    insert(&mut setup, "channels", channels)?;

    let mut flows = Vec::new();
    for flow in snapshot
        .flows
        .iter()
        .filter(|flow| flow.account == account.id)
    {
        let mut entry = table(flow)?;
        entry.remove("account");
        entry.remove("release");
        entry.remove("fell_back");
        entry.remove("canary");
        if flow.status == Status::Active {
            entry.remove("status");
        }
        let newest = match flow.status {
            // What a draft was saved with last is in nobody's force.
            Status::Draft => catalog.releases(&account.id, &flow.id).await?,
            _ => Vec::new(),
        };
        let newest = newest.first().map(|row| &row.release);
        if let Some(release) = snapshot.release(flow).or(newest) {
            let component = components
                .iter()
                .find(|row| row.digest == release.component)
                .with_context(|| format!("the component of flow {} is not kept", flow.id))?;
            let (key, name, bytes) = if component.document.is_empty() {
                let bytes = catalog.component_bytes(&account.id, &component.digest);
                let bytes = bytes.await?.context("its bytes are not kept")?;
                let name = format!("components/{}.wasm", component.digest);
                // What a person has approved, wherever that was said.
                let choices = Choices {
                    grants: Some(release.grants.clone()),
                    ..flow.choices.clone()
                };
                entry.insert("choices".into(), toml::Value::try_from(&choices)?);
                let signature = Examination::parse(&component.examination).signature;
                if let Some(signature) = signature {
                    files.insert(format!("{name}.sig"), signature.into_bytes());
                }
                ("component", name, bytes)
            } else {
                let name = format!("flows/{}.toml", file_name(flow.id.as_str()));
                ("mapping", name, component.document.clone().into_bytes())
            };
            entry.insert(key.into(), name.clone().into());
            files.insert(name, bytes);
            if component.limits != Limits::default() {
                let limits = toml::Value::try_from(component.limits)?;
                entry.insert("limits".into(), limits);
            }
        }
        // An original is patient data and stays where it is.
        let template = store.templates().get(&account.id, &flow.id).await?;
        if let Some(bytes) = template.as_ref().and_then(|template| template.exported()) {
            let name = format!("templates/{}.hl7", file_name(flow.id.as_str()));
            entry.insert("template".into(), name.clone().into());
            files.insert(name, bytes.to_vec());
        }
        flows.push(Ok(entry));
    }
    insert(&mut setup, "flows", flows)?;

    let flows = snapshot.flows.iter();
    let flows = flows.filter(|flow| flow.account == account.id);
    let names: BTreeSet<_> = flows
        .filter_map(|flow| flow.shared_mapping.as_ref())
        .collect();
    let mut shared = Vec::new();
    for name in names {
        let Some(kept) = catalog.shared_mapping(&account.id, name).await? else {
            continue;
        };
        let file = format!("shared-mappings/{}.toml", file_name(name));
        files.insert(file.clone(), kept.document.mapping.into_bytes());
        let mut entry = toml::Table::new();
        entry.insert("name".into(), name.as_str().into());
        entry.insert("file".into(), file.into());
        shared.push(Ok(entry));
    }
    insert(&mut setup, "shared_mappings", shared)?;

    let mut tables = Vec::new();
    for table in &catalog.code_tables(&account.id).await? {
        let name = format!("code-tables/{}.csv", file_name(&table.name));
        files.insert(name.clone(), csv::write(table));
        let mut entry = toml::Table::new();
        entry.insert("name".into(), table.name.as_str().into());
        entry.insert("file".into(), name.into());
        if table.ignore_case {
            entry.insert("ignore_case".into(), true.into());
        }
        if table.otherwise != Otherwise::default() {
            let otherwise = toml::Value::try_from(&table.otherwise)?;
            entry.insert("otherwise".into(), otherwise);
        }
        tables.push(Ok(entry));
    }
    insert(&mut setup, "code_tables", tables)?;

    // Alerts are the host's: with one account alone they are that account's.
    let alerts = store.alerts().settings().await?;
    if snapshot.accounts.len() == 1 && alerts.version > 0 {
        let alerts = Settings {
            // Whoever has the address can write there.
            webhook: None,
            ..alerts.document
        };
        setup.insert("alerts".into(), table(&alerts)?.into());
    }
    let text = format!("{HEAD}{}", toml::to_string(&setup)?);
    files.insert("setup.toml".into(), text.into_bytes());
    Ok(files)
}

/// Writes the files, each whole or not at all.
pub(super) fn write(
    folder: &Path,
    files: &Files,
    out: &mut (dyn Write + Send),
) -> anyhow::Result<()> {
    for (name, bytes) in files {
        let path = folder.join(name);
        let place = path.parent().unwrap_or(folder);
        std::fs::create_dir_all(place)
            .with_context(|| format!("cannot make {}", place.display()))?;
        let mut file = tempfile::NamedTempFile::new_in(place)
            .with_context(|| format!("cannot write in {}", place.display()))?;
        file.write_all(bytes)?;
        file.persist(&path)
            .with_context(|| format!("cannot write {}", path.display()))?;
        writeln!(out, "{}", path.display())?;
    }
    Ok(())
}

fn choose<'a>(accounts: &'a [Account], wanted: Option<&str>) -> anyhow::Result<&'a Account> {
    match (accounts, wanted) {
        (accounts, Some(wanted)) => accounts
            .iter()
            .find(|account| account.id.as_str() == wanted)
            .with_context(|| format!("there is no account {wanted}")),
        ([account], None) => Ok(account),
        ([], None) => bail!("there is no account yet"),
        (accounts, None) => {
            let ids: Vec<_> = accounts.iter().map(|account| account.id.as_str()).collect();
            bail!("name one account with --account: {}", ids.join(", "))
        }
    }
}

fn table(document: &impl Serialize) -> anyhow::Result<toml::Table> {
    Ok(toml::Table::try_from(document)?)
}

fn of_account(mut table: toml::Table) -> anyhow::Result<toml::Table> {
    table.remove("account");
    Ok(table)
}

/// Adds a list of entries, if there are any.
fn insert(
    setup: &mut toml::Table,
    name: &str,
    entries: impl IntoIterator<Item = anyhow::Result<toml::Table>>,
) -> anyhow::Result<()> {
    let entries = entries.into_iter().map(|entry| Ok(entry?.into()));
    let entries: Vec<toml::Value> = entries.collect::<anyhow::Result<_>>()?;
    if !entries.is_empty() {
        setup.insert(name.into(), entries.into());
    }
    Ok(())
}

/// An id as a file name on every system: `ADT^A04` is `ADT%5EA04`.
fn file_name(id: &str) -> String {
    let bytes = id.bytes();
    let text = bytes.map(|byte| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    });
    text.collect()
}
