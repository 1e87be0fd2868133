//! Writes to LeadSquared that are under way: what they change may be told of before this host has noted it.

use super::{DeliveryId, Journal};
use crate::flow::AccountId;
use crate::store::Error;
use crate::store::database::Sql;

/// A record that LeadSquared tells of, and the time in which a write of it must have begun.
#[derive(Debug, Clone, Copy)]
pub struct Told<'a> {
    /// Prospect id or activity id.
    pub record: &'a str,
    pub since_ms: i64,
    pub until_ms: i64,
}

impl Journal {
    /// Whether another delivery than `own` may be writing that record: it has begun to, has had no answer, or has not been
    /// settled since.
    pub async fn is_writing(
        &self,
        account: &AccountId,
        own: &DeliveryId,
        told: Told<'_>,
    ) -> Result<bool, Error> {
        let (account, own) = (account.as_str(), own.as_str());
        let (since, until) = (told.since_ms, told.until_ms);
        let values = vec![
            account.into(),
            own.into(),
            since.into(),
            until.into(),
            account.into(),
            own.into(),
            since.into(),
            until.into(),
            told.record.into(),
        ];
        Ok(!self.shared.one(&UNDER_WAY, values).await?.is_empty())
    }
}

// The first half is what is not answered, by its own index, however much waits; the second what is answered and not settled:
// no more than runs at once.
static UNDER_WAY: Sql = Sql {
    text: "select o.id
from operation o
join delivery d on d.account_id = o.account_id and d.id = o.delivery_id
where o.account_id = ? and o.delivery_id <> ? and o.started_at >= ? and o.started_at <= ?
  and o.state in ('begun', 'unknown')
  and o.kind in ('create-lead', 'update-lead', 'upsert-lead', 'create-activity', 'update-activity')
  and d.state in ('running', 'waiting')
union all
select o.id
from delivery d
join operation o on o.account_id = d.account_id and o.delivery_id = d.id
where d.account_id = ? and d.id <> ? and d.state = 'running'
  and o.started_at >= ? and o.started_at <= ? and o.target = ? and o.state = 'done'
  and o.kind in ('create-lead', 'update-lead', 'upsert-lead', 'create-activity', 'update-activity')
limit 1",
    kinds: &[],
};
