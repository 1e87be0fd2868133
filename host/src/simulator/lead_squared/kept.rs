//! What the account holds, to be put into a file and read again by another process: keys, fields, leads, activities and
//! webhooks. What was counted, logged and injected ends with the process.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::account::{Account, Lead};
use super::activity::{Activity, Slot, Type};
use super::field::{DataType, Field};
use super::webhook::KeptHook;
use super::{Dice, Handle, Keys, Settings, random_u64};

/// An account at one moment.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kept {
    access_key: String,
    secret_key: String,
    /// What an account has at first is thrown with these dice.
    seed: u64,
    dice: u64,
    /// Those that were made.
    fields: Vec<KeptField>,
    types: BTreeMap<u32, KeptType>,
    leads: Vec<KeptLead>,
    activities: Vec<KeptActivity>,
    webhooks: Vec<KeptHook>,
}

#[derive(Serialize, Deserialize)]
struct KeptField {
    id: String,
    schema_name: String,
    display_name: String,
    data_type: String,
    is_unique: bool,
    is_mandatory: bool,
    is_locked_after_create: bool,
    is_read_only: bool,
    max_length: usize,
    options: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct KeptType {
    id: String,
    name: String,
    slots: Vec<Slot>,
}

#[derive(Serialize, Deserialize)]
struct KeptLead {
    id: String,
    values: BTreeMap<String, String>,
    created_at: Timestamp,
    modified_at: Timestamp,
    touched_at: Timestamp,
    created_by: String,
    modified_by: String,
    is_deleted: bool,
}

#[derive(Serialize, Deserialize)]
struct KeptActivity {
    id: String,
    /// The lead's place in the list.
    lead: usize,
    code: u32,
    note: String,
    at: String,
    created_at: Timestamp,
    modified_at: Timestamp,
    values: Vec<(String, String)>,
}

impl Settings {
    /// Those of an account that is to be kept.
    pub fn to_keep() -> Self {
        Self {
            seed: Some(random_u64()),
            ..Self::default()
        }
    }
}

impl Kept {
    /// Reads it again.
    ///
    /// # Errors
    /// Text that is nothing of the kind.
    pub fn parse(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }

    /// The text of a file; it holds keys.
    pub fn to_text(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default()
    }

    /// The settings to start its account with.
    pub fn settings(&self) -> Settings {
        Settings {
            keys: Keys {
                access_key: self.access_key.clone(),
                secret_key: self.secret_key.clone(),
            },
            seed: Some(self.seed),
            ..Settings::default()
        }
    }
}

fn uuid(text: &str) -> Uuid {
    Uuid::try_parse(text).unwrap_or_default()
}

impl Handle {
    /// The account as it stands; none where its settings have no seed.
    pub fn kept(&self) -> Option<Kept> {
        let settings = self.server.settings();
        let (keys, seed) = (settings.keys.clone(), settings.seed?);
        let usual = Account::new(settings);
        let account = self.server.account();
        let made = account.fields.all().iter().skip(usual.fields.all().len());
        let name = |field: usize| account.fields.at(field).schema_name.clone();
        Some(Kept {
            access_key: keys.access_key,
            secret_key: keys.secret_key,
            seed,
            dice: account.dice.0,
            fields: made.map(KeptField::of).collect(),
            types: account
                .types
                .0
                .iter()
                .map(|(code, known)| {
                    let kept = KeptType {
                        id: known.id.to_string(),
                        name: known.name.clone(),
                        slots: known.slots.clone(),
                    };
                    (*code, kept)
                })
                .collect(),
            leads: account
                .leads
                .iter()
                .map(|lead| KeptLead {
                    id: lead.id.to_string(),
                    values: lead
                        .values
                        .iter()
                        .map(|(field, value)| (name(*field), value.clone()))
                        .collect(),
                    created_at: lead.created_at,
                    modified_at: lead.modified_at,
                    touched_at: lead.touched_at,
                    created_by: lead.created_by.to_string(),
                    modified_by: lead.modified_by.to_string(),
                    is_deleted: lead.is_deleted,
                })
                .collect(),
            activities: account
                .activities
                .iter()
                .map(|activity| KeptActivity {
                    id: activity.id.to_string(),
                    lead: activity.lead,
                    code: activity.code,
                    note: activity.note.clone(),
                    at: activity.at.clone(),
                    created_at: activity.created_at,
                    modified_at: activity.modified_at,
                    values: activity.values.clone(),
                })
                .collect(),
            webhooks: account.hooks.kept(),
        })
    }

    /// Puts what was kept into an account that was started with its settings and holds nothing yet.
    pub fn restore(&self, kept: Kept) {
        let mut account = self.server.account();
        for field in kept.fields {
            account.fields.add(field.into_field());
        }
        account.types.0 = kept
            .types
            .into_iter()
            .map(|(code, known)| {
                let restored = Type {
                    id: uuid(&known.id),
                    name: known.name,
                    slots: known.slots,
                };
                (code, restored)
            })
            .collect();
        for lead in kept.leads {
            let values = lead.values.into_iter();
            let values =
                values.filter_map(|(name, value)| Some((account.fields.index(&name)?, value)));
            let values = values.collect();
            let place = account.leads.len();
            account.restore_lead(
                Lead {
                    id: uuid(&lead.id),
                    auto_id: place as u64 + 1_001,
                    values: Vec::new(),
                    created_at: lead.created_at,
                    modified_at: lead.modified_at,
                    touched_at: lead.touched_at,
                    created_by: uuid(&lead.created_by),
                    modified_by: uuid(&lead.modified_by),
                    is_deleted: lead.is_deleted,
                    activities: Vec::new(),
                },
                values,
            );
        }
        for activity in kept.activities {
            let place = account.activities.len();
            let Some(lead) = account.leads.get_mut(activity.lead) else {
                continue;
            };
            lead.activities.push(place);
            let id = uuid(&activity.id);
            account.activity_by_id.insert(id, place);
            account.activities.push(Activity {
                id,
                lead: activity.lead,
                code: activity.code,
                note: activity.note,
                at: activity.at,
                created_at: activity.created_at,
                modified_at: activity.modified_at,
                values: activity.values,
            });
        }
        account.hooks.restore(kept.webhooks);
        // What comes now gets other ids than what came before.
        account.dice = Dice(kept.dice);
    }
}

impl KeptField {
    fn of(field: &Field) -> Self {
        Self {
            id: field.id.to_string(),
            schema_name: field.schema_name.clone(),
            display_name: field.display_name.clone(),
            data_type: field.data_type.name().to_owned(),
            is_unique: field.is_unique,
            is_mandatory: field.is_mandatory,
            is_locked_after_create: field.is_locked_after_create,
            is_read_only: field.is_read_only,
            max_length: field.max_length,
            options: field.options.clone(),
        }
    }

    fn into_field(self) -> Field {
        Field {
            id: uuid(&self.id),
            schema_name: self.schema_name,
            display_name: self.display_name,
            data_type: DataType::named(&self.data_type).unwrap_or(DataType::Text),
            is_unique: self.is_unique,
            is_mandatory: self.is_mandatory,
            is_locked_after_create: self.is_locked_after_create,
            is_read_only: self.is_read_only,
            max_length: self.max_length,
            options: self.options,
        }
    }
}
