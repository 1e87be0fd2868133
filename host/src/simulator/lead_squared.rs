//! A LeadSquared account behind a TCP port: what the real API rejects, it rejects.
//!
//! Follows what is publicly known of the API; where the truth differs from account to account there is a switch in
//! [`Settings`]. Start at `server`, which takes a call from the socket to its answer; `account` holds what was
//! written, `lead` and `activity` are the calls on it.

mod server;

mod account;
mod activity;
mod history;
mod lead;
mod metadata;
mod search;

mod answer;
mod fault;
mod field;
mod kept;
mod line;
mod page;
mod people;
mod person;
mod rate;
mod telling;
mod webhook;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use account::{ActivityView, CallView, Change, Counts, LeadView, Write};
pub use fault::{Fault, Kind, When};
pub use kept::Kept;
pub use rate::RateLimit;
use server::Server;
pub use webhook::{HookView, Told, Webhooks};

/// How the simulated account behaves; the defaults are those of the API as far as it is known.
#[derive(Debug, Clone)]
pub struct Settings {
    pub keys: Keys,
    /// None answers as many calls as come.
    pub rate_limit: Option<RateLimit>,
    /// Calls per process life; none is no quota.
    pub daily_quota: Option<u64>,
    /// Lead fields of which no two leads may hold the same value; custom ones are created as text.
    pub unique: Vec<String>,
    /// Logical errors come with HTTP 200, as some accounts have them.
    pub errors_as_200: bool,
    /// Phone numbers are brought to `+<country>-<number>`.
    pub normalise_phones: bool,
    /// `Lead.CreateOrUpdate` without `SearchBy` goes on to the phone when the email is not found.
    pub match_phone_too: bool,
    /// A select value that is not among the options is rejected.
    pub reject_unknown_options: bool,
    /// Country calling code without `+`.
    pub default_country_code: String,
    /// The region that the keys belong to, when it is another one: every call is answered 401.
    pub other_region: Option<String>,
    /// How long every call takes after its effect.
    pub latency: Duration,
    /// How it tells of changes.
    pub webhooks: Webhooks,
    /// Every call is kept with its query and body, for [`Handle::calls`].
    pub log_calls: bool,
    /// Decides ids and the faults that come by chance; none takes a new seed at every start, so that ids of an
    /// earlier life are never given to another lead.
    pub seed: Option<u64>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            keys: Keys::generate(),
            rate_limit: Some(RateLimit::default()),
            daily_quota: None,
            unique: ["EmailAddress", "Phone", "Mobile", "mx_MRN"]
                .map(String::from)
                .to_vec(),
            errors_as_200: false,
            normalise_phones: true,
            match_phone_too: false,
            reject_unknown_options: false,
            default_country_code: "1".into(),
            other_region: None,
            latency: Duration::ZERO,
            webhooks: Webhooks::default(),
            log_calls: false,
            seed: None,
        }
    }
}

/// Where the account has gone, and how callers of the old host are told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Elsewhere {
    /// A bare host name, with its port: calls that name it are served.
    pub host: String,
    pub by: By,
}

/// How callers of the old host are told (`leadsquared.md` 1.1); what an account that moves really does is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// 401 whose message names the host; `UserByAccessKey.Get` is refused too, or answered from any region.
    Refusal { of_all: bool },
    /// 308 to the same path there.
    Redirect,
    /// Every call is served; `UserByAccessKey.Get` names the other host.
    Announcement,
}

/// The keys that calls must carry.
#[derive(Clone, PartialEq, Eq)]
pub struct Keys {
    pub access_key: String,
    pub secret_key: String,
}

impl Keys {
    /// Makes keys of the real ones' form.
    pub fn generate() -> Self {
        let text = |bytes: usize| -> String {
            (0..bytes)
                .map(|_| format!("{:02x}", random_u64() as u8))
                .collect()
        };
        Self {
            access_key: format!("u$r{}", text(16)),
            secret_key: text(20),
        }
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys(redacted)")
    }
}

/// The simulator's start.
pub struct Simulator;

impl Simulator {
    /// Serves on `listener` until `shutdown`, then answers what is under way and ends.
    ///
    /// # Errors
    /// When the listener has no address.
    pub fn start(
        listener: TcpListener,
        settings: Settings,
        tracker: &TaskTracker,
        shutdown: CancellationToken,
    ) -> io::Result<Handle> {
        let address = listener.local_addr()?;
        let (server, jobs) = Server::new(settings, tracker.clone());
        let server = Arc::new(server);
        tracker.spawn(telling::deliver(
            Arc::clone(&server),
            jobs,
            shutdown.clone(),
        ));
        tracker.spawn(server::serve(listener, Arc::clone(&server), shutdown));
        Ok(Handle { address, server })
    }
}

/// A running simulator, seen from within the process.
#[derive(Clone)]
pub struct Handle {
    address: SocketAddr,
    server: Arc<Server>,
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Handle({})", self.address)
    }
}

impl Handle {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The base address that a client is configured with.
    pub fn api(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn keys(&self) -> &Keys {
        &self.server.settings().keys
    }

    /// How much there is of everything.
    pub fn counts(&self) -> Counts {
        self.server.account().counts()
    }

    /// Waits until the counts are as wanted; looks after every call.
    pub async fn until(&self, wanted: impl Fn(&Counts) -> bool) -> Counts {
        loop {
            let mut changed = std::pin::pin!(self.server.changed().notified());
            changed.as_mut().enable();
            let counts = self.counts();
            if wanted(&counts) {
                return counts;
            }
            changed.await;
        }
    }

    /// All leads in the order of their creation.
    pub fn leads(&self) -> Vec<LeadView> {
        self.server.account().lead_views()
    }

    /// The leads whose `field` holds exactly `value`.
    pub fn leads_with(&self, field: &str, value: &str) -> Vec<LeadView> {
        let mut leads = self.leads();
        leads.retain(|lead| lead.values.get(field).is_some_and(|held| held == value));
        leads
    }

    /// All activities in the order of their creation.
    pub fn activities(&self) -> Vec<ActivityView> {
        self.server.account().activity_views()
    }

    /// Every write that took effect, in order.
    pub fn writes(&self) -> Vec<Write> {
        self.server.account().writes_after(0).to_vec()
    }

    /// Every call that was let in, in order; none without [`Settings::log_calls`].
    pub fn calls(&self) -> Vec<CallView> {
        self.server.account().call_log.clone()
    }

    /// Makes calls fail from now on.
    pub fn inject(&self, fault: Fault) {
        self.server.inject(fault);
    }

    /// Takes all faults back.
    pub fn clear_faults(&self) {
        self.server.faults().clear();
    }

    /// Deletes a lead, as a person would in the user interface; says whether there was one.
    pub fn delete_lead(&self, id: &str) -> bool {
        self.server.account().delete_lead(id)
    }

    /// Merges one lead into another, as a person would in the user interface, with its activities or without; says
    /// whether there are both.
    pub fn merge_leads(&self, survivor: &str, retired: &str, with_activities: bool) -> bool {
        let mut account = self.server.account();
        account.merge_leads(survivor, retired, with_activities)
    }

    /// Takes the account to another host, or back to wherever it is asked.
    pub fn move_to(&self, elsewhere: Option<Elsewhere>) {
        self.server.move_to(elsewhere);
    }

    /// Creates a lead as a person does in the user interface; gives its id.
    ///
    /// # Errors
    /// What the user interface would say.
    pub fn create_lead(&self, values: &[(&str, &str)]) -> Result<String, String> {
        person::create_lead(&self.server, person::pairs(values))
    }

    /// Changes a lead as a person does; says whether anything became other than it was.
    ///
    /// # Errors
    /// What the user interface would say.
    pub fn edit_lead(&self, id: &str, values: &[(&str, &str)]) -> Result<bool, String> {
        person::edit_lead(&self.server, id, person::pairs(values))
    }

    /// Creates an activity as a person does; gives its id.
    ///
    /// # Errors
    /// What the user interface would say.
    pub fn create_activity(
        &self,
        lead: &str,
        code: u32,
        values: &[(&str, &str)],
    ) -> Result<String, String> {
        person::create_activity(&self.server, lead, code, None, person::pairs(values))
    }

    /// Changes an activity as a person does.
    ///
    /// # Errors
    /// What the user interface would say.
    pub fn edit_activity(&self, id: &str, values: &[(&str, &str)]) -> Result<(), String> {
        person::edit_activity(&self.server, id, None, person::pairs(values)).map(drop)
    }

    /// The webhooks as they stand.
    pub fn webhooks(&self) -> Vec<HookView> {
        self.server.account().hooks.views()
    }

    /// Every delivery of a webhook that has come to its end, in order.
    pub fn told(&self) -> Vec<Told> {
        self.server.account().hooks.deliveries().to_vec()
    }

    /// Turns a webhook off or on, as a person does in the settings; says whether there is one.
    pub fn enable_webhook(&self, id: &str, is_enabled: bool) -> bool {
        self.server.account().hooks.enable(id, is_enabled)
    }

    /// Counts answers other than 200 against a webhook, as if so many had come; says whether there is one.
    pub fn break_webhook(&self, id: &str, failures: u32) -> bool {
        let Ok(id) = uuid::Uuid::try_parse(id) else {
            return false;
        };
        let mut account = self.server.account();
        (0..failures).for_each(|_| account.hooks.answered(id, false));
        account.hooks.is_there(id)
    }

    /// Gives a user another role, or deactivates them, as a person would; says whether there is one of this address.
    pub fn change_user(&self, email: &str, role: &str, is_active: bool) -> bool {
        self.server.account().change_user(email, role, is_active)
    }

    /// Marks a lead field as unique, as a person would in the settings; says whether there is one.
    pub fn mark_unique(&self, schema_name: &str) -> bool {
        self.server.account().fields.mark_unique(schema_name)
    }

    /// Sets how long every call takes from now on.
    pub fn set_latency(&self, latency: Duration) {
        self.server.set_latency(latency);
    }

    /// Sets the rate limit from now on.
    pub fn set_rate_limit(&self, limit: Option<RateLimit>) {
        self.server.set_rate_limit(limit);
    }
}

/// A random number from the system.
fn random_u64() -> u64 {
    getrandom::u64().expect("the system has randomness")
}

/// `SplitMix64`: small, seeded, good enough for ids and chances.
#[derive(Debug, Clone)]
struct Dice(u64);

impl Dice {
    fn new(seed: Option<u64>) -> Self {
        Self(seed.unwrap_or_else(random_u64))
    }

    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number in `0.0..1.0`.
    fn chance(&mut self) -> f64 {
        (self.roll() >> 11) as f64 / (1u64 << 53) as f64
    }

    fn id(&mut self) -> uuid::Uuid {
        let (high, low) = (u128::from(self.roll()), u128::from(self.roll()));
        uuid::Builder::from_random_bytes(((high << 64) | low).to_be_bytes()).into_uuid()
    }
}

#[cfg(test)]
mod tests;
