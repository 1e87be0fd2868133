//! What carries a load: leads are listed, and items become messages as fast as those before them are done with.
//!
//! Only so many deliveries of a flow are under way at once: a load that is paused is soon quiet, and what comes in
//! meanwhile is not far behind. Start at [`Pipeline::carry`].

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use jiff::{Timestamp, Zoned};
use sha2::{Digest as _, Sha256};
use tokio::task::JoinHandle;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use crate::flow::load::{Leads, Load, State};
use crate::flow::{Direction, Status};
use crate::leadsquared::recent::{At, Between};
use crate::leadsquared::{self, Client, webhook};
use crate::pipeline::account::Error;
use crate::pipeline::configuration::{Configuration, Route};
use crate::pipeline::{Pipeline, hook, intake, patient};
use crate::store::journal::{self, Appended, Arrival, DuplicateKey, Rank};
use crate::store::loads::Item;

/// What of several hosts one does: no channel has such a name.
const LOADING: &str = "(load)";

/// A host that is gone is replaced after this long.
const LEASE: Duration = Duration::from_secs(60);

/// How often it is looked for loads.
const LOOK: Duration = Duration::from_secs(1);

/// Before what failed is tried again.
const AFTER_FAILURE: Duration = Duration::from_secs(10);

/// Items that become messages at once.
const BATCH: usize = 64;

/// Deliveries of the flow that may be under way before more is added.
const WINDOW: usize = 128;

/// How long to wait while there are.
const WAIT: Duration = Duration::from_millis(100);

/// Leads of one page, and how often a list is begun again because leads have left it meanwhile.
const PAGE: u32 = 1_000;
const AGAIN: u32 = 3;

/// Carries loads until `shutdown`, each on a task of its own.
pub async fn keep(pipeline: Arc<Pipeline>, tracker: TaskTracker, shutdown: CancellationToken) {
    let mut running: HashMap<String, JoinHandle<()>> = HashMap::new();
    loop {
        tokio::select! {
            () = sleep(LOOK) => {}
            () = shutdown.cancelled() => return,
        }
        // The journal says so already, and louder.
        let Ok(loads) = pipeline.store.loads().at_work().await else {
            continue;
        };
        running.retain(|_, task| !task.is_finished());
        for load in loads {
            let is_fed = load.state == State::Running || load.what.leads.is_some();
            if !is_fed || running.contains_key(&load.id) {
                continue;
            }
            let (pipeline, id, stop) = (pipeline.clone(), load.id.clone(), shutdown.clone());
            let task = async move {
                let carrying = Box::pin(pipeline.carry(&id));
                // Cut off anywhere, it goes on from where it was.
                if let Some(Err(fault)) = stop.run_until_cancelled(carrying).await {
                    warn!(load = %id, %fault, "the load does not go on; tried again in a moment");
                    stop.run_until_cancelled(sleep(AFTER_FAILURE)).await;
                }
            };
            running.insert(load.id, tracker.spawn(task));
        }
    }
}

impl Pipeline {
    /// Carries a load as far as it goes: to the end of its list, or of its items, or until somebody holds it.
    ///
    /// # Errors
    /// What LeadSquared or the store says; nothing is lost, and it can be carried on.
    pub async fn carry(&self, id: &str) -> Result<(), Error> {
        let loads = self.store.loads();
        while let Some(load) = loads.get(id).await? {
            let journal = self.store.journal();
            if !journal
                .hold(&load.account, LOADING, &self.owner, LEASE)
                .await?
            {
                return Ok(());
            }
            match (load.state, load.what.leads.clone()) {
                (State::Collecting, Some(leads)) => Box::pin(self.collect(&load, &leads)).await?,
                (State::Running, _) => {
                    if !Box::pin(self.take_items(&load)).await? {
                        sleep(WAIT).await;
                    }
                }
                _ => return Ok(()),
            }
        }
        Ok(())
    }

    /// Lists the leads of a load; what LeadSquared will not answer ends it.
    async fn collect(&self, load: &Load, leads: &Leads) -> Result<(), Error> {
        let loads = self.store.loads();
        let client = self
            .entry(&load.account)?
            .client
            .ranked(Rank::LAST.number());
        let mut what = load.what.clone();
        let ids = match listed(&client, leads).await {
            Ok(ids) => ids,
            Err(fault) if fault.is_transient() || fault.is_account_wide() => {
                what.error = Some(fault.sentence());
                loads.put_what(load, &what).await?;
                return Err(fault.into());
            }
            Err(fault) => {
                what.error = Some(fault.sentence());
                loads.put_what(load, &what).await?;
                loads
                    .change(load, &[State::Collecting], State::Failed, None)
                    .await?;
                return Ok(());
            }
        };
        // A former try may have been cut off.
        loads.restart(load).await?;
        let ids: Vec<String> = ids.into_iter().collect();
        let mut total = 0;
        for part in ids.chunks(PAGE as usize) {
            let item = |id: &String| Item {
                patient: Some(id.clone()),
                bytes: id.clone().into_bytes(),
            };
            let items: Vec<Item> = part.iter().map(item).collect();
            if !loads.add(load, total, &items).await? {
                // Cancelled meanwhile.
                return Ok(());
            }
            total += items.len() as u64;
        }
        if what.error.take().is_some() {
            loads.put_what(load, &what).await?;
        }
        loads
            .change(load, &[State::Collecting], State::Ready, None)
            .await?;
        info!(load = %load.id, flow = %load.flow, leads = total, "the leads of a load are listed");
        Ok(())
    }

    /// Makes messages of the next items; says whether there was room for them.
    async fn take_items(&self, load: &Load) -> Result<bool, Error> {
        let configuration = self.configuration();
        let Some(route) = configuration.route(&load.flow) else {
            return Err(Error::Refused(format!(
                "there is no flow {} any more",
                load.flow
            )));
        };
        // What is paused takes nothing in that would wait there.
        if route.flow.status != Status::Active {
            return Ok(false);
        }
        let loads = self.store.loads();
        let under_way = loads.under_way(&load.account, &load.flow, WINDOW);
        if under_way.await? >= WINDOW {
            return Ok(false);
        }
        let items = loads.items(load, load.taken, BATCH).await?;
        let count = items.len();
        let numbered = (load.taken..).zip(items);
        let arrivals: Option<Vec<Arrival>> = numbered
            .map(|(number, item)| arrival(&configuration, route, load, number, item))
            .collect();
        let Some(arrivals) = arrivals else {
            let text = format!(
                "flow {} has no longer the channel or the event of its load",
                load.flow
            );
            return Err(Error::Refused(text));
        };
        let appended = self.append(arrivals).await?;
        let new = appended.iter().filter(|one| **one == Appended::Stored);
        info!(load = %load.id, flow = %load.flow, taken = load.taken + count as u64, new = new.count(), "items of a load became messages");
        loads.advance(load, load.taken, count).await?;
        Ok(count > 0)
    }
}

/// The ids of the leads of a load.
async fn listed(client: &Client, leads: &Leads) -> Result<BTreeSet<String>, leadsquared::Error> {
    let id = |lead: &leadsquared::Lead| lead.id.to_ascii_lowercase();
    let (from, to) = match leads {
        Leads::Field { name, value } => {
            let found = client.leads_with(name, value).await?;
            return Ok(found.iter().map(id).collect());
        }
        Leads::Changed { from, to } => (from, to),
    };
    let time = |text: &str| text.parse().unwrap_or_else(|_| Timestamp::now());
    let between = Between {
        from: time(from),
        to: to.as_deref().map_or_else(Timestamp::now, time),
    };
    let mut ids = BTreeSet::new();
    for _ in 0..=AGAIN {
        let mut total = 0;
        for page in 1.. {
            let at = At { page, size: PAGE };
            let read = client.recently_modified(between, &[], at).await?;
            // Leads that are changed leave the time, and those behind them move up to pages that were read.
            let is_shorter = read.total < total;
            total = read.total;
            ids.extend(read.leads.iter().map(id));
            if is_shorter {
                break;
            }
            if read.leads.is_empty() || page as usize * PAGE as usize >= total {
                return Ok(ids);
            }
        }
    }
    // Whoever was changed that often is told of as it happens.
    Ok(ids)
}

/// The message that an item becomes: as if it had just come in, for the load's flow alone, behind everything else.
fn arrival(
    configuration: &Configuration,
    route: &Route,
    load: &Load,
    number: u64,
    item: Vec<u8>,
) -> Option<Arrival> {
    let (arrival, identity) = match route.flow.direction {
        Direction::EhrToLeadSquared => {
            let mut channels = configuration.channels.iter();
            let channel = channels.find(|channel| channel.id == route.flow.channel)?;
            let (arrival, _) = intake::examine(configuration, channel, &item, &Zoned::now());
            // What came over the wire lately is known as that; else it is known by its place in the load.
            let identity = match arrival.duplicate {
                Some(_) => None,
                None => Some(format!("load|{}|{number}", load.id)),
            };
            (arrival, identity)
        }
        Direction::LeadSquaredToEhr => {
            let id = String::from_utf8(item).ok()?;
            let event = route.flow.outbound.as_ref()?.webhook;
            // Its fields are read when its turn comes.
            let body = serde_json::json!({ "ProspectID": id }).to_string();
            let entry = webhook::parse(body.as_bytes()).ok()?;
            let entry = entry.entries.into_iter().next()?;
            let arrival = hook::arrival(configuration, &load.account, event, entry);
            (arrival, Some(format!("load|{}|{id}", load.id)))
        }
    };
    let mut arrival = Arrival {
        peer: format!("load {}", load.id),
        load: Some(load.id.clone()),
        ..arrival
    };
    if let Some(identity) = identity {
        arrival.duplicate = Some(DuplicateKey {
            payload: Sha256::digest(&identity).into(),
            identity,
        });
    }
    if let journal::Route::Flows(routed) = &mut arrival.route {
        routed.retain(|routed| routed.flow == load.flow || routed.flow == patient::flow());
        for routed in routed.iter_mut() {
            routed.rank = Rank::LAST;
        }
        if routed.is_empty() {
            let text = format!(
                "flow {} does not take {} any more",
                load.flow, arrival.event
            );
            arrival.route = journal::Route::Skipped {
                reason: "no-flow",
                text,
            };
        }
    }
    Some(arrival)
}
