//! Messages by why they did not go through.
//!
//! Each reason has a code and a sentence. Codes are few and stand in an index, so those are jumped through; of a code that
//! is not what was asked for the newest sentences are read, never all of them.

use std::collections::BTreeSet;

use super::super::retention::NEXT_BARE;
use super::super::{FACTS, Filter, Journal, State, WHOLE};
use super::super::{ledger, misses, read, release};
use crate::store::Error;
use crate::store::database::{Row, Sql};

/// Sentences of one code, flow or channel that are read for one page.
const LOOKED_AT: usize = 500;

/// Shorter texts are in every sentence.
const SHORTEST: usize = 3;

/// Deliveries with a reason, newest first.
pub(in crate::store::journal) struct Reasoned<'a> {
    pub account: &'a str,
    pub code: &'a str,
    /// Ids between which they lie.
    pub between: (&'a str, &'a str),
}

impl Journal {
    /// Message id and sentence of up to `limit` deliveries.
    pub(in crate::store::journal) async fn by_reason(
        &self,
        which: &Reasoned<'_>,
        filter: &Filter,
        limit: usize,
    ) -> Result<Vec<Row>, Error> {
        let flows = match &filter.flow {
            Some(flow) => vec![flow.as_str().to_owned()],
            None => {
                let within = [which.account, which.code];
                self.every(&NEXT_REASON_FLOW, &within).await?
            }
        };
        let state = filter.state.map_or("", |state| state.as_str());
        let mut rows = Vec::new();
        for flow in &flows {
            let values = vec![
                which.account.into(),
                which.code.into(),
                flow.as_str().into(),
                which.between.0.into(),
                which.between.1.into(),
                state.into(),
                state.into(),
                (limit as i64).into(),
            ];
            rows.append(&mut self.shared.one(&BY_REASON, values).await?);
        }
        Ok(rows)
    }

    /// The ids of messages whose reason has `text` in it.
    pub(super) async fn told(
        &self,
        account: &str,
        filter: &Filter,
        text: &str,
        between: (&str, &str),
        limit: usize,
    ) -> Result<BTreeSet<String>, Error> {
        let text = text.trim().to_lowercase();
        let mut found = BTreeSet::new();
        if text.chars().count() < SHORTEST {
            return Ok(found);
        }
        let is_it = |said: &str| said.to_lowercase().contains(&text);
        for code in self.every(&NEXT_REASON, &[account]).await? {
            let is_code = is_it(&code) || is_it(&code.replace('-', " "));
            let which = Reasoned {
                account,
                code: &code,
                between,
            };
            let most = if is_code { limit } else { LOOKED_AT };
            for row in self.by_reason(&which, filter, most).await? {
                if is_code || is_it(&row.text(1)?) {
                    found.insert(row.string(0)?);
                }
            }
        }
        // What went through may say something of itself, too: of those the newest are read.
        if filter.state.is_none_or(|state| state == State::Delivered) {
            let state = State::Delivered.as_str();
            let flows = match &filter.flow {
                Some(flow) => vec![flow.as_str().to_owned()],
                None => self.every(&read::NEXT_FLOW, &[account, state]).await?,
            };
            for flow in &flows {
                let values = vec![
                    account.into(),
                    state.into(),
                    flow.as_str().into(),
                    between.0.into(),
                    between.1.into(),
                    (LOOKED_AT as i64).into(),
                ];
                for row in self.shared.one(&SAID, values).await? {
                    if is_it(&row.text(1)?) {
                        found.insert(row.string(0)?);
                    }
                }
            }
        }
        // Those that no flow took have no delivery.
        if filter.flow.is_some() || filter.state.is_some() {
            return Ok(found);
        }
        for kept in [WHOLE, FACTS] {
            for channel in self.every(&NEXT_BARE, &[account, kept]).await? {
                let values = vec![
                    account.into(),
                    kept.into(),
                    channel.as_str().into(),
                    between.0.into(),
                    between.1.into(),
                    (LOOKED_AT as i64).into(),
                ];
                for row in self.shared.one(&BARE, values).await? {
                    let code = row.text(1)?;
                    if is_it(&code) || is_it(&code.replace('-', " ")) || is_it(&row.text(2)?) {
                        found.insert(row.string(0)?);
                    }
                }
            }
        }
        Ok(found)
    }
}

static NEXT_REASON: Sql = Sql {
    text: "select min(reason) from delivery
where account_id = ? and reason > ? and state in ('waiting', 'parked', 'skipped', 'dead')",
    kinds: &[],
};

static NEXT_REASON_FLOW: Sql = Sql {
    text: "select min(flow_id) from delivery
where account_id = ? and reason = ? and flow_id > ? and state in ('waiting', 'parked', 'skipped', 'dead')",
    kinds: &[],
};

static BY_REASON: Sql = Sql {
    text: "select message_id, detail from delivery
where account_id = ? and reason = ? and flow_id = ? and id > ? and id < ?
and state in ('waiting', 'parked', 'skipped', 'dead') and (? = '' or state = ?)
order by id desc
limit ?",
    kinds: &[],
};

static SAID: Sql = Sql {
    text: "select message_id, detail from delivery
where account_id = ? and state = ? and flow_id = ? and id > ? and id < ?
order by id desc
limit ?",
    kinds: &[],
};

static BARE: Sql = Sql {
    text: "select id, reason, detail from message
where account_id = ? and kept = ? and channel_id = ? and id > ? and id < ? and route <> 'flows'
order by id desc
limit ?",
    kinds: &[],
};

/// What lists, searches and releases ask the database, to be looked at with `explain`: `?` stands for a value, `{rows}`
/// for rows of as many values as the number says.
pub fn statements() -> Vec<(&'static str, usize)> {
    let own = [
        &misses::MISSES,
        &ledger::OPEN,
        &NEXT_REASON,
        &NEXT_REASON_FLOW,
        &BY_REASON,
        &SAID,
        &BARE,
        &NEXT_BARE,
        &super::FILED,
        &super::NUMBERED,
    ];
    let all = own
        .into_iter()
        .chain(read::OF_LISTS)
        .chain(release::OF_RELEASES);
    all.map(|sql| (sql.text, sql.kinds.len())).collect()
}
