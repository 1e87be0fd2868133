//! A target that is sent to for days: one connection at a time, made again when it ends, and an account of what is
//! unanswered.
//!
//! An answer is credited to the payload that the caller recognises it for, or to none: what comes late, twice or for
//! something else is counted and put aside. When a connection ends, whatever was unanswered on it is given back with
//! the reason; nothing is sent a second time from here, because only the caller knows whether that is right.
//! Start at [`Link::settle`].

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::{Error, Sender, Target};

/// How long to wait before connecting again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// After the second failure in a row; the first is tried again at once, because peers that close after every
    /// message are common. Doubles from there.
    pub first: Duration,
    /// It grows no longer than this.
    pub most: Duration,
}

impl Default for Backoff {
    /// 1 s, doubling to 60 s.
    fn default() -> Self {
        Self {
            first: Duration::from_secs(1),
            most: Duration::from_secs(60),
        }
    }
}

impl Backoff {
    /// For commands, whose user waits.
    pub const NONE: Self = Self {
        first: Duration::ZERO,
        most: Duration::ZERO,
    };

    /// The wait after so many failures in a row: between half and all of the full wait, as `random` says, so that
    /// many senders do not come back in the same instant.
    pub fn delay(&self, failures: u32, random: u32) -> Duration {
        if failures < 2 {
            return Duration::ZERO;
        }
        let doubled = 2_u32.saturating_pow(failures - 2);
        let full = self.first.saturating_mul(doubled).min(self.most);
        full.mul_f64(0.5 + 0.5 * f64::from(random) / f64::from(u32::MAX))
    }
}

/// What an answer is to a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Match {
    /// It belongs to something else.
    Foreign,
    /// A commit acknowledgement, and an application acknowledgement is to follow.
    Commit,
    /// The last answer there will be.
    Final,
}

/// What came of one payload.
pub struct Settled<K> {
    /// What the caller called it.
    pub key: K,
    /// The commit acknowledgement, if one came before the last answer.
    pub commit: Option<Vec<u8>>,
    /// The last answer.
    pub result: Result<Vec<u8>, Error>,
    /// From [`Link::queue`] on.
    pub duration: Duration,
    /// Answers that came meanwhile and belong to something else.
    pub foreign: u64,
}

struct Outstanding<K> {
    key: K,
    commit: Option<Vec<u8>>,
    sent_at: Instant,
    deadline: Instant,
    foreign_before: u64,
}

impl<K> Outstanding<K> {
    fn settle(self, result: Result<Vec<u8>, Error>, foreign: u64) -> Settled<K> {
        Settled {
            key: self.key,
            commit: self.commit,
            result,
            duration: self.sent_at.elapsed(),
            foreign: foreign - self.foreign_before,
        }
    }
}

/// A target with its connection; `K` is what the caller knows an unanswered payload by.
pub struct Link<K> {
    target: Target,
    window: usize,
    backoff: Backoff,
    open: Option<Sender>,
    outstanding: VecDeque<Outstanding<K>>,
    /// Settled already, not told yet.
    settled: VecDeque<Settled<K>>,
    failures: u32,
    retry_at: Option<Instant>,
    foreign: u64,
}

impl<K> Link<K> {
    /// A link that is not connected yet, with at most `window` unanswered payloads; 1 is what MLLP means.
    pub fn new(target: Target, window: usize) -> Self {
        Self {
            target,
            window: window.max(1),
            backoff: Backoff::default(),
            open: None,
            outstanding: VecDeque::new(),
            settled: VecDeque::new(),
            failures: 0,
            retry_at: None,
            foreign: 0,
        }
    }

    /// The same with other waits between two connections.
    pub fn with_backoff(self, backoff: Backoff) -> Self {
        Self { backoff, ..self }
    }

    /// Connects, unless there is a connection that the peer has not closed; waits first if the ones before failed. Tries once.
    ///
    /// # Errors
    /// [`Error::Connect`], [`Error::Tls`] and [`Error::ConnectTimedOut`].
    pub async fn open(&mut self) -> Result<(), Error> {
        if let Some(sender) = &mut self.open {
            if !self.outstanding.is_empty() || !sender.has_ended().await {
                return Ok(());
            }
            self.open = None;
        }
        if let Some(at) = self.retry_at {
            sleep_until(at).await;
        }
        match Box::pin(Sender::connect(&self.target)).await {
            Ok(sender) => {
                self.open = Some(sender);
                Ok(())
            }
            Err(error) => {
                self.failed();
                Err(error)
            }
        }
    }

    /// Where it leads to, as the target writes it.
    pub fn address(&self) -> &str {
        &self.target.address
    }

    /// How long it waits before it connects again, after failures; none when it would do so now.
    pub fn rests(&self) -> Option<Duration> {
        let at = self.retry_at.filter(|_| self.open.is_none())?;
        let wait = at.saturating_duration_since(Instant::now());
        (!wait.is_zero()).then_some(wait)
    }

    /// Whether nothing is unanswered, and nothing settled that was not told.
    pub fn is_idle(&self) -> bool {
        self.outstanding.is_empty() && self.settled.is_empty()
    }

    /// Whether another payload may be queued before an answer came.
    pub fn has_room(&self) -> bool {
        self.outstanding.len() < self.window
    }

    /// Puts a payload behind those that wait to be written; [`Link::settle`] writes, and says what came of it.
    pub fn queue(&mut self, key: K, payload: &[u8]) {
        let now = Instant::now();
        let sent = Outstanding {
            key,
            commit: None,
            sent_at: now,
            deadline: now + self.target.timeouts.answer,
            foreign_before: self.foreign,
        };
        let queued = match &mut self.open {
            Some(sender) => sender.queue(payload),
            None => Err(Error::Closed),
        };
        match queued {
            Ok(()) => self.outstanding.push_back(sent),
            Err(error) => self
                .settled
                .push_back(sent.settle(Err(error), self.foreign)),
        }
    }

    /// Waits for the end of any one payload; `None` when none is unanswered.
    ///
    /// `judge` is asked for each unanswered payload, oldest first, whether an answer is its own. May be dropped and
    /// called again at any time.
    pub async fn settle(
        &mut self,
        mut judge: impl FnMut(&K, &[u8]) -> Match,
    ) -> Option<Settled<K>> {
        loop {
            if let Some(settled) = self.settled.pop_front() {
                return Some(settled);
            }
            let deadlines = self.outstanding.iter().map(|sent| sent.deadline);
            let deadline = deadlines.min()?;
            let answer = match &mut self.open {
                Some(sender) => sender.answer(deadline).await,
                None => Err(Error::Closed),
            };
            match answer {
                Ok(answer) => {
                    if let Some(settled) = self.credit(answer, &mut judge) {
                        return Some(settled);
                    }
                }
                Err(error) if error.keeps_connection() => {
                    let mut late = self.outstanding.iter();
                    let position = late.position(|sent| sent.deadline == deadline)?;
                    let late = self.outstanding.remove(position)?;
                    let error = match late.commit {
                        Some(_) => Error::NotApplied(self.target.timeouts.application),
                        None => error,
                    };
                    return Some(late.settle(Err(error), self.foreign));
                }
                Err(error) => {
                    self.failed();
                    self.lose(&error);
                }
            }
        }
    }

    /// Connects, sends one payload and waits for its end: lock-step, as MLLP means it.
    ///
    /// What was queued before and has not ended is given up.
    pub async fn send(
        &mut self,
        key: K,
        payload: &[u8],
        judge: impl FnMut(&K, &[u8]) -> Match,
    ) -> Settled<K> {
        if !self.outstanding.is_empty() {
            self.close();
        }
        self.settled.clear();
        let started = Instant::now();
        if let Err(error) = self.open().await {
            let sent = Outstanding {
                key,
                commit: None,
                sent_at: started,
                deadline: started,
                foreign_before: self.foreign,
            };
            return sent.settle(Err(error), self.foreign);
        }
        self.queue(key, payload);
        match self.settle(judge).await {
            Some(settled) => settled,
            None => unreachable!("what was queued is settled"),
        }
    }

    /// Gives up the connection; what is unanswered is settled as [`Error::GivenUp`].
    ///
    /// For a caller that cannot tell a late answer from the next one.
    pub fn close(&mut self) {
        self.open = None;
        self.lose(&Error::GivenUp);
    }

    /// Answers that belonged to nothing that was unanswered, since the link was made.
    pub fn foreign(&self) -> u64 {
        self.foreign
    }

    fn credit(
        &mut self,
        answer: Vec<u8>,
        judge: &mut impl FnMut(&K, &[u8]) -> Match,
    ) -> Option<Settled<K>> {
        for position in 0..self.outstanding.len() {
            let sent = &mut self.outstanding[position];
            match judge(&sent.key, &answer) {
                Match::Foreign => {}
                Match::Commit => {
                    sent.commit = Some(answer);
                    sent.deadline = Instant::now() + self.target.timeouts.application;
                    self.worked();
                    return None;
                }
                Match::Final => {
                    let sent = self.outstanding.remove(position)?;
                    self.worked();
                    return Some(sent.settle(Ok(answer), self.foreign));
                }
            }
        }
        self.foreign += 1;
        None
    }

    fn lose(&mut self, error: &Error) {
        let foreign = self.foreign;
        let lost = self.outstanding.drain(..);
        self.settled
            .extend(lost.map(|sent| sent.settle(Err(error.clone()), foreign)));
    }

    fn worked(&mut self) {
        (self.failures, self.retry_at) = (0, None);
    }

    fn failed(&mut self) {
        self.open = None;
        self.failures = self.failures.saturating_add(1);
        // Without randomness the waits are merely less spread.
        let random = getrandom::u32().unwrap_or(u32::MAX);
        self.retry_at = Some(Instant::now() + self.backoff.delay(self.failures, random));
    }
}

impl<K: fmt::Debug> fmt::Debug for Settled<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settled")
            .field("key", &self.key)
            .field("has_commit", &self.commit.is_some())
            .field("error", &self.result.as_ref().err())
            .field("duration", &self.duration)
            .field("foreign", &self.foreign)
            .finish()
    }
}

impl<K> fmt::Debug for Link<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link")
            .field("target", &self.target)
            .field("is_open", &self.open.is_some())
            .field("outstanding", &self.outstanding.len())
            .field("failures", &self.failures)
            .finish_non_exhaustive()
    }
}
