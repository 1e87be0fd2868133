//! Existing data that is put through a flow: what it is, and how far it has come.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{AccountId, FlowId};

/// One load of existing data through one flow.
#[derive(Clone, PartialEq, Eq)]
pub struct Load {
    pub id: String,
    pub account: AccountId,
    pub flow: FlowId,
    pub state: State,
    pub what: What,
    /// Messages or leads that have become messages of the journal.
    pub taken: u64,
    pub total: u64,
    pub created_at_ms: i64,
    pub updated_at_ms: i64,
}

/// Where a load stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// It is not known yet what is to be loaded: messages are being sent to the host, or leads being listed.
    Collecting,
    /// Everything is there, and somebody is to say that it begins.
    Ready,
    Running,
    Paused,
    /// Everything has become messages; their deliveries may still be under way.
    Done,
    Cancelled,
    /// The leads could not be listed.
    Failed,
}

/// What a load consists of.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct What {
    /// The leads of a flow to the EHR; none for messages.
    #[serde(default)]
    pub leads: Option<Leads>,
    /// Messages that were left out, by reason.
    #[serde(default)]
    pub left_out: BTreeMap<String, u64>,
    /// Why it failed.
    #[serde(default)]
    pub error: Option<String>,
}

/// Which leads are loaded; the flow's condition holds besides.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Leads {
    /// Those that were changed, or had an activity, in a time.
    Changed {
        /// RFC 3339.
        from: String,
        /// RFC 3339; now if left out.
        #[serde(default)]
        to: Option<String>,
    },
    /// Those whose field holds a value.
    Field { name: String, value: String },
}

impl State {
    pub const ALL: [State; 7] = [
        State::Collecting,
        State::Ready,
        State::Running,
        State::Paused,
        State::Done,
        State::Cancelled,
        State::Failed,
    ];

    /// The word kept in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Collecting => "collecting",
            State::Ready => "ready",
            State::Running => "running",
            State::Paused => "paused",
            State::Done => "done",
            State::Cancelled => "cancelled",
            State::Failed => "failed",
        }
    }

    /// Reads the word again.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == word)
    }

    /// Whether nothing comes of it any more.
    pub fn is_final(self) -> bool {
        matches!(self, State::Done | State::Cancelled | State::Failed)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Load {
    /// Leaves out what a filter says, which may be about a patient.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Load")
            .field("id", &self.id)
            .field("flow", &self.flow)
            .field("state", &self.state)
            .field("taken", &self.taken)
            .field("total", &self.total)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("What")
            .field("leads", &self.leads)
            .field("left_out", &self.left_out)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Leads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Leads::Changed { from, to } => write!(f, "Changed({from}, {to:?})"),
            Leads::Field { name, .. } => write!(f, "Field({name}, redacted)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_read_as_they_are_written() {
        for state in State::ALL {
            assert_eq!(State::parse(state.as_str()), Some(state));
        }
        assert_eq!(State::parse("elsewhere"), None);
    }

    #[test]
    fn a_filter_shows_no_value() {
        let leads: Leads =
            serde_json::from_str(r#"{"field":{"name":"EmailAddress","value":"ana@example.com"}}"#)
                .unwrap();
        assert_eq!(format!("{leads:?}"), "Field(EmailAddress, redacted)");
        let since: Leads =
            serde_json::from_str(r#"{"changed":{"from":"2026-01-01T00:00:00Z"}}"#).unwrap();
        assert_eq!(format!("{since:?}"), "Changed(2026-01-01T00:00:00Z, None)");
    }
}
