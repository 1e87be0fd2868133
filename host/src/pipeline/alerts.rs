//! Alerts: what goes wrong is noticed, told once when it begins and once when it ends, to whom the settings say.
//!
//! [`Pipeline::look_for_alerts`] is one look: the rules (`alerts/rules.rs`) say what is wrong now, what was not before
//! begins, what is no longer ends, and what nobody was told yet is told (`alerts/tell.rs`). Nothing of it delays a message,
//! and no text of it holds patient data.

mod rules;
mod tell;
mod usual;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};
use utoipa::ToSchema;

use super::Pipeline;
use super::judge::{Done, Stop};
use super::webhooks::Webhooks;
use crate::flow::alert::{Alert, Kind};
use crate::flow::{AccountId, FlowId};
use crate::leadsquared;
use crate::store;
use crate::store::journal::State;

pub use tell::Untold;

/// How often it is looked.
const LOOK: Duration = Duration::from_secs(20);

/// After a start, senders connect again first.
const SETTLE: Duration = Duration::from_secs(60);

/// What one of several hosts does: it has no name that a channel could have.
const ALERTING: &str = "(alerts)";

/// How long alerts that have ended are kept.
const KEPT_MS: i64 = 90 * 24 * 60 * 60 * 1_000;

/// What is noticed as it happens, for the rules to look at; in memory only.
#[derive(Debug, Default)]
pub(super) struct Watch {
    seen: Mutex<Seen>,
    /// Two looks at once would say everything twice.
    looking: tokio::sync::Mutex<()>,
    /// Where this host keeps its files.
    folder: OnceLock<PathBuf>,
}

#[derive(Debug, Default)]
struct Seen {
    /// Failures of each flow since its last success.
    in_a_row: BTreeMap<FlowId, u64>,
    /// Accounts whose keys were refused, until LeadSquared serves them again.
    refused: BTreeSet<AccountId>,
    /// What is wrong with the webhooks of each account, as they were looked at last.
    hooks: BTreeMap<AccountId, Vec<String>>,
    /// The webhooks of each account as they were seen last, and when.
    webhooks: BTreeMap<AccountId, (i64, Webhooks)>,
    /// Why somebody could not be told; none once it worked again.
    untold: Option<String>,
}

impl Watch {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes the state that a try of a delivery has ended in.
    pub(super) fn settled(&self, flow: &FlowId, state: State) {
        match state {
            State::Dead => *self.seen().in_a_row.entry(flow.clone()).or_default() += 1,
            State::Delivered | State::Skipped => drop(self.seen().in_a_row.remove(flow)),
            State::Queued | State::Running | State::Waiting | State::Parked => {}
        }
    }

    /// Notes what LeadSquared says of an account's keys by a delivery.
    pub(super) fn came(&self, account: &AccountId, result: &Result<Done, Stop>) {
        match result {
            Err(Stop::LeadSquared(fault)) => self.refused(account, fault),
            Ok(Done::Written(_)) => self.served(account),
            _ => {}
        }
    }

    pub(super) fn refused(&self, account: &AccountId, fault: &leadsquared::Error) {
        if matches!(fault, leadsquared::Error::Unauthorized) {
            self.seen().refused.insert(account.clone());
        }
    }

    pub(super) fn served(&self, account: &AccountId) {
        self.seen().refused.remove(account);
    }

    /// Notes what is wrong with the webhooks of an account; nothing where all is well.
    pub(super) fn hooks(&self, account: &AccountId, wrong: Vec<String>) {
        self.seen().hooks.insert(account.clone(), wrong);
    }

    /// Notes how the webhooks of an account stand.
    pub(super) fn note_webhooks(&self, account: &AccountId, webhooks: &Webhooks) {
        let now_ms = Timestamp::now().as_millisecond();
        let seen = (now_ms, webhooks.clone());
        self.seen().webhooks.insert(account.clone(), seen);
    }

    /// How the webhooks of an account stood when they were seen last, and when that was.
    pub(super) fn webhooks_seen(&self, account: &AccountId) -> Option<(i64, Webhooks)> {
        self.seen().webhooks.get(account).cloned()
    }
}

/// Something that is wrong now.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Found {
    kind: Kind,
    /// Empty for what is this host's.
    account: String,
    subject: String,
    text: String,
}

impl Found {
    fn is(&self, alert: &Alert) -> bool {
        self.kind == alert.kind && self.account == alert.account && self.subject == alert.subject
    }
}

/// The room that a disk has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub struct Disk {
    pub free_bytes: u64,
    pub total_bytes: u64,
    /// Of the whole, rounded down.
    pub free_percent: u64,
}

impl Pipeline {
    /// Notes where this host keeps its files.
    pub fn note_folder(&self, folder: PathBuf) {
        // Once a start; another would be of another host.
        let _ = self.watch.folder.set(folder);
    }

    /// The room on the disk that this host keeps its files on; none where it cannot be told.
    pub fn disk(&self) -> Option<Disk> {
        let folder = self.watch.folder.get()?;
        let facts = rustix::fs::statvfs(folder).ok()?;
        let total = facts.f_blocks.saturating_mul(facts.f_frsize);
        let free = facts.f_bavail.saturating_mul(facts.f_frsize);
        Some(Disk {
            free_bytes: free,
            total_bytes: total,
            free_percent: free.saturating_mul(100).checked_div(total)?,
        })
    }

    /// Why somebody could not be told of an alert; none once it worked again.
    pub fn untold(&self) -> Option<String> {
        self.watch.seen().untold.clone()
    }

    /// Looks once: what is wrong begins, what is no longer ends, and what nobody was told yet is told.
    ///
    /// # Errors
    /// The store's; nothing is told twice, and the next look goes on.
    pub async fn look_for_alerts(&self) -> Result<(), store::Error> {
        let _looking = self.watch.looking.lock().await;
        let host = AccountId::from("");
        let journal = self.store.journal();
        // So would two hosts.
        if !journal.hold(&host, ALERTING, &self.owner, LOOK * 3).await? {
            return Ok(());
        }
        let alerts = self.store.alerts();
        let settings = alerts.settings().await?.document;
        let now_ms = Timestamp::now().as_millisecond();
        let found = Box::pin(rules::all(self, &settings, now_ms)).await?;
        let mut standing = alerts.standing().await?;
        for one in &found {
            let open = |alert: &&mut Alert| alert.ended_at_ms.is_none() && one.is(alert);
            match standing.iter_mut().find(open) {
                Some(alert) if alert.text == one.text => {}
                Some(alert) => {
                    alert.text.clone_from(&one.text);
                    alerts.put(alert).await?;
                }
                None => {
                    let snoozed = alerts.snoozed(one.kind, &one.account, &one.subject);
                    let alert = Alert {
                        id: uuid::Uuid::now_v7().to_string(),
                        kind: one.kind,
                        account: one.account.clone(),
                        subject: one.subject.clone(),
                        text: one.text.clone(),
                        began_at_ms: now_ms,
                        ended_at_ms: None,
                        began_told_at_ms: None,
                        ended_told_at_ms: None,
                        snoozed_until_ms: snoozed.await?.filter(|until| *until > now_ms),
                    };
                    warn!(kind = %alert.kind, account = alert.account, subject = alert.subject, text = alert.text, "an alert begins");
                    alerts.put(&alert).await?;
                    standing.push(alert);
                }
            }
        }
        for alert in &mut standing {
            let is_over = !found.iter().any(|one| one.is(alert));
            if alert.ended_at_ms.is_none() && is_over {
                alert.ended_at_ms = Some(now_ms);
                info!(kind = %alert.kind, account = alert.account, subject = alert.subject, "an alert ends");
                alerts.put(alert).await?;
            }
        }
        self.tell_alerts(&settings, standing, now_ms).await
    }

    /// Tells what of `standing` nobody was told yet.
    async fn tell_alerts(
        &self,
        settings: &crate::flow::alert::Settings,
        standing: Vec<Alert>,
        now_ms: i64,
    ) -> Result<(), store::Error> {
        let alerts = self.store.alerts();
        let mut password = None;
        for mut alert in standing {
            let is_snoozed = alert.snoozed_until_ms.is_some_and(|until| until > now_ms);
            let told = match (alert.ended_at_ms, alert.began_told_at_ms) {
                // It was over before anybody was told.
                (Some(_), None) => continue,
                (Some(_), Some(_)) => &mut alert.ended_told_at_ms,
                (None, None) if !is_snoozed => &mut alert.began_told_at_ms,
                (None, _) => continue,
            };
            if told.is_some() {
                continue;
            }
            *told = Some(now_ms);
            if password.is_none() {
                password = Some(alerts.password().await?);
            }
            let known = password.clone().flatten();
            match tell::alert(settings, known, &alert).await {
                Ok(fault) => {
                    alerts.put(&alert).await?;
                    self.watch.seen().untold = fault.map(|fault| fault.to_string());
                }
                Err(fault) => {
                    let fault = fault.to_string();
                    warn!(kind = %alert.kind, fault, "nobody was told of an alert; tried again in a moment");
                    self.watch.seen().untold = Some(fault);
                }
            }
        }
        Ok(())
    }

    /// Sends a mail, or calls the webhook, to see whether they work.
    ///
    /// # Errors
    /// Why not.
    pub async fn try_alerts(&self) -> Result<(), Untold> {
        let alerts = self.store.alerts();
        let settings = alerts.settings().await?.document;
        let password = alerts.password().await?;
        let tried = tell::test(&settings, password).await;
        self.watch.seen().untold = tried.as_ref().err().map(ToString::to_string);
        tried
    }
}

/// Looks for alerts until `shutdown`.
pub async fn keep(pipeline: Arc<Pipeline>, shutdown: CancellationToken) {
    let mut wait = SETTLE;
    let mut rounds = 0_u64;
    loop {
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = shutdown.cancelled() => return,
        }
        wait = LOOK;
        let looking = Box::pin(pipeline.look_for_alerts());
        if let Some(Err(fault)) = shutdown.run_until_cancelled(looking).await {
            error!(%fault, "alerts were not looked for; tried again in a moment");
        }
        if rounds.is_multiple_of(180) {
            let before_ms = Timestamp::now().as_millisecond() - KEPT_MS;
            if let Err(fault) = pipeline.store.alerts().forget(before_ms).await {
                error!(%fault, "old alerts could not be forgotten");
            }
        }
        rounds += 1;
    }
}
