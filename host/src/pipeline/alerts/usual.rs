//! How long a channel is usually silent at this hour, by the minutes in which something came of late.

use jiff::civil::Weekday;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

const MINUTE_MS: i64 = 60_000;

/// Days that are looked back: what the store keeps by the minute.
const DAYS: i64 = 7;

/// Days of the same kind that must be known before anything is unusual.
const ENOUGH: usize = 2;

/// A silence that is no longer than usual by this much, in percent, is none.
const LONGER_PERCENT: i64 = 150;

/// A silence that is longer than usual.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Silence {
    pub(super) lasts_ms: i64,
    /// The longest one around this time of the day, on days of the same kind.
    pub(super) usual_ms: i64,
}

/// Whether a channel is silent for longer than usual: `minutes`, sorted, are those in which something came, over eight days
/// or fewer; `least_ms` is the shortest silence that is told of.
///
/// Compared are the silences around the same time of the same kind of day, working days with working days and weekends with
/// weekends, by the clock of `zone`. A channel that is known for fewer than two such days is never unusual.
pub(super) fn unusual(
    minutes: &[i64],
    now_ms: i64,
    least_ms: i64,
    zone: &TimeZone,
) -> Option<Silence> {
    let (first, last) = (*minutes.first()?, *minutes.last()?);
    let lasts_ms = now_ms - (last + MINUTE_MS);
    if lasts_ms < least_ms {
        return None;
    }
    let now = Timestamp::from_millisecond(now_ms)
        .ok()?
        .to_zoned(zone.clone());
    let is_weekend = |day: Weekday| matches!(day, Weekday::Saturday | Weekday::Sunday);
    let mut usual = Vec::new();
    for days in 1..=DAYS {
        let Ok(then) = now.checked_sub(days.days()) else {
            continue;
        };
        let then_ms = then.timestamp().as_millisecond();
        let is_alike = is_weekend(then.weekday()) == is_weekend(now.weekday());
        if !is_alike || then_ms < first {
            continue;
        }
        let at = minutes.partition_point(|minute| *minute <= then_ms);
        let before = at.checked_sub(1).map(|at| minutes[at]);
        // A silence that goes on until now is no measure of itself.
        if let (Some(before), Some(after)) = (before, minutes.get(at)) {
            usual.push((after - before - MINUTE_MS).max(0));
        }
    }
    let usual_ms = usual.iter().copied().max()?;
    let is_longer = lasts_ms * 100 > usual_ms * LONGER_PERCENT;
    (usual.len() >= ENOUGH && is_longer).then_some(Silence { lasts_ms, usual_ms })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR_MS: i64 = 60 * MINUTE_MS;
    const DAY_MS: i64 = 24 * HOUR_MS;

    /// Friday, 2026-11-20, 10:00 UTC.
    const NOW: i64 = 1_795_168_800_000;

    /// Minutes with traffic: every ten minutes from 8 to 18 on the days before now that `works` has, and up to
    /// `silence` before now.
    fn traffic(days: &[i64], silence_ms: i64) -> Vec<i64> {
        let mut minutes = Vec::new();
        for day in days.iter().copied().chain([0]) {
            let midnight = NOW - 10 * HOUR_MS - day * DAY_MS;
            let all = (8 * 6..18 * 6).map(|ten| midnight + ten * 10 * MINUTE_MS);
            minutes.extend(all.filter(|at| *at <= NOW - silence_ms));
        }
        minutes.sort_unstable();
        minutes
    }

    fn check(days: &[i64], silence_minutes: i64, now_ms: i64, expected: Option<i64>) {
        let minutes = traffic(days, silence_minutes * MINUTE_MS);
        let found = unusual(&minutes, now_ms, 30 * MINUTE_MS, &TimeZone::UTC);
        let usual = found.map(|found| found.usual_ms / MINUTE_MS);
        assert_eq!(usual, expected, "{days:?} {silence_minutes}");
    }

    #[test]
    fn a_silence_is_compared_with_the_same_hour_of_days_alike() {
        let week = [1, 2, 3, 4, 7];
        check(&week, 10, NOW, None);
        check(&week, 30, NOW, None);
        check(&week, 60, NOW, Some(9));
        // Too little is known.
        check(&[1], 60, NOW, None);
        check(&[], 60, NOW, None);
        // At night it is silent every night; the weekend between is another kind of day.
        let minutes = traffic(&week, 0);
        let night = NOW + 16 * HOUR_MS;
        assert_eq!(
            unusual(&minutes, night, 30 * MINUTE_MS, &TimeZone::UTC),
            None
        );
        assert_eq!(unusual(&[], NOW, 0, &TimeZone::UTC), None);
    }
}
