//! Deletes what is due, in transactions of a bounded number of rows.
//!
//! A person may release a dead delivery while a sweep runs: every statement asks again whether the delivery is finished,
//! and what hangs on it goes only when it has gone. Search values go first, so that none can stay behind a message.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use super::super::identity::DUPLICATE_WINDOW_MS;
use super::super::search::filing::{BUCKET, EMPTIED, MERGED};
use super::super::{Journal, read::NEXT_ACCOUNT};
use super::{Due, ROWS, Removed};
use crate::flow::retention::Outcome;
use crate::store::Error;
use crate::store::database::{Kind, Row, Sql, Value};
use crate::store::writer::Planned;
use Kind::{Bytes, Int, Text};

/// How long the row of a write whose outcome nobody knows is kept when its delivery has gone: 1 year.
const LEDGER_KEPT_MS: i64 = 365 * 24 * 60 * 60 * 1_000;

/// Buckets are numbered by their last message, but several hosts number messages a little out of order.
const OUT_OF_ORDER: i64 = MERGED as i64 * BUCKET as i64;

/// Where the walk through the known identities stands.
#[derive(Debug, Default)]
pub(super) struct DuplicateAt {
    account: String,
    control_id: String,
    key: Vec<u8>,
}

/// Rows to delete together.
#[derive(Default)]
struct Chunk {
    deliveries: Vec<Value>,
    messages: Vec<Value>,
    rows: usize,
}

impl Journal {
    /// Lets go of messages: of those that no flow takes only the payload, of all others everything.
    pub(super) async fn remove(&self, due: Vec<Due>) -> Result<Removed, Error> {
        let mut removed = Removed::default();
        if due.is_empty() {
            return Ok(removed);
        }
        self.unsearch(&due, &mut removed).await?;
        let (unclaimed, finished): (Vec<_>, Vec<_>) = due
            .into_iter()
            .partition(|due| due.outcome == Outcome::Unclaimed);
        if !unclaimed.is_empty() {
            let rows = unclaimed.iter().flat_map(key).collect();
            removed.largest_transaction = removed.largest_transaction.max(unclaimed.len());
            removed.payloads = self.delete(&STRIP, rows).await?;
        }
        let sizes = self.sizes(&finished, &mut removed).await?;
        let mut chunk = Chunk::default();
        for due in &finished {
            let hanging = |delivery| sizes.get(delivery).copied().unwrap_or_default();
            let rows = 1 + due
                .deliveries
                .iter()
                .map(|id| 1 + hanging(id))
                .sum::<usize>();
            if chunk.rows + rows > ROWS {
                self.delete_chunk(std::mem::take(&mut chunk), &mut removed)
                    .await?;
            }
            chunk.rows += rows;
            chunk.messages.extend(key(due));
            for delivery in &due.deliveries {
                chunk
                    .deliveries
                    .extend([(&due.account).into(), delivery.into()]);
            }
        }
        self.delete_chunk(chunk, &mut removed).await?;
        Ok(removed)
    }

    async fn delete_chunk(&self, chunk: Chunk, removed: &mut Removed) -> Result<(), Error> {
        if chunk.messages.is_empty() {
            return Ok(());
        }
        removed.largest_transaction = removed.largest_transaction.max(chunk.rows);
        let mut plan: Vec<Planned> = [&DELIVERIES, &ATTEMPTS, &OPERATIONS, &RUNS]
            .into_iter()
            .filter(|_| !chunk.deliveries.is_empty())
            .map(|sql| Planned::rows(sql, chunk.deliveries.clone()))
            .collect();
        plan.push(Planned::rows(&MESSAGES, chunk.messages));
        let answers = self.shared.writer.plain(plan, false).await?;
        removed.messages += answers.last().map_or(0, Vec::len) as u64;
        Ok(())
    }

    /// How many attempts and ledger rows each delivery has. Where they are more than one transaction may delete, attempts
    /// and failed writes go at once: they tell what was tried, and nobody needs them to go on.
    async fn sizes(
        &self,
        due: &[Due],
        removed: &mut Removed,
    ) -> Result<HashMap<Arc<str>, usize>, Error> {
        let deliveries = due
            .iter()
            .flat_map(|due| due.deliveries.iter().map(|id| (&due.account, id)))
            .flat_map(|(account, id)| [account.into(), id.into()])
            .collect();
        let mut sizes = HashMap::new();
        for row in self.shared.rows(&SIZES, deliveries).await? {
            let (account, delivery) = (row.text(0)?, row.text(1)?);
            let mut size = row.int(2)?.unsigned_abs() as usize;
            if size >= ROWS / 4 {
                size -= self.trim(&account, &delivery, removed).await?;
            }
            sizes.insert(delivery, size);
        }
        Ok(sizes)
    }

    /// Deletes attempts and failed writes of one delivery; gives how many.
    async fn trim(
        &self,
        account: &Arc<str>,
        delivery: &Arc<str>,
        removed: &mut Removed,
    ) -> Result<usize, Error> {
        let mut trimmed = 0;
        for (find, delete) in [
            (&SOME_ATTEMPTS, &THESE_ATTEMPTS),
            (&SOME_FAILED, &THESE_FAILED),
        ] {
            loop {
                let values = vec![account.into(), delivery.into(), (ROWS as i64).into()];
                let found = self.shared.one(find, values).await?;
                let mut rows = Vec::with_capacity(found.len() * 3);
                for row in &found {
                    rows.extend([account.into(), delivery.into(), row.value(0)]);
                }
                if self.delete(delete, rows).await? == 0 {
                    break;
                }
                trimmed += found.len();
                removed.largest_transaction = removed.largest_transaction.max(found.len());
            }
        }
        Ok(trimmed)
    }

    /// Deletes the search values of messages: those that wait to be filed, then those in their buckets.
    async fn unsearch(&self, due: &[Due], removed: &mut Removed) -> Result<(), Error> {
        let rows = due.iter().flat_map(key).collect();
        removed.largest_transaction = removed.largest_transaction.max(due.len());
        self.delete(&RECENT, rows).await?;
        let ids: HashSet<(&str, &str)> = due.iter().map(|due| (&*due.account, &*due.id)).collect();
        let mut seqs: BTreeSet<i64> = due.iter().map(|due| due.seq).collect();
        while let Some(seq) = seqs.pop_first() {
            let Some(bucket) = self.first_bucket(seq).await? else {
                return Ok(());
            };
            // The others up to its number are in the same bucket.
            seqs = seqs.split_off(&(bucket + 1));
            let mut rows = Vec::new();
            for row in self.shared.one(&IN_BUCKET, vec![bucket.into()]).await? {
                let (account, message) = (row.text(1)?, row.text(2)?);
                if ids.contains(&(&*account, &*message)) {
                    rows.push(row);
                }
            }
            self.unfile(bucket, &rows, removed).await?;
        }
        Ok(())
    }

    async fn first_bucket(&self, from: i64) -> Result<Option<i64>, Error> {
        let rows = self.shared.one(&FIRST_BUCKET, vec![from.into()]).await?;
        match rows.first() {
            Some(row) => Ok(row.optional(0, Row::int)?),
            None => Ok(None),
        }
    }

    /// Deletes rows of a bucket, each given by key, account and message.
    async fn unfile(&self, bucket: i64, found: &[Row], removed: &mut Removed) -> Result<(), Error> {
        for some in found.chunks(ROWS) {
            let rows = some
                .iter()
                .flat_map(|row| [bucket.into(), row.value(0), row.value(1), row.value(2)])
                .collect();
            removed.search_keys += self.delete(&FILED, rows).await?;
            removed.largest_transaction = removed.largest_transaction.max(some.len());
        }
        Ok(())
    }

    /// Deletes the oldest bucket that still has rows, if these are of nothing but messages that are long gone.
    pub(super) async fn drop_old_bucket(&self) -> Result<Removed, Error> {
        let mut removed = Removed::default();
        let mut oldest: Option<i64> = None;
        for account in self.every(&NEXT_ACCOUNT, &[]).await? {
            let rows = self
                .shared
                .one(&OLDEST_MESSAGE, vec![account.as_str().into()])
                .await?;
            if let Some(row) = rows.first() {
                let seq = row.int(0)?;
                oldest = Some(oldest.map_or(seq, |known| known.min(seq)));
            }
        }
        while removed.is_nothing()
            && let Some(bucket) = self.first_bucket(i64::MIN).await?
            && oldest.is_some_and(|oldest| bucket + OUT_OF_ORDER < oldest)
        {
            let rows = self.shared.one(&IN_BUCKET, vec![bucket.into()]).await?;
            self.unfile(bucket, &rows, &mut removed).await?;
            self.delete(&EMPTIED, vec![bucket.into()]).await?;
        }
        Ok(removed)
    }

    /// Forgets identities that are older than their window, from `at` on; false at the end of them.
    pub(super) async fn forget_duplicates(
        &self,
        at: &mut DuplicateAt,
        now: i64,
        removed: &mut Removed,
    ) -> Result<bool, Error> {
        let values = vec![
            at.account.as_str().into(),
            at.control_id.as_str().into(),
            at.key.clone().into(),
            (ROWS as i64).into(),
        ];
        let found = self.shared.one(&DUPLICATES, values).await?;
        let Some(last) = found.last() else {
            return Ok(false);
        };
        *at = DuplicateAt {
            account: last.string(0)?,
            control_id: last.string(1)?,
            key: last.bytes(2)?.to_vec(),
        };
        let mut rows = Vec::new();
        for row in &found {
            if row.int(3)? <= now - DUPLICATE_WINDOW_MS {
                rows.extend((0..4).map(|column| row.value(column)));
            }
        }
        removed.largest_transaction = removed.largest_transaction.max(rows.len() / 4);
        removed.duplicate_keys += self.delete(&THESE_DUPLICATES, rows).await?;
        Ok(found.len() == ROWS)
    }

    /// Deletes ledger rows that have outlived their delivery by long.
    pub(super) async fn drop_old_ledger(&self, now: i64) -> Result<Removed, Error> {
        let values = vec![(now - LEDGER_KEPT_MS).into(), (ROWS as i64).into()];
        let found = self.shared.one(&OLD_LEDGER, values).await?;
        let rows = found
            .iter()
            .flat_map(|row| (0..3).map(|column| row.value(column)))
            .collect();
        let ledger_rows = self.delete(&THESE_LEDGER, rows).await?;
        Ok(Removed {
            ledger_rows,
            largest_transaction: ledger_rows as usize,
            ..Removed::default()
        })
    }

    /// Runs one statement for all `rows` in one transaction; gives how many rows it changed.
    async fn delete(&self, sql: &'static Sql, rows: Vec<Value>) -> Result<u64, Error> {
        if rows.is_empty() {
            return Ok(0);
        }
        let plan = vec![Planned::rows(sql, rows)];
        let answers = self.shared.writer.plain(plan, false).await?;
        Ok(answers.first().map_or(0, Vec::len) as u64)
    }
}

fn key(due: &Due) -> [Value; 2] {
    [(&due.account).into(), (&due.id).into()]
}

static STRIP: Sql = Sql {
    text: "with v(account_id, id) as (values {rows})
update {or_rollback} message set payload = null, acknowledgement = null, kept = 'facts'
where (account_id, id) in (select account_id, id from v where account_id is not null)
and route <> 'flows' and kept = 'whole'
returning id",
    kinds: &[Text, Text],
};

/// All deliveries of a message or none. The row's own state is asked for once more: PostgreSQL looks at it again when
/// another host has changed it meanwhile.
static DELIVERIES: Sql = Sql {
    text: "with v(account_id, id) as (values {rows})
delete from delivery
where (account_id, id) in (select account_id, id from v where account_id is not null)
and state in ('delivered', 'skipped', 'dead') and holds = 0
and not exists (
  select 1 from delivery x
  where x.account_id = delivery.account_id
  and x.id > delivery.message_id || '.' and x.id < delivery.message_id || '/'
  and (x.state not in ('delivered', 'skipped', 'dead') or x.holds <> 0))",
    kinds: &[Text, Text],
};

static ATTEMPTS: Sql = Sql {
    text: "with v(account_id, delivery_id) as (values {rows})
delete from attempt
where (account_id, delivery_id) in (select account_id, delivery_id from v where account_id is not null)
and not exists (
  select 1 from delivery x where x.account_id = attempt.account_id and x.id = attempt.delivery_id)",
    kinds: &[Text, Text],
};

/// A write whose outcome is not known is looked up by the next one to the same record: its row stays.
static OPERATIONS: Sql = Sql {
    text: "with v(account_id, delivery_id) as (values {rows})
delete from operation
where (account_id, delivery_id) in (select account_id, delivery_id from v where account_id is not null)
and (identity is null or state not in ('begun', 'unknown'))
and not exists (
  select 1 from delivery x where x.account_id = operation.account_id and x.id = operation.delivery_id)",
    kinds: &[Text, Text],
};

static RUNS: Sql = Sql {
    text: "with v(account_id, delivery_id) as (values {rows})
delete from run
where (account_id, delivery_id) in (select account_id, delivery_id from v where account_id is not null)
and not exists (
  select 1 from delivery x where x.account_id = run.account_id and x.id = run.delivery_id)",
    kinds: &[Text, Text],
};

static MESSAGES: Sql = Sql {
    text: "with v(account_id, id) as (values {rows})
delete from message
where (account_id, id) in (select account_id, id from v where account_id is not null)
and not exists (
  select 1 from delivery x
  where x.account_id = message.account_id and x.id > message.id || '.' and x.id < message.id || '/')
returning id",
    kinds: &[Text, Text],
};

static SIZES: Sql = Sql {
    text: "with v(account_id, delivery_id) as (values {rows})
select v.account_id, v.delivery_id,
  (select count(*) from attempt a where a.account_id = v.account_id and a.delivery_id = v.delivery_id)
  + (select count(*) from operation o where o.account_id = v.account_id and o.delivery_id = v.delivery_id)
  + (select count(*) from run r where r.account_id = v.account_id and r.delivery_id = v.delivery_id)
from v
where v.account_id is not null",
    kinds: &[Text, Text],
};

static SOME_ATTEMPTS: Sql = Sql {
    text: "select number from attempt where account_id = ? and delivery_id = ? limit ?",
    kinds: &[],
};

static THESE_ATTEMPTS: Sql = Sql {
    text: "with v(account_id, delivery_id, number) as (values {rows})
delete from attempt
where (account_id, delivery_id, number) in (
  select account_id, delivery_id, number from v where account_id is not null)
returning number",
    kinds: &[Text, Text, Int],
};

static SOME_FAILED: Sql = Sql {
    text: "select id from operation where account_id = ? and delivery_id = ? and state = 'failed' limit ?",
    kinds: &[],
};

static THESE_FAILED: Sql = Sql {
    text: "with v(account_id, delivery_id, id) as (values {rows})
delete from operation
where (account_id, delivery_id, id) in (select account_id, delivery_id, id from v where account_id is not null)
and state = 'failed'
returning id",
    kinds: &[Text, Text, Text],
};

static RECENT: Sql = Sql {
    text: "with v(account_id, id) as (values {rows})
delete from search_recent
where (account_id, message_id) in (select account_id, id from v where account_id is not null)",
    kinds: &[Text, Text],
};

static FIRST_BUCKET: Sql = Sql {
    text: "select min(bucket) from search_bucket where bucket >= ?",
    kinds: &[],
};

static IN_BUCKET: Sql = Sql {
    text: "select key, account_id, message_id from search where bucket = ?",
    kinds: &[],
};

/// SQLite takes the whole bucket in hand for the last condition alone.
static FILED: Sql = Sql {
    text: "with v(bucket, key, account_id, message_id) as (values {rows})
delete from search
where bucket in (select bucket from v where account_id is not null)
and key in (select key from v where account_id is not null)
and (bucket, key, account_id, message_id) in (
  select bucket, key, account_id, message_id from v where account_id is not null)
returning bucket",
    kinds: &[Int, Bytes, Text, Text],
};

static OLDEST_MESSAGE: Sql = Sql {
    text: "select seq from message where account_id = ? order by id limit 1",
    kinds: &[],
};

static DUPLICATES: Sql = Sql {
    text: "select account_id, control_id, key, received_at from duplicate
where (account_id, control_id, key) > (?, ?, ?)
order by account_id, control_id, key
limit ?",
    kinds: &[],
};

/// With the time that was read: an identity that came again meanwhile stays.
static THESE_DUPLICATES: Sql = Sql {
    text: "with v(account_id, control_id, key, received_at) as (values {rows})
delete from duplicate
where (account_id, control_id, key, received_at) in (
  select account_id, control_id, key, received_at from v where account_id is not null)
returning received_at",
    kinds: &[Text, Text, Bytes, Int],
};

static OLD_LEDGER: Sql = Sql {
    text: "select o.account_id, o.delivery_id, o.id from operation o
where o.identity is not null and o.state in ('begun', 'unknown') and o.started_at < ?
and not exists (select 1 from delivery x where x.account_id = o.account_id and x.id = o.delivery_id)
limit ?",
    kinds: &[],
};

static THESE_LEDGER: Sql = Sql {
    text: "with v(account_id, delivery_id, id) as (values {rows})
delete from operation
where (account_id, delivery_id, id) in (select account_id, delivery_id, id from v where account_id is not null)
and not exists (
  select 1 from delivery x where x.account_id = operation.account_id and x.id = operation.delivery_id)
returning id",
    kinds: &[Text, Text, Text],
};
