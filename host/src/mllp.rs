//! MLLP: one HL7 message between a start block and an end block, over a TCP connection that stays open for days.
//!
//! Bytes in, bytes out: this room knows nothing of what is in a payload, of flows or of the store.
//! Start at [`frame`], which is pure; [`listener`] and [`sender`] put it on a socket, [`tls`] between the two.

#![warn(missing_docs)]

pub mod frame;
pub mod listener;
pub mod sender;
pub mod tls;

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

/// One read; messages of most EHRs fit, and ten thousand idle connections keep only this much each.
const READ_BYTES: usize = 8 * 1024;
/// One read once a payload has turned out to be large.
const LARGE_READ_BYTES: usize = 64 * 1024;

/// Prepares a connection that will be idle for hours and then must answer at once.
///
/// Firewalls drop the state of idle connections without a word, so the kernel asks after 60 s of silence,
/// then every 10 s, and gives up after 6 unanswered times.
fn tune(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let keepalive = TcpKeepalive::new()
        .with_time(Duration::from_secs(60))
        .with_interval(Duration::from_secs(10))
        .with_retries(6);
    SockRef::from(stream).set_tcp_keepalive(&keepalive)
}

/// Makes room for the next read: larger after a read that was full, small again for an idle connection.
fn prepare(input: &mut Vec<u8>, idle: bool) {
    let filled = input.len() == input.capacity();
    input.clear();
    if input.capacity() == 0 || (idle && !filled && input.capacity() > READ_BYTES) {
        *input = Vec::with_capacity(READ_BYTES);
    } else if filled && input.capacity() < LARGE_READ_BYTES {
        *input = Vec::with_capacity(LARGE_READ_BYTES);
    }
}

/// A peer as it may stand in a log line.
fn name(peer: SocketAddr) -> tracing::field::DisplayValue<SocketAddr> {
    tracing::field::display(peer)
}
