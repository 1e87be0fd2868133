//! Hands out work: the head of each lane that is due, one delivery a lane.
//!
//! A lane is account, direction and patient key; `lane_entry` holds its live deliveries in order, `lane` who works
//! on it and when it is due. `due_at` is the one clock of a lane: when its head may run, or when the lease of its
//! owner ends; null means that somebody else wakes it.
//!
//! A delivery of several lanes (a merge) runs under the lease of its first lane, and only when it heads all of
//! them and holds all of them. Whoever finds it at the head of another lane puts that lane to sleep and wakes the first.
//! Lanes without entries do not exist, so the table stays as small as what is in hand.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::append::{Rank, split_lanes};
use super::ledger::{self, OperationRow, SealedOperation};
use super::settle::EMPTY_LANES;
use super::{Journal, State, column};
use crate::flow::{AccountId, ChannelId, DeliveryId, Digest, Direction, FlowId, MessageId};
use crate::store::database::{Answers, Kind, Part, Row, Script, Sql, Value};
use crate::store::failure::Failure;
use crate::store::writer::{Command, Planned};
use crate::store::{Error, now_ms};
use crate::vault::Place;
use Kind::{Bytes, Int, Text};

/// How long a claim holds without being renewed; renew every third of it.
pub const LEASE: Duration = Duration::from_secs(15);

/// Proof that a worker holds the lanes of one delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    pub account: AccountId,
    pub delivery: DeliveryId,
    /// Unique for each claim; a ledger row or settlement with another one is refused.
    pub fence: i64,
    /// Which try of the delivery this is, from 1.
    pub attempt: u32,
    pub(super) seq: i64,
    /// The first is the one whose fence is checked.
    pub(super) lanes: Vec<Arc<[u8]>>,
}

impl Lease {
    /// The lane that the delivery is the head of.
    pub fn lane(&self) -> Option<&Arc<[u8]>> {
        self.lanes.first()
    }
}

/// One delivery to work on.
#[derive(Clone)]
pub struct Claimed {
    pub lease: Lease,
    pub account: AccountId,
    pub delivery: DeliveryId,
    pub message: MessageId,
    pub flow: FlowId,
    pub direction: Direction,
    pub channel: ChannelId,
    pub seq: i64,
    /// Which try this is, from 1.
    pub attempt: u32,
    pub received_at_ms: i64,
    pub event: String,
    pub control_id: String,
    /// The lane's: what stands in front of an urgent delivery is urgent.
    pub rank: Rank,
    /// The code that the try before ended with; empty at the first.
    pub last_reason: String,
    /// Whether others waited behind it in its lane when it was claimed.
    pub is_followed: bool,
    /// Whether it is of a load of existing data.
    pub is_loaded: bool,
    /// The release that it goes through, instead of the flow's own.
    pub pinned: Option<Digest>,
    pub payload: Vec<u8>,
    /// Which try this is of those that came to an end, from 1: a process that dies says nothing of the delivery, which does
    /// not wait longer for it.
    pub tries: u32,
    /// What earlier tries noted in the ledger, oldest first.
    pub operations: Vec<OperationRow>,
}

impl fmt::Debug for Claimed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claimed")
            .field("lease", &self.lease)
            .field("flow", &self.flow)
            .field("event", &self.event)
            .field("size", &self.payload.len())
            .finish_non_exhaustive()
    }
}

impl Journal {
    /// Claims up to `max` lanes that are due and gives the delivery at the head of each, for `lease`.
    ///
    /// An empty answer means "nothing now", not "nothing left": see [`Journal::notified`] and [`Journal::next_due_at`].
    pub async fn claim(
        &self,
        owner: &str,
        max: usize,
        lease: Duration,
    ) -> Result<Vec<Claimed>, Error> {
        let claim = Claim {
            owner: owner.into(),
            max: max as i64,
            lease_ms: lease.as_millis() as i64,
        };
        let heads = self
            .shared
            .writer
            .send(|reply| Command::Claim { claim, reply })
            .await?;
        heads.into_iter().map(|head| self.open(head)).collect()
    }

    fn open(&self, head: Head) -> Result<Claimed, Error> {
        let place = Place {
            account: &head.account,
            id: &head.message,
            column: column::PAYLOAD,
        };
        let payload = self.shared.vault.open(&place, &head.payload)?;
        let operations = head
            .operations
            .iter()
            .map(|operation| operation.open(&self.shared.vault, &head.account))
            .collect::<Result<_, _>>()?;
        let account = AccountId::from(head.account.as_ref());
        let delivery = DeliveryId::from(head.delivery.as_ref());
        Ok(Claimed {
            lease: Lease {
                account: account.clone(),
                delivery: delivery.clone(),
                fence: head.fence,
                attempt: head.attempt,
                seq: head.seq,
                lanes: split_lanes(&head.lanes),
            },
            account,
            delivery,
            message: head.message.as_ref().into(),
            flow: head.flow.as_ref().into(),
            direction: if head.direction.as_ref() == Direction::LeadSquaredToEhr.as_str() {
                Direction::LeadSquaredToEhr
            } else {
                Direction::EhrToLeadSquared
            },
            channel: head.channel.as_ref().into(),
            seq: head.seq,
            attempt: head.attempt,
            received_at_ms: head.received_at,
            event: head.event,
            control_id: head.control_id,
            rank: Rank::new(u8::try_from(head.rank).unwrap_or(u8::MAX)),
            last_reason: head.reason,
            is_followed: head.is_followed,
            is_loaded: head.is_loaded,
            pinned: head.pinned.map(Digest::from),
            tries: u32::try_from(head.tries + 1).unwrap_or(u32::MAX),
            payload,
            operations,
        })
    }

    /// Makes all leases of `owner` that have not run out hold for `lease` from now.
    pub async fn renew(&self, owner: &str, lease: Duration) -> Result<(), Error> {
        let now = now_ms();
        let until = now + lease.as_millis() as i64;
        // Leased lanes are due when their lease ends, so the index of due times leads to them.
        let values = vec![until.into(), now.into(), until.into(), owner.into()];
        self.shared
            .writer
            .plain(vec![Planned::one(&RENEW, values)], false)
            .await?;
        Ok(())
    }

    /// Gives all lanes of `owner` back at once; for a clean stop, after its work in hand is settled.
    pub async fn release_all(&self, owner: &str) -> Result<(), Error> {
        self.shared
            .writer
            .plain(give_back(owner, now_ms()), true)
            .await?;
        Ok(())
    }

    /// The time at which the next lane is due, in epoch milliseconds; none when nothing is in hand.
    pub async fn next_due_at(&self) -> Result<Option<i64>, Error> {
        // The writer is asked: SQLite's lanes are known to its connection alone.
        let plan = vec![Planned::read(&NEXT_DUE, vec![0.into()])];
        let answers = self.shared.writer.plain(plan, false).await?;
        Ok(match answers.first().and_then(|rows| rows.first()) {
            Some(row) => row.optional(0, Row::int)?,
            None => None,
        })
    }
}

/// Statements that free the lanes of `owner`.
fn give_back(owner: &str, now: i64) -> Vec<Planned> {
    [&UNMARK_RUNNING, &FREE_ALL]
        .into_iter()
        .map(|sql| Planned::one(sql, vec![now.into(), owner.into()]))
        .collect()
}

static RENEW: Sql = Sql {
    text: "update {or_rollback} lane set due_at = ?
where rank in (0, 1, 2, 3) and due_at > ? and due_at <= ? and owner = ?",
    kinds: &[],
};

static NEXT_DUE: Sql = Sql {
    text: "with first(due_at) as (
  select min(due_at) from lane where rank = 0 and due_at is not null
  union all select min(due_at) from lane where rank = 1 and due_at is not null
  union all select min(due_at) from lane where rank = 2 and due_at is not null
  union all select min(due_at) from lane where rank = 3 and due_at is not null)
select min(due_at) from first where due_at >= ?",
    kinds: &[],
};

static UNMARK_RUNNING: Sql = Sql {
    text: "update {or_rollback} delivery set state = 'queued', updated_at = ?
where state = 'running' and (account_id, id) in (
  select e.account_id, e.delivery_id from lane l
  join lane_entry e on e.account_id = l.account_id and e.lane = l.lane
  where l.owner = ?
  and e.seq = (select min(x.seq) from lane_entry x where x.account_id = l.account_id and x.lane = l.lane))",
    kinds: &[],
};

static FREE_ALL: Sql = Sql {
    text: "update {or_rollback} lane set owner = null, due_at = ?
where owner = ?",
    kinds: &[],
};

/// Takes the lanes of the lowest rank, and of these those that have been due longest.
///
/// A bare `limit ?` makes SQLite plan the whole statement anew for each value, and this one runs all the time.
static TAKE: Sql = Sql {
    text: "with due as (
  select * from (select account_id, lane from lane where rank = 0 and due_at <= ? order by due_at limit ? + 0 {skip_locked}) r0
  union all
  select * from (select account_id, lane from lane where rank = 1 and due_at <= ? order by due_at limit ? + 0 {skip_locked}) r1
  union all
  select * from (select account_id, lane from lane where rank = 2 and due_at <= ? order by due_at limit ? + 0 {skip_locked}) r2
  union all
  select * from (select account_id, lane from lane where rank = 3 and due_at <= ? order by due_at limit ? + 0 {skip_locked}) r3
  limit ? + 0)
update {or_rollback} lane set owner = ?, fence = ?, due_at = ?
from due
where lane.account_id = due.account_id and lane.lane = due.lane
returning lane.account_id, lane.lane",
    kinds: &[],
};

static HEADS: Sql = Sql {
    text: "with v(account_id, lane) as (values {rows}),
head as (
  select v.account_id, v.lane,
    (select min(x.seq) from lane_entry x where x.account_id = v.account_id and x.lane = v.lane) as seq
  from v where v.account_id is not null)
select h.account_id, h.lane, d.seq, d.id, d.message_id, d.flow_id, d.state, d.due_at, d.attempts, d.lanes,
  m.direction, m.channel_id, m.received_at, m.event, m.control_id, m.payload, l.rank, d.reason,
  (select min(y.seq) from lane_entry y where y.account_id = h.account_id and y.lane = h.lane and y.seq > h.seq),
  m.load_id,
  case when d.attempts > 0
    then (select count(*) from attempt t where t.account_id = d.account_id and t.delivery_id = d.id) else 0 end,
  m.pinned
from head h
join lane l on l.account_id = h.account_id and l.lane = h.lane
left join lane_entry e on e.account_id = h.account_id and e.lane = h.lane and e.seq = h.seq
left join delivery d on d.account_id = e.account_id and d.id = e.delivery_id
left join message m on m.account_id = d.account_id and m.id = d.message_id",
    kinds: &[Text, Bytes],
};

static PUT_BACK: Sql = Sql {
    text: "with v(account_id, lane, fence, due_at) as (values {rows})
update {or_rollback} lane set owner = null, due_at = v.due_at
from v
where lane.account_id = v.account_id and lane.lane = v.lane and lane.fence = v.fence",
    kinds: &[Text, Bytes, Int, Int],
};

/// Takes the other lanes of a merge where it heads them and nobody works on them.
static TAKE_OTHERS: Sql = Sql {
    text: "with v(account_id, lane, seq, owner, fence, due_at) as (values {rows})
update {or_rollback} lane set owner = v.owner, fence = v.fence, due_at = v.due_at
from v
where lane.account_id = v.account_id and lane.lane = v.lane and lane.owner is null
and not exists (
  select 1 from lane_entry x
  where x.account_id = v.account_id and x.lane = v.lane and x.seq < v.seq)
returning lane.lane",
    kinds: &[Text, Bytes, Int, Text, Int, Int],
};

static WAKE: Sql = Sql {
    text: "with v(account_id, lane, due_at) as (values {rows})
update {or_rollback} lane set due_at = v.due_at
from v
where lane.account_id = v.account_id and lane.lane = v.lane and lane.owner is null",
    kinds: &[Text, Bytes, Int],
};

static RUNNING: Sql = Sql {
    text: "with v(account_id, id, updated_at) as (values {rows})
update {or_rollback} delivery set state = 'running', attempts = delivery.attempts + 1, due_at = null, updated_at = v.updated_at
from v
where delivery.account_id = v.account_id and delivery.id = v.id",
    kinds: &[Text, Text, Int],
};

pub(in crate::store) struct Claim {
    owner: Arc<str>,
    max: i64,
    lease_ms: i64,
}

/// The delivery at the head of a lane, as the writer hands it out.
pub(in crate::store) struct Head {
    account: Arc<str>,
    fence: i64,
    seq: i64,
    delivery: Arc<str>,
    message: Arc<str>,
    flow: Arc<str>,
    direction: Arc<str>,
    channel: Arc<str>,
    received_at: i64,
    event: String,
    control_id: String,
    attempt: u32,
    lanes: Arc<[u8]>,
    payload: Arc<[u8]>,
    rank: i64,
    reason: String,
    is_followed: bool,
    is_loaded: bool,
    pinned: Option<String>,
    tries: i64,
    operations: Vec<SealedOperation>,
}

/// A claim on its way through the writer's steps.
pub(in crate::store) struct Progress<'a> {
    claim: &'a Claim,
    fence: i64,
    until: i64,
    taken: Part,
    heads: Part,
    run: Vec<Head>,
    merges: Vec<(Head, Part)>,
    asleep: Vec<Value>,
    emptied: Vec<Value>,
    wake: Vec<Value>,
}

impl<'a> Progress<'a> {
    /// Step one: takes lanes that are due.
    pub(in crate::store) fn take(
        claim: &'a Claim,
        script: &mut Script,
        fence: i64,
        now: i64,
    ) -> Self {
        let until = now + claim.lease_ms;
        let mut values = Vec::new();
        for _ in 0..=Rank::LAST.number() {
            values.extend([now.into(), claim.max.into()]);
        }
        values.extend([
            claim.max.into(),
            (&claim.owner).into(),
            fence.into(),
            until.into(),
        ]);
        let taken = script.one(&TAKE, values);
        Self {
            claim,
            fence,
            until,
            taken,
            heads: Part::default(),
            run: Vec::new(),
            merges: Vec::new(),
            asleep: Vec::new(),
            emptied: Vec::new(),
            wake: Vec::new(),
        }
    }

    /// Step two: asks what is at the head of each; gives whether any lane was due.
    pub(in crate::store) fn look(
        &mut self,
        answers: &mut Answers,
        script: &mut Script,
    ) -> Result<bool, Failure> {
        let mut rows = Vec::new();
        for row in answers.of(&self.taken) {
            rows.extend([Value::Text(row.text(0)?), Value::Bytes(row.bytes(1)?)]);
        }
        self.heads = script.rows(&HEADS, rows);
        Ok(!self.heads.is_empty())
    }

    /// Step three: sorts the heads into those that run and lanes that go back.
    pub(in crate::store) fn sort(
        &mut self,
        answers: &mut Answers,
        script: &mut Script,
        now: i64,
    ) -> Result<(), Failure> {
        for row in answers.of(&self.heads) {
            let account = row.text(0)?;
            let lane = row.bytes(1)?;
            if row.is_null(3) {
                self.put_back(&account, &lane, None);
                self.emptied
                    .extend([Value::from(&account), Value::from(&lane)]);
                continue;
            }
            let state = row.text(6)?;
            let due = row.optional(7, Row::int)?.unwrap_or(0);
            if State::parse(&state) == Some(State::Waiting) && due > now {
                self.put_back(&account, &lane, Some(due));
                continue;
            }
            if !["queued", "running", "waiting"].contains(&state.as_ref()) {
                // Held by its flow until a person decides.
                self.put_back(&account, &lane, None);
                continue;
            }
            let lanes = row.bytes(9)?;
            let first: Arc<[u8]> = lanes[..lane.len()].into();
            if first != lane {
                self.put_back(&account, &lane, None);
                self.wake
                    .extend([Value::from(&account), Value::from(&first), now.into()]);
                continue;
            }
            let several = lanes.len() > lane.len();
            let head = Head {
                account,
                fence: self.fence,
                seq: row.int(2)?,
                delivery: row.text(3)?,
                message: row.text(4)?,
                flow: row.text(5)?,
                attempt: u32::try_from(row.int(8)? + 1).unwrap_or(u32::MAX),
                lanes,
                direction: row.text(10)?,
                channel: row.text(11)?,
                received_at: row.int(12)?,
                event: row.string(13)?,
                control_id: row.string(14)?,
                payload: row.bytes(15)?,
                rank: row.int(16)?,
                reason: row.string(17)?,
                is_followed: !row.is_null(18),
                is_loaded: !row.is_null(19),
                pinned: row.optional(21, Row::string)?,
                tries: row.int(20)?,
                operations: Vec::new(),
            };
            if several {
                self.merges.push((head, Part::default()));
            } else {
                self.run.push(head);
            }
        }
        script.rows(&PUT_BACK, std::mem::take(&mut self.asleep));
        Ok(())
    }

    /// Step four, after every claim of the batch has put back what it does not run: takes the other lanes of merges.
    pub(in crate::store) fn take_others(&mut self, script: &mut Script) {
        for (head, part) in &mut self.merges {
            let rows = split_lanes(&head.lanes)
                .iter()
                .skip(1)
                .flat_map(|lane| {
                    [
                        Value::from(&head.account),
                        Value::from(lane),
                        head.seq.into(),
                        (&self.claim.owner).into(),
                        self.fence.into(),
                        self.until.into(),
                    ]
                })
                .collect();
            *part = script.rows(&TAKE_OTHERS, rows);
        }
    }

    pub(in crate::store) fn has_merges(&self) -> bool {
        !self.merges.is_empty()
    }

    /// Step five: gives up merges that do not hold all their lanes, marks the rest as running and asks for their ledgers.
    pub(in crate::store) fn mark(
        &mut self,
        answers: Option<&mut Answers>,
        script: &mut Script,
        now: i64,
    ) -> Result<Part, Failure> {
        if let Some(answers) = answers {
            for (head, part) in std::mem::take(&mut self.merges) {
                let taken = answers.of(&part);
                let lanes = split_lanes(&head.lanes);
                if taken.len() + 1 == lanes.len() {
                    self.run.push(head);
                    continue;
                }
                // Whoever frees the missing lane finds the merge at its head and wakes the first one.
                self.put_back(&head.account, &lanes[0], None);
                for row in taken {
                    self.put_back(&head.account, &row.bytes(0)?, None);
                }
            }
        }
        script.rows(&PUT_BACK, std::mem::take(&mut self.asleep));
        script.rows(&EMPTY_LANES, std::mem::take(&mut self.emptied));
        script.rows(&WAKE, self.wake.clone());
        let mut running = Vec::with_capacity(self.run.len() * 3);
        let mut tried = Vec::new();
        for head in &self.run {
            let (account, delivery) = (Value::from(&head.account), Value::from(&head.delivery));
            if head.attempt > 1 {
                tried.extend([account.clone(), delivery.clone()]);
            }
            running.extend([account, delivery, now.into()]);
        }
        script.rows(&RUNNING, running);
        Ok(script.rows(&ledger::OF_DELIVERIES, tried))
    }

    /// Whether lanes were woken that another claim could take.
    pub(in crate::store) fn woke(&self) -> bool {
        !self.wake.is_empty()
    }

    /// The last step: the heads with their ledgers.
    pub(in crate::store) fn finish(
        self,
        answers: &mut Answers,
        ledgers: &Part,
    ) -> Result<Vec<Head>, Failure> {
        let mut by_delivery: HashMap<(Arc<str>, Arc<str>), Vec<SealedOperation>> = HashMap::new();
        for row in answers.of(ledgers) {
            let operation = SealedOperation::read(&row, 1)?;
            by_delivery
                .entry((row.text(0)?, operation.delivery.clone()))
                .or_default()
                .push(operation);
        }
        Ok(self
            .run
            .into_iter()
            .map(|mut head| {
                let key = (head.account.clone(), head.delivery.clone());
                head.operations = by_delivery.remove(&key).unwrap_or_default();
                head.operations.sort_by(|a, b| a.id.cmp(&b.id));
                head
            })
            .collect())
    }

    fn put_back(&mut self, account: &Arc<str>, lane: &Arc<[u8]>, due: Option<i64>) {
        self.asleep.extend([
            account.into(),
            lane.into(),
            self.fence.into(),
            Value::optional_int(due),
        ]);
    }
}
