//! Finds messages by what they are about: exact values by keyed hashes alone, and what did not go through by its reason.
//!
//! Hashes have no order that could keep new ones together, and a page written for each of them is what an append would
//! cost most. So an append leaves one row in `search_recent`, and so does a settlement with what was written; every so many
//! rows are filed into a bucket of `search`: see `filing.rs`. A search reads the recent rows and then asks each bucket.
//! Reasons are read newest first, each by its code: see `reasons.rs`. Start at [`Journal::search`].

pub(in crate::store) mod filing;
pub(super) mod reasons;

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Filter, HASH_BYTES, Journal, Lease, MessageRow, Page};
use crate::flow::{AccountId, MessageId};
use crate::store::Error;
use crate::store::database::{Kind, Sql, Value};
use Kind::{Bytes, Int, Text};

pub use reasons::statements;

/// Messages of one control id that are looked at: a sender may count from 1 again every day.
const SAME_CONTROL_ID: i64 = 200;

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
}

static RECENT: Sql = Sql {
    text: "select message_id, keys from search_recent where account_id = ?",
    kinds: &[],
};

static FILED: Sql = Sql {
    text: "select s.message_id
from search_bucket b cross join search s
where s.bucket = b.bucket and s.key = ? and s.account_id = ?",
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
