//! The calls an account may still make in its rate window.
//!
//! LeadSquared counts calls in a sliding window when they arrive. A call's place is therefore given free one
//! window after its *answer*: whatever the network did to it on the way, the server never sees more than the plan
//! allows. A 429 means that somebody else uses the account too, or that the plan is smaller than configured: all
//! calls wait out one window, and the limit sinks; it rises again by one call for every window that went well.
//! Where calls are scarce the urgent ones go first, and within one rank the first to ask.

mod day;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use crate::meter::{Counts, Timings};
use day::Quota;
pub use day::Used;

/// What LeadSquared counts over when the plan does not say: five seconds.
const DEFAULT_WINDOW: Duration = Duration::from_secs(5);

/// A call is with LeadSquared this long after it was sent at the latest, however busy this machine is.
const ARRIVES: Duration = Duration::from_secs(1);

/// The rate budget of one account, shared by all its callers.
pub struct Budget {
    state: Mutex<State>,
    freed: Notify,
    window: Duration,
    /// Calls by how they ended: the status of the answer, or a word where there was none.
    pub answers: Counts<String>,
    /// From sending to the answer's end.
    pub answering: Timings<()>,
}

struct State {
    /// Calls in one window; none is no limit.
    limit: Option<u32>,
    quota: Quota,
    /// Who waits, most urgent first, with the number of its turn.
    line: BTreeSet<(u8, u64)>,
    /// What the limit may rise to.
    ceiling: Option<u32>,
    /// When each place is free again, with a number that makes the entry unique.
    taken: BTreeSet<(Instant, u64)>,
    next: u64,
    blocked_until: Option<Instant>,
    /// When the limit was last changed.
    adjusted_at: Option<Instant>,
    /// How long answers take of late.
    answer_time: Duration,
}

/// The calls of an account, as they stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Calls in one window; none is no limit.
    pub limit: Option<u32>,
    pub window: Duration,
    /// How long answers take of late.
    pub answer_time: Duration,
    /// Calls of a day; none is no limit.
    pub daily_limit: Option<u32>,
    pub used: Used,
    /// Calls that wait for their turn.
    pub waiting: usize,
}

/// The day's calls are used up until this moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UsedUp(pub Timestamp);

/// Leave to make one call; the place is given back when this is dropped after the answer.
pub struct Permit {
    budget: Arc<Budget>,
    entry: Option<(Instant, u64)>,
    asked_at: Instant,
}

impl Budget {
    /// Makes the budget of a plan of `calls` in `window`, and of `daily` ones a day; 0 calls means no limit of our own.
    pub fn new(calls: u32, window: Duration, daily: Option<u32>) -> Self {
        let limit = (calls > 0).then_some(calls);
        Self {
            state: Mutex::new(State {
                limit,
                quota: Quota::new(daily),
                line: BTreeSet::new(),
                ceiling: limit,
                taken: BTreeSet::new(),
                next: 0,
                blocked_until: None,
                adjusted_at: None,
                answer_time: Duration::ZERO,
            }),
            freed: Notify::new(),
            answers: Counts::default(),
            answering: Timings::default(),
            window: if window.is_zero() {
                DEFAULT_WINDOW
            } else {
                window
            },
        }
    }

    /// Waits for a place; the lowest `rank` goes first, and within it who came first.
    ///
    /// # Errors
    /// [`UsedUp`] when the day's calls are: nobody waits that long.
    pub async fn acquire(self: &Arc<Self>, rank: u8) -> Result<Permit, UsedUp> {
        let turn = Turn::new(self, rank);
        loop {
            // Asked for before looking, so that a place freed in between is not missed.
            let freed = self.freed.notified();
            let free_at = match self.state().next(turn.number, self.window) {
                Next::Call(entry) => {
                    return Ok(Permit {
                        budget: Arc::clone(self),
                        entry,
                        asked_at: Instant::now(),
                    });
                }
                Next::UsedUp(until) => return Err(UsedUp(until)),
                Next::At(free_at) => Some(free_at),
                Next::AfterOthers => None,
            };
            match free_at {
                Some(free_at) => tokio::select! {
                    () = sleep_until(free_at) => {}
                    () = freed => {}
                },
                None => freed.await,
            }
        }
    }

    /// How the account's calls stand now.
    pub fn standing(&self) -> Standing {
        let state = self.state();
        Standing {
            limit: state.limit,
            window: self.window,
            answer_time: state.answer_time,
            daily_limit: state.quota.limit,
            used: state.quota.at(Timestamp::now()),
            waiting: state.line.len(),
        }
    }

    /// The calls since this was asked last, to be added up over restarts; none if there were none.
    pub fn tell(&self) -> Option<Used> {
        self.state().quota.tell()
    }

    /// Adds what a former process used today.
    pub fn resume(&self, used: Used) {
        self.state().quota.resume(used, Timestamp::now());
    }

    /// Takes note of a 429: nobody calls for one window; `stated` is the limit that the answer named.
    pub fn exceeded(&self, stated: Option<u32>) {
        let now = Instant::now();
        let mut state = self.state();
        // Calls that were under way together are refused together; they count as one.
        let first = state.blocked_until.is_none_or(|until| until <= now);
        state.blocked_until = Some(now + self.window);
        if let Some(stated) = stated {
            let stated = stated.max(1);
            state.ceiling = Some(state.ceiling.map_or(stated, |ceiling| ceiling.min(stated)));
        }
        if first {
            state.limit = match (state.limit, state.ceiling) {
                (Some(limit), Some(ceiling)) if ceiling < limit => Some(ceiling),
                (Some(limit), _) => Some((limit - limit.div_ceil(4)).max(1)),
                (None, ceiling) => ceiling,
            };
            state.adjusted_at = Some(now + self.window);
        } else if let (Some(limit), Some(ceiling)) = (state.limit, state.ceiling) {
            state.limit = Some(limit.min(ceiling));
        }
    }

    /// The calls per window that are used at present; none is no limit.
    pub fn limit(&self) -> Option<u32> {
        self.state().limit
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place in the line; given up when dropped.
struct Turn<'a> {
    budget: &'a Budget,
    number: (u8, u64),
}

impl<'a> Turn<'a> {
    fn new(budget: &'a Budget, rank: u8) -> Self {
        let mut state = budget.state();
        let number = (rank, state.next);
        state.next += 1;
        state.line.insert(number);
        drop(state);
        Self { budget, number }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut state = self.budget.state();
        state.line.remove(&self.number);
        let others = !state.line.is_empty();
        drop(state);
        if others {
            self.budget.freed.notify_waiters();
        }
    }
}

/// What the holder of a turn does next.
enum Next {
    Call(Option<(Instant, u64)>),
    /// Look again then.
    At(Instant),
    /// Others come first.
    AfterOthers,
    UsedUp(Timestamp),
}

impl State {
    fn next(&mut self, turn: (u8, u64), window: Duration) -> Next {
        if self.line.first() != Some(&turn) {
            return Next::AfterOthers;
        }
        let entry = match self.take(Instant::now(), window) {
            Ok(entry) => entry,
            Err(free_at) => return Next::At(free_at),
        };
        match self.quota.take(Timestamp::now()) {
            Ok(()) => Next::Call(entry),
            Err(until) => {
                if let Some(entry) = entry {
                    self.taken.remove(&entry);
                }
                Next::UsedUp(until)
            }
        }
    }

    /// Takes a place now, or says when to look again.
    fn take(&mut self, now: Instant, window: Duration) -> Result<Option<(Instant, u64)>, Instant> {
        if let Some(until) = self.blocked_until {
            if now < until {
                return Err(until);
            }
            self.blocked_until = None;
        }
        let Some(limit) = self.limit_at(now, window) else {
            return Ok(None);
        };
        while let Some(first) = self.taken.first()
            && first.0 <= now
        {
            self.taken.pop_first();
        }
        if let Some(&(free_at, _)) = self.taken.first()
            && self.taken.len() >= limit as usize
        {
            return Err(free_at);
        }
        // A call that gets no answer does not hold its place for ever: it arrived long ago, or never will.
        let entry = (now + window + window.max(ARRIVES), self.next);
        self.next += 1;
        self.taken.insert(entry);
        Ok(Some(entry))
    }

    fn limit_at(&mut self, now: Instant, window: Duration) -> Option<u32> {
        let limit = self.limit?;
        if let (Some(ceiling), Some(adjusted_at)) = (self.ceiling, self.adjusted_at)
            && limit < ceiling
            && now >= adjusted_at + window
        {
            self.limit = Some(limit + 1);
            self.adjusted_at = Some(now);
        }
        self.limit
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let Some((held_until, number)) = self.entry else {
            return;
        };
        let now = Instant::now();
        let free_at = (now + self.budget.window).min(held_until);
        let mut state = self.budget.state();
        state.answer_time = (state.answer_time * 15 + (now - self.asked_at)) / 16;
        if state.taken.remove(&(held_until, number)) {
            state.taken.insert((free_at, number));
        }
        drop(state);
        self.budget.freed.notify_waiters();
    }
}

impl fmt::Debug for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Budget")
            .field("standing", &self.standing())
            .field("window", &self.window)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
