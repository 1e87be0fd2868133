//! The console's listener where it speaks TLS: connections come out of it with their handshake behind them.
//!
//! How hands are shaken is handed in; this file knows no certificates.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};
use tracing::debug;

/// A browser that does not come to the end of the handshake in this time is none.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Handshakes at once; further connections wait in the kernel's queue.
const AT_ONCE: usize = 256;

/// After a failed accept, mostly for want of file handles.
const REST: Duration = Duration::from_millis(250);

/// Where a request came from.
#[derive(Debug, Clone, Copy)]
pub(in crate::web) struct Peer(pub(in crate::web) SocketAddr);

type Shaking<S> = Pin<Box<dyn Future<Output = Option<(S, SocketAddr)>> + Send>>;

/// A socket whose connections shake hands.
pub(super) struct Secure<S, F> {
    socket: TcpListener,
    shake: F,
    underway: FuturesUnordered<Shaking<S>>,
}

impl<S, F> Secure<S, F> {
    pub(super) fn new(socket: TcpListener, shake: F) -> Self {
        Self {
            socket,
            shake,
            underway: FuturesUnordered::new(),
        }
    }
}

impl<S, F, Fut> Listener for Secure<S, F>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    F: Fn(TcpStream) -> Fut + Send + 'static,
    Fut: Future<Output = io::Result<S>> + Send + 'static,
{
    type Io = S;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (S, SocketAddr) {
        loop {
            let is_full = self.underway.len() >= AT_ONCE;
            tokio::select! {
                Some(shaken) = self.underway.next() => {
                    if let Some(ready) = shaken {
                        return ready;
                    }
                }
                accepted = self.socket.accept(), if !is_full => match accepted {
                    Ok((stream, address)) => {
                        let shaking = (self.shake)(stream);
                        self.underway.push(Box::pin(async move {
                            match timeout(HANDSHAKE, shaking).await {
                                Ok(Ok(stream)) => Some((stream, address)),
                                Ok(Err(fault)) => {
                                    debug!(%fault, "a browser did not come through the handshake");
                                    None
                                }
                                Err(_) => None,
                            }
                        }));
                    }
                    Err(fault) => {
                        debug!(%fault, "accepting a connection to the console failed");
                        sleep(REST).await;
                    }
                },
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }
}

impl Connected<IncomingStream<'_, TcpListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, TcpListener>) -> Self {
        Self(*stream.remote_addr())
    }
}

impl<S, F, Fut> Connected<IncomingStream<'_, Secure<S, F>>> for Peer
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    F: Fn(TcpStream) -> Fut + Send + 'static,
    Fut: Future<Output = io::Result<S>> + Send + 'static,
{
    fn connect_info(stream: IncomingStream<'_, Secure<S, F>>) -> Self {
        Self(*stream.remote_addr())
    }
}
