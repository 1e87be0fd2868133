//! One effect: how a planned write reaches LeadSquared exactly once.
//!
//! Every write follows the same steps: what does the ledger say of earlier attempts, what is known of the record,
//! a ledger row, the call, the reply into the ledger. A write whose answer never came is looked up before it is tried
//! again, after the account's waiting time, because the request may still be under way.

use super::configuration::AccountEntry;
use super::judge::Stop;
use super::ledger::{Earlier, Ledger};
use crate::flow::Behaviour;
use crate::leadsquared::{self, ActivityUpdate, NewActivity};
use crate::store::journal::{LinkKey, OperationKind};
use crate::sync::{ActivityPlan, LeadPlan, SearchBy};

/// The position of the lead's write in a delivery; activities follow.
const LEAD: i64 = 0;

/// Finds the lead and writes it as the flow's behaviour says; none if there is none and it may not be created.
pub async fn lead(
    account: &AccountEntry,
    ledger: &mut Ledger,
    plan: &LeadPlan,
) -> Result<Option<String>, Stop> {
    let earlier = ledger.earlier(LEAD, account.look_up_wait_ms())?;
    if let Earlier::Done { target } = earlier {
        return Ok(Some(target));
    }
    // A creation whose answer never came: if the lead is there now and holds the values, it took place.
    if let Earlier::Unknown {
        kind: OperationKind::CreateLead,
        ..
    } = earlier
        && let Some(lead) = look_up(account, plan).await?
    {
        ledger.adopt(&earlier, &lead);
        ledger.link(lead_link(&plan.search[0]), &lead, None);
        return Ok(Some(lead));
    }
    if let Some(lead) = known(account, ledger, plan).await? {
        return update(account, ledger, plan, lead).await;
    }
    if let Some(lead) = search(account, &plan.search).await? {
        return update(account, ledger, plan, lead).await;
    }
    if !matches!(plan.behaviour, Behaviour::Capture | Behaviour::CreateOnly) {
        return Ok(None);
    }
    let attributes: Vec<_> = plan
        .attributes
        .iter()
        .chain(&plan.on_create)
        .cloned()
        .collect();
    ledger
        .begin(LEAD, OperationKind::CreateLead, &attributes)
        .await?;
    match account.client.create_lead(&attributes).await {
        Ok(lead) => {
            ledger.done(&lead);
            ledger.link(lead_link(&plan.search[0]), &lead, None);
            Ok(Some(lead))
        }
        // Another delivery created it between our search and our call, or a unique field belongs to somebody.
        Err(fault @ leadsquared::Error::Duplicate { .. }) => {
            ledger.failed(fault.code());
            match search(account, &plan.search).await? {
                Some(lead) => update(account, ledger, plan, lead).await,
                None => Err(Stop::LeadSquared(fault)),
            }
        }
        Err(fault) => Err(ledger.stop(fault)),
    }
}

/// The lead that this account's links know under the plan's search value; saves the search call.
async fn known(
    account: &AccountEntry,
    ledger: &Ledger,
    plan: &LeadPlan,
) -> Result<Option<String>, Stop> {
    let keys: Vec<LinkKey> = plan.search.iter().map(lead_link).collect();
    let links = ledger.links(&account.account.id, &keys).await?;
    Ok(links.into_iter().flatten().next().map(|link| link.target))
}

/// Asks by each search field in turn; a match is trusted only if it is the only one.
async fn search(account: &AccountEntry, search: &[SearchBy]) -> Result<Option<String>, Stop> {
    for SearchBy { field, value } in search {
        let found = account
            .client
            .search(field, value, &[])
            .await
            .map_err(Stop::LeadSquared)?;
        match found.as_slice() {
            [] => {}
            [lead] => return Ok(Some(lead.id.clone())),
            several => {
                return Err(Stop::SeveralLeads {
                    field: field.clone(),
                    count: several.len(),
                });
            }
        }
    }
    Ok(None)
}

/// The lead of the plan's primary search value, if it already holds every value that a creation would write.
async fn look_up(account: &AccountEntry, plan: &LeadPlan) -> Result<Option<String>, Stop> {
    let SearchBy { field, value } = &plan.search[0];
    let columns: Vec<&str> = plan
        .attributes
        .iter()
        .map(|written| written.name.as_str())
        .collect();
    let found = account
        .client
        .search(field, value, &columns)
        .await
        .map_err(Stop::LeadSquared)?;
    let holds = |lead: &leadsquared::Lead| {
        plan.attributes.iter().all(|written| {
            lead.get(&written.name).unwrap_or_default()
                == written.value.as_deref().unwrap_or_default()
        })
    };
    Ok(match found.as_slice() {
        [lead] if holds(lead) => Some(lead.id.clone()),
        _ => None,
    })
}

async fn update(
    account: &AccountEntry,
    ledger: &mut Ledger,
    plan: &LeadPlan,
    lead: String,
) -> Result<Option<String>, Stop> {
    let key = lead_link(&plan.search[0]);
    if !matches!(plan.behaviour, Behaviour::Capture | Behaviour::UpdateOnly) {
        ledger.link(key, &lead, None);
        return Ok(Some(lead));
    }
    ledger
        .begin(LEAD, OperationKind::UpdateLead, &plan.attributes)
        .await?;
    match account.client.update_lead(&lead, &plan.attributes).await {
        Ok(()) => {
            ledger.done(&lead);
            ledger.link(key, &lead, None);
            Ok(Some(lead))
        }
        Err(fault @ leadsquared::Error::LeadNotFound) => {
            // Deleted or merged in LeadSquared: forget what we knew and resolve it afresh at the next attempt.
            ledger.failed(fault.code());
            plan.search
                .iter()
                .map(lead_link)
                .for_each(|key| ledger.forget(key));
            Err(Stop::LeadGone)
        }
        Err(fault) => Err(ledger.stop(fault)),
    }
}

/// Creates one activity under `lead`, or updates the one that its key names.
pub async fn activity(
    account: &AccountEntry,
    ledger: &mut Ledger,
    lead: &str,
    position: usize,
    plan: &ActivityPlan,
) -> Result<(), Stop> {
    let ordinal = LEAD + 1 + position as i64;
    let key = activity_link(plan);
    let earlier = ledger.earlier(ordinal, account.look_up_wait_ms())?;
    if let Earlier::Done { .. } = earlier {
        return Ok(());
    }
    // LeadSquared does not deduplicate activities: a creation whose answer never came is looked for to the last page.
    if let Earlier::Unknown {
        kind: OperationKind::CreateActivity,
        ..
    } = earlier
    {
        let found = account
            .client
            .find_activity(lead, plan.code, &plan.key_field, &plan.key)
            .await;
        if let Some(activity) = found.map_err(Stop::LeadSquared)? {
            ledger.adopt(&earlier, &activity);
            ledger.link(key, &activity, Some(lead));
            return Ok(());
        }
    }
    let links = ledger
        .links(&account.account.id, std::slice::from_ref(&key))
        .await?;
    match links.into_iter().flatten().next() {
        Some(link) if matches!(plan.behaviour, Behaviour::Capture | Behaviour::UpdateOnly) => {
            update_activity(account, ledger, ordinal, plan, key, &link.target).await
        }
        None if matches!(plan.behaviour, Behaviour::Capture | Behaviour::CreateOnly) => {
            create_activity(account, ledger, ordinal, plan, key, lead).await
        }
        _ => Ok(()),
    }
}

async fn create_activity(
    account: &AccountEntry,
    ledger: &mut Ledger,
    ordinal: i64,
    plan: &ActivityPlan,
    key: LinkKey,
    lead: &str,
) -> Result<(), Stop> {
    let activity = NewActivity {
        lead_id: lead.into(),
        code: plan.code,
        note: plan.note.clone(),
        at: plan.at.clone(),
        fields: with_key(plan),
    };
    ledger
        .begin(ordinal, OperationKind::CreateActivity, &activity)
        .await?;
    match account.client.create_activity(&activity).await {
        Ok(id) => {
            ledger.done(&id);
            ledger.link(key, &id, Some(lead));
            Ok(())
        }
        Err(fault) => Err(ledger.stop(fault)),
    }
}

async fn update_activity(
    account: &AccountEntry,
    ledger: &mut Ledger,
    ordinal: i64,
    plan: &ActivityPlan,
    key: LinkKey,
    activity: &str,
) -> Result<(), Stop> {
    let update = ActivityUpdate {
        id: activity.into(),
        code: plan.code,
        note: plan.note.clone(),
        fields: with_key(plan),
    };
    ledger
        .begin(ordinal, OperationKind::UpdateActivity, &update)
        .await?;
    match account.client.update_activity(&update).await {
        Ok(()) => {
            ledger.done(activity);
            Ok(())
        }
        Err(fault @ leadsquared::Error::ActivityNotFound) => {
            ledger.failed(fault.code());
            ledger.forget(key);
            Err(Stop::ActivityGone)
        }
        Err(fault) => Err(ledger.stop(fault)),
    }
}

/// The host writes the key, whatever the mapping says: it is the activity's identity.
fn with_key(plan: &ActivityPlan) -> Vec<leadsquared::Attribute> {
    let key = leadsquared::Attribute {
        name: plan.key_field.clone(),
        value: Some(plan.key.clone()),
    };
    std::iter::once(key)
        .chain(plan.fields.iter().cloned())
        .collect()
}

fn lead_link(by: &SearchBy) -> LinkKey {
    LinkKey {
        kind: format!("lead {}", by.field),
        key: by.value.clone(),
    }
}

fn activity_link(plan: &ActivityPlan) -> LinkKey {
    LinkKey {
        kind: format!("activity {}", plan.code),
        key: plan.key.clone(),
    }
}
