//! Codes that a table had no entry for, with the deliveries that wait for one.
//!
//! A code may tell about the patient, so it is sealed and known by its keyed hash. A delivery that waits carries that hash
//! itself, and goes when its message goes.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::{Journal, column};
use crate::flow::AccountId;
use crate::flow::release::hex;
use crate::store::database::{Kind, Script, Sql, Value};
use crate::store::writer::Planned;
use crate::store::{Error, now_ms};
use crate::vault::Place;
use Kind::{Bytes, Int, Text};

/// Codes of a table that are looked through together when it was changed.
const PAGE: usize = 1_000;

/// A code that a table has no entry for.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Missed {
    /// The account's name of the table.
    pub table: String,
    pub code: String,
}

impl fmt::Debug for Missed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Missed({}, redacted)", self.table)
    }
}

/// How often a code was missed, and what waits for its entry.
#[derive(Clone, PartialEq, Eq)]
pub struct MissRow {
    /// Stands for the code where it may not be shown; hexadecimal.
    pub id: String,
    pub code: String,
    /// Runs that looked it up.
    pub count: u64,
    pub first_at_ms: i64,
    pub last_at_ms: i64,
    /// Deliveries that wait for the entry.
    pub stopped: u64,
}

impl fmt::Debug for MissRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MissRow")
            .field("id", &self.id)
            .field("count", &self.count)
            .field("stopped", &self.stopped)
            .finish_non_exhaustive()
    }
}

impl Journal {
    /// What a table has no entry for, by id, behind `after`; at most `most`.
    pub async fn misses(
        &self,
        account: &AccountId,
        table: &str,
        after: Option<&str>,
        most: usize,
    ) -> Result<Vec<MissRow>, Error> {
        let values = vec![
            account.as_str().into(),
            table.into(),
            after.unwrap_or_default().into(),
            (most as i64).into(),
        ];
        let rows = self.shared.one(&MISSES, values).await?;
        rows.iter()
            .map(|row| {
                let id = row.string(0)?;
                let place = Place {
                    account: account.as_str(),
                    id: &id,
                    column: column::MISSED,
                };
                let code = self.shared.vault.open(&place, &row.bytes(1)?)?;
                Ok(MissRow {
                    code: String::from_utf8_lossy(&code).into_owned(),
                    count: row.int(2)?.unsigned_abs(),
                    first_at_ms: row.int(3)?,
                    last_at_ms: row.int(4)?,
                    stopped: row.int(5)?.unsigned_abs(),
                    id,
                })
            })
            .collect()
    }

    /// Lets the codes go that `is_found` knows by now, and queues the deliveries that waited for them; gives how many.
    pub async fn found(
        &self,
        account: &AccountId,
        table: &str,
        is_found: impl Fn(&str) -> bool,
    ) -> Result<u64, Error> {
        let mut released = 0;
        let mut after = None;
        loop {
            let page = self.misses(account, table, after.as_deref(), PAGE).await?;
            let Some(last) = page.last() else {
                return Ok(released);
            };
            after = Some(last.id.clone());
            for miss in page.iter().filter(|miss| is_found(&miss.code)) {
                released += self.release_awaiting(account, &miss.id).await?;
                let values = vec![
                    account.as_str().into(),
                    table.into(),
                    miss.id.as_str().into(),
                ];
                let plan = vec![Planned::one(&FORGET, values)];
                self.shared.writer.plain(plan, false).await?;
            }
        }
    }

    /// Lets go of codes that were missed last before `before_ms` and that nothing waits for.
    pub async fn forget_misses(&self, before_ms: i64) -> Result<(), Error> {
        let plan = vec![Planned::one(&FORGET_OLD, vec![before_ms.into()])];
        self.shared.writer.plain(plan, false).await?;
        Ok(())
    }

    /// What a code is known by, in hexadecimal.
    pub(super) fn missed_id(&self, account: &AccountId, missed: &Missed) -> String {
        hex(&self.hash(account, &format!("missed {}", missed.table), &missed.code))
    }

    /// The rows of a settlement's misses.
    pub(super) fn sealed_misses(
        &self,
        account: &AccountId,
        misses: &[Missed],
    ) -> Result<Vec<SealedMiss>, Error> {
        misses
            .iter()
            .map(|missed| {
                let id = self.missed_id(account, missed);
                let place = Place {
                    account: account.as_str(),
                    id: &id,
                    column: column::MISSED,
                };
                let code = self.shared.vault.seal(&place, missed.code.as_bytes())?;
                Ok(SealedMiss {
                    table: missed.table.as_str().into(),
                    code: code.into(),
                    id: id.as_str().into(),
                })
            })
            .collect()
    }
}

/// A miss as it is kept.
pub(super) struct SealedMiss {
    table: Arc<str>,
    id: Arc<str>,
    code: Arc<[u8]>,
}

/// The misses of one batch, each code once.
#[derive(Default)]
pub(super) struct Misses(BTreeMap<Key, (i64, Arc<[u8]>)>);

/// Account, table and id.
type Key = (Arc<str>, Arc<str>, Arc<str>);

impl Misses {
    pub(super) fn add(&mut self, account: &Arc<str>, misses: &[SealedMiss]) {
        for SealedMiss { table, id, code } in misses {
            let key = (account.clone(), table.clone(), id.clone());
            let known = self.0.entry(key).or_insert_with(|| (0, code.clone()));
            known.0 += 1;
        }
    }

    pub(super) fn write(self, script: &mut Script) {
        let now = now_ms();
        let rows = self
            .0
            .into_iter()
            .flat_map(|((account, table, id), (count, code))| {
                [
                    Value::Text(account),
                    Value::Text(table),
                    Value::Text(id),
                    count.into(),
                    now.into(),
                    Value::Bytes(code),
                ]
            });
        script.rows(&NOTE, rows.collect());
    }
}

static NOTE: Sql = Sql {
    text: "with v(account_id, table_name, id, count, seen_at, code) as (values {rows})
insert {or_rollback} into code_miss (account_id, table_name, id, count, first_at, last_at, code)
select account_id, table_name, id, count, seen_at, seen_at, code from v
where account_id is not null
on conflict (account_id, table_name, id) do update
set count = code_miss.count + excluded.count, last_at = excluded.last_at",
    kinds: &[Text, Text, Text, Int, Int, Bytes],
};

pub(super) static MISSES: Sql = Sql {
    text: "select m.id, m.code, m.count, m.first_at, m.last_at,
  (select count(*) from delivery d where d.account_id = m.account_id and d.awaits = m.id and d.state = 'parked')
from code_miss m
where m.account_id = ? and m.table_name = ? and m.id > ?
order by m.id
limit ?",
    kinds: &[],
};

static FORGET: Sql = Sql {
    text: "delete from code_miss where account_id = ? and table_name = ? and id = ?",
    kinds: &[],
};

static FORGET_OLD: Sql = Sql {
    text: "delete from code_miss
where last_at < ? and not exists (
  select 1 from delivery d where d.account_id = code_miss.account_id and d.awaits = code_miss.id)",
    kinds: &[],
};
