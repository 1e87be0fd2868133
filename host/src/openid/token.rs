//! Id tokens: their parts (RFC 7515, compact serialization), and what must be true of them (OpenID Connect Core 1.0,
//! section 3.1.3.7).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::Error;

/// How far a provider's clock may be from ours, in seconds.
const CLOCKS_DIFFER: i64 = 120;

/// The longest subject (section 2).
const MAX_SUBJECT_BYTES: usize = 255;

/// How a token says that it is signed.
#[derive(Debug, Deserialize)]
pub(super) struct Header {
    #[serde(rename = "alg")]
    pub(super) algorithm: String,
    #[serde(rename = "kid")]
    pub(super) key: Option<String>,
    /// What a reader must understand; nothing is.
    #[serde(rename = "crit")]
    critical: Option<serde::de::IgnoredAny>,
}

/// A token taken apart.
pub(super) struct Parts<'a> {
    pub(super) header: Header,
    /// What the signature is of.
    pub(super) signed: &'a [u8],
    pub(super) signature: Vec<u8>,
    payload: Vec<u8>,
}

/// Takes a token apart; nothing of it is true yet.
pub(super) fn parts(token: &str) -> Result<Parts<'_>, Error> {
    let no_token = || Error::Untrue("it is no signed token");
    let (signed, signature) = token.rsplit_once('.').ok_or_else(no_token)?;
    let (header, payload) = signed.split_once('.').ok_or_else(no_token)?;
    let decoded = |text: &str| URL_SAFE_NO_PAD.decode(text).map_err(|_| no_token());
    let header: Header = serde_json::from_slice(&decoded(header)?).map_err(|_| no_token())?;
    if header.critical.is_some() {
        return Err(Error::Untrue(
            "it is signed in a way that is not known here",
        ));
    }
    Ok(Parts {
        header,
        signed: signed.as_bytes(),
        signature: decoded(signature)?,
        payload: decoded(payload)?,
    })
}

impl Parts<'_> {
    /// What it says, once its signature is found good.
    pub(super) fn claims<T: DeserializeOwned>(&self) -> Result<T, Error> {
        serde_json::from_slice(&self.payload).map_err(|_| Error::Untrue("its claims lack a member"))
    }
}

/// One or several.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

/// What a token, or the userinfo endpoint, says of somebody. Userinfo has only subject and mail.
#[derive(Debug, Deserialize)]
pub(super) struct Claims {
    #[serde(rename = "sub")]
    pub(super) subject: String,
    #[serde(rename = "iss")]
    issuer: Option<String>,
    #[serde(rename = "aud")]
    audience: Option<Audience>,
    #[serde(rename = "azp")]
    party: Option<String>,
    /// Seconds since 1970; some providers send fractions.
    #[serde(rename = "exp")]
    until: Option<f64>,
    #[serde(rename = "iat")]
    made: Option<f64>,
    nonce: Option<String>,
    #[serde(flatten)]
    pub(super) mail: Mail,
}

/// A mail address, and whether the provider knows it to be this person's.
#[derive(Debug, Deserialize)]
pub(super) struct Mail {
    pub(super) email: Option<String>,
    email_verified: Option<Verified>,
}

/// Some providers write a word where the standard has a boolean.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Verified {
    Said(bool),
    Written(String),
}

impl Mail {
    /// The address in lower case, if the provider stands for it; `trusts` takes one of which nothing is said.
    pub(super) fn verified(self, trusts: bool) -> Option<String> {
        let is_verified = match self.email_verified {
            Some(Verified::Said(said)) => said,
            Some(Verified::Written(word)) => word == "true",
            None => trusts,
        };
        let email = self.email.filter(|_| is_verified)?;
        Some(email.trim().to_lowercase())
    }
}

/// What a token must say.
pub(super) struct Expected<'a> {
    pub(super) issuer: &'a str,
    pub(super) client: &'a str,
    pub(super) nonce: &'a str,
    /// Seconds since 1970.
    pub(super) now: i64,
}

impl Claims {
    /// # Errors
    /// Names what does not hold.
    pub(super) fn check(&self, expected: &Expected<'_>) -> Result<(), Error> {
        if self.issuer.as_deref() != Some(expected.issuer) {
            return Err(Error::Untrue("it was made by another issuer"));
        }
        let (is_for_us, is_for_others) = match &self.audience {
            Some(Audience::One(name)) => (name == expected.client, false),
            Some(Audience::Several(names)) => (
                names.iter().any(|name| name == expected.client),
                names.iter().any(|name| name != expected.client),
            ),
            None => (false, false),
        };
        let party = self.party.as_deref();
        let is_ours = party.map_or(!is_for_others, |party| party == expected.client);
        if !is_for_us || !is_ours {
            return Err(Error::Untrue(
                "it was made for somebody else than openid.client_id",
            ));
        }
        #[expect(clippy::cast_precision_loss, reason = "seconds of this age are exact")]
        let (now, differ) = (expected.now as f64, CLOCKS_DIFFER as f64);
        if self.until.is_none_or(|until| until + differ <= now) {
            return Err(Error::Untrue(
                "it is too old; compare the clock of this machine with the provider's",
            ));
        }
        if self.made.is_none_or(|made| made - differ > now) {
            return Err(Error::Untrue(
                "it is of tomorrow; compare the clock of this machine with the provider's",
            ));
        }
        if self.nonce.as_deref() != Some(expected.nonce) {
            return Err(Error::Untrue("it answers another sign-in"));
        }
        if self.subject.is_empty() || self.subject.len() > MAX_SUBJECT_BYTES {
            return Err(Error::Untrue("it names nobody"));
        }
        Ok(())
    }
}
