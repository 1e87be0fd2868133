//! Claims due deliveries and keeps them running, a bounded number at once.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::error;

use super::Pipeline;
use crate::store::journal::LEASE;

/// One claim takes at most this many lanes, so that several hosts share the work.
const CLAIM: usize = 64;

/// A wake-up can be missed when another host queues work: look again at the latest after this long.
const POLL: Duration = Duration::from_secs(1);

/// How often deliveries are looked for that stepped aside.
const ASIDE: Duration = Duration::from_millis(200);

/// A crash forgets the calls of this long.
const USAGE: Duration = Duration::from_secs(10);

/// A third of a lease, so that two renewals may fail before it is lost.
const RENEW: Duration = Duration::from_secs(5);

/// Runs deliveries until `shutdown`; those that run then are brought to their end by `tracker`.
pub async fn dispatch(
    pipeline: Arc<Pipeline>,
    concurrency: usize,
    tracker: TaskTracker,
    shutdown: CancellationToken,
) {
    let slots = Arc::new(Semaphore::new(concurrency));
    let mut look_aside = Instant::now();
    while !shutdown.is_cancelled() {
        let first = tokio::select! {
            slot = slots.clone().acquire_owned() => slot.expect("the semaphore is never closed"),
            () = shutdown.cancelled() => return,
        };
        let journal = pipeline.store.journal();
        // Those that stepped aside stand in the way of nobody; when their time has come they queue again.
        if look_aside.elapsed() >= ASIDE {
            look_aside = Instant::now();
            if let Err(fault) = journal.bring_back().await {
                error!(%fault, "deliveries that stepped aside could not be brought back");
            }
        }
        let free = (1 + slots.available_permits()).min(CLAIM);
        let claimed = match journal.claim(&pipeline.owner, free, LEASE).await {
            Ok(claimed) => claimed,
            Err(fault) => {
                error!(%fault, "no delivery could be claimed");
                drop(first);
                pause(Instant::now() + POLL, &shutdown).await;
                continue;
            }
        };
        if claimed.is_empty() {
            drop(first);
            let until = Instant::now() + next_look(&pipeline).await;
            tokio::select! {
                () = journal.notified() => {}
                () = pause(until, &shutdown) => {}
            }
            continue;
        }
        let mut first = Some(first);
        for delivery in claimed {
            let slot = match first.take() {
                Some(slot) => slot,
                None => slots
                    .clone()
                    .acquire_owned()
                    .await
                    .expect("the semaphore is never closed"),
            };
            let pipeline = pipeline.clone();
            tracker.spawn(async move {
                pipeline.deliver(delivery, slot).await;
            });
        }
    }
}

/// Keeps this host's leases alive until `shutdown`.
pub async fn renew(pipeline: Arc<Pipeline>, shutdown: CancellationToken) {
    loop {
        pause(Instant::now() + RENEW, &shutdown).await;
        if shutdown.is_cancelled() {
            return;
        }
        if let Err(fault) = pipeline.store.journal().renew(&pipeline.owner, LEASE).await {
            error!(%fault, "leases not renewed");
        }
    }
}

/// Adds up calls made every few seconds until `shutdown`, and once more then.
pub async fn keep_usage(pipeline: Arc<Pipeline>, shutdown: CancellationToken) {
    loop {
        pause(Instant::now() + USAGE, &shutdown).await;
        let configuration = pipeline.configuration();
        for account in configuration
            .accounts()
            .filter_map(|id| configuration.account(id))
        {
            if let Err(fault) = account.keep_usage(&pipeline.store).await {
                error!(%fault, "today's calls could not be added up");
            }
        }
        if shutdown.is_cancelled() {
            return;
        }
    }
}

async fn next_look(pipeline: &Pipeline) -> Duration {
    let due = pipeline.store.journal().next_due_at().await.ok().flatten();
    let now = jiff::Timestamp::now().as_millisecond();
    due.map_or(POLL, |due| {
        Duration::from_millis(due.saturating_sub(now).max(1) as u64).min(POLL)
    })
}

async fn pause(until: Instant, shutdown: &CancellationToken) {
    tokio::select! {
        () = sleep_until(until) => {}
        () = shutdown.cancelled() => {}
    }
}
