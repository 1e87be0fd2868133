//! Puts every change of the catalog in force, and lets go on what waited for it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use super::Configuration;
use crate::flow::table::Lookup;
use crate::flow::{AccountId, Digest, Flow, Status};
use crate::leadsquared;
use crate::pipeline::Pipeline;

/// How often the catalog is looked at for what another host changed.
const LOOK: Duration = Duration::from_secs(5);

/// How long a caller waits at most for a change to be in force; it will be, a slow compilation or not.
const PATIENCE: Duration = Duration::from_secs(10);

/// Changes of the catalog on their way into force: how many were told of, and up to which they were looked at.
#[derive(Debug)]
pub struct Changes {
    told: AtomicU64,
    notify: Notify,
    settled: watch::Sender<u64>,
}

impl Default for Changes {
    fn default() -> Self {
        Self {
            told: AtomicU64::new(0),
            notify: Notify::new(),
            settled: watch::Sender::new(0),
        }
    }
}

impl Changes {
    /// Tells of a change; gives its number.
    pub fn tell(&self) -> u64 {
        let number = self.told.fetch_add(1, Ordering::SeqCst) + 1;
        self.notify.notify_one();
        number
    }

    /// Waits until a change was put in force, or cannot be.
    pub async fn settled(&self, number: u64) {
        let mut settled = self.settled.subscribe();
        let waiting = settled.wait_for(|settled| *settled >= number);
        // Nobody may be there to put anything in force, as when the host stops.
        let _ = timeout(PATIENCE, waiting).await;
    }
}

/// Puts every change of the catalog in force until `shutdown`; one that cannot run is logged and not put in force.
pub async fn keep(pipeline: Arc<Pipeline>, shutdown: CancellationToken) {
    let catalog = pipeline.store.catalog();
    let mut first = true;
    let mut seen = catalog.last_change().await.unwrap_or_default();
    // What changed between the start's reading and now.
    pipeline.changes.notify.notify_one();
    loop {
        let told = tokio::select! {
            () = pipeline.changes.notify.notified() => true,
            () = tokio::time::sleep(LOOK) => false,
            () = shutdown.cancelled() => return,
        };
        // What is told of from here on is looked at in the next round.
        let told_of = pipeline.changes.told.load(Ordering::SeqCst);
        let last = match catalog.last_change().await {
            Ok(last) => last,
            // The journal says so already, and louder.
            Err(_) => continue,
        };
        if !told && last == seen {
            continue;
        }
        let in_force = pipeline.configuration();
        let loading =
            Configuration::load_after(&pipeline.store, &pipeline.runtime, Some(&in_force));
        match Box::pin(loading).await {
            Ok(configuration) => {
                pipeline.configure(configuration);
                pipeline.changes.settled.send_replace(told_of);
                go_on(&pipeline, (!first).then_some(in_force.as_ref())).await;
                first = false;
                if last != seen {
                    info!("a changed configuration is in force");
                }
                seen = last;
            }
            Err(fault) => {
                if last != seen {
                    error!(
                        fault = format!("{fault:#}"),
                        "the changed configuration cannot run: the one before stays in force"
                    );
                }
                seen = last;
                pipeline.changes.settled.send_replace(told_of);
            }
        }
    }
}

/// Queues what was parked while its flow was paused, for flows that run again since `before`, and what waits for keys or
/// addresses that are others now.
async fn go_on(pipeline: &Pipeline, before: Option<&Configuration>) {
    let now = pipeline.configuration();
    for (id, entry) in &now.accounts {
        let known = before.and_then(|before| before.account(id));
        if known.is_none_or(|known| known.calls_as(entry)) {
            continue;
        }
        let journal = pipeline.store.journal();
        for reason in leadsquared::Error::ACCOUNT_WIDE {
            if let Err(fault) = journal.hurry(id, reason).await {
                error!(account = %id, %fault, "deliveries that waited for the account go on when their time comes");
            }
        }
    }
    for ((account, _), table) in tables_changed(&now, before) {
        let journal = pipeline.store.journal();
        let found = journal.found(account, &table.table().name, |code| {
            table.find(code).row.is_some()
        });
        if let Err(fault) = found.await {
            let table = &table.table().name;
            error!(%account, table, %fault, "deliveries that waited for an entry were not released");
        }
    }
    for route in now.flows() {
        let flow = &route.flow;
        let Some(gone) = broken_before(flow, before) else {
            continue;
        };
        let journal = pipeline.store.journal();
        let released = journal.release_broken(&flow.account, gone);
        match released.await {
            Ok(0) => {}
            Ok(deliveries) => {
                info!(flow = %flow.id, deliveries, "what the release before broke on runs again");
            }
            Err(fault) => {
                error!(flow = %flow.id, %fault, "deliveries that the release before broke on were not released");
            }
        }
    }
    for route in now.flows() {
        let flow = &route.flow;
        let was_active = before
            .and_then(|before| before.route(&flow.id))
            .is_some_and(|before| before.flow.status == Status::Active);
        if flow.status != Status::Active || was_active {
            continue;
        }
        let journal = pipeline.store.journal();
        if let Err(fault) = journal
            .release_flow(&flow.account, &flow.id, "flow-paused")
            .await
        {
            error!(flow = %flow.id, %fault, "deliveries that waited for the flow were not released");
        }
    }
}

/// The release that a flow went back from since `before`, or the candidate that serves nobody any more.
fn broken_before<'a>(flow: &'a Flow, before: Option<&'a Configuration>) -> Option<&'a Digest> {
    let known = before.and_then(|before| before.route(&flow.id));
    let known = known.map(|known| &known.flow);
    let fell_back = flow.fell_back.as_ref();
    if let Some(fell_back) = fell_back
        && known.and_then(|known| known.fell_back.as_ref()) != Some(fell_back)
    {
        return Some(&fell_back.from);
    }
    let candidate = known?.candidate()?;
    let is_promoted = flow.release.as_ref() == Some(candidate);
    (flow.candidate() != Some(candidate) && !is_promoted).then_some(candidate)
}

/// The code tables in force that were not so `before`, each once.
fn tables_changed<'a>(
    now: &'a Configuration,
    before: Option<&Configuration>,
) -> BTreeMap<(&'a AccountId, &'a Digest), &'a Lookup> {
    let mut changed = BTreeMap::new();
    for route in now.flows() {
        let known = before.and_then(|before| before.route(&route.flow.id));
        let known: Vec<_> = known
            .into_iter()
            .flat_map(|known| known.releases())
            .collect();
        for in_force in route.releases() {
            for (name, version) in &in_force.release.tables {
                let mut known = known.iter();
                let was = known.any(|known| known.release.tables.get(name) == Some(version));
                if let Some(table) = in_force.tables.get(name)
                    && !was
                {
                    changed.insert((&route.flow.account, &version.digest), table.as_ref());
                }
            }
        }
    }
    changed
}
