//! The journal suite: the same tests on SQLite and on PostgreSQL.
//!
//! Each test is a function of a [`Bed`]; [`both`] makes two of it. Without PostgreSQL they fail.

mod catalog;
mod lanes;
mod messages;
mod misses;
mod outages;
mod plans;
mod random;
mod retention;
mod runs;
mod searching;
mod starts;
mod tallies;
mod templates;
mod underway;

use std::sync::Arc;
use std::time::Duration;

use ligature::flow::{AccountId, Direction, FlowId, MessageId};
use ligature::store::journal::{
    Arrival, Attempt, Claimed, Journal, LEASE, Rank, Route, Routed, Settled, Settlement, Start,
};
use ligature::store::{Config, Error, Store};
use ligature::vault::{Key, Vault};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Runs each test on both databases.
macro_rules! both {
    ($($test:ident),* $(,)?) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                super::$test(crate::journal::Bed::sqlite().await).await;
            })*
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                super::$test(crate::journal::Bed::postgres().await).await;
            })*
        }
    };
}
use both;

const ACCOUNT: &str = "018f0000-0000-7000-8000-000000000001";
const KEY: &str = "0f0e0d0c0b0a09080706050403020100ffeeddccbbaa99887766554433221100";

/// An open store on an empty database.
struct Bed {
    store: Store,
    journal: Journal,
    url: String,
    tracker: TaskTracker,
    shutdown: CancellationToken,
    _folder: Option<tempfile::TempDir>,
}

impl Bed {
    async fn sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("journal.db").display());
        Self::open(url, Some(folder)).await.unwrap()
    }

    async fn postgres() -> Self {
        let url = tokio::task::spawn_blocking(ligature_tests::postgres)
            .await
            .unwrap()
            .expect("the journal suite needs PostgreSQL");
        Self::open(url, None).await.unwrap()
    }

    async fn open(url: String, folder: Option<tempfile::TempDir>) -> Result<Self, Error> {
        let tracker = TaskTracker::new();
        let shutdown = CancellationToken::new();
        let config = Config {
            url: url.clone(),
            migrate: true,
        };
        let vault = Arc::new(Vault::new(Key::from_hex(1, KEY)?));
        let store = Store::open(config, vault, &tracker, shutdown.clone()).await?;
        Ok(Self {
            journal: store.journal(),
            store,
            url,
            tracker,
            shutdown,
            _folder: folder,
        })
    }

    fn is_sqlite(&self) -> bool {
        self.url.starts_with("sqlite:")
    }

    /// Closes the store and opens it again.
    async fn reopen(self) -> Self {
        self.shutdown.cancel();
        self.tracker.close();
        self.tracker.wait().await;
        drop(self.store);
        Self::open(self.url, self._folder).await.unwrap()
    }

    async fn append(&self, arrival: Arrival) -> MessageId {
        let id = arrival.id.clone();
        self.journal.append(vec![arrival]).await.unwrap();
        id
    }

    async fn claim(&self) -> Vec<Claimed> {
        let mut claimed = self.journal.claim("worker", 64, LEASE).await.unwrap();
        claimed.sort_by_key(|claimed| claimed.seq);
        claimed
    }

    /// Claims what is due and gives the messages' control ids.
    async fn claim_ids(&self) -> Vec<String> {
        ids(&self.claim().await)
    }

    async fn settle(&self, claimed: &Claimed, state: Settled) {
        self.journal
            .settle(&claimed.lease, settlement(state))
            .await
            .unwrap();
    }
}

fn ids(claimed: &[Claimed]) -> Vec<String> {
    claimed.iter().map(|c| c.control_id.clone()).collect()
}

fn account() -> AccountId {
    ACCOUNT.into()
}

/// A message for one queued delivery through the flow `lead`.
fn arrival(control_id: &str, lanes: &[&str]) -> Arrival {
    Arrival {
        id: MessageId::generate(),
        account: account(),
        channel: "adt".into(),
        direction: Direction::EhrToLeadSquared,
        received_at_ms: 1_700_000_000_000,
        payload: format!("MSH|{control_id}|Doe^Jane").into_bytes(),
        facts_only: false,
        control_id: control_id.into(),
        event: "ADT^A04".into(),
        sender: "EHR|HOSPITAL".into(),
        version: "2.5.1".into(),
        duplicate: None,
        lanes: lanes.iter().map(|lane| (*lane).to_owned()).collect(),
        search: Vec::new(),
        acknowledgement: format!("MSA|AA|{control_id}").into_bytes(),
        warnings: String::new(),
        peer: "127.0.0.1".into(),
        load: None,
        origin: None,
        route: Route::Flows(vec![queued("lead")]),
    }
}

fn queued(flow: &str) -> Routed {
    Routed {
        flow: FlowId::from(flow),
        start: Start::Queued,
        rank: Rank::new(1),
    }
}

fn settlement(state: Settled) -> Settlement {
    Settlement {
        state,
        reason: "code".into(),
        detail: "A sentence.".into(),
        note: None,
        attempt: Attempt {
            stage: "write".into(),
            code: "ok".into(),
            started_at_ms: 1,
            duration_ms: 2,
        },
        finished: Vec::new(),
        links: Vec::new(),
        forget: Vec::new(),
        forget_below: false,
        records: Vec::new(),
        found_by: Vec::new(),
        misses: Vec::new(),
        awaits: None,
        ran: None,
    }
}

/// A lease that has run out when it is given.
const RUN_OUT: Duration = Duration::ZERO;
