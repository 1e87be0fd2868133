//! An event type, written `ADT^A04`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

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
