//! Calls about the account itself: its users, and fields that are added to it.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::client::{Call, Client};
use super::error::{Effect, Error};
use super::wire::Loose;

/// A user of the account (`leadsquared.md` 10).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    pub id: String,
    pub name: String,
    pub email: String,
    /// Such as `Administrator` or `Sales_User`.
    pub role: String,
    pub is_active: bool,
}

/// A lead field to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewField {
    /// Its schema name becomes `mx_` and this with underscores.
    pub display_name: String,
    /// `Text`, `Number`, `Phone`, `Date`, `Select`, `Boolean`, ...
    pub data_type: String,
    pub max_length: Option<u32>,
    /// The choices of a select field.
    pub options: Vec<String>,
}

/// A slot to be added to an activity type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSlot {
    /// Such as `mx_Custom_7`.
    pub schema_name: String,
    pub display_name: String,
    /// `String`, `Number`, `DateTime`, ...
    pub data_type: String,
}

impl Client {
    /// Reads the account's users.
    pub async fn users(&self) -> Result<Vec<User>, Error> {
        let users: Vec<WireUser> = self.get("UserManagement.svc/Users.Get", &[]).await?;
        Ok(users.into_iter().map(User::from).collect())
    }

    /// Makes a lead field; that it be unique cannot be asked for (`leadsquared.md` 6.2).
    pub async fn create_lead_field(&self, field: &NewField) -> Result<(), Error> {
        let render = match field.data_type.as_str() {
            "Date" => "DateTime",
            "Boolean" => "CheckBox",
            "Select" => "Dropdown",
            "Phone" => "Phone",
            "Email" => "Email",
            "Website" => "URL",
            "Time" => "Time",
            _ => "Textbox",
        };
        let options = field.options.iter().zip(1..);
        let options: Vec<Value> = options
            .map(|(value, order)| json!({ "Value": value, "Order": order }))
            .collect();
        let mut body = json!({
            "DisplayName": field.display_name,
            "DataType": field.data_type,
            "IsMandatory": false,
            "RenderTypeTextValue": render,
            "ShowInImport": true,
            "ShowInMailMerge": true,
            "LockAfterCreate": 0,
            "UseInLeadClone": false,
        });
        if let Some(length) = field.max_length {
            body["MaxLength"] = length.to_string().into();
        }
        if !options.is_empty() {
            body["OptionsJson"] = options.into();
        }
        self.write("LeadManagement.svc/CreateLeadField", &body)
            .await
    }

    /// Adds a slot to an activity type, whose other slots are sent along as they are.
    pub async fn add_slot(&self, code: u32, slot: &NewSlot) -> Result<(), Error> {
        let types: Vec<WireType> = self
            .get("ProspectActivity.svc/ActivityTypes.Get", &[])
            .await?;
        let kind = types
            .into_iter()
            .find(|kind| kind.activity_event.number() == Some(code));
        let Some(kind) = kind else {
            return Err(Error::Rejected {
                exception: format!("no activity type {code}"),
                fields: Vec::new(),
            });
        };
        let code = code.to_string();
        let path = "ProspectActivity.svc/CustomActivity/GetActivitySetting";
        let mut setting: WireSetting = self.get(path, &[("code", &code)]).await?;
        setting.fields.push(json!({
            "SchemaName": slot.schema_name,
            "DisplayName": slot.display_name,
            "Value": null,
            "DataType": slot.data_type,
            "IsMandatory": false,
            "ShowInForm": true,
            "Sequence": setting.fields.len() + 1,
            "OptionSet": null,
        }));
        let body = json!({
            "ID": kind.id.into_text(),
            "ActivityEventName": kind.activity_event_name.into_text(),
            "Fields": setting.fields,
        });
        self.write("ProspectActivity.svc/CustomActivityType/Update", &body)
            .await
    }

    /// Sends a write about the account, of whose answer only success matters.
    async fn write(&self, path: &str, body: &impl Serialize) -> Result<(), Error> {
        let body = serde_json::to_vec(body).map_err(|_| Error::NotUnderstood {
            what: "the call could not be written".into(),
        })?;
        let _: Value = self
            .call(Call {
                effect: Effect::Write,
                path,
                query: &[],
                body: Some(body),
                sent: &[],
            })
            .await?;
        Ok(())
    }
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct WireUser {
    #[serde(rename = "ID")]
    id: Loose,
    first_name: Loose,
    last_name: Loose,
    email_address: Loose,
    role: Loose,
    status_code: Loose,
}

impl From<WireUser> for User {
    fn from(user: WireUser) -> Self {
        let name = [user.first_name.into_text(), user.last_name.into_text()];
        Self {
            id: user.id.into_text(),
            name: name.join(" ").trim().to_owned(),
            email: user.email_address.into_text(),
            role: user.role.into_text(),
            // What the account does not say is not taken for active.
            is_active: user.status_code.number() == Some(0),
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct WireType {
    #[serde(rename = "ID", alias = "Id", default)]
    id: Loose,
    #[serde(default)]
    activity_event: Loose,
    #[serde(default)]
    activity_event_name: Loose,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct WireSetting {
    #[serde(default)]
    fields: Vec<Value>,
}
