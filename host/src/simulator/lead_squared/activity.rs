//! Activities and their types. Nothing is ever recognised as the same activity: the same call twice makes two.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Dice;
use super::account::{Account, Change, utc};
use super::answer::{Answer, Refusal};
use super::field::{is_date, is_date_time, is_number};
use super::lead::{Pair, Sent, upsert};
use super::search::Number;
use super::server::Call;

/// One activity.
#[derive(Clone)]
pub(super) struct Activity {
    pub(super) id: Uuid,
    /// Its place among the account's leads.
    pub(super) lead: usize,
    pub(super) code: u32,
    pub(super) note: String,
    pub(super) at: String,
    pub(super) created_at: Timestamp,
    pub(super) modified_at: Timestamp,
    pub(super) values: Vec<(String, String)>,
}

/// One activity type.
pub(super) struct Type {
    pub(super) id: Uuid,
    pub(super) name: String,
    pub(super) slots: Vec<Slot>,
}

/// One field of an activity type.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Slot {
    pub(super) schema_name: String,
    #[serde(default)]
    pub(super) display_name: String,
    #[serde(default)]
    pub(super) data_type: String,
    #[serde(default)]
    pub(super) is_mandatory: bool,
    /// Kept as it was sent: its layout is not known.
    #[serde(default)]
    pub(super) option_set: serde_json::Value,
}

/// The activity types of the account by code.
pub(super) struct Types(pub(super) BTreeMap<u32, Type>);

impl Types {
    /// The types that an account has at first: calls, and the one for appointments.
    pub(super) fn new(dice: &mut Dice) -> Self {
        let appointment = [
            ("mx_Custom_1", "Appointment Id", "String"),
            ("mx_Custom_2", "Start", "DateTime"),
            ("mx_Custom_3", "End", "DateTime"),
            ("mx_Custom_4", "Provider", "String"),
            ("mx_Custom_5", "Location", "String"),
            ("mx_Custom_6", "Appointment Type", "String"),
            ("mx_Custom_7", "Reason", "String"),
            ("mx_Custom_8", "Filler Status", "String"),
            ("mx_Custom_9", "Duration Minutes", "Number"),
            ("mx_Custom_10", "Event", "String"),
        ];
        let slots = appointment.map(|(name, display, data_type)| Slot {
            schema_name: name.to_owned(),
            display_name: display.to_owned(),
            data_type: data_type.to_owned(),
            is_mandatory: false,
            option_set: serde_json::Value::Null,
        });
        let mut types = BTreeMap::new();
        for (code, name, slots) in [
            (21, "Inbound Phone Call Activity", Vec::new()),
            (22, "Outbound Phone Call Activity", Vec::new()),
            (205, "EHR Appointment", slots.to_vec()),
        ] {
            let name = name.to_owned();
            let id = dice.id();
            types.insert(code, Type { id, name, slots });
        }
        Self(types)
    }
}

/// The body of a create, and the `Activity` member of the calls that make lead and activity in one.
#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct New {
    #[serde(default)]
    related_prospect_id: Option<String>,
    #[serde(default)]
    email_address: Option<String>,
    #[serde(default)]
    first_name: Option<String>,
    #[serde(default)]
    last_name: Option<String>,
    #[serde(default)]
    phone: Option<String>,
    #[serde(default)]
    activity_event: Option<Number>,
    #[serde(default)]
    activity_note: Option<String>,
    #[serde(default)]
    activity_date_time: Option<String>,
    #[serde(default)]
    fields: Vec<SlotValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SlotValue {
    schema_name: String,
    #[serde(default)]
    value: Option<String>,
}

impl New {
    fn code(&self, account: &Account) -> Result<u32, Refusal> {
        known_code(account, self.activity_event)
    }

    fn check(&self, account: &Account) -> Result<u32, Refusal> {
        let code = self.code(account)?;
        if let Some(at) = &self.activity_date_time
            && !is_date_time(at)
        {
            return Err(Refusal::invalid("ActivityDateTime value is not correct."));
        }
        check_slots(account, code, &self.fields)?;
        for slot in account.types.0[&code]
            .slots
            .iter()
            .filter(|slot| slot.is_mandatory)
        {
            let is_sent = self.fields.iter().any(|sent| {
                sent.schema_name == slot.schema_name
                    && sent.value.as_deref().is_some_and(|value| !value.is_empty())
            });
            if !is_sent {
                return Err(Refusal::missing(&slot.schema_name));
            }
        }
        Ok(code)
    }

    /// Adds the activity and notes it as a write of `call`; everything has been checked.
    fn write(self, account: &mut Account, call: &Call, lead: usize, code: u32) -> Uuid {
        let id = self.add(account, lead, code);
        account.note(
            call.route(),
            Change::ActivityCreated,
            lead,
            Some(id),
            &call.body,
        );
        id
    }

    fn add(self, account: &mut Account, lead: usize, code: u32) -> Uuid {
        let now = Timestamp::now();
        let id = account.dice.id();
        let place = account.activities.len();
        account.activities.push(Activity {
            id,
            lead,
            code,
            note: self.activity_note.unwrap_or_default(),
            at: self.activity_date_time.unwrap_or_else(|| utc(now)),
            created_at: now,
            modified_at: now,
            values: self
                .fields
                .into_iter()
                .filter_map(|sent| Some((sent.schema_name, sent.value?)))
                .filter(|(_, value)| !value.is_empty())
                .collect(),
        });
        account.activity_by_id.insert(id, place);
        account.leads[lead].activities.push(place);
        account.leads[lead].touched_at = now;
        account.tell_activity(place, None);
        id
    }
}

fn known_code(account: &Account, code: Option<Number>) -> Result<u32, Refusal> {
    let Some(Number(code)) = code else {
        return Err(Refusal::mx(
            "MXInvalidDataTypeException",
            "You have not passed ActivityEvent.",
        ));
    };
    if !account.types.0.contains_key(&code) {
        return Err(Refusal::mx(
            "MXInvalidActivityException",
            "Event Code is invalid or empty",
        ));
    }
    Ok(code)
}

/// `Status` and `Owner` are every type's; the rest must be the type's own and fit its data type.
fn check_slots(account: &Account, code: u32, sent: &[SlotValue]) -> Result<(), Refusal> {
    for SlotValue { schema_name, value } in sent {
        if matches!(
            schema_name.as_str(),
            "Status" | "Owner" | "ActivityEvent_Note"
        ) {
            continue;
        }
        let slots = &account.types.0[&code].slots;
        let Some(slot) = slots.iter().find(|slot| slot.schema_name == *schema_name) else {
            return Err(Refusal::mx(
                "MXUnknownAttributeException",
                format!("Attribute {schema_name} does not exist"),
            ));
        };
        let value = value.as_deref().unwrap_or_default();
        let fits = value.is_empty()
            || match slot.data_type.as_str() {
                "Number" => is_number(value),
                "DateTime" | "Date" => is_date(value),
                _ => value.chars().count() <= 2_000,
            };
        if !fits {
            return Err(Refusal::mx(
                "MXInvalidDataTypeException",
                format!("The value '{value}' of {schema_name} is not valid for its data type"),
            ));
        }
    }
    Ok(())
}

pub(super) fn create(account: &mut Account, call: &Call) -> Result<Answer, Refusal> {
    let mut new: New = call.json()?;
    let code = new.check(account)?;
    let lead = match (&new.related_prospect_id, &new.email_address) {
        (Some(id), _) => account.lead(id).ok_or_else(Refusal::lead_not_found)?,
        (None, Some(_)) => {
            let pairs = [
                ("EmailAddress", new.email_address.take()),
                ("FirstName", new.first_name.take()),
                ("LastName", new.last_name.take()),
                ("Phone", new.phone.take()),
            ];
            let pairs = pairs
                .into_iter()
                .filter_map(|(name, value)| Some(Pair::text(name, value?)));
            let sent = Sent::read(account, pairs.collect())?;
            write_lead(account, call, sent)?
        }
        (None, None) => return Err(Refusal::missing("RelatedProspectId")),
    };
    Ok(Answer::id(&new.write(account, call, lead, code)))
}

fn write_lead(account: &mut Account, call: &Call, sent: Sent) -> Result<usize, Refusal> {
    let (lead, is_new) = upsert(account, sent)?;
    let change = if is_new {
        Change::LeadCreated
    } else {
        Change::LeadUpdated
    };
    account.note(call.route(), change, lead, None, &call.body);
    Ok(lead)
}

pub(super) fn create_custom(account: &mut Account, call: &Call) -> Result<Answer, Refusal> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Both {
        lead_details: Vec<Pair>,
        activity: New,
    }
    #[derive(Serialize)]
    #[serde(rename_all = "PascalCase")]
    struct Created {
        id: String,
        related_id: String,
    }
    let Both {
        lead_details,
        activity,
    } = call.json()?;
    let code = activity.check(account)?;
    let sent = Sent::read(account, lead_details)?;
    let lead = write_lead(account, call, sent)?;
    let id = activity.write(account, call, lead, code);
    Ok(Answer::success(&Created {
        id: id.to_string(),
        related_id: account.leads[lead].id.to_string(),
    }))
}

pub(super) fn update(account: &mut Account, call: &Call) -> Result<Answer, Refusal> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Body {
        prospect_activity_id: String,
        #[serde(default)]
        activity_event: Option<Number>,
        #[serde(default)]
        activity_note: Option<String>,
        #[serde(default)]
        fields: Vec<SlotValue>,
    }
    let change: Body = call.json()?;
    let code = known_code(account, change.activity_event)?;
    let place = find(account, &change.prospect_activity_id)?;
    if account.activities[place].code != code {
        return Err(Refusal::invalid("ActivityEvent"));
    }
    let lead = account.activities[place].lead;
    if account.leads[lead].is_deleted {
        return Err(Refusal::lead_not_found());
    }
    check_slots(account, code, &change.fields)?;
    let id = set(account, place, change.activity_note, change.fields);
    account.note(
        call.route(),
        Change::ActivityUpdated,
        lead,
        Some(id),
        &call.body,
    );
    Ok(Answer::id(&id))
}

/// Gives an activity other values, which have been checked.
fn set(account: &mut Account, place: usize, note: Option<String>, sent: Vec<SlotValue>) -> Uuid {
    let before = account.activities[place].clone();
    let activity = &mut account.activities[place];
    if let Some(note) = note {
        activity.note = note;
    }
    for SlotValue { schema_name, value } in sent {
        activity.values.retain(|(name, _)| *name != schema_name);
        if let Some(value) = value
            && !value.is_empty()
        {
            activity.values.push((schema_name, value));
        }
    }
    activity.modified_at = Timestamp::now();
    account.tell_activity(place, Some(&before));
    before.id
}

/// Creates an activity as a person does in the user interface.
pub(super) fn create_by_person(
    account: &mut Account,
    lead: usize,
    code: u32,
    note: Option<String>,
    values: Vec<(String, Option<String>)>,
) -> Result<Uuid, Refusal> {
    let new = New {
        activity_event: Some(Number(code)),
        activity_note: note,
        fields: slot_values(values),
        ..New::default()
    };
    let code = new.check(account)?;
    Ok(new.add(account, lead, code))
}

/// Changes an activity as a person does.
pub(super) fn edit_by_person(
    account: &mut Account,
    id: &str,
    note: Option<String>,
    values: Vec<(String, Option<String>)>,
) -> Result<Uuid, Refusal> {
    let place = find(account, id)?;
    let sent = slot_values(values);
    check_slots(account, account.activities[place].code, &sent)?;
    Ok(set(account, place, note, sent))
}

fn slot_values(values: Vec<(String, Option<String>)>) -> Vec<SlotValue> {
    let values = values.into_iter();
    values
        .map(|(schema_name, value)| SlotValue { schema_name, value })
        .collect()
}

/// The place of an activity whose lead may be gone.
pub(super) fn find(account: &Account, id: &str) -> Result<usize, Refusal> {
    let id = Uuid::try_parse(id.trim()).ok();
    id.and_then(|id| account.activity_by_id.get(&id).copied())
        .ok_or_else(|| {
            Refusal::mx(
                "MXUnknownProspectActivityException",
                "Activity does not exist.",
            )
        })
}
