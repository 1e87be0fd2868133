//! The ledger: one row for each write in the other system, durable before the write is made.
//!
//! A row that was begun and never finished is a write whose outcome is unknown; the next try looks it up first.

use std::fmt;
use std::sync::Arc;

use super::{Journal, Lease, column};
use crate::flow::{AccountId, DeliveryId};
use crate::store::database::{Kind, Part, Row, Script, Sql, Value};
use crate::store::failure::Failure;
use crate::store::writer::Command;
use crate::store::{Error, now_ms};
use crate::vault::{Place, Vault};
use Kind::{Bytes, Int, Text};

/// Names one ledger row; later ones are greater.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OperationId(Arc<str>);

impl OperationId {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for OperationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What is written in the other system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OperationKind {
    CreateLead,
    UpdateLead,
    UpsertLead,
    CreateActivity,
    UpdateActivity,
    SendMessage,
    /// What was read before a mapping ran, kept so that every try and every replay sees the same.
    ReadRecord,
}

impl OperationKind {
    const ALL: [OperationKind; 7] = [
        OperationKind::CreateLead,
        OperationKind::UpdateLead,
        OperationKind::UpsertLead,
        OperationKind::CreateActivity,
        OperationKind::UpdateActivity,
        OperationKind::SendMessage,
        OperationKind::ReadRecord,
    ];

    /// The word kept in the store and shown on pages.
    pub fn as_str(self) -> &'static str {
        match self {
            OperationKind::CreateLead => "create-lead",
            OperationKind::UpdateLead => "update-lead",
            OperationKind::UpsertLead => "upsert-lead",
            OperationKind::CreateActivity => "create-activity",
            OperationKind::UpdateActivity => "update-activity",
            OperationKind::SendMessage => "send-message",
            OperationKind::ReadRecord => "read-record",
        }
    }

    fn parse(word: &str) -> Result<Self, Failure> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.as_str() == word)
            .ok_or_else(|| Failure::Statement(format!("operation kind {word:?} is not known")))
    }
}

impl fmt::Display for OperationKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A write that is about to be made.
pub struct NewOperation {
    /// Its place among the writes of the delivery.
    pub ordinal: i64,
    pub kind: OperationKind,
    /// Kind and key of the record it concerns, so that others can ask for open writes to it; kept as hash.
    pub identity: Option<(&'static str, String)>,
    /// What is sent, as the caller writes it down; sealed.
    pub payload: Vec<u8>,
}

impl fmt::Debug for NewOperation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NewOperation({}, {})", self.ordinal, self.kind)
    }
}

/// What became of a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OperationState {
    /// No answer noted: the process ended, or it still runs.
    Begun,
    /// With the id of the record.
    Done { target: Option<String> },
    /// It took no effect.
    Failed { code: String },
    /// The answer never came.
    Unknown,
}

impl OperationState {
    /// The word kept in the store and shown on pages.
    pub fn as_str(&self) -> &'static str {
        match self {
            OperationState::Begun => "begun",
            OperationState::Done { .. } => "done",
            OperationState::Failed { .. } => "failed",
            OperationState::Unknown => "unknown",
        }
    }
}

/// The outcome of a write that was begun under the same lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished {
    pub operation: OperationId,
    pub state: OperationState,
}

/// One row of the ledger, opened.
#[derive(Clone)]
pub struct OperationRow {
    pub id: OperationId,
    pub delivery: DeliveryId,
    pub ordinal: i64,
    pub kind: OperationKind,
    pub state: OperationState,
    pub started_at_ms: i64,
    pub finished_at_ms: Option<i64>,
    pub payload: Vec<u8>,
}

impl fmt::Debug for OperationRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OperationRow")
            .field("ordinal", &self.ordinal)
            .field("kind", &self.kind)
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

impl Journal {
    /// Notes a write before it is made, together with the outcomes of those before it; durable on return.
    ///
    /// # Errors
    /// `LeaseLost` when another worker has claimed the lane since: make no write.
    pub async fn begin(
        &self,
        lease: &Lease,
        finished: Vec<Finished>,
        operation: NewOperation,
    ) -> Result<OperationId, Error> {
        let id: Arc<str> = uuid::Uuid::now_v7().to_string().into();
        let account = lease.account.as_str();
        let place = Place {
            account,
            id: &id,
            column: column::OPERATION,
        };
        let now = now_ms();
        let identity = operation
            .identity
            .map(|(kind, key)| self.hash(&lease.account, kind, &key));
        let begin = Begin {
            id: id.clone(),
            row: vec![
                account.into(),
                lease.delivery.as_str().into(),
                (&id).into(),
                operation.ordinal.into(),
                operation.kind.as_str().into(),
                now.into(),
                Value::optional_bytes(identity.as_ref()),
                self.shared.vault.seal(&place, &operation.payload)?.into(),
                (&lease.lanes[0]).into(),
                lease.fence.into(),
            ],
            finished: finished_rows(lease, &finished, now),
        };
        self.shared
            .writer
            .send(|reply| Command::Begin { begin, reply })
            .await?;
        Ok(OperationId(id))
    }

    /// The writes to one record whose outcome is not known, of any delivery, oldest first.
    pub async fn open_operations(
        &self,
        account: &AccountId,
        kind: &str,
        key: &str,
    ) -> Result<Vec<OperationRow>, Error> {
        let identity = self.hash(account, kind, key);
        let rows = self
            .shared
            .one(&OPEN, vec![account.as_str().into(), (&identity).into()])
            .await?;
        rows.iter()
            .map(|row| SealedOperation::read(row, 0)?.open(&self.shared.vault, account.as_str()))
            .collect()
    }
}

/// Fails for a lane that another claim has taken: the row that then does not come back was not inserted.
static BEGIN: Sql = Sql {
    text: "with v(account_id, delivery_id, id, ordinal, kind, started_at, identity, payload, lane, fence) as (values {rows}),
held as (
  select v.account_id, v.delivery_id, v.id, v.ordinal, v.kind, v.started_at, v.identity, v.payload
  from v cross join lane l
  where l.account_id = v.account_id and l.lane = v.lane and l.fence = v.fence and l.owner is not null
  {share_lease})
insert {or_rollback} into operation (account_id, delivery_id, id, ordinal, kind, state, started_at, identity, payload)
select account_id, delivery_id, id, ordinal, kind, 'begun', started_at, identity, payload from held
where account_id is not null
returning id",
    kinds: &[Text, Text, Text, Int, Text, Int, Bytes, Bytes, Bytes, Int],
};

static FINISH: Sql = Sql {
    text: "with v(account_id, delivery_id, id, state, target, code, finished_at) as (values {rows})
update {or_rollback} operation set state = v.state, target = v.target, code = v.code, finished_at = v.finished_at
from v
where operation.account_id = v.account_id and operation.delivery_id = v.delivery_id and operation.id = v.id",
    kinds: &[Text, Text, Text, Text, Text, Text, Int],
};

pub(super) static OF_DELIVERIES: Sql = Sql {
    text: "with v(account_id, delivery_id) as (values {rows})
select o.account_id, o.delivery_id, o.id, o.ordinal, o.kind, o.state, o.target, o.code, o.started_at, o.finished_at,
  o.payload
from v cross join operation o
where o.account_id = v.account_id and o.delivery_id = v.delivery_id",
    kinds: &[Text, Text],
};

pub(super) static OPEN: Sql = Sql {
    text: "select o.delivery_id, o.id, o.ordinal, o.kind, o.state, o.target, o.code, o.started_at, o.finished_at, o.payload
from operation o
where o.account_id = ? and o.identity = ? and o.identity is not null and o.state in ('begun', 'unknown')
order by o.id",
    kinds: &[],
};

/// A write about to be noted, sealed.
pub(in crate::store) struct Begin {
    id: Arc<str>,
    row: Vec<Value>,
    finished: Vec<Value>,
}

/// Adds the rows of all writes; those that come back are noted.
pub(in crate::store) fn begin(script: &mut Script, begins: &[&Begin]) -> Part {
    let rows = begins
        .iter()
        .flat_map(|begin| begin.row.iter().cloned())
        .collect();
    script.rows(&BEGIN, rows)
}

impl Begin {
    pub(in crate::store) fn is_noted(&self, noted: &std::collections::HashSet<Arc<str>>) -> bool {
        noted.contains(&self.id)
    }

    pub(in crate::store) fn finished(&self) -> &[Value] {
        &self.finished
    }
}

/// Adds the outcomes of writes.
pub(in crate::store) fn finish(script: &mut Script, rows: Vec<Value>) {
    script.rows(&FINISH, rows);
}

pub(super) fn finished_rows(lease: &Lease, finished: &[Finished], now: i64) -> Vec<Value> {
    finished
        .iter()
        .flat_map(|finished| {
            let (target, code) = match &finished.state {
                OperationState::Done { target } => (target.as_deref(), None),
                OperationState::Failed { code } => (None, Some(code.as_str())),
                OperationState::Begun | OperationState::Unknown => (None, None),
            };
            [
                lease.account.as_str().into(),
                lease.delivery.as_str().into(),
                (&finished.operation.0).into(),
                finished.state.as_str().into(),
                Value::optional_text(target),
                Value::optional_text(code),
                now.into(),
            ]
        })
        .collect()
}

/// One row of the ledger as it is kept.
pub(in crate::store) struct SealedOperation {
    pub(super) delivery: Arc<str>,
    pub(super) id: Arc<str>,
    ordinal: i64,
    kind: OperationKind,
    state: OperationState,
    started_at: i64,
    finished_at: Option<i64>,
    payload: Arc<[u8]>,
}

impl SealedOperation {
    /// Reads the columns from `delivery_id` to `payload`, the first of them at `at`.
    pub(super) fn read(row: &Row, at: usize) -> Result<Self, Failure> {
        Ok(Self {
            delivery: row.text(at)?,
            id: row.text(at + 1)?,
            ordinal: row.int(at + 2)?,
            kind: OperationKind::parse(&row.text(at + 3)?)?,
            state: match row.text(at + 4)?.as_ref() {
                "begun" => OperationState::Begun,
                "done" => OperationState::Done {
                    target: row.optional(at + 5, Row::string)?,
                },
                "failed" => OperationState::Failed {
                    code: row.optional(at + 6, Row::string)?.unwrap_or_default(),
                },
                _ => OperationState::Unknown,
            },
            started_at: row.int(at + 7)?,
            finished_at: row.optional(at + 8, Row::int)?,
            payload: row.bytes(at + 9)?,
        })
    }

    pub(super) fn open(&self, vault: &Vault, account: &str) -> Result<OperationRow, Error> {
        let place = Place {
            account,
            id: &self.id,
            column: column::OPERATION,
        };
        Ok(OperationRow {
            id: OperationId(self.id.clone()),
            delivery: self.delivery.as_ref().into(),
            ordinal: self.ordinal,
            kind: self.kind,
            state: self.state.clone(),
            started_at_ms: self.started_at,
            finished_at_ms: self.finished_at,
            payload: vault.open(&place, &self.payload)?,
        })
    }
}
