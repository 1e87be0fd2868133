//! Brings deliveries back that wait for a person, for their flow, or for their time.

use super::append::split_lanes;
use super::{Journal, State};
use crate::flow::{AccountId, DeliveryId, FlowId};
use crate::store::database::{Kind, Sql, Value};
use crate::store::writer::Planned;
use crate::store::{Error, now_ms};
use Kind::{Bytes, Int, Text};

/// Deliveries released in one transaction.
const AT_ONCE: i64 = 256;

impl Journal {
    /// Queues a parked, dead or waiting delivery again, at its old place in its lanes.
    ///
    /// # Errors
    /// `NotFound`; `NotReleasable` when it is in another state.
    pub async fn release(&self, account: &AccountId, delivery: &DeliveryId) -> Result<(), Error> {
        let key = vec![account.as_str().into(), delivery.as_str().into()];
        let rows = self.shared.one(&ONE, key).await?;
        let row = rows
            .first()
            .ok_or_else(|| Error::NotFound(format!("delivery {delivery}")))?;
        let released = self
            .queue(
                account,
                vec![(row.string(0)?, row.int(1)?, row.bytes(2)?.to_vec())],
            )
            .await?;
        if released == 0 {
            return Err(Error::NotReleasable {
                what: format!("delivery {delivery}"),
                state: row.string(3)?,
            });
        }
        Ok(())
    }

    /// Queues the parked deliveries of a flow that were parked for `reason` (the flow runs again); gives how many.
    pub async fn release_flow(
        &self,
        account: &AccountId,
        flow: &FlowId,
        reason: &str,
    ) -> Result<u64, Error> {
        let mut released = 0;
        let mut after = String::new();
        loop {
            let rows = self
                .shared
                .one(
                    &PARKED,
                    vec![
                        account.as_str().into(),
                        flow.as_str().into(),
                        after.as_str().into(),
                        reason.into(),
                        AT_ONCE.into(),
                    ],
                )
                .await?;
            let Some(last) = rows.last() else {
                return Ok(released);
            };
            after = last.string(0)?;
            let deliveries = rows
                .iter()
                .map(|row| Ok((row.string(0)?, row.int(1)?, row.bytes(2)?.to_vec())))
                .collect::<Result<Vec<_>, Error>>()?;
            released += self.queue(account, deliveries).await?;
        }
    }

    async fn queue(
        &self,
        account: &AccountId,
        deliveries: Vec<(String, i64, Vec<u8>)>,
    ) -> Result<u64, Error> {
        let now = now_ms();
        let account = Value::from(account.as_str());
        let mut states = Vec::new();
        let mut lanes = std::collections::BTreeMap::new();
        let mut entries = Vec::new();
        for (id, seq, all) in deliveries {
            let id = Value::from(id.as_str());
            states.extend([account.clone(), id.clone(), now.into()]);
            for lane in split_lanes(&all) {
                let row = [account.clone(), (&lane).into(), now.into()];
                entries.extend([account.clone(), (&lane).into(), seq.into(), id.clone()]);
                lanes.insert(lane, row);
            }
        }
        let answers = self
            .shared
            .writer
            .plain(
                vec![
                    Planned::rows(&QUEUE, states),
                    Planned::rows(&LANES, lanes.into_values().flatten().collect()),
                    Planned::rows(&ENTRIES, entries),
                ],
                true,
            )
            .await?;
        Ok(answers.first().map_or(0, Vec::len) as u64)
    }
}

static ONE: Sql = Sql {
    text: "select id, seq, lanes, state from delivery where account_id = ? and id = ?",
    kinds: &[],
};

static PARKED: Sql = Sql {
    text: "select id, seq, lanes from delivery
where account_id = ? and state = 'parked' and flow_id = ? and id > ? and reason = ?
order by id
limit ?",
    kinds: &[],
};

static QUEUE: Sql = Sql {
    text: "with v(account_id, id, updated_at) as (values {rows})
update {or_rollback} delivery set state = 'queued', due_at = null, holds = 0, reason = '', detail = '', updated_at = v.updated_at
from v
where delivery.account_id = v.account_id and delivery.id = v.id and delivery.state in ('parked', 'dead', 'waiting')
returning delivery.id",
    kinds: &[Text, Text, Int],
};

/// A lane that gets no entry after all is deleted by its next claimer.
static LANES: Sql = Sql {
    text: "with v(account_id, lane, due_at) as (values {rows})
insert {or_rollback} into lane (account_id, lane, fence, due_at)
select account_id, lane, 0, due_at
from v
where account_id is not null
on conflict (account_id, lane) do update
set due_at = case when lane.owner is null then excluded.due_at else lane.due_at end",
    kinds: &[Text, Bytes, Int],
};

static ENTRIES: Sql = Sql {
    text: "with v(account_id, lane, seq, delivery_id) as (values {rows})
insert {or_rollback} into lane_entry (account_id, lane, seq, delivery_id)
select v.account_id, v.lane, v.seq, v.delivery_id
from v
cross join delivery d
where d.account_id = v.account_id and d.id = v.delivery_id and d.state = 'queued'
on conflict (account_id, lane, seq) do nothing",
    kinds: &[Text, Bytes, Int, Text],
};

impl State {
    /// Whether [`Journal::release`] takes a delivery in this state.
    pub fn is_releasable(self) -> bool {
        matches!(self, State::Parked | State::Dead | State::Waiting)
    }
}
