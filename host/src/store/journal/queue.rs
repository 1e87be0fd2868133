//! What waits in the lanes: behind a delivery that runs, and altogether.

use std::fmt;

use super::{Journal, Lease, column};
use crate::flow::{AccountId, ChannelId, FlowId, MessageId};
use crate::store::Error;
use crate::store::database::{Row, Sql, Value};
use crate::store::writer::Planned;
use crate::vault::Place;

/// A delivery that waits for its turn.
#[derive(Clone)]
pub struct Queued {
    pub message: MessageId,
    pub flow: FlowId,
    pub channel: ChannelId,
    pub event: String,
    pub received_at_ms: i64,
    pub seq: i64,
    pub is_loaded: bool,
    pub payload: Vec<u8>,
}

impl fmt::Debug for Queued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queued")
            .field("message", &self.message)
            .field("flow", &self.flow)
            .field("size", &self.payload.len())
            .finish_non_exhaustive()
    }
}

/// How many lanes of an account have work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Lanes {
    /// Those that no delivery has left yet, and that nobody works on: the patient's lead is still to be looked for,
    /// however often that has been tried.
    pub untouched: u64,
    /// Those with anything beside the first delivery of an untouched one.
    pub followed: u64,
}

impl Journal {
    /// What waits behind the delivery of `lease`, in order, up to the first that has been tried, waits for something,
    /// is in other lanes as well, or goes through a release of its own.
    ///
    /// As long as the lease holds, nobody else works on these.
    pub async fn behind(&self, lease: &Lease, most: usize) -> Result<Vec<Queued>, Error> {
        let [lane] = lease.lanes.as_slice() else {
            return Ok(Vec::new());
        };
        let account = lease.account.as_str();
        let values = vec![
            account.into(),
            Value::from(lane),
            lease.seq.into(),
            (most as i64).into(),
        ];
        // The writer is asked: SQLite's lanes are known to its connection alone.
        let plan = vec![Planned::read(&BEHIND, values)];
        let answers = self.shared.writer.plain(plan, false).await?;
        let mut queued = Vec::new();
        for row in answers.first().into_iter().flatten() {
            let (state, lanes) = (row.text(0)?, row.bytes(1)?);
            if state.as_ref() != super::State::Queued.as_str()
                || row.int(2)? > 0
                || lanes.len() != lane.len()
                || !row.is_null(10)
            {
                break;
            }
            let message = row.text(3)?;
            let place = Place {
                account,
                id: &message,
                column: column::PAYLOAD,
            };
            queued.push(Queued {
                payload: self.shared.vault.open(&place, &row.bytes(8)?)?,
                message: message.as_ref().into(),
                flow: row.text(4)?.as_ref().into(),
                channel: row.text(5)?.as_ref().into(),
                received_at_ms: row.int(6)?,
                seq: row.int(11)?,
                event: row.string(7)?,
                is_loaded: !row.is_null(9),
            });
        }
        Ok(queued)
    }

    /// Counts the lanes of an account.
    pub async fn lanes(&self, account: &AccountId) -> Result<Lanes, Error> {
        let plan = vec![Planned::read(
            &LANES,
            vec![account.as_str().into(), account.as_str().into()],
        )];
        let answers = self.shared.writer.plain(plan, false).await?;
        let Some(row) = answers.first().and_then(|rows| rows.first()) else {
            return Ok(Lanes::default());
        };
        let count = |column| Ok::<_, Error>(row.optional(column, Row::int)?.unwrap_or(0));
        Ok(Lanes {
            untouched: count(0)?.unsigned_abs(),
            followed: count(1)?.unsigned_abs(),
        })
    }
}

static BEHIND: Sql = Sql {
    text: "select d.state, d.lanes, d.attempts, m.id, d.flow_id, m.channel_id, m.received_at, m.event, m.payload, m.load_id, m.pinned, d.seq
from lane_entry e
join delivery d on d.account_id = e.account_id and d.id = e.delivery_id
join message m on m.account_id = d.account_id and m.id = d.message_id
where e.account_id = ? and e.lane = ? and e.seq > ?
order by e.seq
limit ?",
    kinds: &[],
};

static LANES: Sql = Sql {
    text: "select
  (select count(*) from lane where account_id = ? and opened = 0 and owner is null),
  (select count(*) from (
    select l.lane from lane l
    join lane_entry e on e.account_id = l.account_id and e.lane = l.lane
    where l.account_id = ?
    group by l.lane, l.opened, l.owner
    having l.opened = 1 or l.owner is not null or count(*) > 1) x)",
    kinds: &[],
};
