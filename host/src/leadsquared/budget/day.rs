//! The calls an account may still make today.
//!
//! LeadSquared's plans have a quota for a day beside the window (`leadsquared.md` 3), shared by every integration of the
//! account. Days are taken to be UTC's; the page does not say.

use jiff::Timestamp;

/// Milliseconds of a day of UTC.
const DAY_MS: i64 = 24 * 60 * 60 * 1_000;

/// Calls made on one day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Used {
    /// Days since 1970-01-01.
    pub day: i64,
    pub calls: u32,
}

/// The quota of a day, with what is used of it.
#[derive(Debug)]
pub(super) struct Quota {
    /// None is no limit.
    pub(super) limit: Option<u32>,
    used: Used,
    /// How many of `used` others know of.
    told: u32,
}

impl Quota {
    pub(super) fn new(limit: Option<u32>) -> Self {
        Self {
            limit,
            used: Used::default(),
            told: 0,
        }
    }

    /// Counts one call, or says when the next day begins.
    pub(super) fn take(&mut self, now: Timestamp) -> Result<(), Timestamp> {
        let used = self.at(now);
        if self.limit.is_some_and(|limit| used.calls >= limit) {
            let next = (used.day + 1) * DAY_MS;
            return Err(Timestamp::from_millisecond(next).unwrap_or(Timestamp::MAX));
        }
        if used.day != self.used.day {
            self.told = 0;
        }
        self.used = Used {
            calls: used.calls.saturating_add(1),
            ..used
        };
        Ok(())
    }

    /// The calls since this was asked last, to be added up elsewhere; none if there were none.
    pub(super) fn tell(&mut self) -> Option<Used> {
        let calls = self.used.calls - self.told;
        self.told = self.used.calls;
        (calls > 0).then_some(Used { calls, ..self.used })
    }

    /// What is used on the day of `now`.
    pub(super) fn at(&self, now: Timestamp) -> Used {
        let day = now.as_millisecond().div_euclid(DAY_MS);
        match self.used.day == day {
            true => self.used,
            false => Used { day, calls: 0 },
        }
    }

    /// Adds what a former process used.
    pub(super) fn resume(&mut self, earlier: Used, now: Timestamp) {
        let used = self.at(now);
        if earlier.day == used.day {
            if used.day != self.used.day {
                self.told = 0;
            }
            self.used = Used {
                calls: used.calls.saturating_add(earlier.calls),
                ..used
            };
            self.told = self.told.saturating_add(earlier.calls);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_has_its_calls_and_the_next_has_them_again() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let mut quota = Quota::new(Some(2));
        let evening = at("2026-11-20T23:59:59Z");
        assert_eq!(quota.take(evening), Ok(()));
        assert_eq!(quota.take(evening), Ok(()));
        assert_eq!(quota.take(evening), Err(at("2026-11-21T00:00:00Z")));
        let morning = at("2026-11-21T00:00:00Z");
        assert_eq!(quota.take(morning), Ok(()));
        assert_eq!(quota.at(morning).calls, 1);
        // A former process used the day before, and one of today.
        let day = quota.at(morning).day;
        quota.resume(
            Used {
                day: day - 1,
                calls: 9,
            },
            morning,
        );
        quota.resume(Used { day, calls: 1 }, morning);
        assert!(quota.take(morning).is_err());
        assert_eq!(quota.tell(), Some(Used { day, calls: 1 }), "its own alone");
        assert_eq!(quota.tell(), None);
        let mut quota = Quota::new(None);
        assert!((0..9).all(|_| quota.take(morning).is_ok()));
        assert_eq!(quota.at(morning).calls, 9);
    }
}
