//! Reading regularly what was changed in LeadSquared: what no webhook told becomes the message that it would have become.
//!
//! Off unless the account says otherwise. A reading goes from the mark of the one before, and an overlap further back,
//! to a moment ago; the mark moves only after all that was found is durable. A lead that is read says nothing of its
//! state before: that is made up from what was told of it last and what this host wrote ([`Seen`]), so that neither
//! a change that a webhook told nor an echo goes to the EHR. What was emptied is left to webhooks. One host at a time
//! reads an account. Start at [`Pipeline::poll`].

pub mod count;
pub(super) mod sightings;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};
use utoipa::ToSchema;

use self::sightings::{Sightings, routes};
use super::Pipeline;
use super::account::Error;
use super::configuration::{AccountEntry, Configuration};
use super::hook;
use crate::flow::account::Poll;
use crate::flow::change::Fields;
use crate::flow::release::hex;
use crate::flow::{AccountId, WebhookEvent};
use crate::leadsquared::recent::{At, Between};
use crate::leadsquared::{Client, Lead, webhook};
use crate::store;
use crate::store::journal::{Appended, Arrival, DuplicateKey, Rank};
use crate::sync::seen::{Seen, Sighting};
use crate::sync::sending::instant_ms;
use crate::sync::written::Written;

/// What of several hosts one does: no channel has such a name.
const READING: &str = "(poll)";

/// A host that is gone is replaced after this long; it is renewed with every page.
const LEASE: Duration = Duration::from_secs(120);

/// How often it is looked whether an account is to be read.
const LOOK: Duration = Duration::from_secs(5);

/// The kind under which the state is kept.
const STATE: &str = "poll";

/// Leads of one page; LeadSquared gives 5,000 at most.
const PAGE: u32 = 1_000;

/// How often a time is read from its start again because leads have left it meanwhile.
const AGAIN: u32 = 3;

/// How far the reading of an account has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct State {
    /// Nothing from before is looked at.
    began_ms: i64,
    /// All that was changed until then is kept.
    mark_ms: i64,
    last_run_ms: Option<i64>,
    #[serde(default)]
    found: Option<Found>,
    #[serde(default)]
    kept: u64,
    /// Why the last reading did not come to its end.
    #[serde(default)]
    error: Option<String>,
}

/// What one reading has found, in leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct Found {
    /// Leads that LeadSquared lists.
    pub leads: u64,
    /// Those that became messages: nobody had told of them.
    pub kept: u64,
    /// Those of which a webhook or an earlier reading had told.
    pub told: u64,
    /// Those in which nothing changed but what flows do not ask for, and what this host wrote.
    pub nothing_new: u64,
}

/// How the regular reading of an account stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Standing {
    pub is_on: bool,
    /// All of it in words.
    pub summary: String,
    /// Everything that was changed until then is kept; RFC 3339.
    pub read_up_to: Option<String>,
    pub last_run_at: Option<String>,
    pub next_run_at: Option<String>,
    /// What the last reading found that came to its end.
    pub found: Option<Found>,
    /// Messages that readings have made since they were turned on.
    pub kept: u64,
    /// Why the last reading did not come to its end; it is tried again at the next time.
    pub error: Option<String>,
}

/// One reading under way.
struct Reading<'a> {
    configuration: &'a Configuration,
    account: &'a AccountId,
    client: Client,
    /// The user whose keys are used.
    user: &'a str,
    from_ms: i64,
}

impl Pipeline {
    /// Reads once what was changed in an account since the last time; none where that is not to be done, or where another
    /// host does it.
    ///
    /// # Errors
    /// What LeadSquared or the store says; what was found until then is kept, and the next reading begins where this one did.
    pub async fn poll(&self, account: &AccountId) -> Result<Option<Found>, Error> {
        let configuration = self.configuration();
        let entry = self.entry(account)?;
        let Some(settings) = &entry.account.poll else {
            return Ok(None);
        };
        if routes(&configuration, account).next().is_none() {
            return Ok(None);
        }
        let journal = self.store.journal();
        if !journal.hold(account, READING, &self.owner, LEASE).await? {
            return Ok(None);
        }
        let now_ms = Timestamp::now().as_millisecond();
        let catalog = self.store.catalog();
        let Some(mut state) = self.poll_state(account).await? else {
            let state = State::new(now_ms);
            catalog.put_metadata(account, STATE, &Some(state)).await?;
            return Ok(Some(Found::default()));
        };
        let reading = self.read_changes(&configuration, &entry, settings, &state, now_ms);
        let outcome = Box::pin(reading).await;
        state.last_run_ms = Some(now_ms);
        match &outcome {
            Ok((found, mark_ms)) => {
                state.mark_ms = *mark_ms;
                state.kept += found.kept;
                state.found = Some(*found);
                state.error = None;
            }
            Err(fault) => state.error = Some(fault.to_string()),
        }
        catalog.put_metadata(account, STATE, &Some(state)).await?;
        outcome.map(|(found, _)| Some(found))
    }

    /// Reads and keeps all from the mark, less the overlap, up to where webhooks have had their time; gives the new mark.
    async fn read_changes(
        &self,
        configuration: &Configuration,
        entry: &AccountEntry,
        settings: &Poll,
        state: &State,
        now_ms: i64,
    ) -> Result<(Found, i64), Error> {
        let to_ms = whole_second(now_ms.saturating_sub_unsigned(settings.settle_ms));
        let from_ms = state.mark_ms.saturating_sub_unsigned(settings.overlap_ms);
        let from_ms = whole_second(from_ms.max(state.began_ms));
        if to_ms <= from_ms {
            return Ok((Found::default(), state.mark_ms));
        }
        let account = &entry.account.id;
        let client = entry.client.ranked(Rank::LAST.number());
        let user = entry.user(&client).await?;
        let reading = Reading {
            configuration,
            account,
            client,
            user,
            from_ms,
        };
        let between = Between {
            from: Timestamp::from_millisecond(from_ms).unwrap_or_default(),
            to: Timestamp::from_millisecond(to_ms).unwrap_or_default(),
        };
        let no_leads = Sightings::load(self, configuration, account, BTreeSet::new()).await?;
        let mut columns: Vec<&str> = no_leads.asked.iter().map(String::as_str).collect();
        let own = ["ModifiedOn", "CreatedOn", "ModifiedBy"];
        columns.extend(own.iter().filter(|own| !no_leads.asked.contains(**own)));
        let mut kept = 0;
        'again: for _ in 0..=AGAIN {
            let mut found = Found::default();
            let mut total = 0;
            for page in 1.. {
                let at = At { page, size: PAGE };
                let read = reading
                    .client
                    .recently_modified(between, &columns, at)
                    .await?;
                if read.total < total {
                    // A lead that is changed leaves the time, and one behind it moves up to a page that was read.
                    continue 'again;
                }
                total = read.total;
                let is_last = read.leads.is_empty() || page as usize * PAGE as usize >= total;
                let of_page = self.take_leads(&reading, read.leads).await?;
                kept += of_page.kept;
                found.add(of_page);
                if is_last {
                    found.kept = kept;
                    return Ok((found, to_ms.max(state.mark_ms)));
                }
                let journal = self.store.journal();
                if !journal.hold(account, READING, &self.owner, LEASE).await? {
                    let text = "another host has taken over the reading of the account";
                    return Err(Error::Refused(text.into()));
                }
            }
        }
        Err(Error::Refused(
            "leads are changed faster than they can be listed: what was found is kept, and the rest is read the next time".into(),
        ))
    }

    /// Makes messages of the leads of one page that nobody told of.
    async fn take_leads(&self, reading: &Reading<'_>, leads: Vec<Lead>) -> Result<Found, Error> {
        let (configuration, account) = (reading.configuration, reading.account);
        let leads: Vec<(String, Fields)> = leads.iter().map(read).collect();
        let ids: Vec<&str> = leads.iter().map(|(id, _)| id.as_str()).collect();
        let known = ids.iter().copied().collect();
        let mut sightings = Sightings::load(self, configuration, account, known).await?;
        let journal = self.store.journal();
        let written = journal.records(account, &ids).await?;
        let fingerprint = |field: &str, value: &str| journal.fingerprint(account, field, value);
        let mut found = Found::default();
        let mut arrivals = Vec::new();
        for ((id, fields), written) in leads.iter().zip(&written) {
            found.leads += 1;
            let changed_at_ms = time(fields, "ModifiedOn");
            let changed_at_ms = changed_at_ms.or_else(|| time(fields, "LeadLastModifiedOn"));
            let Some(changed_at_ms) = changed_at_ms else {
                found.nothing_new += 1;
                continue;
            };
            let seen = sightings.of(id);
            let asked = &sightings.asked;
            let is_told =
                seen.is_some_and(|seen| seen.knows(changed_at_ms, fields, asked, &fingerprint));
            // An activity moves a lead up, too.
            let is_old = changed_at_ms < reading.from_ms;
            let mut told_as = None;
            if !is_told && !is_old {
                let written = written.as_ref();
                let written = written.map_or_else(Written::default, |bytes| Written::parse(bytes));
                let sighting = Sighting {
                    changed_at_ms,
                    is_by_us: fields.get("ModifiedBy").cloned().flatten().as_deref()
                        == Some(reading.user),
                    fields,
                };
                let unchanged = Seen::unchanged(seen, &written, sighting, asked, &fingerprint);
                let is_first = seen.is_none();
                told_as = reading.event(fields, is_first, changed_at_ms).filter(|_| {
                    let mut changed = asked.iter().filter(|it| !unchanged.contains(it.as_str()));
                    changed.any(|field| holds(fields, field))
                });
                if let Some(event) = told_as {
                    let identity = identity(event, id, fields, asked, changed_at_ms);
                    arrivals.extend(reading.arrival(event, id, fields, &unchanged, identity));
                }
            }
            match (is_told, told_as) {
                (true, _) => found.told += 1,
                (false, None) => found.nothing_new += 1,
                (false, Some(_)) => {}
            }
            sightings.change(id, |seen, asked| {
                seen.note(changed_at_ms, fields, asked, &fingerprint);
                if let Some(event) = told_as {
                    seen.polled_ms = changed_at_ms;
                    seen.polled_as_new = event == WebhookEvent::LeadCreate;
                }
            });
        }
        for appended in self.append(arrivals).await? {
            match appended {
                Appended::Stored => found.kept += 1,
                Appended::Duplicate { .. } => found.told += 1,
            }
        }
        sightings.keep().await?;
        Ok(found)
    }

    async fn poll_state(&self, account: &AccountId) -> Result<Option<State>, store::Error> {
        let catalog = self.store.catalog();
        let kept = catalog.metadata::<Option<State>>(account, STATE).await?;
        Ok(kept.and_then(|read| read.document))
    }

    /// How the regular reading of an account stands.
    ///
    /// # Errors
    /// When the account is not in force, or the store does not answer.
    pub async fn poll_standing(&self, account: &AccountId) -> Result<Standing, Error> {
        let configuration = self.configuration();
        let entry = self.entry(account)?;
        let state = self.poll_state(account).await?;
        let has_flows = routes(&configuration, account).next().is_some();
        let settings = entry.account.poll.as_ref();
        Ok(standing(settings, has_flows, state.as_ref()))
    }
}

impl State {
    fn new(now_ms: i64) -> Self {
        Self {
            began_ms: now_ms,
            mark_ms: now_ms,
            last_run_ms: None,
            found: None,
            kept: 0,
            error: None,
        }
    }

    /// When the account is to be read next.
    fn next_run_ms(&self, settings: &Poll) -> i64 {
        let last_ms = self.last_run_ms.unwrap_or(self.began_ms);
        last_ms.saturating_add_unsigned(settings.interval_ms)
    }
}

impl Found {
    fn add(&mut self, other: Self) {
        self.leads += other.leads;
        self.kept += other.kept;
        self.told += other.told;
        self.nothing_new += other.nothing_new;
    }
}

impl Reading<'_> {
    /// What a webhook would have told of a lead that nobody told of since `changed_at_ms`, if a flow takes it.
    fn event(&self, fields: &Fields, is_first: bool, changed_at_ms: i64) -> Option<WebhookEvent> {
        let created_ms = time(fields, "CreatedOn");
        let takes = |event: WebhookEvent| self.configuration.senders(self.account, event, None);
        let is_new = is_first && created_ms.is_some_and(|at_ms| at_ms >= self.from_ms);
        // A registration says all that the update behind it would.
        let registers = takes(WebhookEvent::LeadCreate).any(|route| {
            let conditions = route.flow.outbound.iter();
            let mut conditions = conditions.flat_map(|outbound| &outbound.condition);
            conditions.all(|condition| condition.holds(fields))
        });
        let is_changed = !is_new || created_ms.is_none_or(|at_ms| at_ms < changed_at_ms);
        if is_new && registers {
            Some(WebhookEvent::LeadCreate)
        } else if is_changed && takes(WebhookEvent::LeadUpdate).next().is_some() {
            Some(WebhookEvent::LeadUpdate)
        } else {
            None
        }
    }

    /// The message that a webhook would have become; `unchanged` is what is known of the state before.
    fn arrival(
        &self,
        event: WebhookEvent,
        id: &str,
        fields: &Fields,
        unchanged: &BTreeSet<&str>,
        identity: String,
    ) -> Option<Arrival> {
        let value = |text: &Option<String>| text.as_deref().map_or(Value::Null, Value::from);
        let mut after: Map<String, Value> = fields
            .iter()
            .map(|(name, text)| (name.clone(), value(text)))
            .collect();
        after.insert("ProspectID".into(), id.into());
        let before: Map<String, Value> = after
            .iter()
            .filter(|(name, _)| unchanged.contains(name.as_str()))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        let body = match event {
            WebhookEvent::LeadUpdate if !before.is_empty() => {
                serde_json::json!({ "Before": before, "After": after })
            }
            _ => Value::Object(after),
        };
        let entry = webhook::parse(body.to_string().as_bytes()).ok()?;
        let entry = entry.entries.into_iter().next()?;
        let arrival = hook::arrival(self.configuration, self.account, event, entry);
        Some(Arrival {
            duplicate: Some(DuplicateKey {
                payload: Sha256::digest(&identity).into(),
                identity,
            }),
            peer: "poll".into(),
            ..arrival
        })
    }
}

fn read(lead: &Lead) -> (String, Fields) {
    let fields = lead.fields();
    let fields = fields.map(|(name, value)| (name.to_owned(), value.map(str::to_owned)));
    (lead.id.to_ascii_lowercase(), fields.collect())
}

/// What a change is known by when it is read again, whatever else has moved: when it was made, and what flows ask for.
fn identity(
    event: WebhookEvent,
    id: &str,
    fields: &Fields,
    asked: &BTreeSet<String>,
    changed_at_ms: i64,
) -> String {
    let mut digest = Sha256::new();
    for field in asked {
        let value = fields.get(field).and_then(Option::as_deref);
        digest.update(format!("{field}={}\0", value.unwrap_or_default()));
    }
    let digest = hex(&digest.finalize());
    format!("poll|{event}|{id}|{changed_at_ms}|{digest}")
}

fn time(fields: &Fields, name: &str) -> Option<i64> {
    instant_ms(fields.get(name)?.as_deref()?).map(whole_second)
}

fn holds(fields: &Fields, name: &str) -> bool {
    let value = fields.get(name).and_then(Option::as_deref);
    value.is_some_and(|text| !text.is_empty())
}

/// LeadSquared's times have hidden parts of a second.
fn whole_second(at_ms: i64) -> i64 {
    at_ms - at_ms.rem_euclid(1_000)
}

fn standing(settings: Option<&Poll>, has_flows: bool, state: Option<&State>) -> Standing {
    let text = |at_ms: i64| {
        let at = Timestamp::from_millisecond(at_ms).unwrap_or_default();
        at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
    };
    let state = state.filter(|_| settings.is_some() && has_flows);
    let next_run_at = settings
        .zip(state)
        .map(|(settings, state)| text(state.next_run_ms(settings)));
    let summary = match (settings, state) {
        (None, _) => {
            "changes are known by webhooks alone: the account is not read regularly".into()
        }
        (Some(_), _) if !has_flows => {
            "no flow to the EHR takes changes of leads: the account is not read".into()
        }
        (Some(_), None) => "the account is read for the first time in a moment".into(),
        (Some(settings), Some(state)) => {
            let mut summary = format!("read every {} s", settings.interval_ms / 1_000);
            if let Some(last_ms) = state.last_run_ms {
                summary.push_str(&format!(", last at {}", text(last_ms)));
            }
            match (&state.error, state.found) {
                (Some(error), _) => summary.push_str(&format!(
                    ", which failed: {error} What was changed since {} is read the next time",
                    text(state.mark_ms)
                )),
                (None, Some(found)) => summary.push_str(&format!(
                    ": of {} leads {} were told by nobody else and became messages",
                    found.leads, found.kept
                )),
                (None, None) => {}
            }
            summary
        }
    };
    Standing {
        is_on: settings.is_some(),
        summary,
        read_up_to: state.map(|state| text(state.mark_ms)),
        last_run_at: state.and_then(|state| state.last_run_ms).map(text),
        next_run_at,
        found: state.and_then(|state| state.found),
        kept: state.map_or(0, |state| state.kept),
        error: state.and_then(|state| state.error.clone()),
    }
}

/// Reads accounts when it is time until `shutdown`, each on a task of its own: calls may be scarce in one of them.
pub async fn keep(pipeline: Arc<Pipeline>, tracker: TaskTracker, shutdown: CancellationToken) {
    let mut running: HashMap<AccountId, JoinHandle<()>> = HashMap::new();
    let mut known: BTreeMap<AccountId, bool> = BTreeMap::new();
    loop {
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            () = shutdown.cancelled() => return,
        }
        let configuration = pipeline.configuration();
        for account in configuration.accounts() {
            let entry = configuration.account(account);
            let settings = entry.and_then(|entry| entry.account.poll.as_ref());
            let is_on = settings.is_some() && routes(&configuration, account).next().is_some();
            if running.get(account).is_some_and(|task| !task.is_finished()) {
                continue;
            }
            let Some(settings) = settings.filter(|_| is_on) else {
                // Turned on again, it begins anew: what happened in between is nobody's business.
                if known.get(account) != Some(&false) && forget(&pipeline, account).await {
                    known.insert(account.clone(), false);
                }
                continue;
            };
            known.insert(account.clone(), true);
            let Ok(state) = pipeline.poll_state(account).await else {
                continue;
            };
            let now_ms = Timestamp::now().as_millisecond();
            if state.is_some_and(|state| state.next_run_ms(settings) > now_ms) {
                continue;
            }
            let (pipeline, id, stop) = (pipeline.clone(), account.clone(), shutdown.clone());
            let task = async move {
                // Cut off anywhere, the next reading finds the same again.
                let reading = Box::pin(pipeline.poll(&id));
                let Some(outcome) = stop.run_until_cancelled(reading).await else {
                    return;
                };
                match outcome {
                    Ok(Some(found)) if found.kept > 0 => {
                        info!(account = %id, leads = found.leads, kept = found.kept, "the account was read: no webhook told of these leads");
                    }
                    Ok(_) => {}
                    Err(fault) => {
                        warn!(account = %id, %fault, "the account was not read to the end; tried again the next time");
                    }
                }
            };
            running.insert(account.clone(), tracker.spawn(task));
        }
    }
}

/// Says whether there is nothing any more.
async fn forget(pipeline: &Pipeline, account: &AccountId) -> bool {
    let catalog = pipeline.store.catalog();
    match pipeline.poll_state(account).await {
        Ok(None) => true,
        Ok(Some(_)) => {
            let nothing: Option<State> = None;
            catalog.put_metadata(account, STATE, &nothing).await.is_ok()
        }
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reading_of_an_account_is_told_in_words() {
        let state = State {
            last_run_ms: Some(1_790_000_000_000),
            found: Some(Found {
                leads: 7,
                kept: 2,
                told: 5,
                nothing_new: 0,
            }),
            kept: 12,
            ..State::new(1_780_000_000_000)
        };
        let poll = Poll::default();
        let said = |settings, has_flows, state| standing(settings, has_flows, state).summary;
        insta::assert_snapshot!(said(None, true, Some(&state)), @"changes are known by webhooks alone: the account is not read regularly");
        insta::assert_snapshot!(said(Some(&poll), false, Some(&state)), @"no flow to the EHR takes changes of leads: the account is not read");
        insta::assert_snapshot!(said(Some(&poll), true, None), @"the account is read for the first time in a moment");
        insta::assert_snapshot!(said(Some(&poll), true, Some(&state)), @"read every 300 s, last at 2026-09-21T14:13:20Z: of 7 leads 2 were told by nobody else and became messages");
        let failed = State {
            error: Some("LeadSquared does not answer.".into()),
            ..state
        };
        insta::assert_snapshot!(said(Some(&poll), true, Some(&failed)), @"read every 300 s, last at 2026-09-21T14:13:20Z, which failed: LeadSquared does not answer. What was changed since 2026-05-28T20:26:40Z is read the next time");
        let shown = standing(Some(&poll), true, Some(&failed));
        assert_eq!(shown.next_run_at.as_deref(), Some("2026-09-21T14:18:20Z"));
        assert_eq!(shown.kept, 12);
    }
}
