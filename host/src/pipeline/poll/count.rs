//! How much a flow to the EHR would have sent of late: what a person is told before a flow without a condition runs.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::timeout;

use crate::flow::{Entity, Flow, WebhookEvent};
use crate::leadsquared::recent::{At, Between};
use crate::leadsquared::{self, Client};
use crate::pipeline::Pipeline;
use crate::pipeline::account::Error;
use crate::sync::sending::instant_ms;

const DAYS: i64 = 7;

/// Leads of one page, the most that LeadSquared gives.
const PAGE: u32 = 5_000;

/// Pages that are read: beyond that it is "more than".
const PAGES: u32 = 4;

/// A person waits.
const PATIENCE: Duration = Duration::from_secs(15);

/// How many there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Count {
    Exactly(usize),
    MoreThan(usize),
}

impl Pipeline {
    /// Says how many leads of the last 7 days a flow without a condition would have sent, or why that is not known.
    pub async fn would_have_sent(&self, flow: &Flow) -> String {
        let asking = async {
            let entry = self.entry(&flow.account)?;
            count(&entry.client, flow).await.map_err(Error::from)
        };
        let counted = match timeout(PATIENCE, asking).await {
            Ok(counted) => counted,
            Err(_) => Err(Error::Refused(
                "LeadSquared takes too long to answer".into(),
            )),
        };
        sentence(flow, counted)
    }
}

async fn count(client: &Client, flow: &Flow) -> Result<Count, leadsquared::Error> {
    let to = Timestamp::now();
    let from = to - SignedDuration::from_hours(24 * DAYS);
    let between = Between { from, to };
    if let Some(activity) = &flow.activity {
        let changed = client.count_activities(activity.code, between).await?;
        return Ok(Count::Exactly(changed));
    }
    let event = flow.outbound.as_ref().map(|outbound| outbound.webhook);
    let column = match event {
        Some(WebhookEvent::LeadCreate) => "CreatedOn",
        // A new activity moves a lead up as well, and is no change of it.
        _ => "ModifiedOn",
    };
    let from_ms = from.as_millisecond();
    let mut counted = 0;
    for page in 1..=PAGES {
        let at = At { page, size: PAGE };
        let read = client.recently_modified(between, &[column], at).await?;
        let times = read.leads.iter().filter_map(|lead| lead.get(column));
        let times = times.filter_map(instant_ms);
        counted += times.filter(|at_ms| *at_ms >= from_ms).count();
        if read.leads.is_empty() || page as usize * PAGE as usize >= read.total {
            return Ok(Count::Exactly(counted));
        }
    }
    Ok(Count::MoreThan(counted))
}

fn sentence(flow: &Flow, counted: Result<Count, Error>) -> String {
    let what = match (flow.entity, &flow.activity) {
        (Entity::Activity, Some(activity)) => format!("activities of type {}", activity.code),
        _ => "leads".into(),
    };
    match counted {
        Ok(Count::Exactly(count)) => {
            format!("of the last {DAYS} days, that would have been {count} {what}")
        }
        Ok(Count::MoreThan(count)) => {
            format!("of the last {DAYS} days, that would have been more than {count} {what}")
        }
        Err(fault) => {
            let fault = fault.to_string();
            let fault = fault.trim_end_matches('.');
            format!(
                "how many {what} of the last {DAYS} days that would have been is not known: {fault}"
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_is_told_in_words() {
        let flow = |more: &str| -> Flow {
            let text = format!(
                "id = \"f\"\naccount = \"a\"\nname = \"F\"\ndirection = \"leadsquared-to-ehr\"\nchannel = \"c\"\nevent = \"ADT^A08\"\n{more}"
            );
            toml::from_str(&text).unwrap()
        };
        let lead = flow("entity = \"lead\"");
        let activity = flow("entity = \"activity\"\nactivity = { code = 205 }");
        insta::assert_snapshot!(sentence(&lead, Ok(Count::Exactly(42))), @"of the last 7 days, that would have been 42 leads");
        insta::assert_snapshot!(sentence(&activity, Ok(Count::MoreThan(20_000))), @"of the last 7 days, that would have been more than 20000 activities of type 205");
        let fault = Error::Refused("LeadSquared takes too long to answer".into());
        insta::assert_snapshot!(sentence(&lead, Err(fault)), @"how many leads of the last 7 days that would have been is not known: LeadSquared takes too long to answer");
    }
}
