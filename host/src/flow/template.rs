//! The sample message that a flow is built on: its tree is what the mapping screen shows, its values stand beside the
//! fields, and outbound it is the message to fill.
//!
//! De-identified unless it was made up, or somebody who may see patient data keeps the original; that one is masked wherever
//! it is shown and never exported. The store seals all of them.

use std::fmt;

use super::{AccountId, Event, Flow, FlowId};
use crate::hl7::deidentify::{deidentify, mask};
use crate::hl7::validate::{Finding, validate};
use crate::hl7::{self, Message};

/// A sample message of one flow.
#[derive(Clone, PartialEq, Eq)]
pub struct Template {
    pub account: AccountId,
    pub flow: FlowId,
    /// The event that it was chosen for.
    pub event: Event,
    pub kept: Kept,
    bytes: Vec<u8>,
}

/// What a template is of a message from traffic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// The same shape with other values.
    Deidentified,
    /// As it was written, about nobody: whoever brought it says so.
    MadeUp,
    /// As it came; patient data.
    Original,
}

impl Kept {
    /// The word kept in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            Kept::Deidentified => "deidentified",
            Kept::MadeUp => "made-up",
            Kept::Original => "original",
        }
    }

    /// Reads the word again; what is not known counts as patient data.
    pub fn parse(word: &str) -> Self {
        match word {
            "deidentified" => Kept::Deidentified,
            "made-up" => Kept::MadeUp,
            _ => Kept::Original,
        }
    }
}

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Template")
            .field("flow", &self.flow)
            .field("event", &self.event)
            .field("kept", &self.kept)
            .field("size_bytes", &self.bytes.len())
            .finish_non_exhaustive()
    }
}

impl Template {
    /// Makes a template of `message` with other values in the same shape.
    pub fn deidentified(flow: &Flow, message: &Message) -> Self {
        Self::of(flow, Kept::Deidentified, deidentify(message))
    }

    /// Keeps a `message` that tells about nobody as it is.
    pub fn made_up(flow: &Flow, message: &Message) -> Self {
        Self::of(flow, Kept::MadeUp, message.to_bytes())
    }

    /// Keeps `message` as it is. The caller has made sure that whoever asks may see patient data.
    pub fn original(flow: &Flow, message: &Message) -> Self {
        Self::of(flow, Kept::Original, message.to_bytes())
    }

    fn of(flow: &Flow, kept: Kept, bytes: Vec<u8>) -> Self {
        Self {
            account: flow.account.clone(),
            flow: flow.id.clone(),
            event: flow.event.clone(),
            kept,
            bytes,
        }
    }

    /// Puts a template together again from what was sealed.
    pub fn restored(
        account: AccountId,
        flow: FlowId,
        event: Event,
        kept: Kept,
        bytes: Vec<u8>,
    ) -> Self {
        Self {
            account,
            flow,
            event,
            kept,
            bytes,
        }
    }

    /// What is sealed, and what a flow fills: patient data if it is an original.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// What a person sees: of an original only the shape.
    ///
    /// # Errors
    /// The bytes are no message; templates are made of messages only.
    pub fn shown(&self) -> Result<Vec<u8>, hl7::Error> {
        match self.kept {
            Kept::Deidentified | Kept::MadeUp => Ok(self.bytes.clone()),
            Kept::Original => Ok(mask(&Message::parse(&self.bytes)?)),
        }
    }

    /// What goes into files; nothing of an original.
    pub fn exported(&self) -> Option<&[u8]> {
        match self.kept {
            Kept::Deidentified | Kept::MadeUp => Some(&self.bytes),
            Kept::Original => None,
        }
    }
}

/// In what a sample differs from what its flow's event calls for, with offsets and without values; empty is best.
pub fn findings(message: &Message, event: &Event) -> Vec<Finding> {
    validate(message, &event.message_code, &event.trigger_event)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "MSH|^~\\&|A|B|C|D|20260301||ADT^A04|1|P|2.5.1\rPID|1||77||Fenwick^Odalys\r";

    fn flow() -> Flow {
        toml::from_str(
            "id = \"f\"\naccount = \"a\"\nname = \"F\"\ndirection = \"ehr-to-leadsquared\"\nchannel = \"c\"\n\
             event = \"ADT^A04\"\nentity = \"lead\"\nprimary_search_field = \"mx_MRN\"",
        )
        .unwrap()
    }

    fn text(bytes: &[u8]) -> &str {
        std::str::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_template_is_deidentified_and_can_be_shown_and_exported() {
        let template = Template::deidentified(&flow(), &Message::parse(TEXT.as_bytes()).unwrap());
        assert!(!text(template.bytes()).contains("Fenwick"));
        assert_eq!(template.shown().unwrap(), template.bytes());
        assert_eq!(template.exported(), Some(template.bytes()));
    }

    #[test]
    fn an_original_is_masked_and_never_exported() {
        let template = Template::original(&flow(), &Message::parse(TEXT.as_bytes()).unwrap());
        assert_eq!(template.bytes(), TEXT.as_bytes());
        assert!(text(&template.shown().unwrap()).contains("PID|1||99||Xxxxxxx^Xxxxxx"));
        assert_eq!(template.exported(), None);
        assert!(!format!("{template:?}").contains("Fenwick"));
        assert_eq!(Kept::parse("of a newer program"), Kept::Original);
    }

    #[test]
    fn what_was_made_up_stays_as_it_is() {
        let template = Template::made_up(&flow(), &Message::parse(TEXT.as_bytes()).unwrap());
        assert_eq!(template.shown().unwrap(), TEXT.as_bytes());
        assert_eq!(template.exported(), Some(TEXT.as_bytes()));
        assert_eq!(Kept::parse(Kept::MadeUp.as_str()), Kept::MadeUp);
    }

    #[test]
    fn a_sample_is_compared_with_the_event_of_its_flow() {
        let message = Message::parse(TEXT.as_bytes()).unwrap();
        assert_eq!(findings(&message, &Event::new("ADT", "A04")), []);
        assert_eq!(findings(&message, &Event::new("ADT", "A08")).len(), 1);
    }
}
