//! Code tables as they stand, and every version of them, which never changes.

use super::{Catalog, Kept, TableHead, kept, parse};
use crate::flow::{AccountId, CodeTable, Digest};
use crate::store::Error;
use crate::store::database::Sql;

impl Catalog {
    /// A code table as it stands.
    pub async fn code_table(
        &self,
        account: &AccountId,
        name: &str,
    ) -> Result<Option<Kept<CodeTable>>, Error> {
        let values = vec![account.as_str().into(), name.into()];
        let rows = self.shared.one(&TABLE, values).await?;
        rows.first().map(kept).transpose()
    }

    /// The code tables of an account, by name.
    pub async fn code_tables(&self, account: &AccountId) -> Result<Vec<CodeTable>, Error> {
        let rows = self
            .shared
            .one(&TABLES, vec![account.as_str().into()])
            .await?;
        rows.iter().map(|row| parse(row, 0)).collect()
    }

    pub(super) async fn table_heads(&self) -> Result<Vec<TableHead>, Error> {
        let rows = self.shared.one(&HEADS, vec![1.into()]).await?;
        rows.iter()
            .map(|row| {
                Ok(TableHead {
                    account: row.string(0)?.into(),
                    name: row.string(1)?,
                    version: row.int(2)?,
                    updated_at_ms: row.int(3)?,
                })
            })
            .collect()
    }

    /// A code table as it was; none when no table was ever kept like that.
    pub async fn table_version(
        &self,
        account: &AccountId,
        digest: &Digest,
    ) -> Result<Option<CodeTable>, Error> {
        let values = vec![account.as_str().into(), digest.as_str().into()];
        let rows = self.shared.one(&TABLE_VERSION, values).await?;
        rows.first().map(|row| parse(row, 0)).transpose()
    }
}

static TABLE: Sql = Sql {
    text: "select document, version, updated_at from code_table where account_id = ? and id = ?",
    kinds: &[],
};

static TABLES: Sql = Sql {
    text: "select document from code_table where account_id = ? order by id",
    kinds: &[],
};

static HEADS: Sql = Sql {
    text: "select account_id, id, version, updated_at from code_table where 1 = ? order by account_id, id",
    kinds: &[],
};

static TABLE_VERSION: Sql = Sql {
    text: "select document from table_version where account_id = ? and id = ?",
    kinds: &[],
};
