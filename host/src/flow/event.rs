//! An event type, written `ADT^A04`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

use crate::hl7::dictionary;

/// Message code and trigger event, as in MSH-9.1 and MSH-9.2.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Event {
    pub message_code: String,
    pub trigger_event: String,
}

impl Event {
    pub fn new(message_code: &str, trigger_event: &str) -> Self {
        Self {
            message_code: message_code.into(),
            trigger_event: trigger_event.into(),
        }
    }

    /// What the dictionary calls it, such as `A04 - Register a patient`; none for an event of the sender's own.
    pub fn label(&self) -> Option<String> {
        dictionary::event(&self.message_code, &self.trigger_event).map(|event| event.label())
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.trigger_event.is_empty() {
            f.write_str(&self.message_code)
        } else {
            write!(f, "{}^{}", self.message_code, self.trigger_event)
        }
    }
}

/// Written as text, which no derived schema can know.
impl PartialSchema for Event {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .pattern(Some("^[A-Za-z0-9]+\\^[A-Za-z0-9]+$"))
            .examples([serde_json::json!("ADT^A04")])
            .into()
    }
}

impl ToSchema for Event {}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("event {0:?} is not of the form ADT^A04")]
pub struct Malformed(String);

impl FromStr for Event {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let (code, trigger) = text.split_once('^').ok_or_else(|| Malformed(text.into()))?;
        let plain =
            |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric());
        if plain(code) && plain(trigger) {
            Ok(Self::new(code, trigger))
        } else {
            Err(Malformed(text.into()))
        }
    }
}

impl TryFrom<String> for Event {
    type Error = Malformed;

    fn try_from(text: String) -> Result<Self, Malformed> {
        text.parse()
    }
}

impl From<Event> for String {
    fn from(event: Event) -> Self {
        event.to_string()
    }
}
