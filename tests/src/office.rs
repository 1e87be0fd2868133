//! A host in this process, with an account that is a simulator and channels as a test wants them.

use anyhow::Context;
use ligature::access;
use ligature::config::{Console, Mapping};
use ligature::flow::account::Keys;
use ligature::flow::{Account, Channel, Flow};
use ligature::serve::{self, Host, Sockets};
use ligature::simulator::lead_squared::{Handle, Settings, Simulator};
use ligature::store::catalog::Author;
use ligature::vault::Key;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// A running host and its LeadSquared.
#[derive(Debug)]
pub struct Office {
    pub host: Host,
    pub simulator: Handle,
    folder: tempfile::TempDir,
}

/// The key that every office seals with, so that several can share a store.
const KEY: &str = "5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e";

/// A simulator in this process.
pub async fn lead_squared(settings: Settings) -> anyhow::Result<Handle> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let (tracker, stop) = (TaskTracker::new(), CancellationToken::new());
    Ok(Simulator::start(listener, settings, &tracker, stop)?)
}

impl Office {
    /// A host with nothing in it, in the store at `storage` or in one of its own; its console may be as a test wants it.
    pub async fn bare(
        storage: Option<&str>,
        simulator: Handle,
        console: Console,
    ) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let own = format!("sqlite:{}", folder.path().join("ligature.db").display());
        let mapping = Mapping::with_artefacts(folder.path().join("artefacts"));
        let key = Key::from_hex(1, KEY)?;
        let storage = storage.unwrap_or(&own);
        let open = serve::open(storage, true, vec![key], &mapping).await?;
        let host = Box::pin(serve::start(open, console, 4, Sockets::default())).await?;
        Ok(Self {
            host,
            simulator,
            folder,
        })
    }

    /// Opens an office in the store at `storage`, or in one of its own, with the channels and flows of `documents`:
    /// TOML tables of `[[channels]]` and `[[flows]]`, in which account and name may be left out.
    pub async fn open(
        storage: Option<&str>,
        simulator: Handle,
        documents: &str,
    ) -> anyhow::Result<Self> {
        Box::pin(Self::open_as(storage, simulator, "", documents)).await
    }

    /// The same with more settings of the account, as lines of TOML.
    pub async fn open_as(
        storage: Option<&str>,
        simulator: Handle,
        settings: &str,
        documents: &str,
    ) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let own = format!("sqlite:{}", folder.path().join("ligature.db").display());
        let mapping = Mapping::with_artefacts(folder.path().join("artefacts"));
        let key = Key::from_hex(1, KEY)?;
        let storage = storage.unwrap_or(&own);
        let open = serve::open(storage, true, vec![key], &mapping).await?;
        let catalog = open.store.catalog();
        let account = format!(
            "id = \"clinic\"\nname = \"Clinic\"\napi = \"{}\"\nrate_plan = {{ calls = 0, window_ms = 5000 }}\n{settings}",
            simulator.api()
        );
        let account: Account = toml::from_str(&account)?;
        let keys = simulator.keys();
        let keys = Keys {
            access_key: keys.access_key.clone(),
            secret_key: keys.secret_key.clone(),
        };
        catalog.put_account(&account).await?;
        catalog.put_keys(&account.id, &keys).await?;
        let documents: toml::Table = documents.parse()?;
        for (kind, id, text) in tables(&documents)? {
            match kind {
                "channels" => {
                    let channel: Channel = toml::from_str(&text).with_context(|| id.clone())?;
                    catalog.put_channel(&channel).await?;
                }
                _ => {
                    let flow: Flow = toml::from_str(&text).with_context(|| id.clone())?;
                    catalog.put_flow(&flow).await?;
                }
            }
        }
        let console = Console::at(([127, 0, 0, 1], 0).into());
        let host = Box::pin(serve::start(open, console, 4, Sockets::default())).await?;
        Ok(Self {
            host,
            simulator,
            folder,
        })
    }

    /// The address of the console, as LeadSquared is told it.
    pub fn address(&self) -> String {
        format!("http://{}", self.host.http)
    }

    /// Where the office keeps its things.
    pub fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    /// A token with `rights`.
    pub async fn token(&self, rights: &str) -> anyhow::Result<String> {
        let catalog = self.host.pipeline.store.catalog();
        let rights = rights.parse()?;
        let author = Author("test".into());
        let token = access::issue(&catalog, "test", &rights, &author).await?;
        Ok(token.reveal().to_owned())
    }
}

/// The documents of each kind: kind, id, text with what was left out.
fn tables(documents: &toml::Table) -> anyhow::Result<Vec<(&'static str, String, String)>> {
    let mut found = Vec::new();
    for kind in ["channels", "flows"] {
        let tables = documents.get(kind).and_then(toml::Value::as_array);
        for table in tables.into_iter().flatten() {
            let mut table = table.as_table().context("a table")?.clone();
            let id = table.get("id").and_then(toml::Value::as_str);
            let id = id.context("an id")?.to_owned();
            for (name, value) in [("account", "clinic"), ("name", id.as_str())] {
                table.entry(name).or_insert_with(|| value.to_owned().into());
            }
            found.push((kind, id, toml::to_string(&table)?));
        }
    }
    Ok(found)
}
