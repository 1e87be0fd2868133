//! The configuration in force: accounts with their clients, and flows with their compiled releases.
//!
//! Read from the catalog at start and whenever an administrator changes something; a component is compiled here, never
//! while a message waits.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::flow::account::Keys;
use crate::flow::channel::Kind;
use crate::flow::{Account, AccountId, Channel, ChannelId, Event, Flow, FlowId, Release};
use crate::hl7;
use crate::leadsquared::{self, Budget, Client};
use crate::mapping::{Component, Input, Runtime};
use crate::store::Store;
use crate::store::journal::Claimed;
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
    accounts: Vec<AccountId>,
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
}

/// One account with its client.
#[derive(Debug)]
pub struct AccountEntry {
    pub account: Account,
    pub client: Client,
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
        let mut accounts = HashMap::new();
        for account in &catalog.accounts {
            let keys = catalog
                .keys
                .get(&account.id)
                .with_context(|| format!("account {:?} has no keys", account.name))?;
            let entry = AccountEntry::new(account.clone(), keys.clone())?;
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
            accounts: catalog
                .accounts
                .iter()
                .map(|account| account.id.clone())
                .collect(),
            ..Self::default()
        };
        configuration.accounts.sort();
        for flow in catalog.flows.clone() {
            let account = accounts.get(&flow.account).with_context(|| {
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
        self.accounts.iter()
    }
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
        let account = &self.account.account;
        Input {
            message,
            release: release.clone(),
            event: claimed.event.clone(),
            received_at_ms: claimed.received_at_ms,
            time_zone: self
                .flow
                .time_zone
                .clone()
                .or_else(|| account.time_zone.clone())
                .unwrap_or_else(|| "UTC".into()),
            default_country_code: self
                .flow
                .default_country_code
                .clone()
                .or_else(|| account.default_country_code.clone()),
        }
    }
}

impl AccountEntry {
    fn new(account: Account, keys: Keys) -> anyhow::Result<Self> {
        let budget = Arc::new(Budget::new(
            account.rate_plan.calls,
            Duration::from_millis(account.rate_plan.window_ms),
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
            fields: Mutex::new(None),
        })
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
