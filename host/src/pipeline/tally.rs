//! What came and what became of it, minute by minute: the figures of lists, pictures and alarms.
//!
//! Counted in memory and added up in the store every few seconds, so that no message waits for a figure; a crash forgets
//! those seconds. Nothing is decided by these figures. Start at [`Pipeline::figures`].

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::error;
use utoipa::ToSchema;

use super::Pipeline;
use crate::flow::{AccountId, Channel};
use crate::hl7::is_probe;
use crate::meter::Counts;
use crate::store;
use crate::store::journal::tally::{Step, Tallied};
use crate::store::journal::{Appended, Arrival, Claimed, Route, State};

const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;
const DAY_MS: i64 = 24 * HOUR_MS;

/// How often what was counted goes to the store.
const KEPT_EVERY: Duration = Duration::from_secs(10);

/// How long minutes and hours are kept: a week and a day, and a year and a month.
const MINUTES_KEPT_MS: i64 = 8 * DAY_MS;
const HOURS_KEPT_MS: i64 = 396 * DAY_MS;

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Counted {
    /// By a channel: kept and answered.
    Received,
    /// By a channel: kept, and no flow gets it, since it cannot be read or the channel says so.
    NotTaken,
    /// Through a flow.
    Delivered,
    Skipped,
    Failed,
}

impl Counted {
    const ALL: [Self; 5] = [
        Self::Received,
        Self::NotTaken,
        Self::Delivered,
        Self::Skipped,
        Self::Failed,
    ];

    fn as_str(self) -> &'static str {
        match self {
            Self::Received => "received",
            Self::NotTaken => "not-taken",
            Self::Delivered => "delivered",
            Self::Skipped => "skipped",
            Self::Failed => "failed",
        }
    }

    fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.as_str() == word)
    }

    /// What a delivery in this state counts as; none while it is not at an end.
    fn of(state: State) -> Option<Self> {
        match state {
            State::Delivered => Some(Self::Delivered),
            State::Skipped => Some(Self::Skipped),
            State::Dead => Some(Self::Failed),
            State::Queued | State::Running | State::Waiting | State::Parked => None,
        }
    }
}

/// What was counted and is not in the store yet: by account, minute, kind and subject.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pending: Mutex<BTreeMap<(AccountId, i64, Counted, String), u64>>,
    /// Since this process began.
    totals: Counts<Total>,
}

/// Account, kind and subject.
pub type Total = (AccountId, Counted, String);

impl Tally {
    fn add(&self, account: &AccountId, what: Counted, subject: &str) {
        let now_ms = Timestamp::now().as_millisecond();
        let minute = now_ms - now_ms.rem_euclid(MINUTE_MS);
        let key = (account.clone(), minute, what, subject.to_owned());
        self.totals.add((account.clone(), what, subject.to_owned()));
        let mut counts = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.entry(key).or_default() += 1;
    }

    /// Notes the state that a try of a delivery has ended in.
    pub(super) fn settled(&self, claimed: &Claimed, state: State) {
        if let Some(what) = Counted::of(state) {
            self.add(&claimed.account, what, claimed.flow.as_str());
        }
    }
}

/// How often each thing happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, ToSchema)]
pub struct Sums {
    pub received: u64,
    pub not_taken: u64,
    pub delivered: u64,
    pub skipped: u64,
    pub failed: u64,
}

impl Sums {
    fn add(&mut self, what: Counted, count: u64) {
        *match what {
            Counted::Received => &mut self.received,
            Counted::NotTaken => &mut self.not_taken,
            Counted::Delivered => &mut self.delivered,
            Counted::Skipped => &mut self.skipped,
            Counted::Failed => &mut self.failed,
        } += count;
    }
}

/// How far back figures go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Span {
    /// 60 minutes, minute by minute.
    Hour,
    /// 24 hours, a quarter of an hour at a time.
    Day,
    /// 7 days, two hours at a time.
    Week,
}

impl Span {
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "hour" => Some(Self::Hour),
            "day" => Some(Self::Day),
            "week" => Some(Self::Week),
            _ => None,
        }
    }

    /// Its length and the length of one point, in milliseconds.
    fn measures(self) -> (i64, i64) {
        match self {
            Self::Hour => (HOUR_MS, MINUTE_MS),
            Self::Day => (DAY_MS, 15 * MINUTE_MS),
            Self::Week => (7 * DAY_MS, 2 * HOUR_MS),
        }
    }
}

/// What happened in one step of time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Point {
    /// When it began.
    pub at: String,
    #[serde(skip)]
    pub at_ms: i64,
    pub sums: Sums,
}

/// Figures of an account over some time, oldest first, without gaps; the last point has not ended yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Series {
    pub step_ms: i64,
    pub points: Vec<Point>,
    /// The same by channel, over the whole time.
    pub channels: BTreeMap<String, Sums>,
    /// The same by flow, over the whole time.
    pub flows: BTreeMap<String, Sums>,
}

/// Where the deliveries of a flow stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, ToSchema)]
pub struct Waiting {
    /// Queued or being worked on.
    pub queued: u64,
    /// For their next try.
    pub waiting: u64,
    /// For a person.
    pub parked: u64,
}

/// What deliveries of a flow wait for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Reason {
    pub flow: String,
    /// `queued`, `running`, `waiting` or `parked`.
    pub state: &'static str,
    pub count: u64,
    /// What one of them says; empty where nothing was said yet.
    pub text: String,
    /// When the first of them is tried again by itself.
    pub due_at: Option<String>,
    #[serde(skip)]
    pub due_at_ms: Option<i64>,
}

/// Today of an account, by its own clock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Today {
    /// When it began.
    pub since: String,
    #[serde(skip)]
    pub since_ms: i64,
    pub sums: Sums,
    pub channels: BTreeMap<String, Sums>,
    pub flows: BTreeMap<String, Sums>,
    /// What is not at its end, whenever it came.
    pub waiting: BTreeMap<String, Waiting>,
    /// The same by reason, most first.
    pub reasons: Vec<Reason>,
}

impl Pipeline {
    /// Keeps what came, and counts what is new of it; see `store::journal::Journal::append`.
    ///
    /// # Errors
    /// The store's.
    pub(super) async fn append(
        &self,
        arrivals: Vec<Arrival>,
    ) -> Result<Vec<Appended>, store::Error> {
        let came = arrivals.iter().map(|arrival| {
            let what = match arrival.route {
                // Whoever looks at the connection is no sender.
                _ if is_probe(&arrival.sender, &arrival.event) => None,
                Route::Rejected { .. } => Some(Counted::NotTaken),
                _ => Some(Counted::Received),
            };
            (arrival.account.clone(), what, arrival.channel.clone())
        });
        let came: Vec<_> = came.collect();
        let appended = self.store.journal().append(arrivals).await?;
        for ((account, what, channel), appended) in came.iter().zip(&appended) {
            if let Some(what) = what.filter(|_| *appended == Appended::Stored) {
                self.tally.add(account, what, channel.as_str());
            }
        }
        Ok(appended)
    }

    /// Adds what was counted to the store.
    ///
    /// # Errors
    /// The store's; then it is added the next time.
    pub async fn keep_tally(&self) -> Result<(), store::Error> {
        let counts = std::mem::take(
            &mut *self
                .tally
                .pending
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        );
        let tallied =
            |((account, at_ms, what, subject), count): (&(_, i64, Counted, String), &u64)| {
                Tallied {
                    account: AccountId::clone(account),
                    at_ms: *at_ms,
                    kind: what.as_str().into(),
                    subject: subject.clone(),
                    count: *count,
                }
            };
        let tallies: Vec<Tallied> = counts.iter().map(tallied).collect();
        let kept = self.store.journal().add_tallies(&tallies).await;
        if kept.is_err() {
            let mut now = self
                .tally
                .pending
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            for (key, count) in counts {
                *now.entry(key).or_default() += count;
            }
        }
        kept
    }

    /// What was counted since this process began.
    pub fn totals(&self) -> BTreeMap<Total, u64> {
        self.tally.totals.read()
    }

    /// When the last message came over a channel, to the minute; none if none did for a week.
    ///
    /// # Errors
    /// The store's.
    pub async fn last_received(&self, channel: &Channel) -> Result<Option<i64>, store::Error> {
        self.keep_tally().await?;
        let journal = self.store.journal();
        let word = Counted::Received.as_str();
        let last = journal.last_tallied(&channel.account, word, channel.id.as_str());
        last.await
    }

    /// The minutes since `from_ms` in which messages came over a channel, oldest first.
    ///
    /// # Errors
    /// The store's.
    pub(super) async fn minutes_with(
        &self,
        channel: &Channel,
        from_ms: i64,
    ) -> Result<Vec<i64>, store::Error> {
        let journal = self.store.journal();
        let word = Counted::Received.as_str();
        let minutes = journal.tallied_minutes(&channel.account, word, channel.id.as_str(), from_ms);
        minutes.await
    }

    /// The figures of an account up to now.
    ///
    /// # Errors
    /// The store's.
    pub async fn figures(&self, account: &AccountId, span: Span) -> Result<Series, store::Error> {
        self.keep_tally().await?;
        let (length_ms, step_ms) = span.measures();
        let now_ms = Timestamp::now().as_millisecond();
        let end_ms = now_ms - now_ms.rem_euclid(step_ms) + step_ms;
        let from_ms = end_ms - length_ms;
        let step = match span {
            Span::Hour | Span::Day => Step::Minute,
            Span::Week => Step::Hour,
        };
        let journal = self.store.journal();
        let tallies = journal.tallies(account, step, from_ms, end_ms).await?;
        let mut sums = vec![Sums::default(); (length_ms / step_ms) as usize];
        let (mut channels, mut flows) = (BTreeMap::new(), BTreeMap::new());
        for one in &tallies {
            let at = (one.at_ms - from_ms) / step_ms;
            if let (Some(what), Some(sums)) = (Counted::parse(&one.kind), sums.get_mut(at as usize))
            {
                sums.add(what, one.count);
                by_subject(&mut channels, &mut flows, what, one);
            }
        }
        let begins = (from_ms..).step_by(step_ms as usize);
        let points = begins.zip(sums).map(|(at_ms, sums)| Point {
            at: rfc3339(at_ms),
            at_ms,
            sums,
        });
        Ok(Series {
            step_ms,
            points: points.collect(),
            channels,
            flows,
        })
    }

    /// What happened today in an account, and what waits; `zone` says when today began.
    ///
    /// # Errors
    /// The store's.
    pub async fn today(&self, account: &AccountId, zone: &TimeZone) -> Result<Today, store::Error> {
        self.keep_tally().await?;
        let now = Timestamp::now().to_zoned(zone.clone());
        let since = now
            .start_of_day()
            .map_or(now.timestamp(), |begin| begin.timestamp());
        let since_ms = since.as_millisecond();
        // Days of some zones begin in the middle of an hour of UTC.
        let hour_ms = since_ms + (-since_ms).rem_euclid(HOUR_MS);
        let journal = self.store.journal();
        let mut tallies = journal
            .tallies(account, Step::Minute, since_ms, hour_ms)
            .await?;
        tallies.append(
            &mut journal
                .tallies(account, Step::Hour, hour_ms, i64::MAX)
                .await?,
        );
        let mut sums = Sums::default();
        let (mut channels, mut flows) = (BTreeMap::new(), BTreeMap::new());
        for one in &tallies {
            if let Some(what) = Counted::parse(&one.kind) {
                sums.add(what, one.count);
                by_subject(&mut channels, &mut flows, what, one);
            }
        }
        let mut waiting: BTreeMap<String, Waiting> = BTreeMap::new();
        let mut reasons = Vec::new();
        for open in journal.open_reasons(account).await? {
            let flow = open.flow.to_string();
            let counts = waiting.entry(flow.clone()).or_default();
            match open.state {
                State::Waiting => counts.waiting += open.count,
                State::Parked => counts.parked += open.count,
                _ => counts.queued += open.count,
            }
            let due_at_ms = open.due_at_ms.filter(|_| open.state == State::Waiting);
            reasons.push(Reason {
                flow,
                state: open.state.as_str(),
                count: open.count,
                text: open.detail,
                due_at: due_at_ms.map(rfc3339),
                due_at_ms,
            });
        }
        reasons.sort_by_key(|reason| std::cmp::Reverse(reason.count));
        Ok(Today {
            since: rfc3339(since_ms),
            since_ms,
            sums,
            channels,
            flows,
            waiting,
            reasons,
        })
    }
}

fn rfc3339(ms: i64) -> String {
    Timestamp::from_millisecond(ms).map_or_else(|_| String::new(), |at| at.to_string())
}

fn by_subject(
    channels: &mut BTreeMap<String, Sums>,
    flows: &mut BTreeMap<String, Sums>,
    what: Counted,
    one: &Tallied,
) {
    let subjects = match what {
        Counted::Received | Counted::NotTaken => channels,
        Counted::Delivered | Counted::Skipped | Counted::Failed => flows,
    };
    subjects
        .entry(one.subject.clone())
        .or_default()
        .add(what, one.count);
}

/// Keeps what is counted until `shutdown`, and once more then; forgets what is old once an hour.
pub async fn keep(pipeline: Arc<Pipeline>, shutdown: CancellationToken) {
    let mut rounds = 0_u64;
    loop {
        tokio::select! {
            () = sleep(KEPT_EVERY) => {}
            () = shutdown.cancelled() => {}
        }
        if let Err(fault) = pipeline.keep_tally().await {
            error!(%fault, "the figures of the last seconds are not kept yet");
        }
        if shutdown.is_cancelled() {
            return;
        }
        if rounds.is_multiple_of(360) {
            let now_ms = Timestamp::now().as_millisecond();
            let journal = pipeline.store.journal();
            let forgetting =
                journal.forget_tallies(now_ms - MINUTES_KEPT_MS, now_ms - HOURS_KEPT_MS);
            if let Err(fault) = forgetting.await {
                error!(%fault, "old figures could not be forgotten");
            }
        }
        rounds += 1;
    }
}
