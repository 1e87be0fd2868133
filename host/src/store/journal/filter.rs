//! Which messages are listed, and a page of them.

use super::{MessageRow, State, first_id};
use crate::flow::{AccountId, FlowId, MessageId};

/// Sorts behind every UUID.
const PAST_ALL_IDS: &str = "~";

/// Which messages a page lists; each part that is set narrows it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    pub account: Option<AccountId>,
    /// Messages with a delivery through this flow.
    pub flow: Option<FlowId>,
    /// Messages with a delivery in this state.
    pub state: Option<State>,
    /// Messages with a delivery that did not go through, by the code of its reason.
    pub reason: Option<String>,
    /// Messages that came then or later.
    pub from_ms: Option<i64>,
    /// Messages that came before.
    pub to_ms: Option<i64>,
}

impl Filter {
    /// The ids between which the messages lie, and their deliveries.
    pub(super) fn ids(&self, before: Option<&MessageId>) -> (String, String) {
        let low = self.from_ms.map_or_else(String::new, first_id);
        let high = self.to_ms.map_or_else(|| PAST_ALL_IDS.to_owned(), first_id);
        let before = before.map_or(PAST_ALL_IDS, MessageId::as_str);
        (low, high.min(before.to_owned()))
    }

    /// Whether a message has a delivery as it is asked for.
    pub(super) fn lets(&self, message: &MessageRow) -> bool {
        let is_bare = self.flow.is_none() && self.state.is_none() && self.reason.is_none();
        let mut deliveries = message.deliveries.iter();
        is_bare
            || deliveries.any(|delivery| {
                self.flow.as_ref().is_none_or(|flow| *flow == delivery.flow)
                    && self.state.is_none_or(|state| state == delivery.state)
                    && self
                        .reason
                        .as_ref()
                        .is_none_or(|reason| *reason == delivery.reason)
            })
    }
}

/// A page of messages, newest first.
#[derive(Debug, Clone)]
pub struct Page {
    pub rows: Vec<MessageRow>,
    /// What to pass as `before` for the next page; none at the end.
    pub next: Option<MessageId>,
}

impl Page {
    /// Up to `limit` rows; as many as that are not the last.
    pub(super) fn of(rows: Vec<MessageRow>, limit: usize) -> Self {
        let next = match rows.last() {
            Some(last) if rows.len() == limit => Some(last.id.clone()),
            _ => None,
        };
        Self { rows, next }
    }
}
