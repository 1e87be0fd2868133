//! The list of flows: what each does, how it stands, and what waits.

use std::collections::HashMap;

use askama::Template;
use axum::extract::State;
use axum::response::Response;

use super::show::Time;
use super::visit::{Frame, Visit, html};
use crate::flow::{AccountId, Behaviour, Direction, Entity, Flow, FlowId, Status};
use crate::store::journal::{self, Filter};
use crate::web::Web;
use crate::web::fault::Fault;

#[derive(Template)]
#[template(path = "flows.html")]
struct FlowsPage {
    frame: Frame,
    flows: Vec<Line>,
    has_channel: bool,
}

struct Line {
    id: String,
    name: String,
    direction: &'static str,
    event: String,
    entity: &'static str,
    channel: String,
    release: String,
    state: &'static str,
    reason: String,
    last: Option<Time>,
    delivered: u64,
    waiting: u64,
    failed: u64,
    dead: u64,
}

pub(super) fn direction_words(direction: Direction) -> &'static str {
    match direction {
        Direction::EhrToLeadSquared => "EHR to LeadSquared",
        Direction::LeadSquaredToEhr => "LeadSquared to EHR",
    }
}

pub(super) fn entity_words(entity: Entity) -> &'static str {
    match entity {
        Entity::Lead => "Lead",
        Entity::Activity => "Activity",
    }
}

/// As LeadSquared's connector calls what happens to records.
pub(super) fn behaviour_words(behaviour: Behaviour) -> &'static str {
    match behaviour {
        Behaviour::Capture => "Create new and update existing",
        Behaviour::CreateOnly => "Create only new",
        Behaviour::UpdateOnly => "Update only existing",
        Behaviour::Nothing => "Do nothing",
    }
}

pub(super) fn state_words(status: &Status) -> (&'static str, String) {
    match status {
        Status::Draft => ("draft", String::new()),
        Status::Active => ("active", String::new()),
        Status::Paused(reason) => ("paused", reason.clone()),
    }
}

/// `A04 - Register a patient`, or the event as it is written.
pub(super) fn event_words(flow: &Flow) -> String {
    flow.event.label().unwrap_or_else(|| flow.event.to_string())
}

/// What became of the deliveries of a flow today, and what waits.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Tally {
    pub(super) delivered: u64,
    pub(super) waiting: u64,
    pub(super) failed: u64,
    /// Dead now, whenever they failed; counted no further than a thousand.
    pub(super) dead: u64,
}

/// The tally of every flow of every account.
pub(super) async fn tallies(web: &Web) -> Result<HashMap<FlowId, Tally>, Fault> {
    let mut tallies: HashMap<FlowId, Tally> = HashMap::new();
    let configuration = web.pipeline.configuration();
    for account in configuration.accounts() {
        let zone = configuration.zone(account);
        let today = web.pipeline.today(account, &zone).await?;
        for (flow, sums) in today.flows {
            let tally = tallies.entry(FlowId::from(flow.as_str())).or_default();
            tally.delivered = sums.delivered;
            tally.failed = sums.failed;
            if sums.failed > 0 {
                tally.dead = dead(web, account, &flow).await?;
            }
        }
        for (flow, waiting) in today.waiting {
            let tally = tallies.entry(FlowId::from(flow.as_str())).or_default();
            tally.waiting = waiting.queued + waiting.waiting + waiting.parked;
        }
    }
    Ok(tallies)
}

/// Dead deliveries that are counted of a flow.
const MOST_DEAD: u64 = 1_000;

/// How many deliveries of a flow are dead now.
pub(super) async fn dead(web: &Web, account: &AccountId, flow: &str) -> Result<u64, Fault> {
    let filter = Filter {
        flow: Some(FlowId::from(flow)),
        state: Some(journal::State::Dead),
        ..Filter::default()
    };
    let journal = web.pipeline.store.journal();
    Ok(journal
        .count_releasable(account, &filter, MOST_DEAD)
        .await?)
}

/// The number of the release that a flow names, counted from its first.
pub(super) async fn release_number(web: &Web, flow: &Flow) -> Result<String, Fault> {
    let Some(digest) = &flow.release else {
        return Ok(String::new());
    };
    let catalog = web.pipeline.store.catalog();
    let rows = catalog.releases(&flow.account, &flow.id).await?;
    let at = rows.iter().position(|row| row.digest == *digest);
    Ok(at.map_or_else(String::new, |at| (rows.len() - at).to_string()))
}

/// Lists flows.
pub async fn list(State(web): State<Web>, visit: Visit) -> Result<Response, Fault> {
    let listing = web.pipeline.store.catalog().list().await?;
    let tallies = tallies(&web).await?;
    let mut flows = Vec::new();
    for kept in &listing.flows {
        let flow = &kept.document;
        let channel = listing
            .channels
            .iter()
            .find(|kept| kept.document.id == flow.channel && kept.document.account == flow.account);
        let filter = Filter {
            account: Some(flow.account.clone()),
            flow: Some(flow.id.clone()),
            ..Filter::default()
        };
        let newest = web.pipeline.store.journal().list(&filter, None, 1).await?;
        let tally = tallies.get(&flow.id).copied().unwrap_or_default();
        let (state, reason) = state_words(&flow.status);
        flows.push(Line {
            id: flow.id.to_string(),
            name: flow.name.clone(),
            direction: direction_words(flow.direction),
            event: event_words(flow),
            entity: entity_words(flow.entity),
            channel: channel.map_or_else(
                || flow.channel.to_string(),
                |kept| kept.document.name.clone(),
            ),
            release: release_number(&web, flow).await?,
            state,
            reason,
            last: newest.rows.first().map(|row| Time::of(row.received_at_ms)),
            delivered: tally.delivered,
            waiting: tally.waiting,
            failed: tally.failed,
            dead: tally.dead,
        });
    }
    html(&FlowsPage {
        frame: visit.frame("flows"),
        flows,
        has_channel: !listing.channels.is_empty(),
    })
}
