//! Keeps what arrived: the message, a delivery for each flow, its place in the lanes, its search values.
//!
//! Sealing and hashing happen on the caller's task; the writer only inserts.
//! A repeated message is answered with what was answered the first time, see [`identity`](super::identity).

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;

use super::identity::{DuplicateKey, Identity, Verdict};
use super::{FACTS, HASH_BYTES, Journal, State, WHOLE, column, delivery_id};
use crate::flow::{AccountId, ChannelId, Digest, Direction, FlowId, MessageId};
use crate::store::Error;
use crate::store::database::{Kind, Script, Sql, Value};
use crate::store::writer::Command;
use crate::vault::Place;

/// One message as it came in, with what is known of it.
pub struct Arrival {
    pub id: MessageId,
    pub account: AccountId,
    pub channel: ChannelId,
    pub direction: Direction,
    pub received_at_ms: i64,
    /// Byte for byte; sealed.
    pub payload: Vec<u8>,
    /// Keep neither payload nor patient keys nor search values, whatever they are: the message is excluded.
    pub facts_only: bool,
    /// MSH-10, or empty.
    pub control_id: String,
    /// `ADT^A04`, or what stands in its place.
    pub event: String,
    /// MSH-3 and MSH-4, for people.
    pub sender: String,
    /// MSH-12.
    pub version: String,
    /// None for messages that are never taken for repeated.
    pub duplicate: Option<DuplicateKey>,
    /// Patient keys; kept as hashes. None: the message has a lane of its own.
    pub lanes: Vec<String>,
    /// What the message can be found by; kept as hashes.
    pub search: Vec<String>,
    /// What is answered, and answered again when the message is repeated; sealed.
    pub acknowledgement: Vec<u8>,
    /// Oddities of the message: codes with offsets, for people; no patient data.
    pub warnings: String,
    /// Who sent it as the connection tells: address, and the subject of its certificate.
    pub peer: String,
    /// The load of existing data that it belongs to.
    pub load: Option<String>,
    /// What it was made from, if it was sent again.
    pub origin: Option<Origin>,
    pub route: Route,
}

/// The message that another one was made from by a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    pub message: MessageId,
    /// The release that it goes through, instead of the flow's own.
    pub pinned: Option<Digest>,
}

impl fmt::Debug for Arrival {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Arrival")
            .field("id", &self.id)
            .field("account", &self.account)
            .field("event", &self.event)
            .field("size", &self.payload.len())
            .finish_non_exhaustive()
    }
}

/// What happens to a message. Codes and texts hold no patient data.
#[derive(Debug, Clone)]
pub enum Route {
    /// In the order in which deliveries of this message run.
    Flows(Vec<Routed>),
    /// Kept out by a rule of its channel: nothing to do, and nothing of it is shown.
    Excluded { reason: &'static str, text: String },
    /// Kept, and nothing to do.
    Skipped { reason: &'static str, text: String },
    /// Kept, and answered negatively.
    Rejected { reason: &'static str, text: String },
}

/// One flow that takes the message.
#[derive(Debug, Clone)]
pub struct Routed {
    pub flow: FlowId,
    pub start: Start,
    pub rank: Rank,
}

/// Which lanes are taken first when there is more to do than can be done; the lowest number first.
///
/// A lane has the rank of the most urgent delivery that went into it: what is in front of an appointment goes with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank(u8);

impl Rank {
    /// The last of all.
    pub const LAST: Rank = Rank(3);

    /// 0 goes first; numbers over the last count as the last.
    pub fn new(number: u8) -> Self {
        Self(number).min(Self::LAST)
    }

    pub fn number(self) -> u8 {
        self.0
    }
}

/// How a delivery begins.
#[derive(Debug, Clone)]
pub enum Start {
    Queued,
    /// Kept until released (its flow is paused); holds nobody up.
    Parked {
        reason: &'static str,
        text: String,
    },
}

/// What became of an arrival.
#[derive(Clone, PartialEq, Eq)]
pub enum Appended {
    Stored,
    /// The same identity and payload came within seven days: nothing was kept.
    Duplicate {
        message: MessageId,
        /// What was answered the first time; none once that is no longer kept.
        acknowledgement: Option<Vec<u8>>,
    },
}

impl fmt::Debug for Appended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Appended::Stored => f.write_str("Stored"),
            Appended::Duplicate { message, .. } => write!(f, "Duplicate({message})"),
        }
    }
}

impl Journal {
    /// Keeps all messages of one receipt in one transaction; durable on return.
    ///
    /// # Errors
    /// `Unavailable` when the storage is full or gone: answer nothing positive, the sender repeats it.
    pub async fn append(&self, arrivals: Vec<Arrival>) -> Result<Vec<Appended>, Error> {
        let accounts: Vec<AccountId> = arrivals.iter().map(|a| a.account.clone()).collect();
        let entries = arrivals
            .into_iter()
            .map(|arrival| self.seal(arrival))
            .collect::<Result<_, _>>()?;
        let kept = self
            .shared
            .writer
            .send(|reply| Command::Append { entries, reply })
            .await?;
        self.shared.recent.add(kept.len() as u64);
        kept.into_iter()
            .zip(accounts)
            .map(|(kept, account)| match kept {
                Kept::Stored => Ok(Appended::Stored),
                Kept::Duplicate { message, sealed } => {
                    let place = Place {
                        account: account.as_str(),
                        id: &message,
                        column: column::ACKNOWLEDGEMENT,
                    };
                    Ok(Appended::Duplicate {
                        acknowledgement: sealed
                            .map(|sealed| self.shared.vault.open(&place, &sealed))
                            .transpose()?,
                        message: message.as_ref().into(),
                    })
                }
            })
            .collect()
    }

    fn seal(&self, arrival: Arrival) -> Result<Entry, Error> {
        let account = arrival.account.as_str();
        let id = arrival.id.as_str();
        let seal = |column, plain: &[u8]| {
            let place = Place {
                account,
                id,
                column,
            };
            self.shared.vault.seal(&place, plain).map(Arc::<[u8]>::from)
        };
        let identity = arrival.duplicate.as_ref().map(|duplicate| {
            let key = self.hash(&arrival.account, "duplicate", &duplicate.identity);
            Identity::new(&arrival.control_id, key, &duplicate.payload)
        });
        let lane_kind = match arrival.direction {
            Direction::EhrToLeadSquared => "lane ehr-to-leadsquared",
            Direction::LeadSquaredToEhr => "lane leadsquared-to-ehr",
        };
        // Sorted, so that the lowest comes first: it is the one under whose lease a delivery of several lanes runs.
        let kept = if arrival.facts_only { FACTS } else { WHOLE };
        let mut lanes: BTreeSet<Arc<[u8]>> = arrival
            .lanes
            .iter()
            .filter(|_| !arrival.facts_only)
            .map(|key| self.hash(&arrival.account, lane_kind, key))
            .collect();
        if lanes.is_empty() {
            lanes.insert(self.hash(&arrival.account, "lane message", id));
        }
        let search: BTreeSet<Arc<[u8]>> = arrival
            .search
            .iter()
            .filter(|_| !arrival.facts_only)
            .map(|value| self.search_key(&arrival.account, value))
            .collect();
        let (route, reason, text, routed) = match arrival.route {
            Route::Flows(routed) => ("flows", "", String::new(), routed),
            Route::Excluded { reason, text } => ("excluded", reason, text, Vec::new()),
            Route::Skipped { reason, text } => ("skipped", reason, text, Vec::new()),
            Route::Rejected { reason, text } => ("rejected", reason, text, Vec::new()),
        };
        let origin = arrival.origin.as_ref();
        let pinned = origin.and_then(|origin| origin.pinned.as_ref());
        let acknowledgement = seal(column::ACKNOWLEDGEMENT, &arrival.acknowledgement)?;
        let payload = match arrival.facts_only {
            true => None,
            false => Some(seal(column::PAYLOAD, &arrival.payload)?),
        };
        Ok(Entry {
            account: account.into(),
            id: id.into(),
            received_at: arrival.received_at_ms,
            facts: vec![
                arrival.direction.as_str().into(),
                arrival.channel.as_str().into(),
                arrival.received_at_ms.into(),
                arrival.event.as_str().into(),
                arrival.control_id.as_str().into(),
                arrival.sender.as_str().into(),
                arrival.version.as_str().into(),
                route.into(),
                reason.into(),
                text.as_str().into(),
            ],
            sealed: vec![
                arrival.warnings.as_str().into(),
                arrival.peer.as_str().into(),
                (arrival.payload.len() as i64).into(),
                kept.into(),
                Value::optional_text(arrival.load.as_deref()),
                Value::optional_text(origin.map(|origin| origin.message.as_str())),
                Value::optional_text(pinned.map(Digest::as_str)),
                (&acknowledgement).into(),
                Value::optional_bytes(payload.as_ref()),
            ],
            acknowledgement,
            identity,
            routed,
            all_lanes: lanes.iter().flat_map(|lane| lane.iter().copied()).collect(),
            lanes: lanes.into_iter().collect(),
            search: search.iter().flat_map(|key| key.iter().copied()).collect(),
        })
    }
}

/// An arrival, sealed and hashed.
pub(in crate::store) struct Entry {
    pub(super) account: Arc<str>,
    pub(super) id: Arc<str>,
    pub(super) received_at: i64,
    /// Columns of `message` from `direction` to `detail`.
    facts: Vec<Value>,
    /// Columns of `message` from `warnings` to `payload`.
    sealed: Vec<Value>,
    pub(super) acknowledgement: Arc<[u8]>,
    pub(super) identity: Option<Identity>,
    routed: Vec<Routed>,
    lanes: Vec<Arc<[u8]>>,
    all_lanes: Arc<[u8]>,
    /// Hashes one behind the other.
    search: Arc<[u8]>,
}

impl Entry {
    /// How many numbers of the sequence it takes: one for itself and one for each delivery.
    pub(in crate::store) fn numbers(&self) -> i64 {
        1 + self.routed.len() as i64
    }

    pub(in crate::store) fn size(&self) -> usize {
        self.sealed
            .iter()
            .map(|value| match value {
                Value::Bytes(bytes) => bytes.len(),
                _ => 0,
            })
            .sum()
    }
}

/// What the writer answers.
pub(in crate::store) enum Kept {
    Stored,
    Duplicate {
        message: Arc<str>,
        sealed: Option<Arc<[u8]>>,
    },
}

use Kind::{Bytes, Int, Text};

static MESSAGES: Sql = Sql {
    text: "with v(account_id, id, seq, direction, channel_id, received_at, event, control_id, sender, version, route,
  reason, detail, remark, warnings, peer, size, kept, load_id, origin, pinned, acknowledgement, payload) as (values {rows})
insert {or_rollback} into message (account_id, id, seq, direction, channel_id, received_at, event, control_id, sender, version, route,
  reason, detail, remark, warnings, peer, size, kept, load_id, origin, pinned, acknowledgement, payload)
select account_id, id, seq, direction, channel_id, received_at, event, control_id, sender, version, route,
  reason, detail, remark, warnings, peer, size, kept, load_id, origin, pinned, acknowledgement, payload from v
where account_id is not null",
    kinds: &[
        Text, Text, Int, Text, Text, Int, Text, Text, Text, Text, Text, Text, Text, Text, Text, Text, Int, Text, Text, Text,
        Text, Bytes, Bytes,
    ],
};

static DELIVERIES: Sql = Sql {
    text: "with v(account_id, id, message_id, flow_id, seq, state, updated_at, reason, detail, lanes, rank) as (values {rows})
insert {or_rollback} into delivery (account_id, id, message_id, flow_id, seq, state, attempts, updated_at, reason, detail, holds, lanes, rank)
select account_id, id, message_id, flow_id, seq, state, 0, updated_at, reason, detail, 0, lanes, rank from v
where account_id is not null",
    kinds: &[Text, Text, Text, Text, Int, Text, Int, Text, Text, Bytes, Int],
};

/// The update locks the lane, so that a settling host cannot delete it as empty while an entry is on its way.
static LANES: Sql = Sql {
    text: "with v(account_id, lane, due_at, rank) as (values {rows})
insert {or_rollback} into lane (account_id, lane, fence, due_at, rank)
select account_id, lane, 0, due_at, rank from v
where account_id is not null
on conflict (account_id, lane) do update set rank = {least}(lane.rank, excluded.rank)",
    kinds: &[Text, Bytes, Int, Int],
};

static ENTRIES: Sql = Sql {
    text: "with v(account_id, lane, seq, delivery_id) as (values {rows})
insert {or_rollback} into lane_entry (account_id, lane, seq, delivery_id)
select account_id, lane, seq, delivery_id from v
where account_id is not null",
    kinds: &[Text, Bytes, Int, Text],
};

static RECENT: Sql = Sql {
    text: "with v(seq, account_id, message_id, keys) as (values {rows})
insert {or_rollback} into search_recent (seq, account_id, message_id, keys)
select seq, account_id, message_id, keys from v
where account_id is not null",
    kinds: &[Int, Text, Text, Bytes],
};

/// Adds the step that inserts the entries that are not repeated; gives whether anything was queued.
pub(in crate::store) fn insert(
    script: &mut Script,
    entries: &[&Entry],
    verdicts: &HashMap<usize, Verdict>,
    mut next_number: impl FnMut() -> i64,
    now: i64,
) -> bool {
    let mut messages = Vec::new();
    let mut deliveries = Vec::new();
    let mut lanes = BTreeMap::new();
    let mut lane_entries = Vec::new();
    let mut recent = Vec::new();
    for (at, entry) in entries.iter().enumerate() {
        let remark = match verdicts.get(&at) {
            Some(Verdict::Duplicate { .. }) => continue,
            Some(Verdict::Reused) => "control-id-reused",
            Some(Verdict::New) | None => "",
        };
        let account = Value::from(&entry.account);
        let message = Value::from(&entry.id);
        let seq = next_number();
        messages.extend([account.clone(), message.clone(), seq.into()]);
        messages.extend(entry.facts.iter().cloned());
        messages.push(remark.into());
        messages.extend(entry.sealed.iter().cloned());
        if !entry.search.is_empty() {
            let keys = (&entry.search).into();
            recent.extend([seq.into(), account.clone(), message.clone(), keys]);
        }
        for (position, routed) in entry.routed.iter().enumerate() {
            let seq = next_number();
            let id = Value::from(delivery_id(&entry.id, position).as_str());
            let (state, reason, text) = match &routed.start {
                Start::Queued => (State::Queued, "", ""),
                Start::Parked { reason, text } => (State::Parked, *reason, text.as_str()),
            };
            deliveries.extend([
                account.clone(),
                id.clone(),
                message.clone(),
                routed.flow.as_str().into(),
                seq.into(),
                state.as_str().into(),
                now.into(),
                reason.into(),
                text.into(),
                (&entry.all_lanes).into(),
                i64::from(routed.rank.number()).into(),
            ]);
            if state == State::Queued {
                for lane in &entry.lanes {
                    let rank = lanes
                        .entry((entry.account.clone(), lane.clone()))
                        .or_insert(routed.rank);
                    *rank = routed.rank.min(*rank);
                    lane_entries.extend([account.clone(), lane.into(), seq.into(), id.clone()]);
                }
            }
        }
    }
    let queued = !lanes.is_empty();
    // One row for each lane, in one order on all hosts: PostgreSQL locks them as it goes.
    let lanes = lanes
        .into_iter()
        .flat_map(|((account, lane), rank)| {
            let rank = i64::from(rank.number()).into();
            [Value::Text(account), Value::Bytes(lane), now.into(), rank]
        })
        .collect();
    script.rows(&MESSAGES, messages);
    script.rows(&DELIVERIES, deliveries);
    script.rows(&LANES, lanes);
    script.rows(&ENTRIES, lane_entries);
    script.rows(&RECENT, recent);
    queued
}

/// Splits the lanes kept with a delivery; the first is its owner.
pub(super) fn split_lanes(lanes: &[u8]) -> Vec<Arc<[u8]>> {
    lanes.chunks(HASH_BYTES).map(Arc::from).collect()
}
