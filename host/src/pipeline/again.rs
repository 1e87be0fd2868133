//! A kept message sent through its flow once more: as it came or edited, with the release in force or with that of then.
//!
//! It becomes a message of its own that names the one it was made from; what was kept stays as it is. Start at
//! [`Pipeline::send_again`].

use jiff::Zoned;

use super::account::Error;
use super::configuration::{Configuration, InForce, Route as FlowRoute};
use super::judge::Stop;
use super::{Pipeline, hook, intake};
use crate::flow::{Digest, Direction, FlowId, MessageId, WebhookEvent};
use crate::hl7::Message;
use crate::leadsquared::webhook;
use crate::store::journal::{Arrival, MessageView, Origin, Route};

/// How a message is sent again.
#[derive(Debug, Default)]
pub struct Again {
    /// Through this flow alone; through all that take it if left out.
    pub flow: Option<FlowId>,
    /// Through this release instead of the one in force.
    pub pinned: Option<Digest>,
    /// What is sent in the place of what was kept, a line for each segment.
    pub edited: Option<String>,
}

impl Pipeline {
    /// Keeps a new message made from `view`, and gives its id; it is delivered like any other.
    ///
    /// # Errors
    /// `Refused` says why it cannot be sent, or why no flow would take it.
    pub async fn send_again(&self, view: &MessageView, again: Again) -> Result<MessageId, Error> {
        let configuration = self.configuration();
        let is_change = view.message.direction == Direction::LeadSquaredToEhr.as_str();
        let made = match is_change {
            true => of_change(&configuration, view, &again),
            false => of_message(&configuration, view, &again),
        };
        let mut arrival = made.map_err(Error::Refused)?;
        match &mut arrival.route {
            Route::Flows(flows) => {
                flows.retain(|routed| again.flow.as_ref().is_none_or(|flow| *flow == routed.flow));
                if flows.is_empty() {
                    let text = "the flow does not take this message any more: look at its event, channel and state";
                    return Err(Error::Refused(text.into()));
                }
            }
            Route::Excluded { text, .. }
            | Route::Skipped { text, .. }
            | Route::Rejected { text, .. } => {
                return Err(Error::Refused(format!(
                    "nothing would become of it: {text}"
                )));
            }
        }
        arrival.duplicate = None;
        arrival.acknowledgement = Vec::new();
        arrival.origin = Some(Origin {
            message: view.message.id.clone(),
            pinned: again.pinned,
        });
        let id = arrival.id.clone();
        Box::pin(self.append(vec![arrival])).await?;
        Ok(id)
    }

    /// The release that a delivery goes through: the flow's own, or the one that it is pinned to.
    pub(super) async fn release_for(
        &self,
        route: &FlowRoute,
        pinned: Option<&Digest>,
    ) -> Result<InForce, Stop> {
        let own = route.in_force.as_ref();
        let Some(pinned) = pinned.filter(|pinned| own.is_none_or(|own| own.digest != **pinned))
        else {
            return own.cloned().ok_or(Stop::NoRelease);
        };
        let flow = &route.flow;
        let release = self.store.catalog().release(&flow.account, pinned).await;
        let release = release.map_err(Stop::Store)?;
        let release = release
            .filter(|release| release.flow == flow.id)
            .ok_or(Stop::NoRelease)?;
        let loading = InForce::load(&self.store, &self.runtime, flow, release);
        Box::pin(loading).await.map_err(|_| Stop::NoRelease)
    }
}

fn of_message(
    configuration: &Configuration,
    view: &MessageView,
    again: &Again,
) -> Result<Arrival, String> {
    let payload = view.payload.as_deref();
    let payload = payload.ok_or("of this message the header facts alone are kept")?;
    let mut channels = configuration.channels.iter();
    let channel = channels.find(|channel| channel.id == view.message.channel);
    let channel = channel.ok_or("its channel is gone")?;
    let now = Zoned::now();
    let bytes = match &again.edited {
        None => payload.to_vec(),
        Some(text) => {
            let text = text.replace("\r\n", "\r").replace('\n', "\r");
            let kept = Message::parse_with(payload, channel.reading());
            match kept {
                Ok(kept) => kept.charset().bytes_of(&text),
                Err(_) => text.into_bytes(),
            }
        }
    };
    Message::parse_with(&bytes, channel.reading())
        .map_err(|fault| format!("what was edited is no HL7 message: {fault}"))?;
    let (arrival, _) = intake::examine(configuration, channel, &bytes, &now);
    Ok(arrival)
}

fn of_change(
    configuration: &Configuration,
    view: &MessageView,
    again: &Again,
) -> Result<Arrival, String> {
    if again.edited.is_some() {
        return Err("what LeadSquared told is not edited here: change it there".into());
    }
    let payload = view.payload.as_deref();
    let payload = payload.ok_or("what LeadSquared told is no longer kept")?;
    let event = WebhookEvent::parse(&view.message.event).ok_or("its event is not known")?;
    let parsed = webhook::parse(payload).ok();
    let entry = parsed.and_then(|parsed| parsed.entries.into_iter().next());
    let entry = entry.ok_or("what LeadSquared told cannot be read")?;
    Ok(hook::arrival(
        configuration,
        &view.message.account,
        event,
        entry,
    ))
}
