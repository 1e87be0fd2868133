//! Figures of traffic, minute by minute and hour by hour, added up over restarts and hosts.

use std::collections::BTreeMap;

use super::read::state;
use super::{Journal, State};
use crate::flow::{AccountId, FlowId};
use crate::store::Error;
use crate::store::database::{Kind, Row, Sql};
use crate::store::writer::Planned;
use Kind::{Int, Text};

const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;

/// How often something of one kind happened to one subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tallied {
    pub account: AccountId,
    /// When the minute or the hour began, in epoch milliseconds.
    pub at_ms: i64,
    /// What happened.
    pub kind: String,
    /// The channel or the flow.
    pub subject: String,
    pub count: u64,
}

/// Deliveries of a flow that wait for the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenReason {
    pub flow: FlowId,
    pub state: State,
    pub count: u64,
    /// The code of what they wait for; empty where nothing was said yet.
    pub code: String,
    /// The sentence of one of them.
    pub detail: String,
    /// When the first of them is due.
    pub due_at_ms: Option<i64>,
}

/// What figures are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    Minute,
    Hour,
}

impl Journal {
    /// Adds figures of minutes to what is kept, and to their hours.
    pub async fn add_tallies(&self, tallies: &[Tallied]) -> Result<(), Error> {
        if tallies.is_empty() {
            return Ok(());
        }
        let rows = |step_ms: i64| {
            // One statement may not meet a row twice.
            let mut sums = BTreeMap::new();
            for one in tallies {
                let at = one.at_ms - one.at_ms.rem_euclid(step_ms);
                let key = (&one.account, at, one.kind.as_str(), one.subject.as_str());
                *sums.entry(key).or_default() += one.count;
            }
            let rows =
                sums.into_iter()
                    .flat_map(|((account, at, kind, subject), count): (_, u64)| {
                        [
                            account.as_str().into(),
                            at.into(),
                            kind.into(),
                            subject.into(),
                            (count as i64).into(),
                        ]
                    });
            rows.collect()
        };
        let plan = vec![
            Planned::rows(&ADD_MINUTES, rows(MINUTE_MS)),
            Planned::rows(&ADD_HOURS, rows(HOUR_MS)),
        ];
        self.shared.writer.plain(plan, false).await?;
        Ok(())
    }

    /// The figures of an account from `from_ms` to before `to_ms`, by the begin of their step.
    pub async fn tallies(
        &self,
        account: &AccountId,
        step: Step,
        from_ms: i64,
        to_ms: i64,
    ) -> Result<Vec<Tallied>, Error> {
        let sql = match step {
            Step::Minute => &MINUTES,
            Step::Hour => &HOURS,
        };
        let values = vec![account.as_str().into(), from_ms.into(), to_ms.into()];
        let rows = self.shared.one(sql, values).await?;
        let tallied = rows.iter().map(|row| {
            Ok(Tallied {
                account: account.clone(),
                at_ms: row.int(0)?,
                kind: row.text(1)?.to_string(),
                subject: row.text(2)?.to_string(),
                count: row.int(3)?.unsigned_abs(),
            })
        });
        tallied.collect()
    }

    /// When something of `kind` happened last to a subject, to the minute; none if it did not in the minutes that are kept.
    pub async fn last_tallied(
        &self,
        account: &AccountId,
        kind: &str,
        subject: &str,
    ) -> Result<Option<i64>, Error> {
        let values = vec![account.as_str().into(), kind.into(), subject.into()];
        let rows = self.shared.one(&LAST, values).await?;
        Ok(rows.first().map(|row| row.int(0)).transpose()?)
    }

    /// The minutes since `from_ms` in which something of `kind` happened to a subject, oldest first.
    pub async fn tallied_minutes(
        &self,
        account: &AccountId,
        kind: &str,
        subject: &str,
        from_ms: i64,
    ) -> Result<Vec<i64>, Error> {
        let values = vec![
            account.as_str().into(),
            kind.into(),
            subject.into(),
            from_ms.into(),
        ];
        let rows = self.shared.one(&OF_SUBJECT, values).await?;
        Ok(rows
            .iter()
            .map(|row| row.int(0))
            .collect::<Result<_, _>>()?)
    }

    /// The oldest delivery of each flow that is not at its end, as its id, which tells when its message came.
    pub async fn oldest_open(&self, account: &AccountId) -> Result<Vec<(FlowId, String)>, Error> {
        let values = vec![account.as_str().into()];
        let rows = self.shared.one(&OLDEST, values).await?;
        let oldest = rows.iter().map(|row| {
            let flow: FlowId = row.text(0)?.as_ref().into();
            Ok((flow, row.string(1)?))
        });
        oldest.collect()
    }

    /// Forgets minutes and hours that began before these times.
    pub async fn forget_tallies(&self, minutes_ms: i64, hours_ms: i64) -> Result<(), Error> {
        let plan = vec![
            Planned::one(&FORGET_MINUTES, vec![minutes_ms.into()]),
            Planned::one(&FORGET_HOURS, vec![hours_ms.into()]),
        ];
        self.shared.writer.plain(plan, false).await?;
        Ok(())
    }

    /// Counts the deliveries of an account that are not at their end, by flow, state and reason; those that are at their
    /// end are never counted, however many they are.
    pub async fn open_reasons(&self, account: &AccountId) -> Result<Vec<OpenReason>, Error> {
        let values = vec![account.as_str().into()];
        let rows = self.shared.one(&REASONS, values).await?;
        let reasons = rows.iter().map(|row| {
            Ok(OpenReason {
                flow: row.text(0)?.as_ref().into(),
                state: state(&row.text(1)?)?,
                count: row.int(2)?.unsigned_abs(),
                detail: row.string(3)?,
                due_at_ms: row.optional(4, Row::int)?,
                code: row.string(5)?,
            })
        });
        reasons.collect()
    }
}

static ADD_MINUTES: Sql = Sql {
    text: "with v(account_id, at, kind, subject, count) as (values {rows})
insert {or_rollback} into tally_minute (account_id, at, kind, subject, count)
select account_id, at, kind, subject, count from v
where account_id is not null
on conflict (account_id, at, kind, subject) do update set count = tally_minute.count + excluded.count",
    kinds: &[Text, Int, Text, Text, Int],
};

static ADD_HOURS: Sql = Sql {
    text:
        "with v(account_id, at, kind, subject, count) as (values {rows})
insert {or_rollback} into tally_hour (account_id, at, kind, subject, count)
select account_id, at, kind, subject, count from v
where account_id is not null
on conflict (account_id, at, kind, subject) do update set count = tally_hour.count + excluded.count",
    kinds: &[Text, Int, Text, Text, Int],
};

static MINUTES: Sql = Sql {
    text: "select at, kind, subject, count from tally_minute where account_id = ? and at >= ? and at < ? order by at",
    kinds: &[],
};

static HOURS: Sql = Sql {
    text: "select at, kind, subject, count from tally_hour where account_id = ? and at >= ? and at < ? order by at",
    kinds: &[],
};

static LAST: Sql = Sql {
    text: "select at from tally_minute where account_id = ? and kind = ? and subject = ? order by at desc limit 1",
    kinds: &[],
};

static OF_SUBJECT: Sql = Sql {
    text: "select at from tally_minute where account_id = ? and kind = ? and subject = ? and at >= ? order by at",
    kinds: &[],
};

static OLDEST: Sql = Sql {
    text: "select flow_id, min(id) from delivery
where account_id = ? and state in ('queued', 'running', 'waiting', 'parked')
group by flow_id",
    kinds: &[],
};

static FORGET_MINUTES: Sql = Sql {
    text: "delete from tally_minute where at < ?",
    kinds: &[],
};

static FORGET_HOURS: Sql = Sql {
    text: "delete from tally_hour where at < ?",
    kinds: &[],
};

static REASONS: Sql = Sql {
    text: "select flow_id, state, count(*), max(detail), min(due_at), reason from delivery
where account_id = ? and state in ('queued', 'running', 'waiting', 'parked')
group by flow_id, state, reason",
    kinds: &[],
};
