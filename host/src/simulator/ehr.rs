//! A hospital's EHR behind an MLLP port: it takes messages, holds against them what is wrong with them, and answers as
//! it is told to.
//!
//! Shares no code with the host on purpose: `reader` is a second, stricter reading of HL7, so that what the host writes
//! is judged by someone who did not write it down twice. Start at `line`, a connection; `judge` says what is wrong with
//! a message, `answer` builds what is sent back, `mood` is what it was told to do.

mod line;

mod answer;
mod judge;
mod mood;
mod page;
mod reader;

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::mood::Moods;
pub use self::mood::{Kind, Mood};

/// How the simulated EHR behaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// What it calls itself in MSH-3 and MSH-4 of its answers where a message names nobody.
    pub application: String,
    pub facility: String,
    /// Messages against which it holds something are answered AE.
    pub is_strict: bool,
    /// Answers to messages with a patient hold a PID with a number of its own, under this assigning authority.
    pub assigns: Option<String>,
    /// The first of these numbers.
    pub first_number: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            application: "EHR".into(),
            facility: "HOSPITAL".into(),
            is_strict: false,
            assigns: None,
            first_number: 700_001,
        }
    }
}

/// One message that came.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Received {
    /// From 1 upwards without gaps.
    pub seq: usize,
    pub at_ms: i64,
    /// Which connection it came over, from 1 upwards.
    pub connection: usize,
    /// MSH-9.1 and MSH-9.2, such as `ADT^A08`.
    pub event: String,
    pub control_id: String,
    /// The message's text; what is no UTF-8 is shown as such.
    pub text: String,
    /// How often this control id had come before.
    pub repeats: usize,
    /// What is wrong with it; empty is best.
    pub findings: Vec<String>,
    /// What was answered: a code of table 0008, or what was done in its place.
    pub answered: String,
}

impl Received {
    /// The text of one field, as it stands: the first segment of that name; empty where there is none.
    pub fn field(&self, segment: &str, number: usize) -> String {
        reader::field(&self.text, segment, number)
    }
}

/// What the EHR knows.
struct State {
    received: Vec<Received>,
    /// By control id: how often it came, and with which bytes at first.
    ids: BTreeMap<String, (usize, Vec<u8>)>,
    moods: Moods,
    connections: usize,
    /// Frames that were no frames, each with what was wrong.
    noise: Vec<String>,
    /// Numbers given to patients, by what they were known by.
    numbers: BTreeMap<String, u64>,
    next_id: u64,
}

/// The simulated EHR and everything around it.
struct Ehr {
    settings: Settings,
    state: Mutex<State>,
    changed: Notify,
}

impl Ehr {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The simulator's start.
pub struct Simulator;

impl Simulator {
    /// Takes messages on `mllp`, and where there is one serves the page on `http`, until `shutdown`.
    ///
    /// # Errors
    /// When a listener has no address.
    pub fn start(
        mllp: TcpListener,
        http: Option<TcpListener>,
        settings: Settings,
        tracker: &TaskTracker,
        shutdown: CancellationToken,
    ) -> io::Result<Handle> {
        let address = mllp.local_addr()?;
        let page = http.as_ref().map(TcpListener::local_addr).transpose()?;
        let ehr = Arc::new(Ehr {
            settings,
            state: Mutex::new(State {
                received: Vec::new(),
                ids: BTreeMap::new(),
                moods: Moods::default(),
                connections: 0,
                noise: Vec::new(),
                numbers: BTreeMap::new(),
                next_id: 1,
            }),
            changed: Notify::new(),
        });
        let listening = line::serve(mllp, Arc::clone(&ehr), tracker.clone(), shutdown.clone());
        tracker.spawn(listening);
        if let Some(http) = http {
            tracker.spawn(page::serve(http, Arc::clone(&ehr), shutdown));
        }
        Ok(Handle { address, page, ehr })
    }
}

/// A running simulator, seen from within the process.
#[derive(Clone)]
pub struct Handle {
    address: SocketAddr,
    page: Option<SocketAddr>,
    ehr: Arc<Ehr>,
}

impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Handle({})", self.address)
    }
}

impl Handle {
    /// Where it takes messages.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where its page is.
    pub fn page(&self) -> Option<SocketAddr> {
        self.page
    }

    /// Every message that came, in order.
    pub fn received(&self) -> Vec<Received> {
        self.ehr.state().received.clone()
    }

    /// How often each control id came.
    pub fn control_ids(&self) -> BTreeMap<String, usize> {
        let state = self.ehr.state();
        let ids = state.ids.iter();
        ids.map(|(id, (count, _))| (id.clone(), *count)).collect()
    }

    /// What came and was no frame.
    pub fn noise(&self) -> Vec<String> {
        self.ehr.state().noise.clone()
    }

    /// How many connections there have been.
    pub fn connections(&self) -> usize {
        self.ehr.state().connections
    }

    /// Tells it how to answer from now on, after what it was told before.
    pub fn tell(&self, mood: Mood) {
        self.ehr.state().moods.add(mood);
    }

    /// Lets it answer as it would by itself again.
    pub fn calm(&self) {
        self.ehr.state().moods.clear();
    }

    /// Waits until what came is as wanted; looks after every message.
    pub async fn until(&self, wanted: impl Fn(&[Received]) -> bool) -> Vec<Received> {
        loop {
            let mut changed = std::pin::pin!(self.ehr.changed.notified());
            changed.as_mut().enable();
            // Looked at in place: a copy at each of ten thousand messages costs more than the messages.
            if wanted(&self.ehr.state().received) {
                return self.received();
            }
            changed.await;
        }
    }
}

#[cfg(test)]
mod tests;
