//! One connection of `ligature send`: fills its window, matches answers by MSA-2, reconnects when one ends.
//!
//! Start at [`send`].

use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::Original;
use crate::hl7::ack::{self, AckCode};
use crate::hl7::{self, Message, Path};
use crate::mllp::sender::{Backoff, Error, Link, Match, Settled, Target};

/// Outcomes given on at once: a load generator must not spend its time on a channel.
const BATCH: usize = 64;
/// How old MSH-7 may be.
const STAMP_AGE: Duration = Duration::from_secs(1);

/// What all connections work on together.
pub(super) struct Plan {
    pub(super) messages: Vec<Original>,
    /// Messages to send; going round when there are fewer.
    pub(super) total: usize,
    pub(super) next: AtomicUsize,
    pub(super) renew: bool,
    pub(super) target: Target,
    pub(super) window: usize,
    /// After a commit acknowledgement wait for the application's.
    pub(super) application: bool,
}

/// What came of one message.
pub(super) struct Outcome {
    /// Its place in [`Plan::messages`].
    pub(super) message: usize,
    pub(super) control_id: Vec<u8>,
    pub(super) answer: Result<Acknowledgement, Failure>,
    pub(super) duration: Duration,
}

/// What an acknowledgement says.
pub(super) struct Acknowledgement {
    pub(super) code: String,
    /// MSA-3, and ERR-8 where versions from 2.7 on put it.
    pub(super) text: String,
    control_id: Vec<u8>,
}

/// Why a message has no acknowledgement.
#[derive(Debug, Clone, thiserror::Error)]
pub(super) enum Failure {
    #[error("{0}")]
    Mllp(Error),
    #[error("the control id cannot be set: {0}")]
    Stamp(#[from] hl7::Error),
    #[error("the control id cannot be set: the message's character set does not hold ASCII")]
    Unstamped,
}

impl Outcome {
    /// Accepted, and said of this very message.
    pub(super) fn is_accepted(&self) -> bool {
        let positive = |code: &str| code.parse().is_ok_and(AckCode::is_positive);
        self.answer.as_ref().is_ok_and(|answer| {
            positive(&answer.code)
                && !self.control_id.is_empty()
                && answer.control_id == self.control_id
        })
    }
}

/// What an unanswered message is known by.
struct Key {
    message: usize,
    control_id: Vec<u8>,
}

/// Sends until nothing is left or the listener cannot be reached.
pub(super) async fn send(plan: Arc<Plan>, outcomes: mpsc::Sender<Vec<Outcome>>) {
    let mut report = Report {
        outcomes,
        batch: Vec::new(),
        size: if plan.total > BATCH * plan.window {
            BATCH
        } else {
            1
        },
    };
    let mut stamps: Vec<Option<Stamp>> = Vec::new();
    stamps.resize_with(plan.messages.len(), || None);
    let mut link = Link::new(plan.target.clone(), plan.window).with_backoff(Backoff::NONE);
    loop {
        if let Err(error) = link.open().await {
            // One message says why; the others are counted as not sent.
            if let Some(message) = plan.take() {
                let control_id = plan.messages[message].control_id.clone();
                let key = Key {
                    message,
                    control_id,
                };
                report.add(key, Err(error.into()), Duration::ZERO).await;
            }
            break;
        }
        while link.has_room()
            && let Some(message) = plan.take()
        {
            let original = &plan.messages[message];
            let mut key = Key {
                message,
                control_id: original.control_id.clone(),
            };
            if !plan.renew {
                link.queue(key, &original.bytes);
                continue;
            }
            match Stamp::renew(&mut stamps[message], &original.bytes, Instant::now()) {
                Ok((bytes, id)) => {
                    key.control_id = id;
                    link.queue(key, bytes);
                }
                Err(error) => report.add(key, Err(error), Duration::ZERO).await,
            }
        }
        let mut credited = None;
        let settled = link.settle(|key, bytes| {
            let (is, answer) = judge(key, bytes, plan.application);
            credited = answer.or(credited.take());
            is
        });
        let Some(settled) = settled.await else {
            break;
        };
        let Settled {
            key,
            result,
            duration,
            ..
        } = settled;
        // A late answer to a message without a control id could be taken for the next one's.
        if key.control_id.is_empty() && matches!(result, Err(Error::TimedOut(_))) {
            link.close();
        }
        let answer = match (result, credited) {
            (Ok(_), Some(answer)) => Ok(answer),
            (Ok(_), None) => continue,
            (Err(error), _) => Err(error.into()),
        };
        report.add(key, answer, duration).await;
    }
    report.flush().await;
}

impl Plan {
    /// Takes the next message that is due to be sent.
    fn take(&self) -> Option<usize> {
        let next = self.next.fetch_add(1, Ordering::Relaxed);
        (next < self.total).then(|| next % self.messages.len())
    }
}

/// What an answer is to a message, and what it says; an answer to something else is dropped.
fn judge(key: &Key, bytes: &[u8], application: bool) -> (Match, Option<Acknowledgement>) {
    let Some(answer) = acknowledgement(bytes) else {
        return (Match::Foreign, None);
    };
    // A message without a control id, or no message at all, can have no answer of its own: the next one is taken.
    if !key.control_id.is_empty() && key.control_id != answer.control_id {
        return (Match::Foreign, None);
    }
    match application && answer.code == "CA" {
        true => (Match::Commit, None),
        false => (Match::Final, Some(answer)),
    }
}

fn acknowledgement(bytes: &[u8]) -> Option<Acknowledgement> {
    let message = Message::parse(bytes).ok()?;
    let text = |(segment, field)| {
        let path = Path::new(segment, Some(field));
        path.map(|path| message.get(&path).text_or_empty().into_owned())
            .unwrap_or_default()
    };
    let code = text(("MSA", 1));
    if code.is_empty() {
        return None;
    }
    let said = match text(("MSA", 3)) {
        empty if empty.is_empty() => text(("ERR", 8)),
        said => said,
    };
    let id = Path::new("MSA", Some(2));
    let id = id.and_then(|path| message.raw_bytes(&path).map(|id| id.into_owned()));
    Some(Acknowledgement {
        code,
        text: said.chars().filter(|c| !c.is_control()).collect(),
        control_id: id.unwrap_or_default(),
    })
}

/// MSH-10 as it stands.
pub(super) fn control_id(message: &Message) -> Vec<u8> {
    let path = Path::new("MSH", Some(10));
    let id = path.and_then(|path| message.raw_bytes(&path).map(|id| id.into_owned()));
    id.unwrap_or_default()
}

/// A message with a control id that is replaced in place, which costs less than writing the message again.
struct Stamp {
    bytes: Vec<u8>,
    id_offset: usize,
    made_at: Instant,
}

/// Characters of a control id that every version of HL7 allows.
const ID_BYTES: usize = 20;

impl Stamp {
    /// The message under a new control id, and that id.
    fn renew<'a>(
        kept: &'a mut Option<Self>,
        original: &[u8],
        now: Instant,
    ) -> Result<(&'a [u8], Vec<u8>), Failure> {
        let id = ack::control_id(uuid::Uuid::now_v7().as_u128()).into_bytes();
        let stamp = match kept.take() {
            Some(stamp) if now - stamp.made_at <= STAMP_AGE => stamp,
            _ => Self::make(original, now)?,
        };
        let stamp = kept.insert(stamp);
        stamp.bytes[stamp.id_offset..][..ID_BYTES].copy_from_slice(&id);
        Ok((&stamp.bytes, id))
    }

    fn make(original: &[u8], made_at: Instant) -> Result<Self, Failure> {
        let id = ack::control_id(uuid::Uuid::now_v7().as_u128());
        let bytes = hl7::stamp(original, &id, &jiff::Zoned::now())?;
        let id_offset = memchr::memmem::find(&bytes, id.as_bytes()).ok_or(Failure::Unstamped)?;
        Ok(Self {
            bytes,
            id_offset,
            made_at,
        })
    }
}

/// Gives outcomes on.
struct Report {
    outcomes: mpsc::Sender<Vec<Outcome>>,
    batch: Vec<Outcome>,
    size: usize,
}

impl Report {
    async fn add(
        &mut self,
        key: Key,
        answer: Result<Acknowledgement, Failure>,
        duration: Duration,
    ) {
        self.batch.push(Outcome {
            message: key.message,
            control_id: key.control_id,
            answer,
            duration,
        });
        if self.batch.len() >= self.size {
            self.flush().await;
        }
    }

    async fn flush(&mut self) {
        // Nobody listens any more when the output is closed; sending on is pointless then, but harmless.
        let _ = self.outcomes.send(mem::take(&mut self.batch)).await;
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Mllp(error)
    }
}
