//! Running numbers of this process: how often something happened, and how long it took.
//!
//! Plain memory that begins at nothing with the process, as those who read it expect; what must outlive it is in the store.
//! Knows nothing of what is counted, nor of the form in which it is shown.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// The upper bounds of a [`Histogram`]'s steps in seconds: from an answer on a quick disk to an hour in a queue.
pub const BOUNDS: [f64; 17] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
    300.0, 3600.0,
];

/// How often each thing happened.
#[derive(Debug)]
pub struct Counts<K>(Mutex<BTreeMap<K, u64>>);

/// How long each thing took.
#[derive(Debug)]
pub struct Timings<K>(Mutex<BTreeMap<K, Histogram>>);

/// How many took at most how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Histogram {
    steps: [u64; BOUNDS.len()],
    count: u64,
    sum: Duration,
}

impl<K> Default for Counts<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K> Default for Timings<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Ord + Clone> Counts<K> {
    pub fn add(&self, what: K) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.entry(what).or_default() += 1;
    }

    /// As they stand.
    pub fn read(&self) -> BTreeMap<K, u64> {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.clone()
    }
}

impl<K: Ord + Clone> Timings<K> {
    pub fn add(&self, what: K, took: Duration) {
        let mut timings = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        timings.entry(what).or_default().add(took);
    }

    /// As they stand.
    pub fn read(&self) -> BTreeMap<K, Histogram> {
        let timings = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        timings.clone()
    }
}

impl Histogram {
    fn add(&mut self, took: Duration) {
        let seconds = took.as_secs_f64();
        if let Some(step) = BOUNDS.iter().position(|bound| seconds <= *bound) {
            self.steps[step] += 1;
        }
        self.count += 1;
        self.sum += took;
    }

    /// Each bound with how many took at most that long.
    pub fn steps(&self) -> impl Iterator<Item = (f64, u64)> {
        let mut sum = 0;
        BOUNDS.iter().zip(self.steps).map(move |(bound, count)| {
            sum += count;
            (*bound, sum)
        })
    }

    pub fn count(&self) -> u64 {
        self.count
    }

    pub fn sum(&self) -> Duration {
        self.sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_step_holds_those_below_it() {
        let timings = Timings::default();
        for ms in [1, 2, 3, 700, 7_200_000] {
            timings.add("one", Duration::from_millis(ms));
        }
        let read = timings.read();
        let one = read["one"];
        let steps: BTreeMap<String, u64> = one
            .steps()
            .map(|(bound, count)| (bound.to_string(), count))
            .collect();
        assert_eq!((steps["0.001"], steps["0.0025"]), (1, 2));
        assert_eq!((steps["0.5"], steps["1"], steps["3600"]), (3, 4, 4));
        assert_eq!(
            (one.count(), one.sum()),
            (5, Duration::from_millis(7_200_706))
        );
    }
}
