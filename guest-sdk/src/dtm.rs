//! HL7 DTM (and TS, DT) text to typed dates: `YYYY[MM[DD[HH[MM[SS[.S[S[S[S]]]]]]]]][+|-ZZZZ]`, precision by length.
//!
//! HL7 v2.8, 2A.3.22: hour 24 and second 60 are not in the type. An offset is plausible up to 14 hours.
//! `ligature-mapper` compiles this same file against its own three types, so that both read dates alike.

use crate::{Date, DateTime, Time};

/// How much of a date and time the sender wrote.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Precision {
    Year,
    Month,
    Day,
    Time,
}

/// Reads a calendar date; a finer value is cut to its day.
///
/// With `first_day` a year or a month alone is its first day, otherwise it is no date.
pub(crate) fn date(text: &str, first_day: bool) -> Option<Date> {
    let (value, precision) = parse(text.trim())?;
    (first_day || precision >= Precision::Day).then_some(value.date)
}

/// Reads a date and time; a date alone is its midnight, local.
pub(crate) fn date_time(text: &str) -> Option<DateTime> {
    let (value, precision) = parse(text.trim())?;
    (precision >= Precision::Day).then_some(value)
}

fn parse(text: &str) -> Option<(DateTime, Precision)> {
    let mut rest = Digits(text.as_bytes());
    let mut date = Date {
        year: rest.take(4)?,
        month: 1,
        day: 1,
    };
    let mut time = Time {
        hour: 0,
        minute: 0,
        second: 0,
        nanosecond: 0,
    };
    let mut precision = Precision::Year;
    if rest.more() {
        date.month = rest.take(2)? as u8;
        precision = Precision::Month;
    }
    if rest.more() {
        date.day = rest.take(2)? as u8;
        precision = Precision::Day;
    }
    if rest.more() {
        time.hour = rest.take(2)? as u8;
        precision = Precision::Time;
    }
    if rest.more() {
        time.minute = rest.take(2)? as u8;
    }
    if rest.more() {
        time.second = rest.take(2)? as u8;
        time.nanosecond = rest.fraction()?;
    }
    let offset_minutes = rest.offset()?;
    let date = day(date.year, date.month.into(), date.day.into())?;
    let real = time.hour < 24 && time.minute < 60 && time.second < 60;
    real.then_some((
        DateTime {
            date,
            time,
            offset_minutes,
        },
        precision,
    ))
}

/// The day of these numbers; none if the calendar has no such day.
pub(crate) fn day(year: u16, month: u16, day: u16) -> Option<Date> {
    let (month, day) = (month as u8, day as u8);
    let real = year >= 1 && (1..=12).contains(&month) && (1..=days_in(year, month)).contains(&day);
    real.then_some(Date { year, month, day })
}

struct Digits<'a>(&'a [u8]);

impl Digits<'_> {
    /// Whether another digit follows.
    fn more(&self) -> bool {
        self.0.first().is_some_and(u8::is_ascii_digit)
    }

    fn take(&mut self, count: usize) -> Option<u16> {
        let mut value = 0;
        for _ in 0..count {
            let (digit, rest) = self.0.split_first()?;
            if !digit.is_ascii_digit() {
                return None;
            }
            value = value * 10 + u16::from(digit - b'0');
            self.0 = rest;
        }
        Some(value)
    }

    /// Nanoseconds after a point, none without one. The standard has four digits; some senders write up to nine.
    fn fraction(&mut self) -> Option<u32> {
        let Some((b'.', rest)) = self.0.split_first() else {
            return Some(0);
        };
        self.0 = rest;
        let (mut nanosecond, mut unit, mut digits) = (0, 100_000_000, 0);
        while self.more() {
            nanosecond += u32::from(self.take(1)?) * unit;
            unit /= 10;
            digits += 1;
        }
        (1..=9).contains(&digits).then_some(nanosecond)
    }

    /// `+HHMM` or `-HHMM` at the end, or nothing at all.
    fn offset(&mut self) -> Option<Option<i16>> {
        let sign = match self.0.split_first() {
            None => return Some(None),
            Some((b'+', rest)) => {
                self.0 = rest;
                1
            }
            Some((b'-', rest)) => {
                self.0 = rest;
                -1
            }
            Some(_) => return None,
        };
        let (hours, minutes) = (self.take(2)? as i16, self.take(2)? as i16);
        let total = hours * 60 + minutes;
        (self.0.is_empty() && minutes < 60 && total <= 14 * 60).then_some(Some(sign * total))
    }
}

fn days_in(year: u16, month: u8) -> u8 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => {
            29
        }
        2 => 28,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A value as `YYYY-MM-DDTHH:MM:SS.N+MIN`, or `none`.
    fn check(text: &str, expected: &str) {
        let shown = date_time(text).map_or("none".to_owned(), |at| {
            let mut shown = format!(
                "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}",
                at.date.year,
                at.date.month,
                at.date.day,
                at.time.hour,
                at.time.minute,
                at.time.second
            );
            if at.time.nanosecond > 0 {
                shown.push_str(&format!(".{:09}", at.time.nanosecond));
            }
            if let Some(minutes) = at.offset_minutes {
                shown.push_str(&format!("{minutes:+}"));
            }
            shown
        });
        assert_eq!(shown, expected, "{text:?}");
    }

    #[test]
    fn every_precision_is_read() {
        check("20240229", "2024-02-29T00:00:00");
        check("2024022913", "2024-02-29T13:00:00");
        check("202402291345", "2024-02-29T13:45:00");
        check("20240229134559", "2024-02-29T13:45:59");
        check("20240229134559.1234", "2024-02-29T13:45:59.123400000");
        check("20240229134559.123456789", "2024-02-29T13:45:59.123456789");
        check("20240229134559-0500", "2024-02-29T13:45:59-300");
        check("202402291345+0530", "2024-02-29T13:45:00+330");
        check("20240229+1400", "2024-02-29T00:00:00+840");
        check("20240229134559-0000", "2024-02-29T13:45:59+0");
        check(" 20240229 ", "2024-02-29T00:00:00");
    }

    #[test]
    fn what_is_no_date_and_time_is_none() {
        for text in [
            "",
            "2024",
            "202402",
            "20230229",
            "20241301",
            "20240100",
            "2024022924",
            "202402291360",
            "20240229134560",
            "20240229134559.",
            "202402291345.5",
            "2024-02-29",
            "20240229T1345",
            "20240229+1401",
            "20240229+530",
            "2024022",
            "00000000",
            "yesterday",
            "２０２４０２２９",
            "20240229134559.1234567890",
        ] {
            check(text, "none");
        }
    }

    #[test]
    fn a_date_alone_may_be_less_precise() {
        let shown =
            |text, first_day| date(text, first_day).map(|date| (date.year, date.month, date.day));
        assert_eq!(shown("1961", false), None);
        assert_eq!(shown("1961", true), Some((1961, 1, 1)));
        assert_eq!(shown("196109", true), Some((1961, 9, 1)));
        assert_eq!(shown("19610926000000", false), Some((1961, 9, 26)));
        assert_eq!(shown("0", true), None);
    }
}
