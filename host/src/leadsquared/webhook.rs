//! Webhooks: what LeadSquared is told to tell us of, and what it tells.
//!
//! Made, listed, changed and deleted with the quirks of `leadsquared.md` 8.2: `WebhookProperties` is JSON inside a text,
//! activity events are named three times, deleting is a GET. What is delivered is read by [`parse`], which is pure.
//! Knows nothing of who asked for a webhook or what becomes of an entry.

mod payload;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::client::{Call, Client};
use super::error::{Effect, Error};
use super::wire::Loose;
pub use payload::{ActivityRef, Entry, Fields, Payload, Unreadable, is_trial, parse};

/// Webhooks of one page; more would be a plan that is not known.
const PAGE: usize = 100;

/// Pages that are read at most, should an account ignore the paging.
const PAGES: usize = 20;

/// What LeadSquared tells of, as far as flows start with it.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum WebhookEvent {
    LeadCreate,
    LeadUpdate,
    LeadActivityCreate,
    LeadActivityUpdate,
}

/// A word that names no event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no event of LeadSquared that starts a flow")]
pub struct UnknownEvent;

impl WebhookEvent {
    pub const ALL: [WebhookEvent; 4] = [
        WebhookEvent::LeadCreate,
        WebhookEvent::LeadUpdate,
        WebhookEvent::LeadActivityCreate,
        WebhookEvent::LeadActivityUpdate,
    ];

    /// Our own word, as it stands in the address that is registered.
    pub fn as_str(self) -> &'static str {
        match self {
            WebhookEvent::LeadCreate => "lead-create",
            WebhookEvent::LeadUpdate => "lead-update",
            WebhookEvent::LeadActivityCreate => "lead-activity-create",
            WebhookEvent::LeadActivityUpdate => "lead-activity-update",
        }
    }

    /// The number that a webhook is created with (`leadsquared.md` 8.1).
    pub fn number(self) -> u32 {
        match self {
            WebhookEvent::LeadActivityCreate => 2,
            WebhookEvent::LeadCreate => 3,
            WebhookEvent::LeadUpdate => 6,
            WebhookEvent::LeadActivityUpdate => 15,
        }
    }

    /// The name that lists and deliveries carry.
    pub fn name(self) -> &'static str {
        match self {
            WebhookEvent::LeadActivityCreate => "LeadActivity_Post_Create",
            WebhookEvent::LeadCreate => "Lead_Post_Create",
            WebhookEvent::LeadUpdate => "Lead_Post_Update",
            WebhookEvent::LeadActivityUpdate => "LeadActivity_Post_Update",
        }
    }

    /// Whether it tells of an activity, and so of one type of them.
    pub fn is_of_activities(self) -> bool {
        matches!(
            self,
            WebhookEvent::LeadActivityCreate | WebhookEvent::LeadActivityUpdate
        )
    }
}

impl FromStr for WebhookEvent {
    type Err = UnknownEvent;

    /// Takes our word, LeadSquared's name in any case, and its number.
    ///
    /// Changes of owner, stage, score or one field come with the same two snapshots as any update.
    fn from_str(text: &str) -> Result<Self, UnknownEvent> {
        let text = text.trim();
        let known = Self::ALL.into_iter().find(|event| {
            text == event.as_str()
                || text.eq_ignore_ascii_case(event.name())
                || text.parse() == Ok(event.number())
        });
        if let Some(event) = known {
            return Ok(event);
        }
        let update = [
            "4",
            "5",
            "9",
            "26",
            "lead_owner_change",
            "lead_post_stage_change",
            "lead_field_change",
        ];
        match update.contains(&text.to_ascii_lowercase().as_str()) {
            true => Ok(WebhookEvent::LeadUpdate),
            false => Err(UnknownEvent),
        }
    }
}

/// Whether a webhook still tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum WebhookStatus {
    Enabled,
    /// A person turned it off.
    DisabledByHand,
    /// LeadSquared turned it off after ten answers in a row that were not 200.
    DisabledAfterFailures,
}

/// A webhook as LeadSquared lists it.
#[derive(Clone, PartialEq, Eq)]
pub struct Webhook {
    pub id: String,
    /// None for an event that starts no flow.
    pub event: Option<WebhookEvent>,
    /// The activity type of an activity event, where the list tells it.
    pub activity_code: Option<u32>,
    pub url: String,
    pub description: String,
    pub status: WebhookStatus,
}

/// An address may hold a secret.
impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Webhook")
            .field("id", &self.id)
            .field("event", &self.event)
            .field("activity_code", &self.activity_code)
            .field("status", &self.status)
            .finish_non_exhaustive()
    }
}

/// A webhook to be made, or what one is to be like.
#[derive(Clone, PartialEq, Eq)]
pub struct NewWebhook {
    pub event: WebhookEvent,
    /// Of an activity event: the one type that it tells of.
    pub activity_code: Option<u32>,
    pub url: String,
    pub description: String,
    /// Sent along with every delivery: name and value.
    pub headers: Vec<(String, String)>,
}

impl fmt::Debug for NewWebhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewWebhook")
            .field("event", &self.event)
            .field("activity_code", &self.activity_code)
            .finish_non_exhaustive()
    }
}

impl NewWebhook {
    fn body(&self) -> Value {
        let code = self.activity_code.map(|code| code.to_string());
        // A text with JSON in it, whose members are texts with JSON in them again (`leadsquared.md` 8.2).
        let properties = json!({
            "ActivityEvent": code.as_deref().unwrap_or_default(),
            "ActivityData": "[]",
            "WebPageNames": "[]",
        });
        let headers = self.headers.iter();
        let headers: Vec<Value> = headers
            .map(|(key, value)| json!({ "Key": key, "Value": value }))
            .collect();
        let mut body = json!({
            "Description": self.description,
            "URL": self.url,
            "Method": "POST",
            "ContentType": "application/json",
            "WebhookEvent": self.event.number().to_string(),
            "IsSpecificLandingPage": false,
            "NotifyOnFailure": true,
            "WebhookProperties": properties.to_string(),
            "CustomHeaders": headers,
        });
        if let Some(code) = code {
            body["ActivityEvent"] = code.into();
        }
        body
    }
}

const PATH: &str = "Webhook.svc/";

impl Client {
    /// Lists the account's webhooks, those of other programs too.
    pub async fn webhooks(&self) -> Result<Vec<Webhook>, Error> {
        let mut found: Vec<Webhook> = Vec::new();
        for page in 1..=PAGES {
            let body = json!({
                "Parameter": { "SearchText": "" },
                "Sorting": { "ColumnName": "CreatedOn", "Direction": "1" },
                "Paging": { "PageIndex": page, "PageSize": PAGE },
            });
            let listed: Listed = self.webhook_call(Effect::Read, "Retrieve", &body).await?;
            let (total, read) = (listed.record_count.number(), listed.response.len());
            for hook in listed.response.into_iter().map(Webhook::from) {
                // Paging without a stable order may give one twice.
                if !found.iter().any(|known| known.id == hook.id) {
                    found.push(hook);
                }
            }
            let is_all = total.is_none_or(|total| found.len() >= total as usize);
            if read < PAGE || is_all {
                break;
            }
        }
        Ok(found)
    }

    /// Makes a webhook and gives its id. LeadSquared does not know two alike for the same.
    pub async fn create_webhook(&self, hook: &NewWebhook) -> Result<String, Error> {
        let body = hook.body();
        let made: Made = self.webhook_call(Effect::Write, "Create", &body).await?;
        let id = made.message.map(|message| message.id.into_text());
        id.filter(|id| !id.is_empty())
            .ok_or_else(|| Effect::Write.lost("the answer names no webhook"))
    }

    /// Gives a webhook another form; all of it is sent.
    pub async fn update_webhook(&self, id: &str, hook: &NewWebhook) -> Result<(), Error> {
        let mut body = hook.body();
        body["WebhookId"] = id.into();
        let _: Value = self.webhook_call(Effect::Write, "Update", &body).await?;
        Ok(())
    }

    /// Deletes a webhook; one that is gone is gone.
    pub async fn delete_webhook(&self, id: &str) -> Result<(), Error> {
        let path = format!("{PATH}Delete");
        let deleted: Result<Value, Error> = self
            .call(Call {
                effect: Effect::Write,
                path: &path,
                query: &[("webhookId", id)],
                body: None,
                sent: &[],
            })
            .await;
        match deleted {
            // What LeadSquared says of any entity that is not there.
            Ok(_) | Err(Error::LeadNotFound) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn webhook_call<T: serde::de::DeserializeOwned>(
        &self,
        effect: Effect,
        verb: &str,
        body: &Value,
    ) -> Result<T, Error> {
        let path = format!("{PATH}{verb}");
        self.call(Call {
            effect,
            path: &path,
            query: &[],
            body: Some(body.to_string().into_bytes()),
            sent: &[],
        })
        .await
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Made {
    #[serde(default)]
    message: Option<MadeId>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct MadeId {
    #[serde(default, alias = "WebhookId", alias = "ID")]
    id: Loose,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    #[serde(default)]
    record_count: Loose,
    #[serde(default, alias = "List")]
    response: Vec<WireWebhook>,
}

/// Members of an entry of the list are not documented one by one, so each is looked for under the names seen.
#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct WireWebhook {
    #[serde(alias = "Id", alias = "ID")]
    webhook_id: Loose,
    webhook_event: Loose,
    activity_event: Loose,
    #[serde(rename = "URL", alias = "Url")]
    url: Loose,
    description: Loose,
    status_code: Loose,
    /// A text with JSON in it, or the object itself.
    webhook_properties: Value,
}

impl From<WireWebhook> for Webhook {
    fn from(hook: WireWebhook) -> Self {
        let event = hook.webhook_event.into_text().parse().ok();
        let properties = match hook.webhook_properties {
            Value::String(text) => serde_json::from_str(&text).unwrap_or_default(),
            properties => properties,
        };
        let in_properties = || match &properties["ActivityEvent"] {
            Value::String(text) => text.trim().parse().ok(),
            Value::Number(number) => number.as_u64()?.try_into().ok(),
            _ => None,
        };
        let activity_code = hook.activity_event.number().or_else(in_properties);
        Self {
            id: hook.webhook_id.into_text(),
            activity_code: activity_code.filter(|code| *code > 0),
            event,
            url: hook.url.into_text(),
            description: hook.description.into_text(),
            status: match hook.status_code.number() {
                Some(0) | None => WebhookStatus::Enabled,
                Some(1) => WebhookStatus::DisabledByHand,
                Some(_) => WebhookStatus::DisabledAfterFailures,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_known_by_word_name_and_number() {
        for event in WebhookEvent::ALL {
            for text in [
                event.as_str().to_owned(),
                event.name().to_owned(),
                event.name().to_uppercase(),
                event.number().to_string(),
            ] {
                assert_eq!(text.parse(), Ok(event), "{text}");
            }
        }
        for text in ["26", "Lead_Field_Change", "lead_owner_change"] {
            assert_eq!(text.parse(), Ok(WebhookEvent::LeadUpdate), "{text}");
        }
        for text in ["", "7", "Lead_Delete", "lead"] {
            assert_eq!(text.parse::<WebhookEvent>(), Err(UnknownEvent), "{text}");
        }
    }

    #[test]
    fn an_activity_webhook_names_its_type_three_times() {
        let hook = NewWebhook {
            event: WebhookEvent::LeadActivityCreate,
            activity_code: Some(205),
            url: "https://bridge.example.org/hooks/clinic".into(),
            description: "EHR".into(),
            headers: vec![("x-key".into(), "secret".into())],
        };
        let body = hook.body();
        assert_eq!(body["WebhookEvent"], "2");
        assert_eq!(body["ActivityEvent"], "205");
        assert_eq!(
            body["WebhookProperties"],
            r#"{"ActivityData":"[]","ActivityEvent":"205","WebPageNames":"[]"}"#
        );
        assert!(!format!("{hook:?}").contains("secret"));
    }

    #[test]
    fn a_list_is_read_loosely() {
        let check = |text: &str, expected: &str| {
            let hook: WireWebhook = serde_json::from_str(text).unwrap();
            let hook = Webhook::from(hook);
            assert_eq!(
                format!(
                    "{} {:?} {:?} {} {:?}",
                    hook.id, hook.event, hook.activity_code, hook.url, hook.status
                ),
                expected
            );
        };
        check(
            r#"{"WebhookId":"1","WebhookEvent":"LeadActivity_Post_Create","URL":"u","StatusCode":2,
                "WebhookProperties":"{\"ActivityEvent\":\"205\"}"}"#,
            "1 Some(LeadActivityCreate) Some(205) u DisabledAfterFailures",
        );
        check(
            r#"{"Id":1,"WebhookEvent":6,"Url":"u","StatusCode":"1","WebhookProperties":null,"More":[1]}"#,
            "1 Some(LeadUpdate) None u DisabledByHand",
        );
        check(
            r#"{"Id":"2","WebhookEvent":"Lead_Delete"}"#,
            "2 None None  Enabled",
        );
    }
}
