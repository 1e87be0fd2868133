//! How long a channel's messages are kept, by what became of them.
//!
//! Plain data and the arithmetic of it; the store walks and deletes. What is unfinished is never due: queued, running,
//! waiting and parked deliveries, and dead ones that hold their patient's lane. Links between identifiers and records
//! outlive every message.

use std::collections::HashMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{AccountId, Channel, ChannelId};

const HOUR_MS: i64 = 60 * 60 * 1_000;
const DAY_MS: i64 = 24 * HOUR_MS;

/// How long each outcome is kept; counted from when the message came or, where that is later, from when its last
/// delivery came to an end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Retention {
    /// Hours after which a message that no flow takes keeps only its header facts. 0 is as soon as possible.
    pub unclaimed_hours: u32,
    pub delivered_days: Days,
    /// Of messages that a component or a flow's behaviour skipped.
    pub skipped_days: Days,
    /// Of messages that failed for good and that nobody released: longer, so that a person finds them.
    pub dead_days: Days,
    /// Of header facts without a message: what was excluded, and what no flow took.
    pub header_facts_days: Days,
}

impl Default for Retention {
    /// A month is long enough to answer what became of an appointment, a quarter to find what failed.
    fn default() -> Self {
        Self {
            unclaimed_hours: 24,
            delivered_days: Days(30),
            skipped_days: Days(30),
            dead_days: Days(90),
            header_facts_days: Days(90),
        }
    }
}

/// A number of days from 1 to 36,500, which is a hundred years.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(try_from = "u32", into = "u32")]
#[schema(value_type = u32, minimum = 1, maximum = 36_500)]
pub struct Days(u32);

/// A number of days that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0} is no number of days to keep messages: write 1 to 36500")]
pub struct NotDays(u32);

impl TryFrom<u32> for Days {
    type Error = NotDays;

    fn try_from(days: u32) -> Result<Self, NotDays> {
        match days {
            1..=36_500 => Ok(Self(days)),
            _ => Err(NotDays(days)),
        }
    }
}

impl From<Days> for u32 {
    fn from(days: Days) -> Self {
        days.0
    }
}

/// What became of a message; of several deliveries the worst counts, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    Delivered,
    Skipped,
    Dead,
    /// No flow takes it, and all of it is still kept.
    Unclaimed,
    /// Only its header facts are kept.
    HeaderFacts,
}

impl Outcome {
    pub const ALL: [Outcome; 5] = [
        Outcome::Delivered,
        Outcome::Skipped,
        Outcome::Dead,
        Outcome::Unclaimed,
        Outcome::HeaderFacts,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::Delivered => "delivered",
            Outcome::Skipped => "skipped",
            Outcome::Dead => "dead",
            Outcome::Unclaimed => "unclaimed",
            Outcome::HeaderFacts => "header-facts",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Retention {
    /// How long a message with this outcome is kept, in milliseconds.
    pub fn keep_ms(&self, outcome: Outcome) -> i64 {
        let days = match outcome {
            Outcome::Delivered => self.delivered_days,
            Outcome::Skipped => self.skipped_days,
            Outcome::Dead => self.dead_days,
            Outcome::Unclaimed => return i64::from(self.unclaimed_hours) * HOUR_MS,
            Outcome::HeaderFacts => self.header_facts_days,
        };
        i64::from(days.0) * DAY_MS
    }
}

/// The retention of every channel; what is left of a channel that is gone has the defaults.
#[derive(Debug, Clone, Default)]
pub struct Policies {
    channels: HashMap<(AccountId, ChannelId), Retention>,
    default: Retention,
}

impl Policies {
    pub fn of<'a>(channels: impl IntoIterator<Item = &'a Channel>) -> Self {
        let key = |channel: &Channel| (channel.account.clone(), channel.id.clone());
        Self {
            channels: channels
                .into_iter()
                .map(|channel| (key(channel), channel.retention.clone()))
                .collect(),
            default: Retention::default(),
        }
    }

    pub fn channel(&self, account: &AccountId, channel: &ChannelId) -> &Retention {
        self.channels
            .get(&(account.clone(), channel.clone()))
            .unwrap_or(&self.default)
    }

    /// The shortest time that any channel keeps this outcome: nothing younger needs to be looked at.
    pub fn shortest_ms(&self, outcome: Outcome) -> i64 {
        self.channels
            .values()
            .chain([&self.default])
            .map(|retention| retention.keep_ms(outcome))
            .min()
            .unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_has_a_default_and_days_have_bounds() {
        let read: Retention = toml::from_str("delivered_days = 7\nunclaimed_hours = 0").unwrap();
        let days = |outcome| read.keep_ms(outcome) / DAY_MS;
        assert_eq!(Outcome::ALL.map(days), [7, 30, 90, 0, 90]);
        for wrong in ["delivered_days = 0", "dead_days = 36501", "skiped_days = 3"] {
            assert!(toml::from_str::<Retention>(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn channels_have_their_own() {
        let channel: Channel = toml::from_str(
            "id = \"adt\"\naccount = \"a\"\nname = \"ADT\"\naddress = 0\nretention = { delivered_days = 3 }",
        )
        .unwrap();
        let policies = Policies::of([&channel]);
        let keep = |account: &str, channel: &str| {
            let retention = policies.channel(&account.into(), &channel.into());
            retention.keep_ms(Outcome::Delivered) / DAY_MS
        };
        assert_eq!(
            [keep("a", "adt"), keep("b", "adt"), keep("a", "gone")],
            [3, 30, 30]
        );
        assert_eq!(policies.shortest_ms(Outcome::Delivered), 3 * DAY_MS);
        assert_eq!(policies.shortest_ms(Outcome::Dead), 90 * DAY_MS);
    }
}
