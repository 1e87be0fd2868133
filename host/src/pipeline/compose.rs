//! A change in LeadSquared on its way to the EHR: what is lacking is read, what to send is decided, the mapping fills the
//! flow's template, the message goes out, and what the answer says is written back.
//!
//! A message that went out is never made anew while nobody knows what became of it: the same bytes with the same control
//! id go again, and the EHR knows them. Start at [`Pipeline::compose`].

mod message;
mod read_back;

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::OwnedSemaphorePermit;

use self::message::Composed;
use super::configuration::{AccountEntry, Configuration, Route};
use super::judge::{Done, NO_IDENTIFIER_YET, Stage, Stop};
use super::ledger::{Earlier, Ledger};
use super::send::Then;
use super::{FIRST_LOOK_MS, LOOKS, Pipeline};
use crate::flow::change::{Change, Field, Snapshot};
use crate::flow::{Entity, Flow, FlowId, WebhookEvent};
use crate::leadsquared::Client;
use crate::leadsquared::webhook::{self, Entry};
use crate::store::journal::{Claimed, LinkKey, OperationKind, Record, underway};
use crate::sync::outgoing::LeftOut;
use crate::sync::sending::{self, Decision, Known, NotSent, Part};
use crate::sync::written::Written;
use crate::sync::written::told::{self, Told};

/// The lead's number, by which the EHR can name a lead to us.
const NUMBER_FIELD: &str = "ProspectAutoId";

/// How long a change waits for this host's own writes before it looks again.
const LOOK_AGAIN_MS: u64 = 250;

/// Places in a delivery's ledger.
const READ: i64 = 0;

fn ordinal(part: Part) -> i64 {
    match part {
        Part::Register => 1,
        Part::Update => 2,
        Part::Own => 3,
    }
}

/// What went out of a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    pub parts: Vec<Part>,
    /// Places that were left out of the messages.
    pub left_out: Vec<LeftOut>,
    /// What became of the answer's values; names only.
    pub remarks: Vec<String>,
}

impl Sent {
    /// What went out, and what did not and why.
    pub fn sentence(&self) -> String {
        let parts: Vec<&str> = self
            .parts
            .iter()
            .map(|part| match part {
                Part::Register => "the patient's registration",
                Part::Update => "the patient's update",
                Part::Own => "the message",
            })
            .collect();
        let mut text = format!("{} sent, and the EHR has it", parts.join(" and "));
        for LeftOut { place, why } in &self.left_out {
            text.push_str(&format!("; {place} left out: {why}"));
        }
        for remark in &self.remarks {
            text.push_str("; ");
            text.push_str(remark);
        }
        text
    }
}

/// One delivery on its way to the EHR.
struct Composing<'a> {
    pipeline: &'a Pipeline,
    configuration: &'a Configuration,
    route: &'a Route,
    account: &'a AccountEntry,
    client: Client,
    claimed: &'a Claimed,
    ledger: &'a mut Ledger,
    change: Arc<Change>,
    entry: Entry,
    sent: Sent,
    /// Given back when there is nothing more to do than to wait for the EHR.
    slot: &'a mut Option<OwnedSemaphorePermit>,
}

impl Pipeline {
    /// Carries one change as far as it goes now.
    pub(super) async fn compose(
        &self,
        configuration: &Configuration,
        route: &Route,
        claimed: &Claimed,
        ledger: &mut Ledger,
        stage: &mut Stage,
        slot: &mut Option<OwnedSemaphorePermit>,
    ) -> Result<Done, Stop> {
        let payload = webhook::parse(&claimed.payload).map_err(Stop::UnreadableChange)?;
        let Some(entry) = payload.entries.into_iter().next() else {
            let fault = payload.unreadable.into_iter().next();
            let fault = fault.map(|(fault, _)| fault);
            let fault = fault.unwrap_or(webhook::Unreadable::NotAnObject { entry: 1 });
            return Err(Stop::UnreadableChange(fault));
        };
        let mut composing = Composing {
            pipeline: self,
            configuration,
            route,
            account: &route.account,
            client: route.account.client.ranked(claimed.rank.number()),
            claimed,
            ledger,
            change: Arc::new(change_of(&claimed.event, &entry)?),
            entry,
            sent: Sent {
                parts: Vec::new(),
                left_out: Vec::new(),
                remarks: Vec::new(),
            },
            slot,
        };
        if let Some(why) = composing.complete().await? {
            return Ok(Done::NotSent(why));
        }
        // Before deciding: what they have written is noted then.
        composing.wait_for_own_writes().await?;
        match composing.decide().await? {
            Decision::Send(parts) => {
                for part in parts {
                    if let Some(done) = Box::pin(composing.part(part, stage)).await? {
                        return Ok(done);
                    }
                }
                Ok(Done::Sent(composing.sent))
            }
            Decision::Skip(why) => Ok(Done::NotSent(why)),
            Decision::Wait => composing.wait(),
        }
    }
}

/// What a mapping saw of a change: what was read beside the webhook, or what it said where nothing had to be read.
pub(super) fn stored_change(event: &str, payload: &[u8], read: Option<&[u8]>) -> Option<Change> {
    if let Some(read) = read {
        return serde_json::from_slice(read).ok();
    }
    let entry = webhook::parse(payload).ok()?.entries.into_iter().next()?;
    change_of(event, &entry).ok()
}

/// What the webhook said.
fn change_of(event: &str, entry: &Entry) -> Result<Change, Stop> {
    let event = WebhookEvent::parse(event).ok_or(Stop::NoFlow)?;
    let said = Snapshot {
        before: entry.before.clone(),
        after: entry.after.clone(),
    };
    Ok(match entry.activity {
        None => Change {
            event,
            lead: said,
            activity: None,
        },
        Some(_) => Change {
            event,
            lead: Snapshot::default(),
            activity: Some(said),
        },
    })
}

/// The fields of an entity that the component of a flow may read.
fn reads(route: &Route, entity: Entity) -> impl Iterator<Item = &str> {
    let in_force = route.in_force.iter();
    let reads = in_force.flat_map(|in_force| &in_force.release.grants.reads);
    let reads = reads.filter_map(|read| Field::parse(read));
    let fields = reads.filter(move |field| field.entity == entity);
    fields.map(|field| field.name)
}

impl<'a> Composing<'a> {
    /// Reads what the webhook did not say, once for all tries; gives why nothing is sent if a record is not there.
    async fn complete(&mut self) -> Result<Option<NotSent>, Stop> {
        // Who waits for an identifier looks whether it has come.
        let is_looking = self.claimed.last_reason == NO_IDENTIFIER_YET;
        let kept = self.ledger.newest(READ);
        let kept = kept.and_then(|kept| serde_json::from_slice(&kept.payload).ok());
        let is_kept = kept.is_some();
        if let Some(change) = kept {
            self.change = Arc::new(change);
        }
        let mut change = (*self.change).clone();
        let wants_lead = is_looking || !is_kept && self.lacks();
        let wants_activity = !is_kept && self.lacks_of_activity();
        if wants_lead {
            let lead = self.client.lead_by_id(&self.entry.lead_id).await;
            let Some(lead) = lead.map_err(Stop::LeadSquared)? else {
                return Ok(Some(NotSent::Gone));
            };
            for (field, value) in lead.fields() {
                let value = value.map(str::to_owned);
                let known = &mut change.lead.after;
                match is_looking {
                    true => drop(known.insert(field.to_owned(), value)),
                    // What the webhook said is how it was then.
                    false => drop(known.entry(field.to_owned()).or_insert(value)),
                }
            }
        }
        if let (true, Some(activity)) = (wants_activity, &mut change.activity) {
            let read = self.client.activity_by_id(self.entry.entity_id()).await;
            let Some(fields) = read.map_err(Stop::LeadSquared)? else {
                return Ok(Some(NotSent::ActivityGone));
            };
            for (field, value) in fields {
                activity.after.entry(field).or_insert(value);
            }
        }
        if wants_lead || wants_activity {
            self.ledger
                .begin(READ, OperationKind::ReadRecord, &change)
                .await?;
            self.ledger.done(&self.entry.lead_id);
            self.change = Arc::new(change);
        }
        Ok(None)
    }

    /// Whether the webhook left out a lead field that somebody asks for.
    fn lacks(&self) -> bool {
        let after = &self.change.lead.after;
        let account = &self.account.account;
        let identifiers = &account.identifier_fields;
        let has_identifier = match identifiers.is_empty() {
            true => after
                .keys()
                .any(|field| crate::flow::check::is_like_identifier(field)),
            false => identifiers.iter().all(|field| after.contains_key(field)),
        };
        !has_identifier || !self.asked().iter().all(|field| after.contains_key(field))
    }

    /// Whether the webhook left out a field of the activity that the mapping may read.
    fn lacks_of_activity(&self) -> bool {
        let Some(activity) = &self.change.activity else {
            return false;
        };
        let mut reads = reads(self.route, Entity::Activity);
        reads.any(|field| !activity.after.contains_key(field))
    }

    /// The lead fields that conditions and mappings of this delivery ask for.
    fn asked(&self) -> BTreeSet<String> {
        let mut asked = BTreeSet::new();
        let outbound = self.route.flow.outbound.as_ref();
        let conditions = outbound.iter().flat_map(|outbound| &outbound.condition);
        asked.extend(conditions.map(|condition| condition.field.clone()));
        if self.account.account.lead_number.is_some() {
            asked.insert(NUMBER_FIELD.into());
        }
        for part in [Part::Register, Part::Update, Part::Own] {
            let routes = self.flow_of(part).into_iter();
            let fields = routes.flat_map(|route| reads(route, Entity::Lead));
            asked.extend(fields.map(str::to_owned));
        }
        asked
    }

    /// The flow that builds a message.
    fn flow_of(&self, part: Part) -> Option<&'a Route> {
        let patient = &self.route.flow.outbound.as_ref()?.patient;
        let id = match part {
            Part::Own => return Some(self.route),
            Part::Register => patient.register.as_ref()?,
            Part::Update => patient.update.as_ref()?,
        };
        let route = self.configuration.route(id)?.serving(&self.claimed.lease);
        (route.flow.account == self.route.flow.account).then_some(route)
    }

    async fn decide(&self) -> Result<Decision, Stop> {
        let outbound = self.route.flow.outbound.as_ref().ok_or(Stop::NoFlow)?;
        let in_force = self.route.in_force.as_ref().ok_or(Stop::NoRelease)?;
        let release = &in_force.release;
        let account = &self.account.account;
        let (written, told) = self.noted(self.entry.entity_id()).await?;
        let registered = self
            .ledger
            .links(&account.id, &[self.registration()])
            .await?;
        let known = Known {
            account,
            reads: &release.grants.reads,
            written: &written,
            told: &told,
            registered: registered.into_iter().flatten().next().is_some(),
            received_at_ms: self.claimed.received_at_ms,
        };
        let fingerprint = self.ledger.fingerprint(&account.id);
        Ok(sending::decide(
            &self.route.flow,
            outbound,
            &self.change,
            &known,
            &fingerprint,
        ))
    }

    /// What this host wrote last to a record, and what the EHR was told of it.
    async fn noted(&self, record: &str) -> Result<(Written, Told), Stop> {
        let (account, told) = (&self.account.account.id, Told::record(record));
        let kept = self.ledger.records(account, &[record, &told]).await?;
        let mut kept = kept.into_iter().map(Option::unwrap_or_default);
        let written = Written::parse(&kept.next().unwrap_or_default());
        Ok((written, Told::parse(&kept.next().unwrap_or_default())))
    }

    fn registration(&self) -> LinkKey {
        LinkKey {
            kind: "registered".into(),
            key: self.entry.lead_id.clone(),
        }
    }

    /// LeadSquared may tell of a write before it has answered it, and before this host has noted what it wrote.
    async fn wait_for_own_writes(&self) -> Result<(), Stop> {
        let until_ms = self.claimed.received_at_ms;
        let now_ms = Timestamp::now().as_millisecond();
        if now_ms > until_ms.saturating_add(sending::ECHO_MS) {
            return Ok(());
        }
        let told = underway::Told {
            record: self.entry.entity_id(),
            since_ms: until_ms.saturating_sub(sending::ECHO_MS),
            until_ms,
        };
        let journal = self.pipeline.store.journal();
        let account = &self.account.account.id;
        let writing = self.configuration.flows().filter(|route| {
            route.flow.account == *account
                && (route.flow.outbound.as_ref())
                    .is_none_or(|outbound| !outbound.read_back.is_empty())
        });
        let writing: Vec<&FlowId> = writing.map(|route| &route.flow.id).collect();
        let writing = journal.is_writing(account, &self.claimed.delivery, told, &writing);
        match writing.await.map_err(Stop::Store)? {
            false => Ok(()),
            true => Err(Stop::OwnWrite {
                due_at_ms: now_ms.saturating_add_unsigned(LOOK_AGAIN_MS),
            }),
        }
    }

    fn wait(&self) -> Result<Done, Stop> {
        let outbound = self.route.flow.outbound.as_ref().ok_or(Stop::NoFlow)?;
        let limit_ms = outbound.wait_for_identifier_ms;
        let until_ms = self
            .claimed
            .received_at_ms
            .saturating_add_unsigned(limit_ms);
        let now_ms = Timestamp::now().as_millisecond();
        if now_ms >= until_ms {
            return Ok(Done::NotSent(NotSent::NeverIdentified));
        }
        let look_again_ms = (limit_ms / LOOKS).max(FIRST_LOOK_MS);
        let due_at_ms = now_ms.saturating_add_unsigned(look_again_ms);
        Err(Stop::NoIdentifierYet {
            due_at_ms: due_at_ms.min(until_ms),
        })
    }

    /// Sends one message and takes in its answer; gives how the delivery ends if there was nothing to send.
    async fn part(&mut self, part: Part, stage: &mut Stage) -> Result<Option<Done>, Stop> {
        let at = ordinal(part);
        let is_sent = matches!(self.ledger.earlier(at, 0)?, Earlier::Done { .. });
        let route = self.flow_of(part).ok_or(Stop::NoFlow)?;
        if is_sent {
            self.sent.parts.push(part);
            *stage = Stage::Lead;
            self.read_back_again(at).await?;
            return Ok(None);
        }
        let most = route
            .flow
            .outbound
            .as_ref()
            .map_or(1, |outbound| outbound.max_sends);
        let message = match message::again(self.ledger, at, most) {
            Some(message) => message,
            None => match self.message(part, route, stage).await? {
                Composed::Message(message) => *message,
                Composed::Skip(note) => return Ok(Some(Done::Skipped { note })),
                Composed::Same => return Ok(Some(Done::NotSent(NotSent::Same))),
            },
        };
        *stage = Stage::Send;
        self.ledger
            .begin(at, OperationKind::SendMessage, &message)
            .await?;
        let bytes = message.bytes();
        let channel = &route.flow.channel;
        *self.slot = None;
        let sending = self.pipeline.send(channel, &message.control_id, &bytes);
        match sending.await {
            Ok(acknowledged) => {
                self.ledger.done(&message.control_id);
                self.remember(part, &route.flow, &message);
                self.tell(route).await?;
                self.sent.parts.push(part);
                *stage = Stage::Lead;
                self.read_back(at, &route.flow, &acknowledged.response)
                    .await?;
                Ok(None)
            }
            Err(unsent) => {
                let then = unsent.then();
                match then {
                    Then::Repeated => self.ledger.unknown(),
                    _ => self.ledger.failed(unsent.code()),
                }
                let tries = message::tries(self.ledger, at, &message.control_id) + 1;
                Err(Stop::Ehr {
                    unsent: Box::new(unsent),
                    is_last: then == Then::SentAgain && tries >= most,
                })
            }
        }
    }

    /// Keeps what is to be known of a message that the EHR has.
    fn remember(&mut self, part: Part, flow: &Flow, message: &message::Outgoing) {
        let lead = self.entry.lead_id.clone();
        if part == Part::Register || sending::registers(&flow.event) {
            let link = self.registration();
            self.ledger.link(link, &message.control_id, None);
        }
        if let Some(number) = self.number() {
            self.ledger.link(number_link(&number), &lead, None);
        }
        let id = message::sent_record(flow, self.entry.entity_id());
        let last = message::LastSent {
            content: message.content,
            at_ms: Timestamp::now().as_millisecond(),
        };
        self.ledger.records.push(Record {
            id,
            document: last.to_bytes(),
        });
    }

    /// Keeps what the EHR has been told of the records, so that nothing is written when it says the same.
    async fn tell(&mut self, route: &Route) -> Result<(), Stop> {
        let account = &self.account.account.id;
        let in_force = route.in_force.iter();
        let reads = in_force.flat_map(|in_force| &in_force.release.grants.reads);
        let reads: Vec<Field<'_>> = reads.filter_map(|read| Field::parse(read)).collect();
        let activity = self.entry.activity.as_ref().map(|activity| &activity.id);
        let records = [
            (Entity::Lead, Some(&self.entry.lead_id)),
            (Entity::Activity, activity),
        ];
        for (entity, id) in records {
            let (Some(id), Some(snapshot)) = (id, self.change.snapshot(entity)) else {
                continue;
            };
            let (written, mut told) = self.noted(id).await?;
            let received_at_ms = self.claimed.received_at_ms;
            let sent = told::Sent {
                before: snapshot.before.as_ref(),
                after: &snapshot.after,
                received_at_ms,
                modified_at_ms: sending::modified_ms(&snapshot.after).unwrap_or(received_at_ms),
            };
            let fields = reads.iter().filter(|read| read.entity == entity);
            let fingerprint = self.ledger.fingerprint(account);
            told.note(fields.map(|read| read.name), &sent, &written, &fingerprint);
            drop(fingerprint);
            self.ledger.records.push(Record {
                id: Told::record(id),
                document: told.to_bytes(),
            });
        }
        Ok(())
    }

    /// The lead's number, where the EHR is told it.
    fn number(&self) -> Option<String> {
        self.account.account.lead_number.as_ref()?;
        let number = self.change.lead.after.get(NUMBER_FIELD)?.clone()?;
        (!number.trim().is_empty()).then_some(number)
    }
}

/// The link from a lead's number to the lead.
pub(super) fn number_link(number: &str) -> LinkKey {
    LinkKey {
        kind: "lead number".into(),
        key: number.trim().into(),
    }
}
