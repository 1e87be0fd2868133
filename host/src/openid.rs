//! Sign-in by an identity provider that speaks OpenID Connect Core 1.0: the authorization code flow with PKCE.
//!
//! [`Provider::begin`] makes the address to which a browser is sent, [`Provider::finish`] exchanges what it came back
//! with for an [`Identity`]. Nothing is kept in between: state, nonce and verifier follow from one secret, which the
//! browser keeps ([`Entry`]), so that any host of several can finish what another began. Who an identity is on this
//! console is `access`'s business. Knows no other room; start at [`Provider`].

mod entry;
mod keys;
#[cfg(test)]
mod tests;
mod token;

use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use reqwest::{Certificate, Client, RequestBuilder, Response, Url};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

pub use entry::Entry;
use keys::Keys;
use token::{Claims, Expected};

/// How long what a provider says of itself, and its keys, are taken for true.
const FRESH: Duration = Duration::from_secs(60 * 60);

/// A key that is not known is asked for this often at most: whoever makes tokens up must not make calls.
const KEYS_AGAIN: Duration = Duration::from_secs(10);

/// Nobody waits longer for a page.
const PATIENCE: Duration = Duration::from_secs(10);

/// For how long a provider that did not answer is not asked again: strangers may ask for it as often as they like.
const SILENT: Duration = Duration::from_secs(10);

/// The largest answer of a provider, in bytes.
const MAX_ANSWER_BYTES: usize = 1024 * 1024;

/// Which provider signs people in, and what it knows this console by.
#[derive(Debug, Clone)]
pub struct Settings {
    /// As the provider writes it, letter by letter.
    pub issuer: String,
    pub client_id: String,
    /// None for a public client.
    pub client_secret: Option<Secret>,
    /// Where browsers find the console; the provider must know [`BACK`] below it.
    pub console: Url,
    /// What people call it: `Sign in with …`.
    pub name: String,
    /// A file of PEM certificates that the provider's must lead to; without one, those of the machine.
    pub authorities: Option<PathBuf>,
    /// A mail address counts even where the provider does not say that it verified it.
    pub trust_mail: bool,
    /// Passwords open nothing any more.
    pub only: bool,
}

/// The path of the console to which a browser comes back.
pub const BACK: &str = "/sign-in/openid/back";

/// What the provider knows this console by; not shown.
#[derive(Clone)]
pub struct Secret(pub String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(redacted)")
    }
}

/// Whom a provider has signed in.
#[derive(Clone, PartialEq, Eq)]
pub struct Identity {
    pub issuer: String,
    /// Stays the same for ever, unlike a mail address.
    pub subject: String,
    /// In lower case; none where the provider tells none, or did not verify it.
    pub mail: Option<String>,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Identity(redacted)")
    }
}

/// Why nobody was signed in.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The settings cannot work.
    #[error("{0}")]
    Settings(String),
    /// The browser came back with something else than it was sent away with.
    #[error(
        "this sign-in was begun in another browser, or more than ten minutes ago: begin it again"
    )]
    Astray,
    /// The provider says no, with a code of OAuth 2.0 or OpenID Connect.
    #[error("the identity provider did not sign you in ({0}): try again, or ask whoever runs it")]
    Denied(String),
    /// The provider was not reached, or its answer is none.
    #[error("the identity provider could not be asked ({0}): try again in a minute")]
    Silent(String),
    /// The provider refuses to exchange a code, mostly because client id, secret or address are not as it knows them.
    #[error(
        "the identity provider did not let this console ask who you are ({0}): whoever runs the console compares openid.client_id, its secret and openid.console with the provider"
    )]
    Refused(String),
    /// The provider's answer must not be believed.
    #[error("what the identity provider answered is not to be trusted: {0}")]
    Untrue(&'static str),
}

/// What a provider says of itself (OpenID Connect Discovery 1.0, section 3).
#[derive(Debug, Clone, Deserialize)]
struct Metadata {
    issuer: String,
    authorization_endpoint: Address,
    token_endpoint: Address,
    jwks_uri: Address,
    userinfo_endpoint: Option<Address>,
    #[serde(default)]
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
}

/// An address that nobody on the way can listen at.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "String")]
struct Address(Url);

impl TryFrom<String> for Address {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, &'static str> {
        let parsed: Option<Url> = text.parse().ok();
        parsed
            .filter(is_safe)
            .map(Self)
            .ok_or("no address of https")
    }
}

/// What is known of a provider for a while.
#[derive(Default)]
struct Known {
    metadata: Option<(Instant, Metadata)>,
    /// When and why it was not told last.
    silent: Option<(Instant, String)>,
    keys: Option<(Instant, Keys)>,
}

/// An identity provider, asked when it is needed.
pub struct Provider {
    settings: Settings,
    http: Client,
    back: Url,
    known: Mutex<Known>,
}

impl std::fmt::Debug for Provider {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Provider")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

/// What the token endpoint answers (OpenID Connect Core 1.0, section 3.1.3.3).
#[derive(Deserialize)]
struct Exchanged {
    id_token: String,
    access_token: String,
}

/// What it answers instead (RFC 6749, section 5.2).
#[derive(Deserialize)]
struct Refusal {
    error: String,
}

impl Provider {
    /// Makes ready to ask; opens no connection.
    ///
    /// # Errors
    /// `Settings`.
    pub fn new(settings: Settings) -> Result<Self, Error> {
        let issuer: Url = settings
            .issuer
            .parse()
            .map_err(|_| Error::Settings("openid.issuer: is no address".into()))?;
        if !is_safe(&issuer) || issuer.query().is_some() || issuer.fragment().is_some() {
            let text = "openid.issuer: begins with https:// (http:// on this machine only) and has no query";
            return Err(Error::Settings(text.into()));
        }
        if !is_safe(&settings.console) || settings.console.path() != "/" {
            let text = "openid.console: is the console's address as browsers write it, such as https://bridge.example.org";
            return Err(Error::Settings(text.into()));
        }
        let back = settings
            .console
            .join(BACK)
            .map_err(|_| Error::Settings("openid.console: is no address".into()))?;
        // reqwest asks for the process's provider; the first to install one wins, and all of ours are ring.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = Client::builder()
            .user_agent(concat!("ligature/", env!("CARGO_PKG_VERSION")))
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            // Below the time for all: what does not answer is remembered.
            .timeout(PATIENCE * 4 / 5);
        if let Some(file) = &settings.authorities {
            builder = builder.tls_certs_only(authorities(file)?);
        } else if issuer.scheme() == "http" {
            // Nobody there shows a certificate, so a machine without authorities must do.
            builder = builder.tls_certs_only([]);
        }
        let http = builder.build().map_err(|fault| {
            let text =
                format!("TLS cannot be set up, check this machine's root certificates ({fault})");
            Error::Settings(text)
        })?;
        Ok(Self {
            settings,
            http,
            back,
            known: Mutex::default(),
        })
    }

    /// What people call it.
    pub fn name(&self) -> &str {
        &self.settings.name
    }

    /// Whether passwords open nothing.
    pub fn is_only(&self) -> bool {
        self.settings.only
    }

    /// Where to send a browser that keeps `entry`.
    ///
    /// # Errors
    /// `Silent` and `Untrue`.
    pub async fn begin(&self, entry: &Entry) -> Result<Url, Error> {
        let metadata = in_time(self.metadata()).await?;
        let mut address = metadata.authorization_endpoint.0;
        address
            .query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", &self.settings.client_id)
            .append_pair("redirect_uri", self.back.as_str())
            .append_pair("scope", "openid email profile")
            .append_pair("state", &entry.state())
            .append_pair("nonce", &entry.nonce())
            .append_pair("code_challenge", &entry.challenge())
            .append_pair("code_challenge_method", "S256");
        Ok(address)
    }

    /// Whom the provider has signed in; `said` is the query that the browser came back with, `entry` what it kept.
    ///
    /// # Errors
    /// Every one but `Settings`.
    pub async fn finish(
        &self,
        entry: &Entry,
        said: &[(String, String)],
    ) -> Result<Identity, Error> {
        in_time(self.identity(entry, said)).await
    }

    async fn identity(&self, entry: &Entry, said: &[(String, String)]) -> Result<Identity, Error> {
        let of = |name: &str| {
            let mut found = said.iter().filter(|(known, _)| known == name);
            // Twice the same member is somebody's trick.
            found.next().filter(|_| found.next().is_none())
        };
        let of = |name: &str| of(name).map(|(_, value)| value.as_str());
        if of("state").is_none_or(|state| !entry.is_state(state)) {
            return Err(Error::Astray);
        }
        // RFC 9207: an answer of another provider is none of this one.
        if of("iss").is_some_and(|issuer| issuer != self.settings.issuer) {
            return Err(Error::Untrue("it comes from another issuer"));
        }
        if let Some(code) = of("error") {
            return Err(Error::Denied(code_of(code)));
        }
        let code = of("code").ok_or(Error::Astray)?;
        let metadata = self.metadata().await?;
        let exchanged = self.exchange(&metadata, entry, code).await?;
        let expected = Expected {
            issuer: &self.settings.issuer,
            client: &self.settings.client_id,
            nonce: &entry.nonce(),
            now: Timestamp::now().as_second(),
        };
        let mut claims = self
            .verified(&metadata, &exchanged.id_token, &expected)
            .await?;
        if claims.mail.email.is_none()
            && let Some(Address(userinfo)) = metadata.userinfo_endpoint
        {
            let request = self.http.get(userinfo).bearer_auth(&exchanged.access_token);
            let told: Claims = read(sent(request).await?).await?;
            // Section 5.3.2: otherwise the answer may be somebody else's.
            if told.subject != claims.subject {
                return Err(Error::Untrue("it tells of somebody else"));
            }
            claims.mail = told.mail;
        }
        let mail = claims.mail.verified(self.settings.trust_mail);
        Ok(Identity {
            issuer: self.settings.issuer.clone(),
            subject: claims.subject,
            mail,
        })
    }

    async fn exchange(
        &self,
        metadata: &Metadata,
        entry: &Entry,
        code: &str,
    ) -> Result<Exchanged, Error> {
        let verifier = entry.verifier();
        let client = self.settings.client_id.as_str();
        let mut form = vec![
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", self.back.as_str()),
            ("code_verifier", &verifier),
        ];
        let request = self.http.post(metadata.token_endpoint.0.clone());
        let methods = metadata.token_endpoint_auth_methods_supported.as_deref();
        // What a provider takes that names nothing (OpenID Connect Discovery 1.0, section 3).
        let takes_basic =
            methods.is_none_or(|methods| methods.iter().any(|name| name == "client_secret_basic"));
        let request = match &self.settings.client_secret {
            // RFC 6749, section 2.3.1: both are encoded as members of a form first.
            Some(secret) if takes_basic => {
                request.basic_auth(encoded(client), Some(encoded(&secret.0)))
            }
            Some(secret) => {
                form.extend([("client_id", client), ("client_secret", &secret.0)]);
                request
            }
            None => {
                form.push(("client_id", client));
                request
            }
        };
        let body = reqwest::Url::parse_with_params("http://form/", &form)
            .map_err(|_| Error::Untrue("its code cannot be sent"))?;
        let request = request
            .header("content-type", "application/x-www-form-urlencoded")
            .body(body.query().unwrap_or_default().to_owned());
        let answer = request.send().await.map_err(silent)?;
        if answer.status().is_client_error() {
            let refusal: Refusal = read(answer).await?;
            return Err(match refusal.error.as_str() {
                // The code is used up or too old: that is the browser's doing.
                "invalid_grant" => Error::Denied(code_of(&refusal.error)),
                _ => Error::Refused(code_of(&refusal.error)),
            });
        }
        read(checked(answer)?).await
    }

    /// What an id token says, once its signature and everything that is expected of it hold.
    async fn verified(
        &self,
        metadata: &Metadata,
        token: &str,
        expected: &Expected<'_>,
    ) -> Result<Claims, Error> {
        let parts = token::parts(token)?;
        let mut known = self.known.lock().await;
        let is_good = known.keys.as_ref().is_some_and(|(at, keys)| {
            let age = at.elapsed();
            age < KEYS_AGAIN || (age < FRESH && keys.knows(&parts.header))
        });
        if !is_good {
            let answer = sent(self.http.get(metadata.jwks_uri.0.clone())).await?;
            known.keys = Some((Instant::now(), read(answer).await?));
        }
        let (_, keys) = known.keys.as_ref().ok_or(Error::Untrue("it has no keys"))?;
        keys.verify(&parts)?;
        drop(known);
        let claims: Claims = parts.claims()?;
        claims.check(expected)?;
        Ok(claims)
    }

    async fn metadata(&self) -> Result<Metadata, Error> {
        let mut known = self.known.lock().await;
        if let Some((at, metadata)) = &known.metadata
            && at.elapsed() < FRESH
        {
            return Ok(metadata.clone());
        }
        if let Some((at, why)) = &known.silent
            && at.elapsed() < SILENT
        {
            return Err(Error::Silent(why.clone()));
        }
        let metadata = match self.read_metadata().await {
            Ok(metadata) => metadata,
            Err(Error::Silent(why)) => {
                known.silent = Some((Instant::now(), why.clone()));
                return Err(Error::Silent(why));
            }
            Err(fault) => return Err(fault),
        };
        if metadata.issuer != self.settings.issuer {
            return Err(Error::Untrue(
                "it calls itself by another name than openid.issuer; write that one, letter by letter",
            ));
        }
        known.metadata = Some((Instant::now(), metadata.clone()));
        Ok(metadata)
    }

    async fn read_metadata(&self) -> Result<Metadata, Error> {
        let issuer = self.settings.issuer.trim_end_matches('/');
        let request = self
            .http
            .get(format!("{issuer}/.well-known/openid-configuration"));
        read(sent(request).await?).await
    }
}

/// Nobody waits longer, for the answers of others among it.
async fn in_time<T>(asking: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let late = |_| Error::Silent("it took too long".into());
    timeout(PATIENCE, asking).await.map_err(late)?
}

fn authorities(file: &std::path::Path) -> Result<Vec<Certificate>, Error> {
    let fault = |text: String| Error::Settings(format!("openid.authorities: {text}"));
    let bytes = std::fs::read(file)
        .map_err(|error| fault(format!("cannot read {}: {error}", file.display())))?;
    let found = Certificate::from_pem_bundle(&bytes).ok();
    found
        .filter(|found| !found.is_empty())
        .ok_or_else(|| fault(format!("{} holds no certificate as PEM", file.display())))
}

/// Whether nobody on the way can read or change what is said there.
fn is_safe(address: &Url) -> bool {
    let is_here = match address.host_str() {
        Some("localhost") => true,
        Some(host) => host
            .trim_matches(['[', ']'])
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback()),
        None => false,
    };
    address.scheme() == "https" || (address.scheme() == "http" && is_here)
}

/// A code of the provider as it can be shown: a few words of ASCII, whatever was sent.
fn code_of(text: &str) -> String {
    let is_plain = |c: &char| c.is_ascii_alphanumeric() || "_-.".contains(*c);
    text.chars().filter(is_plain).take(60).collect()
}

/// Text as a member of a form.
fn encoded(text: &str) -> String {
    let made = Url::parse_with_params("http://form/", [("", text)]);
    let made = made.ok().and_then(|made| made.query().map(str::to_owned));
    made.unwrap_or_default().trim_start_matches('=').to_owned()
}

fn silent(fault: reqwest::Error) -> Error {
    // Its address may hold what the browser brought.
    let fault = fault.without_url();
    let mut text = fault.to_string();
    let mut cause = std::error::Error::source(&fault);
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    Error::Silent(text)
}

async fn sent(request: RequestBuilder) -> Result<Response, Error> {
    checked(request.send().await.map_err(silent)?)
}

fn checked(answer: Response) -> Result<Response, Error> {
    match answer.status().is_success() {
        true => Ok(answer),
        false => Err(Error::Silent(format!("it answered {}", answer.status()))),
    }
}

/// Reads an answer of JSON, up to a size that none needs.
async fn read<T: DeserializeOwned>(mut answer: Response) -> Result<T, Error> {
    let mut bytes = Vec::new();
    while let Some(piece) = answer.chunk().await.map_err(silent)? {
        if bytes.len() + piece.len() > MAX_ANSWER_BYTES {
            return Err(Error::Silent("its answer has no end".into()));
        }
        bytes.extend_from_slice(&piece);
    }
    serde_json::from_slice(&bytes).map_err(|fault| {
        // What was sent stays out of it: tokens are secrets.
        let (line, column) = (fault.line(), fault.column());
        Error::Silent(format!(
            "its answer is not what the standard says, at line {line} column {column}"
        ))
    })
}
