//! Finds messages by what they are about, by keyed hashes alone.
//!
//! Hashes have no order that could keep new ones together, and a page written for each of them is what an append would
//! cost most. So an append leaves one row in `search_recent`, and every [`BUCKET`] messages are filed into `search` at
//! once, sorted, under a number of their own. A search reads the recent rows and then asks each bucket.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::{HASH_BYTES, Journal, MessageRow};
use crate::flow::AccountId;
use crate::store::Error;
use crate::store::database::{Row, Sql};
use crate::store::writer::Planned;

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
    /// Finds the messages that were kept with exactly this search value, newest first.
    pub async fn find(
        &self,
        account: &AccountId,
        kind: &str,
        value: &str,
        limit: usize,
    ) -> Result<Vec<MessageRow>, Error> {
        let key = self.hash(account, kind, value);
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
        let keys: Vec<_> = found
            .into_iter()
            .rev()
            .take(limit)
            .map(|id| (id, account.as_str().to_owned()))
            .collect();
        self.messages(&keys).await
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
        let plan = vec![
            Planned::one(&FILE, vec![last.into(), last.into()]),
            Planned::one(&UNFILE, vec![last.into(), last.into()]),
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
