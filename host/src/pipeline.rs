//! The spine: what happens to a message, from the bytes of a frame to the last write.
//!
//! [`Pipeline::receive`] keeps a message and says what to answer; [`Pipeline::deliver`] carries one delivery as far as
//! it will go. Both fit a screen; the rooms they call hold the detail. Knows no SQL, no HTML and no socket.

pub mod account;
pub mod activate;
pub mod admission;
pub mod again;
pub mod ahead;
pub mod alerts;
pub mod bisect;
pub mod canary;
pub mod compose;
pub mod configuration;
pub mod dispatch;
pub mod effect;
mod fall_back;
pub mod hook;
pub mod intake;
pub mod judge;
pub mod ledger;
pub mod lineage;
pub mod load;
pub mod meters;
pub mod outlook;
pub mod patient;
pub mod poll;
pub mod replay;
pub mod retention;
pub mod send;
pub mod shadow;
pub mod tally;
pub mod trace;
pub mod upload;
pub mod webhooks;
pub mod wire;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::{Timestamp, Zoned};
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::{Instant, timeout};
use tracing::{error, info, warn};

use crate::flow::event_time::event_time;
use crate::flow::mapped::Mapped;
use crate::flow::{
    Behaviour, Channel, ChannelId, Digest, Direction, Entity, Event, MessageId, Status,
};
use crate::hl7;
use crate::leadsquared;
use crate::mapping;
use crate::mllp::listener::{Received, Reply};
use crate::store::journal::{Appended, Claimed};
use crate::store::{self, Store};
use crate::sync;
use crate::sync::finish::Fields;
use crate::sync::outcome::LeadOutcome;
use ahead::Ahead;
use configuration::{Changes, Configuration, Route};
use effect::Effects;
use judge::{Done, Stage, Stop};
use trace::Traces;

/// How long a connection is not read from after storage failed.
const STORAGE_PAUSE: Duration = Duration::from_secs(1);

/// How often an activity looks for its lead, or a change for the patient's identifier, while it waits, and how long it waits before it does so first, in
/// milliseconds.
const LOOKS: u64 = 60;
const FIRST_LOOK_MS: u64 = 500;

/// Everything a message needs on its way; shared by listeners, workers and pages.
#[derive(Debug)]
pub struct Pipeline {
    pub store: Store,
    pub runtime: Arc<mapping::Runtime>,
    /// This process in leases: a new name at every start, so that a former process's leases are never ours.
    pub owner: String,
    configuration: watch::Sender<Arc<Configuration>>,
    changes: Changes,
    listening: Mutex<BTreeMap<ChannelId, Listening>>,
    lines: send::Lines,
    wires: wire::Wires,
    watch: alerts::Watch,
    tally: tally::Tally,
    pub meters: meters::Meters,
    doubts: account::follow::Doubts,
}

/// What a message means to LeadSquared.
enum Planned {
    Write(Box<sync::Plan>),
    /// Nothing; the component's words may hold patient data.
    Skip(String),
}

/// A message, as far as planning depends on it beside its content.
#[derive(Debug)]
pub struct Said<'a> {
    pub message: &'a MessageId,
    pub channel: &'a ChannelId,
    pub event: &'a str,
    pub received_at_ms: i64,
    /// The delivery's place in the journal.
    pub seq: i64,
    /// Whether it is of a load of existing data.
    pub is_loaded: bool,
    /// The release that it goes through, instead of the flow's own.
    pub pinned: Option<&'a Digest>,
}

impl<'a> Said<'a> {
    fn of(claimed: &'a Claimed) -> Self {
        Self {
            message: &claimed.message,
            channel: &claimed.channel,
            event: &claimed.event,
            received_at_ms: claimed.received_at_ms,
            seq: claimed.seq,
            is_loaded: claimed.is_loaded,
            pinned: claimed.pinned.as_ref(),
        }
    }
}

/// Where a channel listens, or why it does not.
pub type Listening = Result<SocketAddr, String>;

impl Pipeline {
    pub fn new(store: Store, runtime: Arc<mapping::Runtime>, configuration: Configuration) -> Self {
        let owner = uuid::Uuid::now_v7().to_string();
        Self {
            store,
            runtime,
            owner,
            configuration: watch::Sender::new(Arc::new(configuration)),
            changes: Changes::default(),
            listening: Mutex::default(),
            doubts: account::follow::Doubts::default(),
            lines: send::Lines::default(),
            wires: wire::Wires::default(),
            watch: alerts::Watch::default(),
            tally: tally::Tally::default(),
            meters: meters::Meters::default(),
        }
    }

    /// The configuration in force; a delivery keeps the one it started with.
    pub fn configuration(&self) -> Arc<Configuration> {
        self.configuration.borrow().clone()
    }

    /// Tells of every configuration that comes into force.
    pub fn configurations(&self) -> watch::Receiver<Arc<Configuration>> {
        self.configuration.subscribe()
    }

    /// Has the catalog read again in the background; see [`configuration::keep`].
    pub fn changed(&self) {
        self.changes.tell();
    }

    /// Has the catalog read again, and returns when what it holds is in force, or is logged as what cannot be.
    pub async fn put_in_force(&self) {
        let number = self.changes.tell();
        self.changes.settled(number).await;
    }

    /// Notes where a channel listens now; none takes the note away.
    pub fn note_listening(&self, channel: &ChannelId, listening: Option<Listening>) {
        let mut notes = self
            .listening
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        match listening {
            Some(listening) => drop(notes.insert(channel.clone(), listening)),
            None => drop(notes.remove(channel)),
        }
    }

    /// Where a channel listens on this host; none while it was not tried.
    pub fn listening(&self, channel: &ChannelId) -> Option<Listening> {
        let notes = self
            .listening
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        notes.get(channel).cloned()
    }

    /// Puts a new configuration in force for messages and deliveries from now on.
    pub fn configure(&self, configuration: Configuration) {
        self.configuration.send_replace(Arc::new(configuration));
    }

    /// Takes what came off a connection: keeps every message in it, then answers each.
    ///
    /// A positive acknowledgement leaves only after the commit, and depends on storage and channel checks alone:
    /// mapping and delivery come later and never change it.
    pub async fn receive(&self, channel: &Channel, received: Received) -> Reply {
        let (now, came) = (Zoned::now(), Instant::now());
        let configuration = self.configuration();
        let (mut arrivals, answers): (Vec<_>, Vec<_>) = match received.fault {
            // What came of a frame that is not whole is kept for people to look at, and never answered.
            Some(fault) => vec![intake::cut_off(
                channel,
                &received.payload,
                fault.code(),
                &now,
            )],
            None => hl7::batch::split(&received.payload)
                .into_iter()
                .map(|message| intake::examine(&configuration, channel, message, &now))
                .collect(),
        }
        .into_iter()
        .unzip();
        let address = received.peer.ip();
        let peer = match &received.peer_subject {
            Some(subject) => format!("{address} {subject}"),
            None => address.to_string(),
        };
        for arrival in &mut arrivals {
            arrival.peer.clone_from(&peer);
            for warning in received.warnings.iter().rev() {
                arrival.warnings = format!("{} {}", warning.code(), arrival.warnings);
            }
            arrival.warnings.truncate(arrival.warnings.trim_end().len());
        }
        let close = answers.iter().any(|answer| answer.close);
        // A sender gives up waiting and sends again: by then it is to have an answer, even if it is "not now". What was
        // kept after all is known when it comes again.
        let appended = timeout(channel.answer_budget(), self.append(arrivals)).await;
        let appended =
            appended.unwrap_or_else(|_| Err(store::Error::Unavailable("it took too long".into())));
        let reply = match appended {
            Ok(appended) => {
                let answers = answers
                    .into_iter()
                    .zip(appended)
                    .flat_map(|(answer, appended)| {
                        match appended {
                            Appended::Stored => answer.kept,
                            // What was answered the first time is kept no longer: as one answers now.
                            Appended::Duplicate {
                                acknowledgement: None,
                                ..
                            } => answer.kept,
                            // One frame each again; none where nothing was answered the first time.
                            Appended::Duplicate {
                                acknowledgement: Some(answered),
                                ..
                            } if answered.is_empty() => Vec::new(),
                            Appended::Duplicate {
                                acknowledgement: Some(answered),
                                ..
                            } => hl7::batch::split(&answered)
                                .into_iter()
                                .map(<[u8]>::to_vec)
                                .collect(),
                        }
                    });
                Reply {
                    answers: answers.collect(),
                    is_stored: true,
                    close,
                    pause: None,
                }
            }
            Err(fault) => {
                error!(channel = %channel.id, peer = %received.peer, %fault, "message not kept, answered AE");
                let answers = answers
                    .into_iter()
                    .filter_map(|answer| answer.not_kept(&now))
                    .collect();
                // The sender will send again; until then it must not send faster than storage can come back.
                Reply {
                    answers,
                    is_stored: false,
                    close,
                    pause: Some(STORAGE_PAUSE),
                }
            }
        };
        self.meters.answered(channel, &reply, came.elapsed());
        reply
    }

    /// Carries one claimed delivery as far as it goes now, and settles it.
    ///
    /// `slot` is given back at the end, or when the delivery has nothing more to do than to wait for its turn on the
    /// line to an EHR: a slow EHR must not keep others from working.
    pub async fn deliver(&self, claimed: Claimed, slot: OwnedSemaphorePermit) {
        let mut slot = Some(slot);
        let _in_hand = self.meters.begin();
        let started = Instant::now();
        let started_at = Timestamp::now();
        let mut ledger = ledger::Ledger::new(self.store.clone(), &claimed);
        let mut stage = Stage::Read;
        let result = Box::pin(self.attempt(&claimed, &mut ledger, &mut stage, &mut slot)).await;
        if let Err(Stop::LeaseLost) = result {
            warn!(delivery = %claimed.delivery, "lease lost to another host, left to it");
            return;
        }
        self.doubts.note(&claimed.account, &result);
        self.watch.came(&claimed.account, &result);
        let attempt = judge::attempt(stage, &result, started_at, started.elapsed());
        let settlement =
            judge::settlement(&self.configuration(), &claimed, ledger, result, attempt);
        let (reason, state) = (settlement.reason.clone(), settlement.state.state());
        let broke = settlement.ran.as_ref().filter(|ran| ran.broke);
        let broke = broke.map(|ran| (ran.flow.clone(), ran.release.clone()));
        match self
            .store
            .journal()
            .settle(&claimed.lease, settlement)
            .await
        {
            Ok(()) => {
                self.tally.settled(&claimed, state);
                self.meters.settled(&claimed, state, started.elapsed());
                self.watch.settled(&claimed.flow, state);
                info!(delivery = %claimed.delivery, flow = %claimed.flow, event = %claimed.event, reason,
                    attempt = claimed.attempt, duration_ms = started.elapsed().as_millis() as u64, "delivery settled");
                if let Some((flow, release)) = broke
                    && let Err(fault) = Box::pin(self.broke(&flow, &release)).await
                {
                    warn!(%flow, %fault, "whether the flow must go back is looked at when its release breaks again");
                }
            }
            // The lease runs out and the delivery is claimed again; the ledger knows what was written.
            Err(fault) => error!(delivery = %claimed.delivery, %fault, "delivery not settled"),
        }
    }

    /// Carries a delivery in its direction.
    async fn attempt(
        &self,
        claimed: &Claimed,
        ledger: &mut ledger::Ledger,
        stage: &mut Stage,
        slot: &mut Option<OwnedSemaphorePermit>,
    ) -> Result<Done, Stop> {
        let configuration = self.configuration();
        if claimed.flow == patient::flow() {
            let kept = self.keep_identifiers(&configuration, claimed, ledger);
            return Box::pin(kept).await;
        }
        let route = configuration.route(&claimed.flow).ok_or(Stop::NoFlow)?;
        let route = route.serving(&claimed.lease);
        if let Status::Paused(why) = &route.flow.status {
            return Err(Stop::Paused(why.clone()));
        }
        match claimed.direction {
            Direction::EhrToLeadSquared => {
                let written = self.write(&configuration, route, claimed, ledger, stage);
                Box::pin(written).await
            }
            Direction::LeadSquaredToEhr => {
                let sent = self.compose(&configuration, route, claimed, ledger, stage, slot);
                Box::pin(sent).await
            }
        }
    }

    /// Parse, find the patient, map, plan, write: the stages of a message's way to LeadSquared.
    async fn write(
        &self,
        configuration: &Configuration,
        route: &Route,
        claimed: &Claimed,
        ledger: &mut ledger::Ledger,
        stage: &mut Stage,
    ) -> Result<Done, Stop> {
        let (flow, account) = (&route.flow, &route.account);
        let reading = configuration.reading(&claimed.channel);
        let message = hl7::Message::parse_with(&claimed.payload, reading);
        let mut message = message.map_err(Stop::Unreadable)?;
        let client = account.client.ranked(claimed.rank.number());
        let pace = &account.pace;
        let underway = pace.begin(&claimed.lease, claimed.is_followed, client.made());
        let rule = configuration.patient_key(&claimed.channel);
        if flow.entity == Entity::Lead && flow.lead_behaviour == Behaviour::Nothing {
            return Ok(Done::NothingToDo);
        }
        let came_with = rule.keys(&message).into_iter().next();
        let patient = patient::follow(ledger, &account.account, &rule, &mut message).await?;
        let goes_with = rule.keys(&message).into_iter().next();
        let said = Said::of(claimed);
        let planning = self.plan(route, &said, message, stage, &mut ledger.traces);
        let planned = Box::pin(planning).await;
        ledger
            .traces
            .replaced(came_with.as_ref(), goes_with.as_ref());
        let plan = match planned? {
            Planned::Write(plan) => plan,
            Planned::Skip(why) => return Ok(Done::Skipped { note: why }),
        };
        let now_ms = Timestamp::now().as_millisecond();

        // An activity may be here before its lead: until then LeadSquared is searched once, and once more at the end.
        let lead_until_ms = claimed
            .received_at_ms
            .saturating_add_unsigned(flow.wait_for_lead_ms);
        let waits = !plan.activities.is_empty() && now_ms < lead_until_ms;
        let ask = !waits || claimed.last_reason != judge::NO_LEAD_YET;
        let mut effects = Effects {
            client,
            account,
            ledger,
            how: plan.how.clone(),
            patient: patient.as_ref(),
            ahead: Some(Ahead {
                pipeline: self,
                configuration,
                claimed,
            }),
            now_ms,
        };
        let written = Box::pin(effects.write(*plan, ask, stage)).await;
        let lead_was_known = patient
            .as_ref()
            .is_some_and(|patient| patient.lead.is_some());
        underway.end(lead_was_known);
        let outcome = written?;
        if waits && outcome.lead == LeadOutcome::None {
            let look_again_ms = (flow.wait_for_lead_ms / LOOKS).max(FIRST_LOOK_MS);
            let due_at_ms = now_ms.saturating_add_unsigned(look_again_ms);
            return Err(Stop::NoLeadYet {
                due_at_ms: due_at_ms.min(lead_until_ms),
            });
        }
        Ok(Done::Written(outcome))
    }

    /// Maps a message and plans what it asks of LeadSquared.
    async fn plan(
        &self,
        route: &Route,
        said: &Said<'_>,
        message: hl7::Message,
        stage: &mut Stage,
        traces: &mut Traces,
    ) -> Result<Planned, Stop> {
        let account = &route.account;
        let in_force = &self.release_for(route, said.pinned).await?;
        let release = &in_force.release;
        let code = message.header().message_code.to_string();
        let event_at = event_time(&message, &route.zone);

        *stage = Stage::Map;
        let input = route.input(in_force, Arc::new(message), said);
        let mut run = self
            .runtime
            .to_lead_squared(&in_force.component, input)
            .await;
        let warned = run.warned().map(|(row, why)| sync::LeftOut {
            field: row.into(),
            why,
        });
        let warned: Vec<_> = warned.collect();
        let given = route.given(&self.configuration(), said.channel);
        traces.note(in_force, given, &mut run);
        let write = match run.outcome.map_err(Stop::Mapping)? {
            Mapped::Write(write) => write,
            Mapped::Skip(why) => return Ok(Planned::Skip(why)),
        };

        *stage = Stage::Plan;
        let enough = |fields: &Fields| sync::knows_fields(fields, release, &write);
        let fields = account.fields(enough).await.map_err(Stop::LeadSquared)?;
        let about = sync::About {
            message: said.message,
            message_code: &code,
            event_at,
            seq: said.seq,
            now_ms: Timestamp::now().as_millisecond(),
            is_loaded: said.is_loaded,
        };
        let mut plan = sync::plan(
            &account.account,
            &route.flow,
            release,
            &fields,
            &route.slots,
            &about,
            write,
        )
        .map_err(Stop::Plan)?;
        plan.left_out.splice(..0, warned);
        if sync::owner::names_owners(&plan) {
            let users = self.users(&account.account.id).await?.document;
            let users: Vec<_> = users.into_iter().map(leadsquared::User::from).collect();
            sync::owner::resolve(&mut plan, &users);
        }
        Ok(Planned::Write(Box::new(plan)))
    }

    /// Merges, links and changes of identifiers are kept up whether or not a flow takes their message.
    async fn keep_identifiers(
        &self,
        configuration: &Configuration,
        claimed: &Claimed,
        ledger: &mut ledger::Ledger,
    ) -> Result<Done, Stop> {
        let reading = configuration.reading(&claimed.channel);
        let message = hl7::Message::parse_with(&claimed.payload, reading);
        let message = message.map_err(Stop::Unreadable)?;
        let rule = configuration.patient_key(&claimed.channel);
        let account = configuration
            .account(&claimed.account)
            .ok_or(Stop::NoFlow)?;
        let header = message.header();
        let event = Event::new(&header.message_code, &header.trigger_event);
        let mut effects = Effects {
            client: account.client.ranked(claimed.rank.number()),
            account,
            ledger,
            how: sync::How::default(),
            patient: None,
            ahead: None,
            now_ms: Timestamp::now().as_millisecond(),
        };
        let said = patient::keep(&mut effects, &rule, &event, &message).await?;
        Ok(Done::Kept(said))
    }
}
