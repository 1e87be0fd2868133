//! How LeadSquared reaches this host for an account: the address that webhooks were given, and the secret that they carry.
//!
//! The secret is sealed, not hashed: a further webhook must be given the same one. Start at [`Catalog::hook`].

use std::fmt;

use serde::{Deserialize, Serialize};

use super::audit::{self, Author, Record};
use super::{Catalog, bad_document};
use crate::flow::AccountId;
use crate::store::database::Sql;
use crate::store::writer::Planned;
use crate::store::{Error, now_ms};
use crate::vault::Place;

/// What webhooks of an account are made with.
#[derive(Clone, PartialEq, Eq)]
pub struct Hook {
    /// Where LeadSquared finds this host, without a path of ours: `https://bridge.example.org`.
    pub address: Option<String>,
    /// Webhooks that the account's plan allows, as an administrator has said.
    pub limit: u32,
    pub secrets: Secrets,
}

/// The secret in force, and those before it that may still come in.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secrets {
    pub current: String,
    /// Each with the time until which it is taken, in epoch milliseconds.
    pub former: Vec<(String, i64)>,
}

impl fmt::Debug for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hook")
            .field("address", &self.address)
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secrets(redacted)")
    }
}

impl Catalog {
    /// What webhooks of an account are made with; none where none was made yet.
    pub async fn hook(&self, account: &AccountId) -> Result<Option<Hook>, Error> {
        let rows = self.shared.one(&GET, vec![account.as_str().into()]).await?;
        let Some(row) = rows.first() else {
            return Ok(None);
        };
        let plain = self.shared.vault.open(&place(account), &row.bytes(2)?)?;
        Ok(Some(Hook {
            address: Some(row.string(0)?).filter(|address| !address.is_empty()),
            limit: u32::try_from(row.int(1)?).unwrap_or(0),
            secrets: serde_json::from_slice(&plain).map_err(|_| bad_document())?,
        }))
    }

    /// Keeps what webhooks of an account are made with; `action` goes into the audit.
    pub async fn put_hook(
        &self,
        account: &AccountId,
        hook: &Hook,
        action: &str,
        author: &Author,
    ) -> Result<(), Error> {
        let plain = serde_json::to_vec(&hook.secrets).map_err(|_| bad_document())?;
        let sealed = self.shared.vault.seal(&place(account), &plain)?;
        let values = vec![
            account.as_str().into(),
            hook.address.as_deref().unwrap_or_default().into(),
            i64::from(hook.limit).into(),
            now_ms().into(),
            sealed.into(),
        ];
        let record = Record::of(action, account.as_str(), "hook", account.as_str());
        let plan = vec![Planned::one(&PUT, values), audit::plain(author, &record)];
        self.shared.writer.plain(plan, false).await?;
        Ok(())
    }
}

fn place(account: &AccountId) -> Place<'_> {
    Place {
        account: account.as_str(),
        id: account.as_str(),
        column: "hook.secrets",
    }
}

static GET: Sql = Sql {
    text: "select address, webhooks, secrets from hook where account_id = ?",
    kinds: &[],
};

static PUT: Sql = Sql {
    text: "insert into hook (account_id, address, webhooks, updated_at, secrets) values (?, ?, ?, ?, ?)
on conflict (account_id) do update
set address = excluded.address, webhooks = excluded.webhooks, updated_at = excluded.updated_at, secrets = excluded.secrets",
    kinds: &[],
};
