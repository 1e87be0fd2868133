//! Who is connected to a listener at this moment, for people to look at.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

/// The open connections of one listener; cloning shares them.
#[derive(Debug, Clone, Default)]
pub struct Connections(Arc<Mutex<Open>>);

#[derive(Debug, Default)]
struct Open {
    /// Connections that there ever were.
    count: u64,
    peers: BTreeMap<u64, Peer>,
    left: Option<Left>,
}

/// A peer that has gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Left {
    /// Where it came from.
    pub address: SocketAddr,
    /// When it left.
    pub at: Timestamp,
    /// How long it was connected.
    pub lasted: Duration,
}

/// One peer that is connected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Where it comes from.
    pub address: SocketAddr,
    /// The subject of its certificate, where it showed one.
    pub subject: Option<Arc<str>>,
    /// When it connected.
    pub since: Timestamp,
}

/// A connection that is open as long as this is there.
pub(super) struct Entered {
    connections: Connections,
    number: u64,
    since: Instant,
}

impl Connections {
    /// The peers that are connected, longest first.
    pub fn peers(&self) -> Vec<Peer> {
        self.open().peers.values().cloned().collect()
    }

    /// How many there ever were, those that are open among them.
    pub fn count(&self) -> u64 {
        self.open().count
    }

    /// The peer that left last; none before one has.
    pub fn left(&self) -> Option<Left> {
        self.open().left
    }

    pub(super) fn enter(&self, address: SocketAddr, subject: Option<Arc<str>>) -> Entered {
        let mut open = self.open();
        open.count += 1;
        let number = open.count;
        let peer = Peer {
            address,
            subject,
            since: Timestamp::now(),
        };
        open.peers.insert(number, peer);
        Entered {
            connections: self.clone(),
            number,
            since: Instant::now(),
        }
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        let mut open = self.connections.open();
        let Some(peer) = open.peers.remove(&self.number) else {
            return;
        };
        open.left = Some(Left {
            address: peer.address,
            at: Timestamp::now(),
            lasted: self.since.elapsed(),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_is_there_until_it_leaves() {
        let connections = Connections::default();
        let address: SocketAddr = "10.1.2.3:4000".parse().unwrap();
        let one = connections.enter(address, None);
        let two = connections.enter(address, Some("CN=ehr".into()));
        assert_eq!(connections.peers().len(), 2);
        assert_eq!(connections.left(), None);
        drop(one);
        let left: Vec<_> = connections.peers();
        assert_eq!(left[0].subject.as_deref(), Some("CN=ehr"));
        assert!(
            connections
                .left()
                .is_some_and(|left| left.address == address)
        );
        drop(two);
        assert_eq!(connections.peers(), []);
    }
}
