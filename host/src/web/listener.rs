//! The console's listener: how many may be connected at once, and how long each may take to say something.
//!
//! Somebody who says nothing, or half of something, keeps nobody else out: not from the console, and not from the
//! channels, whose connections come out of the same purse of file handles. How hands are shaken over TLS is handed in;
//! this file knows no certificates. Start at [`serve`].

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue};
use futures_util::StreamExt;
use futures_util::stream::try_unfold;
use hyper::body::{Body as _, Incoming};
use hyper::server::conn::http1::Builder;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use ipnet::IpNet;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use crate::access::door;

/// Connections at once; further ones wait in the kernel's queue.
const MOST: usize = 512;

/// Connections of one address; further ones are closed at once.
const MOST_OF_ONE: usize = 256;

/// A browser that does not come to the end of the TLS handshake in this time is none.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// From the begin of a connection, or the end of an answer, to the end of the next request's headers.
const HEADERS: Duration = Duration::from_secs(10);

/// The longest pause in a body, and the longest body: a component over a slow line is there by then.
const PAUSE: Duration = Duration::from_secs(30);
const WHOLE: Duration = Duration::from_secs(10 * 60);

/// How long somebody may leave an answer unread.
const UNREAD: Duration = Duration::from_secs(60);

/// Headers are held in memory, bodies come in pieces of this size at most.
const BUFFER_BYTES: usize = 64 * 1024;

/// After a failed accept, mostly for want of file handles.
const REST: Duration = Duration::from_millis(250);

/// Whether a proxy was spoken to over TLS.
const FORWARDED_PROTO: &str = "x-forwarded-proto";

/// Where a request came from.
#[derive(Debug, Clone, Copy)]
pub(in crate::web) struct Peer(pub(in crate::web) IpAddr);

impl Peer {
    /// Who sent a request: the address itself or, where that is a proxy that is believed, whom it names.
    pub(in crate::web) fn sender(self, proxies: &[IpNet], headers: &HeaderMap) -> IpAddr {
        let named = headers.get_all("x-forwarded-for").into_iter();
        let named: Vec<_> = named
            .flat_map(|value| value.to_str().unwrap_or_default().split(','))
            .map(|address| address.trim().parse::<IpAddr>())
            .collect();
        // Each proxy adds who it heard from at the end: what stands before a stranger is the stranger's word.
        let mut sender = self.0;
        for address in named.into_iter().rev() {
            match address {
                Ok(address) if is_among(proxies, sender) => sender = address,
                _ => break,
            }
        }
        sender
    }
}

/// How a connection came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Came {
    /// Over TLS of our own.
    Secure,
    /// From a proxy that is believed.
    Proxied,
    Plain,
}

impl Came {
    /// Leaves in `X-Forwarded-Proto` what is known: our own TLS, or the word of a proxy that is believed. Anybody can say
    /// anything, and the session's cookie goes by it.
    fn says_how(self, headers: &mut HeaderMap) {
        match self {
            Self::Secure => {
                let https = HeaderValue::from_static("https");
                headers.insert(FORWARDED_PROTO, https);
            }
            Self::Proxied => {}
            Self::Plain => drop(headers.remove(FORWARDED_PROTO)),
        }
    }
}

fn is_among(proxies: &[IpNet], address: IpAddr) -> bool {
    let address = address.to_canonical();
    proxies.iter().any(|proxy| proxy.contains(&address))
}

/// Who is connected: how many of each address.
#[derive(Default)]
struct Guests(Mutex<HashMap<IpAddr, usize>>);

/// One connection's place among the guests.
struct Place {
    guests: Arc<Guests>,
    address: IpAddr,
}

impl Guests {
    /// A place for a connection from `address`; none if it has all that it may have.
    fn admit(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        let address = door::counted(address);
        let mut guests = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = guests.entry(address).or_default();
        if *count >= MOST_OF_ONE {
            return None;
        }
        *count += 1;
        Some(Place {
            guests: self.clone(),
            address,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut guests = self.guests.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = guests.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                guests.remove(&self.address);
            }
        }
    }
}

/// Serves `router` until `stop`; `shake` makes of a connection what is spoken on, and answers in hand go out after the
/// stop, on `tasks`.
pub(super) async fn serve<S, F, Fut>(
    socket: TcpListener,
    shake: F,
    is_secure: bool,
    proxies: Arc<[IpNet]>,
    router: Router,
    tasks: TaskTracker,
    stop: CancellationToken,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    F: Fn(TcpStream) -> Fut + Send + 'static,
    Fut: Future<Output = io::Result<S>> + Send + 'static,
{
    let room = Arc::new(Semaphore::new(MOST));
    let guests = Arc::new(Guests::default());
    loop {
        let arriving = async {
            let permit = room.clone().acquire_owned().await;
            (permit, socket.accept().await)
        };
        let (permit, accepted) = tokio::select! {
            arrived = arriving => arrived,
            () = stop.cancelled() => return,
        };
        let (stream, address) = match accepted {
            Ok(accepted) => accepted,
            Err(fault) => {
                warn!(%fault, "accepting a connection to the console failed");
                sleep(REST).await;
                continue;
            }
        };
        let is_proxy = is_among(&proxies, address.ip());
        let place = guests.admit(address.ip());
        if place.is_none() && !is_proxy {
            debug!(%address, "an address has as many connections to the console as it may have");
            continue;
        }
        if let Err(fault) = SockRef::from(&stream).set_tcp_user_timeout(Some(UNREAD)) {
            debug!(%fault, "a connection to the console has no time limit for answers");
        }
        let shaking = timeout(HANDSHAKE, shake(stream));
        let (router, stop) = (router.clone(), stop.clone());
        let came = match (is_secure, is_proxy) {
            (true, _) => Came::Secure,
            (false, true) => Came::Proxied,
            (false, false) => Came::Plain,
        };
        tasks.spawn(async move {
            match shaking.await {
                Ok(Ok(stream)) => converse(stream, address, came, router, stop).await,
                Ok(Err(fault)) => {
                    debug!(%fault, "a browser did not come through the handshake");
                }
                Err(_) => {}
            }
            drop((place, permit));
        });
    }
}

/// Answers the requests of one connection, until its end or `stop`.
async fn converse(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send,
    address: SocketAddr,
    came: Came,
    router: Router,
    stop: CancellationToken,
) {
    let router = TowerToHyperService::new(router);
    let service = service_fn(move |request| router.call(received(request, address, came)));
    let mut builder = Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS)
        .max_buf_size(BUFFER_BYTES);
    let mut conversing = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let ended = tokio::select! {
        ended = conversing.as_mut() => ended,
        () = stop.cancelled() => {
            conversing.as_mut().graceful_shutdown();
            conversing.await
        }
    };
    if let Err(fault) = ended {
        debug!(%fault, "a connection to the console broke off");
    }
}

/// A request with where it came from, how, and a body that has to come in time.
fn received(request: hyper::Request<Incoming>, address: SocketAddr, came: Came) -> Request {
    let mut request = request.map(in_time);
    came.says_how(request.headers_mut());
    request.extensions_mut().insert(Peer(address.ip()));
    request
}

fn in_time(body: Incoming) -> Body {
    if body.is_end_stream() {
        return Body::empty();
    }
    let until = Instant::now() + WHOLE;
    let pieces = Body::new(body).into_data_stream();
    Body::from_stream(try_unfold(pieces, move |mut pieces| async move {
        let next = timeout_at(until.min(Instant::now() + PAUSE), pieces.next());
        match next.await {
            Ok(Some(piece)) => Ok(Some((piece?, pieces))),
            Ok(None) => Ok(None),
            Err(_) => Err(axum::Error::new(io::Error::from(io::ErrorKind::TimedOut))),
        }
    }))
}

#[cfg(test)]
mod tests {
    use axum::body::to_bytes;
    use axum::http::StatusCode;
    use axum::routing::post;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    async fn take(request: Request) -> StatusCode {
        match to_bytes(request.into_body(), 1_000).await {
            Ok(_) => StatusCode::OK,
            Err(_) => StatusCode::REQUEST_TIMEOUT,
        }
    }

    /// What is answered to `said`, and how long it takes until the connection is closed.
    async fn check(said: &str) -> (String, Duration) {
        let (mut browser, console) = duplex(1_024);
        let router = Router::new().route("/", post(take));
        let address = ([127, 0, 0, 1], 1).into();
        let begun = Instant::now();
        let stop = CancellationToken::new();
        let conversing = converse(console, address, Came::Plain, router, stop);
        let talking = async {
            browser.write_all(said.as_bytes()).await.unwrap();
            let mut answer = String::new();
            browser.read_to_string(&mut answer).await.unwrap();
            answer.lines().next().unwrap_or_default().to_owned()
        };
        let ((), answer) = tokio::join!(conversing, talking);
        (answer, begun.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_ever_for_the_rest_of_a_request() {
        let (answer, took) = check("").await;
        assert!(
            answer.is_empty() && took <= HEADERS * 2,
            "{answer} {took:?}"
        );
        let (_, took) = check("POST / HTTP/1.1\r\nhost: a\r\n").await;
        assert!(took <= HEADERS * 2, "{took:?}");
        let (answer, took) =
            check("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\nhalf").await;
        assert!(answer.contains("408"), "{answer}");
        assert!(took >= PAUSE && took <= PAUSE + HEADERS * 2, "{took:?}");
        // One that said everything is not waited for either.
        let (answer, took) =
            check("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\nhalf").await;
        assert!(
            answer.contains("200") && took <= HEADERS * 2,
            "{answer} {took:?}"
        );
    }

    #[test]
    fn only_known_proxies_say_who_sent_a_request() {
        let proxies: [IpNet; 2] = [
            "127.0.0.1/32".parse().unwrap(),
            "10.1.0.0/16".parse().unwrap(),
        ];
        let check = |peer: &str, named: &'static str, expected: &str| {
            let mut headers = HeaderMap::new();
            if !named.is_empty() {
                headers.insert("x-forwarded-for", HeaderValue::from_static(named));
            }
            let sender = Peer(peer.parse().unwrap()).sender(&proxies, &headers);
            assert_eq!(sender.to_string(), expected, "{peer} {named}");
        };
        check("127.0.0.1", "", "127.0.0.1");
        check("127.0.0.1", "192.0.2.7", "192.0.2.7");
        check("127.0.0.1", "1.1.1.1, 192.0.2.7", "192.0.2.7");
        check("127.0.0.1", "192.0.2.7, 10.1.2.3", "192.0.2.7");
        check("::ffff:127.0.0.1", "192.0.2.7", "192.0.2.7");
        check("192.0.2.9", "1.1.1.1", "192.0.2.9");
        check("127.0.0.1", "192.0.2.7, unknown", "127.0.0.1");
    }

    #[test]
    fn one_address_does_not_take_every_place() {
        let guests = Arc::new(Guests::default());
        let one: IpAddr = [10, 0, 0, 1].into();
        let other: IpAddr = [10, 0, 0, 2].into();
        let mut places: Vec<_> = (0..MOST_OF_ONE).map_while(|_| guests.admit(one)).collect();
        assert_eq!(places.len(), MOST_OF_ONE);
        assert!(guests.admit(one).is_none());
        assert!(guests.admit(other).is_some());
        places.pop();
        assert!(guests.admit(one).is_some());
        drop(places);
        assert!(guests.0.lock().unwrap().is_empty());
    }
}
