//! What is configured: accounts, channels, flows and releases as documents, LeadSquared keys sealed, components.
//!
//! Small and seldom changed: the host loads all of it at once, see [`Catalog::load`].

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::database::{Row, Sql, Value};
use super::writer::Planned;
use super::{Error, Shared, now_ms};
use crate::flow::account::Keys;
use crate::flow::{Account, AccountId, Channel, Digest, Flow, FlowId, Release};
use crate::vault::Place;

/// The catalog of one store; cloning shares it.
#[derive(Clone)]
pub struct Catalog {
    shared: Arc<Shared>,
}

/// Everything that is configured, at one moment.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    pub accounts: Vec<Account>,
    pub channels: Vec<Channel>,
    pub flows: Vec<Flow>,
    pub releases: HashMap<(AccountId, Digest), Release>,
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
        let digest = flow.release.clone()?;
        self.releases.get(&(flow.account.clone(), digest))
    }
}

/// What is known of a component beside its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ComponentRow {
    pub digest: Digest,
    /// `generated`, `uploaded`, ...
    pub origin: String,
    /// The mapping document of a generated one, else empty.
    pub document: String,
    pub size_bytes: i64,
    pub created_at_ms: i64,
}

/// A component to be kept.
#[derive(Clone)]
pub struct NewComponent {
    pub origin: String,
    pub document: String,
    pub bytes: Vec<u8>,
}

impl fmt::Debug for NewComponent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "NewComponent({}, {} bytes)",
            self.origin,
            self.bytes.len()
        )
    }
}

impl Catalog {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Keeps an account; its keys stay as they are.
    pub async fn put_account(&self, account: &Account) -> Result<(), Error> {
        let values = vec![
            account.id.as_str().into(),
            document(account)?,
            now_ms().into(),
        ];
        self.write(&PUT_ACCOUNT, values).await
    }

    /// Seals and keeps the keys of an account that is there.
    pub async fn put_keys(&self, account: &AccountId, keys: &Keys) -> Result<(), Error> {
        let plain = serde_json::to_vec(keys).map_err(|_| bad_document())?;
        let sealed = self.shared.vault.seal(&keys_place(account), &plain)?;
        let values = vec![sealed.into(), now_ms().into(), account.as_str().into()];
        let rows = self
            .shared
            .writer
            .plain(vec![Planned::one(&PUT_KEYS, values)], false)
            .await?;
        if rows.iter().all(Vec::is_empty) {
            return Err(Error::NotFound(format!("account {account}")));
        }
        Ok(())
    }

    pub async fn put_channel(&self, channel: &Channel) -> Result<(), Error> {
        let values = vec![
            channel.account.as_str().into(),
            channel.id.as_str().into(),
            document(channel)?,
            now_ms().into(),
        ];
        self.write(&PUT_CHANNEL, values).await
    }

    pub async fn put_flow(&self, flow: &Flow) -> Result<(), Error> {
        let values = vec![
            flow.account.as_str().into(),
            flow.id.as_str().into(),
            document(flow)?,
            now_ms().into(),
        ];
        self.write(&PUT_FLOW, values).await
    }

    /// Keeps a release; it becomes active when its flow names it.
    pub async fn put_release(
        &self,
        account: &AccountId,
        release: &Release,
    ) -> Result<Digest, Error> {
        let digest = release.digest();
        let values = vec![
            account.as_str().into(),
            digest.as_str().into(),
            release.flow.as_str().into(),
            document(release)?,
            now_ms().into(),
        ];
        self.write(&PUT_RELEASE, values).await?;
        Ok(digest)
    }

    /// Keeps a component under the digest of its bytes; one that is there stays as it is.
    pub async fn put_component(
        &self,
        account: &AccountId,
        component: NewComponent,
    ) -> Result<Digest, Error> {
        let digest = Digest::of(&component.bytes);
        let values = vec![
            account.as_str().into(),
            digest.as_str().into(),
            component.origin.as_str().into(),
            component.document.as_str().into(),
            (component.bytes.len() as i64).into(),
            now_ms().into(),
            component.bytes.into(),
        ];
        self.write(&PUT_COMPONENT, values).await?;
        Ok(digest)
    }

    /// The components of an account, newest first.
    pub async fn components(&self, account: &AccountId) -> Result<Vec<ComponentRow>, Error> {
        let rows = self
            .shared
            .one(&COMPONENTS, vec![account.as_str().into()])
            .await?;
        rows.iter()
            .map(|row| {
                Ok(ComponentRow {
                    digest: Digest::from(row.string(0)?),
                    origin: row.string(1)?,
                    document: row.string(2)?,
                    size_bytes: row.int(3)?,
                    created_at_ms: row.int(4)?,
                })
            })
            .collect()
    }

    /// The bytes of a component; none when it is not kept.
    pub async fn component_bytes(
        &self,
        account: &AccountId,
        digest: &Digest,
    ) -> Result<Option<Vec<u8>>, Error> {
        let values = vec![account.as_str().into(), digest.as_str().into()];
        let rows = self.shared.one(&COMPONENT_BYTES, values).await?;
        rows.first()
            .map(|row| Ok(row.bytes(0)?.to_vec()))
            .transpose()
    }

    /// Loads all accounts with their keys, channels, flows and releases.
    pub async fn load(&self) -> Result<Snapshot, Error> {
        let mut snapshot = Snapshot::default();
        for row in self.shared.one(&ACCOUNTS, vec![1.into()]).await? {
            let account: Account = parse(&row, 0)?;
            if let Some(sealed) = row.optional(1, Row::bytes)? {
                let plain = self.shared.vault.open(&keys_place(&account.id), &sealed)?;
                let keys = serde_json::from_slice(&plain).map_err(|_| bad_document())?;
                snapshot.keys.insert(account.id.clone(), keys);
            }
            snapshot.accounts.push(account);
        }
        for row in self.shared.one(&CHANNELS, vec![1.into()]).await? {
            snapshot.channels.push(parse(&row, 0)?);
        }
        for row in self.shared.one(&FLOWS, vec![1.into()]).await? {
            snapshot.flows.push(parse(&row, 0)?);
        }
        for row in self.shared.one(&RELEASES, vec![1.into()]).await? {
            let key = (
                AccountId::from(row.string(1)?),
                Digest::from(row.string(2)?),
            );
            snapshot.releases.insert(key, parse(&row, 0)?);
        }
        Ok(snapshot)
    }

    async fn write(&self, sql: &'static Sql, values: Vec<Value>) -> Result<(), Error> {
        self.shared
            .writer
            .plain(vec![Planned::one(sql, values)], false)
            .await?;
        Ok(())
    }
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

static PUT_ACCOUNT: Sql = Sql {
    text: "insert into account (account_id, document, updated_at) values (?, ?, ?)
on conflict (account_id) do update set document = excluded.document, updated_at = excluded.updated_at",
    kinds: &[],
};

static PUT_KEYS: Sql = Sql {
    text: "update account set access_keys = ?, updated_at = ? where account_id = ? returning account_id",
    kinds: &[],
};

static PUT_CHANNEL: Sql = Sql {
    text: "insert into channel (account_id, id, document, updated_at) values (?, ?, ?, ?)
on conflict (account_id, id) do update set document = excluded.document, updated_at = excluded.updated_at",
    kinds: &[],
};

static PUT_FLOW: Sql = Sql {
    text: "insert into flow (account_id, id, document, updated_at) values (?, ?, ?, ?)
on conflict (account_id, id) do update set document = excluded.document, updated_at = excluded.updated_at",
    kinds: &[],
};

static PUT_RELEASE: Sql = Sql {
    text:
        "insert into release (account_id, id, flow_id, document, created_at) values (?, ?, ?, ?, ?)
on conflict (account_id, id) do nothing",
    kinds: &[],
};

static PUT_COMPONENT: Sql = Sql {
    text: "insert into component (account_id, id, origin, document, size, created_at, bytes) values (?, ?, ?, ?, ?, ?, ?)
on conflict (account_id, id) do nothing",
    kinds: &[],
};

static COMPONENTS: Sql = Sql {
    text: "select id, origin, document, size, created_at from component where account_id = ? order by created_at desc, id",
    kinds: &[],
};

static COMPONENT_BYTES: Sql = Sql {
    text: "select bytes from component where account_id = ? and id = ?",
    kinds: &[],
};

static ACCOUNTS: Sql = Sql {
    text: "select document, access_keys from account where 1 = ? order by account_id",
    kinds: &[],
};

static CHANNELS: Sql = Sql {
    text: "select document from channel where 1 = ? order by account_id, id",
    kinds: &[],
};

static FLOWS: Sql = Sql {
    text: "select document from flow where 1 = ? order by account_id, id",
    kinds: &[],
};

static RELEASES: Sql = Sql {
    text: "select document, account_id, id from release where 1 = ? order by account_id, id",
    kinds: &[],
};
