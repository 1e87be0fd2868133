//! What LeadSquared said of an account, kept so that a start need not ask again.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Catalog, document, parse};
use crate::flow::AccountId;
use crate::store::database::Sql;
use crate::store::writer::Planned;
use crate::store::{Error, now_ms};

/// What was read, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read<T> {
    pub document: T,
    pub read_at_ms: i64,
}

impl Catalog {
    /// Keeps what was read of `kind` just now.
    pub async fn put_metadata(
        &self,
        account: &AccountId,
        kind: &str,
        value: &impl Serialize,
    ) -> Result<(), Error> {
        let values = vec![
            account.as_str().into(),
            kind.into(),
            document(value)?,
            now_ms().into(),
        ];
        self.shared
            .writer
            .plain(vec![Planned::one(&PUT, values)], false)
            .await?;
        Ok(())
    }

    /// What was read of `kind` last; none when it never was, or by a program that kept it in another form.
    pub async fn metadata<T: DeserializeOwned>(
        &self,
        account: &AccountId,
        kind: &str,
    ) -> Result<Option<Read<T>>, Error> {
        let values = vec![account.as_str().into(), kind.into()];
        let rows = self.shared.one(&GET, values).await?;
        let Some(row) = rows.first() else {
            return Ok(None);
        };
        let read_at_ms = row.int(1)?;
        Ok(parse(row, 0).ok().map(|document| Read {
            document,
            read_at_ms,
        }))
    }
}

static PUT: Sql = Sql {
    text: "insert into metadata (account_id, kind, document, read_at) values (?, ?, ?, ?)
on conflict (account_id, kind) do update set document = excluded.document, read_at = excluded.read_at",
    kinds: &[],
};

static GET: Sql = Sql {
    text: "select document, read_at from metadata where account_id = ? and kind = ?",
    kinds: &[],
};
