//! The configuration in force: accounts with their clients, and flows with their compiled releases.
//!
//! Read from the catalog at start and whenever an administrator changes something ([`keep`]); a component is compiled
//! here, never while a message waits.

mod keep;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use jiff::tz::TimeZone;
use tokio::sync::{Mutex, OnceCell};
use tokio::time::Instant;

use super::Said;
use super::account;
use super::outlook::Pace;
use crate::flow::account::Keys;
use crate::flow::change::Change;
use crate::flow::channel::Kind;
use crate::flow::patient::PatientKeyRule;
use crate::flow::{
    Account, AccountId, Channel, ChannelId, Digest, Direction, Event, Flow, FlowId, Release,
    WebhookEvent,
};
use crate::hl7;
use crate::leadsquared::{self, Budget, Client, Slot, Used};
use crate::mapping::{ChangeInput, Component, Input, Runtime, Tables};
use crate::store::journal::Lease;
use crate::store::{self, Store};
use crate::sync::finish::Fields;

pub use keep::{Changes, keep};

/// Lead fields are read again after this long; an administrator can ask for it sooner.
const FIELDS_FRESH: Duration = Duration::from_secs(60 * 60);

/// The same while a field is missing.
const MISSING_FRESH: Duration = Duration::from_secs(60);

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
    /// Flows to the EHR of one account, in the order in which their deliveries run.
    outbound: HashMap<AccountId, Vec<Arc<Route>>>,
}

/// One flow with all that a delivery of it needs.
#[derive(Debug)]
pub struct Route {
    pub flow: Flow,
    pub account: Arc<AccountEntry>,
    /// None while the flow has no release.
    pub in_force: Option<InForce>,
    /// The same flow with its candidate in force, for those whom it serves.
    candidate: Option<Arc<Route>>,
    /// The fields of the flow's activity type, as LeadSquared told them last; empty where they were never read.
    pub slots: Vec<Slot>,
    /// What a flow to the EHR fills.
    pub template: Option<Arc<hl7::Message>>,
    /// The zone of times without an offset.
    pub zone: TimeZone,
}

/// A release with all that it names.
#[derive(Debug, Clone)]
pub struct InForce {
    pub release: Arc<Release>,
    pub digest: Digest,
    pub component: Arc<Component>,
    pub tables: Arc<Tables>,
}

/// One account with its client.
#[derive(Debug)]
pub struct AccountEntry {
    pub account: Account,
    pub client: Client,
    pub pace: Pace,
    keys: Keys,
    fields: Mutex<Option<(Instant, Arc<Fields>)>>,
    /// The id of the user whose keys are used.
    user: OnceCell<String>,
}

impl Configuration {
    /// Reads the catalog and loads every component that an active flow names. Blocks on compilation if one is new.
    pub async fn load(store: &Store, runtime: &Arc<Runtime>) -> anyhow::Result<Self> {
        Box::pin(Self::load_after(store, runtime, None)).await
    }

    /// The same with the accounts of the one in force where they are unchanged: their budgets and fields go on.
    pub async fn load_after(
        store: &Store,
        runtime: &Arc<Runtime>,
        before: Option<&Self>,
    ) -> anyhow::Result<Self> {
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
            let known = before.and_then(|before| before.account(&account.id));
            let entry = match known {
                Some(entry) if entry.account == *account && entry.keys == *keys => entry.clone(),
                known => {
                    let budget = known.filter(|entry| entry.account.rate_plan == account.rate_plan);
                    let budget = budget.map(|entry| entry.client.budget().clone());
                    let goes_on = budget.is_some();
                    let entry = AccountEntry::new(account.clone(), keys.clone(), budget)?;
                    if let (false, Some(known)) = (goes_on, known) {
                        // Another plan for the same day: what was called so far counts.
                        known.keep_usage(store).await?;
                    }
                    if !goes_on {
                        entry.resume(store).await?;
                    }
                    entry.remember(account::kept_fields(store, &account.id).await);
                    Arc::new(entry)
                }
            };
            accounts.insert(account.id.clone(), entry);
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
            let known = before.and_then(|before| before.route(&flow.id));
            let known: Vec<_> = known
                .into_iter()
                .flat_map(|known| known.releases())
                .collect();
            let loading = async |release: Option<&Release>| {
                InForce::load_after(store, runtime, &flow, release, &known).await
            };
            let in_force = loading(catalog.release(&flow)).await?;
            let candidate = loading(catalog.candidate(&flow)).await?;
            let template = match flow.direction {
                Direction::EhrToLeadSquared => None,
                Direction::LeadSquaredToEhr => load_template(store, &flow).await?,
            };
            let slots = match &flow.activity {
                Some(kind) => account::kept_slots(store, &flow.account, kind.code).await?,
                None => Vec::new(),
            };
            let route = Route {
                slots,
                template,
                // Unknown names are refused when a flow is saved.
                zone: TimeZone::get(zone_name(&flow, &account.account)).unwrap_or(TimeZone::UTC),
                account: account.clone(),
                in_force,
                candidate: None,
                flow,
            };
            let route = Arc::new(route.beside(candidate));
            let group = match route.flow.direction {
                Direction::EhrToLeadSquared => configuration
                    .by_channel
                    .entry(route.flow.channel.clone())
                    .or_default(),
                Direction::LeadSquaredToEhr => configuration
                    .outbound
                    .entry(route.flow.account.clone())
                    .or_default(),
            };
            group.push(route.clone());
            configuration.flows.insert(route.flow.id.clone(), route);
        }
        let by_channel = configuration.by_channel.values_mut();
        for routes in by_channel.chain(configuration.outbound.values_mut()) {
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
        let channel = self.channel(channel);
        channel.map(|channel| channel.reading()).unwrap_or_default()
    }

    fn channel(&self, id: &ChannelId) -> Option<&Arc<Channel>> {
        self.channels.iter().find(|known| known.id == *id)
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

    /// The flows that `event` of a lead, or of an activity of type `code`, sets going, in their listed order.
    pub fn senders(
        &self,
        account: &AccountId,
        event: WebhookEvent,
        code: Option<u32>,
    ) -> impl Iterator<Item = &Arc<Route>> {
        self.outbound
            .get(account)
            .into_iter()
            .flatten()
            .filter(move |route| route.flow.sends(event, code).is_some())
    }

    /// Every flow, in no particular order.
    pub fn flows(&self) -> impl Iterator<Item = &Arc<Route>> {
        self.flows.values()
    }

    /// Every account, sorted.
    pub fn accounts(&self) -> impl Iterator<Item = &AccountId> {
        self.accounts.keys()
    }

    /// The clock of an account; UTC where it names none.
    pub fn zone(&self, account: &AccountId) -> TimeZone {
        let entry = self.accounts.get(account);
        let zone = entry.and_then(|entry| entry.account.time_zone.as_deref());
        let zone = zone.and_then(|zone| TimeZone::get(zone).ok());
        zone.unwrap_or(TimeZone::UTC)
    }

    pub fn account(&self, id: &AccountId) -> Option<&Arc<AccountEntry>> {
        self.accounts.get(id)
    }

    /// How the patient of a channel's messages is found; a channel that is gone has the default rule.
    pub fn patient_key(&self, channel: &ChannelId) -> PatientKeyRule {
        let channel = self.channel(channel);
        channel.map_or_else(PatientKeyRule::default, |channel| {
            channel.patient_key.clone()
        })
    }
}

fn zone_name<'a>(flow: &'a Flow, account: &'a Account) -> &'a str {
    let zone = flow.time_zone.as_deref().or(account.time_zone.as_deref());
    zone.unwrap_or("UTC")
}

/// The message that a flow to the EHR fills; none where it has none that can be read.
async fn load_template(store: &Store, flow: &Flow) -> anyhow::Result<Option<Arc<hl7::Message>>> {
    let template = store.templates().get(&flow.account, &flow.id).await;
    let template =
        template.with_context(|| format!("reading the template of flow {:?}", flow.name))?;
    let message = template.and_then(|template| hl7::Message::parse(template.bytes()).ok());
    Ok(message.map(Arc::new))
}

impl InForce {
    /// The same for a release that may be among those that are `known`, with its component's limits as they stand.
    async fn load_after(
        store: &Store,
        runtime: &Arc<Runtime>,
        flow: &Flow,
        release: Option<&Release>,
        known: &[&Self],
    ) -> anyhow::Result<Option<Self>> {
        let Some(release) = release else {
            return Ok(None);
        };
        let known = known.iter().find(|known| *known.release == *release);
        let in_force = match known {
            Some(known) => (*known).clone(),
            None => Self::load(store, runtime, flow, release.clone()).await?,
        };
        // They may have changed while the release has not.
        let digest = &in_force.release.component;
        let catalog = store.catalog();
        let limits = catalog.component_limits(&flow.account, digest).await?;
        in_force.component.limit(limits);
        Ok(Some(in_force))
    }

    /// Reads what a release of `flow` names; blocks on compilation if the component is new to this host.
    pub async fn load(
        store: &Store,
        runtime: &Arc<Runtime>,
        flow: &Flow,
        release: Release,
    ) -> anyhow::Result<Self> {
        let catalog = store.catalog();
        let bytes = catalog
            .component_bytes(&flow.account, &release.component)
            .await?
            .with_context(|| {
                format!("the component of flow {:?} is not in the store", flow.name)
            })?;
        let runtime = runtime.clone();
        let component = tokio::task::spawn_blocking(move || runtime.load(&bytes))
            .await?
            .with_context(|| format!("loading the component of flow {:?}", flow.name))?;
        let tables = tables_of(store, flow, &release).await?;
        Ok(Self {
            digest: release.digest(),
            release: Arc::new(release),
            component,
            tables: Arc::new(tables),
        })
    }
}

/// The versions of code tables that a release of `flow` has, ready to be asked.
pub(super) async fn tables_of(
    store: &Store,
    flow: &Flow,
    release: &Release,
) -> anyhow::Result<Tables> {
    let catalog = store.catalog();
    let mut tables = Tables::new();
    for (name, version) in &release.tables {
        let table = catalog
            .table_version(&flow.account, &version.digest)
            .await?;
        let table = table.with_context(|| {
            let name = &version.name;
            format!(
                "code table {name:?} of flow {:?} is not in the store",
                flow.name
            )
        })?;
        tables.insert(name.clone(), Arc::new(table.into()));
    }
    Ok(tables)
}

impl Route {
    /// The route of those who hold `lease`: the flow's own, or its candidate's.
    pub fn serving(&self, lease: &Lease) -> &Self {
        let canary = self.flow.canary.as_ref();
        let serves = canary
            .zip(lease.lane())
            .is_some_and(|(canary, lane)| canary.serves(lane));
        match &self.candidate {
            Some(candidate) if serves => candidate,
            _ => self,
        }
    }

    /// The releases that serve somebody.
    pub fn releases(&self) -> impl Iterator<Item = &InForce> {
        let candidate = self.candidate.iter();
        let candidate = candidate.flat_map(|candidate| &candidate.in_force);
        self.in_force.iter().chain(candidate)
    }

    /// The route with a candidate beside it.
    fn beside(self, candidate: Option<InForce>) -> Self {
        let candidate = candidate.map(|candidate| {
            Arc::new(Self {
                flow: self.flow.clone(),
                account: self.account.clone(),
                in_force: Some(candidate),
                candidate: None,
                slots: self.slots.clone(),
                template: self.template.clone(),
                zone: self.zone.clone(),
            })
        });
        Self { candidate, ..self }
    }

    /// What a run of this flow's component is given.
    pub fn input(&self, in_force: &InForce, message: Arc<hl7::Message>, said: &Said<'_>) -> Input {
        Input {
            message,
            release: in_force.release.clone(),
            tables: in_force.tables.clone(),
            event: said.event.into(),
            received_at_ms: said.received_at_ms,
            time_zone: zone_name(&self.flow, &self.account.account).into(),
            default_country_code: self.country_code(),
            channel: self.flow.channel.to_string(),
        }
    }

    /// What a run of an outbound flow's component is given.
    pub fn change_input(
        &self,
        in_force: &InForce,
        change: Arc<Change>,
        received_at_ms: i64,
    ) -> ChangeInput {
        ChangeInput {
            change,
            release: in_force.release.clone(),
            tables: in_force.tables.clone(),
            received_at_ms,
            time_zone: zone_name(&self.flow, &self.account.account).into(),
            default_country_code: self.country_code(),
            channel: self.flow.channel.to_string(),
        }
    }

    /// The time zone of the flow, or of its account.
    pub fn zone_name(&self) -> &str {
        zone_name(&self.flow, &self.account.account)
    }

    pub(super) fn country_code(&self) -> Option<String> {
        let own = self.flow.default_country_code.clone();
        own.or_else(|| self.account.account.default_country_code.clone())
    }
}

impl AccountEntry {
    fn new(account: Account, keys: Keys, budget: Option<Arc<Budget>>) -> anyhow::Result<Self> {
        let plan = &account.rate_plan;
        let budget = budget.unwrap_or_else(|| {
            Arc::new(Budget::new(
                plan.calls,
                Duration::from_millis(plan.window_ms),
                plan.ours_of_a_day(),
            ))
        });
        let client = Client::new(
            &leadsquared::Config {
                api: account.api.clone(),
                keys: leadsquared::Keys {
                    access_key: keys.access_key.clone(),
                    secret_key: keys.secret_key.clone(),
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
            keys,
            fields: Mutex::new(None),
            user: OnceCell::new(),
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

    /// The account's keys, to look for it elsewhere.
    pub(super) fn keys(&self) -> &Keys {
        &self.keys
    }

    /// The id of the user whose keys are used, asked for once with `client`.
    pub(super) async fn user(&self, client: &Client) -> Result<&str, leadsquared::Error> {
        let asking = self
            .user
            .get_or_try_init(async || Ok(client.who_am_i().await?.id));
        asking.await.map(String::as_str)
    }

    /// Whether calls are made with the same keys to the same host.
    fn calls_as(&self, other: &Self) -> bool {
        self.account.api == other.account.api && self.keys == other.keys
    }

    pub fn look_up_wait_ms(&self) -> u64 {
        self.account.look_up_wait_ms
    }

    /// Takes lead fields that were read a while ago, unless they are older than an hour.
    pub(super) fn remember(&self, read: Option<(Duration, Fields)>) {
        let read = read.filter(|(age, _)| *age < FIELDS_FRESH);
        let Some((age, fields)) = read else { return };
        let at = Instant::now().checked_sub(age);
        // Held only while they are being asked for, and then newer ones come.
        if let (Some(at), Ok(mut kept)) = (at, self.fields.try_lock()) {
            *kept = Some((at, Arc::new(fields)));
        }
    }

    /// The account's lead fields, asked for at most once an hour; once a minute while they do not hold `enough`, for
    /// somebody may have made the missing one just now.
    pub async fn fields(
        &self,
        enough: impl Fn(&Fields) -> bool,
    ) -> Result<Arc<Fields>, leadsquared::Error> {
        // Held over the call on purpose: deliveries that start together ask once.
        let mut kept = self.fields.lock().await;
        let is_fresh = |read_at: &Instant, fields: &Fields| {
            let age = read_at.elapsed();
            age < MISSING_FRESH || (age < FIELDS_FRESH && enough(fields))
        };
        match kept.as_ref() {
            Some((read_at, fields)) if is_fresh(read_at, fields) => Ok(fields.clone()),
            _ => {
                let fields: Arc<Fields> =
                    Arc::new(self.client.lead_fields().await?.into_iter().collect());
                *kept = Some((Instant::now(), fields.clone()));
                Ok(fields)
            }
        }
    }
}
