//! One message to the EHR: mapped, finished, filled into the template, and kept in the form in which it goes out.

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Composing;
use crate::flow::account::LeadNumber;
use crate::flow::change::{self, Filling};
use crate::flow::{Flow, outbound};
use crate::hl7::{self, Path, ack, fill};
use crate::pipeline::configuration::Route;
use crate::pipeline::judge::{Stage, Stop};
use crate::pipeline::ledger::Ledger;
use crate::store::journal::OperationState;
use crate::sync::outgoing;
use crate::sync::sending::Part;

/// More repetitions of one field than any message has.
const MOST_REPETITIONS: u16 = 64;

/// A message as it goes out, and again if nobody answers; sealed in the ledger.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Outgoing {
    pub(super) control_id: String,
    /// A character for each byte: the template says in which character set it is.
    message: String,
    /// The keyed hash of what is filled in.
    pub(super) content: u64,
}

impl Outgoing {
    pub(super) fn bytes(&self) -> Vec<u8> {
        self.message.chars().map(|byte| byte as u8).collect()
    }
}

/// What a mapping made of the change.
pub(super) enum Composed {
    Message(Box<Outgoing>),
    /// Nothing; the component's words may hold patient data.
    Skip(String),
    /// What was sent last.
    Same,
}

/// What was sent last of one record by one flow.
pub(super) struct LastSent {
    pub(super) content: u64,
    pub(super) at_ms: i64,
}

impl LastSent {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let (content, at) = bytes.split_first_chunk()?;
        Some(Self {
            content: u64::from_le_bytes(*content),
            at_ms: i64::from_le_bytes(at.try_into().ok()?),
        })
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        [self.content.to_le_bytes(), self.at_ms.to_le_bytes()].concat()
    }
}

/// The record of what was sent last of one record by one flow.
pub(super) fn sent_record(flow: &Flow, record: &str) -> String {
    format!("sent {} {record}", flow.id)
}

/// The message that earlier tries sent, if it is the one to send: not after the EHR rejected it, or refused it as often as
/// the flow allows.
pub(super) fn again(ledger: &Ledger, ordinal: i64, most: u32) -> Option<Outgoing> {
    let row = ledger.newest(ordinal)?;
    let message: Outgoing = serde_json::from_slice(&row.payload).ok()?;
    match &row.state {
        OperationState::Failed { code }
            if ["ehr-rejected", "ehr-unsendable"].contains(&code.as_str()) =>
        {
            None
        }
        OperationState::Failed { code } if code == "ehr-error" => {
            (tries(ledger, ordinal, &message.control_id) < most).then_some(message)
        }
        _ => Some(message),
    }
}

/// How often earlier tries sent a message that the EHR answered with an error.
pub(super) fn tries(ledger: &Ledger, ordinal: i64, control_id: &str) -> u32 {
    let sent = ledger.all(ordinal).filter(|row| {
        let is_error = matches!(&row.state, OperationState::Failed { code } if code == "ehr-error");
        let message: Option<Outgoing> = serde_json::from_slice(&row.payload).ok();
        is_error && message.is_some_and(|message| message.control_id == control_id)
    });
    u32::try_from(sent.count()).unwrap_or(u32::MAX)
}

impl Composing<'_> {
    /// Maps the change and fills the template of `route`'s flow.
    pub(super) async fn message(
        &mut self,
        part: Part,
        route: &Route,
        stage: &mut Stage,
    ) -> Result<Composed, Stop> {
        let pinned = self.claimed.pinned.as_ref().filter(|_| part == Part::Own);
        let in_force = &self.pipeline.release_for(route, pinned).await?;
        let template = route.template.as_ref().ok_or(Stop::NoTemplate)?;
        *stage = Stage::Map;
        let input = route.change_input(in_force, self.change.clone(), self.claimed.received_at_ms);
        let runtime = &self.pipeline.runtime;
        let mut run = runtime.to_ehr(&in_force.component, input).await;
        let warned = run.warned().map(|(row, why)| outgoing::LeftOut {
            place: row.into(),
            why,
        });
        let warned: Vec<_> = warned.collect();
        let given = route.given_of_change();
        self.ledger.traces.note(in_force, given, &mut run);
        let placements = match run.outcome.map_err(Stop::Mapping)? {
            change::Composed::Write(placements) => placements,
            change::Composed::Skip(note) => return Ok(Composed::Skip(note)),
        };
        *stage = Stage::Plan;
        let account = &self.account.account;
        let finished = outgoing::Outgoing::new(account, &route.flow).finish(placements);
        let outgoing::Finished {
            mut fillings,
            left_out,
        } = finished.map_err(Stop::Unfinished)?;
        if let (Some(number), Some(value)) = (&account.lead_number, self.number()) {
            add_number(&mut fillings, number, value);
        }
        // When it was made says nothing of what it says.
        let of_content = fillings
            .iter()
            .filter(|filling| !["MSH", "EVN"].contains(&filling.path.segment()));
        let content = serde_json::to_string(&of_content.collect::<Vec<_>>());
        let content = content.expect("paths and texts serialize");
        let content = self.ledger.fingerprint(&account.id)("sent", &content);
        if part == Part::Own && self.is_same(&route.flow, content).await? {
            return Ok(Composed::Same);
        }
        let uuid = uuid::Uuid::now_v7().as_u128();
        let control_id = ack::control_id(uuid);
        let bytes = filled(route, template, &fillings, &control_id)?;
        self.sent
            .left_out
            .extend(warned.into_iter().chain(left_out));
        Ok(Composed::Message(Box::new(Outgoing {
            control_id,
            message: bytes.into_iter().map(char::from).collect(),
            content,
        })))
    }

    /// Whether the EHR was sent exactly this last, and has said nothing else since.
    async fn is_same(&self, flow: &Flow, content: u64) -> Result<bool, Stop> {
        let entity = self.entry.entity_id();
        let id = sent_record(flow, entity);
        let last = self.ledger.record(&self.account.account.id, &id).await?;
        let Some(last) = last.and_then(|last| LastSent::parse(&last)) else {
            return Ok(false);
        };
        if last.content != content {
            return Ok(false);
        }
        for record in [entity, &self.entry.lead_id] {
            let (written, _) = self.noted(record).await?;
            if written.said_by_ehr_at_ms() > last.at_ms {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

fn filled(
    route: &Route,
    template: &Arc<hl7::Message>,
    fillings: &[Filling],
    control_id: &str,
) -> Result<Vec<u8>, Stop> {
    let mut fixed = fill::default_fixed();
    let more = route.flow.outbound.as_ref();
    let more = more
        .iter()
        .flat_map(|outbound: &&outbound::Outbound| &outbound.fixed);
    // What is no path was refused when the flow was saved.
    fixed.extend(more.filter_map(|path| path.parse::<Path>().ok()));
    let places: Vec<_> = fillings.iter().map(Filling::as_placement).collect();
    let facts = fill::Facts {
        control_id,
        time: &Timestamp::now().to_zoned(route.zone.clone()),
        message_code: &route.flow.event.message_code,
        trigger_event: &route.flow.event.trigger_event,
    };
    fill::fill(template, &fixed, &places, &facts).map_err(Stop::Unfilled)
}

/// Puts the lead's number into the first repetition of its field that nobody fills.
fn add_number(fillings: &mut Vec<Filling>, number: &LeadNumber, value: String) {
    let field = number.field.as_str();
    let path = |repetition: u16, part: &str| -> Option<Path> {
        format!("{field}[{repetition}]{part}").parse().ok()
    };
    let position = |path: &Path| fill::Position::of(path);
    let is_free = |repetition: u16| {
        let whole = path(repetition, "").as_ref().and_then(position);
        whole.is_some_and(|whole| {
            let filled = fillings
                .iter()
                .filter_map(|filling| position(&filling.path));
            !filled.into_iter().any(|filled| filled.overlaps(&whole))
        })
    };
    let Some(repetition) = (1..=MOST_REPETITIONS).find(|repetition| is_free(*repetition)) else {
        return;
    };
    let parts = [
        (".1", value),
        (".4.1", number.authority.clone()),
        (".5", number.identifier_type.clone()),
    ];
    let parts = parts.into_iter().filter_map(|(part, text)| {
        Some(Filling {
            path: path(repetition, part)?,
            fill: change::Fill::Text(text),
        })
    });
    fillings.extend(parts);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_leads_number_goes_behind_other_identifiers() {
        let number: LeadNumber = toml::from_str("authority = \"LSQ\"").unwrap();
        let check = |places: &[&str], expected: &[&str]| {
            let mut fillings: Vec<Filling> = places
                .iter()
                .map(|place| Filling {
                    path: place.parse().unwrap(),
                    fill: change::Fill::Text("1".into()),
                })
                .collect();
            add_number(&mut fillings, &number, "1024".into());
            let added: Vec<_> = fillings[places.len()..]
                .iter()
                .map(|filling| filling.path.to_string())
                .collect();
            assert_eq!(added, expected, "{places:?}");
        };
        check(&["PID-5.1"], &["PID-3[1].1", "PID-3[1].4.1", "PID-3[1].5"]);
        check(
            &["PID-3.1", "PID-3.5"],
            &["PID-3[2].1", "PID-3[2].4.1", "PID-3[2].5"],
        );
        // Somebody fills the whole field: it is theirs.
        check(&["PID-3"], &[]);
    }
}
