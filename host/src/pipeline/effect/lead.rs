//! The lead: found, judged to be the patient's, created or updated.

use super::{Effects, identifier_link};
use crate::flow::{Behaviour, OtherPerson};
use crate::leadsquared::{Attribute, Error};
use crate::pipeline::judge::Stop;
use crate::pipeline::ledger::Earlier;
use crate::store::journal::{LinkKey, OperationKind};
use crate::sync::identity::Verdict;
use crate::sync::outcome::LeadOutcome;
use crate::sync::written::Written;
use crate::sync::written::told::Told;
use crate::sync::{LeadPlan, LeftOut, SearchBy};

/// The position of the lead's write in a delivery; activities follow.
pub(super) const LEAD: i64 = 0;

const HELD_BY_ANOTHER: &str = "another lead in LeadSquared holds this value";

/// The lead of a delivery, and what was done to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lead {
    /// None if there is none and the flow may not create it.
    pub id: Option<String>,
    pub outcome: LeadOutcome,
}

impl Lead {
    fn new(id: &str, outcome: LeadOutcome) -> Self {
        Self {
            id: Some(id.into()),
            outcome,
        }
    }
}

/// Who holds the values that LeadSquared would not take twice.
enum Collision {
    /// The patient's own lead, which another delivery or person made.
    Patient(String),
    /// Somebody else, in these fields.
    Others(Vec<String>),
    /// Nobody who could be found.
    Unclear,
}

/// Several updates of one lead in one call.
struct Joined {
    attributes: Vec<Attribute>,
    /// What will have been written last.
    written: Written,
}

impl Joined {
    /// Adds what a later message says; the later one counts.
    fn add(&mut self, later: &[Attribute]) {
        for attribute in later {
            let mut known = self.attributes.iter_mut();
            match known.find(|known| known.name == attribute.name) {
                Some(known) => known.value.clone_from(&attribute.value),
                None => self.attributes.push(attribute.clone()),
            }
        }
    }
}

impl Effects<'_> {
    /// Finds the lead and writes it as the flow's behaviour says.
    ///
    /// With `ask` false only what this host knows is looked at, and LeadSquared is not searched.
    pub async fn lead(
        &mut self,
        plan: &LeadPlan,
        ask: bool,
        left_out: &mut Vec<LeftOut>,
    ) -> Result<Lead, Stop> {
        match self.ledger.earlier(LEAD, self.account.look_up_wait_ms())? {
            Earlier::Done { target, kind } => {
                let outcome = match kind {
                    OperationKind::CreateLead => LeadOutcome::Created,
                    _ => LeadOutcome::Updated,
                };
                return Ok(Lead::new(&target, outcome));
            }
            // A creation whose answer never came: if the lead is there now and holds the values, it took place.
            Earlier::Unknown {
                operation,
                kind: OperationKind::CreateLead,
                payload,
            } => {
                let wrote: Vec<Attribute> = serde_json::from_slice(&payload).unwrap_or_default();
                if let Some(lead) = self.look_up(plan, &wrote).await? {
                    self.ledger.adopt(operation, &lead);
                    self.remember(plan, &lead);
                    self.note(&lead, Written::created(), &wrote, &[]);
                    return Ok(Lead::new(&lead, LeadOutcome::Created));
                }
            }
            // An update is made again: twice is the same as once.
            Earlier::Unknown { .. } | Earlier::Nothing => {}
        }
        let may_create = matches!(plan.behaviour, Behaviour::Capture | Behaviour::CreateOnly);
        let mut others = Vec::new();
        let found = match self.known(plan).await? {
            Some(lead) => Some(lead),
            // Nothing is created unsearched: the flow may have been given another behaviour while the delivery waited.
            None if ask || may_create => self.search(plan, &mut others).await?,
            None => None,
        };
        match found {
            Some(lead) => self.write_known(plan, &lead, left_out).await,
            None if may_create => self.create_lead(plan, others, left_out).await,
            None => Ok(Lead {
                id: None,
                outcome: LeadOutcome::None,
            }),
        }
    }

    /// The lead that this account's links know for the patient; saves the search.
    async fn known(&self, plan: &LeadPlan) -> Result<Option<String>, Stop> {
        if let Some(lead) = self.patient.and_then(|patient| patient.lead.clone()) {
            return Ok(Some(lead));
        }
        // Identifiers alone: a phone or an email says too little about who somebody is.
        let keys: Vec<LinkKey> = plan
            .identity
            .identifiers
            .iter()
            .map(identifier_link)
            .collect();
        let links = self.ledger.links(&self.account.account.id, &keys).await?;
        Ok(links.into_iter().flatten().next().map(|link| link.target))
    }

    /// Asks by each search field in turn, then by former identifiers; fields that found somebody else go into `others`.
    async fn search(
        &self,
        plan: &LeadPlan,
        others: &mut Vec<String>,
    ) -> Result<Option<String>, Stop> {
        for by in &plan.search {
            match self.holder(plan, by).await? {
                None => {}
                Some((lead, Verdict::Patient)) => return Ok(Some(lead)),
                Some((_, Verdict::SomebodyElse)) => others.push(by.field.clone()),
            }
        }
        for by in &plan.retired {
            if let Some((lead, _)) = self.holder(plan, by).await? {
                return Ok(Some(lead));
            }
        }
        Ok(None)
    }

    /// The one lead that holds a value, and whether it is the patient's.
    async fn holder(
        &self,
        plan: &LeadPlan,
        by: &SearchBy,
    ) -> Result<Option<(String, Verdict)>, Stop> {
        let columns: Vec<&str> = plan.identity.columns().collect();
        let found = self.client.search(&by.field, &by.value, &columns).await;
        match found.map_err(Stop::LeadSquared)?.as_slice() {
            [] => Ok(None),
            [lead] => Ok(Some((
                lead.id.clone(),
                plan.identity.judge(&by.field, lead),
            ))),
            several => Err(Stop::SeveralLeads {
                field: by.field.clone(),
                count: several.len(),
            }),
        }
    }

    /// The lead that holds every value that a creation wrote.
    async fn look_up(&self, plan: &LeadPlan, wrote: &[Attribute]) -> Result<Option<String>, Stop> {
        let columns: Vec<&str> = wrote.iter().map(|written| written.name.as_str()).collect();
        let value = |attribute: &Attribute| attribute.value.clone().unwrap_or_default();
        for by in &plan.search {
            let was_written = |attribute: &Attribute| {
                attribute.name == by.field && attribute.value.as_ref() == Some(&by.value)
            };
            // A value that was left out for another person's sake would find that person.
            if !wrote.iter().any(was_written) {
                continue;
            }
            let found = self.client.search(&by.field, &by.value, &columns).await;
            if let [lead] = found.map_err(Stop::LeadSquared)?.as_slice()
                && wrote
                    .iter()
                    .all(|written| lead.get(&written.name).unwrap_or_default() == value(written))
            {
                return Ok(Some(lead.id.clone()));
            }
        }
        Ok(None)
    }

    /// Creates the lead, without the values that LeadSquared would not take because `others` hold them.
    async fn create_lead(
        &mut self,
        plan: &LeadPlan,
        mut others: Vec<String>,
        left_out: &mut Vec<LeftOut>,
    ) -> Result<Lead, Stop> {
        loop {
            wait_for_a_person(plan, &others)?;
            let (mut attributes, kept_back) = without(plan, &plan.attributes, &others);
            attributes.extend(plan.on_create.iter().cloned());
            self.ledger
                .begin(LEAD, OperationKind::CreateLead, &attributes)
                .await?;
            match self.client.create_lead(&attributes).await {
                Ok(lead) => {
                    self.ledger.done(&lead);
                    self.remember(plan, &lead);
                    self.note(&lead, Written::created(), &attributes, &kept_back);
                    say_left_out(&kept_back, left_out);
                    return Ok(Lead::new(&lead, LeadOutcome::Created));
                }
                // Another delivery created it between our search and our call, or a value belongs to somebody.
                Err(fault @ Error::Duplicate { .. }) => {
                    self.ledger.failed(fault.code());
                    match self.collision(plan, &fault, &others).await? {
                        Collision::Patient(lead) => {
                            return self.write_known(plan, &lead, left_out).await;
                        }
                        Collision::Others(fields) => others.extend(fields),
                        Collision::Unclear => return Err(Stop::LeadSquared(fault)),
                    }
                }
                Err(fault) => return Err(self.ledger.stop(fault)),
            }
        }
    }

    /// Who holds a value that LeadSquared found twice; it seldom says which value.
    async fn collision(
        &self,
        plan: &LeadPlan,
        fault: &Error,
        others: &[String],
    ) -> Result<Collision, Stop> {
        let named = match fault {
            Error::Duplicate { field } => field.as_deref(),
            _ => None,
        };
        let mut fields = Vec::new();
        for by in unique_values(plan, named, others) {
            let is_identifier = plan.identity.is_identifier(&by.field);
            match self.holder(plan, &by).await {
                Ok(Some((lead, Verdict::Patient))) => return Ok(Collision::Patient(lead)),
                Ok(Some((_, Verdict::SomebodyElse))) | Err(Stop::SeveralLeads { .. }) => {
                    fields.push(by.field);
                }
                // LeadSquared says that it is taken, and may compare it with more fields than it searches in.
                Ok(None) if named == Some(by.field.as_str()) && !is_identifier => {
                    fields.push(by.field);
                }
                Ok(None) => {}
                Err(stop) => return Err(stop),
            }
        }
        Ok(match fields.is_empty() {
            true => Collision::Unclear,
            false => Collision::Others(fields),
        })
    }

    /// Updates a lead that is there, if the behaviour says so and the message says anything new.
    async fn write_known(
        &mut self,
        plan: &LeadPlan,
        lead: &str,
        left_out: &mut Vec<LeftOut>,
    ) -> Result<Lead, Stop> {
        if !matches!(plan.behaviour, Behaviour::Capture | Behaviour::UpdateOnly) {
            self.remember(plan, lead);
            return Ok(Lead::new(lead, LeadOutcome::Left));
        }
        let (written, told) = self.written(lead).await?;
        let fingerprint = self.ledger.fingerprint(&self.account.account.id);
        let news = self.how.news.as_ref();
        let compared = written.compare(&plan.attributes, &told, news, &fingerprint, self.now_ms);
        drop(fingerprint);
        if compared.write.is_empty() && !compared.late.is_empty() {
            self.remember(plan, lead);
            return Ok(Lead::new(lead, LeadOutcome::Late));
        }
        let why = |field: String, why| LeftOut { field, why };
        let late = compared.late.into_iter();
        left_out.extend(late.map(|field| why(field, "a newer message of this kind wrote it")));
        let refused = compared.refused.into_iter();
        left_out.extend(refused.map(|field| why(field, HELD_BY_ANOTHER)));
        if compared.write.is_empty() || (self.how.skip_unchanged && !compared.is_news) {
            self.remember(plan, lead);
            return Ok(Lead::new(lead, LeadOutcome::Unchanged));
        }
        self.update_lead(plan, lead, compared.write, (written, told), left_out)
            .await
    }

    async fn update_lead(
        &mut self,
        plan: &LeadPlan,
        lead: &str,
        attributes: Vec<Attribute>,
        (written, told): (Written, Told),
        left_out: &mut Vec<LeftOut>,
    ) -> Result<Lead, Stop> {
        let mut joined = self.joined(plan, &attributes, (&written, &told)).await;
        let mut others: Vec<String> = Vec::new();
        loop {
            let (own, kept_back) = without(plan, &attributes, &others);
            let sent = joined.as_ref().map_or(&own, |joined| &joined.attributes);
            self.ledger
                .begin(LEAD, OperationKind::UpdateLead, sent)
                .await?;
            let automations = self.how.automations;
            match self.client.update_lead(lead, sent, automations).await {
                Ok(()) => {
                    self.ledger.done(lead);
                    self.remember(plan, lead);
                    match joined {
                        Some(joined) => self.keep(lead, &joined.written),
                        None => self.note(lead, written, &own, &kept_back),
                    }
                    say_left_out(&kept_back, left_out);
                    return Ok(Lead::new(lead, LeadOutcome::Updated));
                }
                Err(fault @ Error::LeadNotFound) => {
                    // Deleted or merged in LeadSquared: forget what we knew and resolve it afresh at the next attempt.
                    self.ledger.failed(fault.code());
                    self.forget(plan);
                    return Err(Stop::LeadGone);
                }
                // It may be a value of a later message: that one finds out itself.
                Err(fault)
                    if joined.is_some() && !(fault.is_transient() || fault.is_account_wide()) =>
                {
                    self.ledger.failed(fault.code());
                    joined = None;
                }
                Err(fault @ Error::Duplicate { .. }) => {
                    self.ledger.failed(fault.code());
                    let fields = self.held_by_others(plan, lead, &fault, &others).await?;
                    if fields.is_empty() {
                        return Err(Stop::LeadSquared(fault));
                    }
                    others.extend(fields);
                    wait_for_a_person(plan, &others)?;
                }
                Err(fault) => return Err(self.ledger.stop(fault)),
            }
        }
    }

    /// The update together with those that wait behind it; none if nothing waits.
    async fn joined(
        &self,
        plan: &LeadPlan,
        attributes: &[Attribute],
        (written, told): (&Written, &Told),
    ) -> Option<Joined> {
        let ahead = self.ahead.as_ref()?;
        let next = ahead.plans(self.ledger, self.patient).await;
        let fingerprint = self.ledger.fingerprint(&self.account.account.id);
        let mut joined = Joined {
            attributes: attributes.to_vec(),
            written: written.clone(),
        };
        let own = self.how.news.as_ref();
        joined
            .written
            .note(attributes, &[], own, &fingerprint, self.now_ms);
        let mut is_more = false;
        for next in next {
            if next.how.automations != self.how.automations
                || next.lead.identity.identifiers != plan.identity.identifiers
            {
                break;
            }
            let news = next.how.news.as_ref();
            let compared = joined.written.compare(
                &next.lead.attributes,
                told,
                news,
                &fingerprint,
                self.now_ms,
            );
            is_more |= compared.is_news;
            joined.add(&compared.write);
            joined
                .written
                .note(&compared.write, &[], news, &fingerprint, self.now_ms);
        }
        is_more.then_some(joined)
    }

    /// Fields of an update that another lead than `lead` holds.
    async fn held_by_others(
        &self,
        plan: &LeadPlan,
        lead: &str,
        fault: &Error,
        others: &[String],
    ) -> Result<Vec<String>, Stop> {
        let named = match fault {
            Error::Duplicate { field } => field.as_deref(),
            _ => None,
        };
        let mut fields = Vec::new();
        for by in unique_values(plan, named, others) {
            // Two leads with one identifier are one patient: a person must merge them.
            if plan.identity.is_identifier(&by.field) {
                continue;
            }
            let is_named = named == Some(by.field.as_str());
            let is_others = match is_named {
                true => true,
                false => match self.holder(plan, &by).await {
                    Ok(holder) => holder.is_some_and(|(id, _)| id != lead),
                    Err(Stop::SeveralLeads { .. }) => true,
                    Err(stop) => return Err(stop),
                },
            };
            if is_others {
                fields.push(by.field);
            }
        }
        Ok(fields)
    }

    /// Keeps what leads to this lead, as far as it is not known already.
    fn remember(&mut self, plan: &LeadPlan, lead: &str) {
        if let Some(patient) = self.patient {
            if patient.lead.as_deref() == Some(lead) {
                return;
            }
            self.ledger.link(patient.link(), lead, None);
        }
        for by in &plan.identity.identifiers {
            self.ledger.link(identifier_link(by), lead, None);
        }
    }

    /// The lead is gone from LeadSquared: what led to it is forgotten.
    pub(super) fn forget(&mut self, plan: &LeadPlan) {
        if let Some(patient) = self.patient {
            self.ledger.forget(patient.link());
        }
        for by in &plan.identity.identifiers {
            self.ledger.forget(identifier_link(by));
        }
    }
}

/// The unique values of a plan, the one that LeadSquared named or else all of them; search fields first.
fn unique_values(plan: &LeadPlan, named: Option<&str>, others: &[String]) -> Vec<SearchBy> {
    let searched = |field: &str| plan.search.iter().any(|by| by.field == field);
    let mut values: Vec<SearchBy> = plan
        .attributes
        .iter()
        .filter(|attribute| plan.unique.contains(&attribute.name))
        .filter(|attribute| !others.contains(&attribute.name))
        .filter(|attribute| named.is_none_or(|named| named == attribute.name))
        .filter_map(|attribute| {
            Some(SearchBy {
                field: attribute.name.clone(),
                value: attribute.value.clone()?,
            })
        })
        .collect();
    values.sort_by_key(|by| !searched(&by.field));
    values
}

/// Takes the values of `others` out, and gives them; the first goes into the field that the flow names for it.
fn without(
    plan: &LeadPlan,
    attributes: &[Attribute],
    others: &[String],
) -> (Vec<Attribute>, Vec<Attribute>) {
    let (kept_back, mut attributes): (Vec<_>, Vec<_>) = attributes
        .iter()
        .cloned()
        .partition(|attribute| others.contains(&attribute.name));
    if let OtherPerson::Create {
        keep_in: Some(field),
    } = &plan.other_person
        && let Some(value) = kept_back.first().and_then(|first| first.value.clone())
        && attributes.iter().all(|attribute| attribute.name != *field)
    {
        attributes.push(Attribute::text(field, value));
    }
    (attributes, kept_back)
}

fn wait_for_a_person(plan: &LeadPlan, others: &[String]) -> Result<(), Stop> {
    match plan.other_person {
        OtherPerson::Wait if !others.is_empty() => Err(Stop::OtherPerson {
            fields: others.to_vec(),
        }),
        _ => Ok(()),
    }
}

fn say_left_out(kept_back: &[Attribute], left_out: &mut Vec<LeftOut>) {
    left_out.extend(kept_back.iter().map(|attribute| LeftOut {
        field: attribute.name.clone(),
        why: HELD_BY_ANOTHER,
    }));
}
