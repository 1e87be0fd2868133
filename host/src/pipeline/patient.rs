//! Who a message is about, by what merges and links have said before: identifiers move, leads do not.
//!
//! Three kinds of links are kept. `patient`: an identifier to the lead. `alias`: a retired identifier to the one that
//! took its place (sealed, it is an identifier). `merged into`: a lead to those that were retired into it.
//! A message that still comes with a retired identifier is read as one about the survivor, see [`follow`]; the events
//! that change identifiers pass through [`keep`] before any flow, whether or not a flow takes them.

use std::fmt;

use super::compose::number_link;
use super::effect::Effects;
use super::judge::Stop;
use super::ledger::{Earlier, Ledger};
use crate::flow::account::RetiredLead;
use crate::flow::patient::{Change, PatientKeyRule};
use crate::flow::{Account, AccountId, Event, FlowId};
use crate::hl7::{Message, Path};
use crate::leadsquared::{Attribute, NewActivity};
use crate::store::journal::{ALIAS, LinkKey, OperationKind};

/// The flow of the deliveries that keep identifiers up; no administrator makes it.
pub fn flow() -> FlowId {
    "identifiers".into()
}

/// How many merges one after the other are followed; a ring of aliases ends here, too.
const LONGEST_CHAIN: usize = 8;

/// Leads that were merged into one, at most; the oldest are let go.
const MOST_MERGED: usize = 16;

/// The patient of a message, and what this host knows of them.
#[derive(Clone, PartialEq, Eq)]
pub struct Patient {
    key: String,
    /// The prospect id.
    pub lead: Option<String>,
}

impl fmt::Debug for Patient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Patient({:?}, redacted)", self.lead)
    }
}

impl Patient {
    /// The link from the patient to the lead.
    pub fn link(&self) -> LinkKey {
        patient_link(self.key.clone())
    }
}

fn patient_link(key: String) -> LinkKey {
    LinkKey {
        kind: "patient".into(),
        key,
    }
}

fn alias_link(key: String) -> LinkKey {
    LinkKey {
        kind: ALIAS.into(),
        key,
    }
}

fn merged_link(lead: &str) -> LinkKey {
    LinkKey {
        kind: "merged into".into(),
        key: lead.into(),
    }
}

/// An identifier as links are found by it. One that names no assigning authority is the sending facility's: two
/// hospitals count their patients from 1.
fn scoped(message: &Message, key: &str) -> String {
    if key.contains('^') && !key.ends_with('^') {
        return key.into();
    }
    let facility = Path::new("MSH", Some(4)).map(|path| message.get(&path).text_or_empty());
    format!("{key}@{}", facility.unwrap_or_default().trim())
}

/// Finds the patient of a message, and writes the survivor's identifier into one that comes with a retired one.
pub async fn follow(
    ledger: &Ledger,
    account: &Account,
    rule: &PatientKeyRule,
    message: &mut Message,
) -> Result<Option<Patient>, Stop> {
    let Some(mut key) = rule.keys(message).into_iter().next() else {
        return Ok(None);
    };
    for _ in 0..LONGEST_CHAIN {
        let scope = scoped(message, &key);
        let asked = [alias_link(scope.clone()), patient_link(scope.clone())];
        let numbered = number(message, account);
        let asked: Vec<LinkKey> = asked.into_iter().chain(numbered).collect();
        let mut found = ledger.links(&account.id, &asked).await?.into_iter();
        let (alias, lead) = (found.next().flatten(), found.next().flatten());
        let lead = lead.or_else(|| found.next().flatten());
        match alias {
            Some(alias) if rule.replace(message, &key, &alias.target) => key = alias.target,
            _ => {
                return Ok(Some(Patient {
                    key: scope,
                    lead: lead.map(|link| link.target),
                }));
            }
        }
    }
    Ok(Some(Patient {
        key: scoped(message, &key),
        lead: None,
    }))
}

/// The link of our own lead number, which the EHR was told with the patient and names now.
fn number(message: &Message, account: &Account) -> Option<LinkKey> {
    let number = account.lead_number.as_ref()?;
    let field: Path = number.field.parse().ok()?;
    let mut pids = message
        .segments()
        .filter(|segment| segment.name() == field.segment());
    let pid = pids.next()?;
    let mut repetitions = pid.repetitions(usize::from(field.field()?));
    let ours = repetitions
        .find(|repetition| repetition.leaf(4, 1).text_or_empty().trim() == number.authority)?;
    let value = ours.leaf(1, 1).text_or_empty().into_owned();
    (!value.trim().is_empty()).then(|| number_link(&value))
}

/// The leads that were retired into `lead`.
pub async fn merged_into(
    ledger: &Ledger,
    account: &AccountId,
    lead: &str,
) -> Result<Vec<String>, Stop> {
    let link = ledger.links(account, &[merged_link(lead)]).await?.pop();
    let ids = link.flatten().map(|link| link.target).unwrap_or_default();
    Ok(ids
        .split(' ')
        .filter(|id| !id.is_empty())
        .map(str::to_owned)
        .collect())
}

/// Keeps up what a merge, a link or a change of identifiers says; one sentence for each change.
pub async fn keep(
    effects: &mut Effects<'_>,
    rule: &PatientKeyRule,
    event: &Event,
    message: &Message,
) -> Result<Vec<&'static str>, Stop> {
    let account = effects.account.account.id.clone();
    let mut said = Vec::new();
    for (position, change) in rule.changes(event, message).into_iter().enumerate() {
        let (first, second) = match &change {
            Change::Merged { from, to } => (from, to),
            Change::Linked(first, second) | Change::Unlinked(first, second) => (first, second),
        };
        let (from, to) = (scoped(message, first), scoped(message, second));
        let asked = [patient_link(from.clone()), patient_link(to.clone())];
        let found = effects.ledger.links(&account, &asked).await?.into_iter();
        let leads: Vec<Option<String>> = found.map(|link| Some(link?.target)).collect();
        let (from_lead, to_lead) = (leads[0].clone(), leads[1].clone());
        // Before any link changes: a try that fails here is made again from the beginning.
        if let (Change::Merged { .. }, Some(retired), Some(lead)) = (&change, &from_lead, &to_lead)
            && retired != lead
        {
            say_retired(effects, position, retired, lead).await?;
        }
        let ledger = &mut *effects.ledger;
        said.push(match change {
            Change::Merged { to: survivor, .. } => {
                // The survivor may have been retired once: it is in use again.
                ledger.forget(alias_link(to.clone()));
                ledger.link(alias_link(from.clone()), &survivor, None);
                match (from_lead, to_lead) {
                    (Some(retired), Some(lead)) if retired != lead => {
                        ledger.link(patient_link(from), &lead, None);
                        let mut merged = merged_into(ledger, &account, &lead).await?;
                        merged.extend(merged_into(ledger, &account, &retired).await?);
                        merged.push(retired.clone());
                        let oldest = merged.len().saturating_sub(MOST_MERGED);
                        let merged = merged.split_off(oldest).join(" ");
                        ledger.link(merged_link(&lead), &merged, None);
                        "both patients have leads: the retired identifier now leads to the surviving one"
                    }
                    (Some(lead), None) => {
                        ledger.link(patient_link(to), &lead, None);
                        "the retired patient's lead is the surviving patient's from now on"
                    }
                    (_, Some(lead)) => {
                        ledger.link(patient_link(from), &lead, None);
                        "the retired identifier now leads to the surviving patient's lead"
                    }
                    (None, None) => "neither patient has a lead: the merge is remembered",
                }
            }
            Change::Linked(..) => match (from_lead, to_lead) {
                (Some(lead), None) => {
                    ledger.link(patient_link(to), &lead, None);
                    "both identifiers now lead to one lead"
                }
                (None, Some(lead)) => {
                    ledger.link(patient_link(from), &lead, None);
                    "both identifiers now lead to one lead"
                }
                (Some(one), Some(other)) if one != other => {
                    "both patients have leads of their own: merge them in LeadSquared if they are one person"
                }
                _ => "nothing to change",
            },
            Change::Unlinked(..) => {
                ledger.forget(alias_link(from.clone()));
                ledger.forget(alias_link(to.clone()));
                if from_lead.is_some() && from_lead == to_lead {
                    ledger.forget(patient_link(to));
                    "the second identifier leads to the first one's lead no more: it is looked up when it comes again"
                } else {
                    "nothing to change"
                }
            }
        });
    }
    Ok(said)
}

/// Writes the account's note to a lead that was retired.
async fn say_retired(
    effects: &mut Effects<'_>,
    position: usize,
    retired: &str,
    survivor: &str,
) -> Result<(), Stop> {
    let RetiredLead::Activity { code, key_field } = &effects.account.account.retired_lead else {
        return Ok(());
    };
    let ordinal = position as i64;
    let earlier = effects
        .ledger
        .earlier(ordinal, effects.account.look_up_wait_ms())?;
    match earlier {
        Earlier::Done { .. } => return Ok(()),
        Earlier::Unknown { operation, .. } => {
            let found = effects
                .client
                .find_activity(retired, *code, key_field, survivor)
                .await;
            if let Some(activity) = found.map_err(Stop::LeadSquared)? {
                effects.ledger.adopt(operation, &activity);
                return Ok(());
            }
        }
        Earlier::Nothing => {}
    }
    let activity = NewActivity {
        lead_id: retired.into(),
        code: *code,
        note: Some(format!(
            "Merged in the hospital's system. The surviving lead is {survivor}."
        )),
        at: None,
        fields: vec![Attribute::text(key_field, survivor)],
    };
    effects
        .ledger
        .begin(ordinal, OperationKind::CreateActivity, &activity)
        .await?;
    match effects.client.create_activity(&activity).await {
        Ok(id) => effects.ledger.done(&id),
        // What is gone needs no note.
        Err(fault @ crate::leadsquared::Error::LeadNotFound) => effects.ledger.failed(fault.code()),
        Err(fault) => return Err(effects.ledger.stop(fault)),
    }
    Ok(())
}
