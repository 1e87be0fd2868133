//! What must hold of a flow from LeadSquared to the EHR.

use super::{Facts, Fault};
use crate::flow::outbound::{Outbound, Unidentified};
use crate::flow::{Direction, Entity, Flow, FlowId, Status};
use crate::hl7::Path;
use crate::hl7::fill::check_fixed;

/// Adds what is wrong with the outbound settings of a flow.
pub(super) fn outbound(faults: &mut Vec<Fault>, flow: &Flow, facts: &Facts) {
    let mut fault = |path: &str, message: &str| faults.push(Fault::new(path, message));
    let outbound = match (flow.direction, &flow.outbound) {
        (Direction::EhrToLeadSquared, None) => return,
        (Direction::EhrToLeadSquared, Some(_)) => {
            return fault(
                "outbound",
                "a flow from the EHR has none: leave it out, or make the direction leadsquared-to-ehr",
            );
        }
        (Direction::LeadSquaredToEhr, None) => {
            return fault(
                "outbound",
                "a flow to the EHR names its webhook: set outbound.webhook to lead-create, lead-update, \
                 lead-activity-create or lead-activity-update",
            );
        }
        (Direction::LeadSquaredToEhr, Some(outbound)) => outbound,
    };
    if outbound.webhook.entity() != flow.entity {
        fault(
            "outbound.webhook",
            match flow.entity {
                Entity::Lead => "a lead flow takes lead-create or lead-update",
                Entity::Activity => {
                    "an activity flow takes lead-activity-create or lead-activity-update"
                }
            },
        );
    }
    for (at, condition) in outbound.condition.iter().enumerate() {
        if condition.field.trim().is_empty() || condition.is_empty() {
            fault(
                &format!("outbound.condition.{at}"),
                "name a lead field, and what it must be: in, not_in or present",
            );
        }
    }
    if outbound.condition.is_empty()
        && flow.status != Status::Draft
        && !facts.confirmed_without_condition
    {
        let count = facts.would_have_sent.as_deref();
        let count = count.map(|count| format!(" ({count})")).unwrap_or_default();
        fault(
            "outbound.condition",
            &format!(
                "without a condition every lead of the account is sent to the EHR{count}: name one, such as a stage, or confirm \
                 with confirm_no_condition"
            ),
        );
    }
    if outbound.max_sends == 0 {
        fault("outbound.max_sends", "at least 1");
    }
    patient(&mut fault, flow, outbound, facts);
    for (at, read) in outbound.read_back.iter().enumerate() {
        let place = format!("outbound.read_back.{at}");
        if let Err(wrong) = read.path.parse::<Path>() {
            fault(&format!("{place}.path"), &wrong.to_string());
        }
        if read.field.trim().is_empty() {
            fault(&format!("{place}.field"), "name the field it is written to");
        }
        if read.activity && flow.entity == Entity::Lead {
            fault(
                &format!("{place}.activity"),
                "a lead flow has no activity to write to",
            );
        }
    }
    for (at, path) in outbound.fixed.iter().enumerate() {
        let place = format!("outbound.fixed.{at}");
        match path.parse::<Path>() {
            Err(wrong) => fault(&place, &wrong.to_string()),
            Ok(parsed) => {
                if let Err(reason) = check_fixed(&parsed) {
                    fault(&place, &format!("{path}: {reason}"));
                }
            }
        }
    }
}

/// The flows that tell the EHR of the patient first.
fn patient(fault: &mut impl FnMut(&str, &str), flow: &Flow, outbound: &Outbound, facts: &Facts) {
    let patient = &outbound.patient;
    let may_register = outbound.unidentified == Unidentified::Register;
    let is_lead = flow.entity == Entity::Lead;
    if is_lead && (patient.registers() || patient.updates()) {
        fault(
            "outbound.patient.behaviour",
            "a lead flow is the patient's message itself: leave it at nothing",
        );
        return;
    }
    if (patient.registers() || may_register) && patient.register.is_none() {
        fault(
            "outbound.patient.register",
            "name the lead flow that builds the registration",
        );
    }
    if patient.updates() && patient.update.is_none() {
        fault(
            "outbound.patient.update",
            "name the lead flow that builds the update",
        );
    }
    let named = [
        ("outbound.patient.register", &patient.register),
        ("outbound.patient.update", &patient.update),
    ];
    for (path, named) in named {
        if let (Some(named), Some(known)) = (named, &facts.lead_flows_to_ehr)
            && (named == &flow.id || !known.contains(named))
        {
            fault(
                path,
                &format!("{named} is no other lead flow of the account to the EHR"),
            );
        }
    }
}

/// The lead flows to the EHR among `flows` of one account.
pub fn lead_flows_to_ehr<'a>(
    flows: impl IntoIterator<Item = &'a Flow>,
) -> std::collections::BTreeSet<FlowId> {
    flows
        .into_iter()
        .filter(|flow| flow.direction == Direction::LeadSquaredToEhr && flow.entity == Entity::Lead)
        .map(|flow| flow.id.clone())
        .collect()
}
