//! What is known of webhooks without asking LeadSquared again: what a flow must be told of, and what nobody tells.
//!
//! Pages and alerts look often, and each question to LeadSquared is a call of the account's plan.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::timeout;

use super::{Subject, Webhooks};
use crate::flow::{AccountId, Direction, Entity, Flow, Status};
use crate::pipeline::Pipeline;
use crate::pipeline::account::Error;
use crate::store;

/// How long what was seen is shown without asking again.
const FRESH_MS: i64 = 60_000;

/// A page does not wait longer for LeadSquared.
const PATIENCE: Duration = Duration::from_secs(4);

impl Subject {
    /// What a flow must be told of; none for one to LeadSquared.
    pub fn of(flow: &Flow) -> Option<Self> {
        if flow.direction != Direction::LeadSquaredToEhr {
            return None;
        }
        let event = flow.outbound.as_ref()?.webhook;
        let activity = match event.entity() {
            Entity::Lead => None,
            Entity::Activity => Some(flow.activity.as_ref()?.code),
        };
        Some(Self { event, activity })
    }

    /// Whether reading the account finds it, too.
    pub fn can_be_polled(&self) -> bool {
        self.event.entity() == Entity::Lead
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.activity {
            Some(code) => write!(f, "{} of activity type {code}", self.event),
            None => write!(f, "{}", self.event),
        }
    }
}

impl Pipeline {
    /// What the account's flows need to be told of: those that are drafts need nothing yet.
    ///
    /// The catalog is asked: a flow that was just activated may not be in force yet.
    pub async fn needed_webhooks(
        &self,
        account: &AccountId,
    ) -> Result<BTreeSet<Subject>, store::Error> {
        let listing = self.store.catalog().list().await?;
        let flows = listing.flows.iter().map(|kept| &kept.document);
        let flows = flows.filter(|flow| flow.account == *account && flow.status != Status::Draft);
        Ok(flows.filter_map(Subject::of).collect())
    }

    /// How the account's webhooks stand, as it was seen within the last minute.
    ///
    /// # Errors
    /// What LeadSquared says, or that it does not answer in a few seconds.
    pub async fn webhooks_lately(&self, account: &AccountId) -> Result<Webhooks, Error> {
        let now_ms = Timestamp::now().as_millisecond();
        let seen = self.watch.webhooks_seen(account);
        if let Some((_, webhooks)) = seen.filter(|(at_ms, _)| now_ms - at_ms < FRESH_MS) {
            return Ok(webhooks);
        }
        match timeout(PATIENCE, Box::pin(self.webhooks(account))).await {
            Ok(webhooks) => webhooks,
            Err(_) => Err(Error::Refused(
                "LeadSquared does not answer just now; look again in a minute".into(),
            )),
        }
    }

    /// What flows need and nobody tells of, as far as that is known without a call.
    pub async fn missing_webhooks(
        &self,
        account: &AccountId,
    ) -> Result<BTreeSet<Subject>, store::Error> {
        let mut missing = self.needed_webhooks(account).await?;
        if missing.is_empty() {
            return Ok(missing);
        }
        let configuration = self.configuration();
        let entry = configuration.account(account);
        let is_polled = entry.is_some_and(|entry| entry.account.poll.is_some());
        missing.retain(|subject| !(is_polled && subject.can_be_polled()));
        let hook = self.store.catalog().hook(account).await?;
        match self.watch.webhooks_seen(account) {
            Some((_, seen)) => missing.retain(|subject| !seen.tells(*subject)),
            // Without an address none was ever made; with one they are looked at soon after a start.
            None if hook.is_none_or(|hook| hook.address.is_none()) => {}
            None => missing.clear(),
        }
        Ok(missing)
    }
}

impl Webhooks {
    /// Whether there is a webhook of ours for this, turned on or off.
    pub fn tells(&self, subject: Subject) -> bool {
        let mut known = self.webhooks.iter();
        known.any(|standing| standing.subject == subject)
    }

    /// Whether the plan has room for one more.
    pub fn has_room(&self) -> bool {
        self.used < self.limit as usize
    }
}
