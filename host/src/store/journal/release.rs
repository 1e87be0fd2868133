//! Brings deliveries back that wait for a person, for their flow, or for their time.

use std::collections::BTreeMap;

use super::append::split_lanes;
use super::read::NEXT_FLOW;
use super::{Filter, Journal, State};
use crate::flow::{AccountId, DeliveryId, Digest, FlowId};
use crate::store::database::{Kind, Row, Sql, Value};
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
            .queue(&QUEUE, account, vec![Parked::read(row)?])
            .await?;
        if released == 0 {
            return Err(Error::NotReleasable {
                what: format!("delivery {delivery}"),
                state: row.string(4)?,
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
        let values = |after: &str| {
            let (account, flow) = (account.as_str().into(), flow.as_str().into());
            vec![account, flow, after.into(), reason.into(), AT_ONCE.into()]
        };
        self.queue_found(account, &PARKED, values).await
    }

    /// Queues the deliveries that are dead because `release` broke on them; gives how many.
    pub async fn release_broken(
        &self,
        account: &AccountId,
        release: &Digest,
    ) -> Result<u64, Error> {
        let values = |after: &str| {
            let (account, release) = (account.as_str().into(), release.as_str().into());
            vec![account, release, after.into(), AT_ONCE.into()]
        };
        self.queue_found(account, &BROKEN, values).await
    }

    /// Queues the deliveries that wait for an entry of a code table; gives how many.
    pub(super) async fn release_awaiting(
        &self,
        account: &AccountId,
        missed: &str,
    ) -> Result<u64, Error> {
        let values = |after: &str| {
            vec![
                account.as_str().into(),
                missed.into(),
                after.into(),
                AT_ONCE.into(),
            ]
        };
        self.queue_found(account, &AWAITING, values).await
    }

    /// Queues the deliveries of an account that wait for `reason` now instead of at their time; gives how many.
    pub async fn hurry(&self, account: &AccountId, reason: &str) -> Result<u64, Error> {
        let values = |after: &str| {
            vec![
                account.as_str().into(),
                reason.into(),
                after.into(),
                AT_ONCE.into(),
            ]
        };
        self.queue_found(account, &WAITING, values).await
    }

    /// Queues all that a statement finds, some at a time; `values` are its values behind the id of the last one found.
    async fn queue_found(
        &self,
        account: &AccountId,
        found: &'static Sql,
        values: impl Fn(&str) -> Vec<Value>,
    ) -> Result<u64, Error> {
        let mut released = 0;
        let mut after = String::new();
        loop {
            let rows = self.shared.one(found, values(&after)).await?;
            let Some(last) = rows.last() else {
                return Ok(released);
            };
            after = last.string(0)?;
            let deliveries = rows.iter().map(Parked::read).collect::<Result<_, _>>()?;
            released += self.queue(&QUEUE, account, deliveries).await?;
        }
    }

    /// Queues deliveries again that `filter` lets through and that a person may set going, oldest first: each flow's in the
    /// order in which they came, and none that came after `until`. Gives how many, and whether there are more.
    ///
    /// # Errors
    /// The store's; what was queued before stays queued.
    pub async fn release_many(
        &self,
        account: &AccountId,
        filter: &Filter,
        at_most: u64,
    ) -> Result<(u64, bool), Error> {
        let mut released = 0;
        for (state, flow) in self.releasable(account, filter).await? {
            let mut after = String::new();
            loop {
                let rows = self
                    .chosen(account, filter, (state, &flow), &after, AT_ONCE)
                    .await?;
                let Some(last) = rows.last() else { break };
                if released >= at_most {
                    return Ok((released, true));
                }
                after = last.string(0)?;
                let left = usize::try_from(at_most - released).unwrap_or(usize::MAX);
                let is_cut = rows.len() > left;
                let deliveries = rows.iter().take(left).map(Parked::read);
                let deliveries = deliveries.collect::<Result<_, _>>()?;
                released += self.queue(&QUEUE, account, deliveries).await?;
                if is_cut {
                    return Ok((released, true));
                }
            }
        }
        Ok((released, false))
    }

    /// How many deliveries [`Journal::release_many`] would queue; counts no further than `most`.
    pub async fn count_releasable(
        &self,
        account: &AccountId,
        filter: &Filter,
        most: u64,
    ) -> Result<u64, Error> {
        let mut count = 0;
        for (state, flow) in self.releasable(account, filter).await? {
            let left = most.saturating_sub(count).cast_signed();
            let rows = self
                .chosen(account, filter, (state, &flow), "", left)
                .await?;
            count += rows.len() as u64;
        }
        Ok(count)
    }

    /// The states and flows that deliveries to be released are of.
    async fn releasable(
        &self,
        account: &AccountId,
        filter: &Filter,
    ) -> Result<Vec<(State, String)>, Error> {
        let states = State::ALL.into_iter().filter(|state| {
            state.is_releasable() && filter.state.is_none_or(|wanted| wanted == *state)
        });
        let mut found = Vec::new();
        for state in states {
            let flows = match &filter.flow {
                Some(flow) => vec![flow.as_str().to_owned()],
                None => {
                    let before = [account.as_str(), state.as_str()];
                    self.every(&NEXT_FLOW, &before).await?
                }
            };
            found.extend(flows.into_iter().map(|flow| (state, flow)));
        }
        Ok(found)
    }

    async fn chosen(
        &self,
        account: &AccountId,
        filter: &Filter,
        (state, flow): (State, &str),
        after: &str,
        most: i64,
    ) -> Result<Vec<Row>, Error> {
        let (low, high) = filter.ids(None);
        let reason = filter.reason.as_deref().unwrap_or("");
        let values = vec![
            account.as_str().into(),
            state.as_str().into(),
            flow.into(),
            low.as_str().max(after).into(),
            high.as_str().into(),
            reason.into(),
            reason.into(),
            most.into(),
        ];
        self.shared.one(&CHOSEN, values).await
    }

    /// Queues deliveries that stepped aside and whose time has come; gives how many.
    pub async fn bring_back(&self) -> Result<u64, Error> {
        let values = vec![now_ms().into(), AT_ONCE.into()];
        let mut by_account: BTreeMap<String, Vec<Parked>> = BTreeMap::new();
        for row in self.shared.one(&DUE, values).await? {
            let parked = Parked::read(&row)?;
            by_account.entry(row.string(4)?).or_default().push(parked);
        }
        let mut back = 0;
        for (account, deliveries) in by_account {
            back += self
                .queue(&BRING_BACK, &account.as_str().into(), deliveries)
                .await?;
        }
        Ok(back)
    }

    async fn queue(
        &self,
        how: &'static Sql,
        account: &AccountId,
        deliveries: Vec<Parked>,
    ) -> Result<u64, Error> {
        let now = now_ms();
        let account = Value::from(account.as_str());
        let mut states = Vec::new();
        let mut lanes = BTreeMap::new();
        let mut entries = Vec::new();
        for parked in deliveries {
            let id = Value::from(parked.id.as_str());
            states.extend([account.clone(), id.clone(), now.into()]);
            for lane in split_lanes(&parked.lanes) {
                let (account, seq) = (account.clone(), parked.seq.into());
                entries.extend([account, (&lane).into(), seq, id.clone()]);
                let rank = lanes.entry(lane).or_insert(parked.rank);
                *rank = parked.rank.min(*rank);
            }
        }
        let lanes = lanes
            .into_iter()
            .flat_map(|(lane, rank)| [account.clone(), (&lane).into(), now.into(), rank.into()]);
        let answers = self
            .shared
            .writer
            .plain(
                vec![
                    Planned::rows(how, states),
                    Planned::rows(&LANES, lanes.collect()),
                    Planned::rows(&ENTRIES, entries),
                ],
                true,
            )
            .await?;
        Ok(answers.first().map_or(0, Vec::len) as u64)
    }
}

/// What is needed to put a delivery back into its lanes.
struct Parked {
    id: String,
    seq: i64,
    lanes: Vec<u8>,
    rank: i64,
}

impl Parked {
    fn read(row: &Row) -> Result<Self, Error> {
        Ok(Self {
            id: row.string(0)?,
            seq: row.int(1)?,
            lanes: row.bytes(2)?.to_vec(),
            rank: row.int(3)?,
        })
    }
}

static ONE: Sql = Sql {
    text: "select id, seq, lanes, rank, state from delivery where account_id = ? and id = ?",
    kinds: &[],
};

/// What is found among all deliveries of an account, to be looked at with `explain`.
pub(super) static OF_RELEASES: [&Sql; 5] = [&PARKED, &BROKEN, &AWAITING, &WAITING, &CHOSEN];

static PARKED: Sql = Sql {
    text: "select id, seq, lanes, rank from delivery
where account_id = ? and state = 'parked' and flow_id = ? and id > ? and reason = ?
order by id
limit ?",
    kinds: &[],
};

static BROKEN: Sql = Sql {
    text: "select d.id, d.seq, d.lanes, d.rank from run r
join delivery d on d.account_id = r.account_id and d.id = r.delivery_id
where r.account_id = ? and r.release_id = ? and r.broke = 1 and d.state = 'dead' and d.id > ?
order by d.id
limit ?",
    kinds: &[],
};

static AWAITING: Sql = Sql {
    text: "select id, seq, lanes, rank from delivery
where account_id = ? and awaits = ? and state = 'parked' and id > ?
order by id
limit ?",
    kinds: &[],
};

/// Those that wait are few, and ordered by id among themselves: not found on a walk through all deliveries.
static WAITING: Sql = Sql {
    text: "with few as materialized (
  select id, seq, lanes, rank from delivery
  where account_id = ? and state = 'waiting' and reason = ?)
select id, seq, lanes, rank from few
where id > ?
order by id
limit ?",
    kinds: &[],
};

/// With the flow's index, as lists of messages are read.
static CHOSEN: Sql = Sql {
    text: "select id, seq, lanes, rank from delivery
where account_id = ? and state = ? and flow_id = ? and id > ? and id < ? and (? = '' or reason = ?)
order by id
limit ?",
    kinds: &[],
};

static DUE: Sql = Sql {
    text: "select id, seq, lanes, rank, account_id from delivery
where state = 'parked' and due_at is not null and due_at <= ?
order by due_at
limit ?",
    kinds: &[],
};

/// The reason stays: it says what the next try has been waiting for.
static BRING_BACK: Sql = Sql {
    text: "with v(account_id, id, updated_at) as (values {rows})
update {or_rollback} delivery set state = 'queued', due_at = null, updated_at = v.updated_at
from v
where delivery.account_id = v.account_id and delivery.id = v.id and delivery.state = 'parked'
returning delivery.id",
    kinds: &[Text, Text, Int],
};

static QUEUE: Sql = Sql {
    text: "with v(account_id, id, updated_at) as (values {rows})
update {or_rollback} delivery set state = 'queued', due_at = null, holds = 0, reason = '', detail = '', awaits = null, updated_at = v.updated_at
from v
where delivery.account_id = v.account_id and delivery.id = v.id and delivery.state in ('parked', 'dead', 'waiting')
returning delivery.id",
    kinds: &[Text, Text, Int],
};

/// A lane that gets no entry after all is deleted by its next claimer.
static LANES: Sql = Sql {
    text: "with v(account_id, lane, due_at, rank) as (values {rows})
insert {or_rollback} into lane (account_id, lane, fence, due_at, rank)
select account_id, lane, 0, due_at, rank
from v
where account_id is not null
on conflict (account_id, lane) do update
set due_at = case when lane.owner is null then excluded.due_at else lane.due_at end,
  rank = {least}(lane.rank, excluded.rank)",
    kinds: &[Text, Bytes, Int, Int],
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
