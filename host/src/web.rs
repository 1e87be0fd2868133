//! The pages and the interface; the only room that serves HTTP to people.
//!
//! A page and its JSON twin call the same function underneath: pages are in [`console`], one file each, and what they
//! change they change through the handlers of [`api`]. Who may do what is asked of `access`, see [`Web::may`]. Knows no
//! SQL and no wasmtime.

pub mod api;
pub mod console;
pub mod fault;
pub mod hooks;
mod listener;
mod metrics;

use std::sync::Arc;

use std::future::{Future, ready};
use std::io;
use std::net::IpAddr;

use axum::Router;
use axum::body::HttpBody as _;
use axum::extract::Request;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::middleware::{Next, from_fn, map_response};
use axum::response::Response;
use axum::routing::get;
use ipnet::IpNet;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::access::door::Door;
use crate::access::people::Refused;
use crate::access::{self, Caller, Right};
use crate::flow::account::Reach;
use crate::openid::Provider;
use crate::pipeline::Pipeline;
use fault::Fault;

/// What every request is answered from.
#[derive(Debug, Clone)]
pub struct Web {
    pub pipeline: Arc<Pipeline>,
    /// The interface tells of messages without a token: it is on this machine's own address, and nobody said otherwise.
    pub open_reads: bool,
    pub door: Arc<Door>,
    /// Proxies that say truly where a request came from.
    pub proxies: Arc<[IpNet]>,
    /// A LeadSquared simulator of this process, offered in the place of an account.
    pub simulator: Option<Arc<Reach>>,
    /// Who else signs people in.
    pub openid: Option<Arc<Provider>>,
}

impl Web {
    /// Tells who asks, if they hold `right`.
    ///
    /// # Errors
    /// No token, one that is not known, or one without the right.
    pub async fn may(&self, headers: &HeaderMap, right: Right) -> Result<Caller, access::Error> {
        let caller = self.caller(headers).await?;
        caller.may(right)?;
        Ok(caller)
    }

    /// Tells who asks: by a token, or by the cookie of a session.
    ///
    /// # Errors
    /// Neither is there, or what is there is not known.
    pub async fn caller(&self, headers: &HeaderMap) -> Result<Caller, access::Error> {
        let catalog = self.pipeline.store.catalog();
        let sent = headers.get(header::AUTHORIZATION);
        match (
            sent,
            console::cookie::read(headers, console::cookie::SESSION),
        ) {
            (None, Some(cookie)) => access::session::check(&catalog, &cookie).await,
            (sent, _) => {
                let bearer = sent
                    .and_then(|value| value.to_str().ok())
                    .and_then(|value| value.strip_prefix("Bearer "));
                access::check(&catalog, bearer).await
            }
        }
    }

    /// Whether people may sign in with a password.
    pub fn takes_passwords(&self) -> bool {
        !self
            .openid
            .as_ref()
            .is_some_and(|provider| provider.is_only())
    }

    /// What to say to a password where none opens anything.
    pub fn no_passwords(&self) -> Option<Refused> {
        let provider = self.openid.as_ref().filter(|provider| provider.is_only());
        provider.map(|provider| Refused::NoPasswords {
            name: provider.name().to_owned(),
        })
    }

    /// Lets whoever may see messages pass; see [`Web::open_reads`].
    ///
    /// A page of another site can lead its own name to this machine's address, and then reads as if it were ours; it
    /// cannot make the browser say another host than that name.
    ///
    /// # Errors
    /// As [`Web::may`] with the right to view.
    pub async fn may_read(&self, headers: &HeaderMap) -> Result<(), access::Error> {
        if self.open_reads && is_here(headers) {
            return Ok(());
        }
        self.may(headers, Right::View).await.map(drop)
    }
}

/// Whether a request asks for this machine by an own name or address of it, and comes through no proxy.
fn is_here(headers: &HeaderMap) -> bool {
    let is_own = |host: &HeaderValue| {
        let authority: Option<Authority> = host.to_str().ok().and_then(|host| host.parse().ok());
        authority.is_some_and(|authority| {
            let host = authority.host();
            let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
            host.eq_ignore_ascii_case("localhost")
                || address.is_ok_and(|address| address.is_loopback())
        })
    };
    let hosts = headers.get_all(header::HOST);
    let is_through = |name: &str| headers.contains_key(name);
    hosts.iter().next().is_some()
        && hosts.iter().all(is_own)
        && !["forwarded", "x-forwarded-for"].into_iter().any(is_through)
}

/// Every route: pages, assets, the interface, and where webhooks deliver.
pub fn router(web: Web) -> Router {
    Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(metrics::ready))
        .route("/metrics", get(metrics::show))
        .merge(console::router(&web))
        .merge(console::asset::router())
        .merge(api::router(&web))
        .merge(hooks::router())
        .fallback(async || Fault::NotFound)
        .layer(map_response(guard))
        .layer(from_fn(end_refused))
        .with_state(web)
}

/// A body that hyper still reads behind an answer, in bytes.
const SMALL: u64 = 64 * 1024;

/// Says that a connection ends behind a refusal: what is left of a larger body is not read, and whoever sent another
/// request over it would get no answer.
async fn end_refused(request: Request, next: Next) -> Response {
    let size = request.body().size_hint().exact();
    let mut response = next.run(request).await;
    let status = response.status();
    let is_refused = status.is_client_error() || status.is_server_error();
    if is_refused && size.is_none_or(|size| size > SMALL) {
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(header::CONNECTION, close);
    }
    response
}

/// Serves the console until `stop`, then lets answers in hand go out; each connection is one of `tasks`.
pub async fn serve(listener: TcpListener, web: Web, tasks: TaskTracker, stop: CancellationToken) {
    let plain = |stream| ready(Ok(stream));
    let proxies = web.proxies.clone();
    listener::serve(listener, plain, false, proxies, router(web), tasks, stop).await;
}

/// The same over TLS; `shake` makes a secure stream of a connection.
pub async fn serve_secure<S, F, Fut>(
    listener: TcpListener,
    shake: F,
    web: Web,
    tasks: TaskTracker,
    stop: CancellationToken,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    F: Fn(TcpStream) -> Fut + Send + 'static,
    Fut: Future<Output = io::Result<S>> + Send + 'static,
{
    let proxies = web.proxies.clone();
    listener::serve(listener, shake, true, proxies, router(web), tasks, stop).await;
}

/// Headers that every answer carries: own scripts and styles only, no frame, no referrer.
async fn guard(mut response: Response) -> Response {
    let headers = response.headers_mut();
    for (name, value) in [
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; \
             font-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
        ),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_token_one_asks_for_this_machine_by_its_own_name() {
        let check = |lines: &[(&'static str, &'static str)], expected: bool| {
            let mut headers = HeaderMap::new();
            for (name, value) in lines {
                headers.append(*name, HeaderValue::from_static(value));
            }
            assert_eq!(is_here(&headers), expected, "{lines:?}");
        };
        check(&[("host", "localhost:8080")], true);
        check(&[("host", "127.0.0.1:9")], true);
        check(&[("host", "[::1]:8080")], true);
        check(&[("host", "[::1]")], true);
        check(&[], false);
        check(&[("host", "evil.example.org:8080")], false);
        check(&[("host", "127.0.0.1.example.org")], false);
        check(&[("host", "10.0.0.1:8080")], false);
        check(&[("host", "127.0.0.1"), ("host", "evil.com")], false);
        check(
            &[("host", "127.0.0.1"), ("x-forwarded-for", "10.0.0.9")],
            false,
        );
    }
}
