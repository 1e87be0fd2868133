//! What becomes of the entries of a webhook: each is a message of its own, in the lane of its lead.

use jiff::Timestamp;
use sha2::{Digest as _, Sha256};
use tracing::warn;

use super::Pipeline;
use super::admission::start;
use super::configuration::Configuration;
use super::poll::sightings::Sightings;
use crate::flow::{AccountId, ChannelId, Direction, MessageId, WebhookEvent};
use crate::leadsquared;
use crate::leadsquared::webhook::{Entry, Payload, Unreadable};
use crate::store;
use crate::store::journal::{Appended, Arrival, DuplicateKey, Route, Routed};

/// The channel of what LeadSquared tells; no administrator makes it.
pub fn channel() -> ChannelId {
    "leadsquared".into()
}

impl Pipeline {
    /// Keeps entries as messages for the flows that they set going, and those that cannot be read for people to look at, all
    /// of them or none; gives how many are new. `said` is what the address tells of them.
    ///
    /// # Errors
    /// When they are not durable: LeadSquared tries again.
    pub async fn receive_hook(
        &self,
        account: &AccountId,
        said: Option<leadsquared::WebhookEvent>,
        payload: Payload,
    ) -> Result<usize, store::Error> {
        let Payload {
            entries,
            unreadable,
        } = payload;
        let configuration = self.configuration();
        let leads = entries.iter().filter(|entry| entry.activity.is_none());
        let leads = leads.map(|entry| entry.lead_id.as_str()).collect();
        let mut sightings = match Sightings::are_kept(&configuration, account) {
            true => Some(Sightings::load(self, &configuration, account, leads).await?),
            false => None,
        };
        let arrivals = entries.into_iter().map(|entry| {
            let event = entry.event(said).into();
            let sightings = sightings.as_mut();
            let is_late = sightings.is_some_and(|sightings| sightings.told(event, &entry));
            let arrival = arrival(&configuration, account, event, entry);
            match is_late {
                true => Arrival {
                    route: Route::Skipped {
                        reason: "told-by-poll",
                        text: "a reading of the account told of this change already".into(),
                    },
                    ..arrival
                },
                false => arrival,
            }
        });
        let unreadable = unreadable
            .into_iter()
            .map(|(fault, raw)| self::unreadable(account, &fault, raw));
        let arrivals = arrivals.chain(unreadable).collect();
        let appended = self.append(arrivals).await?;
        if let Some(sightings) = sightings
            && let Err(fault) = sightings.keep().await
        {
            // The next reading tells of it again, and what says the same is not sent.
            warn!(%account, %fault, "it was not noted that webhooks have told");
        }
        let new = appended
            .iter()
            .filter(|appended| **appended == Appended::Stored);
        Ok(new.count())
    }
}

/// An entry of which nothing can be told, kept as an unreadable message of an EHR is.
fn unreadable(account: &AccountId, fault: &Unreadable, raw: Vec<u8>) -> Arrival {
    let route = Route::Rejected {
        reason: "unreadable",
        text: fault.to_string(),
    };
    bare(account, "unreadable", raw, route)
}

/// An entry as it came, with nothing read of it. The same one again is a repetition where `about` is the same, too;
/// LeadSquared numbers nothing.
fn bare(account: &AccountId, about: &str, raw: Vec<u8>, route: Route) -> Arrival {
    let digest: [u8; 32] = Sha256::digest(&raw).into();
    Arrival {
        id: MessageId::generate(),
        account: account.clone(),
        channel: channel(),
        direction: Direction::LeadSquaredToEhr,
        received_at_ms: Timestamp::now().as_millisecond(),
        duplicate: Some(DuplicateKey {
            identity: format!("{about}|{}", crate::flow::release::hex(&digest)),
            payload: digest,
        }),
        control_id: String::new(),
        event: String::new(),
        sender: "LeadSquared".into(),
        version: String::new(),
        lanes: Vec::new(),
        search: Vec::new(),
        acknowledgement: Vec::new(),
        payload: raw,
        facts_only: false,
        warnings: String::new(),
        peer: String::new(),
        load: None,
        origin: None,
        route,
    }
}

/// A change of one record.
pub(super) fn arrival(
    configuration: &Configuration,
    account: &AccountId,
    event: WebhookEvent,
    entry: Entry,
) -> Arrival {
    let id = entry.entity_id().to_owned();
    let code = entry.activity.as_ref().map(|activity| activity.code);
    let takers = configuration
        .senders(account, event, code)
        .map(|route| Routed {
            flow: route.flow.id.clone(),
            rank: route.flow.priority().into(),
            start: start(&route.flow.status),
        });
    let routed: Vec<Routed> = takers.collect();
    let route = match routed.is_empty() {
        false => Route::Flows(routed),
        true => Route::Skipped {
            reason: "no-flow",
            text: match code {
                Some(code) => format!("no flow takes {event} of activity type {code}"),
                None => format!("no flow takes {event}"),
            },
        },
    };
    let mut search = vec![entry.lead_id.clone()];
    if entry.activity.is_some() {
        search.push(id.clone());
    }
    // Changes of one record lie side by side.
    let about = format!("{event}|{id}");
    Arrival {
        control_id: id,
        event: event.as_str().into(),
        lanes: vec![entry.lead_id],
        search,
        ..bare(account, &about, entry.raw, route)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::leadsquared::webhook::parse;

    #[test]
    fn an_entry_becomes_a_message_in_the_lane_of_its_lead() {
        let body = br#"[{"ProspectActivityId":"A1","RelatedProspectId":"L1","ActivityEvent":"205","Data":{"Status":"Booked"}}]"#;
        let entry = || parse(body).unwrap().entries.remove(0);
        let event = WebhookEvent::LeadActivityCreate;
        let arrival =
            |entry| super::arrival(&Configuration::default(), &"clinic".into(), event, entry);
        let (first, again) = (arrival(entry()), arrival(entry()));
        assert_eq!(first.lanes, ["l1"]);
        assert_eq!(first.event, "lead-activity-create");
        assert!(first.search.contains(&first.control_id));
        assert!(
            matches!(first.route, Route::Skipped { ref text, .. } if text.ends_with("type 205"))
        );
        let identity =
            |arrival: &Arrival| arrival.duplicate.as_ref().map(|key| key.identity.clone());
        assert_eq!(identity(&first), identity(&again));
        let mut other = entry();
        other.raw.push(b' ');
        assert_ne!(
            identity(&first),
            identity(&super::arrival(
                &Configuration::default(),
                &"clinic".into(),
                event,
                other
            ))
        );
    }
}
