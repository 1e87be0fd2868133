//! Lets go of what has been kept long enough: whole messages, payloads that no flow takes, and what hangs on them.
//!
//! A [`Sweep`] looks for what is due with the readers and deletes in small transactions of at most [`ROWS`] rows
//! through the one writer, so that an append never waits long behind it. Ids are UUIDs of version 7, so what is old enough stands at
//! the beginning of each index that a sweep walks, and it need not look at what stays.
//! Links are never touched; duplicate keys live for their seven days, and ledger rows of writes whose outcome is unknown
//! outlive their messages. Deleting is in `retention/remove.rs`.

mod remove;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use super::read::{NEXT_ACCOUNT, NEXT_FLOW};
use super::{Journal, State, first_id};
use crate::flow::retention::{Outcome, Policies};
use crate::flow::{AccountId, ChannelId};
use crate::store::Error;
use crate::store::database::{Kind, Sql, Value};
use Kind::Text;

/// Rows that one transaction of a sweep deletes at most.
pub const ROWS: usize = 512;

/// Messages or keys that are looked at together.
const PAGE: usize = 128;

/// Messages of one channel and outcome that are due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Going {
    pub account: AccountId,
    pub channel: ChannelId,
    pub outcome: Outcome,
    pub messages: u64,
    pub oldest_received_at_ms: i64,
}

/// What a sweep has let go of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Removed {
    /// Messages with everything that hung on them.
    pub messages: u64,
    /// Payloads of messages that no flow takes; their header facts stay.
    pub payloads: u64,
    /// Search values of both.
    pub search_keys: u64,
    pub duplicate_keys: u64,
    /// Ledger rows that had outlived their message.
    pub ledger_rows: u64,
    /// Rows that the largest transaction was to delete.
    pub largest_transaction: usize,
}

impl Removed {
    /// Whether nothing was there to let go of.
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

impl std::ops::AddAssign for Removed {
    fn add_assign(&mut self, other: Self) {
        self.messages += other.messages;
        self.payloads += other.payloads;
        self.search_keys += other.search_keys;
        self.duplicate_keys += other.duplicate_keys;
        self.ledger_rows += other.ledger_rows;
        self.largest_transaction = self.largest_transaction.max(other.largest_transaction);
    }
}

/// A message that is due.
pub(super) struct Due {
    account: Arc<str>,
    id: Arc<str>,
    seq: i64,
    channel: ChannelId,
    outcome: Outcome,
    received_at: i64,
    deliveries: Vec<Arc<str>>,
}

/// One run of an index in the order of age.
enum Run {
    /// Deliveries of a flow in a final state.
    Finished {
        account: String,
        state: State,
        flow: String,
    },
    /// Messages without deliveries.
    Bare {
        account: String,
        outcome: Outcome,
        channel: String,
    },
}

/// The outcome that a delivery's state gives its message; none while it is not finished.
fn outcome(state: State, holds: bool) -> Option<Outcome> {
    match state {
        State::Delivered => Some(Outcome::Delivered),
        State::Skipped => Some(Outcome::Skipped),
        // It waits for a person, and others wait behind it.
        State::Dead if holds => None,
        State::Dead => Some(Outcome::Dead),
        State::Queued | State::Running | State::Waiting | State::Parked => None,
    }
}

/// The word in the column `kept` of messages that have this outcome.
fn kept(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::HeaderFacts => super::FACTS,
        _ => super::WHOLE,
    }
}

/// Goes through everything that may be due, page by page.
struct Walk {
    policies: Policies,
    now: i64,
    runs: VecDeque<Run>,
    /// The id behind which the first run goes on.
    after: String,
}

impl Walk {
    async fn new(journal: &Journal, policies: Policies, now: i64) -> Result<Self, Error> {
        let mut runs = VecDeque::new();
        for account in journal.every(&NEXT_ACCOUNT, &[]).await? {
            for state in [State::Delivered, State::Skipped, State::Dead] {
                let flows = journal
                    .every(&NEXT_FLOW, &[&account, state.as_str()])
                    .await?;
                runs.extend(flows.into_iter().map(|flow| Run::Finished {
                    account: account.clone(),
                    state,
                    flow,
                }));
            }
            for outcome in [Outcome::Unclaimed, Outcome::HeaderFacts] {
                let channels = journal
                    .every(&NEXT_BARE, &[&account, kept(outcome)])
                    .await?;
                runs.extend(channels.into_iter().map(|channel| Run::Bare {
                    account: account.clone(),
                    outcome,
                    channel,
                }));
            }
        }
        Ok(Self {
            policies,
            now,
            runs,
            after: String::new(),
        })
    }

    /// The messages of the next page that are due, perhaps none of them; `None` at the end.
    async fn next(&mut self, journal: &Journal) -> Result<Option<Vec<Due>>, Error> {
        let Some(run) = self.runs.front() else {
            return Ok(None);
        };
        let (due, last) = match run {
            Run::Finished {
                account,
                state,
                flow,
            } => self.finished(journal, account, *state, flow).await?,
            Run::Bare {
                account,
                outcome,
                channel,
            } => self.bare(journal, account, *outcome, channel).await?,
        };
        match last {
            Some(last) => self.after = last,
            None => {
                self.runs.pop_front();
                self.after.clear();
            }
        }
        Ok(Some(due))
    }

    /// The id before which something of `outcome` may be due.
    fn before(&self, outcome: Outcome) -> Value {
        let shortest = self.policies.shortest_ms(outcome);
        first_id(self.now - shortest).as_str().into()
    }

    fn keep_ms(&self, account: &str, channel: &ChannelId, outcome: Outcome) -> i64 {
        let retention = self.policies.channel(&account.into(), channel);
        retention.keep_ms(outcome)
    }

    async fn bare(
        &self,
        journal: &Journal,
        account: &str,
        outcome: Outcome,
        channel: &str,
    ) -> Result<(Vec<Due>, Option<String>), Error> {
        let values = vec![
            account.into(),
            kept(outcome).into(),
            channel.into(),
            self.after.as_str().into(),
            self.before(outcome),
            (PAGE as i64).into(),
        ];
        let rows = journal.shared.one(&BARE, values).await?;
        let channel = ChannelId::from(channel);
        let keep = self.keep_ms(account, &channel, outcome);
        let mut due = Vec::new();
        for row in &rows {
            let received_at = row.int(2)?;
            if received_at + keep <= self.now {
                due.push(Due {
                    account: account.into(),
                    id: row.text(0)?,
                    seq: row.int(1)?,
                    channel: channel.clone(),
                    outcome,
                    received_at,
                    deliveries: Vec::new(),
                });
            }
        }
        let last = match rows.last() {
            Some(row) if rows.len() == PAGE => Some(row.string(0)?),
            _ => None,
        };
        Ok((due, last))
    }

    async fn finished(
        &self,
        journal: &Journal,
        account: &str,
        state: State,
        flow: &str,
    ) -> Result<(Vec<Due>, Option<String>), Error> {
        let Some(of_run) = outcome(state, false) else {
            return Ok((Vec::new(), None));
        };
        let values = vec![
            account.into(),
            state.as_str().into(),
            flow.into(),
            self.after.as_str().into(),
            self.before(of_run),
            (PAGE as i64).into(),
        ];
        let rows = journal.shared.one(&FINISHED, values).await?;
        let ids = rows
            .iter()
            .map(|row| row.string(0))
            .collect::<Result<Vec<_>, _>>()?;
        let last = ids.last().filter(|_| ids.len() == PAGE).cloned();
        // A delivery's id is its message's with a position behind a full stop.
        let found: BTreeMap<&str, &str> = ids
            .iter()
            .rev()
            .filter_map(|id| Some((id.rsplit_once('.')?.0, id.as_str())))
            .collect();
        let mut deliveries = deliveries(journal, account, found.keys().copied()).await?;
        let pairs = found
            .keys()
            .flat_map(|id| [account.into(), (*id).into()])
            .collect();
        let mut due = Vec::new();
        for row in journal.shared.rows(&MESSAGES, pairs).await? {
            let id = row.text(0)?;
            let channel = ChannelId::from(row.text(2)?.as_ref());
            let received_at = row.int(3)?;
            let of_message = deliveries.remove(&id).unwrap_or_default();
            let mut worst: Option<(Outcome, &str)> = None;
            let mut is_due = true;
            for delivery in &of_message {
                let Some(outcome) = outcome(delivery.state, delivery.holds) else {
                    is_due = false;
                    break;
                };
                let ended_at = received_at.max(delivery.updated_at);
                is_due &= ended_at + self.keep_ms(account, &channel, outcome) <= self.now;
                if worst.is_none_or(|(known, _)| known < outcome) {
                    worst = Some((outcome, &delivery.id));
                }
            }
            // Each message is met once for every delivery, and counts at the first of its worst.
            let Some((worst, at)) = worst else { continue };
            if is_due && found.get(&*id) == Some(&at) {
                due.push(Due {
                    account: account.into(),
                    id,
                    seq: row.int(1)?,
                    channel,
                    outcome: worst,
                    received_at,
                    deliveries: of_message.into_iter().map(|delivery| delivery.id).collect(),
                });
            }
        }
        Ok((due, last))
    }
}

struct Delivery {
    id: Arc<str>,
    state: State,
    holds: bool,
    updated_at: i64,
}

/// The deliveries of messages, by message and in the order of their ids.
async fn deliveries(
    journal: &Journal,
    account: &str,
    messages: impl Iterator<Item = &str>,
) -> Result<HashMap<Arc<str>, Vec<Delivery>>, Error> {
    let ranges = messages
        .flat_map(|id| {
            [
                account.into(),
                format!("{id}.").as_str().into(),
                format!("{id}/").as_str().into(),
            ]
        })
        .collect();
    let mut found: HashMap<Arc<str>, Vec<Delivery>> = HashMap::new();
    for row in journal.shared.rows(&DELIVERIES, ranges).await? {
        let state = row.text(2)?;
        let delivery = Delivery {
            id: row.text(1)?,
            // A newer program's word is not finished as far as this one knows.
            state: State::parse(&state).unwrap_or(State::Parked),
            holds: row.int(3)? != 0,
            updated_at: row.int(4)?,
        };
        found.entry(row.text(0)?).or_default().push(delivery);
    }
    for deliveries in found.values_mut() {
        deliveries.sort_by(|a, b| a.id.cmp(&b.id));
    }
    Ok(found)
}

impl Journal {
    /// Counts what a sweep at `now_ms` would let go of, by channel and outcome; changes nothing.
    pub async fn going(&self, policies: &Policies, now_ms: i64) -> Result<Vec<Going>, Error> {
        let mut counts: BTreeMap<(AccountId, ChannelId, Outcome), (u64, i64)> = BTreeMap::new();
        let mut walk = Walk::new(self, policies.clone(), now_ms).await?;
        while let Some(page) = walk.next(self).await? {
            for due in page {
                let key = (due.account.as_ref().into(), due.channel, due.outcome);
                let (count, oldest) = counts.entry(key).or_insert((0, due.received_at));
                *count += 1;
                *oldest = due.received_at.min(*oldest);
            }
        }
        Ok(counts
            .into_iter()
            .map(|((account, channel, outcome), (messages, oldest))| Going {
                account,
                channel,
                outcome,
                messages,
                oldest_received_at_ms: oldest,
            })
            .collect())
    }

    /// Begins to let go of what is due at `now_ms`.
    pub async fn sweep(&self, policies: &Policies, now_ms: i64) -> Result<Sweep, Error> {
        Ok(Sweep {
            walk: Walk::new(self, policies.clone(), now_ms).await?,
            journal: self.clone(),
            now: now_ms,
            stage: Stage::Messages,
        })
    }
}

/// One pass over everything that can be let go of. What is missed because something changes meanwhile is met by the next.
pub struct Sweep {
    journal: Journal,
    walk: Walk,
    now: i64,
    stage: Stage,
}

impl std::fmt::Debug for Sweep {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Sweep({} runs left)", self.walk.runs.len())
    }
}

enum Stage {
    Messages,
    Buckets,
    /// Behind this key.
    Duplicates(remove::DuplicateAt),
    Ledger,
    Done,
}

impl Sweep {
    /// Goes on by one page; `None` when there is nothing left to look at.
    ///
    /// The caller paces: between two steps others get their turn.
    ///
    /// # Errors
    /// What was deleted until then stays deleted.
    pub async fn step(&mut self) -> Result<Option<Removed>, Error> {
        let journal = &self.journal;
        let mut removed = Removed::default();
        match &mut self.stage {
            Stage::Messages => match self.walk.next(journal).await? {
                Some(due) => removed = journal.remove(due).await?,
                None => self.stage = Stage::Buckets,
            },
            Stage::Buckets => {
                removed = journal.drop_old_bucket().await?;
                if removed.is_nothing() {
                    self.stage = Stage::Duplicates(remove::DuplicateAt::default());
                }
            }
            Stage::Duplicates(at) => {
                if !journal
                    .forget_duplicates(at, self.now, &mut removed)
                    .await?
                {
                    self.stage = Stage::Ledger;
                }
            }
            Stage::Ledger => {
                removed = journal.drop_old_ledger(self.now).await?;
                if removed.is_nothing() {
                    self.stage = Stage::Done;
                }
            }
            Stage::Done => return Ok(None),
        }
        Ok(Some(removed))
    }
}

/// By the index of state and flow, in which nothing else needs to be read.
static FINISHED: Sql = Sql {
    text: "select id from delivery
where account_id = ? and state = ? and flow_id = ? and id > ? and id < ?
order by id
limit ?",
    kinds: &[],
};

static BARE: Sql = Sql {
    text: "select id, seq, received_at from message
where account_id = ? and kept = ? and channel_id = ? and id > ? and id < ? and route <> 'flows'
order by id
limit ?",
    kinds: &[],
};

pub(super) static NEXT_BARE: Sql = Sql {
    text: "select min(channel_id) from message where account_id = ? and kept = ? and channel_id > ? and route <> 'flows'",
    kinds: &[],
};

static MESSAGES: Sql = Sql {
    text: "with v(account_id, id) as (values {rows})
select m.id, m.seq, m.channel_id, m.received_at
from v cross join message m
where m.account_id = v.account_id and m.id = v.id",
    kinds: &[Text, Text],
};

static DELIVERIES: Sql = Sql {
    text: "with v(account_id, low, high) as (values {rows})
select d.message_id, d.id, d.state, d.holds, d.updated_at
from v cross join delivery d
where d.account_id = v.account_id and d.id > v.low and d.id < v.high",
    kinds: &[Text, Text, Text],
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_unfinished_has_an_outcome() {
        for state in State::ALL {
            for holds in [false, true] {
                let finished = matches!(state, State::Delivered | State::Skipped)
                    || (state == State::Dead && !holds);
                assert_eq!(outcome(state, holds).is_some(), finished, "{state} {holds}");
            }
        }
    }
}
