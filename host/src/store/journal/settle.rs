//! Ends a try of a delivery: its state, the attempt, ledger outcomes and links, and the lanes it held, all at once.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use super::ledger::{self, Finished};
use super::links::{Change, Changes, Link, LinkKey, To};
use super::misses::{Missed, Misses, SealedMiss};
use super::record::{Record, Records};
use super::warnings::{Counted, Warnings};
use super::{Journal, Lease, State, column, run, search};
use crate::flow::ran::Ran;
use crate::store::database::{Answers, Kind, Part, Script, Sql, Value};
use crate::store::failure::Failure;
use crate::store::writer::Command;
use crate::store::{Error, now_ms};
use crate::vault::Place;
use Kind::{Bytes, Int, Text};

/// How a try of a delivery ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    Delivered,
    Skipped,
    /// Tried again at this time; its lanes wait with it.
    Waiting {
        due_at_ms: i64,
    },
    /// Waits for a person or for its flow; its lanes go on.
    Parked,
    /// Comes back to its place in its lanes at this time; until then they go on without it.
    Aside {
        due_at_ms: i64,
    },
    /// Failed for good; `hold` keeps its lanes waiting until a person decides.
    Dead {
        hold: bool,
    },
}

impl Settled {
    /// The state that the delivery takes.
    pub fn state(self) -> State {
        match self {
            Settled::Delivered => State::Delivered,
            Settled::Skipped => State::Skipped,
            Settled::Waiting { .. } => State::Waiting,
            Settled::Parked | Settled::Aside { .. } => State::Parked,
            Settled::Dead { .. } => State::Dead,
        }
    }

    /// Whether it stays at the head of its lanes.
    fn holds(self) -> bool {
        matches!(self, Settled::Waiting { .. } | Settled::Dead { hold: true })
    }
}

/// One try of a delivery; codes only, no message text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// How far it came: `mapping`, `look-up`, `write`, ...
    pub stage: String,
    pub code: String,
    pub started_at_ms: i64,
    pub duration_ms: i64,
}

/// What a try of a delivery came to.
pub struct Settlement {
    pub state: Settled,
    /// A code, shown and counted.
    pub reason: String,
    /// A sentence for people without patient data.
    pub detail: String,
    /// What a component or LeadSquared said; may tell about the patient, so it is sealed.
    pub note: Option<String>,
    pub attempt: Attempt,
    pub finished: Vec<Finished>,
    pub links: Vec<Link>,
    /// Links that turned out to lead nowhere.
    pub forget: Vec<LinkKey>,
    /// What those links led to is gone, and with it what lay under it.
    pub forget_below: bool,
    pub records: Vec<Record>,
    /// Ids of what was written: the message can be found by them. Kept as hashes.
    pub found_by: Vec<String>,
    /// Codes that tables had no entry for.
    pub misses: Vec<Missed>,
    /// The one whose entry a parked delivery waits for; among the misses.
    pub awaits: Option<Missed>,
    /// The mapping's run of this try; none keeps what an earlier one noted.
    pub ran: Option<Ran>,
}

impl fmt::Debug for Settlement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settlement")
            .field("state", &self.state)
            .field("reason", &self.reason)
            .finish_non_exhaustive()
    }
}

impl Journal {
    /// Settles a claimed delivery and frees its lanes, atomically; durable on return.
    ///
    /// # Errors
    /// `LeaseLost` when another worker has claimed the lane since: nothing was changed.
    pub async fn settle(&self, lease: &Lease, settlement: Settlement) -> Result<(), Error> {
        let now = now_ms();
        let account: Arc<str> = lease.account.as_str().into();
        let note = settlement
            .note
            .map(|note| {
                let place = Place {
                    account: &account,
                    id: lease.delivery.as_str(),
                    column: column::NOTE,
                };
                self.shared.vault.seal(&place, note.as_bytes())
            })
            .transpose()?
            .map(Arc::<[u8]>::from);
        let due = match settlement.state {
            Settled::Waiting { due_at_ms } | Settled::Aside { due_at_ms } => Some(due_at_ms),
            _ => None,
        };
        let gone = match settlement.forget_below {
            true => To::ForgetWithAllBelow,
            false => To::Forget,
        };
        let forget = settlement.forget.iter().map(|key| (key, gone.clone()));
        let keep = settlement
            .links
            .iter()
            .map(|link| {
                let to = (
                    self.kept_target(&lease.account, link)?.as_str().into(),
                    Value::optional_text(link.to.parent.as_deref()),
                );
                Ok((&link.key, To::Keep(to.0, to.1)))
            })
            .collect::<Result<Vec<_>, Error>>()?;
        let awaits = settlement.awaits.as_ref();
        let awaits = awaits.map(|missed| self.missed_id(&lease.account, missed));
        let settle = Settle {
            lanes: lease.lanes.clone(),
            fence: lease.fence,
            seq: lease.seq,
            holds: settlement.state.holds(),
            due,
            delivery: vec![
                (&account).into(),
                lease.delivery.as_str().into(),
                settlement.state.state().as_str().into(),
                Value::optional_int(due),
                now.into(),
                settlement.reason.as_str().into(),
                settlement.detail.as_str().into(),
                Value::optional_bytes(note.as_ref()),
                i64::from(settlement.state.holds()).into(),
                Value::optional_text(awaits.as_deref()),
            ],
            attempt: vec![
                (&account).into(),
                lease.delivery.as_str().into(),
                i64::from(lease.attempt).into(),
                settlement.attempt.stage.as_str().into(),
                settlement.attempt.code.as_str().into(),
                settlement.attempt.started_at_ms.into(),
                settlement.attempt.duration_ms.into(),
            ],
            finished: ledger::finished_rows(lease, &settlement.finished, now),
            links: forget
                .chain(keep)
                .map(|(key, to)| (self.link_hash(&lease.account, key), to))
                .collect(),
            records: settlement.records,
            misses: self.sealed_misses(&lease.account, &settlement.misses)?,
            ran: match &settlement.ran {
                Some(ran) => self.ran_row(&account, &lease.delivery, ran)?,
                None => Vec::new(),
            },
            rest: Box::new(Rest {
                found_by: self.found_row(lease, &settlement.found_by),
                // What is tried again by itself is counted when it has come to rest.
                counted: match settlement.state {
                    Settled::Waiting { .. } | Settled::Aside { .. } => None,
                    _ => settlement.ran.as_ref().map(Counted::of),
                },
            }),
            account,
        };
        self.shared
            .writer
            .send(|reply| Command::Settle { settle, reply })
            .await
    }
}

/// Frees the first lane of each delivery; those that come back were held. A lane is open once a delivery has left it.
static FREE: Sql = Sql {
    text: "with v(account_id, lane, fence, due_at, leaves) as (values {rows})
update {or_rollback} lane set owner = null, due_at = v.due_at,
  opened = case when v.leaves = 1 then 1 else lane.opened end
from v
where lane.account_id = v.account_id and lane.lane = v.lane and lane.fence = v.fence and lane.owner is not null
returning lane.account_id, lane.lane, lane.fence",
    kinds: &[Text, Bytes, Int, Int, Int],
};

/// Frees the other lanes of merges, unless somebody else works on them by now.
static FREE_OTHERS: Sql = Sql {
    text: "with v(account_id, lane, fence, due_at) as (values {rows})
update {or_rollback} lane set owner = null, due_at = v.due_at
from v
where lane.account_id = v.account_id and lane.lane = v.lane and (lane.owner is null or lane.fence = v.fence)",
    kinds: &[Text, Bytes, Int, Int],
};

static DELIVERIES: Sql = Sql {
    text: "with v(account_id, id, state, due_at, updated_at, reason, detail, note, holds, awaits) as (values {rows})
update {or_rollback} delivery set state = v.state, due_at = v.due_at, updated_at = v.updated_at, reason = v.reason,
  detail = v.detail, note = v.note, holds = v.holds, awaits = v.awaits
from v
where delivery.account_id = v.account_id and delivery.id = v.id",
    kinds: &[Text, Text, Text, Int, Int, Text, Text, Bytes, Int, Text],
};

static ATTEMPTS: Sql = Sql {
    text: "with v(account_id, delivery_id, number, stage, code, started_at, duration_ms) as (values {rows})
insert {or_rollback} into attempt (account_id, delivery_id, number, stage, code, started_at, duration_ms)
select account_id, delivery_id, number, stage, code, started_at, duration_ms from v
where account_id is not null",
    kinds: &[Text, Text, Int, Text, Text, Int, Int],
};

static LEAVE: Sql = Sql {
    text:
        "with v(account_id, lane, seq) as (values {rows})
delete from lane_entry
where (account_id, lane, seq) in (select account_id, lane, seq from v where account_id is not null)",
    kinds: &[Text, Bytes, Int],
};

/// Deletes lanes without entries; they must have been locked by a statement before this one.
pub(super) static EMPTY_LANES: Sql = Sql {
    text: "with v(account_id, lane) as (values {rows})
delete from lane
where (account_id, lane) in (select account_id, lane from v where account_id is not null) and owner is null
and not exists (
  select 1 from lane_entry x where x.account_id = lane.account_id and x.lane = lane.lane)
returning lane.lane",
    kinds: &[Text, Bytes],
};

/// A settlement, sealed and hashed.
pub(in crate::store) struct Settle {
    account: Arc<str>,
    lanes: Vec<Arc<[u8]>>,
    fence: i64,
    seq: i64,
    holds: bool,
    due: Option<i64>,
    delivery: Vec<Value>,
    attempt: Vec<Value>,
    finished: Vec<Value>,
    links: Vec<Change>,
    records: Vec<Record>,
    misses: Vec<SealedMiss>,
    ran: Vec<Value>,
    rest: Box<Rest>,
}

/// What a settlement adds beside its delivery.
struct Rest {
    counted: Option<Counted>,
    /// Columns of [`search::FOUND`].
    found_by: Vec<Value>,
}

impl Settle {
    /// When its first lane is due again: at the retry, never while it is held, else at once.
    fn due(&self, now: i64) -> Value {
        if self.holds {
            Value::optional_int(self.due)
        } else {
            now.into()
        }
    }
}

/// The settlements that hold their leases.
///
/// The fence is part of it: an old worker's settlement may be in the same batch as the new one's.
pub(in crate::store) struct Held(HashSet<(Arc<str>, Arc<[u8]>, i64)>);

impl Held {
    pub(in crate::store) fn has(&self, settle: &Settle) -> bool {
        self.0.contains(&(
            settle.account.clone(),
            settle.lanes[0].clone(),
            settle.fence,
        ))
    }
}

/// Step one: frees the lanes, and so finds out who holds them.
pub(in crate::store) fn free(script: &mut Script, settles: &[&Settle], now: i64) -> Part {
    let rows = settles
        .iter()
        .flat_map(|settle| {
            [
                (&settle.account).into(),
                (&settle.lanes[0]).into(),
                settle.fence.into(),
                settle.due(now),
                i64::from(!settle.holds).into(),
            ]
        })
        .collect();
    script.rows(&FREE, rows)
}

pub(in crate::store) fn held(answers: &mut Answers, part: &Part) -> Result<Held, Failure> {
    answers
        .of(part)
        .iter()
        .map(|row| Ok((row.text(0)?, row.bytes(1)?, row.int(2)?)))
        .collect::<Result<_, _>>()
        .map(Held)
}

/// Step two, for those that are held: everything else; gives the lanes to be emptied and how many they are.
pub(in crate::store) fn write(script: &mut Script, settles: &[&Settle], now: i64) -> (Part, usize) {
    let mut deliveries = Vec::new();
    let mut attempts = Vec::new();
    let mut finished = Vec::new();
    let mut links = Changes::default();
    let mut records = Records::default();
    let mut misses = Misses::default();
    let mut found = Vec::new();
    let mut runs = Vec::new();
    let mut warnings = Warnings::default();
    let mut leave = Vec::new();
    let mut others = Vec::new();
    let mut left = Vec::new();
    let mut lanes_left = 0;
    for settle in settles {
        deliveries.extend(settle.delivery.iter().cloned());
        attempts.extend(settle.attempt.iter().cloned());
        finished.extend(settle.finished.iter().cloned());
        links.add(&settle.account, &settle.links);
        records.add(&settle.account, &settle.records);
        misses.add(&settle.account, &settle.misses);
        found.extend(settle.rest.found_by.iter().cloned());
        runs.extend(settle.ran.iter().cloned());
        if let Some(counted) = &settle.rest.counted {
            warnings.add(&settle.account, counted);
        }
        for (at, lane) in settle.lanes.iter().enumerate() {
            let (account, lane) = (Value::from(&settle.account), Value::from(lane));
            if at > 0 {
                // While the merge stays at their heads, only its first lane is due for it.
                let due = if settle.holds {
                    Value::Null(Int)
                } else {
                    now.into()
                };
                others.extend([account.clone(), lane.clone(), settle.fence.into(), due]);
            }
            if !settle.holds {
                leave.extend([account.clone(), lane.clone(), settle.seq.into()]);
                left.extend([account, lane]);
                lanes_left += 1;
            }
        }
    }
    script.rows(&DELIVERIES, deliveries);
    script.rows(&ATTEMPTS, attempts);
    ledger::finish(script, finished);
    links.write(script, now);
    records.write(script, now);
    misses.write(script);
    script.rows(&search::FOUND, found);
    script.rows(&run::KEEP, runs);
    warnings.write(script);
    script.rows(&LEAVE, leave);
    script.rows(&FREE_OTHERS, others);
    (script.rows(&EMPTY_LANES, left), lanes_left)
}
