//! What the EHR was told to do with the next messages.

use serde::{Deserialize, Serialize};

/// One thing to do instead of an honest answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mood {
    pub kind: Kind,
    /// For how many messages; none is for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u32>,
    /// Only for messages of this event, such as `ADT^A08`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<String>,
    /// Wait so long before anything goes back, in milliseconds.
    #[serde(default)]
    pub delay_ms: u64,
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Answer honestly; with a delay, late.
    Honest,
    /// Application accept, whatever is asked for.
    Aa,
    /// Application error: it may be sent again.
    Ae,
    /// Application reject.
    Ar,
    /// Commit accept, and no application acknowledgement behind it.
    Ca,
    /// Commit error.
    Ce,
    /// Commit reject.
    Cr,
    /// AA for another message's control id.
    Foreign,
    /// An acknowledgement without MSA.
    NoMsa,
    /// An acknowledgement with a code that no table has.
    UnknownCode,
    /// A frame with something that is no HL7 in it.
    Rubbish,
    /// Bytes that are no frame.
    Noise,
    /// Nothing, and the connection stays.
    Silent,
    /// The connection is closed without an answer.
    Drop,
    /// The connection is closed in the middle of the answer.
    Half,
}

impl Mood {
    /// The same for every message from now on.
    pub fn always(kind: Kind) -> Self {
        Self {
            kind,
            count: None,
            event: None,
            delay_ms: 0,
        }
    }

    /// For the next message.
    pub fn once(kind: Kind) -> Self {
        Self {
            count: Some(1),
            ..Self::always(kind)
        }
    }

    /// The same for the next `count` messages.
    pub fn times(self, count: u32) -> Self {
        Self {
            count: Some(count),
            ..self
        }
    }

    /// The same, later.
    pub fn after_ms(self, delay_ms: u64) -> Self {
        Self { delay_ms, ..self }
    }
}

impl Kind {
    /// The code that it answers with, where it is one.
    pub(super) fn code(self) -> Option<&'static str> {
        Some(match self {
            Kind::Aa => "AA",
            Kind::Ae => "AE",
            Kind::Ar => "AR",
            Kind::Ca => "CA",
            Kind::Ce => "CE",
            Kind::Cr => "CR",
            _ => return None,
        })
    }
}

/// What is still to be done, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Moods(Vec<Mood>);

impl Moods {
    pub(super) fn add(&mut self, mood: Mood) {
        if mood.count != Some(0) {
            self.0.push(mood);
        }
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    pub(super) fn all(&self) -> &[Mood] {
        &self.0
    }

    /// What to do with a message of `event`.
    pub(super) fn next(&mut self, event: &str) -> Mood {
        let fits = |mood: &Mood| mood.event.as_deref().is_none_or(|wanted| wanted == event);
        let Some(at) = self.0.iter().position(fits) else {
            return Mood::always(Kind::Honest);
        };
        let mood = self.0[at].clone();
        if let Some(count) = &mut self.0[at].count {
            *count -= 1;
            if *count == 0 {
                self.0.remove(at);
            }
        }
        mood
    }
}
