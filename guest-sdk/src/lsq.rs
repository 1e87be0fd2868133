//! LeadSquared's dates as text to typed dates: `yyyy-MM-dd`, and `yyyy-MM-dd HH:mm:ss[.fff]`, which is UTC.
//!
//! HL7's own form is read as well, because a text field of an account may hold what came from the EHR.
//! `ligature-mapper` compiles this same file against its own types.

use crate::dtm;
use crate::{Date, DateTime, Time};

/// Reads a calendar date; a time behind it is cut off, so a birth date stays the day that was entered.
pub(crate) fn date(text: &str) -> Option<Date> {
    let text = text.trim();
    match parse(text) {
        Some((date, _)) => Some(date),
        None => dtm::date(text, false),
    }
}

/// Reads a date and time, in UTC unless it is in HL7's form; a date alone is its midnight, local.
pub(crate) fn date_time(text: &str) -> Option<DateTime> {
    let text = text.trim();
    match parse(text) {
        Some((date, Some(time))) => Some(DateTime {
            date,
            time,
            offset_minutes: Some(0),
        }),
        Some((date, None)) => Some(DateTime {
            date,
            time: Time {
                hour: 0,
                minute: 0,
                second: 0,
                nanosecond: 0,
            },
            offset_minutes: None,
        }),
        None => dtm::date_time(text),
    }
}

fn parse(text: &str) -> Option<(Date, Option<Time>)> {
    let bytes = text.as_bytes();
    let date = dtm::day(
        number(bytes, 0, 4)?,
        number(bytes, 5, 2)?,
        number(bytes, 8, 2)?,
    )?;
    if bytes[4] != b'-' || bytes[7] != b'-' {
        return None;
    }
    if bytes.len() == 10 {
        return Some((date, None));
    }
    let time = Time {
        hour: number(bytes, 11, 2)? as u8,
        minute: number(bytes, 14, 2)? as u8,
        second: number(bytes, 17, 2)? as u8,
        nanosecond: 0,
    };
    // A fraction of a second, which LeadSquared writes and HL7 seldom wants, and the `Z` of UTC say nothing more.
    let rest = text.get(19..)?;
    let rest = rest.strip_suffix('Z').unwrap_or(rest);
    let is_fraction = |rest: &str| {
        let digits = rest.strip_prefix('.');
        digits.is_some_and(|digits| {
            !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
        })
    };
    let real = matches!(bytes[10], b' ' | b'T')
        && bytes[13] == b':'
        && bytes[16] == b':'
        && time.hour < 24
        && time.minute < 60
        && time.second < 60
        && (rest.is_empty() || is_fraction(rest));
    real.then_some((date, Some(time)))
}

fn number(bytes: &[u8], at: usize, digits: usize) -> Option<u16> {
    let digits = bytes.get(at..at + digits)?;
    let all_digits = digits.iter().all(u8::is_ascii_digit);
    all_digits.then(|| {
        digits
            .iter()
            .fold(0, |number, digit| number * 10 + u16::from(digit - b'0'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A value as `YYYY-M-D H:M:S`, without the time where it is local midnight; none if it is no date.
    fn check(text: &str, expected: Option<&str>) {
        let day = |date: Date| format!("{}-{}-{}", date.year, date.month, date.day);
        let read = date_time(text).map(|at| match (at.offset_minutes, at.time) {
            (None, _) => day(at.date),
            (_, time) => format!(
                "{} {}:{}:{}",
                day(at.date),
                time.hour,
                time.minute,
                time.second
            ),
        });
        assert_eq!(read.as_deref(), expected, "{text}");
        let expected = expected.and_then(|expected| expected.split(' ').next());
        assert_eq!(date(text).map(day).as_deref(), expected, "{text}");
    }

    #[test]
    fn dates_and_times_of_both_systems() {
        check("1988-07-05", Some("1988-7-5"));
        check(" 2026-10-07 14:03:21 ", Some("2026-10-7 14:3:21"));
        check("2026-10-07 14:03:21.000", Some("2026-10-7 14:3:21"));
        check("2026-10-07T14:03:21Z", Some("2026-10-7 14:3:21"));
        check("19880705", Some("1988-7-5"));
        check("20261007140321-0500", Some("2026-10-7 14:3:21"));
        for wrong in [
            "",
            "1988-02-30",
            "1988-7-5",
            "5/7/1988",
            "2026-10-07 24:00:00",
            "2026-10-07 14:03",
            "2026-10-07 14:03:21.",
            "2026-10-07 14:03:21 PM",
            "2026-10-07+14:03:21",
            "é988-07-05",
            "2026-10-07 14:03:2é",
        ] {
            check(wrong, None);
        }
    }
}
