//! A link that several callers share: each hands over a payload and waits for its own answer.
//!
//! The connection belongs to one task, [`Line::new`]'s future; callers hold a [`Line`], which is cheap to clone. While
//! the target rests after failures nobody is kept waiting: callers learn at once that nothing was sent.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::{Backoff, Error, Link, Match, Settled, Target};

/// Payloads that may wait for one connection; a caller beyond that does better to come back later.
const WAITING: usize = 32;

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
    jobs: mpsc::Sender<Job>,
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
        let line = Self {
            address: target.address.as_str().into(),
            jobs,
        };
        let link = Link::new(target, window).with_backoff(backoff);
        (line, work(link, waiting, stop))
    }

    /// Where it leads to, as the target writes it.
    pub fn address(&self) -> &str {
        &self.address
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
            Err(mpsc::error::TrySendError::Full(_)) => unsent(Error::Busy(WAITING)),
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

async fn work(mut link: Link<Pending>, mut jobs: mpsc::Receiver<Job>, stop: CancellationToken) {
    loop {
        let (has_room, is_idle) = (link.has_room(), link.is_idle());
        tokio::select! {
            settled = link.settle(judge), if !is_idle => tell(settled),
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
