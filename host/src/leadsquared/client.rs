//! One account's connection to the API: authentication, time-outs, one call.
//!
//! What the calls mean is in `lead`, `activity` and `metadata`; what an answer means is in `error`.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION};
use reqwest::{Method, Url};
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use super::budget::{Budget, UsedUp};
use super::error::{Effect, Error, is_loopback, is_own_host, judge};
use super::lead::Attribute;

/// A kept connection is used again within this time only: a gateway that closes idle ones while a write is on its
/// way would leave the write's effect unknown, and common gateways wait for 60 seconds.
const MAX_IDLE: Duration = Duration::from_secs(20);

/// Longest wait for a connection; what is not connected was not sent, which is worth knowing.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Largest answer that is read; a page of leads is far below.
const MAX_ANSWER_BYTES: usize = 64 * 1024 * 1024;

/// The access key and secret key of one LeadSquared user.
#[derive(Clone)]
pub struct Keys {
    pub access_key: String,
    pub secret_key: String,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys(redacted)")
    }
}

/// What a client needs to know of an account.
#[derive(Debug, Clone)]
pub struct Config {
    /// Base address, with or without `/v2`; `https`, or `http` for this machine.
    pub api: String,
    pub keys: Keys,
    /// How long one call may take from asking for a connection to the last byte of the answer.
    pub timeout: Duration,
}

/// A caller of one account's API; every call takes its place in the account's budget and is made once.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    /// Ends in `/v2/`.
    base: Url,
    budget: Arc<Budget>,
    rank: u8,
    made: Arc<AtomicU64>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("base", &self.base.as_str())
            .field("budget", &self.budget)
            .finish_non_exhaustive()
    }
}

/// One call; with a body it is a POST, without a GET, as LeadSquared has it.
pub(super) struct Call<'a> {
    pub(super) effect: Effect,
    /// Below `/v2/`.
    pub(super) path: &'a str,
    pub(super) query: &'a [(&'a str, &'a str)],
    pub(super) body: Option<Vec<u8>>,
    /// The attributes of a write, so that an error can name the ones that the answer names.
    pub(super) sent: &'a [Attribute],
}

impl Client {
    /// Makes a client; opens no connection.
    ///
    /// # Errors
    /// [`Error::Config`] when the address is not `https` (or `http` on this machine), when a key cannot stand in a
    /// header, or when the system has no root certificates.
    pub fn new(config: &Config, budget: Arc<Budget>) -> Result<Self, Error> {
        let base = base_address(&config.api)?;
        let mut headers = HeaderMap::new();
        headers.insert("x-lsq-accesskey", secret(&config.keys.access_key)?);
        headers.insert("x-lsq-secretkey", secret(&config.keys.secret_key)?);

        // reqwest asks for the process's provider; the first to install one wins, and all of ours are ring.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let builder = reqwest::Client::builder()
            .default_headers(headers)
            .user_agent(concat!("ligature/", env!("CARGO_PKG_VERSION")))
            .http1_only()
            .no_proxy()
            // A redirect would carry keys and a repeated write to another place.
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .pool_idle_timeout(MAX_IDLE)
            .tcp_keepalive(Duration::from_secs(60))
            .connect_timeout(CONNECT_TIMEOUT.min(config.timeout / 2))
            .timeout(config.timeout);
        let builder = if base.scheme() == "http" {
            // No certificate is ever looked at, so a machine without root certificates must do.
            builder.tls_certs_only([])
        } else {
            builder
        };
        let http = builder.build().map_err(|error| {
            Error::Config(format!(
                "TLS cannot be set up, check this machine's root certificates ({error})"
            ))
        })?;
        Ok(Self {
            http,
            base,
            budget,
            rank: 0,
            made: Arc::default(),
        })
    }

    /// The same client, whose calls take their turn with this rank (the lowest goes first) and are counted anew.
    pub fn ranked(&self, rank: u8) -> Self {
        Self {
            rank,
            made: Arc::default(),
            ..self.clone()
        }
    }

    /// How many calls this client has made; it goes on counting.
    pub fn made(&self) -> Arc<AtomicU64> {
        self.made.clone()
    }

    /// The budget that this client's calls count against.
    pub fn budget(&self) -> &Arc<Budget> {
        &self.budget
    }

    pub(super) async fn call<T: DeserializeOwned>(&self, call: Call<'_>) -> Result<T, Error> {
        let Call {
            effect,
            path,
            query,
            body,
            sent,
        } = call;
        let mut url = self
            .base
            .join(path)
            .map_err(|_| Error::Config("its address is not usable".into()))?;
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let method = if body.is_some() {
            Method::POST
        } else {
            Method::GET
        };
        let mut request = self.http.request(method, url);
        if let Some(body) = body {
            request = request
                .header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
                .body(body);
        }

        let permit = self
            .budget
            .acquire(self.rank)
            .await
            .map_err(|UsedUp(until)| Error::UsedUp {
                until_ms: until.as_millisecond(),
            })?;
        self.made.fetch_add(1, Ordering::Relaxed);
        let sent_at = Instant::now();
        let exchanged = exchange(request, effect).await;
        self.budget.answering.add((), sent_at.elapsed());
        self.budget.answers.add(match &exchanged {
            Ok((status, ..)) => status.to_string(),
            Err(fault) => fault.code().to_owned(),
        });
        let (status, location, body) = exchanged?;
        drop(permit);

        let outcome = match location {
            Some(host) => Err(Error::Moved { host }),
            None => judge(effect, status, &body, sent),
        };
        let outcome = outcome.map_err(|fault| match fault {
            // Its own host again, or one that keys of this account are not taken to.
            Error::Moved { host } if elsewhere(self.base.as_str(), &host).is_none() => match status
            {
                300..=399 => Error::NotUnderstood {
                    what: format!("it is HTTP {status}"),
                },
                _ => Error::Unauthorized,
            },
            fault => fault,
        });
        if let Err(Error::RateLimited { stated }) = &outcome {
            self.budget.exceeded(*stated);
        }
        outcome?;
        // Without the position serde_json's text is only about our own types, but it may quote the body.
        serde_json::from_slice(&body).map_err(|_| match effect {
            Effect::Write => effect.lost("the answer is not in the form of the API"),
            Effect::Read => Error::NotUnderstood {
                what: "it is not in the form of the API".into(),
            },
        })
    }
}

/// The address of the API at `host`, if it is another one and the keys of an account at `api` may be taken there.
///
/// LeadSquared's own hosts lead to each other, and so do those of this machine; an address of somebody's own, such as a
/// proxy's, is never left by itself.
pub fn elsewhere(api: &str, host: &str) -> Option<String> {
    let base = base_address(api).ok()?;
    let here = authority(&base);
    let host = host.to_ascii_lowercase();
    if here == host {
        return None;
    }
    match base.scheme() {
        "https" => (is_own_host(&here) && is_own_host(&host)).then(|| format!("https://{host}")),
        _ => (is_loopback(&here) && is_loopback(&host)).then(|| format!("http://{host}")),
    }
}

/// Where an address leads to: scheme and host, with the port where it names one.
///
/// # Errors
/// [`Error::Config`] when it is no address of an API that may be spoken to.
pub fn origin(api: &str) -> Result<String, Error> {
    let base = base_address(api)?;
    Ok(format!("{}://{}", base.scheme(), authority(&base)))
}

/// The host of an address, with its port where it names one.
fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

/// Sends the request and reads the whole answer; gives the host that a redirect names, too.
async fn exchange(
    request: reqwest::RequestBuilder,
    effect: Effect,
) -> Result<(u16, Option<String>, Bytes), Error> {
    let mut answer = request.send().await.map_err(|error| lost(effect, &error))?;
    let status = answer.status().as_u16();
    let location = answer.headers().get(LOCATION);
    let location = location
        .filter(|_| (300..=399).contains(&status))
        .and_then(|location| Url::parse(location.to_str().ok()?).ok())
        .map(|url| authority(&url));
    let mut body = Bytes::new();
    while let Some(chunk) = answer.chunk().await.map_err(|error| lost(effect, &error))? {
        if body.is_empty() {
            body = chunk;
        } else {
            body = [body, chunk].concat().into();
        }
        if body.len() > MAX_ANSWER_BYTES {
            return Err(effect.lost("the answer is too large"));
        }
    }
    Ok((status, location, body))
}

/// What a transport error says about the effect: a connection that was never made carried nothing.
fn lost(effect: Effect, error: &reqwest::Error) -> Error {
    if error.is_builder() {
        Error::Config("its address is not usable".into())
    } else if error.is_connect() {
        Error::Unavailable {
            cause: if error.is_timeout() {
                "no connection in time".into()
            } else {
                "no connection".into()
            },
        }
    } else if error.is_timeout() {
        effect.lost("no answer in time")
    } else {
        effect.lost("the connection was lost")
    }
}

fn base_address(api: &str) -> Result<Url, Error> {
    let trimmed = api.trim().trim_end_matches('/');
    let trimmed = trimmed.strip_suffix("/v2").unwrap_or(trimmed);
    let url = Url::parse(&format!("{trimmed}/v2/")).map_err(|_| {
        Error::Config(format!(
            "{api:?} is not an address like https://api-us11.leadsquared.com"
        ))
    })?;
    let host = url.host_str().unwrap_or_default();
    let on_this_machine = host == "localhost"
        || host
            .trim_matches(['[', ']'])
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback());
    if url.scheme() == "https" || (url.scheme() == "http" && on_this_machine) {
        Ok(url)
    } else {
        Err(Error::Config(format!(
            "{api:?} must begin with https://; plain http is for this machine only"
        )))
    }
}

fn secret(key: &str) -> Result<HeaderValue, Error> {
    let mut value = HeaderValue::from_str(key.trim())
        .map_err(|_| Error::Config("a key holds characters that no key has".into()))?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_https_or_on_this_machine() {
        let check = |api: &str, expected: &str| {
            let outcome = match base_address(api) {
                Ok(url) => url.to_string(),
                Err(error) => error.to_string(),
            };
            assert_eq!(outcome, expected);
        };
        check(
            "https://api-us11.leadsquared.com",
            "https://api-us11.leadsquared.com/v2/",
        );
        check(
            "https://api-us11.leadsquared.com/v2/",
            "https://api-us11.leadsquared.com/v2/",
        );
        check("http://127.0.0.1:8080", "http://127.0.0.1:8080/v2/");
        check("http://[::1]:8080/", "http://[::1]:8080/v2/");
        check("http://localhost:1/v2", "http://localhost:1/v2/");
        check(
            "http://api.example.com",
            "LeadSquared account: \"http://api.example.com\" must begin with https://; plain http is for this machine only",
        );
        check(
            "nowhere",
            "LeadSquared account: \"nowhere\" is not an address like https://api-us11.leadsquared.com",
        );
    }

    #[test]
    fn keys_are_taken_to_hosts_of_the_same_house_only() {
        let check = |api: &str, host: &str, expected: Option<&str>| {
            assert_eq!(elsewhere(api, host).as_deref(), expected, "{api} {host}");
        };
        let us = "api-us11.leadsquared.com";
        let here = "https://api.leadsquared.com/v2";
        check(here, us, Some("https://api-us11.leadsquared.com"));
        check(
            here,
            "API-US11.LeadSquared.com",
            Some("https://api-us11.leadsquared.com"),
        );
        check(here, "api.leadsquared.com", None);
        check(here, "api.example.com", None);
        check(here, "leadsquared.com.example.com", None);
        check(here, "localhost:80", None);
        check("https://proxy.example.com", us, None);
        check("http://127.0.0.1:8081", us, None);
        check("http://127.0.0.1:8081", "127.0.0.1:8081", None);
        check(
            "http://127.0.0.1:8081",
            "localhost:8082",
            Some("http://localhost:8082"),
        );
    }

    #[test]
    fn a_client_for_https_can_be_made_and_says_no_keys() {
        let config = Config {
            api: "https://api-us11.leadsquared.com".into(),
            keys: Keys {
                access_key: "u$r0123".into(),
                secret_key: "4567".into(),
            },
            timeout: Duration::from_secs(30),
        };
        let client = Client::new(
            &config,
            Arc::new(Budget::new(25, Duration::from_secs(5), None)),
        );
        let text = format!("{client:?} {config:?}");
        assert!(!text.contains("0123") && !text.contains("4567"), "{text}");
    }
}
