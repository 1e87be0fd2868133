//! What the simulated account holds: leads with their unique values, activities with their types, and every write.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use jiff::Timestamp;
use serde::Serialize;
use uuid::Uuid;

use super::activity::{Activity, Types};
use super::answer::Refusal;
use super::field::{Fields, key_of};
use super::people::{self, Person};
use super::webhook::Hooks;
use super::{Dice, Settings};

/// The user whose keys are used; owner of what they create.
pub(super) struct User {
    pub(super) id: Uuid,
    pub(super) organisation: u64,
}

pub(super) struct Account {
    pub(super) fields: Fields,
    pub(super) types: Types,
    pub(super) user: User,
    pub(super) people: Vec<Person>,
    /// Who makes the present change.
    pub(super) acting: Uuid,
    pub(super) hooks: Hooks,
    pub(super) match_phone_too: bool,
    pub(super) dice: Dice,
    pub(super) leads: Vec<Lead>,
    by_id: HashMap<Uuid, usize>,
    /// Field and value of every unique field to the lead that holds it.
    unique: HashMap<(usize, String), usize>,
    pub(super) activities: Vec<Activity>,
    pub(super) activity_by_id: HashMap<Uuid, usize>,
    writes: Vec<Write>,
    deleted: usize,
    /// API calls that were let in.
    pub(super) calls: u64,
    /// The same one by one, where the settings want it.
    pub(super) call_log: Vec<CallView>,
    /// API calls that the rate limit refused.
    pub(super) limited: u64,
    /// The host that `UserByAccessKey.Get` names; none names the one that was asked.
    pub(super) home: Option<String>,
    /// What the write log says of the fault that hits the present call.
    pub(super) striking: Option<&'static str>,
}

/// One lead; what it does not hold is null.
pub(super) struct Lead {
    pub(super) id: Uuid,
    pub(super) auto_id: u64,
    pub(super) values: Vec<(usize, String)>,
    pub(super) created_at: Timestamp,
    pub(super) modified_at: Timestamp,
    /// The same, but a new activity counts as well.
    pub(super) touched_at: Timestamp,
    pub(super) created_by: Uuid,
    pub(super) modified_by: Uuid,
    pub(super) is_deleted: bool,
    /// Places in the account's activities, oldest first.
    pub(super) activities: Vec<usize>,
}

impl Lead {
    pub(super) fn value(&self, field: usize) -> Option<&str> {
        let (_, value) = self.values.iter().find(|(held, _)| *held == field)?;
        Some(value)
    }
}

/// How much there is of everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Counts {
    pub leads: usize,
    pub activities: usize,
    pub writes: usize,
    /// API calls that were let in, whatever became of them.
    pub calls: u64,
    /// API calls that the rate limit refused.
    pub limited: u64,
    /// Deliveries of webhooks that were answered with 200.
    pub told: usize,
    /// Deliveries of webhooks that were not, after all tries.
    pub not_told: usize,
}

/// One lead as it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LeadView {
    pub id: String,
    pub values: BTreeMap<String, String>,
}

/// One activity as it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ActivityView {
    pub id: String,
    pub lead: String,
    pub code: u32,
    pub note: String,
    /// UTC, `yyyy-MM-dd HH:mm:ss`.
    pub at: String,
    pub values: BTreeMap<String, String>,
}

/// One call that was let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallView {
    /// The path below `/v2/`.
    pub route: String,
    pub query: Vec<(String, String)>,
    pub body: Bytes,
}

/// One write that took effect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Write {
    /// From 1 upwards without gaps.
    pub seq: usize,
    pub at_ms: i64,
    /// The path below `/v2/`.
    pub route: String,
    pub change: Change,
    pub lead: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub activity: Option<String>,
    /// The fault that hit its answer, when one did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault: Option<&'static str>,
    /// The request's body.
    #[serde(serialize_with = "as_text")]
    pub body: Bytes,
}

/// What a write did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    LeadCreated,
    LeadUpdated,
    ActivityCreated,
    ActivityUpdated,
}

fn as_text<S: serde::Serializer>(body: &Bytes, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&String::from_utf8_lossy(body))
}

impl Account {
    pub(super) fn new(settings: &Settings) -> Self {
        let mut dice = Dice::new(settings.seed);
        let fields = Fields::new(settings, &mut dice);
        let types = Types::new(&mut dice);
        let user = User {
            id: dice.id(),
            organisation: 10_000 + dice.roll() % 90_000,
        };
        Self {
            fields,
            types,
            people: people::staff(user.id, &mut dice),
            acting: user.id,
            hooks: Hooks::new(settings.webhooks.clone()),
            user,
            match_phone_too: settings.match_phone_too,
            dice,
            leads: Vec::new(),
            by_id: HashMap::new(),
            unique: HashMap::new(),
            activities: Vec::new(),
            activity_by_id: HashMap::new(),
            writes: Vec::new(),
            deleted: 0,
            calls: 0,
            call_log: Vec::new(),
            limited: 0,
            home: None,
            striking: None,
        }
    }

    pub(super) fn lead(&self, id: &str) -> Option<usize> {
        self.by_id.get(&Uuid::try_parse(id.trim()).ok()?).copied()
    }

    /// The lead that holds `value` in a unique field.
    pub(super) fn holder(&self, field: usize, value: &str) -> Option<usize> {
        let key = key_of(self.fields.at(field).data_type, value);
        self.unique.get(&(field, key)).copied()
    }

    pub(super) fn create_lead(
        &mut self,
        values: Vec<(usize, Option<String>)>,
    ) -> Result<usize, Refusal> {
        self.check_unique(&values, None)?;
        for field in self.fields.all().iter().filter(|field| field.is_mandatory) {
            let index = self.fields.index(&field.schema_name);
            let is_sent = values
                .iter()
                .any(|(sent, value)| Some(*sent) == index && value.is_some());
            if !is_sent {
                return Err(Refusal::missing(&field.schema_name));
            }
        }
        let place = self.leads.len();
        let now = Timestamp::now();
        let lead = Lead {
            id: self.dice.id(),
            auto_id: place as u64 + 1_001,
            values: Vec::with_capacity(values.len()),
            created_at: now,
            modified_at: now,
            touched_at: now,
            created_by: self.acting,
            modified_by: self.acting,
            is_deleted: false,
            activities: Vec::new(),
        };
        self.by_id.insert(lead.id, place);
        self.leads.push(lead);
        self.set(place, values);
        Ok(place)
    }

    /// Puts a lead back that was kept with these values.
    pub(super) fn restore_lead(&mut self, lead: Lead, values: Vec<(usize, String)>) {
        let place = self.leads.len();
        let (id, is_deleted) = (lead.id, lead.is_deleted);
        self.leads.push(lead);
        match is_deleted {
            // Its values are nobody's.
            true => {
                self.leads[place].values = values;
                self.deleted += 1;
            }
            false => {
                self.by_id.insert(id, place);
                let values = values.into_iter();
                self.set(
                    place,
                    values.map(|(field, value)| (field, Some(value))).collect(),
                );
            }
        }
    }

    pub(super) fn update_lead(
        &mut self,
        place: usize,
        values: Vec<(usize, Option<String>)>,
    ) -> Result<(), Refusal> {
        self.check_unique(&values, Some(place))?;
        for (field, value) in &values {
            let field_of = self.fields.at(*field);
            if field_of.is_locked_after_create
                && self.leads[place].value(*field) != value.as_deref()
            {
                return Err(Refusal::invalid(format!(
                    "{} can not be changed.",
                    field_of.schema_name
                )));
            }
        }
        self.set(place, values);
        self.touch(place);
        self.leads[place].modified_by = self.acting;
        Ok(())
    }

    fn touch(&mut self, place: usize) {
        let now = Timestamp::now();
        let lead = &mut self.leads[place];
        (lead.modified_at, lead.touched_at) = (now, now);
    }

    pub(super) fn delete_lead(&mut self, id: &str) -> bool {
        let Some(place) = self.lead(id) else {
            return false;
        };
        self.by_id.remove(&self.leads[place].id);
        self.unique.retain(|_, holder| *holder != place);
        self.leads[place].is_deleted = true;
        self.deleted += 1;
        true
    }

    /// Merges `retired` into `survivor`, as the user interface does: the survivor takes the values that it lacks and, if
    /// `with_activities`, the other's activities; the other is gone.
    pub(super) fn merge_leads(
        &mut self,
        survivor: &str,
        retired: &str,
        with_activities: bool,
    ) -> bool {
        let (Some(into), Some(from)) = (self.lead(survivor), self.lead(retired)) else {
            return false;
        };
        if into == from {
            return false;
        }
        self.delete_lead(retired);
        let held: Vec<usize> = self.leads[into]
            .values
            .iter()
            .map(|(field, _)| *field)
            .collect();
        let values = self.leads[from].values.clone().into_iter();
        let lacking = values.filter(|(field, _)| !held.contains(field));
        self.set(
            into,
            lacking.map(|(field, value)| (field, Some(value))).collect(),
        );
        self.touch(into);
        if with_activities {
            let moved = std::mem::take(&mut self.leads[from].activities);
            for place in &moved {
                self.activities[*place].lead = into;
            }
            self.leads[into].activities.extend(moved);
            self.leads[into].activities.sort_unstable();
        }
        true
    }

    /// Whether every unique value sent is free, or held by `own` already.
    fn check_unique(
        &self,
        values: &[(usize, Option<String>)],
        own: Option<usize>,
    ) -> Result<(), Refusal> {
        for (field, value) in values {
            let Some(value) = value else { continue };
            if self.fields.at(*field).is_unique
                && let Some(holder) = self.holder(*field, value)
                && Some(holder) != own
            {
                return Err(Refusal::mx(
                    "MXDuplicateEntryException",
                    format!(
                        "A Lead with same {} already exists.",
                        self.fields.at(*field).display_name
                    ),
                ));
            }
        }
        Ok(())
    }

    fn set(&mut self, place: usize, values: Vec<(usize, Option<String>)>) {
        for (field, value) in values {
            let known = self.fields.at(field);
            let lead = &mut self.leads[place];
            let held = lead.values.iter().position(|(held, _)| *held == field);
            if let Some(held) = held {
                let (_, old) = lead.values.swap_remove(held);
                if known.is_unique {
                    self.unique.remove(&(field, key_of(known.data_type, &old)));
                }
            }
            if let Some(value) = value {
                if known.is_unique {
                    self.unique
                        .insert((field, key_of(known.data_type, &value)), place);
                }
                lead.values.push((field, value));
            }
        }
    }

    pub(super) fn note(
        &mut self,
        route: &str,
        change: Change,
        lead: usize,
        activity: Option<Uuid>,
        body: &Bytes,
    ) {
        self.writes.push(Write {
            seq: self.writes.len() + 1,
            at_ms: Timestamp::now().as_millisecond(),
            route: route.to_owned(),
            change,
            lead: self.leads[lead].id.to_string(),
            activity: activity.map(|id| id.to_string()),
            fault: self.striking,
            body: body.clone(),
        });
    }

    pub(super) fn counts(&self) -> Counts {
        Counts {
            leads: self.leads.len() - self.deleted,
            activities: self.activities.len(),
            writes: self.writes.len(),
            calls: self.calls,
            limited: self.limited,
            told: self.hooks.told(true),
            not_told: self.hooks.told(false),
        }
    }

    /// The writes after the one numbered `seq`.
    pub(super) fn writes_after(&self, seq: usize) -> &[Write] {
        &self.writes[seq.min(self.writes.len())..]
    }

    pub(super) fn lead_views(&self) -> Vec<LeadView> {
        let leads = self.leads.iter().filter(|lead| !lead.is_deleted);
        leads
            .map(|lead| LeadView {
                id: lead.id.to_string(),
                values: lead
                    .values
                    .iter()
                    .map(|(field, value)| {
                        (self.fields.at(*field).schema_name.clone(), value.clone())
                    })
                    .collect(),
            })
            .collect()
    }

    pub(super) fn activity_views(&self) -> Vec<ActivityView> {
        self.activities
            .iter()
            .map(|activity| ActivityView {
                id: activity.id.to_string(),
                lead: self.leads[activity.lead].id.to_string(),
                code: activity.code,
                note: activity.note.clone(),
                at: activity.at.clone(),
                values: activity.values.iter().cloned().collect(),
            })
            .collect()
    }
}

/// `yyyy-MM-dd HH:mm:ss` in UTC.
pub(super) fn utc(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S").to_string()
}
