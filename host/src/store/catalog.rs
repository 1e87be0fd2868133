//! What is configured: accounts, channels, flows, releases and code tables as documents, LeadSquared keys sealed,
//! components; and who may change it and did ([`token`], [`audit`]).
//!
//! Small and seldom changed: the host loads all of it at once, see [`Catalog::load`]. Everything that changes it goes
//! through [`Catalog::apply`], in one transaction with its record in the audit.

pub mod audit;
pub mod change;
pub mod component;
pub mod history;
pub mod hook;
pub mod metadata;
pub mod person;
pub mod release;
mod shared;
pub mod table;
pub mod token;

use std::collections::HashMap;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::database::{Row, Sql, Value};
use super::{Error, Shared};
use crate::flow::account::Keys;
use crate::flow::{Account, AccountId, Channel, Digest, Flow, FlowId, Release};
use crate::vault::Place;

pub use audit::Author;
pub use change::{Change, Expected};
pub use component::{ComponentRow, NewComponent};

/// The catalog of one store; cloning shares it.
#[derive(Clone)]
pub struct Catalog {
    shared: Arc<Shared>,
}

/// A document as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept<T> {
    pub document: T,
    /// From 1 upwards; who changes the document names the version that was seen.
    pub version: i64,
    pub updated_at_ms: i64,
}

/// Every document with its version, at one moment.
#[derive(Debug, Clone, Default)]
pub struct Listing {
    pub accounts: Vec<Kept<Account>>,
    pub channels: Vec<Kept<Channel>>,
    pub flows: Vec<Kept<Flow>>,
    pub code_tables: Vec<TableHead>,
}

/// A code table without its entries, of which there may be many.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableHead {
    pub account: AccountId,
    pub name: String,
    pub version: i64,
    pub updated_at_ms: i64,
}

/// Everything that is configured, at one moment.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    pub accounts: Vec<Account>,
    pub channels: Vec<Channel>,
    pub flows: Vec<Flow>,
    /// Those that a flow names.
    releases: HashMap<(AccountId, Digest), Release>,
    /// Keys are redacted when shown.
    pub keys: HashMap<AccountId, Keys>,
}

impl Snapshot {
    pub fn account(&self, id: &AccountId) -> Option<&Account> {
        self.accounts.iter().find(|account| account.id == *id)
    }

    pub fn flow(&self, account: &AccountId, id: &FlowId) -> Option<&Flow> {
        self.flows
            .iter()
            .find(|flow| flow.account == *account && flow.id == *id)
    }

    /// The active release of a flow.
    pub fn release(&self, flow: &Flow) -> Option<&Release> {
        self.named(flow, flow.release.as_ref()?)
    }

    /// The release that a flow's candidate is.
    pub fn candidate(&self, flow: &Flow) -> Option<&Release> {
        self.named(flow, flow.candidate()?)
    }

    fn named(&self, flow: &Flow, digest: &Digest) -> Option<&Release> {
        self.releases.get(&(flow.account.clone(), digest.clone()))
    }
}

impl Catalog {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Reads every document with its version; no keys.
    pub async fn list(&self) -> Result<Listing, Error> {
        Ok(Listing {
            accounts: self.documents(&ACCOUNTS).await?,
            channels: self.documents(&CHANNELS).await?,
            flows: self.documents(&FLOWS).await?,
            code_tables: self.table_heads().await?,
        })
    }

    /// Loads all accounts with their keys, channels, flows and releases.
    pub async fn load(&self) -> Result<Snapshot, Error> {
        let Listing {
            accounts,
            channels,
            flows,
            ..
        } = self.list().await?;
        let mut snapshot = Snapshot {
            accounts: accounts.into_iter().map(|kept| kept.document).collect(),
            channels: channels.into_iter().map(|kept| kept.document).collect(),
            flows: flows.into_iter().map(|kept| kept.document).collect(),
            ..Snapshot::default()
        };
        for row in self.shared.one(&KEYS, vec![1.into()]).await? {
            let account = AccountId::from(row.string(0)?);
            let plain = self
                .shared
                .vault
                .open(&keys_place(&account), &row.bytes(1)?)?;
            let keys = serde_json::from_slice(&plain).map_err(|_| bad_document())?;
            snapshot.keys.insert(account, keys);
        }
        for flow in &snapshot.flows {
            for digest in flow.release.iter().chain(flow.candidate()) {
                if let Some(release) = self.release(&flow.account, digest).await? {
                    let key = (flow.account.clone(), digest.clone());
                    snapshot.releases.insert(key, release);
                }
            }
        }
        Ok(snapshot)
    }

    async fn documents<T: DeserializeOwned>(
        &self,
        sql: &'static Sql,
    ) -> Result<Vec<Kept<T>>, Error> {
        let rows = self.shared.one(sql, vec![1.into()]).await?;
        rows.iter().map(kept).collect()
    }
}

/// A document with its version.
fn kept<T: DeserializeOwned>(row: &Row) -> Result<Kept<T>, Error> {
    Ok(Kept {
        document: parse(row, 0)?,
        version: row.int(1)?,
        updated_at_ms: row.int(2)?,
    })
}

/// Where the keys of an account are sealed for.
fn keys_place(account: &AccountId) -> Place<'_> {
    Place {
        account: account.as_str(),
        id: account.as_str(),
        column: "account.access_keys",
    }
}

fn document(value: &impl Serialize) -> Result<Value, Error> {
    Ok(serde_json::to_string(value)
        .map_err(|_| bad_document())?
        .as_str()
        .into())
}

fn parse<T: DeserializeOwned>(row: &Row, at: usize) -> Result<T, Error> {
    serde_json::from_str(&row.text(at)?).map_err(|_| bad_document())
}

fn bad_document() -> Error {
    Error::Database("a configuration document is not of this program's form".into())
}

static ACCOUNTS: Sql = Sql {
    text: "select document, version, updated_at from account where 1 = ? order by account_id",
    kinds: &[],
};

static KEYS: Sql = Sql {
    text: "select account_id, access_keys from account where 1 = ? and access_keys is not null",
    kinds: &[],
};

static CHANNELS: Sql = Sql {
    text: "select document, version, updated_at from channel where 1 = ? order by account_id, id",
    kinds: &[],
};

static FLOWS: Sql = Sql {
    text: "select document, version, updated_at from flow where 1 = ? order by account_id, id",
    kinds: &[],
};
