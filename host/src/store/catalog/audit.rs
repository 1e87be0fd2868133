//! Who changed what and when; never patient data. A change's record is written in the change's own transaction.

use uuid::Uuid;

use super::Catalog;
use crate::store::database::{Row, Sql, Value};
use crate::store::writer::Planned;
use crate::store::{Error, now_ms};

/// Who makes a change: `token ops`, `flow import`, `host`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Author(pub String);

impl Author {
    /// The program itself, where nobody asked for it.
    pub fn host() -> Self {
        Self("host".into())
    }
}

/// What was done to what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// `create`, `update`, `delete`, `activate`, `release`, ...
    pub action: String,
    /// Empty where it belongs to no account.
    pub account: String,
    /// `account`, `flow`, `token`, ...
    pub kind: String,
    /// Its id or name.
    pub document: String,
}

impl Record {
    pub fn of(action: &str, account: &str, kind: &str, document: &str) -> Self {
        Self {
            action: action.into(),
            account: account.into(),
            kind: kind.into(),
            document: document.into(),
        }
    }
}

/// A record as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditRow {
    pub id: String,
    pub at_ms: i64,
    pub actor: String,
    pub record: Record,
    /// Of the document after the change; of a deleted one, its last.
    pub version: Option<i64>,
}

impl Catalog {
    /// Records something that is no change of a document.
    pub async fn note(&self, author: &Author, record: &Record) -> Result<(), Error> {
        self.shared
            .writer
            .plain(vec![plain(author, record)], false)
            .await?;
        Ok(())
    }

    /// Up to `limit` records older than `before`, newest first.
    pub async fn audit(&self, before: Option<&str>, limit: usize) -> Result<Vec<AuditRow>, Error> {
        // Past all UUIDs, whose digits end at f.
        let before = before.unwrap_or("g");
        let values = vec![before.into(), (limit as i64).into()];
        let rows = self.shared.one(&NEWEST, values).await?;
        rows.iter()
            .map(|row| {
                Ok(AuditRow {
                    id: row.string(0)?,
                    at_ms: row.int(1)?,
                    actor: row.string(2)?,
                    record: Record {
                        action: row.string(3)?,
                        account: row.string(4)?,
                        kind: row.string(5)?,
                        document: row.string(6)?,
                    },
                    version: row.optional(7, Row::int)?,
                })
            })
            .collect()
    }

    /// Names the last change; another name than before means that the configuration is to be read again.
    pub async fn last_change(&self) -> Result<String, Error> {
        let rows = self.shared.one(&LAST, vec![1.into()]).await?;
        Ok(match rows.first() {
            Some(row) => row.string(0)?,
            None => String::new(),
        })
    }
}

/// The values that every record begins with.
pub(super) fn values(author: &Author, record: &Record) -> Vec<Value> {
    vec![
        Uuid::now_v7().to_string().as_str().into(),
        now_ms().into(),
        author.0.as_str().into(),
        record.action.as_str().into(),
        record.account.as_str().into(),
        record.kind.as_str().into(),
        record.document.as_str().into(),
    ]
}

/// The record of something that has no version.
pub(in crate::store) fn plain(author: &Author, record: &Record) -> Planned {
    Planned::one(&NOTE, values(author, record))
}

static NOTE: Sql = Sql {
    text: "insert into audit (id, at, actor, action, account_id, kind, document) values (?, ?, ?, ?, ?, ?, ?)",
    kinds: &[],
};

static NEWEST: Sql = Sql {
    text: "select id, at, actor, action, account_id, kind, document, version from audit
where id < ?
order by id desc
limit ?",
    kinds: &[],
};

static LAST: Sql = Sql {
    text: "select id from audit where 1 = ? order by id desc limit 1",
    kinds: &[],
};
