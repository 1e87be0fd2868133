//! Shadow runs: what each compares, how far it has come, and what came of it, sealed.

use std::fmt;
use std::sync::Arc;

use super::catalog::audit::{self, Author, Record};
use super::database::{Row, Sql};
use super::writer::Planned;
use super::{Error, Shared, now_ms};
use crate::flow::AccountId;
use crate::flow::shadow::{Shadow, State, What};
use crate::vault::Place;

/// The shadow runs of one store; cloning shares them.
#[derive(Clone)]
pub struct Shadows {
    shared: Arc<Shared>,
}

impl fmt::Debug for Shadows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shadows")
    }
}

impl Shadows {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Keeps a shadow run that begins.
    pub async fn create(&self, shadow: &Shadow, author: &Author) -> Result<(), Error> {
        let values = vec![
            shadow.account.as_str().into(),
            shadow.id.as_str().into(),
            shadow.flow.as_str().into(),
            shadow.state.as_str().into(),
            (shadow.done as i64).into(),
            shadow.created_at_ms.into(),
            shadow.updated_at_ms.into(),
            self.seal(&shadow.account, &shadow.id, &shadow.what)?.into(),
        ];
        let record = Record::of("create", shadow.account.as_str(), "shadow", &shadow.id);
        let plan = vec![Planned::one(&CREATE, values), audit::plain(author, &record)];
        self.shared.writer.plain(plan, false).await?;
        Ok(())
    }

    /// The shadow run of this id, whosever it is.
    pub async fn get(&self, id: &str) -> Result<Option<Shadow>, Error> {
        let rows = self.shared.one(&GET, vec![id.into()]).await?;
        rows.first().map(|row| self.read(row)).transpose()
    }

    /// Every shadow run, oldest first.
    pub async fn list(&self) -> Result<Vec<Shadow>, Error> {
        let rows = self.shared.one(&LIST, vec![1.into()]).await?;
        rows.iter().map(|row| self.read(row)).collect()
    }

    /// Those that are to be carried on.
    pub async fn running(&self) -> Result<Vec<Shadow>, Error> {
        let values = vec![State::Running.as_str().into()];
        let rows = self.shared.one(&RUNNING, values).await?;
        rows.iter().map(|row| self.read(row)).collect()
    }

    /// Keeps how far a running one has come, if nobody else has brought it further meanwhile; says whether it was kept.
    ///
    /// Counts and place are one row, so that what is counted is counted once, whenever the host ends.
    pub async fn advance(
        &self,
        seen: &Shadow,
        done: u64,
        state: State,
        what: &What,
    ) -> Result<bool, Error> {
        let (account, id) = (seen.account.as_str(), seen.id.as_str());
        let values = vec![
            state.as_str().into(),
            (done as i64).into(),
            now_ms().into(),
            self.seal(&seen.account, id, what)?.into(),
            account.into(),
            id.into(),
            (seen.done as i64).into(),
            State::Running.as_str().into(),
        ];
        let plan = vec![Planned::one(&ADVANCE, values)];
        let answers = self.shared.writer.plain(plan, false).await?;
        Ok(answers.first().is_some_and(|rows| !rows.is_empty()))
    }

    /// Ends a running one; says whether it was running.
    pub async fn cancel(&self, shadow: &Shadow, author: &Author) -> Result<bool, Error> {
        let (account, id) = (shadow.account.as_str(), shadow.id.as_str());
        let values = vec![
            State::Cancelled.as_str().into(),
            now_ms().into(),
            account.into(),
            id.into(),
            State::Running.as_str().into(),
        ];
        let record = Record::of("cancel", account, "shadow", id);
        let plan = vec![Planned::one(&END, values), audit::plain(author, &record)];
        let answers = self.shared.writer.plain(plan, false).await?;
        Ok(answers.first().is_some_and(|rows| !rows.is_empty()))
    }

    /// Forgets those that ended before `before_ms`.
    pub async fn forget(&self, before_ms: i64) -> Result<(), Error> {
        let values = vec![before_ms.into(), State::Running.as_str().into()];
        let plan = vec![Planned::one(&FORGET, values)];
        self.shared.writer.plain(plan, false).await?;
        Ok(())
    }

    fn seal(&self, account: &AccountId, id: &str, what: &What) -> Result<Vec<u8>, Error> {
        let plain = serde_json::to_vec(what).map_err(|_| unreadable())?;
        Ok(self.shared.vault.seal(&place(account, id), &plain)?)
    }

    fn read(&self, row: &Row) -> Result<Shadow, Error> {
        let (account, id) = (AccountId::from(row.string(0)?), row.string(1)?);
        let plain = self
            .shared
            .vault
            .open(&place(&account, &id), &row.bytes(7)?)?;
        Ok(Shadow {
            flow: row.string(2)?.into(),
            state: State::parse(&row.text(3)?).ok_or_else(unreadable)?,
            done: row.int(4)?.unsigned_abs(),
            created_at_ms: row.int(5)?,
            updated_at_ms: row.int(6)?,
            what: serde_json::from_slice(&plain).map_err(|_| unreadable())?,
            account,
            id,
        })
    }
}

fn unreadable() -> Error {
    Error::Database("a shadow run in the store is of a newer program".into())
}

/// Part of what a blob is bound to, so these words never change.
fn place<'a>(account: &'a AccountId, id: &'a str) -> Place<'a> {
    Place {
        account: account.as_str(),
        id,
        column: "shadow.document",
    }
}

static CREATE: Sql = Sql {
    text:
        "insert into shadow (account_id, id, flow_id, state, done, created_at, updated_at, document)
values (?, ?, ?, ?, ?, ?, ?, ?)",
    kinds: &[],
};

static GET: Sql = Sql {
    text: "select account_id, id, flow_id, state, done, created_at, updated_at, document from shadow where id = ?",
    kinds: &[],
};

static LIST: Sql = Sql {
    text:
        "select account_id, id, flow_id, state, done, created_at, updated_at, document from shadow
where 1 = ?
order by created_at, id",
    kinds: &[],
};

static RUNNING: Sql = Sql {
    text:
        "select account_id, id, flow_id, state, done, created_at, updated_at, document from shadow
where state = ?
order by created_at, id",
    kinds: &[],
};

static ADVANCE: Sql = Sql {
    text: "update {or_rollback} shadow set state = ?, done = ?, updated_at = ?, document = ?
where account_id = ? and id = ? and done = ? and state = ?
returning id",
    kinds: &[],
};

static END: Sql = Sql {
    text: "update {or_rollback} shadow set state = ?, updated_at = ?
where account_id = ? and id = ? and state = ?
returning id",
    kinds: &[],
};

static FORGET: Sql = Sql {
    text: "delete from shadow where updated_at < ? and state <> ?",
    kinds: &[],
};
