//! What was told of leads last, by webhooks and by readings: kept while an account is read regularly.

use std::collections::{BTreeMap, BTreeSet};

use crate::flow::change::Field;
use crate::flow::{AccountId, Entity, WebhookEvent};
use crate::leadsquared::webhook::Entry;
use crate::pipeline::Pipeline;
use crate::pipeline::configuration::{Configuration, Route};
use crate::store;
use crate::store::journal::{Journal, Record};
use crate::sync::seen::Seen;
use crate::sync::sending::instant_ms;

/// The lead's number, by which the EHR can name a lead to us.
const NUMBER_FIELD: &str = "ProspectAutoId";

/// The events of leads; a reading finds both.
pub(super) const EVENTS: [WebhookEvent; 2] = [WebhookEvent::LeadCreate, WebhookEvent::LeadUpdate];

/// What is known of some leads.
pub(in crate::pipeline) struct Sightings {
    journal: Journal,
    account: AccountId,
    /// The fields that flows ask for: of others it is not known whether they changed.
    pub(super) asked: BTreeSet<String>,
    known: BTreeMap<String, Seen>,
    changed: BTreeSet<String>,
}

/// The flows to the EHR that changes of leads set going.
pub(super) fn routes<'a>(
    configuration: &'a Configuration,
    account: &'a AccountId,
) -> impl Iterator<Item = &'a Route> {
    EVENTS
        .into_iter()
        .flat_map(|event| configuration.senders(account, event, None))
        .map(AsRef::as_ref)
}

/// The lead fields that the account's lead flows to the EHR ask for.
fn asked(configuration: &Configuration, account: &AccountId) -> BTreeSet<String> {
    let mut asked = BTreeSet::new();
    for route in routes(configuration, account) {
        let conditions = route.flow.outbound.iter();
        let conditions = conditions.flat_map(|outbound| &outbound.condition);
        asked.extend(conditions.map(|condition| condition.field.clone()));
        let account = &route.account.account;
        asked.extend(account.identifier_fields.iter().cloned());
        asked.extend(account.lead_number.is_some().then(|| NUMBER_FIELD.into()));
        let reads = route
            .releases()
            .flat_map(|in_force| &in_force.release.grants.reads);
        let reads = reads.filter_map(|read| Field::parse(read));
        let reads = reads.filter(|field| field.entity == Entity::Lead);
        asked.extend(reads.map(|field| field.name.to_owned()));
    }
    asked
}

impl Sightings {
    /// Whether the account is read regularly.
    pub(in crate::pipeline) fn are_kept(
        configuration: &Configuration,
        account: &AccountId,
    ) -> bool {
        let entry = configuration.account(account);
        entry.is_some_and(|entry| entry.account.poll.is_some())
    }

    /// Loads what is known of `leads`.
    pub(in crate::pipeline) async fn load(
        pipeline: &Pipeline,
        configuration: &Configuration,
        account: &AccountId,
        leads: BTreeSet<&str>,
    ) -> Result<Self, store::Error> {
        let journal = pipeline.store.journal();
        let ids: Vec<String> = leads.iter().map(|lead| record(lead)).collect();
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        let records = journal.records(account, &ids).await?;
        let known = leads.into_iter().zip(records);
        let known =
            known.filter_map(|(lead, bytes)| Some((lead.to_owned(), Seen::parse(&bytes?)?)));
        Ok(Self {
            known: known.collect(),
            journal,
            account: account.clone(),
            asked: asked(configuration, account),
            changed: BTreeSet::new(),
        })
    }

    pub(super) fn of(&self, lead: &str) -> Option<&Seen> {
        self.known.get(lead)
    }

    /// Changes what is known of a lead.
    pub(super) fn change(&mut self, lead: &str, change: impl FnOnce(&mut Seen, &BTreeSet<String>)) {
        let seen = self.known.entry(lead.to_owned()).or_default();
        let before = seen.clone();
        change(seen, &self.asked);
        if *seen != before {
            self.changed.insert(lead.to_owned());
        }
    }

    /// Notes that a webhook tells of a lead; says whether a reading has told all of it before.
    pub(in crate::pipeline) fn told(&mut self, event: WebhookEvent, entry: &Entry) -> bool {
        let time = |name: &str| instant_ms(entry.after.get(name)?.as_deref()?);
        let changed_at_ms = match event.entity() {
            Entity::Lead => time("ModifiedOn").or_else(|| time("CreatedOn")),
            Entity::Activity => None,
        };
        let Some(changed_at_ms) = changed_at_ms else {
            return false;
        };
        let is_new = event == WebhookEvent::LeadCreate;
        let seen = self.of(&entry.lead_id);
        let is_late = seen.is_some_and(|seen| {
            seen.was_polled(changed_at_ms, is_new)
                // What a change emptied is known to webhooks alone; an older one is past.
                && !(seen.polled_ms == changed_at_ms && empties(entry))
        });
        let (journal, account) = (self.journal.clone(), self.account.clone());
        self.change(&entry.lead_id, |seen, asked| {
            let fingerprint =
                |field: &str, value: &str| journal.fingerprint(&account, field, value);
            seen.note(changed_at_ms, &entry.after, asked, &fingerprint);
        });
        is_late
    }

    /// Keeps what has changed; durable on return.
    pub(in crate::pipeline) async fn keep(self) -> Result<(), store::Error> {
        let records = self.changed.iter().filter_map(|lead| {
            Some(Record {
                id: record(lead),
                document: self.known.get(lead)?.to_bytes(),
            })
        });
        let records: Vec<Record> = records.collect();
        self.journal.keep_records(&self.account, &records).await
    }
}

/// What is kept of a lead beside what this host wrote to it.
fn record(lead: &str) -> String {
    format!("seen {lead}")
}

/// Whether a field held something before the change and nothing after it.
fn empties(entry: &Entry) -> bool {
    let holds = |value: &Option<String>| value.as_deref().is_some_and(|text| !text.is_empty());
    let before = entry.before.iter().flatten();
    before.filter(|(_, value)| holds(value)).any(|(field, _)| {
        let after = entry.after.get(field);
        after.is_some_and(|value| !holds(value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::leadsquared::webhook::parse;

    #[test]
    fn a_change_that_empties_a_field_says_so() {
        let check = |before: &str, after: &str, expected: bool| {
            let body =
                format!(r#"{{"Before":{{{before}}},"After":{{"ProspectID":"l1",{after}}}}}"#);
            let entry = parse(body.as_bytes()).unwrap().entries.remove(0);
            assert_eq!(empties(&entry), expected, "{body}");
        };
        check(r#""Phone":"1""#, r#""Phone":null"#, true);
        check(r#""Phone":"1""#, r#""Phone":"""#, true);
        check(r#""Phone":"1""#, r#""Phone":"2""#, false);
        check(r#""Phone":"""#, r#""Phone":null"#, false);
        // Not said is not emptied.
        check(r#""Phone":"1""#, r#""City":"A""#, false);
    }
}
