//! What pages show: messages newest first, their deliveries, and one message whole.
//!
//! Newest first is by id: ids are UUID version 7, and a page needs no index beside the primary key.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use super::ledger::{OF_DELIVERIES, OperationRow, SealedOperation};
use super::search::reasons::Reasoned;
use super::{Filter, Journal, Page, State, WHOLE, column};
use crate::flow::{AccountId, ChannelId, DeliveryId, FlowId, MessageId};
use crate::store::Error;
use crate::store::database::{Kind, Row, Sql, Value};
use crate::store::failure::Failure;
use crate::vault::Place;
use Kind::Text;

/// A message and its deliveries, without anything sealed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageRow {
    pub account: AccountId,
    pub id: MessageId,
    pub seq: i64,
    /// `ehr-to-leadsquared` or `leadsquared-to-ehr`.
    pub direction: String,
    pub channel: ChannelId,
    pub received_at_ms: i64,
    pub event: String,
    pub control_id: String,
    pub sender: String,
    pub version: String,
    /// `flows`, `excluded`, `skipped` or `rejected`.
    pub route: String,
    /// Why it was excluded, skipped or rejected: a code, and a sentence in `detail`.
    pub reason: String,
    pub detail: String,
    /// `control-id-reused`, or empty.
    pub remark: String,
    /// Oddities of the message, `code@offset` each, or empty.
    pub warnings: String,
    /// Address of the sender, and the subject of its certificate.
    pub peer: String,
    /// Of what came in.
    pub size_bytes: i64,
    /// Whether the payload is kept, and not the header facts alone.
    pub is_whole: bool,
    /// The message that a person made it from.
    pub origin: Option<MessageId>,
    pub deliveries: Vec<DeliveryRow>,
}

/// A delivery, without anything sealed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryRow {
    pub id: DeliveryId,
    pub flow: FlowId,
    pub seq: i64,
    pub state: State,
    /// A code; empty while nothing has happened.
    pub reason: String,
    pub detail: String,
    pub attempts: u32,
    pub due_at_ms: Option<i64>,
    pub updated_at_ms: i64,
    /// The writes of its ledger in order.
    pub written: Vec<WrittenRow>,
}

/// One write, without its payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrittenRow {
    /// `create-lead`, ...
    pub kind: String,
    /// `begun`, `done`, `failed` or `unknown`.
    pub state: String,
    pub target: Option<String>,
    pub code: Option<String>,
}

impl fmt::Display for WrittenRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.target, &self.code) {
            (Some(target), _) => write!(f, "{} {target}", self.kind),
            (None, Some(code)) => write!(f, "{} {}: {code}", self.kind, self.state),
            (None, None) => write!(f, "{} {}", self.kind, self.state),
        }
    }
}

/// One message with everything that is known of it, opened.
#[derive(Clone)]
pub struct MessageView {
    pub message: MessageRow,
    /// None when only header facts are kept.
    pub payload: Option<Vec<u8>>,
    /// None when it is no longer kept.
    pub acknowledgement: Option<Vec<u8>>,
    /// In the order of `message.deliveries`.
    pub deliveries: Vec<DeliveryView>,
    /// Messages that people made from it, oldest first.
    pub copies: Vec<MessageId>,
}

impl fmt::Debug for MessageView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MessageView({})", self.message.id)
    }
}

/// What belongs to one delivery beside its row.
#[derive(Clone)]
pub struct DeliveryView {
    /// What a component or LeadSquared said at the last try.
    pub note: Option<String>,
    pub attempts: Vec<AttemptRow>,
    pub operations: Vec<OperationRow>,
}

impl fmt::Debug for DeliveryView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DeliveryView({} attempts)", self.attempts.len())
    }
}

/// One try of a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptRow {
    pub number: u32,
    pub stage: String,
    pub code: String,
    pub started_at_ms: i64,
    pub duration_ms: i64,
}

/// How many deliveries of a flow are in a state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateCount {
    pub flow: FlowId,
    pub state: State,
    pub count: u64,
}

impl Journal {
    /// Lists up to `limit` messages older than `before`, newest first.
    ///
    /// A message that no flow takes has no delivery and shows only without flow and state.
    pub async fn list(
        &self,
        filter: &Filter,
        before: Option<&MessageId>,
        limit: usize,
    ) -> Result<Page, Error> {
        let (low, high) = filter.ids(before);
        let between = (low.as_str(), high.as_str());
        let mut found = BTreeSet::new();
        for account in &self.accounts(filter).await? {
            let ids = if let Some(code) = &filter.reason {
                let which = Reasoned {
                    account,
                    code,
                    between,
                };
                Box::pin(self.by_reason(&which, filter, limit)).await?
            } else if filter.flow.is_none() && filter.state.is_none() {
                let values = vec![
                    account.as_str().into(),
                    between.0.into(),
                    between.1.into(),
                    (limit as i64).into(),
                ];
                self.shared.one(&NEWEST, values).await?
            } else {
                self.newest_by_delivery(account, filter, between, limit)
                    .await?
            };
            for row in &ids {
                found.insert((row.string(0)?, account.clone()));
            }
        }
        let keys: Vec<_> = found.into_iter().rev().take(limit).collect();
        Ok(Page::of(self.messages(&keys).await?, limit))
    }

    /// The accounts that a filter asks for.
    pub(super) async fn accounts(&self, filter: &Filter) -> Result<Vec<String>, Error> {
        match &filter.account {
            Some(account) => Ok(vec![account.as_str().to_owned()]),
            None => self.every(&NEXT_ACCOUNT, &[]).await,
        }
    }

    /// One message whole; none when it is not kept.
    pub async fn message(
        &self,
        account: &AccountId,
        id: &MessageId,
    ) -> Result<Option<MessageView>, Error> {
        let key = (id.as_str().to_owned(), account.as_str().to_owned());
        let Some(message) = self.messages(&[key]).await?.pop() else {
            return Ok(None);
        };
        let values = vec![account.as_str().into(), id.as_str().into()];
        let rows = self.shared.one(&SEALED, values.clone()).await?;
        let Some(row) = rows.first() else {
            return Ok(None);
        };
        let open = |id, column, sealed: &[u8]| {
            let place = Place {
                account: account.as_str(),
                id,
                column,
            };
            self.shared.vault.open(&place, sealed)
        };
        let kept = |at, column| {
            row.optional(at, Row::bytes)?
                .map(|sealed| open(id.as_str(), column, &sealed))
                .transpose()
                .map_err(Error::from)
        };
        let copies = self.shared.one(&COPIES, values).await?;
        let copies = copies.iter().map(|row| Ok(row.string(0)?.into()));
        let copies = copies.collect::<Result<_, Error>>()?;
        let acknowledgement = kept(0, column::ACKNOWLEDGEMENT)?;
        let payload = kept(1, column::PAYLOAD)?;
        let mut deliveries = Vec::with_capacity(message.deliveries.len());
        for delivery in &message.deliveries {
            let key = || vec![account.as_str().into(), delivery.id.as_str().into()];
            let note = match self.shared.one(&NOTE, key()).await?.first() {
                Some(row) => row.optional(0, Row::bytes)?,
                None => None,
            };
            let note = note
                .map(|note| open(delivery.id.as_str(), column::NOTE, &note))
                .transpose()?
                .map(|note| String::from_utf8_lossy(&note).into_owned());
            let mut operations = self
                .shared
                .rows(&OF_DELIVERIES, key())
                .await?
                .iter()
                .map(|row| {
                    SealedOperation::read(row, 1)?.open(&self.shared.vault, account.as_str())
                })
                .collect::<Result<Vec<_>, Error>>()?;
            operations.sort_by(|a, b| a.id.cmp(&b.id));
            deliveries.push(DeliveryView {
                note,
                attempts: self
                    .shared
                    .one(&ATTEMPTS, key())
                    .await?
                    .iter()
                    .map(attempt)
                    .collect::<Result<_, _>>()?,
                operations,
            });
        }
        Ok(Some(MessageView {
            message,
            payload,
            acknowledgement,
            deliveries,
            copies,
        }))
    }

    /// Counts the deliveries of an account by flow and state.
    pub async fn counts(&self, account: &AccountId) -> Result<Vec<StateCount>, Error> {
        let rows = self
            .shared
            .one(&COUNTS, vec![account.as_str().into()])
            .await?;
        rows.iter()
            .map(|row| {
                Ok(StateCount {
                    flow: row.text(0)?.as_ref().into(),
                    state: state(&row.text(1)?)?,
                    count: row.int(2)?.unsigned_abs(),
                })
            })
            .collect()
    }

    /// Message ids by the index of state and flow: one short range for each pair.
    async fn newest_by_delivery(
        &self,
        account: &str,
        filter: &Filter,
        between: (&str, &str),
        limit: usize,
    ) -> Result<Vec<Row>, Error> {
        let states = match filter.state {
            Some(state) => vec![state],
            None => State::ALL.into(),
        };
        let mut rows = Vec::new();
        for state in &states {
            let flows = match &filter.flow {
                Some(flow) => vec![flow.as_str().to_owned()],
                None => self.every(&NEXT_FLOW, &[account, state.as_str()]).await?,
            };
            for flow in &flows {
                let values = vec![
                    account.into(),
                    state.as_str().into(),
                    flow.as_str().into(),
                    between.0.into(),
                    between.1.into(),
                    (limit as i64).into(),
                ];
                rows.append(&mut self.shared.one(&NEWEST_BY_DELIVERY, values).await?);
            }
        }
        Ok(rows)
    }

    /// All values of the leading column that follow `before`, jumping from one to the next.
    pub(super) async fn every(
        &self,
        next: &'static Sql,
        before: &[&str],
    ) -> Result<Vec<String>, Error> {
        let mut found: Vec<String> = Vec::new();
        loop {
            let mut values: Vec<Value> = before.iter().map(|value| (*value).into()).collect();
            values.push(found.last().map_or("", String::as_str).into());
            let rows = self.shared.one(next, values).await?;
            match rows.first() {
                Some(row) if !row.is_null(0) => found.push(row.string(0)?),
                _ => return Ok(found),
            }
        }
    }

    /// Messages by id and account, newest first, with deliveries and writes.
    pub(super) async fn messages(
        &self,
        keys: &[(String, String)],
    ) -> Result<Vec<MessageRow>, Error> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let pairs = keys
            .iter()
            .flat_map(|(id, account)| [account.as_str().into(), id.as_str().into()])
            .collect();
        let mut messages = self
            .shared
            .rows(&MESSAGES, pairs)
            .await?
            .iter()
            .map(message)
            .collect::<Result<Vec<_>, _>>()?;
        messages.sort_by(|a, b| (&b.id, &b.account).cmp(&(&a.id, &a.account)));
        let ranges = keys
            .iter()
            // Delivery ids are the message's with a position behind a full stop; a slash comes next after it.
            .flat_map(|(id, account)| {
                [
                    Value::from(account.as_str()),
                    format!("{id}.").as_str().into(),
                    format!("{id}/").as_str().into(),
                ]
            })
            .collect();
        let mut deliveries = Vec::new();
        for row in self.shared.rows(&DELIVERIES, ranges).await? {
            deliveries.push((row.text(0)?, row.text(1)?, delivery(&row)?));
        }
        deliveries.sort_by_key(|(.., delivery)| delivery.seq);
        let pairs = deliveries
            .iter()
            .flat_map(|(account, _, delivery)| [account.into(), delivery.id.as_str().into()])
            .collect();
        let mut written = Vec::new();
        for row in self.shared.rows(&WRITTEN, pairs).await? {
            let place: (Arc<str>, Arc<str>) = (row.text(0)?, row.text(1)?);
            let write = WrittenRow {
                kind: row.string(3)?,
                state: row.string(4)?,
                target: row.optional(5, Row::string)?,
                code: row.optional(6, Row::string)?,
            };
            written.push((place, row.text(2)?, write));
        }
        written.sort_by(|a, b| a.1.cmp(&b.1));
        for (account, message, mut delivery) in deliveries {
            delivery.written = written
                .iter()
                .filter(|(place, ..)| place.0 == account && *place.1 == *delivery.id.as_str())
                .map(|(.., write)| write.clone())
                .collect();
            if let Some(message) = messages
                .iter_mut()
                .find(|row| row.id.as_str() == &*message && row.account.as_str() == &*account)
            {
                message.deliveries.push(delivery);
            }
        }
        Ok(messages)
    }
}

/// The statements of lists, and of one message.
pub(super) static OF_LISTS: [&Sql; 12] = [
    &SEALED,
    &COPIES,
    &NOTE,
    &ATTEMPTS,
    &OF_DELIVERIES,
    &NEWEST,
    &NEWEST_BY_DELIVERY,
    &NEXT_ACCOUNT,
    &NEXT_FLOW,
    &MESSAGES,
    &DELIVERIES,
    &WRITTEN,
];

static NEWEST: Sql = Sql {
    text: "select id from message where account_id = ? and id > ? and id < ? order by id desc limit ?",
    kinds: &[],
};

static NEWEST_BY_DELIVERY: Sql = Sql {
    text: "select message_id from delivery
where account_id = ? and state = ? and flow_id = ? and id > ? and id < ?
order by id desc
limit ?",
    kinds: &[],
};

pub(super) static NEXT_ACCOUNT: Sql = Sql {
    text: "select min(account_id) from message where account_id > ?",
    kinds: &[],
};

pub(super) static NEXT_FLOW: Sql = Sql {
    text: "select min(flow_id) from delivery where account_id = ? and state = ? and flow_id > ?",
    kinds: &[],
};

static MESSAGES: Sql = Sql {
    text: "with v(account_id, id) as (values {rows})
select m.account_id, m.id, m.seq, m.direction, m.channel_id, m.received_at, m.event, m.control_id, m.sender,
  m.version, m.route, m.reason, m.detail, m.remark, m.warnings, m.peer, m.size, m.kept, m.origin
from v cross join message m
where m.account_id = v.account_id and m.id = v.id",
    kinds: &[Text, Text],
};

static DELIVERIES: Sql = Sql {
    text: "with v(account_id, low, high) as (values {rows})
select d.account_id, d.message_id, d.id, d.flow_id, d.seq, d.state, d.reason, d.detail, d.attempts, d.due_at,
  d.updated_at
from v cross join delivery d
where d.account_id = v.account_id and d.id > v.low and d.id < v.high",
    kinds: &[Text, Text, Text],
};

static WRITTEN: Sql = Sql {
    text: "with v(account_id, delivery_id) as (values {rows})
select o.account_id, o.delivery_id, o.id, o.kind, o.state, o.target, o.code
from v cross join operation o
where o.account_id = v.account_id and o.delivery_id = v.delivery_id",
    kinds: &[Text, Text],
};

static SEALED: Sql = Sql {
    text: "select acknowledgement, payload from message where account_id = ? and id = ?",
    kinds: &[],
};

static COPIES: Sql = Sql {
    text: "select id from message where account_id = ? and origin = ? order by id",
    kinds: &[],
};

static NOTE: Sql = Sql {
    text: "select note from delivery where account_id = ? and id = ?",
    kinds: &[],
};

static ATTEMPTS: Sql = Sql {
    text: "select number, stage, code, started_at, duration_ms from attempt
where account_id = ? and delivery_id = ?
order by number",
    kinds: &[],
};

static COUNTS: Sql = Sql {
    text: "select flow_id, state, count(*) from delivery where account_id = ? group by state, flow_id order by flow_id, state",
    kinds: &[],
};

pub(super) fn state(word: &str) -> Result<State, Failure> {
    State::parse(word)
        .ok_or_else(|| Failure::Statement(format!("delivery state {word:?} is not known")))
}

fn message(row: &Row) -> Result<MessageRow, Failure> {
    Ok(MessageRow {
        account: row.text(0)?.as_ref().into(),
        id: row.text(1)?.as_ref().into(),
        seq: row.int(2)?,
        direction: row.string(3)?,
        channel: row.text(4)?.as_ref().into(),
        received_at_ms: row.int(5)?,
        event: row.string(6)?,
        control_id: row.string(7)?,
        sender: row.string(8)?,
        version: row.string(9)?,
        route: row.string(10)?,
        reason: row.string(11)?,
        detail: row.string(12)?,
        remark: row.string(13)?,
        warnings: row.string(14)?,
        peer: row.string(15)?,
        size_bytes: row.int(16)?,
        is_whole: *row.text(17)? == *WHOLE,
        origin: row.optional(18, Row::string)?.map(MessageId::from),
        deliveries: Vec::new(),
    })
}

fn delivery(row: &Row) -> Result<DeliveryRow, Failure> {
    Ok(DeliveryRow {
        id: row.text(2)?.as_ref().into(),
        flow: row.text(3)?.as_ref().into(),
        seq: row.int(4)?,
        state: state(&row.text(5)?)?,
        reason: row.string(6)?,
        detail: row.string(7)?,
        attempts: u32::try_from(row.int(8)?).unwrap_or(u32::MAX),
        due_at_ms: row.optional(9, Row::int)?,
        updated_at_ms: row.int(10)?,
        written: Vec::new(),
    })
}

fn attempt(row: &Row) -> Result<AttemptRow, Error> {
    Ok(AttemptRow {
        number: u32::try_from(row.int(0)?).unwrap_or(u32::MAX),
        stage: row.string(1)?,
        code: row.string(2)?,
        started_at_ms: row.int(3)?,
        duration_ms: row.int(4)?,
    })
}
