//! One connection of `ligature send`: fills its window, matches answers by MSA-2, reconnects when one ends.
//!
//! Start at [`send`].

use std::collections::VecDeque;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::Original;
use crate::hl7::ack::{self, AckCode};
use crate::hl7::{self, Message, Path};
use crate::mllp::sender::{Error, Sender, Timeouts};

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
    pub(super) to: String,
    pub(super) window: usize,
    pub(super) timeouts: Timeouts,
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
    Mllp(Arc<Error>),
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

/// A message on its way.
struct Outstanding {
    message: usize,
    control_id: Vec<u8>,
    sent_at: Instant,
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
    let mut outstanding: VecDeque<Outstanding> = VecDeque::with_capacity(plan.window);
    let mut open: Option<Sender> = None;
    loop {
        let mut sender = match open.take() {
            Some(sender) => sender,
            None => match Sender::connect(plan.to.as_str(), plan.timeouts).await {
                Ok(sender) => sender,
                Err(error) => {
                    // One message says why; the others are counted as not sent.
                    if let Some(message) = plan.take() {
                        let control_id = plan.messages[message].control_id.clone();
                        let sent_at = Instant::now();
                        let error = Failure::Mllp(Arc::new(error));
                        outstanding.push_back(Outstanding {
                            message,
                            control_id,
                            sent_at,
                        });
                        report.fail(&mut outstanding, &error).await;
                    }
                    break;
                }
            },
        };
        while outstanding.len() < plan.window
            && let Some(message) = plan.take()
        {
            let original = &plan.messages[message];
            let mut control_id = original.control_id.clone();
            let sent_at = Instant::now();
            let queued = if plan.renew {
                let stamped = Stamp::renew(&mut stamps[message], &original.bytes, sent_at);
                stamped.and_then(|(bytes, id)| {
                    control_id = id;
                    queue(&mut sender, bytes)
                })
            } else {
                queue(&mut sender, &original.bytes)
            };
            let sent = Outstanding {
                message,
                control_id,
                sent_at,
            };
            match queued {
                Ok(()) => outstanding.push_back(sent),
                Err(error) => report.add(sent, Err(error)).await,
            }
        }
        let Some(oldest) = outstanding.front() else {
            break;
        };
        match sender.answer(oldest.sent_at + plan.timeouts.answer).await {
            Ok(answer) => {
                if let Some((sent, answer)) = credit(&answer, &mut outstanding) {
                    report.add(sent, Ok(answer)).await;
                }
            }
            Err(error) if error.keeps_connection() => {
                let error = Failure::Mllp(Arc::new(error));
                let mut oldest = outstanding.drain(..1).collect();
                report.fail(&mut oldest, &error).await;
            }
            Err(error) => {
                let error = Failure::Mllp(Arc::new(error));
                report.fail(&mut outstanding, &error).await;
                continue;
            }
        }
        open = Some(sender);
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

fn queue(sender: &mut Sender, bytes: &[u8]) -> Result<(), Failure> {
    sender
        .queue(bytes)
        .map_err(|error| Failure::Mllp(Arc::new(error)))
}

/// Finds the message that an answer belongs to; an answer to something else is dropped.
fn credit(
    bytes: &[u8],
    outstanding: &mut VecDeque<Outstanding>,
) -> Option<(Outstanding, Acknowledgement)> {
    let answer = acknowledgement(bytes)?;
    // A message without a control id, or no message at all, can have no answer of its own: the next one is taken.
    let position = outstanding
        .iter()
        .position(|sent| sent.control_id == answer.control_id || sent.control_id.is_empty())?;
    Some((outstanding.remove(position)?, answer))
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
    async fn add(&mut self, sent: Outstanding, answer: Result<Acknowledgement, Failure>) {
        self.batch.push(Outcome {
            message: sent.message,
            control_id: sent.control_id,
            answer,
            duration: sent.sent_at.elapsed(),
        });
        if self.batch.len() >= self.size {
            self.flush().await;
        }
    }

    async fn fail(&mut self, outstanding: &mut VecDeque<Outstanding>, error: &Failure) {
        for sent in mem::take(outstanding) {
            self.add(sent, Err(error.clone())).await;
        }
    }

    async fn flush(&mut self) {
        // Nobody listens any more when the output is closed; sending on is pointless then, but harmless.
        let _ = self.outcomes.send(mem::take(&mut self.batch)).await;
    }
}
