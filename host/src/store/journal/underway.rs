//! Writes to LeadSquared that are under way: what they change may be told of before this host has noted it.

use super::{DeliveryId, Journal};
use crate::flow::{AccountId, FlowId};
use crate::store::Error;
use crate::store::database::Kind::{Int, Text};
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
    /// settled since. `flows` are those whose deliveries write.
    pub async fn is_writing(
        &self,
        account: &AccountId,
        own: &DeliveryId,
        told: Told<'_>,
        flows: &[&FlowId],
    ) -> Result<bool, Error> {
        let (account, own) = (account.as_str(), own.as_str());
        let (since, until) = (told.since_ms, told.until_ms);
        let values = vec![account.into(), own.into(), since.into(), until.into()];
        if !self.shared.one(&UNANSWERED, values).await?.is_empty() {
            return Ok(true);
        }
        let rows = flows.iter().flat_map(|flow| {
            [
                account.into(),
                flow.as_str().into(),
                own.into(),
                since.into(),
                until.into(),
                told.record.into(),
            ]
        });
        let rows: Vec<_> = rows.collect();
        Ok(!rows.is_empty() && !self.shared.rows(&UNSETTLED, rows).await?.is_empty())
    }
}

/// By an index of its own, however much waits.
static UNANSWERED: Sql = Sql {
    text: "select o.id
from operation o
join delivery d on d.account_id = o.account_id and d.id = o.delivery_id
where o.account_id = ? and o.delivery_id <> ? and o.started_at >= ? and o.started_at <= ?
  and o.state in ('begun', 'unknown')
  and o.kind in ('create-lead', 'update-lead', 'upsert-lead', 'create-activity', 'update-activity')
  and d.state in ('running', 'waiting')
limit 1",
    kinds: &[],
};

/// Looks at what runs of these flows only: many run that wait for an EHR and write nothing.
static UNSETTLED: Sql = Sql {
    text: "with v(account_id, flow_id, own, since, until, record) as (values {rows})
select o.id
from v cross join delivery d
join operation o on o.account_id = d.account_id and o.delivery_id = d.id
where d.account_id = v.account_id and d.state = 'running' and d.flow_id = v.flow_id and d.id <> v.own
  and o.started_at >= v.since and o.started_at <= v.until and o.target = v.record and o.state = 'done'
  and o.kind in ('create-lead', 'update-lead', 'upsert-lead', 'create-activity', 'update-activity')
limit 1",
    kinds: &[Text, Text, Text, Int, Int, Text],
};
