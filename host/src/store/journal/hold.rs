//! What one host does at a time: mostly to have the connection of a channel to the EHR, because many EHRs take one.
//!
//! A lease on the channel, not on what goes over it: patients' lanes have leases of their own.

use std::time::Duration;

use super::Journal;
use crate::flow::AccountId;
use crate::store::database::{Dialect, Sql};
use crate::store::writer::Planned;
use crate::store::{Error, now_ms};

impl Journal {
    /// Takes or renews the hold of `owner` on a channel, or on another task of the account, for `lease`; says whether it is
    /// theirs.
    ///
    /// On SQLite there is nobody else, and it always is.
    pub async fn hold(
        &self,
        account: &AccountId,
        what: &str,
        owner: &str,
        lease: Duration,
    ) -> Result<bool, Error> {
        if !self.is_shared() {
            return Ok(true);
        }
        let now = now_ms();
        let values = vec![
            account.as_str().into(),
            what.into(),
            owner.into(),
            (now + lease.as_millis() as i64).into(),
            now.into(),
        ];
        let plan = vec![Planned::one(&HOLD, values)];
        let rows = self.shared.writer.plain(plan, false).await?;
        Ok(rows.first().is_some_and(|rows| !rows.is_empty()))
    }

    /// Gives back all that `owner` holds at once.
    pub async fn let_go(&self, owner: &str) -> Result<(), Error> {
        let plan = vec![Planned::one(&LET_GO, vec![owner.into()])];
        self.shared.writer.plain(plan, false).await?;
        Ok(())
    }

    /// Whether other hosts may work on the same store.
    pub fn is_shared(&self) -> bool {
        self.shared.renderer.dialect == Dialect::Postgres
    }
}

static HOLD: Sql = Sql {
    text: "insert {or_rollback} into hold (account_id, what, owner, held_until) values (?, ?, ?, ?)
on conflict (account_id, what) do update set owner = excluded.owner, held_until = excluded.held_until
where hold.owner = excluded.owner or hold.held_until < ?
returning owner",
    kinds: &[],
};

static LET_GO: Sql = Sql {
    text: "delete from hold where owner = ?",
    kinds: &[],
};
