//! Who may use the console and the interface, and for what: people with sessions, scripts with tokens, and their rights.
//!
//! A token is an id and a random secret of 256 bits, of which only the SHA-256 is kept; so is the cookie of a session
//! ([`session`]). How people come in is in [`people`], what slows strangers down in [`door`]; what everybody did is in
//! `store::catalog::audit`. Knows nothing of HTTP. Start at [`check`].

pub mod door;
pub mod password;
pub mod people;
pub mod right;
pub mod session;

use std::fmt;

use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

use crate::store;
use crate::store::catalog::token::TokenRow;
use crate::store::catalog::{Author, Catalog};
pub use right::{Right, Rights};

/// What every token begins with, so that one that leaked is recognised.
const PREFIX: &str = "lig_";

/// When a token was used is noted this often at most, in milliseconds.
const NOTED_EVERY_MS: i64 = 60_000;

/// Why a request is not let in.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("a token is needed: send the header `Authorization: Bearer lig_…`")]
    NoToken,
    #[error(
        "the token is not known, was revoked or is too old, or whoever made it may not sign in any more"
    )]
    Unknown,
    #[error("{name:?} lacks the right {}", right.as_str())]
    Lacks { name: String, right: Right },
    #[error(transparent)]
    Store(#[from] store::Error),
}

/// Whoever a valid token was given to, or a person who has signed in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    pub name: String,
    pub rights: Rights,
    pub who: Who,
}

/// What somebody who calls is.
#[derive(Clone, PartialEq, Eq)]
pub enum Who {
    Token {
        /// The id of the person who made it, if it was made by one.
        maker: Option<String>,
        expires_at_ms: Option<i64>,
    },
    Person {
        id: String,
        login: String,
        session: String,
        /// What every form of this session carries.
        form_token: String,
    },
}

impl fmt::Debug for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Who::Token { .. } => f.write_str("Token"),
            Who::Person { id, .. } => write!(f, "Person({id})"),
        }
    }
}

impl Caller {
    /// Demands a right.
    ///
    /// # Errors
    /// `Lacks` names it.
    pub fn may(&self, right: Right) -> Result<(), Error> {
        if self.rights.holds(right) {
            return Ok(());
        }
        Err(Error::Lacks {
            name: self.name.clone(),
            right,
        })
    }

    /// As the audit names it.
    pub fn author(&self) -> Author {
        match &self.who {
            Who::Token { .. } => Author(format!("token {}", self.name)),
            Who::Person { login, .. } => Author(login.clone()),
        }
    }
}

/// A new token in full; shown once and kept nowhere.
pub struct Token(String);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(redacted)")
    }
}

impl Token {
    /// The text to be sent as bearer token.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

/// Makes a token that is nobody's own, and keeps it without its secret.
///
/// # Errors
/// When the system has no randomness, or the store does not answer.
pub async fn issue(
    catalog: &Catalog,
    name: &str,
    rights: &Rights,
    author: &Author,
) -> anyhow::Result<Token> {
    keep(catalog, name, rights, author, None, None).await
}

/// Makes a token for a caller, good for no longer than what they call with: with a person it ends, and with a token of
/// theirs, too. Gives until when, if it has an end of its own.
///
/// # Errors
/// As [`issue`].
pub async fn issue_for(
    catalog: &Catalog,
    caller: &Caller,
    name: &str,
    rights: &Rights,
    expires_at_ms: Option<i64>,
) -> anyhow::Result<(Token, Option<i64>)> {
    let (maker, own) = match &caller.who {
        Who::Person { id, .. } => (Some(id.as_str()), None),
        Who::Token {
            maker,
            expires_at_ms,
        } => (maker.as_deref(), *expires_at_ms),
    };
    let until = expires_at_ms.into_iter().chain(own).min();
    let token = keep(catalog, name, rights, &caller.author(), maker, until).await?;
    Ok((token, until))
}

async fn keep(
    catalog: &Catalog,
    name: &str,
    rights: &Rights,
    author: &Author,
    maker: Option<&str>,
    expires_at_ms: Option<i64>,
) -> anyhow::Result<Token> {
    let mut secret = [0; 32];
    let mut id = [0; 8];
    getrandom::fill(&mut secret)?;
    getrandom::fill(&mut id)?;
    let (id, secret) = (hex(&id), hex(&secret));
    let row = TokenRow {
        id: id.clone(),
        name: name.to_owned(),
        rights: rights.to_string(),
        digest: Sha256::digest(&secret).to_vec(),
        created_at_ms: Timestamp::now().as_millisecond(),
        used_at_ms: None,
        revoked_at_ms: None,
        maker: maker.map(|id| (id.to_owned(), String::new())),
        expires_at_ms,
    };
    catalog.add_token(&row, author).await?;
    Ok(Token(format!("{PREFIX}{id}_{secret}")))
}

/// Tells who sent `bearer`, the header's text behind `Bearer `.
///
/// # Errors
/// `NoToken` without one, `Unknown` for one that was never given out, is revoked or too old, or whose maker may not enter.
pub async fn check(catalog: &Catalog, bearer: Option<&str>) -> Result<Caller, Error> {
    let bearer = bearer.ok_or(Error::NoToken)?.trim();
    let (id, secret) = bearer
        .strip_prefix(PREFIX)
        .and_then(|rest| rest.split_once('_'))
        .ok_or(Error::Unknown)?;
    let row = catalog.token(id).await?.ok_or(Error::Unknown)?;
    let same = is_same(&row.digest, &Sha256::digest(secret));
    if !same || row.revoked_at_ms.is_some() {
        return Err(Error::Unknown);
    }
    let now = Timestamp::now().as_millisecond();
    if row.expires_at_ms.is_some_and(|until| until <= now) {
        return Err(Error::Unknown);
    }
    let mut rights = Rights::known(&row.rights);
    let maker = row.maker.map(|(id, _)| id);
    if let Some(maker) = &maker {
        // What somebody made ends with what they may do.
        let person = catalog.person(maker).await?.ok_or(Error::Unknown)?;
        if !session::may_enter(catalog, &person).await? {
            return Err(Error::Unknown);
        }
        rights = rights.both(&Rights::known(&person.rights));
    }
    if row.used_at_ms.is_none_or(|at| now - at >= NOTED_EVERY_MS) {
        catalog.token_used(&row.id, now).await?;
    }
    Ok(Caller {
        rights,
        name: row.name,
        who: Who::Token {
            maker,
            expires_at_ms: row.expires_at_ms,
        },
    })
}

/// Compares in a time that does not tell where the first difference is.
fn is_same(kept: &[u8], sent: &[u8]) -> bool {
    let different = kept.iter().zip(sent).fold(0, |sum, (a, b)| sum | (a ^ b));
    kept.len() == sent.len() && std::hint::black_box(different) == 0
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_compared_whole() {
        assert!(is_same(&[1, 2, 3], &[1, 2, 3]));
        assert!(!is_same(&[1, 2, 3], &[1, 2, 4]));
        assert!(!is_same(&[1, 2, 3], &[0, 2, 3]));
        assert!(!is_same(&[1, 2, 3], &[1, 2]));
        assert!(!is_same(&[], &[1]));
    }

    #[test]
    fn a_token_is_not_shown_by_accident() {
        assert_eq!(format!("{:?}", Token("lig_1_2".into())), "Token(redacted)");
    }
}
