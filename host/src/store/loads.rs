//! Loads of existing data: what is still to become messages, sealed, and how far each has come.
//!
//! Start at [`Loads::add`]; who turns items into messages is in the pipeline.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::catalog::audit::{self, Author, Record};
use super::database::{Kind, Row, Sql, Value};
use super::writer::Planned;
use super::{Error, Shared, now_ms};
use crate::flow::load::{Load, State, What};
use crate::flow::{AccountId, FlowId};
use crate::vault::Place;
use Kind::{Bytes, Int, Text};

/// The loads of one store; cloning shares them.
#[derive(Clone)]
pub struct Loads {
    shared: Arc<Shared>,
}

/// One message, or the id of one lead.
pub struct Item {
    /// What tells its patient from others; kept as hash.
    pub patient: Option<String>,
    /// Sealed.
    pub bytes: Vec<u8>,
}

/// What became of the messages of a load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Messages that are kept; the others had come before.
    pub messages: u64,
    pub delivered: u64,
    pub skipped: u64,
    pub dead: u64,
    /// Those that wait for a person, for their patient or for their flow, and hold nobody up.
    pub aside: u64,
    /// Queued, running, or waiting for their next try.
    pub open: u64,
}

impl fmt::Debug for Loads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Loads")
    }
}

impl fmt::Debug for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Item({} bytes, redacted)", self.bytes.len())
    }
}

impl Loads {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Makes a load of which nothing is there yet.
    pub async fn create(&self, load: &Load, author: &Author) -> Result<(), Error> {
        let values = vec![
            load.account.as_str().into(),
            load.id.as_str().into(),
            load.flow.as_str().into(),
            load.state.as_str().into(),
            load.created_at_ms.into(),
            load.created_at_ms.into(),
            self.seal_what(&load.account, &load.id, &load.what)?.into(),
        ];
        let record = Record::of("create", load.account.as_str(), "load", &load.id);
        let plan = vec![Planned::one(&CREATE, values), audit::plain(author, &record)];
        self.shared.writer.plain(plan, false).await?;
        Ok(())
    }

    /// The load of this id, whosever it is.
    pub async fn get(&self, id: &str) -> Result<Option<Load>, Error> {
        let rows = self.shared.one(&GET, vec![id.into()]).await?;
        rows.first().map(|row| self.read(row)).transpose()
    }

    /// Every load, oldest first.
    pub async fn list(&self) -> Result<Vec<Load>, Error> {
        let rows = self.shared.one(&LIST, vec![1.into()]).await?;
        rows.iter().map(|row| self.read(row)).collect()
    }

    /// Loads for which a host has something to do.
    pub async fn at_work(&self) -> Result<Vec<Load>, Error> {
        let states = [State::Collecting, State::Running];
        let states = states.map(|state| state.as_str().into());
        let rows = self.shared.one(&AT_WORK, states.into()).await?;
        rows.iter().map(|row| self.read(row)).collect()
    }

    /// Adds items behind the first `total`, all of them or none; says whether `total` was right and the load takes items.
    pub async fn add(&self, load: &Load, total: u64, items: &[Item]) -> Result<bool, Error> {
        let (account, id) = (load.account.as_str(), load.id.as_str());
        let mut rows = Vec::with_capacity(items.len() * 6);
        for (number, item) in (total..).zip(items) {
            let sealed = self.shared.vault.seal(
                &place(account, &format!("{id}.{number}"), ITEM),
                &item.bytes,
            )?;
            let patient = item.patient.as_deref();
            let patient = patient.map(|patient| {
                let hash = self.shared.vault.index(account, "load patient", patient);
                Arc::<[u8]>::from(&hash[..16])
            });
            rows.extend([
                account.into(),
                id.into(),
                (number as i64).into(),
                Value::optional_bytes(patient.as_ref()),
                sealed.into(),
                (total as i64).into(),
            ]);
        }
        let more = vec![
            (items.len() as i64).into(),
            now_ms().into(),
            account.into(),
            id.into(),
            State::Collecting.as_str().into(),
            (total as i64).into(),
        ];
        let mut plan = Vec::new();
        if !rows.is_empty() {
            plan.push(Planned::rows(&ADD, rows));
        }
        plan.push(Planned::one(&MORE, more));
        let answers = self.shared.writer.plain(plan, false).await?;
        Ok(answers.last().is_some_and(|rows| !rows.is_empty()))
    }

    /// Forgets all items of a load that is still collecting.
    pub async fn restart(&self, load: &Load) -> Result<(), Error> {
        let key = || -> Vec<Value> { vec![load.account.as_str().into(), load.id.as_str().into()] };
        let plan = vec![
            Planned::one(&REMOVE_ALL, key()),
            Planned::one(&NOTHING_YET, key()),
        ];
        self.shared.writer.plain(plan, false).await?;
        Ok(())
    }

    /// Brings a load from one of `from` into another state; says whether it was in one of them.
    pub async fn change(
        &self,
        load: &Load,
        from: &[State],
        to: State,
        author: Option<(&Author, &str)>,
    ) -> Result<bool, Error> {
        let (account, id) = (load.account.as_str(), load.id.as_str());
        let Some(&last) = from.last() else {
            return Ok(false);
        };
        let mut values: Vec<Value> = vec![
            to.as_str().into(),
            now_ms().into(),
            account.into(),
            id.into(),
        ];
        let states = from.iter().copied().chain(std::iter::repeat(last));
        values.extend(states.take(4).map(|state| state.as_str().into()));
        let mut plan = vec![Planned::one(&CHANGE, values)];
        if to.is_final() {
            plan.push(Planned::one(
                &REMOVE_OF_ENDED,
                vec![account.into(), id.into(), to.as_str().into()],
            ));
        }
        if let Some((author, action)) = author {
            plan.push(audit::plain(
                author,
                &Record::of(action, account, "load", id),
            ));
        }
        let answers = self.shared.writer.plain(plan, false).await?;
        Ok(answers.first().is_some_and(|rows| !rows.is_empty()))
    }

    /// Keeps what a load consists of.
    pub async fn put_what(&self, load: &Load, what: &What) -> Result<(), Error> {
        let values = vec![
            self.seal_what(&load.account, &load.id, what)?.into(),
            now_ms().into(),
            load.account.as_str().into(),
            load.id.as_str().into(),
        ];
        let plan = vec![Planned::one(&PUT_WHAT, values)];
        self.shared.writer.plain(plan, false).await?;
        Ok(())
    }

    /// The next items, from the one behind the first `taken` on.
    pub async fn items(&self, load: &Load, taken: u64, most: usize) -> Result<Vec<Vec<u8>>, Error> {
        let (account, id) = (load.account.as_str(), load.id.as_str());
        let values = vec![
            account.into(),
            id.into(),
            (taken as i64).into(),
            (most as i64).into(),
        ];
        let rows = self.shared.one(&ITEMS, values).await?;
        rows.iter()
            .map(|row| {
                let number = row.int(0)?;
                let place_id = format!("{id}.{number}");
                Ok(self
                    .shared
                    .vault
                    .open(&place(account, &place_id, ITEM), &row.bytes(1)?)?)
            })
            .collect()
    }

    /// Notes that `count` items behind the first `taken` are durable as messages, and lets go of them; the last ones end
    /// the load.
    pub async fn advance(&self, load: &Load, taken: u64, count: usize) -> Result<(), Error> {
        let (account, id) = (load.account.as_str(), load.id.as_str());
        let now = taken as i64 + count as i64;
        let values = vec![
            now.into(),
            now.into(),
            State::Done.as_str().into(),
            now_ms().into(),
            account.into(),
            id.into(),
            (taken as i64).into(),
        ];
        let plan = vec![
            Planned::one(&ADVANCE, values),
            Planned::one(&REMOVE, vec![account.into(), id.into(), now.into()]),
        ];
        self.shared.writer.plain(plan, false).await?;
        Ok(())
    }

    /// Forgets loads that ended before then, as soon as no message of them is kept. What was still to come went at their end.
    pub async fn forget(&self, before_ms: i64) -> Result<(), Error> {
        let plan = vec![Planned::one(&FORGET, vec![before_ms.into()])];
        self.shared.writer.plain(plan, false).await?;
        Ok(())
    }

    /// How many patients the items are about that are still to come.
    pub async fn patients(&self, load: &Load) -> Result<u64, Error> {
        let values = vec![load.account.as_str().into(), load.id.as_str().into()];
        let rows = self.shared.one(&PATIENTS, values).await?;
        count(&rows)
    }

    /// What became of the messages of a load.
    pub async fn progress(&self, load: &Load) -> Result<Progress, Error> {
        let key = || -> Vec<Value> { vec![load.id.as_str().into(), load.account.as_str().into()] };
        let mut progress = Progress {
            messages: count(&self.shared.one(&MESSAGES, key()).await?)?,
            ..Progress::default()
        };
        let mut by_state: BTreeMap<String, u64> = BTreeMap::new();
        for row in self.shared.one(&STATES, key()).await? {
            by_state.insert(row.string(0)?, row.int(1)?.unsigned_abs());
        }
        for (state, count) in by_state {
            match state.as_str() {
                "delivered" => progress.delivered += count,
                "skipped" => progress.skipped += count,
                "dead" => progress.dead += count,
                "parked" => progress.aside += count,
                _ => progress.open += count,
            }
        }
        Ok(progress)
    }

    /// Deliveries of a flow that are to be carried out, counted up to `most` of each state.
    pub async fn under_way(
        &self,
        account: &AccountId,
        flow: &FlowId,
        most: usize,
    ) -> Result<usize, Error> {
        let mut under_way = 0;
        for state in ["queued", "running", "waiting"] {
            let values = vec![
                account.as_str().into(),
                state.into(),
                flow.as_str().into(),
                (most as i64).into(),
            ];
            under_way += count(&self.shared.one(&UNDER_WAY, values).await?)? as usize;
        }
        Ok(under_way)
    }

    fn seal_what(&self, account: &AccountId, id: &str, what: &What) -> Result<Vec<u8>, Error> {
        let plain = serde_json::to_vec(what).map_err(|_| unreadable())?;
        let place = place(account.as_str(), id, WHAT);
        Ok(self.shared.vault.seal(&place, &plain)?)
    }

    fn read(&self, row: &Row) -> Result<Load, Error> {
        let (account, id) = (row.string(0)?, row.string(1)?);
        let plain = self
            .shared
            .vault
            .open(&place(&account, &id, WHAT), &row.bytes(8)?)?;
        Ok(Load {
            flow: row.string(2)?.into(),
            state: State::parse(&row.text(3)?).ok_or_else(unreadable)?,
            taken: row.int(4)?.unsigned_abs(),
            total: row.int(5)?.unsigned_abs(),
            created_at_ms: row.int(6)?,
            updated_at_ms: row.int(7)?,
            what: serde_json::from_slice(&plain).map_err(|_| unreadable())?,
            account: account.into(),
            id,
        })
    }
}

fn unreadable() -> Error {
    Error::Database("a load in the store is of a newer program".into())
}

fn count(rows: &[Row]) -> Result<u64, Error> {
    let count = rows.first().map(|row| row.int(0)).transpose()?;
    Ok(count.unwrap_or(0).unsigned_abs())
}

/// The columns that are sealed; part of what a blob is bound to, so these words never change.
const WHAT: &str = "load.document";
const ITEM: &str = "load_item.item";

fn place<'a>(account: &'a str, id: &'a str, column: &'static str) -> Place<'a> {
    Place {
        account,
        id,
        column,
    }
}

static CREATE: Sql = Sql {
    text: "insert into load (account_id, id, flow_id, state, taken, total, created_at, updated_at, document)
values (?, ?, ?, ?, 0, 0, ?, ?, ?)",
    kinds: &[],
};

static GET: Sql = Sql {
    text: "select account_id, id, flow_id, state, taken, total, created_at, updated_at, document from load where id = ?",
    kinds: &[],
};

static LIST: Sql = Sql {
    text: "select account_id, id, flow_id, state, taken, total, created_at, updated_at, document from load
where 1 = ?
order by created_at, id",
    kinds: &[],
};

static AT_WORK: Sql = Sql {
    text: "select account_id, id, flow_id, state, taken, total, created_at, updated_at, document from load
where state in (?, ?)
order by created_at, id",
    kinds: &[],
};

static ADD: Sql = Sql {
    text: "with v(account_id, load_id, number, patient, item, total) as (values {rows})
insert {or_rollback} into load_item (account_id, load_id, number, patient, item)
select v.account_id, v.load_id, v.number, v.patient, v.item from v
join load l on l.account_id = v.account_id and l.id = v.load_id
where l.state = 'collecting' and l.total = v.total",
    kinds: &[Text, Text, Int, Bytes, Bytes, Int],
};

static MORE: Sql = Sql {
    text: "update {or_rollback} load set total = total + ?, updated_at = ?
where account_id = ? and id = ? and state = ? and total = ?
returning id",
    kinds: &[],
};

static REMOVE_ALL: Sql = Sql {
    text: "delete from load_item where account_id = ? and load_id = ?",
    kinds: &[],
};

static NOTHING_YET: Sql = Sql {
    text: "update {or_rollback} load set total = 0 where account_id = ? and id = ? and state = 'collecting'",
    kinds: &[],
};

static CHANGE: Sql = Sql {
    text: "update {or_rollback} load set state = ?, updated_at = ?
where account_id = ? and id = ? and state in (?, ?, ?, ?)
returning id",
    kinds: &[],
};

static REMOVE_OF_ENDED: Sql = Sql {
    text: "delete from load_item where account_id = ? and load_id = ?
and exists (select 1 from load l where l.account_id = load_item.account_id and l.id = load_item.load_id and l.state = ?)",
    kinds: &[],
};

static PUT_WHAT: Sql = Sql {
    text: "update {or_rollback} load set document = ?, updated_at = ? where account_id = ? and id = ?",
    kinds: &[],
};

static ITEMS: Sql = Sql {
    text: "select number, item from load_item
where account_id = ? and load_id = ? and number >= ?
order by number
limit ?",
    kinds: &[],
};

static ADVANCE: Sql = Sql {
    text: "update {or_rollback} load set taken = ?, state = case when ? >= total then ? else state end, updated_at = ?
where account_id = ? and id = ? and taken = ?",
    kinds: &[],
};

static REMOVE: Sql = Sql {
    text: "delete from load_item where account_id = ? and load_id = ? and number < ?",
    kinds: &[],
};

static PATIENTS: Sql = Sql {
    text: "select count(distinct patient) from load_item where account_id = ? and load_id = ?",
    kinds: &[],
};

static MESSAGES: Sql = Sql {
    text: "select count(*) from message where load_id = ? and account_id = ?",
    kinds: &[],
};

static STATES: Sql = Sql {
    text: "select d.state, count(*) from message m
join delivery d on d.account_id = m.account_id and d.id >= m.id || '.' and d.id < m.id || '/'
where m.load_id = ? and m.account_id = ?
group by d.state",
    kinds: &[],
};

static UNDER_WAY: Sql = Sql {
    text: "select count(*) from (
  select 1 from delivery where account_id = ? and state = ? and flow_id = ? limit ?) x",
    kinds: &[],
};

static FORGET: Sql = Sql {
    text: "delete from load where state in ('done', 'cancelled', 'failed') and updated_at < ?
and not exists (select 1 from message m where m.load_id = load.id and m.account_id = load.account_id)",
    kinds: &[],
};
