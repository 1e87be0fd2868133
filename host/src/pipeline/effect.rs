//! One effect: how a planned write reaches LeadSquared exactly once.
//!
//! Every write follows the same steps: what does the ledger say of earlier attempts, what is known of the record,
//! a ledger row, the call, the reply into the ledger. A write whose answer never came is looked up before it is tried
//! again, after the account's waiting time, because the request may still be under way.
//! Start at [`Effects::write`].

mod activity;
mod lead;

use super::ahead::Ahead;
use super::configuration::AccountEntry;
use super::judge::{Stage, Stop};
use super::ledger::Ledger;
use super::patient::Patient;
use crate::leadsquared::{Attribute, Client};
use crate::store::journal::{LinkKey, Record};
use crate::sync::outcome::Outcome;
use crate::sync::written::Written;
use crate::sync::written::told::Told;
use crate::sync::{How, Plan, SearchBy};

pub use lead::Lead;

/// What the writes of one delivery are made with.
#[derive(Debug)]
pub struct Effects<'a> {
    pub account: &'a AccountEntry,
    /// The account's client with the delivery's rank.
    pub client: Client,
    pub ledger: &'a mut Ledger,
    pub how: How,
    pub patient: Option<&'a Patient>,
    /// What waits behind the delivery; none where nothing may be joined with it.
    pub ahead: Option<Ahead<'a>>,
    pub now_ms: i64,
}

impl Effects<'_> {
    /// Makes all writes of a plan, the lead's first.
    ///
    /// With `ask` false LeadSquared is not searched for a lead that this host does not know.
    pub async fn write(
        &mut self,
        plan: Plan,
        ask: bool,
        stage: &mut Stage,
    ) -> Result<Outcome, Stop> {
        let mut left_out = plan.left_out;
        *stage = Stage::Lead;
        let lead = self.lead(&plan.lead, ask, &mut left_out).await?;
        let mut activities = Vec::with_capacity(plan.activities.len());
        if let Some(id) = &lead.id {
            *stage = Stage::Activity;
            for (position, activity) in plan.activities.iter().enumerate() {
                let written = self.activity(&lead, id, position, activity).await;
                if let Err(Stop::LeadGone) = written {
                    self.forget(&plan.lead);
                }
                activities.push(written?);
            }
        }
        Ok(Outcome {
            lead: lead.outcome,
            activities,
            left_out,
        })
    }

    /// What this host wrote last to the record of this id, and what people wrote there that the EHR was told.
    async fn written(&self, id: &str) -> Result<(Written, Told), Stop> {
        let (account, told) = (&self.account.account.id, Told::record(id));
        let kept = self.ledger.records(account, &[id, &told]).await?;
        let mut kept = kept.into_iter().map(Option::unwrap_or_default);
        let written = Written::parse(&kept.next().unwrap_or_default());
        Ok((written, Told::parse(&kept.next().unwrap_or_default())))
    }

    /// Notes what was written to a record, and what LeadSquared refused.
    fn note(&mut self, id: &str, mut written: Written, wrote: &[Attribute], refused: &[Attribute]) {
        let news = self.how.news.as_ref();
        let fingerprint = self.ledger.fingerprint(&self.account.account.id);
        written.note(wrote, refused, news, &fingerprint, self.now_ms);
        drop(fingerprint);
        self.keep(id, &written);
    }

    fn keep(&mut self, id: &str, written: &Written) {
        self.ledger.records.push(Record {
            id: id.into(),
            document: written.to_bytes(),
        });
    }
}

/// The link of a patient identifier, as LeadSquared's field holds it, to the lead.
fn identifier_link(by: &SearchBy) -> LinkKey {
    LinkKey {
        kind: format!("lead {}", by.field),
        key: by.value.clone(),
    }
}
