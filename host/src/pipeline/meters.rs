//! What operators watch over the whole day: answers, tries and their times, since this process began.
//!
//! Written beside the way of a message and never asked by it; no key of it tells about a patient, and each is one of what is
//! configured, times a few words. What lists and pictures show is in `tally`.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use jiff::Timestamp;

use crate::flow::{AccountId, Channel, ChannelId, FlowId};
use crate::meter::{Counts, Timings};
use crate::mllp::listener::Reply;
use crate::store::journal::{Claimed, State};

/// The codes of table 0008, and what stands for any other text.
const CODES: [&str; 6] = ["AA", "AE", "AR", "CA", "CE", "CR"];
const OTHER: &str = "other";
const NONE: &str = "none";

/// The running numbers of one process.
#[derive(Debug, Default)]
pub struct Meters {
    /// Answers by channel and code.
    pub answers: Counts<(AccountId, ChannelId, &'static str)>,
    /// From a whole frame to its answer.
    pub answering: Timings<(AccountId, ChannelId)>,
    /// Tries of deliveries by flow and the state that they ended in.
    pub tries: Counts<(AccountId, FlowId, &'static str)>,
    pub trying: Timings<(AccountId, FlowId)>,
    /// From when a message came to when it was delivered.
    pub delivering: Timings<(AccountId, FlowId)>,
    in_hand: AtomicU64,
    is_stopping: AtomicBool,
}

/// A delivery in hand, as long as this is there.
#[derive(Debug)]
pub(super) struct InHand<'a>(&'a Meters);

impl Meters {
    /// Notes what a frame was answered with.
    pub(super) fn answered(&self, channel: &Channel, reply: &Reply, took: Duration) {
        let key = (channel.account.clone(), channel.id.clone());
        let codes = reply.answers.iter().map(|answer| code(answer));
        // Where nothing is answered, that is what became of it.
        let none = reply.answers.is_empty().then_some(NONE);
        for code in codes.chain(none) {
            let (account, channel) = key.clone();
            self.answers.add((account, channel, code));
        }
        self.answering.add(key, took);
    }

    /// Notes what a try of a delivery has ended in.
    pub(super) fn settled(&self, claimed: &Claimed, state: State, took: Duration) {
        let key = (claimed.account.clone(), claimed.flow.clone());
        let (account, flow) = key.clone();
        self.tries.add((account, flow, state.as_str()));
        if state == State::Delivered {
            let now_ms = Timestamp::now().as_millisecond();
            let since_ms = now_ms.saturating_sub(claimed.received_at_ms).max(0);
            let since = Duration::from_millis(since_ms.unsigned_abs());
            self.delivering.add(key.clone(), since);
        }
        self.trying.add(key, took);
    }

    pub(super) fn begin(&self) -> InHand<'_> {
        self.in_hand.fetch_add(1, Ordering::Relaxed);
        InHand(self)
    }

    /// Deliveries in hand, each of another lane.
    pub fn in_hand(&self) -> u64 {
        self.in_hand.load(Ordering::Relaxed)
    }

    /// Notes that the process has begun to end.
    pub fn note_stopping(&self) {
        self.is_stopping.store(true, Ordering::Relaxed);
    }

    pub fn is_stopping(&self) -> bool {
        self.is_stopping.load(Ordering::Relaxed)
    }
}

impl Drop for InHand<'_> {
    fn drop(&mut self) {
        self.0.in_hand.fetch_sub(1, Ordering::Relaxed);
    }
}

/// MSA-1 of an acknowledgement of ours, with any field separator.
fn code(answer: &[u8]) -> &'static str {
    let mut segments = answer.split(|byte| *byte == b'\r');
    let msa = segments.find_map(|segment| segment.strip_prefix(b"MSA"));
    let found = msa.and_then(|fields| fields.get(1..3));
    let known = CODES
        .into_iter()
        .find(|code| Some(code.as_bytes()) == found);
    known.unwrap_or(OTHER)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_of_an_answer_is_one_of_few() {
        let check = |answer: &str, expected: &str| assert_eq!(code(answer.as_bytes()), expected);
        check("MSH|^~\\&|A\rMSA|AA|1\r", "AA");
        check("MSH#^~\\&#A\rMSA#CR#1#MSA|AA\r", "CR");
        check("MSH|^~\\&|A\rMSA|XY|Fenwick\r", OTHER);
        check("MSH|^~\\&|A\rMSA\r", OTHER);
        check("", OTHER);
    }
}
