//! What LeadSquared knows of an account: lead fields, activity types and their slots, users and their roles.
//!
//! Read on demand and in the background ([`keep`]), kept in the catalog, so that a start and a page need no call.
//! [`discover`] finds the account behind a pair of keys; [`custom`] adds fields to it.

pub mod custom;
pub mod follow;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;
use tracing::warn;
use utoipa::ToSchema;

use super::Pipeline;
use super::configuration::AccountEntry;
use crate::flow::account::{Keys, Role};
use crate::flow::check::{self, ActivityFacts};
use crate::flow::{Account, AccountId};
pub use crate::leadsquared::Reply;
use crate::leadsquared::{self, Budget, Client, LeadField};
use crate::store::catalog::metadata::Read;
use crate::store::{self, Store};
use crate::sync::finish::Fields;

/// Where keys are tried first when nobody says where: any region tells of the right one (`leadsquared.md` 1.1).
pub const ANY_REGION: &str = "https://api.leadsquared.com";

/// A start, and the deliveries that waited for it, go first.
const SETTLE: Duration = Duration::from_secs(60);

/// How often it is looked at what is old.
const LOOK: Duration = Duration::from_secs(60);

const FIELDS_OLD_MS: i64 = 60 * 60 * 1_000;
const USERS_OLD_MS: i64 = 15 * 60 * 1_000;

const LEAD_FIELDS: &str = "lead-fields";
const ACTIVITY_TYPES: &str = "activity-types";
const USERS: &str = "users";

/// Why LeadSquared's answer is not there.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("account {0} is not in force on this host: see the host's log")]
    NoAccount(AccountId),
    #[error("{}", .0.sentence())]
    LeadSquared(#[from] leadsquared::Error),
    /// Somebody is looking whose keys these are; nothing is tried again by itself.
    #[error(
        "{api} cannot be reached ({cause}), and nothing was saved: correct the address, or try again"
    )]
    NotReached { api: String, cause: String },
    #[error("{0}")]
    Refused(String),
    #[error(transparent)]
    Store(#[from] store::Error),
}

/// One lead field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Field {
    /// Such as `mx_MRN`.
    pub schema_name: String,
    pub display_name: String,
    /// `Text`, `Number`, `Phone`, `Date`, `Select`, ...
    pub data_type: String,
    pub is_mandatory: bool,
    /// In characters; none where the account states none.
    pub max_length: Option<u32>,
    /// Whether LeadSquared shows it as unique.
    pub is_unique: bool,
    pub is_locked_after_create: bool,
    /// The choices of a select field.
    pub options: Vec<String>,
}

/// One activity type; its slots are read one type at a time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ActivityType {
    /// The numeric event code, such as 205.
    pub code: u32,
    pub name: String,
}

/// One field of an activity type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Slot {
    /// Such as `mx_Custom_1`.
    pub schema_name: String,
    pub display_name: String,
    /// `String`, `Number`, `DateTime`, `Dropdown`, ...
    pub data_type: String,
    pub is_mandatory: bool,
    /// In characters; none where the account states none.
    #[serde(default)]
    pub max_length: Option<u32>,
    /// The choices of a drop-down; empty where it takes anything.
    #[serde(default)]
    pub options: Vec<String>,
}

/// A user of the account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct User {
    pub id: String,
    pub name: String,
    pub email: String,
    /// Such as `Administrator` or `Sales_User`.
    pub role: String,
    pub is_active: bool,
}

impl From<User> for leadsquared::User {
    fn from(user: User) -> Self {
        Self {
            id: user.id,
            name: user.name,
            email: user.email,
            role: user.role,
            is_active: user.is_active,
        }
    }
}

/// What was found behind a pair of keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Found {
    /// Base address of the account's API.
    pub api: String,
    /// LeadSquared's own id of the account.
    pub organisation: String,
    /// Whose keys they are, and in which role.
    pub user: String,
    pub role: String,
    /// As LeadSquared has it, if it is an IANA name.
    pub time_zone: Option<String>,
    pub default_country_code: Option<String>,
    /// How many lead fields there are.
    pub lead_fields: usize,
    /// Lead fields whose names are those of patient identifiers.
    pub identifier_fields: Vec<String>,
}

impl From<LeadField> for Field {
    fn from(field: LeadField) -> Self {
        Self {
            schema_name: field.schema_name,
            display_name: field.display_name,
            data_type: field.data_type,
            is_mandatory: field.is_mandatory,
            max_length: field.max_length,
            is_unique: field.is_unique,
            is_locked_after_create: field.is_locked_after_create,
            options: field.options,
        }
    }
}

impl From<leadsquared::Slot> for Slot {
    fn from(slot: leadsquared::Slot) -> Self {
        Self {
            schema_name: slot.schema_name,
            display_name: slot.display_name,
            data_type: slot.data_type,
            is_mandatory: slot.is_mandatory,
            max_length: slot.max_length,
            options: slot.options,
        }
    }
}

impl From<Slot> for leadsquared::Slot {
    fn from(slot: Slot) -> Self {
        Self {
            schema_name: slot.schema_name,
            display_name: slot.display_name,
            data_type: slot.data_type,
            is_mandatory: slot.is_mandatory,
            max_length: slot.max_length,
            options: slot.options,
        }
    }
}

impl From<Field> for LeadField {
    fn from(field: Field) -> Self {
        Self {
            schema_name: field.schema_name,
            display_name: field.display_name,
            data_type: field.data_type,
            is_mandatory: field.is_mandatory,
            max_length: field.max_length,
            is_unique: field.is_unique,
            is_locked_after_create: field.is_locked_after_create,
            options: field.options,
        }
    }
}

/// What each known answer of LeadSquared leads to.
pub fn replies() -> Vec<Reply> {
    leadsquared::replies()
}

/// Whether a user may use the connector: administrators may, others by the account's list of roles.
///
/// Decided by what was read last, so a change in LeadSquared counts from the next reading, at most 15 minutes later.
pub fn may_use(account: &Account, user: &User) -> bool {
    let listed = |role: &Role| user.role == role.as_str();
    user.is_active && (user.role == "Administrator" || account.roles.iter().any(listed))
}

/// Finds the account behind `keys`, asking at `api` or at any region.
///
/// # Errors
/// What LeadSquared says of the keys.
pub async fn discover(api: Option<&str>, keys: &Keys) -> Result<Found, Error> {
    let mut asked = api.unwrap_or(ANY_REGION).to_owned();
    let caller = match client(&asked, keys)?.who_am_i().await {
        // Not every region answers for the others; the refusal says which one does.
        Err(leadsquared::Error::Moved { host }) => {
            let there = leadsquared::elsewhere(&asked, &host);
            asked = there.ok_or(leadsquared::Error::Unauthorized)?;
            let answer = client(&asked, keys)?.who_am_i().await;
            answer.map_err(|fault| not_reached(&asked, fault))?
        }
        answer => answer.map_err(|fault| not_reached(&asked, fault))?,
    };
    let api = match &caller.api_host {
        // A bare host name; only this machine is spoken to without TLS.
        Some(host) if asked.starts_with("http://") => format!("http://{host}"),
        Some(host) => format!("https://{host}"),
        None => asked,
    };
    let fields = client(&api, keys)?.lead_fields().await;
    let fields = fields.map_err(|fault| not_reached(&api, fault))?;
    let names = fields
        .iter()
        .map(|field| (field.schema_name.as_str(), field.display_name.as_str()));
    Ok(Found {
        identifier_fields: check::proposed_identifiers(names),
        lead_fields: fields.len(),
        time_zone: Some(caller.time_zone).filter(|zone| TimeZone::get(zone).is_ok()),
        default_country_code: caller.default_country_code,
        organisation: caller.organisation,
        user: caller.name,
        role: caller.role,
        api,
    })
}

/// From where to where an account goes with another address of its API; none where that leads to the same host.
///
/// Keys are good for the host that they were given for: whoever may name another one would else be sent them.
///
/// # Errors
/// The new address is no API's, or neither TLS nor this machine.
pub fn moves(before: &str, after: &str) -> Result<Option<(String, String)>, Error> {
    if before == after {
        return Ok(None);
    }
    let to = leadsquared::origin(after)?;
    let from = leadsquared::origin(before).unwrap_or_else(|_| before.to_owned());
    Ok((from != to).then_some((from, to)))
}

/// Names the address that was tried.
fn not_reached(api: &str, fault: leadsquared::Error) -> Error {
    match fault {
        leadsquared::Error::Unavailable { cause } => Error::NotReached {
            api: api.to_owned(),
            cause,
        },
        other => other.into(),
    }
}

fn client(api: &str, keys: &Keys) -> Result<Client, Error> {
    let config = leadsquared::Config {
        api: api.to_owned(),
        keys: leadsquared::Keys {
            access_key: keys.access_key.clone(),
            secret_key: keys.secret_key.clone(),
        },
        timeout: Duration::from_secs(30),
    };
    // Two calls, of an account whose plan is not known yet.
    let budget = Arc::new(Budget::new(0, Duration::from_secs(5), None));
    Ok(Client::new(&config, budget)?)
}

impl Pipeline {
    pub(super) fn entry(&self, account: &AccountId) -> Result<Arc<AccountEntry>, Error> {
        let configuration = self.configuration();
        let entry = configuration.account(account);
        entry
            .cloned()
            .ok_or_else(|| Error::NoAccount(account.clone()))
    }

    /// The lead fields as they were read last; reads them where they never were.
    pub async fn lead_fields(&self, account: &AccountId) -> Result<Read<Vec<Field>>, Error> {
        match self.store.catalog().metadata(account, LEAD_FIELDS).await? {
            Some(read) => Ok(read),
            None => self.read_lead_fields(account).await,
        }
    }

    /// Reads the lead fields now; deliveries use them from now on.
    pub async fn read_lead_fields(&self, account: &AccountId) -> Result<Read<Vec<Field>>, Error> {
        let entry = self.entry(account)?;
        let fields = entry.client.lead_fields().await?;
        let document: Vec<Field> = fields.into_iter().map(Field::from).collect();
        entry.remember(Some((Duration::ZERO, finished(document.clone()))));
        self.keep_read(account, LEAD_FIELDS, document).await
    }

    /// The activity types as they were read last; reads them where they never were.
    pub async fn activity_types(
        &self,
        account: &AccountId,
    ) -> Result<Read<Vec<ActivityType>>, Error> {
        let kept = self
            .store
            .catalog()
            .metadata(account, ACTIVITY_TYPES)
            .await?;
        match kept {
            Some(read) => Ok(read),
            None => self.read_activity_types(account).await,
        }
    }

    /// Reads the activity types now.
    pub async fn read_activity_types(
        &self,
        account: &AccountId,
    ) -> Result<Read<Vec<ActivityType>>, Error> {
        let types = self.entry(account)?.client.activity_types().await?;
        let types = types.into_iter().map(|kind| ActivityType {
            code: kind.code,
            name: kind.name,
        });
        self.keep_read(account, ACTIVITY_TYPES, types.collect())
            .await
    }

    /// The slots of an activity type as they were read last; reads them where they never were.
    pub async fn slots(&self, account: &AccountId, code: u32) -> Result<Read<Vec<Slot>>, Error> {
        let kept = self
            .store
            .catalog()
            .metadata(account, &slots_of(code))
            .await?;
        match kept {
            Some(read) => Ok(read),
            None => self.read_slots(account, code).await,
        }
    }

    /// What LeadSquared says of an activity type; read again where it lacks one of `wanted`, which may have been made a
    /// moment ago. Without an answer, what was read last counts.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn activity_facts(
        &self,
        account: &AccountId,
        code: u32,
        wanted: &[&str],
    ) -> Result<ActivityFacts, store::Error> {
        let kept = kept_activity(&self.store, account, code).await?;
        if kept != ActivityFacts::Unread && !kept.lacks(wanted.iter().copied()) {
            return Ok(kept);
        }
        let types = match self.read_activity_types(account).await {
            Ok(read) => read.document,
            Err(Error::Store(fault)) => return Err(fault),
            Err(_) => return Ok(kept),
        };
        if !types.iter().any(|kind| kind.code == code) {
            return Ok(ActivityFacts::NoSuchType);
        }
        match self.read_slots(account, code).await {
            Ok(_) => kept_activity(&self.store, account, code).await,
            Err(Error::Store(fault)) => Err(fault),
            Err(_) => Ok(kept),
        }
    }

    /// Reads the slots of an activity type now.
    pub async fn read_slots(
        &self,
        account: &AccountId,
        code: u32,
    ) -> Result<Read<Vec<Slot>>, Error> {
        let slots = self.entry(account)?.client.activity_slots(code).await?;
        let slots = slots.into_iter().map(Slot::from);
        let kept = self
            .keep_read(account, &slots_of(code), slots.collect())
            .await;
        // Routes hold them.
        self.changed();
        kept
    }

    /// The users as they were read last; reads them where they never were.
    pub async fn users(&self, account: &AccountId) -> Result<Read<Vec<User>>, Error> {
        match self.store.catalog().metadata(account, USERS).await? {
            Some(read) => Ok(read),
            None => self.read_users(account).await,
        }
    }

    /// Reads the users now.
    pub async fn read_users(&self, account: &AccountId) -> Result<Read<Vec<User>>, Error> {
        let users = self.entry(account)?.client.users().await;
        // Asked every 15 minutes: keys that are refused are known before a message waits.
        let users = users.inspect_err(|fault| self.watch.refused(account, fault))?;
        let users = users.into_iter().map(|user| User {
            id: user.id,
            name: user.name,
            email: user.email,
            role: user.role,
            is_active: user.is_active,
        });
        self.keep_read(account, USERS, users.collect()).await
    }

    async fn keep_read<T: Serialize>(
        &self,
        account: &AccountId,
        kind: &str,
        document: T,
    ) -> Result<Read<T>, Error> {
        self.watch.served(account);
        let catalog = self.store.catalog();
        catalog.put_metadata(account, kind, &document).await?;
        Ok(Read {
            document,
            read_at_ms: Timestamp::now().as_millisecond(),
        })
    }

    /// Reads what has become old: lead fields and the types that flows use hourly, users every 15 minutes.
    async fn read_what_is_old(&self) -> Result<(), Error> {
        let configuration = self.configuration();
        let catalog = self.store.catalog();
        let now = Timestamp::now().as_millisecond();
        for account in configuration.accounts() {
            let users: Option<Read<Vec<User>>> = catalog.metadata(account, USERS).await?;
            if users.is_none_or(|read| now - read.read_at_ms >= USERS_OLD_MS) {
                self.read_users(account).await?;
            }
            let fields: Option<Read<Vec<Field>>> = catalog.metadata(account, LEAD_FIELDS).await?;
            if fields.is_none_or(|read| now - read.read_at_ms >= FIELDS_OLD_MS) {
                Box::pin(self.follow(account)).await?;
                self.read_lead_fields(account).await?;
                self.read_activity_types(account).await?;
                let used = configuration.flows();
                let used = used.filter(|route| route.flow.account == *account);
                let used = used.filter_map(|route| Some(route.flow.activity.as_ref()?.code));
                for code in used.collect::<std::collections::BTreeSet<_>>() {
                    self.read_slots(account, code).await?;
                }
            }
        }
        Ok(())
    }
}

/// Keeps what is known of every account fresh until `shutdown`.
pub async fn keep(pipeline: Arc<Pipeline>, shutdown: CancellationToken) {
    let mut wait = SETTLE;
    loop {
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = shutdown.cancelled() => return,
        }
        wait = LOOK;
        if let Err(fault) = Box::pin(pipeline.read_what_is_old()).await {
            warn!(%fault, "what LeadSquared knows of an account was not read; tried again in a minute");
        }
    }
}

/// The lead fields that were kept, and how old they are.
pub(super) async fn kept_fields(store: &Store, account: &AccountId) -> Option<(Duration, Fields)> {
    let read: Option<Read<Vec<Field>>> = store
        .catalog()
        .metadata(account, LEAD_FIELDS)
        .await
        .ok()
        .flatten();
    let read = read?;
    let age = Timestamp::now().as_millisecond() - read.read_at_ms;
    let age = Duration::from_millis(u64::try_from(age).ok()?);
    Some((age, finished(read.document)))
}

/// The lead fields that were kept, with whether each is unique; none where they never were read.
pub async fn kept_uniqueness(
    store: &Store,
    account: &AccountId,
) -> Result<Option<BTreeMap<String, bool>>, store::Error> {
    let read: Option<Read<Vec<Field>>> = store.catalog().metadata(account, LEAD_FIELDS).await?;
    Ok(read.map(|read| {
        let fields = read.document.into_iter();
        fields
            .map(|field| (field.schema_name, field.is_unique))
            .collect()
    }))
}

/// What was kept of an activity type.
///
/// # Errors
/// When the store does not answer.
pub async fn kept_activity(
    store: &Store,
    account: &AccountId,
    code: u32,
) -> Result<ActivityFacts, store::Error> {
    let catalog = store.catalog();
    let types: Option<Read<Vec<ActivityType>>> = catalog.metadata(account, ACTIVITY_TYPES).await?;
    let Some(types) = types else {
        return Ok(ActivityFacts::Unread);
    };
    let Some(kind) = types.document.into_iter().find(|kind| kind.code == code) else {
        return Ok(ActivityFacts::NoSuchType);
    };
    let slots: Option<Read<Vec<Slot>>> = catalog.metadata(account, &slots_of(code)).await?;
    Ok(match slots {
        None => ActivityFacts::Unread,
        Some(read) => ActivityFacts::Type {
            name: kind.name,
            slots: read
                .document
                .into_iter()
                .map(|slot| slot.schema_name)
                .collect(),
        },
    })
}

/// The slots of an activity type as they were read last; none where they never were.
///
/// # Errors
/// When the store does not answer.
pub async fn kept_slots(
    store: &Store,
    account: &AccountId,
    code: u32,
) -> Result<Vec<leadsquared::Slot>, store::Error> {
    let catalog = store.catalog();
    let kept: Option<Read<Vec<Slot>>> = catalog.metadata(account, &slots_of(code)).await?;
    let kept = kept.map(|read| read.document).unwrap_or_default();
    Ok(kept.into_iter().map(leadsquared::Slot::from).collect())
}

fn finished(fields: Vec<Field>) -> Fields {
    fields.into_iter().map(LeadField::from).collect()
}

fn slots_of(code: u32) -> String {
    format!("slots-{code}")
}
