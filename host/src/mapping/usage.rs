//! What a component uses on this host: now, and at most since the start.
//!
//! Kept by digest: however often a component was loaded, and by whichever flow, it is one. Start at [`Usages::of`].

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::flow::Digest;

/// Runs without a break after which a component that broke is trusted again.
const PROBATION: u64 = 100;

/// Running numbers of one component.
#[derive(Debug, Default)]
pub(crate) struct Usage {
    /// Runs that are left of its probation.
    probation: AtomicU64,
    running: AtomicU64,
    most_running: AtomicU64,
    runs: AtomicU64,
    broke: AtomicU64,
    most_memory_bytes: AtomicU64,
    most_duration_us: AtomicU64,
    duration_us: AtomicU64,
}

/// What a component uses, at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Used {
    pub running: u64,
    pub most_running: u64,
    pub runs: u64,
    /// Runs that ended with a trap or a limit.
    pub broke: u64,
    pub most_memory_bytes: u64,
    pub most_duration_us: u64,
    /// Of all runs together.
    pub duration_us: u64,
}

/// One run under way.
pub(crate) struct Underway<'a>(&'a Usage);

impl Usage {
    pub(crate) fn begin(&self) -> Underway<'_> {
        let running = self.running.fetch_add(1, Ordering::Relaxed) + 1;
        self.most_running.fetch_max(running, Ordering::Relaxed);
        self.runs.fetch_add(1, Ordering::Relaxed);
        Underway(self)
    }

    /// Whether it has done its last runs without a break.
    pub(crate) fn is_trusted(&self) -> bool {
        self.probation.load(Ordering::Relaxed) == 0
    }

    pub(crate) fn used(&self) -> Used {
        let read = |number: &AtomicU64| number.load(Ordering::Relaxed);
        Used {
            running: read(&self.running),
            most_running: read(&self.most_running),
            runs: read(&self.runs),
            broke: read(&self.broke),
            most_memory_bytes: read(&self.most_memory_bytes),
            most_duration_us: read(&self.most_duration_us),
            duration_us: read(&self.duration_us),
        }
    }
}

impl Underway<'_> {
    /// Notes what the run took.
    pub(crate) fn took(&self, duration: Duration, memory_bytes: usize, broke: bool) {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let Self(usage) = self;
        usage.most_duration_us.fetch_max(micros, Ordering::Relaxed);
        usage.duration_us.fetch_add(micros, Ordering::Relaxed);
        usage
            .most_memory_bytes
            .fetch_max(memory_bytes as u64, Ordering::Relaxed);
        usage.broke.fetch_add(u64::from(broke), Ordering::Relaxed);
        if broke {
            usage.probation.store(PROBATION, Ordering::Relaxed);
        } else if !usage.is_trusted() {
            let less = |left: u64| left.checked_sub(1);
            let _ = (usage.probation).fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
        }
    }
}

impl Drop for Underway<'_> {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The numbers of every component that was loaded.
#[derive(Debug, Default)]
pub(crate) struct Usages(Mutex<BTreeMap<Digest, Arc<Usage>>>);

impl Usages {
    pub(crate) fn of(&self, digest: &Digest) -> Arc<Usage> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.entry(digest.clone()).or_default().clone()
    }

    /// None for one that was never loaded.
    pub(crate) fn seen(&self, digest: &Digest) -> Option<Used> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(digest).map(|usage| usage.used())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_used_now_and_at_most() {
        let (usages, digest) = (Usages::default(), Digest::of(b"component"));
        assert_eq!(usages.seen(&digest), None);
        let usage = usages.of(&digest);
        let first = usage.begin();
        {
            let second = usage.begin();
            second.took(Duration::from_micros(7), 100, true);
        }
        first.took(Duration::from_micros(5), 200, false);
        let expected = Used {
            running: 1,
            most_running: 2,
            runs: 2,
            broke: 1,
            most_memory_bytes: 200,
            most_duration_us: 7,
            duration_us: 12,
        };
        assert_eq!(usages.seen(&digest), Some(expected));
        drop(first);
        assert_eq!(usage.used().running, 0);
    }

    #[test]
    fn trusted_again_after_enough_good_runs() {
        let usage = Usage::default();
        let run = |broke| usage.begin().took(Duration::ZERO, 0, broke);
        assert!(usage.is_trusted());
        run(true);
        for _ in 1..PROBATION {
            run(false);
        }
        assert!(!usage.is_trusted());
        run(false);
        assert!(usage.is_trusted());
    }
}
