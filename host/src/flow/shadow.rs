//! A candidate release over stored messages, beside the one in force: what is compared, how far it has come, what came of it.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{AccountId, DeliveryId, Digest, FlowId};

/// One shadow run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shadow {
    pub id: String,
    pub account: AccountId,
    pub flow: FlowId,
    pub state: State,
    /// Deliveries that were looked at.
    pub done: u64,
    pub created_at_ms: i64,
    pub updated_at_ms: i64,
    pub what: What,
}

/// Where a shadow run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    Running,
    Done,
    Cancelled,
    /// It could not be carried to its end.
    Failed,
}

impl State {
    pub const ALL: [State; 4] = [State::Running, State::Done, State::Cancelled, State::Failed];

    /// The word kept in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Running => "running",
            State::Done => "done",
            State::Cancelled => "cancelled",
            State::Failed => "failed",
        }
    }

    /// Reads the word again.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == word)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What is compared over which messages, and what came of it so far; sealed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct What {
    /// The release that is to be proven.
    pub candidate: Digest,
    /// The release in force when it began; none where there was none.
    pub base: Option<Digest>,
    pub from_ms: i64,
    pub to_ms: i64,
    /// Deliveries of that time, as far as they are looked at.
    pub total: u64,
    /// The last delivery that was looked at.
    #[serde(default)]
    pub behind: Option<DeliveryId>,
    #[serde(default)]
    pub tally: Tally,
    /// Why it failed.
    #[serde(default)]
    pub error: Option<String>,
}

/// What came of the messages so far.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tally {
    /// Messages that ran through both.
    pub messages: u64,
    /// Those of which any field, or the end, is another.
    pub different: u64,
    /// Deliveries that cannot be run again, by reason.
    pub left_out: BTreeMap<String, u64>,
    /// How both ended, `wrote -> mapping-refused`, with the number of messages.
    pub ends: BTreeMap<String, u64>,
    pub fields: BTreeMap<String, Counts>,
    pub samples: Vec<Sample>,
    pub base: Cost,
    pub candidate: Cost,
    /// Runs of the candidate that ended with a trap or a limit.
    pub broke: u64,
}

/// How often what a field got was different, by how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Counts {
    pub same: u64,
    pub changed: u64,
    pub newly_empty: u64,
    pub newly_filled: u64,
    pub newly_refused: u64,
    pub newly_skipped: u64,
}

/// One difference, its values by their shape alone: letters are `x` and `X`, digits `9`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Sample {
    /// To be looked at by a replay.
    pub delivery: String,
    pub field: String,
    pub change: String,
    pub was: String,
    pub now: String,
}

/// What runs cost: how many took about how much.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cost {
    pub duration_ns: Spread,
    pub fuel: Spread,
}

/// Numbers by size, each known to a sixteenth of it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Spread(BTreeMap<u32, u64>);

impl Counts {
    pub fn total(&self) -> u64 {
        self.same + self.differences()
    }

    pub fn differences(&self) -> u64 {
        self.changed
            + self.newly_empty
            + self.newly_filled
            + self.newly_refused
            + self.newly_skipped
    }

    fn add(&mut self, other: &Self) {
        self.same += other.same;
        self.changed += other.changed;
        self.newly_empty += other.newly_empty;
        self.newly_filled += other.newly_filled;
        self.newly_refused += other.newly_refused;
        self.newly_skipped += other.newly_skipped;
    }
}

impl Spread {
    pub fn note(&mut self, number: u64) {
        *self.0.entry(class(number)).or_default() += 1;
    }

    /// The number below which `percent` of all lie, to a sixteenth of it; none of nothing.
    pub fn percentile(&self, percent: u64) -> Option<u64> {
        let total: u64 = self.0.values().sum();
        let wanted = (total * percent).div_ceil(100).max(1);
        let mut seen = 0;
        for (class, count) in &self.0 {
            seen += count;
            if seen >= wanted {
                return Some(least_of(class + 1) - 1);
            }
        }
        None
    }

    fn add(&mut self, other: &Self) {
        for (class, count) in &other.0 {
            *self.0.entry(*class).or_default() += count;
        }
    }
}

/// Sixteen classes for each doubling; numbers below 16 have one each.
fn class(number: u64) -> u32 {
    let bits = number.checked_ilog2().unwrap_or(0);
    match bits.checked_sub(4) {
        None => number as u32,
        Some(shift) => shift * 16 + (number >> shift) as u32,
    }
}

/// The least number of a class.
fn least_of(class: u32) -> u64 {
    match (class / 16).checked_sub(1) {
        None => u64::from(class),
        Some(shift) => u64::from(class - shift * 16) << shift,
    }
}

/// Samples of one field and change, and of all.
const SAMPLES_OF_ONE: usize = 3;
const SAMPLES: usize = 200;

impl Tally {
    /// Keeps a sample if there are not enough of its kind yet.
    pub fn sample(&mut self, sample: impl FnOnce() -> Sample, field: &str, change: &str) {
        let alike = |known: &&Sample| known.field == field && known.change == change;
        let is_full = self.samples.len() >= SAMPLES
            || self.samples.iter().filter(alike).count() >= SAMPLES_OF_ONE;
        if !is_full {
            self.samples.push(sample());
        }
    }

    /// Takes in what came of further messages.
    pub fn add(&mut self, other: Self) {
        self.messages += other.messages;
        self.different += other.different;
        self.broke += other.broke;
        for (into, from) in [
            (&mut self.left_out, other.left_out),
            (&mut self.ends, other.ends),
        ] {
            for (what, count) in from {
                *into.entry(what).or_default() += count;
            }
        }
        for (field, counts) in &other.fields {
            self.fields.entry(field.clone()).or_default().add(counts);
        }
        for sample in other.samples {
            let (field, change) = (sample.field.clone(), sample.change.clone());
            self.sample(|| sample, &field, &change);
        }
        for (into, from) in [
            (&mut self.base, &other.base),
            (&mut self.candidate, &other.candidate),
        ] {
            into.duration_ns.add(&from.duration_ns);
            into.fuel.add(&from.fuel);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_fall_into_classes_in_order() {
        let numbers = (0..5_000).chain([1 << 20, (1 << 20) + 1, 1 << 40, u64::MAX / 2]);
        for number in numbers {
            let class = class(number);
            assert!(least_of(class) <= number, "{number}");
            assert!(number < least_of(class + 1), "{number}");
            assert!(
                least_of(class + 1) - least_of(class) <= (number / 16).max(1),
                "{number}"
            );
        }
    }

    #[test]
    fn percentiles_are_of_all_numbers() {
        let mut spread = Spread::default();
        assert_eq!(spread.percentile(50), None);
        (1..=100).for_each(|number| spread.note(number));
        let near = |percent, number: u64| {
            let found = spread.percentile(percent).unwrap();
            assert!(
                found.abs_diff(number) <= number / 16 + 1,
                "{percent}: {found}"
            );
        };
        near(50, 50);
        near(99, 99);
        near(100, 100);
    }

    #[test]
    fn tallies_add_up() {
        let part = |field: &str| {
            let mut tally = Tally {
                messages: 1,
                ..Tally::default()
            };
            tally.fields.entry(field.into()).or_default().changed += 1;
            let sample = || Sample {
                delivery: "d".into(),
                field: field.into(),
                change: "changed".into(),
                was: "x".into(),
                now: "X".into(),
            };
            tally.sample(sample, field, "changed");
            tally
        };
        let mut whole = Tally::default();
        for _ in 0..5 {
            whole.add(part("a"));
        }
        whole.add(part("b"));
        assert_eq!((whole.messages, whole.fields["a"].total()), (6, 5));
        assert_eq!(whole.samples.len(), SAMPLES_OF_ONE + 1);
    }
}
