//! How many calls an account has left, what is waiting for them, and when that will be done.
//!
//! Calls are the scarce resource of the whole product; nobody should have to guess when the queue is empty.
//! [`Pace`] learns what a delivery costs, [`outlook`] puts it together.

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::{Pipeline, ahead};
use crate::flow::AccountId;
use crate::leadsquared::Standing;
use crate::store;
use crate::store::journal::{Lanes, Lease, State};

/// How much of an average the newest delivery is, once there have been as many.
const MEMORY: f64 = 200.0;

/// Lanes that are kept in mind as begun; beyond that all are forgotten, and a few deliveries counted as first ones.
const BEGUN: usize = 100_000;

/// What deliveries have cost of late, in calls.
#[derive(Debug, Default)]
pub struct Pace(Mutex<Costs>);

#[derive(Debug, Default)]
struct Costs {
    /// Of a delivery whose patient's lead was not known, and of one whose was.
    unknown: Average,
    known: Average,
    /// The share of first deliveries whose patient's lead was not known.
    share: Average,
    /// Lanes of which a delivery was noted that others waited behind: the next one is not their first.
    begun: HashSet<Arc<[u8]>>,
    /// The first deliveries of their lanes that are under way, with the calls that each has made.
    firsts: BTreeMap<u64, Arc<AtomicU64>>,
    /// Numbers of those.
    last: u64,
}

/// A delivery under way.
#[derive(Debug)]
pub struct Underway<'a> {
    pace: &'a Pace,
    lane: Option<Arc<[u8]>>,
    is_followed: bool,
    calls: Arc<AtomicU64>,
    /// Its number, if it is the first of its lane.
    first: Option<u64>,
}

impl Underway<'_> {
    /// Notes what it cost, whatever came of it.
    pub fn end(self, lead_was_known: bool) {
        let mut costs = self.pace.costs();
        let calls = self.calls.load(Ordering::Relaxed) as f64;
        match lead_was_known {
            true => costs.known.add(calls),
            false => costs.unknown.add(calls),
        }
        if self.first.is_some() {
            costs.share.add(f64::from(u8::from(!lead_was_known)));
        }
        let Some(lane) = &self.lane else {
            return;
        };
        costs.begun.remove(lane);
        if self.is_followed {
            if costs.begun.len() >= BEGUN {
                costs.begun.clear();
            }
            costs.begun.insert(lane.clone());
        }
    }
}

impl Drop for Underway<'_> {
    fn drop(&mut self) {
        if let Some(first) = self.first {
            self.pace.costs().firsts.remove(&first);
        }
    }
}

#[derive(Debug, Clone, Copy, Default)]
struct Average {
    value: f64,
    count: f64,
}

impl Average {
    fn add(&mut self, value: f64) {
        self.count = (self.count + 1.0).min(MEMORY);
        self.value += (value - self.value) / self.count;
    }

    fn or(self, otherwise: f64) -> f64 {
        if self.count > 0.0 {
            self.value
        } else {
            otherwise
        }
    }
}

impl Pace {
    fn costs(&self) -> MutexGuard<'_, Costs> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins to count what the delivery of `lease` costs; `calls` counts those that it makes.
    pub fn begin(&self, lease: &Lease, is_followed: bool, calls: Arc<AtomicU64>) -> Underway<'_> {
        self.begin_at(lease.lane().cloned(), is_followed, calls)
    }

    fn begin_at(
        &self,
        lane: Option<Arc<[u8]>>,
        is_followed: bool,
        calls: Arc<AtomicU64>,
    ) -> Underway<'_> {
        let mut costs = self.costs();
        let has_begun = lane.as_ref().is_some_and(|lane| costs.begun.contains(lane));
        let first = (!has_begun).then(|| {
            costs.last += 1;
            let number = costs.last;
            costs.firsts.insert(number, calls.clone());
            number
        });
        Underway {
            pace: self,
            lane,
            is_followed,
            calls,
            first,
        }
    }

    /// The calls that messages of a load will cost, of so many patients; `joins` says whether their updates go out together.
    pub(super) fn of_load(&self, messages: u64, patients: u64, joins: bool) -> f64 {
        let lanes = Lanes {
            untouched: patients,
            followed: patients.min(messages.saturating_sub(patients)),
        };
        self.expect(messages, if joins { messages } else { 0 }, lanes)
    }

    /// The calls that `deliveries` will cost, of which the first of each untouched lane may be about an unknown patient.
    /// `joined` of them are updates, and those that wait in one lane go out together.
    fn expect(&self, deliveries: u64, joined: u64, lanes: Lanes) -> f64 {
        let costs = self.costs();
        // A search and a creation; an update.
        let (unknown, known) = (costs.unknown.or(2.0), costs.known.or(1.0));
        let share = costs.share.or(1.0);
        let one = share * unknown + (1.0 - share) * known;
        let first = lanes.untouched.min(deliveries);
        // What is under way has made some of its calls.
        let left = |calls: &Arc<AtomicU64>| (one - calls.load(Ordering::Relaxed) as f64).max(0.0);
        let underway: f64 = costs.firsts.values().map(left).sum();
        let rest = (deliveries - first).saturating_sub(costs.firsts.len() as u64);
        let joined = joined.min(rest);
        first as f64 * one
            + underway
            + (joined as f64 * known).min(lanes.followed as f64)
            + (rest - joined) as f64 * known
    }
}

/// An account's calls and its queue, as they stand.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Outlook {
    /// Deliveries that are queued, running, or waiting for their next try.
    pub open_deliveries: u64,
    /// Calls that they are expected to cost.
    pub expected_calls: f64,
    /// Calls allowed in one window; none is no limit.
    pub calls_per_window: Option<u32>,
    pub window_ms: u64,
    /// When the queue is empty if nothing more comes; none where nothing limits the calls.
    pub empty_in_ms: Option<u64>,
    /// Calls of this day of UTC that this host may make, and has made.
    pub calls_of_today: Option<u32>,
    pub used_today: u32,
    /// When today's calls are used up, at the rate of today so far; none if they last.
    pub used_up_at: Option<String>,
}

/// Says how an account's calls stand and when its queue will be empty; none for an account that is not configured.
pub async fn outlook(
    pipeline: &Pipeline,
    account: &AccountId,
) -> Result<Option<Outlook>, store::Error> {
    let configuration = pipeline.configuration();
    let Some(entry) = configuration.account(account) else {
        return Ok(None);
    };
    let journal = pipeline.store.journal();
    let counts = journal.open_reasons(account).await?;
    let open = counts
        .iter()
        .filter(|count| matches!(count.state, State::Queued | State::Running | State::Waiting));
    let joins = |flow| {
        let route = configuration.route(flow);
        route.is_some_and(|route| ahead::joins(&route.flow))
    };
    let joined = open.clone().filter(|count| joins(&count.flow));
    let joined = joined.map(|count| count.count).sum();
    let open = open.map(|count| count.count).sum();
    let lanes = journal.lanes(account).await?;
    let expected_calls = entry.pace.expect(open, joined, lanes);
    Ok(Some(project(
        &entry.client.budget().standing(),
        open,
        expected_calls,
        Timestamp::now(),
    )))
}

fn project(standing: &Standing, open: u64, expected_calls: f64, now: Timestamp) -> Outlook {
    // A place is free again one window after its answer.
    let turn = standing.window + standing.answer_time;
    let empty_in = standing
        .limit
        .map(|limit| turn.mul_f64(expected_calls / f64::from(limit.max(1))));
    let today = now.as_millisecond().rem_euclid(DAY.as_millis() as i64);
    let used = standing.used.calls;
    let used_up_at = standing.daily_limit.and_then(|limit| {
        if used >= limit {
            return Some(now);
        }
        let left_ms = i64::from(limit - used) * today / i64::from(used.max(1));
        let at = Timestamp::from_millisecond(now.as_millisecond() + left_ms).ok()?;
        (today + left_ms < DAY.as_millis() as i64).then_some(at)
    });
    Outlook {
        open_deliveries: open,
        expected_calls,
        calls_per_window: standing.limit,
        window_ms: standing.window.as_millis() as u64,
        empty_in_ms: empty_in.map(|time| time.as_millis() as u64),
        calls_of_today: standing.daily_limit,
        used_today: used,
        used_up_at: used_up_at.map(|at| at.to_string()),
    }
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::leadsquared::Used;

    #[test]
    fn a_queue_is_forecast_from_what_deliveries_cost() {
        let pace = Pace::default();
        let lanes = |untouched, followed| Lanes {
            untouched,
            followed,
        };
        // 500 new patients with four messages each: a search and a creation, then three updates.
        assert_eq!(pace.expect(2_000, 0, lanes(500, 500)), 2_500.0);
        // The three go out as one.
        assert_eq!(pace.expect(2_000, 2_000, lanes(500, 500)), 1_500.0);
        let begin = |patient: u64, is_followed, calls| {
            let lane = patient.to_be_bytes().as_slice().into();
            pace.begin_at(Some(lane), is_followed, Arc::new(AtomicU64::new(calls)))
        };
        let note = |patient: u64, is_followed, calls| {
            begin(patient, is_followed, calls).end(calls < 3);
        };
        // Each new patient costs three calls, and the next two messages of theirs one.
        for patient in 0..100 {
            note(patient, true, 3);
            note(patient, true, 1);
            note(patient, false, 1);
        }
        assert_eq!(
            pace.expect(1_900, 0, lanes(400, 500)),
            1_900.0 + 2.0 * 400.0,
            "those that came behind say nothing of the next patient"
        );
        let underway: Vec<_> = (200..300).map(|patient| begin(patient, true, 2)).collect();
        assert_eq!(
            pace.expect(1_900, 0, lanes(300, 500)),
            1_800.0 + 2.0 * 300.0 + 100.0,
            "of three calls two are made"
        );
        drop(underway);
        for patient in 0..2_000 {
            note(patient, false, 0);
        }
        assert!(
            pace.expect(1_000, 1_000, lanes(0, 1_000)) < 1.0,
            "unchanged updates cost nothing"
        );
    }

    #[test]
    fn a_plan_says_when_the_queue_is_empty_and_the_day_used_up() {
        let noon: Timestamp = "2026-11-20T12:00:00Z".parse().unwrap();
        let standing = |used| Standing {
            limit: Some(10),
            window: Duration::from_secs(5),
            answer_time: Duration::ZERO,
            daily_limit: Some(7_000),
            used: Used {
                day: 0,
                calls: used,
            },
            waiting: 0,
        };
        let seen = project(&standing(3_000), 100, 200.0, noon);
        assert_eq!(seen.empty_in_ms, Some(100_000));
        assert_eq!(
            seen.used_up_at, None,
            "6,000 of 7,000 at the end of the day"
        );
        let seen = project(&standing(5_000), 100, 200.0, noon);
        assert_eq!(seen.used_up_at.as_deref(), Some("2026-11-20T16:48:00Z"));
        let seen = project(&standing(7_000), 100, 200.0, noon);
        assert_eq!(seen.used_up_at.as_deref(), Some("2026-11-20T12:00:00Z"));
    }
}
