//! Lets go of old messages beside the traffic: a sweep an hour, in small steps, when nothing else waits to be written.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::Pipeline;
use crate::flow::retention::Policies;
use crate::store;
use crate::store::journal::Removed;

/// Between two sweeps; outcomes are kept for days, and payloads that no flow takes for hours.
const EVERY: Duration = Duration::from_secs(60 * 60);

/// Between two steps that deleted something: the sweep takes a small share of the writer's time.
const PACE: Duration = Duration::from_millis(20);

/// A code that no table has an entry for, and nothing waits for, is shown this long: 90 days.
const MISSES_KEPT_MS: i64 = 90 * 24 * 60 * 60 * 1_000;

/// What a shadow run has found is shown this long: 90 days.
const SHADOWS_KEPT_MS: i64 = 90 * 24 * 60 * 60 * 1_000;

/// A load that has ended is shown this long, and as long as messages of it are kept: 90 days.
const LOADS_KEPT_MS: i64 = 90 * 24 * 60 * 60 * 1_000;

/// How long a step waits at most for others: a writer that is never idle must not keep the disk from being freed.
const PATIENCE: Duration = Duration::from_secs(10);

/// Sweeps at once and then every hour, until `shutdown`.
pub async fn keep_sweeping(pipeline: Arc<Pipeline>, shutdown: CancellationToken) {
    loop {
        let swept = tokio::select! {
            swept = sweep(&pipeline) => swept,
            () = shutdown.cancelled() => return,
        };
        match swept {
            Ok(removed) if removed.messages + removed.payloads > 0 => {
                info!(
                    messages = removed.messages,
                    payloads = removed.payloads,
                    "old messages are let go of"
                );
            }
            Ok(_) => {}
            Err(fault) => warn!(%fault, "old messages are not let go of; tried again in an hour"),
        }
        tokio::select! {
            () = sleep(EVERY) => {}
            () = shutdown.cancelled() => return,
        }
    }
}

/// One sweep by the retention of the channels in force.
async fn sweep(pipeline: &Pipeline) -> Result<Removed, store::Error> {
    let configuration = pipeline.configuration();
    let channels = configuration.channels.iter().chain(&configuration.targets);
    let policies = Policies::of(channels.map(Arc::as_ref));
    let now = Timestamp::now().as_millisecond();
    let mut removed = Removed::default();
    let journal = pipeline.store.journal();
    journal.forget_misses(now - MISSES_KEPT_MS).await?;
    journal.forget_warnings(now).await?;
    pipeline
        .store
        .shadows()
        .forget(now - SHADOWS_KEPT_MS)
        .await?;
    pipeline.store.loads().forget(now - LOADS_KEPT_MS).await?;
    let mut sweep = journal.sweep(&policies, now).await?;
    loop {
        idle(&pipeline.store).await;
        match sweep.step().await? {
            None => return Ok(removed),
            Some(step) if step.is_nothing() => {}
            Some(step) => {
                removed += step;
                sleep(PACE).await;
            }
        }
    }
}

async fn idle(store: &store::Store) {
    let until = Instant::now() + PATIENCE;
    while store.is_busy() && Instant::now() < until {
        sleep(PACE).await;
    }
}
