//! What an account is made of: its lead fields, its activity types, the user behind the keys.

use serde::Deserialize;

use super::client::Client;
use super::error::Error;
use super::wire::Loose;

/// One lead field of an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeadField {
    /// For example `mx_MRN`.
    pub schema_name: String,
    pub display_name: String,
    /// `Text`, `Number`, `Email`, `Phone`, `Website`, `Date`, `Time`, `Select`, `Boolean` and others.
    pub data_type: String,
    pub is_mandatory: bool,
    /// In characters; none where the account states none.
    pub max_length: Option<u32>,
    /// Whether the field identifies a lead, so that no two leads hold the same value.
    pub is_unique: bool,
    /// Whether it can be written when the lead is created and never after.
    pub is_locked_after_create: bool,
    /// The choices of a select field.
    pub options: Vec<String>,
}

/// One activity type of an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActivityType {
    /// The numeric event code, for example 205.
    pub code: u32,
    pub name: String,
}

/// One field of an activity type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot {
    /// For example `mx_Custom_1`.
    pub schema_name: String,
    pub display_name: String,
    /// `String`, `Number`, `DateTime`, `Dropdown` and others.
    pub data_type: String,
    pub is_mandatory: bool,
    /// In characters; none where the account states none.
    pub max_length: Option<u32>,
    /// The choices of a drop-down; empty where it takes anything.
    pub options: Vec<String>,
}

/// The user whose keys are used, and the account they belong to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    pub id: String,
    pub name: String,
    pub role: String,
    /// The account's own id.
    pub organisation: String,
    pub time_zone: String,
    /// Country calling code without `+`.
    pub default_country_code: Option<String>,
    /// The bare host name of the region's API.
    pub api_host: Option<String>,
}

impl Client {
    /// Reads the account's lead fields.
    pub async fn lead_fields(&self) -> Result<Vec<LeadField>, Error> {
        let fields: Vec<WireField> = self
            .get("LeadManagement.svc/LeadsMetaData.Get", &[])
            .await?;
        Ok(fields.into_iter().map(LeadField::from).collect())
    }

    /// Reads the account's activity types.
    pub async fn activity_types(&self) -> Result<Vec<ActivityType>, Error> {
        let types: Vec<WireType> = self
            .get("ProspectActivity.svc/ActivityTypes.Get", &[])
            .await?;
        Ok(types
            .into_iter()
            .filter_map(|kind| {
                Some(ActivityType {
                    code: kind.activity_event.number()?,
                    name: kind.activity_event_name.into_text(),
                })
            })
            .collect())
    }

    /// Reads the fields of one activity type; they differ from type to type.
    pub async fn activity_slots(&self, code: u32) -> Result<Vec<Slot>, Error> {
        let setting: WireSetting = self
            .get(
                "ProspectActivity.svc/CustomActivity/GetActivitySetting",
                &[("code", &code.to_string())],
            )
            .await?;
        Ok(setting
            .fields
            .into_iter()
            .map(|slot| Slot {
                schema_name: slot.schema_name.into_text(),
                display_name: slot.display_name.into_text(),
                data_type: slot.data_type.into_text(),
                is_mandatory: slot.is_mandatory.flag(),
                max_length: slot.max_length.number().filter(|length| *length > 0),
                options: choices(&slot.option_set),
            })
            .collect())
    }

    /// Asks who the keys belong to; the cheapest way to check them.
    pub async fn who_am_i(&self) -> Result<Caller, Error> {
        let user: WireUser = self
            .get("Authentication.svc/UserByAccessKey.Get", &[])
            .await?;
        Ok(Caller {
            id: user.id.into_text(),
            name: user.name.into_text(),
            role: user.role.into_text(),
            organisation: user.org_id.into_text(),
            time_zone: user.time_zone.into_text(),
            default_country_code: user
                .default_country_code
                .0
                .map(|code| code.trim_start_matches('+').to_owned())
                .filter(|code| !code.is_empty()),
            api_host: user.urls.and_then(|urls| urls.api.0),
        })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", default)]
#[derive(Default)]
struct WireField {
    schema_name: Loose,
    display_name: Loose,
    data_type: Loose,
    is_mandatory: Loose,
    max_length: Loose,
    is_lead_identifier: Loose,
    lock_after_create: Loose,
    options: Option<Vec<WireOption>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct WireOption {
    #[serde(default)]
    value: Loose,
}

impl From<WireField> for LeadField {
    fn from(field: WireField) -> Self {
        Self {
            is_mandatory: field.is_mandatory.flag(),
            max_length: field.max_length.number().filter(|length| *length > 0),
            is_unique: field.is_lead_identifier.flag(),
            is_locked_after_create: field.lock_after_create.number() == Some(1),
            schema_name: field.schema_name.into_text(),
            display_name: field.display_name.into_text(),
            data_type: field.data_type.into_text(),
            options: field
                .options
                .unwrap_or_default()
                .into_iter()
                .filter_map(|option| option.value.0)
                .collect(),
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct WireType {
    #[serde(default)]
    activity_event: Loose,
    #[serde(default)]
    activity_event_name: Loose,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct WireSetting {
    #[serde(default)]
    fields: Vec<WireSlot>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct WireSlot {
    #[serde(default)]
    schema_name: Loose,
    #[serde(default)]
    display_name: Loose,
    #[serde(default)]
    data_type: Loose,
    #[serde(default)]
    is_mandatory: Loose,
    #[serde(default)]
    max_length: Loose,
    #[serde(default, alias = "Options")]
    option_set: serde_json::Value,
}

/// The choices of a slot. Their layout is not known (`leadsquared.md` 7.5 has null): a list of texts or of objects with a
/// `Value` as lead fields have it, or either as JSON text, is understood, and anything else taken for no choices.
fn choices(set: &serde_json::Value) -> Vec<String> {
    use serde_json::Value;
    match set {
        Value::Array(items) => items
            .iter()
            .filter_map(|item| item.as_str().or_else(|| item.get("Value")?.as_str()))
            .filter(|choice| !choice.is_empty())
            .map(str::to_owned)
            .collect(),
        Value::Object(members) => members
            .get("Options")
            .or_else(|| members.get("Values"))
            .map(choices)
            .unwrap_or_default(),
        Value::String(text) => match serde_json::from_str::<Value>(text) {
            Ok(inner @ (Value::Array(_) | Value::Object(_))) => choices(&inner),
            _ => Vec::new(),
        },
        _ => Vec::new(),
    }
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct WireUser {
    id: Loose,
    name: Loose,
    role: Loose,
    org_id: Loose,
    time_zone: Loose,
    default_country_code: Loose,
    #[serde(rename = "LSQCommonServiceURLs")]
    urls: Option<WireUrls>,
}

#[derive(Deserialize)]
struct WireUrls {
    #[serde(default)]
    api: Loose,
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::choices;

    #[test]
    fn choices_of_a_slot_are_read_in_every_layout_that_is_likely() {
        let check = |set: Value, expected: &[&str]| assert_eq!(choices(&set), expected, "{set}");
        let both = ["Booked", "No show"];
        check(json!(["Booked", "No show"]), &both);
        check(
            json!([{ "Value": "Booked" }, { "Value": "No show" }]),
            &both,
        );
        check(json!("[\"Booked\",\"No show\"]"), &both);
        check(
            json!({ "Options": [{ "Value": "Booked" }, { "Value": "No show" }] }),
            &both,
        );
        check(Value::Null, &[]);
        check(json!(""), &[]);
        check(json!("7"), &[]);
    }
}
