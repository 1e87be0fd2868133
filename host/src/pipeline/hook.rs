//! What becomes of the entries of a webhook.

use super::Pipeline;
use crate::flow::{AccountId, WebhookEvent};
use crate::leadsquared::webhook::Entry;
use crate::store;

impl Pipeline {
    /// Keeps entries as messages for the flows that they set going; gives how many are durable.
    ///
    /// # Errors
    /// When they are not durable: LeadSquared tries again.
    pub async fn receive_hook(
        &self,
        _account: &AccountId,
        _event: Option<WebhookEvent>,
        entries: Vec<Entry>,
    ) -> Result<usize, store::Error> {
        match entries.len() {
            0 => Ok(0),
            _ => Err(store::Error::Unavailable(
                "changes in LeadSquared are not taken by this program yet".into(),
            )),
        }
    }
}
