//! Sessions of people: a cookie with an id and a random secret, of which only the SHA-256 is kept.
//!
//! A session ends twelve hours after it began, two hours after it was used last, when its owner signs out, or when the
//! owner's password, role or permission to sign in changes. Start at [`check`].

use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

use super::{Caller, Error, Rights, Who, hex, is_same};
use crate::store;
use crate::store::catalog::person::{PersonRow, SessionRow};
use crate::store::catalog::{Author, Catalog};

/// How long a session lasts, and how long it may rest, in milliseconds.
pub const LASTS_MS: i64 = 12 * 60 * 60 * 1_000;
const RESTS_MS: i64 = 2 * 60 * 60 * 1_000;

/// When a session was used is noted this often at most, in milliseconds.
const NOTED_EVERY_MS: i64 = 60_000;

/// Begins a session of `person`; gives the cookie's value.
///
/// # Errors
/// When the system has no randomness, or the store does not answer.
pub async fn begin(catalog: &Catalog, person: &PersonRow) -> anyhow::Result<String> {
    let (mut id, mut secret) = ([0; 12], [0; 32]);
    getrandom::fill(&mut id)?;
    getrandom::fill(&mut secret)?;
    let (id, secret) = (hex(&id), hex(&secret));
    let now = Timestamp::now().as_millisecond();
    catalog
        .forget_sessions(now - LASTS_MS, now - RESTS_MS)
        .await?;
    let row = SessionRow {
        id: id.clone(),
        person: person.id.clone(),
        digest: Sha256::digest(&secret).to_vec(),
        created_at_ms: now,
        used_at_ms: now,
    };
    catalog.begin_session(&row, person, &author(person)).await?;
    Ok(format!("{id}_{secret}"))
}

/// Tells whose session a cookie is of.
///
/// # Errors
/// `Unknown` for one that is over or was never begun, and where its owner may not sign in any more.
pub async fn check(catalog: &Catalog, cookie: &str) -> Result<Caller, Error> {
    let (id, secret) = cookie.split_once('_').ok_or(Error::Unknown)?;
    let session = catalog.session(id).await?.ok_or(Error::Unknown)?;
    let now = Timestamp::now().as_millisecond();
    let is_over = now - session.created_at_ms > LASTS_MS || now - session.used_at_ms > RESTS_MS;
    if is_over || !is_same(&session.digest, &Sha256::digest(secret)) {
        return Err(Error::Unknown);
    }
    let person = catalog.person(&session.person).await?;
    let person = person.ok_or(Error::Unknown)?;
    if !may_enter(catalog, &person).await? {
        return Err(Error::Unknown);
    }
    if now - session.used_at_ms >= NOTED_EVERY_MS {
        catalog.session_used(&session.id, now).await?;
    }
    Ok(Caller {
        name: person.name.clone(),
        rights: Rights::known(&person.rights),
        who: Who::Person {
            id: person.id,
            login: person.login,
            session: session.id,
            form_token: form_token(secret),
        },
    })
}

/// Whether a person may sign in at all: not shut out, and of a role that may use the connector.
pub(super) async fn may_enter(catalog: &Catalog, person: &PersonRow) -> Result<bool, store::Error> {
    Ok(person.disabled_at_ms.is_none() && catalog.role_may_use(&person.role).await?)
}

/// What every form of a session carries: whoever knows it has seen a page of that session.
pub fn form_token(secret: &str) -> String {
    hex(&Sha256::digest(format!("form {secret}")))
}

/// Whether `sent` is the token that is expected.
pub fn is_form_token(expected: &str, sent: &str) -> bool {
    is_same(expected.as_bytes(), sent.as_bytes())
}

/// As the audit names a person.
pub(super) fn author(person: &PersonRow) -> Author {
    Author(person.login.clone())
}
