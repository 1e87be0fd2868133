//! Finds messages by what they are about: exact values by keyed hashes alone, and what did not go through by its reason.
//!
//! Hashes have no order that could keep new ones together, and a page written for each of them is what an append would
//! cost most. So an append leaves one row in `search_recent`, and so does a settlement with what was written; every
//! [`BUCKET`] rows are filed into `search` at once, sorted, under a number of their own. A search reads the recent rows and
//! then asks each bucket. Reasons are read newest first, each by its code: see `reasons.rs`. Start at [`Journal::search`].

pub(super) mod reasons;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::{Filter, HASH_BYTES, Journal, Lease, MessageRow, Page};
use crate::flow::{AccountId, MessageId};
use crate::store::Error;
use crate::store::database::{Kind, Row, Sql, Value};
use crate::store::writer::Planned;
use Kind::{Bytes, Int, Text};

pub use reasons::statements;

/// Messages of one control id that are looked at: a sender may count from 1 again every day.
const SAME_CONTROL_ID: i64 = 200;

/// Messages that are filed together.
pub(super) const BUCKET: u64 = 1_024;

/// How many messages wait to be filed.
#[derive(Default)]
pub(in crate::store) struct Recent {
    count: AtomicU64,
    full: Notify,
}

impl Recent {
    /// Counts messages that were kept; wakes [`Journal::keep_filing`] when they fill a bucket.
    pub(super) fn add(&self, messages: u64) {
        if self.count.fetch_add(messages, Ordering::Relaxed) + messages >= BUCKET {
            self.full.notify_one();
        }
    }
}

impl Journal {
    /// Messages that `text` is about: a patient's, an appointment's or a visit's identifier, a control id, the id of a lead or
    /// of an activity that was written, or part of a reason; newest first, those that `filter` lets through.
    pub async fn search(
        &self,
        filter: &Filter,
        text: &str,
        before: Option<&MessageId>,
        limit: usize,
    ) -> Result<Page, Error> {
        let (low, high) = filter.ids(before);
        let mut found = BTreeSet::new();
        for account in &self.accounts(filter).await? {
            let id = AccountId::from(account.as_str());
            let mut ids = self.kept_with(&id, text).await?;
            ids.append(&mut self.numbered(account, text).await?);
            ids.append(
                &mut self
                    .told(account, filter, text, (&low, &high), limit)
                    .await?,
            );
            let within = |id: &String| *id > low && *id < high;
            found.extend(
                ids.into_iter()
                    .filter(within)
                    .map(|id| (id, account.clone())),
            );
        }
        let keys: Vec<_> = found.into_iter().rev().collect();
        let mut rows = Vec::new();
        for part in keys.chunks(limit.max(1)) {
            let read = self.messages(part).await?.into_iter();
            rows.extend(read.filter(|row| filter.lets(row)));
            if rows.len() >= limit {
                break;
            }
        }
        rows.truncate(limit);
        Ok(Page::of(rows, limit))
    }

    /// Finds the messages that were kept with exactly this search value, newest first.
    pub async fn find(
        &self,
        account: &AccountId,
        value: &str,
        limit: usize,
    ) -> Result<Vec<MessageRow>, Error> {
        let found = self.kept_with(account, value).await?;
        let newest = found.into_iter().rev().take(limit);
        let keys: Vec<_> = newest.map(|id| (id, account.as_str().to_owned())).collect();
        self.messages(&keys).await
    }

    /// The hash of a search value, whatever kind of number it is; capitals and spaces around it make no difference.
    pub(super) fn search_key(&self, account: &AccountId, value: &str) -> Arc<[u8]> {
        self.hash(account, "search", &value.trim().to_lowercase())
    }

    /// The columns of [`FOUND`]; none where there is nothing to find a message by.
    pub(super) fn found_row(&self, lease: &Lease, found_by: &[String]) -> Vec<Value> {
        let keys: BTreeSet<_> = found_by
            .iter()
            .map(|value| self.search_key(&lease.account, value))
            .collect();
        let Some((message, _)) = lease.delivery.as_str().split_once('.') else {
            return Vec::new();
        };
        if keys.is_empty() {
            return Vec::new();
        }
        let keys: Arc<[u8]> = keys.iter().flat_map(|key| key.iter().copied()).collect();
        vec![
            lease.seq.into(),
            lease.account.as_str().into(),
            message.into(),
            (&keys).into(),
        ]
    }

    /// The ids of messages with this search value.
    async fn kept_with(&self, account: &AccountId, value: &str) -> Result<BTreeSet<String>, Error> {
        let key = self.search_key(account, value);
        // The recent ones first: what is filed between the two is found twice, not missed.
        let recent = self
            .shared
            .one(&RECENT, vec![account.as_str().into()])
            .await?;
        let filed = self
            .shared
            .one(&FILED, vec![(&key).into(), account.as_str().into()])
            .await?;
        let mut found = BTreeSet::new();
        for row in &recent {
            if row.bytes(1)?.chunks(HASH_BYTES).any(|other| *other == *key) {
                found.insert(row.string(0)?);
            }
        }
        for row in &filed {
            found.insert(row.string(0)?);
        }
        Ok(found)
    }

    /// The ids of messages of the last days with this control id; also of those of which header facts alone are kept.
    async fn numbered(&self, account: &str, control_id: &str) -> Result<BTreeSet<String>, Error> {
        let values = vec![
            account.into(),
            control_id.trim().into(),
            SAME_CONTROL_ID.into(),
        ];
        let rows = self.shared.one(&NUMBERED, values).await?;
        rows.iter().map(|row| Ok(row.string(0)?)).collect()
    }

    /// Files whenever there are enough recent messages, until `shutdown`.
    pub(in crate::store) async fn keep_filing(&self, shutdown: CancellationToken) {
        loop {
            match self.file().await {
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
            Planned::one(&UNFILE, vec![last.into(), bucket.into()]),
        ];
        self.shared.writer.plain(plan, false).await?;
        Ok(true)
    }
}

static RECENT: Sql = Sql {
    text: "select message_id, keys from search_recent where account_id = ?",
    kinds: &[],
};

/// Jumps from bucket to bucket.
static FILED: Sql = Sql {
    text: "with recursive filed(bucket) as (
  select max(bucket) from search
  union all
  select (select max(s.bucket) from search s where s.bucket < filed.bucket) from filed where filed.bucket is not null)
select s.message_id
from filed cross join search s
where s.bucket = filed.bucket and s.key = ? and s.account_id = ?",
    kinds: &[],
};

static NUMBERED: Sql = Sql {
    text: "select message_id from duplicate where account_id = ? and control_id = ? limit ?",
    kinds: &[],
};

/// A delivery that is released may be settled again.
pub(super) static FOUND: Sql = Sql {
    text: "with v(seq, account_id, message_id, keys) as (values {rows})
insert {or_rollback} into search_recent (seq, account_id, message_id, keys)
select seq, account_id, message_id, keys from v
where account_id is not null
on conflict (seq) do update set keys = excluded.keys",
    kinds: &[Int, Text, Text, Bytes],
};

static NEWEST_BUCKET: Sql = Sql {
    text: "select max(bucket) from search",
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
