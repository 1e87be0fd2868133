//! How often rows of mappings let messages go on without their value, counted by minute and by hour as it happens.
//!
//! A reader adds up counts, never deliveries. Minutes are kept for two days, hours for ninety.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Journal;
use crate::flow::ran::Ran;
use crate::flow::{AccountId, FlowId};
use crate::store::Error;
use crate::store::database::{Kind, Script, Sql, Value};
use crate::store::writer::Planned;
use Kind::{Int, Text};

const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;
const DAY_MS: i64 = 24 * HOUR_MS;

/// How finely warnings are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Per {
    Minute,
    Hour,
}

impl Per {
    pub fn ms(self) -> i64 {
        match self {
            Per::Minute => MINUTE_MS,
            Per::Hour => HOUR_MS,
        }
    }

    /// How long counts are kept.
    fn kept_ms(self) -> i64 {
        match self {
            Per::Minute => 2 * DAY_MS,
            Per::Hour => 90 * DAY_MS,
        }
    }
}

/// The warnings of one row of one release in one minute or hour.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WarningCount {
    /// When the minute or hour begins.
    pub at_ms: i64,
    pub release: String,
    /// Empty for a row that the component made up, and where it broke.
    pub row: String,
    /// `malformed`, ..., or the code of the failure with which the component broke.
    pub cause: String,
    pub count: u64,
}

impl Journal {
    /// The warnings of a flow from one time up to another, oldest first.
    pub async fn warnings(
        &self,
        account: &AccountId,
        flow: &FlowId,
        per: Per,
        (from_ms, to_ms): (i64, i64),
    ) -> Result<Vec<WarningCount>, Error> {
        let values = vec![
            account.as_str().into(),
            flow.as_str().into(),
            per.ms().into(),
            (from_ms - from_ms.rem_euclid(per.ms())).into(),
            to_ms.into(),
        ];
        let rows = self.shared.one(&COUNTS, values).await?;
        rows.iter()
            .map(|row| {
                Ok(WarningCount {
                    at_ms: row.int(0)?,
                    release: row.string(1)?,
                    row: row.string(2)?,
                    cause: row.string(3)?,
                    count: row.int(4)?.unsigned_abs(),
                })
            })
            .collect()
    }

    /// Lets go of counts that are old by now.
    pub async fn forget_warnings(&self, now_ms: i64) -> Result<(), Error> {
        let plan = [Per::Minute, Per::Hour].map(|per| {
            Planned::one(
                &FORGET,
                vec![per.ms().into(), (now_ms - per.kept_ms()).into()],
            )
        });
        self.shared.writer.plain(plan.into(), false).await?;
        Ok(())
    }
}

static COUNTS: Sql = Sql {
    text: "select at, release_id, row_id, cause, count from warning_count
where account_id = ? and flow_id = ? and width = ? and at >= ? and at < ?
order by at, release_id, row_id, cause",
    kinds: &[],
};

static FORGET: Sql = Sql {
    text: "delete from warning_count where width = ? and at < ?",
    kinds: &[],
};

static ADD: Sql = Sql {
    text: "with v(account_id, flow_id, width, at, release_id, row_id, cause, count) as (values {rows})
insert {or_rollback} into warning_count (account_id, flow_id, width, at, release_id, row_id, cause, count)
select account_id, flow_id, width, at, release_id, row_id, cause, count from v
where account_id is not null
on conflict (account_id, flow_id, width, at, release_id, row_id, cause) do update
set count = warning_count.count + excluded.count",
    kinds: &[Text, Text, Int, Int, Text, Text, Text, Int],
};

/// Warnings of one batch of settlements, added up: a statement may touch a row once only.
#[derive(Default)]
pub(in crate::store) struct Warnings(BTreeMap<Key, i64>);

/// Account, flow, width, begin, release, row, cause; sorted, so that hosts lock them in one order.
type Key = (Arc<str>, Arc<str>, i64, i64, Arc<str>, Arc<str>, Arc<str>);

impl Warnings {
    pub(in crate::store) fn add(&mut self, account: &Arc<str>, ran: &Counted) {
        for (row, cause) in &ran.warnings {
            for per in [Per::Minute, Per::Hour] {
                let at = ran.at_ms - ran.at_ms.rem_euclid(per.ms());
                let key = (
                    account.clone(),
                    ran.flow.clone(),
                    per.ms(),
                    at,
                    ran.release.clone(),
                    row.clone(),
                    cause.clone(),
                );
                *self.0.entry(key).or_default() += 1;
            }
        }
    }

    pub(in crate::store) fn write(self, script: &mut Script) {
        let rows = self.0.into_iter().flat_map(|(key, count)| {
            let (account, flow, width, at, release, row, cause) = key;
            [
                Value::Text(account),
                Value::Text(flow),
                width.into(),
                at.into(),
                Value::Text(release),
                Value::Text(row),
                Value::Text(cause),
                count.into(),
            ]
        });
        script.rows(&ADD, rows.collect());
    }
}

/// What of a run is counted.
pub(in crate::store) struct Counted {
    flow: Arc<str>,
    release: Arc<str>,
    at_ms: i64,
    /// Row and cause of each.
    warnings: Vec<(Arc<str>, Arc<str>)>,
}

impl Counted {
    pub(super) fn of(ran: &Ran) -> Self {
        let warnings = ran.warnings.iter();
        let warnings =
            warnings.map(|warned| (warned.row.as_str().into(), warned.cause.as_str().into()));
        let broke = ran.broke.then(|| ("".into(), ran.outcome.as_str().into()));
        Self {
            flow: ran.flow.as_str().into(),
            release: ran.release.as_str().into(),
            at_ms: ran.at_ms,
            warnings: warnings.chain(broke).collect(),
        }
    }
}
