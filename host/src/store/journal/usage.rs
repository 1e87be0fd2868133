//! How many calls an account has made on a day, added up over restarts and hosts.

use super::Journal;
use crate::flow::AccountId;
use crate::store::Error;
use crate::store::database::{Kind, Sql};
use crate::store::writer::Planned;
use Kind::{Int, Text};

impl Journal {
    /// Adds `calls` to what the account has made on `day`, in days since 1970-01-01.
    pub async fn add_calls(&self, account: &AccountId, day: i64, calls: u32) -> Result<(), Error> {
        let row = vec![account.as_str().into(), day.into(), i64::from(calls).into()];
        self.shared
            .writer
            .plain(vec![Planned::rows(&ADD, row)], false)
            .await?;
        Ok(())
    }

    /// What the account has made on `day`.
    pub async fn calls(&self, account: &AccountId, day: i64) -> Result<u32, Error> {
        let values = vec![account.as_str().into(), day.into()];
        let rows = self.shared.one(&CALLS, values).await?;
        let calls = rows.first().map(|row| row.int(0)).transpose()?.unwrap_or(0);
        Ok(u32::try_from(calls).unwrap_or(u32::MAX))
    }
}

static ADD: Sql = Sql {
    text: "with v(account_id, day, calls) as (values {rows})
insert {or_rollback} into usage (account_id, day, calls)
select account_id, day, calls from v
where account_id is not null
on conflict (account_id, day) do update set calls = usage.calls + excluded.calls",
    kinds: &[Text, Int, Int],
};

static CALLS: Sql = Sql {
    text: "select calls from usage where account_id = ? and day = ?",
    kinds: &[],
};
