//! What mapping runs were given and came to, and stored messages with all that is needed to run them again.

use std::fmt;
use std::sync::Arc;

use super::ledger::{OF_DELIVERIES, OperationKind, SealedOperation};
use super::{HASH_BYTES, Journal, column, first_id};
use crate::flow::ran::{Given, Ran};
use crate::flow::{AccountId, ChannelId, DeliveryId, Digest, Direction, FlowId, MessageId};
use crate::store::Error;
use crate::store::database::{Kind, Row, Sql, Value};
use crate::vault::Place;
use Kind::{Bytes, Int, Text};

/// Which deliveries: of one flow or of all, of messages of a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    pub flow: Option<FlowId>,
    pub from_ms: i64,
    /// Not itself in it.
    pub to_ms: i64,
}

/// How many deliveries ran last with a release and came to the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RanCount {
    pub release: String,
    pub state: String,
    /// How the mapping ended.
    pub outcome: String,
    /// Whether that was a trap or a limit.
    pub broke: bool,
    pub count: u64,
}

/// One delivery with what its mapping ran on, opened.
#[derive(Clone)]
pub struct Stored {
    pub account: AccountId,
    pub delivery: DeliveryId,
    pub message: MessageId,
    pub flow: FlowId,
    pub direction: Direction,
    pub channel: ChannelId,
    pub received_at_ms: i64,
    pub event: String,
    /// None where header facts alone are kept.
    pub payload: Option<Vec<u8>>,
    /// None where no mapping has run yet, as of a flow that does nothing.
    pub ran: Option<Ran>,
    /// Of a change in LeadSquared: what was read beside it.
    pub read: Option<Vec<u8>>,
}

impl fmt::Debug for Stored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Stored({})", self.delivery)
    }
}

impl Window {
    /// The ids between which its deliveries lie, the first of them behind `after`.
    fn ids(&self, after: Option<&DeliveryId>) -> (String, String) {
        let from = first_id(self.from_ms);
        let after = after.map(|id| id.as_str().to_owned());
        (
            after.filter(|after| *after > from).unwrap_or(from),
            first_id(self.to_ms),
        )
    }

    /// The values of a statement over its deliveries behind `after`.
    fn values(&self, account: &AccountId, after: Option<&DeliveryId>, limit: i64) -> Vec<Value> {
        let (low, high) = self.ids(after);
        let flow = self.flow.as_ref().map_or("", FlowId::as_str);
        vec![
            account.as_str().into(),
            low.as_str().into(),
            high.as_str().into(),
            flow.into(),
            flow.into(),
            limit.into(),
        ]
    }
}

impl Journal {
    /// Up to `limit` deliveries of a window behind `after`, oldest first.
    pub async fn stored(
        &self,
        account: &AccountId,
        window: &Window,
        after: Option<&DeliveryId>,
        limit: usize,
    ) -> Result<Vec<Stored>, Error> {
        let values = window.values(account, after, limit as i64);
        let rows = self.shared.one(&STORED, values).await?;
        self.opened(account, &rows).await
    }

    /// One delivery; none where it is not kept.
    pub async fn stored_one(
        &self,
        account: &AccountId,
        delivery: &DeliveryId,
    ) -> Result<Option<Stored>, Error> {
        let values = vec![account.as_str().into(), delivery.as_str().into()];
        let rows = self.shared.one(&STORED_ONE, values).await?;
        Ok(self.opened(account, &rows).await?.pop())
    }

    /// How many deliveries a window has, counted up to `most`.
    pub async fn count_stored(
        &self,
        account: &AccountId,
        window: &Window,
        most: u64,
    ) -> Result<u64, Error> {
        let values = window.values(account, None, most as i64);
        let rows = self.shared.one(&COUNT, values).await?;
        let count = rows.first().map(|row| row.int(0)).transpose()?;
        Ok(count.unwrap_or(0).unsigned_abs())
    }

    /// How many deliveries ended because `release` broke on them, since a time.
    pub async fn broken(
        &self,
        account: &AccountId,
        release: &Digest,
        since_ms: i64,
    ) -> Result<u64, Error> {
        let values = vec![
            account.as_str().into(),
            release.as_str().into(),
            since_ms.into(),
        ];
        let rows = self.shared.one(&BROKEN, values).await?;
        let count = rows.first().map(|row| row.int(0)).transpose()?;
        Ok(count.unwrap_or(0).unsigned_abs())
    }

    /// How often each release of a flow was the last that a delivery ran with, by what became of it: of messages that
    /// came since a time.
    pub async fn ran_since(
        &self,
        account: &AccountId,
        flow: &FlowId,
        since_ms: i64,
    ) -> Result<Vec<RanCount>, Error> {
        let values = vec![
            account.as_str().into(),
            first_id(since_ms).as_str().into(),
            flow.as_str().into(),
        ];
        let rows = self.shared.one(&RAN_SINCE, values).await?;
        rows.iter()
            .map(|row| {
                Ok(RanCount {
                    release: row.string(0)?,
                    state: row.string(1)?,
                    outcome: row.string(2)?,
                    broke: row.int(3)? == 1,
                    count: row.int(4)?.unsigned_abs(),
                })
            })
            .collect()
    }

    /// The lane under whose lease a delivery runs; none where the delivery is not kept.
    pub async fn lane_of(
        &self,
        account: &AccountId,
        delivery: &DeliveryId,
    ) -> Result<Option<Vec<u8>>, Error> {
        let values = vec![account.as_str().into(), delivery.as_str().into()];
        let rows = self.shared.one(&LANES, values).await?;
        let Some(row) = rows.first() else {
            return Ok(None);
        };
        // The lowest stands first.
        let lanes = row.bytes(0)?;
        Ok(Some(lanes.iter().copied().take(HASH_BYTES).collect()))
    }

    async fn opened(&self, account: &AccountId, rows: &[Row]) -> Result<Vec<Stored>, Error> {
        let mut found = rows
            .iter()
            .map(|row| self.open_stored(account, row))
            .collect::<Result<Vec<_>, _>>()?;
        let outbound = found
            .iter()
            .filter(|stored| stored.direction == Direction::LeadSquaredToEhr);
        let keys: Vec<Value> = outbound
            .flat_map(|stored| [account.as_str().into(), stored.delivery.as_str().into()])
            .collect();
        if keys.is_empty() {
            return Ok(found);
        }
        let mut read = Vec::new();
        for row in self.shared.rows(&OF_DELIVERIES, keys).await? {
            let sealed = SealedOperation::read(&row, 1)?;
            let operation = sealed.open(&self.shared.vault, account.as_str())?;
            if operation.kind == OperationKind::ReadRecord {
                read.push(operation);
            }
        }
        read.sort_by(|a, b| a.id.cmp(&b.id));
        for stored in &mut found {
            // The last look is what the run saw.
            let mut own = read
                .iter()
                .filter(|operation| operation.delivery == stored.delivery);
            stored.read = own.next_back().map(|operation| operation.payload.clone());
        }
        Ok(found)
    }

    fn open_stored(&self, account: &AccountId, row: &Row) -> Result<Stored, Error> {
        let delivery = row.string(0)?;
        let message = row.string(1)?;
        let open = |id: &str, column, sealed: &Arc<[u8]>| {
            let account = account.as_str();
            let place = Place {
                account,
                id,
                column,
            };
            self.shared.vault.open(&place, sealed)
        };
        let payload = row.optional(7, Row::bytes)?;
        let payload = payload
            .map(|sealed| open(&message, column::PAYLOAD, &sealed))
            .transpose()?;
        let ran = match row.optional(8, Row::string)? {
            Some(flow) => {
                let mut ran = Ran {
                    flow: flow.into(),
                    release: Digest::from(row.string(9)?),
                    at_ms: row.int(10)?,
                    outcome: row.string(11)?,
                    broke: row.int(12)? != 0,
                    given: Given::default(),
                    prints: Vec::new(),
                    warnings: Vec::new(),
                    warnings_cut: 0,
                    log: Vec::new(),
                };
                let sealed = open(&delivery, column::RUN, &row.bytes(13)?)?;
                // One of a newer program is as good as none.
                ran.open(&sealed).then_some(ran)
            }
            None => None,
        };
        let direction = match row.text(3)?.as_ref() == Direction::LeadSquaredToEhr.as_str() {
            true => Direction::LeadSquaredToEhr,
            false => Direction::EhrToLeadSquared,
        };
        Ok(Stored {
            account: account.clone(),
            flow: row.string(2)?.into(),
            direction,
            channel: row.string(4)?.into(),
            received_at_ms: row.int(5)?,
            event: row.string(6)?,
            payload,
            ran,
            read: None,
            delivery: delivery.into(),
            message: message.into(),
        })
    }

    /// The columns of [`KEEP`].
    pub(super) fn ran_row(
        &self,
        account: &str,
        delivery: &DeliveryId,
        ran: &Ran,
    ) -> Result<Vec<Value>, Error> {
        let place = Place {
            account,
            id: delivery.as_str(),
            column: column::RUN,
        };
        let sealed = self.shared.vault.seal(&place, &ran.sealed_part())?;
        Ok(vec![
            account.into(),
            delivery.as_str().into(),
            ran.flow.as_str().into(),
            ran.release.as_str().into(),
            ran.at_ms.into(),
            ran.outcome.as_str().into(),
            i64::from(ran.broke).into(),
            sealed.into(),
        ])
    }
}

pub(super) static KEEP: Sql = Sql {
    text: "with v(account_id, delivery_id, flow_id, release_id, at, outcome, broke, document) as (values {rows})
insert {or_rollback} into run (account_id, delivery_id, flow_id, release_id, at, outcome, broke, document)
select account_id, delivery_id, flow_id, release_id, at, outcome, broke, document from v
where account_id is not null
on conflict (account_id, delivery_id) do update set flow_id = excluded.flow_id, release_id = excluded.release_id,
  at = excluded.at, outcome = excluded.outcome, broke = excluded.broke, document = excluded.document",
    kinds: &[Text, Text, Text, Text, Int, Text, Int, Bytes],
};

static STORED: Sql = Sql {
    text: "select d.id, d.message_id, d.flow_id, m.direction, m.channel_id, m.received_at, m.event, m.payload,
  r.flow_id, r.release_id, r.at, r.outcome, r.broke, r.document
from delivery d
join message m on m.account_id = d.account_id and m.id = d.message_id
left join run r on r.account_id = d.account_id and r.delivery_id = d.id
where d.account_id = ? and d.id > ? and d.id < ? and (? = '' or d.flow_id = ?)
order by d.id
limit ?",
    kinds: &[],
};

static STORED_ONE: Sql = Sql {
    text: "select d.id, d.message_id, d.flow_id, m.direction, m.channel_id, m.received_at, m.event, m.payload,
  r.flow_id, r.release_id, r.at, r.outcome, r.broke, r.document
from delivery d
join message m on m.account_id = d.account_id and m.id = d.message_id
left join run r on r.account_id = d.account_id and r.delivery_id = d.id
where d.account_id = ? and d.id = ?",
    kinds: &[],
};

static BROKEN: Sql = Sql {
    text: "select count(*) from run where account_id = ? and release_id = ? and broke = 1 and at >= ?",
    kinds: &[],
};

static RAN_SINCE: Sql = Sql {
    text: "select r.release_id, d.state, r.outcome, r.broke, count(*)
from run r
join delivery d on d.account_id = r.account_id and d.id = r.delivery_id
where r.account_id = ? and r.delivery_id > ? and r.flow_id = ?
group by r.release_id, d.state, r.outcome, r.broke",
    kinds: &[],
};

static LANES: Sql = Sql {
    text: "select lanes from delivery where account_id = ? and id = ?",
    kinds: &[],
};

static COUNT: Sql = Sql {
    text: "select count(*) from (
  select 1 from delivery d
  where d.account_id = ? and d.id > ? and d.id < ? and (? = '' or d.flow_id = ?)
  limit ?) as found",
    kinds: &[],
};
