//! Queued updates of one lead are joined: what the patient's next messages say goes along with this one's call.
//!
//! A joined message is not settled here. It runs in its turn, finds that what it says was written last, and makes no
//! call. So a process that dies in between repeats a write and loses none, and each delivery keeps an outcome of its own.

use super::configuration::Configuration;
use super::judge::Stage;
use super::ledger::Ledger;
use super::patient::{self, Patient};
use super::trace::Traces;
use super::{Pipeline, Planned, Said};
use crate::flow::{Behaviour, Direction, Entity, Flow, Status};
use crate::hl7;
use crate::store::journal::{Claimed, Queued};
use crate::sync::Plan;

/// How many messages go along at most; more would hold up the first.
const MOST: usize = 16;

/// What waits behind a delivery.
#[derive(Debug)]
pub struct Ahead<'a> {
    pub pipeline: &'a Pipeline,
    pub configuration: &'a Configuration,
    pub claimed: &'a Claimed,
}

impl Ahead<'_> {
    /// The plans of the updates that wait behind the delivery, up to the first message that is anything else.
    ///
    /// This saves calls and decides nothing: what cannot be read or mapped says so in its own turn.
    pub async fn plans(&self, ledger: &Ledger, patient: Option<&Patient>) -> Vec<Plan> {
        let mut plans = Vec::new();
        let own = self.configuration.route(&self.claimed.flow);
        let (Some(patient), true) = (patient, own.is_some_and(|route| joins(&route.flow))) else {
            return plans;
        };
        if !self.claimed.is_followed {
            return plans;
        }
        let journal = self.pipeline.store.journal();
        let Ok(queued) = journal.behind(&self.claimed.lease, MOST).await else {
            return plans;
        };
        for next in &queued {
            match Box::pin(self.plan(ledger, patient, next)).await {
                Some(plan) => plans.push(plan),
                None => break,
            }
        }
        plans
    }

    async fn plan(&self, ledger: &Ledger, patient: &Patient, next: &Queued) -> Option<Plan> {
        let route = self.configuration.route(&next.flow);
        let route = route.filter(|route| joins(&route.flow))?;
        let reading = self.configuration.reading(&next.channel);
        let mut message = hl7::Message::parse_with(&next.payload, reading).ok()?;
        let rule = self.configuration.patient_key(&next.channel);
        let account = &route.account.account;
        let followed = patient::follow(ledger, account, &rule, &mut message).await;
        // Patients of two facilities that name no authority share a lane.
        if followed.ok()?.as_ref() != Some(patient) {
            return None;
        }
        let said = Said {
            message: &next.message,
            channel: &next.channel,
            event: &next.event,
            received_at_ms: next.received_at_ms,
            seq: next.seq,
            is_loaded: next.is_loaded,
            pinned: None,
        };
        // They are noted in its own turn.
        let (mut stage, mut traces) = (Stage::Map, Traces::default());
        let planning = self
            .pipeline
            .plan(route, &said, message, &mut stage, &mut traces);
        match planning.await {
            Ok(Planned::Write(plan)) => Some(*plan),
            Ok(Planned::Skip(_)) | Err(_) => None,
        }
    }
}

/// Whether updates of this flow go out together with others.
pub fn joins(flow: &Flow) -> bool {
    flow.direction == Direction::EhrToLeadSquared
        && flow.entity == Entity::Lead
        && flow.skip_unchanged
        && flow.status == Status::Active
        && matches!(
            flow.lead_behaviour,
            Behaviour::Capture | Behaviour::UpdateOnly
        )
}
