//! The rate limit: a sliding window of calls, and a quota.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use super::answer::{Answer, envelope};

/// How many calls an account may make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    pub calls: u32,
    pub window: Duration,
    /// 429; some clients saw 403, and 200 with an error body.
    pub status: u16,
}

impl Default for RateLimit {
    /// 25 calls in 5 seconds, answered with 429: what the endpoint pages state.
    fn default() -> Self {
        Self {
            calls: 25,
            window: Duration::from_secs(5),
            status: 429,
        }
    }
}

impl RateLimit {
    /// The answer to a call beyond the limit.
    pub(super) fn answer(&self) -> Answer {
        envelope(
            self.status,
            "MXAPIRateLimitExceededException",
            &format!(
                "API calls exceeded the limit of {} in {} second(s)",
                self.calls,
                self.window.as_secs()
            ),
        )
    }
}

/// The calls of the window that has just passed.
#[derive(Debug, Default)]
pub(super) struct Window {
    calls: VecDeque<Instant>,
}

impl Window {
    /// Counts a call in, or refuses it; a refused call does not count.
    pub(super) fn admits(&mut self, limit: &RateLimit, now: Instant) -> bool {
        while let Some(first) = self.calls.front()
            && now.duration_since(*first) >= limit.window
        {
            self.calls.pop_front();
        }
        let admitted = self.calls.len() < limit.calls as usize;
        if admitted {
            self.calls.push_back(now);
        }
        admitted
    }
}
