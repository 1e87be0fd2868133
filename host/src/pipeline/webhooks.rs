//! Webhooks of an account: which ones its flows need, made and mended in LeadSquared, and what they deliver.
//!
//! They belong to the account, one for each event and activity type, shared by all flows: a plan allows few. Those of
//! other programs are counted and left alone; ours are known by their address. What becomes of an entry is in `hook`.
//! Start at [`Pipeline::make_webhooks`] and [`Pipeline::deliver_hook`].

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use utoipa::ToSchema;

use super::Pipeline;
use super::account::Error;
use crate::flow::release::hex;
use crate::flow::{AccountId, WebhookEvent};
use crate::leadsquared::webhook::{Payload, Unreadable, parse};
use crate::leadsquared::{self, NewWebhook, Webhook};
use crate::store;
use crate::store::catalog::Author;
use crate::store::catalog::hook::{Hook, Secrets};

mod known;

pub use crate::leadsquared::WebhookStatus;

/// The header that carries the secret: addresses stand in the logs of everything on the way.
pub const SECRET_HEADER: &str = "x-ligature-secret";

/// Webhooks of the smaller plan (`leadsquared.md` 3).
const PLAN_LIMIT: u32 = 3;

/// A start goes first.
const SETTLE: Duration = Duration::from_secs(60);

/// How often it is looked whether webhooks still tell.
const LOOK: Duration = Duration::from_secs(15 * 60);

/// What one of several hosts does: it has no name that a channel could have.
const MENDING: &str = "(webhooks)";

/// How long a former secret is still taken: LeadSquared repeats what it could not deliver.
const FORMER_MS: i64 = 60 * 60 * 1_000;

/// What one webhook tells of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
pub struct Subject {
    pub event: WebhookEvent,
    /// The activity type of an activity event.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub activity: Option<u32>,
}

/// One of our webhooks as it stands in LeadSquared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Standing {
    pub id: String,
    #[serde(flatten)]
    pub subject: Subject,
    pub status: WebhookStatus,
    /// Whether a flow needs it.
    pub is_needed: bool,
}

/// How an account's webhooks stand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Webhooks {
    /// Where LeadSquared finds this host; none before it was said.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub address: Option<String>,
    /// Webhooks that the account's plan allows.
    pub limit: u32,
    /// Webhooks that there are, those of other programs among them.
    pub used: usize,
    pub webhooks: Vec<Standing>,
    /// What flows need and no webhook of ours tells of, but the account's poll finds: changes of leads, some minutes later.
    pub polled: Vec<Subject>,
    /// What flows need and nobody tells of.
    pub missing: Vec<Subject>,
}

/// What became of a delivery.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Delivered {
    /// Entries that are durable, or that no flow takes.
    pub entries: usize,
    /// Entries that could not be read; without what they hold.
    pub unreadable: Vec<Unreadable>,
}

impl From<WebhookEvent> for leadsquared::WebhookEvent {
    fn from(event: WebhookEvent) -> Self {
        match event {
            WebhookEvent::LeadCreate => Self::LeadCreate,
            WebhookEvent::LeadUpdate => Self::LeadUpdate,
            WebhookEvent::LeadActivityCreate => Self::LeadActivityCreate,
            WebhookEvent::LeadActivityUpdate => Self::LeadActivityUpdate,
        }
    }
}

impl From<leadsquared::WebhookEvent> for WebhookEvent {
    fn from(event: leadsquared::WebhookEvent) -> Self {
        match event {
            leadsquared::WebhookEvent::LeadCreate => Self::LeadCreate,
            leadsquared::WebhookEvent::LeadUpdate => Self::LeadUpdate,
            leadsquared::WebhookEvent::LeadActivityCreate => Self::LeadActivityCreate,
            leadsquared::WebhookEvent::LeadActivityUpdate => Self::LeadActivityUpdate,
        }
    }
}

impl Pipeline {
    /// Whether one of `sent` is the account's secret, the one in force or one that was lately.
    pub async fn knows_secret(
        &self,
        account: &AccountId,
        sent: &[String],
    ) -> Result<bool, store::Error> {
        let hook = self.store.catalog().hook(account).await?;
        let now = Timestamp::now().as_millisecond();
        // Of an account that is not there as much is computed as of one that is.
        let secrets = hook.map_or_else(Vec::new, |hook| hook.secrets.taken(now));
        let secrets = match secrets.is_empty() {
            true => vec![String::new()],
            false => secrets,
        };
        let mut is_known = false;
        for sent in sent {
            for secret in &secrets {
                is_known |= !secret.is_empty() & is_same(sent, secret);
            }
        }
        Ok(is_known)
    }

    /// Takes what a webhook delivers: keeps every entry, then says so. `said` are words of the address, of which the
    /// first that names an event counts.
    ///
    /// # Errors
    /// When nothing is durable: LeadSquared tries again.
    pub async fn deliver_hook(
        &self,
        account: &AccountId,
        said: &[&str],
        body: &[u8],
    ) -> Result<Delivered, store::Error> {
        let said = said.iter().find_map(|word| word.parse().ok());
        let payload = parse(body).unwrap_or_else(|unreadable| Payload {
            entries: Vec::new(),
            unreadable: vec![(unreadable, body.to_vec())],
        });
        for (unreadable, _) in &payload.unreadable {
            warn!(%account, %unreadable, "a webhook delivered what cannot be read: it is kept, and stands among the messages");
        }
        let entries = payload.entries.len();
        let unreadable = payload.unreadable.iter();
        let unreadable = unreadable.map(|(fault, _)| fault.clone()).collect();
        let kept = self.receive_hook(account, said, payload).await?;
        if entries > 0 {
            info!(%account, entries, kept, "webhook taken");
        }
        Ok(Delivered {
            entries,
            unreadable,
        })
    }

    /// Asks LeadSquared how the account's webhooks stand.
    ///
    /// # Errors
    /// What LeadSquared says.
    pub async fn webhooks(&self, account: &AccountId) -> Result<Webhooks, Error> {
        let hook = self.store.catalog().hook(account).await?;
        let listed = self.entry(account)?.client.webhooks().await?;
        let needed = self.needed_webhooks(account).await?;
        let is_polled = self.entry(account)?.account.poll.is_some();
        let standing = standing(needed, account, hook.as_ref(), &listed, is_polled);
        self.watch.note_webhooks(account, &standing);
        Ok(standing)
    }

    /// Makes the webhooks that flows need and that are missing, in place of ours that none needs, and anew those that
    /// LeadSquared has turned off after failures; one that a person turned off stays off. `also` is what a flow needs that
    /// is about to come into force.
    ///
    /// `address` and `limit` are remembered; nothing is made where the plan does not allow all of it.
    ///
    /// # Errors
    /// `Refused` says what is missing or how many are too many.
    pub async fn make_webhooks(
        &self,
        account: &AccountId,
        also: Option<Subject>,
        address: Option<&str>,
        limit: Option<u32>,
        author: &Author,
    ) -> Result<Webhooks, Error> {
        let entry = self.entry(account)?;
        let is_polled = entry.account.poll.is_some();
        let client = entry.client.clone();
        let catalog = self.store.catalog();
        let before = catalog.hook(account).await?;
        let mut hook = match before.clone() {
            Some(hook) => hook,
            None => Hook::new()?,
        };
        if let Some(limit) = limit {
            hook.limit = limit;
        }
        if let Some(address) = address {
            hook.address = Some(reachable(address)?);
        }
        let Some(address) = hook.address.clone() else {
            return Err(Error::Refused(
                "LeadSquared must be told where it finds this host: send `address`, such as https://bridge.example.org"
                    .into(),
            ));
        };
        let listed = client.webhooks().await?;
        // Under another address than before they are ours, too.
        let former = before.and_then(|hook| hook.address);
        let mut known = ours(account, former.as_deref(), &listed);
        if former.as_deref() != Some(address.as_str()) {
            known.extend(ours(account, Some(&address), &listed));
        }
        let mut needed = self.needed_webhooks(account).await?;
        needed.extend(also);
        let serves = |(webhook, subject): &(&Webhook, Subject)| {
            needed.contains(subject)
                && webhook.status != WebhookStatus::DisabledAfterFailures
                && is_under(&webhook.url, &address, account)
        };
        let mut seen = BTreeSet::new();
        let (kept, gone): (Vec<_>, Vec<_>) = known
            .into_iter()
            // One is enough of each.
            .partition(|known| serves(known) && seen.insert(known.1));
        let mut missing: Vec<Subject> = needed
            .iter()
            .filter(|subject| !kept.iter().any(|(_, known)| known == *subject))
            .copied()
            .collect();
        let used = listed.len() - gone.len();
        if is_polled {
            leave_to_the_poll(&mut missing, (hook.limit as usize).saturating_sub(used));
        }
        let after = used + missing.len();
        if !missing.is_empty() && after > hook.limit as usize {
            let instead = match missing.iter().any(Subject::can_be_polled) && !is_polled {
                true => {
                    ", set the account's `poll`, which can stand in for lead-create and lead-update"
                }
                false => "",
            };
            return Err(Error::Refused(format!(
                "the plan allows {} webhooks, and there would be {after}: {used} of other programs or in use, and {} to be \
                 made. Delete some in LeadSquared, let fewer flows run{instead}, or send a larger `limit` if the plan \
                 allows more",
                hook.limit,
                missing.len()
            )));
        }
        // A webhook must not come with a secret that is not known here.
        catalog.put_hook(account, &hook, "make", author).await?;
        for (webhook, _) in gone {
            client.delete_webhook(&webhook.id).await?;
        }
        for subject in missing {
            let new = hook.webhook(account, &address, subject);
            client.create_webhook(&new).await?;
            info!(%account, event = %subject.event, "webhook made");
        }
        self.webhooks(account).await
    }

    /// Makes webhooks anew that LeadSquared has turned off after failures, and says what else is missing.
    ///
    /// Nothing is made that was not there before: what a plan allows is shown to a person first.
    pub async fn mend_webhooks(&self, account: &AccountId) -> Result<(), Error> {
        let hook = self.store.catalog().hook(account).await?;
        let Some((hook, address)) = hook.and_then(|hook| {
            let address = hook.address.clone()?;
            Some((hook, address))
        }) else {
            return Ok(());
        };
        // Two hosts would make two of each.
        let journal = self.store.journal();
        let is_ours = journal
            .hold(account, MENDING, &self.owner, LOOK * 2)
            .await?;
        if !is_ours {
            return Ok(());
        }
        let entry = self.entry(account)?;
        let client = entry.client.clone();
        let listed = client.webhooks().await?;
        let needed = self.needed_webhooks(account).await?;
        let is_polled = entry.account.poll.is_some();
        let (mut wrong, mut is_mended) = (Vec::new(), false);
        for (webhook, subject) in ours(account, Some(&address), &listed) {
            let event = subject.event;
            match webhook.status {
                WebhookStatus::DisabledAfterFailures if needed.contains(&subject) => {
                    client.delete_webhook(&webhook.id).await?;
                    let new = hook.webhook(account, &address, subject);
                    client.create_webhook(&new).await?;
                    is_mended = true;
                    wrong.push(format!(
                        "Webhook {event} had been turned off by LeadSquared after failures and was made anew"
                    ));
                    warn!(%account, %event, "LeadSquared had turned the webhook off after failures; it was made anew, and what changed meanwhile was not told");
                }
                WebhookStatus::DisabledByHand if needed.contains(&subject) => {
                    wrong.push(format!(
                        "Webhook {event} was turned off by a person in LeadSquared"
                    ));
                    warn!(%account, %event, "the webhook was turned off by a person in LeadSquared; its flows hear of nothing");
                }
                _ => {}
            }
        }
        let seen = match is_mended {
            true => self.webhooks(account).await?,
            false => standing(needed, account, Some(&hook), &listed, is_polled),
        };
        for subject in &seen.missing {
            warn!(%account, %subject, "no webhook tells of what a flow needs: POST /api/v1/accounts/{account}/webhooks makes it");
        }
        self.watch.note_webhooks(account, &seen);
        self.watch.hooks(account, wrong);
        Ok(())
    }

    /// Gives the account a new secret and all webhooks of ours with it; gives the secret, to be set where webhooks are
    /// made by hand. The one before is taken for another hour.
    ///
    /// # Errors
    /// What LeadSquared says; a webhook that was not changed carries the former secret.
    pub async fn rotate_hook_secret(
        &self,
        account: &AccountId,
        author: &Author,
    ) -> Result<String, Error> {
        let client = self.entry(account)?.client.clone();
        let catalog = self.store.catalog();
        let mut hook = match catalog.hook(account).await? {
            Some(hook) => hook,
            None => Hook::new()?,
        };
        hook.secrets.renew(Timestamp::now().as_millisecond())?;
        catalog.put_hook(account, &hook, "rotate", author).await?;
        if let Some(address) = &hook.address {
            let listed = client.webhooks().await?;
            for (webhook, subject) in ours(account, Some(address), &listed) {
                let new = hook.webhook(account, address, subject);
                client.update_webhook(&webhook.id, &new).await?;
            }
        }
        Ok(hook.secrets.current)
    }
}

/// Looks after the webhooks of every account until `shutdown`.
pub async fn keep(pipeline: Arc<Pipeline>, shutdown: CancellationToken) {
    let mut wait = SETTLE;
    loop {
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = shutdown.cancelled() => return,
        }
        wait = LOOK;
        let configuration = pipeline.configuration();
        for account in configuration.accounts() {
            if let Err(fault) = Box::pin(pipeline.mend_webhooks(account)).await {
                warn!(%account, %fault, "the account's webhooks were not looked at; tried again in 15 minutes");
            }
        }
    }
}

impl Hook {
    fn new() -> Result<Self, Error> {
        Ok(Self {
            address: None,
            limit: PLAN_LIMIT,
            secrets: Secrets {
                current: secret()?,
                former: Vec::new(),
            },
        })
    }

    fn webhook(&self, account: &AccountId, address: &str, subject: Subject) -> NewWebhook {
        let Subject { event, activity } = subject;
        NewWebhook {
            event: event.into(),
            activity_code: activity,
            url: format!("{address}/hooks/{account}/{event}"),
            description: format!("ligature: {event}"),
            headers: vec![(SECRET_HEADER.into(), self.secrets.current.clone())],
        }
    }
}

impl Secrets {
    /// Those that are taken now.
    fn taken(self, now_ms: i64) -> Vec<String> {
        let former = self.former.into_iter();
        let former = former.filter(|(_, until)| *until > now_ms);
        let former = former.map(|(secret, _)| secret);
        std::iter::once(self.current).chain(former).collect()
    }

    fn renew(&mut self, now_ms: i64) -> Result<(), Error> {
        let current = std::mem::replace(&mut self.current, secret()?);
        self.former.retain(|(_, until)| *until > now_ms);
        self.former.push((current, now_ms + FORMER_MS));
        Ok(())
    }
}

/// 256 bits.
fn secret() -> Result<String, Error> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)
        .map_err(|_| Error::Refused("this machine gives no random numbers".into()))?;
    Ok(hex(&bytes))
}

/// Compares in a time that does not tell where the first difference is, nor how long the secret is.
fn is_same(sent: &str, secret: &str) -> bool {
    let (sent, secret) = (Sha256::digest(sent), Sha256::digest(secret));
    let pairs = sent.iter().zip(secret.iter());
    let different = pairs.fold(0, |sum, (a, b)| sum | (a ^ b));
    std::hint::black_box(different) == 0
}

/// An address as LeadSquared can reach it, without a slash at its end.
fn reachable(address: &str) -> Result<String, Error> {
    let address = address.trim().trim_end_matches('/');
    let (scheme, rest) = address.split_once("://").unwrap_or(("", ""));
    let host = rest.split(['/', ':']).next().unwrap_or_default();
    let is_here = ["localhost", "127.0.0.1"].contains(&host);
    let is_plain = !rest.is_empty() && !rest.contains(['?', '#', '@', ' ', '%']);
    match is_plain && (scheme == "https" || scheme == "http" && is_here) {
        true => Ok(address.to_owned()),
        false => Err(Error::Refused(
            "`address` is what LeadSquared finds this host at, such as https://bridge.example.org: it begins with \
             https://, and plain http is for this machine only"
                .into(),
        )),
    }
}

fn is_under(url: &str, address: &str, account: &AccountId) -> bool {
    let rest = url.strip_prefix(address);
    let rest = rest.and_then(|rest| rest.strip_prefix("/hooks/"));
    let rest = rest.and_then(|rest| rest.strip_prefix(account.as_str()));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '?']))
}

/// The webhooks of the list that lead to this host for the account.
fn ours<'a>(
    account: &AccountId,
    address: Option<&str>,
    listed: &'a [Webhook],
) -> Vec<(&'a Webhook, Subject)> {
    let Some(address) = address else {
        return Vec::new();
    };
    let found = listed.iter().filter_map(|webhook| {
        let event = webhook.event?;
        let subject = Subject {
            event: event.into(),
            activity: webhook.activity_code.filter(|_| event.is_of_activities()),
        };
        is_under(&webhook.url, address, account).then_some((webhook, subject))
    });
    found.collect()
}

/// Takes out of what is missing, as far as there is no room for it, what a poll can stand in for.
///
/// New leads first: of a change a webhook also says what was there before.
fn leave_to_the_poll(missing: &mut Vec<Subject>, room: usize) {
    for event in [WebhookEvent::LeadCreate, WebhookEvent::LeadUpdate] {
        if missing.len() > room {
            missing.retain(|subject| subject.event != event);
        }
    }
}

/// What is there beside what is needed.
fn standing(
    needed: BTreeSet<Subject>,
    account: &AccountId,
    hook: Option<&Hook>,
    listed: &[Webhook],
    is_polled: bool,
) -> Webhooks {
    let address = hook.and_then(|hook| hook.address.clone());
    let ours = ours(account, address.as_deref(), listed);
    let webhooks: Vec<Standing> = ours
        .into_iter()
        .map(|(webhook, subject)| Standing {
            id: webhook.id.clone(),
            is_needed: needed.contains(&subject),
            status: webhook.status,
            subject,
        })
        .collect();
    let is_told = |subject: &Subject| webhooks.iter().any(|it| it.subject == *subject);
    let untold = needed.into_iter().filter(|it| !is_told(it));
    let (polled, missing) = untold.partition(|it| is_polled && it.can_be_polled());
    Webhooks {
        address,
        limit: hook.map_or(PLAN_LIMIT, |hook| hook.limit),
        used: listed.len(),
        polled,
        missing,
        webhooks,
    }
}

#[cfg(test)]
mod tests;
