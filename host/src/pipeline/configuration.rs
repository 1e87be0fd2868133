//! The configuration in force: accounts with their clients, and flows with their compiled releases.
//!
//! Read from the catalog at start and whenever an administrator changes something; a component is compiled here, never
//! while a message waits.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use jiff::tz::TimeZone;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::outlook::Pace;
use crate::flow::account::Keys;
use crate::flow::channel::Kind;
use crate::flow::patient::PatientKeyRule;
use crate::flow::{Account, AccountId, Channel, ChannelId, Event, Flow, FlowId, Release};
use crate::hl7;
use crate::leadsquared::{self, Budget, Client, Used};
use crate::mapping::{Component, Input, Runtime};
use crate::store::journal::Claimed;
use crate::store::{self, Store};
use crate::sync::finish::Fields;

/// Lead fields are read again after this long; an administrator can ask for it sooner.
const FIELDS_FRESH: Duration = Duration::from_secs(60 * 60);

/// Everything configured, ready to run.
#[derive(Debug, Default)]
pub struct Configuration {
    /// Those that listen.
    pub channels: Vec<Arc<Channel>>,
    /// Those that send.
    pub targets: Vec<Arc<Channel>>,
    accounts: BTreeMap<AccountId, Arc<AccountEntry>>,
    flows: HashMap<FlowId, Arc<Route>>,
    /// Flows of one channel in the order in which their deliveries run.
    by_channel: HashMap<ChannelId, Vec<Arc<Route>>>,
}

/// One flow with all that a delivery of it needs.
#[derive(Debug)]
pub struct Route {
    pub flow: Flow,
    pub account: Arc<AccountEntry>,
    /// None while the flow has no release, or its component cannot be loaded on this host.
    pub release: Option<(Arc<Release>, Arc<Component>)>,
    /// The zone of times without an offset.
    pub zone: TimeZone,
}

/// One account with its client.
#[derive(Debug)]
pub struct AccountEntry {
    pub account: Account,
    pub client: Client,
    pub pace: Pace,
    fields: Mutex<Option<(Instant, Arc<Fields>)>>,
}

impl Configuration {
    /// Reads the catalog and loads every component that an active flow names. Blocks on compilation if one is new.
    pub async fn load(store: &Store, runtime: &Arc<Runtime>) -> anyhow::Result<Self> {
        let catalog = store
            .catalog()
            .load()
            .await
            .context("reading the configuration")?;
        let mut accounts = BTreeMap::new();
        for account in &catalog.accounts {
            let keys = catalog
                .keys
                .get(&account.id)
                .with_context(|| format!("account {:?} has no keys", account.name))?;
            let entry = AccountEntry::new(account.clone(), keys.clone())?;
            entry.resume(store).await?;
            accounts.insert(entry.account.id.clone(), Arc::new(entry));
        }
        let (channels, targets) = catalog
            .channels
            .iter()
            .cloned()
            .map(Arc::new)
            .partition(|channel| channel.kind() == Kind::Inbound);
        let mut configuration = Self {
            channels,
            targets,
            accounts,
            ..Self::default()
        };
        for flow in catalog.flows.clone() {
            let account = configuration.account(&flow.account).with_context(|| {
                format!(
                    "flow {:?} names the unknown account {:?}",
                    flow.name,
                    flow.account.as_str()
                )
            })?;
            let release = match catalog.release(&flow) {
                Some(release) => Some(load_release(store, runtime, &flow, release.clone()).await?),
                None => None,
            };
            let route = Arc::new(Route {
                // Unknown names are refused when a flow is saved.
                zone: TimeZone::get(zone_name(&flow, &account.account)).unwrap_or(TimeZone::UTC),
                account: account.clone(),
                release,
                flow,
            });
            configuration
                .by_channel
                .entry(route.flow.channel.clone())
                .or_default()
                .push(route.clone());
            configuration.flows.insert(route.flow.id.clone(), route);
        }
        for routes in configuration.by_channel.values_mut() {
            routes
                .sort_by(|a, b| (a.flow.position, &a.flow.id).cmp(&(b.flow.position, &b.flow.id)));
        }
        Ok(configuration)
    }

    pub fn route(&self, flow: &FlowId) -> Option<&Arc<Route>> {
        self.flows.get(flow)
    }

    /// How messages of `channel` are read; of one that is no longer there, as without settings.
    pub fn reading(&self, channel: &ChannelId) -> hl7::Options {
        let channel = self.channels.iter().find(|known| known.id == *channel);
        channel.map(|channel| channel.reading()).unwrap_or_default()
    }

    /// The flows that take `event` from `channel`, in their listed order.
    pub fn takers<'a>(
        &'a self,
        channel: &'a ChannelId,
        event: &'a Event,
    ) -> impl Iterator<Item = &'a Arc<Route>> {
        self.by_channel
            .get(channel)
            .into_iter()
            .flatten()
            .filter(move |route| route.flow.takes(channel, event))
    }

    /// Every flow, in no particular order.
    pub fn flows(&self) -> impl Iterator<Item = &Arc<Route>> {
        self.flows.values()
    }

    /// Every account, sorted.
    pub fn accounts(&self) -> impl Iterator<Item = &AccountId> {
        self.accounts.keys()
    }

    pub fn account(&self, id: &AccountId) -> Option<&Arc<AccountEntry>> {
        self.accounts.get(id)
    }

    /// How the patient of a channel's messages is found; a channel that is gone has the default rule.
    pub fn patient_key(&self, channel: &ChannelId) -> PatientKeyRule {
        let channel = self.channels.iter().find(|known| known.id == *channel);
        channel.map_or_else(PatientKeyRule::default, |channel| {
            channel.patient_key.clone()
        })
    }
}

fn zone_name<'a>(flow: &'a Flow, account: &'a Account) -> &'a str {
    let zone = flow.time_zone.as_deref().or(account.time_zone.as_deref());
    zone.unwrap_or("UTC")
}

async fn load_release(
    store: &Store,
    runtime: &Arc<Runtime>,
    flow: &Flow,
    release: Release,
) -> anyhow::Result<(Arc<Release>, Arc<Component>)> {
    let bytes = store
        .catalog()
        .component_bytes(&flow.account, &release.component)
        .await?
        .with_context(|| format!("the component of flow {:?} is not in the store", flow.name))?;
    let runtime = runtime.clone();
    let component = tokio::task::spawn_blocking(move || runtime.load(&bytes))
        .await?
        .with_context(|| format!("loading the component of flow {:?}", flow.name))?;
    Ok((Arc::new(release), component))
}

impl Route {
    /// What a run of this flow's component is given.
    pub fn input(
        &self,
        release: &Arc<Release>,
        message: Arc<hl7::Message>,
        claimed: &Claimed,
    ) -> Input {
        Input {
            message,
            release: release.clone(),
            event: claimed.event.clone(),
            received_at_ms: claimed.received_at_ms,
            time_zone: zone_name(&self.flow, &self.account.account).into(),
            default_country_code: self
                .flow
                .default_country_code
                .clone()
                .or_else(|| self.account.account.default_country_code.clone()),
        }
    }
}

impl AccountEntry {
    fn new(account: Account, keys: Keys) -> anyhow::Result<Self> {
        let plan = &account.rate_plan;
        let budget = Arc::new(Budget::new(
            plan.calls,
            Duration::from_millis(plan.window_ms),
            plan.ours_of_a_day(),
        ));
        let client = Client::new(
            &leadsquared::Config {
                api: account.api.clone(),
                keys: leadsquared::Keys {
                    access_key: keys.access_key,
                    secret_key: keys.secret_key,
                },
                timeout: Duration::from_millis(account.call_timeout_ms),
            },
            budget,
        )
        .with_context(|| format!("account {:?}", account.name))?;
        Ok(Self {
            account,
            client,
            pace: Pace::default(),
            fields: Mutex::new(None),
        })
    }

    /// Counts what former processes and other hosts have called today.
    async fn resume(&self, store: &Store) -> anyhow::Result<()> {
        let budget = self.client.budget();
        let day = budget.standing().used.day;
        let calls = store.journal().calls(&self.account.id, day).await?;
        budget.resume(Used { day, calls });
        Ok(())
    }

    /// Adds up today's calls in the store, for the next process.
    pub async fn keep_usage(&self, store: &Store) -> Result<(), store::Error> {
        let Some(Used { day, calls }) = self.client.budget().tell() else {
            return Ok(());
        };
        store
            .journal()
            .add_calls(&self.account.id, day, calls)
            .await
    }

    pub fn look_up_wait_ms(&self) -> u64 {
        self.account.look_up_wait_ms
    }

    /// The account's lead fields, asked for at most once an hour.
    pub async fn fields(&self) -> Result<Arc<Fields>, leadsquared::Error> {
        // Held over the call on purpose: deliveries that start together ask once.
        let mut kept = self.fields.lock().await;
        match kept.as_ref() {
            Some((read_at, fields)) if read_at.elapsed() < FIELDS_FRESH => Ok(fields.clone()),
            _ => {
                let fields: Arc<Fields> =
                    Arc::new(self.client.lead_fields().await?.into_iter().collect());
                *kept = Some((Instant::now(), fields.clone()));
                Ok(fields)
            }
        }
    }
}
