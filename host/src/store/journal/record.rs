//! What this host wrote last to each lead and activity, as the planner keeps it; opaque bytes here.
//!
//! Kept beside links, and like them outlives messages.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Journal;
use crate::flow::AccountId;
use crate::store::database::{Kind, Script, Sql, Value};
use crate::store::writer::Planned;
use crate::store::{Error, now_ms};
use Kind::{Bytes, Int, Text};

/// A record as it was left by a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Prospect id or activity id.
    pub id: String,
    pub document: Vec<u8>,
}

impl Journal {
    /// What was kept of each record, in the order asked.
    pub async fn records(
        &self,
        account: &AccountId,
        ids: &[&str],
    ) -> Result<Vec<Option<Vec<u8>>>, Error> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let rows = ids
            .iter()
            .flat_map(|id| [account.as_str().into(), (*id).into()])
            .collect();
        let mut found = BTreeMap::new();
        for row in self.shared.rows(&RECORDS, rows).await? {
            found.insert(row.string(0)?, row.bytes(1)?.to_vec());
        }
        Ok(ids.iter().map(|id| found.get(*id).cloned()).collect())
    }

    /// Keeps records that no delivery leaves; durable on return.
    pub async fn keep_records(&self, account: &AccountId, records: &[Record]) -> Result<(), Error> {
        if records.is_empty() {
            return Ok(());
        }
        let now = now_ms();
        let rows = records.iter().flat_map(|record| {
            [
                account.as_str().into(),
                record.id.as_str().into(),
                record.document.clone().into(),
                now.into(),
            ]
        });
        let plan = vec![Planned::rows(&KEEP, rows.collect())];
        self.shared.writer.plain(plan, false).await?;
        Ok(())
    }

    /// A keyed fingerprint of one value of one field: equal values of a field have equal ones.
    pub fn fingerprint(&self, account: &AccountId, field: &str, value: &str) -> u64 {
        let index = self.shared.vault.index(account.as_str(), field, value);
        index
            .iter()
            .take(8)
            .fold(0, |whole, byte| (whole << 8) | u64::from(*byte))
    }
}

static RECORDS: Sql = Sql {
    text: "with v(account_id, id) as (values {rows})
select r.id, r.document
from v cross join record r
where r.account_id = v.account_id and r.id = v.id",
    kinds: &[Text, Text],
};

static KEEP: Sql = Sql {
    text: "with v(account_id, id, document, updated_at) as (values {rows})
insert {or_rollback} into record (account_id, id, document, updated_at)
select account_id, id, document, updated_at from v
where account_id is not null
on conflict (account_id, id) do update set document = excluded.document, updated_at = excluded.updated_at",
    kinds: &[Text, Text, Bytes, Int],
};

/// The records that one batch leaves changed; of several changes to one the last holds.
#[derive(Default)]
pub(in crate::store) struct Records(BTreeMap<Key, Arc<[u8]>>);

/// Account and record.
type Key = (Arc<str>, Arc<str>);

impl Records {
    pub(in crate::store) fn add(&mut self, account: &Arc<str>, records: &[Record]) {
        for Record { id, document } in records {
            let key = (account.clone(), id.as_str().into());
            self.0.insert(key, document.as_slice().into());
        }
    }

    pub(in crate::store) fn write(self, script: &mut Script, now: i64) {
        let rows = self.0.into_iter().flat_map(|((account, id), document)| {
            [
                Value::Text(account),
                Value::Text(id),
                Value::Bytes(document),
                now.into(),
            ]
        });
        script.rows(&KEEP, rows.collect());
    }
}
