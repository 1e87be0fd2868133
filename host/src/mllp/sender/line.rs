//! A link that several callers share: each hands over a payload and waits for its own answer.
//!
//! The connection belongs to one task, [`Line::new`]'s future; callers hold a [`Line`], which is cheap to clone. While
//! the target rests after failures nobody is kept waiting: callers learn at once that nothing was sent.

use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Backoff, Error, Link, Match, Settled, Target};
use crate::mllp::tls::{Connector, Facts};

/// Payloads that may wait for one connection; a caller beyond that is told when to come back.
const WAITING: usize = 128;

/// Bounds of the time after which a caller who found the line full comes back.
const SOONEST: Duration = Duration::from_millis(100);
const LATEST: Duration = Duration::from_secs(60);

/// How much of the average answer time the newest answer is.
const NEWEST: f64 = 0.1;

type Judge = Box<dyn Fn(&[u8]) -> Match + Send + Sync>;

/// A payload on its way to the task.
struct Job {
    payload: Vec<u8>,
    pending: Pending,
}

/// Who waits for an answer, and how it is recognised.
struct Pending {
    judge: Judge,
    reply: oneshot::Sender<Settled<()>>,
}

/// A shared connection to one target.
#[derive(Clone)]
pub struct Line {
    address: Arc<str>,
    tls: Option<Connector>,
    jobs: mpsc::Sender<Job>,
    turns: Arc<Mutex<Turns>>,
}

/// When callers who found the line full come back: each at about its own turn, or all of them would come again and
/// again and find it full.
#[derive(Debug)]
struct Turns {
    /// From one payload's answer to the next one's, on average.
    each: Duration,
    /// The turns up to here are given away.
    given: Instant,
}

impl Turns {
    /// Gives the next turn away, behind those who wait already.
    fn next(&mut self) -> Duration {
        let now = Instant::now();
        let behind_waiting = now + self.each * WAITING as u32;
        self.given = (self.given.max(behind_waiting) + self.each).min(now + LATEST);
        (self.given - now).max(SOONEST)
    }

    fn note(&mut self, each: Duration) {
        self.each = self.each.mul_f64(1.0 - NEWEST) + each.mul_f64(NEWEST);
    }
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Line({})", self.address)
    }
}

impl Line {
    /// Makes a line, and the future that works on it until `stop`, or until no line is left; `window` is how many
    /// payloads may be unanswered, 1 is what MLLP means.
    ///
    /// After `stop` what was sent is waited for, and what was not is given back as [`Error::Stopped`].
    pub fn new(
        target: Target,
        window: usize,
        backoff: Backoff,
        stop: CancellationToken,
    ) -> (Self, impl Future<Output = ()> + Send) {
        let (jobs, waiting) = mpsc::channel(WAITING);
        let turns = Arc::new(Mutex::new(Turns {
            each: Duration::ZERO,
            given: Instant::now(),
        }));
        let line = Self {
            address: target.address.as_str().into(),
            tls: target.tls.clone(),
            jobs,
            turns: turns.clone(),
        };
        let note = move |answer_time: Duration| {
            let mut turns = turns.lock().unwrap_or_else(PoisonError::into_inner);
            turns.note(answer_time / window.max(1) as u32);
        };
        let link = Link::new(target, window).with_backoff(backoff);
        (line, work(link, waiting, note, stop))
    }

    /// Where it leads to, as the target writes it.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The certificate that the peer showed last; none before it has shown one, or without TLS.
    pub fn certificate(&self) -> Option<Facts> {
        self.tls.as_ref()?.seen().into_iter().next()
    }

    /// Sends a payload in its turn and waits for its end; `judge` recognises its answers.
    pub async fn send(
        &self,
        payload: Vec<u8>,
        judge: impl Fn(&[u8]) -> Match + Send + Sync + 'static,
    ) -> Settled<()> {
        let (reply, settled) = oneshot::channel();
        let pending = Pending {
            judge: Box::new(judge),
            reply,
        };
        let job = Job { payload, pending };
        match self.jobs.try_send(job) {
            Ok(()) => settled.await.unwrap_or_else(|_| unsent(Error::Stopped)),
            Err(mpsc::error::TrySendError::Full(_)) => {
                let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
                unsent(Error::Busy {
                    waiting: WAITING,
                    wait: turns.next(),
                })
            }
            Err(mpsc::error::TrySendError::Closed(_)) => unsent(Error::Stopped),
        }
    }
}

fn unsent(error: Error) -> Settled<()> {
    Settled {
        key: (),
        commit: None,
        result: Err(error),
        duration: Duration::ZERO,
        foreign: 0,
    }
}

async fn work(
    mut link: Link<Pending>,
    mut jobs: mpsc::Receiver<Job>,
    note: impl Fn(Duration) + Send,
    stop: CancellationToken,
) {
    loop {
        let (has_room, is_idle) = (link.has_room(), link.is_idle());
        tokio::select! {
            settled = link.settle(judge), if !is_idle => {
                if let Some(settled) = &settled {
                    note(settled.duration);
                }
                tell(settled);
            }
            job = jobs.recv(), if has_room => match job {
                Some(job) => start(&mut link, job).await,
                None => break,
            },
            () = stop.cancelled() => break,
        }
    }
    // Nothing more goes out, and whoever waits to be sent is told so by the end of the channel.
    drop(jobs);
    while !link.is_idle() {
        tell(link.settle(judge).await);
    }
}

fn judge(pending: &Pending, answer: &[u8]) -> Match {
    (pending.judge)(answer)
}

/// Sends a payload, unless that cannot be now.
async fn start(link: &mut Link<Pending>, Job { payload, pending }: Job) {
    // Whoever asked has gone: a shutdown, mostly. What was not sent need not be.
    if pending.reply.is_closed() {
        return;
    }
    let opened = match link.rests() {
        Some(wait) => Err(Error::Resting {
            address: link.address().to_owned(),
            wait,
        }),
        None => link.open().await,
    };
    match opened {
        Ok(()) => link.queue(pending, &payload),
        Err(error) => drop(pending.reply.send(unsent(error))),
    }
}

fn tell(settled: Option<Settled<Pending>>) {
    let Some(settled) = settled else { return };
    let told = Settled {
        key: (),
        commit: settled.commit,
        result: settled.result,
        duration: settled.duration,
        foreign: settled.foreign,
    };
    let _ = settled.key.reply.send(told);
}

#[cfg(test)]
mod tests;
