//! An activity: found by its key, created, updated, or closed where its key has gone over to another patient.

use super::lead::LEAD;
use super::{Effects, Lead};
use crate::flow::Behaviour;
use crate::leadsquared::{ActivityUpdate, Attribute, Error, NewActivity};
use crate::pipeline::judge::Stop;
use crate::pipeline::ledger::Earlier;
use crate::pipeline::patient;
use crate::store::journal::{LinkKey, LinkTarget, OperationKind};
use crate::sync::ActivityPlan;
use crate::sync::outcome::{ActivityOutcome, LeadOutcome};
use crate::sync::written::Written;

/// The note of an activity among its fields, as LeadSquared names it when it is read.
const NOTE: &str = "ActivityEvent_Note";

/// Where an activity's key was found.
enum Place {
    Here(String),
    /// Under a lead that is neither this one nor retired into it.
    Elsewhere(String),
    Nowhere,
}

impl Effects<'_> {
    /// Creates one activity under `lead`, or updates the one that its key names, as the flow's behaviour says.
    pub async fn activity(
        &mut self,
        lead: &Lead,
        id: &str,
        position: usize,
        plan: &ActivityPlan,
    ) -> Result<ActivityOutcome, Stop> {
        if plan.behaviour == Behaviour::Nothing {
            return Ok(ActivityOutcome::Left);
        }
        // Two places each: closing the old one comes before making the new one.
        let ordinal = LEAD + 1 + 2 * position as i64;
        match self
            .ledger
            .earlier(ordinal + 1, self.account.look_up_wait_ms())?
        {
            Earlier::Done { kind, .. } => {
                return Ok(match kind {
                    OperationKind::CreateActivity => ActivityOutcome::Created,
                    _ => ActivityOutcome::Updated,
                });
            }
            // LeadSquared does not deduplicate activities: a creation whose answer never came is looked for to the last
            // page.
            Earlier::Unknown {
                operation,
                kind: OperationKind::CreateActivity,
                ..
            } => {
                if let Some(activity) = self.find(id, plan).await? {
                    self.ledger.adopt(operation, &activity);
                    self.ledger.link(key_link(plan), &activity, Some(id));
                    self.note(
                        &activity,
                        Written::created(),
                        &with_key(plan, content(plan)),
                        &[],
                    );
                    return Ok(ActivityOutcome::Created);
                }
            }
            Earlier::Unknown { .. } | Earlier::Nothing => {}
        }
        let may_create = matches!(plan.behaviour, Behaviour::Capture | Behaviour::CreateOnly);
        match self.place(lead, id, plan).await? {
            Place::Here(_) if plan.behaviour == Behaviour::CreateOnly => Ok(ActivityOutcome::Left),
            Place::Here(activity) => self.update_activity(ordinal + 1, plan, &activity).await,
            Place::Elsewhere(activity) if may_create => {
                self.close_activity(ordinal, plan, &activity).await?;
                self.create_activity(ordinal + 1, plan, id).await?;
                Ok(ActivityOutcome::Moved)
            }
            Place::Nowhere if may_create => {
                self.create_activity(ordinal + 1, plan, id).await?;
                Ok(ActivityOutcome::Created)
            }
            Place::Elsewhere(_) | Place::Nowhere => Ok(ActivityOutcome::None),
        }
    }

    /// Looks for the key: in our links, then under the lead and the leads that were merged into it, whoever made it.
    async fn place(&mut self, lead: &Lead, id: &str, plan: &ActivityPlan) -> Result<Place, Stop> {
        let account = &self.account.account.id;
        let keys = [key_link(plan)];
        let link = self.ledger.links(account, &keys).await?.pop().flatten();
        if let Some(LinkTarget { target, parent }) = link {
            return Ok(match parent {
                Some(parent) if parent != id && !self.is_merged(&parent, id).await? => {
                    Place::Elsewhere(target)
                }
                _ => Place::Here(target),
            });
        }
        if lead.outcome == LeadOutcome::Created {
            return Ok(Place::Nowhere);
        }
        let mut leads = vec![id.to_owned()];
        leads.extend(patient::merged_into(self.ledger, account, id).await?);
        for lead in &leads {
            if let Some(activity) = self.find(lead, plan).await? {
                self.ledger.link(key_link(plan), &activity, Some(lead));
                return Ok(Place::Here(activity));
            }
        }
        Ok(Place::Nowhere)
    }

    async fn is_merged(&self, retired: &str, survivor: &str) -> Result<bool, Stop> {
        let account = &self.account.account.id;
        let merged = patient::merged_into(self.ledger, account, survivor).await?;
        Ok(merged.iter().any(|lead| lead == retired))
    }

    async fn find(&self, lead: &str, plan: &ActivityPlan) -> Result<Option<String>, Stop> {
        self.client
            .find_activity(lead, plan.code, &plan.key_field, &plan.key)
            .await
            .map_err(Stop::LeadSquared)
    }

    async fn create_activity(
        &mut self,
        ordinal: i64,
        plan: &ActivityPlan,
        lead: &str,
    ) -> Result<(), Stop> {
        let activity = NewActivity {
            lead_id: lead.into(),
            code: plan.code,
            note: plan.note.clone(),
            at: plan.at.clone(),
            fields: with_key(plan, plan.fields.clone()),
        };
        self.ledger
            .begin(ordinal, OperationKind::CreateActivity, &activity)
            .await?;
        match self.client.create_activity(&activity).await {
            Ok(id) => {
                self.ledger.done(&id);
                self.ledger.link(key_link(plan), &id, Some(lead));
                self.note(&id, Written::created(), &with_key(plan, content(plan)), &[]);
                Ok(())
            }
            Err(fault @ Error::LeadNotFound) => {
                self.ledger.failed(fault.code());
                self.ledger.undo(LEAD);
                Err(Stop::LeadGone)
            }
            Err(fault) => Err(self.ledger.stop(fault)),
        }
    }

    async fn update_activity(
        &mut self,
        ordinal: i64,
        plan: &ActivityPlan,
        activity: &str,
    ) -> Result<ActivityOutcome, Stop> {
        let (written, told) = self.written(activity).await?;
        let content = content(plan);
        let fingerprint = self.ledger.fingerprint(&self.account.account.id);
        let news = self.how.news.as_ref();
        let compared = written.compare(&content, &told, news, &fingerprint, self.now_ms);
        drop(fingerprint);
        if compared.write.is_empty() && !compared.late.is_empty() {
            return Ok(ActivityOutcome::Late);
        }
        if self.how.skip_unchanged && !compared.is_news {
            return Ok(ActivityOutcome::Unchanged);
        }
        let (note, fields): (Vec<Attribute>, Vec<Attribute>) = compared
            .write
            .iter()
            .cloned()
            .partition(|attribute| attribute.name == NOTE);
        let update = ActivityUpdate {
            id: activity.into(),
            code: plan.code,
            note: note.into_iter().next().and_then(|note| note.value),
            fields: with_key(plan, fields),
        };
        self.send(ordinal, plan, &update).await?;
        self.note(activity, written, &with_key(plan, compared.write), &[]);
        Ok(ActivityOutcome::Updated)
    }

    /// Marks an activity whose key has gone over to another patient.
    async fn close_activity(
        &mut self,
        ordinal: i64,
        plan: &ActivityPlan,
        activity: &str,
    ) -> Result<(), Stop> {
        let earlier = self
            .ledger
            .earlier(ordinal, self.account.look_up_wait_ms())?;
        if let Earlier::Done { .. } = earlier {
            return Ok(());
        }
        let update = ActivityUpdate {
            id: activity.into(),
            code: plan.code,
            note: None,
            fields: vec![Attribute::text(&plan.moved.field, &plan.moved.value)],
        };
        match self.send(ordinal, plan, &update).await {
            // What is gone needs no closing.
            Err(Stop::ActivityGone) => Ok(()),
            sent => sent,
        }
    }

    async fn send(
        &mut self,
        ordinal: i64,
        plan: &ActivityPlan,
        update: &ActivityUpdate,
    ) -> Result<(), Stop> {
        self.ledger
            .begin(ordinal, OperationKind::UpdateActivity, update)
            .await?;
        match self.client.update_activity(update).await {
            Ok(()) => {
                self.ledger.done(&update.id);
                Ok(())
            }
            Err(fault @ Error::ActivityNotFound) => {
                self.ledger.failed(fault.code());
                self.ledger.forget(key_link(plan));
                Err(Stop::ActivityGone)
            }
            Err(fault) => Err(self.ledger.stop(fault)),
        }
    }
}

/// What is compared and noted of an activity: its fields and its note.
fn content(plan: &ActivityPlan) -> Vec<Attribute> {
    let note = plan.note.iter().map(|note| Attribute::text(NOTE, note));
    plan.fields.iter().cloned().chain(note).collect()
}

/// The host writes the key, whatever the mapping says: it is the activity's identity.
fn with_key(plan: &ActivityPlan, fields: Vec<Attribute>) -> Vec<Attribute> {
    let key = Attribute::text(&plan.key_field, &plan.key);
    std::iter::once(key).chain(fields).collect()
}

fn key_link(plan: &ActivityPlan) -> LinkKey {
    LinkKey {
        kind: format!("activity {}", plan.code),
        key: plan.key.clone(),
    }
}
