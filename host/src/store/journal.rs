//! Traffic: messages, their deliveries, and the ledger of what was written elsewhere.
//!
//! An arrival is appended, its deliveries are claimed lane by lane, each write is noted in the ledger before it
//! is made, and the delivery is settled. Order is kept by lanes, see [`claim`].
//! This file holds the nouns and the calls; the folder holds the SQL behind each.

pub mod append;
pub mod claim;
mod filter;
mod hold;
pub mod identity;
pub(super) mod lanes;
pub mod ledger;
pub mod links;
pub mod misses;
pub mod queue;
pub mod read;
pub mod record;
pub mod release;
pub mod retention;
pub mod run;
pub mod search;
pub mod settle;
pub mod tally;
pub mod underway;
pub mod usage;
pub mod warnings;

use std::fmt;
use std::sync::Arc;

use super::Shared;
use crate::flow::{AccountId, DeliveryId};

pub use append::{Appended, Arrival, Origin, Rank, Route, Routed, Start};
pub use claim::{Claimed, LEASE, Lease};
pub use filter::{Filter, Page};
pub use identity::{DUPLICATE_WINDOW_MS, DuplicateKey};
pub use ledger::{
    Finished, NewOperation, OperationId, OperationKind, OperationRow, OperationState,
};
pub use links::{ALIAS, Link, LinkKey, LinkTarget};
pub use misses::{MissRow, Missed};
pub use queue::{Lanes, Queued};
pub use read::{
    AttemptRow, DeliveryRow, DeliveryView, MessageRow, MessageView, StateCount, WrittenRow,
};
pub use record::Record;
pub use retention::{Going, Removed, Sweep};
pub use run::{RanCount, Stored, Window};
pub use settle::{Attempt, Settled, Settlement};

/// Where a delivery stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum State {
    /// Runs when it heads its lanes.
    Queued,
    /// A worker holds its lanes.
    Running,
    /// Runs again at its due time and holds its lanes until then.
    Waiting,
    /// Waits for a person or for its flow, and holds nobody up.
    Parked,
    Delivered,
    Skipped,
    /// Failed for good; holds its lanes only if its flow says so.
    Dead,
}

impl State {
    pub const ALL: [State; 7] = [
        State::Queued,
        State::Running,
        State::Waiting,
        State::Parked,
        State::Delivered,
        State::Skipped,
        State::Dead,
    ];

    /// The word kept in the store and shown on pages.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Queued => "queued",
            State::Running => "running",
            State::Waiting => "waiting",
            State::Parked => "parked",
            State::Delivered => "delivered",
            State::Skipped => "skipped",
            State::Dead => "dead",
        }
    }

    /// Whether nothing more happens to the delivery unless a person asks for it.
    pub fn is_final(self) -> bool {
        matches!(
            self,
            State::Parked | State::Delivered | State::Skipped | State::Dead
        )
    }

    /// Reads the word again; none for a word of a newer program.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == word)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The journal of one store; cloning shares it.
#[derive(Clone)]
pub struct Journal {
    shared: Arc<Shared>,
}

impl Journal {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Completes when something may have become claimable; a permit given while nobody waits is kept.
    ///
    /// On PostgreSQL it tells of this host's own changes only: look at [`Journal::next_due_at`] now and then as well.
    pub async fn notified(&self) {
        self.shared.writer.wake.notified().await;
    }

    /// Hashes a searched value or key: 128 bits of the vault's keyed hash, half the size in every index row.
    fn hash(&self, account: &AccountId, kind: &str, value: &str) -> Arc<[u8]> {
        self.shared.vault.index(account.as_str(), kind, value)[..HASH_BYTES].into()
    }
}

/// Bytes of a stored hash.
const HASH_BYTES: usize = 16;

/// What is kept of a message: all of it, or its header facts alone. Words of the column `kept`.
const WHOLE: &str = "whole";
const FACTS: &str = "facts";

/// The columns that are sealed; part of what a blob is bound to, so these words never change.
mod column {
    pub(super) const PAYLOAD: &str = "message.payload";
    pub(super) const ACKNOWLEDGEMENT: &str = "message.acknowledgement";
    pub(super) const NOTE: &str = "delivery.note";
    pub(super) const RUN: &str = "run.document";
    pub(super) const OPERATION: &str = "operation.payload";
    pub(super) const ALIAS: &str = "link.target";
    pub(super) const MISSED: &str = "code_miss.code";
}

/// Sorts behind the ids that were given before `at_ms`, and before those given then or later: ids are UUID version 7.
fn first_id(at_ms: i64) -> String {
    let digits = format!("{:012x}", at_ms.clamp(0, (1 << 48) - 1));
    format!("{}-{}", &digits[..8], &digits[8..])
}

/// The id of the `position`th delivery of a message: deliveries of one message lie side by side.
fn delivery_id(message: &str, position: usize) -> DeliveryId {
    format!("{message}.{position}").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_places_among_ids() {
        let id = uuid::Uuid::now_v7();
        let (seconds, nanos) = id.get_timestamp().unwrap().to_unix();
        let at_ms = seconds as i64 * 1_000 + i64::from(nanos) / 1_000_000;
        let delivery = format!("{id}.0");
        assert!(first_id(at_ms) < delivery && delivery < first_id(at_ms + 1));
    }
}
