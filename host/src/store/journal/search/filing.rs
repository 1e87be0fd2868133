//! Files what messages are found by: so many rows at once into a bucket, and so many buckets into one.
//!
//! Rows of a bucket stand together, sorted, so that filing writes few pages, whatever the hashes are. A search asks every
//! bucket, so there must not be many: after ten million messages some hundreds. A bucket's number is that of its last row.
//! Start at [`Journal::keep_filing`].

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::super::{HASH_BYTES, Journal};
use crate::store::Error;
use crate::store::database::{Kind, Row, Sql, Value};
use crate::store::writer::Planned;
use Kind::{Bytes, Int};

/// Rows that are filed together.
pub(in crate::store::journal) const BUCKET: u64 = 1_024;

/// Buckets that become one. A sweep reads a whole one for each part that it removes.
pub(in crate::store::journal) const MERGED: usize = 16;

/// Parts in which they do: each holds up the journal as long as filing one bucket.
const SLICES: u8 = 16;

/// How many messages wait to be filed.
#[derive(Default)]
pub(in crate::store) struct Recent {
    count: AtomicU64,
    full: Notify,
}

impl Recent {
    /// Counts messages that were kept; wakes [`Journal::keep_filing`] when they fill a bucket.
    pub(in crate::store::journal) fn add(&self, messages: u64) {
        if self.count.fetch_add(messages, Ordering::Relaxed) + messages >= BUCKET {
            self.full.notify_one();
        }
    }
}

impl Journal {
    /// Files whenever there are enough recent rows, until `shutdown`.
    pub(in crate::store) async fn keep_filing(&self, shutdown: CancellationToken) {
        loop {
            let filed = match self.file().await {
                Ok(filed) => self.merge().await.map(|merged| filed || merged),
                Err(fault) => Err(fault),
            };
            match filed {
                Ok(true) => continue,
                Ok(false) => {}
                Err(Error::Unavailable(_)) if shutdown.is_cancelled() => return,
                Err(fault) => {
                    tracing::warn!(%fault, "search values are not filed; searching gets slower until they are");
                }
            }
            tokio::select! {
                () = self.shared.recent.full.notified() => {}
                () = shutdown.cancelled() => return,
            }
        }
    }

    /// Files one bucket; false when there is none to file.
    async fn file(&self) -> Result<bool, Error> {
        let rows = self
            .shared
            .one(&OLDEST, vec![(BUCKET as i64).into()])
            .await?;
        let (count, last) = match rows.first() {
            Some(row) => (
                row.int(0)?.unsigned_abs(),
                row.optional(1, Row::int)?.unwrap_or_default(),
            ),
            None => (0, 0),
        };
        if count < BUCKET {
            self.shared.recent.count.store(count, Ordering::Relaxed);
            return Ok(false);
        }
        // A settlement may leave a row with a number lower than what was filed before: the numbers of buckets only rise.
        let newest = self.shared.one(&NEWEST_BUCKET, Vec::new()).await?;
        let newest = newest.first().map(|row| row.optional(0, Row::int));
        let bucket = newest.transpose()?.flatten().unwrap_or(last).max(last);
        let plan = vec![
            Planned::one(&FILE, vec![last.into(), bucket.into()]),
            Planned::one(&NOTE, vec![bucket.into()]),
            Planned::one(&UNFILE, vec![last.into(), bucket.into()]),
        ];
        self.shared.writer.plain(plan, false).await?;
        Ok(true)
    }

    /// Brings the oldest [`MERGED`] small buckets into the last of them, slice by slice; false when there are too few.
    ///
    /// Each row is in one of them at any time, and a merge that is cut off goes on where it was.
    async fn merge(&self) -> Result<bool, Error> {
        let rows = self
            .shared
            .one(&SMALL, vec![(MERGED as i64).into()])
            .await?;
        let mut small = Vec::with_capacity(MERGED);
        for row in &rows {
            small.push(row.int(0)?);
        }
        let (Some(target), MERGED) = (small.pop(), rows.len()) else {
            return Ok(false);
        };
        for slice in 0..SLICES {
            let low: Arc<[u8]> = Arc::new([slice * (u8::MAX / SLICES + 1)]);
            let high: Arc<[u8]> = match slice + 1 {
                SLICES => Arc::new([u8::MAX; HASH_BYTES + 1]),
                next => Arc::new([next * (u8::MAX / SLICES + 1)]),
            };
            let rows: Vec<Value> = small
                .iter()
                .flat_map(|source| {
                    [
                        (*source).into(),
                        target.into(),
                        Value::from(&low),
                        Value::from(&high),
                    ]
                })
                .collect();
            let plan = vec![
                Planned::rows(&MOVE, rows.clone()),
                Planned::rows(&LEAVE, rows),
            ];
            self.shared.writer.plain(plan, false).await?;
        }
        let plan = vec![
            Planned::rows(&EMPTIED, small.into_iter().map(Value::from).collect()),
            Planned::one(&IS_MERGED, vec![target.into()]),
        ];
        self.shared.writer.plain(plan, false).await?;
        Ok(true)
    }
}

static NEWEST_BUCKET: Sql = Sql {
    text: "select max(bucket) from search_bucket",
    kinds: &[],
};

static OLDEST: Sql = Sql {
    text: "select count(*), max(r.seq) from (select seq from search_recent order by seq limit ?) r",
    kinds: &[],
};

/// Splits the hashes, which stand one behind the other; see [`HASH_BYTES`].
static FILE: Sql = Sql {
    text: "with recursive part(account_id, message_id, key, rest) as (
  select account_id, message_id, substr(keys, 1, 16), substr(keys, 17) from search_recent where seq <= ?
  union all
  select account_id, message_id, substr(rest, 1, 16), substr(rest, 17) from part where length(rest) > 0)
insert {or_rollback} into search (bucket, key, account_id, message_id)
select cast(? as bigint), key, account_id, message_id from part
where true
order by 2, 3, 4
on conflict (bucket, key, account_id, message_id) do nothing",
    kinds: &[],
};

/// Another host may have kept a message with a lower number meanwhile: only what is in the bucket goes.
static UNFILE: Sql = Sql {
    text: "delete from search_recent
where seq <= ? and exists (
  select 1 from search s
  where s.bucket = ? and s.key = substr(search_recent.keys, 1, 16)
  and s.account_id = search_recent.account_id and s.message_id = search_recent.message_id)",
    kinds: &[],
};

static NOTE: Sql = Sql {
    text: "insert {or_rollback} into search_bucket (bucket, is_merged) values (?, 0)
on conflict (bucket) do nothing",
    kinds: &[],
};

static SMALL: Sql = Sql {
    text: "select bucket from search_bucket where is_merged = 0 order by bucket limit ?",
    kinds: &[],
};

static MOVE: Sql = Sql {
    text: "with v(source, target, low, high) as (values {rows})
insert {or_rollback} into search (bucket, key, account_id, message_id)
select v.target, s.key, s.account_id, s.message_id
from v cross join search s
where s.bucket = v.source and s.key >= v.low and s.key < v.high
order by 2, 3, 4
on conflict (bucket, key, account_id, message_id) do nothing",
    kinds: &[Int, Int, Bytes, Bytes],
};

/// Another host may have filed into one of them meanwhile: only what has moved goes.
static LEAVE: Sql = Sql {
    text: "with v(source, target, low, high) as (values {rows})
delete from search
where bucket in (select source from v where source is not null)
and key >= (select low from v where low is not null limit 1) and key < (select high from v where high is not null limit 1)
and exists (
  select 1 from search s
  where s.bucket = (select target from v where target is not null limit 1) and s.key = search.key
  and s.account_id = search.account_id and s.message_id = search.message_id)",
    kinds: &[Int, Int, Bytes, Bytes],
};

/// Forgets buckets that have no rows any more.
pub(in crate::store::journal) static EMPTIED: Sql = Sql {
    text: "with v(bucket) as (values {rows})
delete from search_bucket
where bucket in (select bucket from v where bucket is not null)
and not exists (select 1 from search s where s.bucket = search_bucket.bucket)",
    kinds: &[Int],
};

static IS_MERGED: Sql = Sql {
    text: "update {or_rollback} search_bucket set is_merged = 1 where bucket = ?",
    kinds: &[],
};
