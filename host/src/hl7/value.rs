//! Values of HL7's primitive data types: DTM (and TS, DT), NM, SI.
//!
//! Reading one tells what the sender wrote and how much of it: a birth date stays a date. Chapter 2A of the standard
//! defines them (DTM 2A.3.22, NM 2A.3.42, SI 2A.3.63 in version 2.8). A mapping reads dates with code of its own, which
//! runs inside components; this is for the console, hints and checks.

use jiff::tz::{AmbiguousOffset, Offset, TimeZone};
use jiff::{Timestamp, civil};

/// A date and time as written: `YYYY[MM[DD[HH[MM[SS[.S[S[S[S]]]]]]]]][+|-ZZZZ]`; its precision is its length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DateTime {
    /// From 1.
    pub year: u16,
    /// 1 to 12.
    pub month: Option<u8>,
    /// From 1.
    pub day: Option<u8>,
    /// 0 to 23; the type has no hour 24.
    pub hour: Option<u8>,
    /// 0 to 59; an hour may stand without.
    pub minute: Option<u8>,
    /// 0 to 59; the type has no leap second.
    pub second: Option<u8>,
    /// One to four digits after the point.
    pub fraction: Option<Fraction>,
    /// Minutes east of UTC, within a day; `None` is the sender's local time.
    pub offset_minutes: Option<i16>,
}

/// Digits after the point of a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fraction {
    /// How many were written, 1 to 4.
    pub digits: u8,
    /// In units of 0.1 ms, whatever was written.
    pub ten_thousandths: u16,
}

/// How much of a date and time was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Precision {
    /// `YYYY`
    Year,
    /// `YYYYMM`
    Month,
    /// `YYYYMMDD`
    Day,
    /// `YYYYMMDDHH`
    Hour,
    /// `YYYYMMDDHHMM`
    Minute,
    /// `YYYYMMDDHHMMSS`
    Second,
    /// `YYYYMMDDHHMMSS.S`, one to four digits after the point
    Fraction,
}

impl DateTime {
    /// Reads the text of a DTM, TS.1 or DT; blanks around it are taken off. `None` if it is none.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim_matches(' ');
        let (written, offset_minutes) = match text.find(['+', '-']) {
            Some(at) => (&text[..at], Some(offset(&text[at..])?)),
            None => (text, None),
        };
        let (digits, fraction) = match written.split_once('.') {
            Some((digits, fraction)) if digits.len() == 14 => {
                (digits, Some(Fraction::parse(fraction)?))
            }
            Some(_) => return None,
            None => (written, None),
        };
        if !matches!(digits.len(), 4 | 6 | 8 | 10 | 12 | 14) || !all_digits(digits) {
            return None;
        }
        let pair = |at: usize| {
            digits
                .get(at..at + 2)
                .and_then(|pair| pair.parse::<u8>().ok())
        };
        let read = Self {
            year: digits[..4].parse().ok()?,
            month: pair(4),
            day: pair(6),
            hour: pair(8),
            minute: pair(10),
            second: pair(12),
            fraction,
            offset_minutes,
        };
        read.is_real().then_some(read)
    }

    fn is_real(&self) -> bool {
        let (month, day) = (self.month.unwrap_or(1), self.day.unwrap_or(1));
        let date = civil::Date::new(self.year as i16, month as i8, day as i8);
        self.year >= 1
            && date.is_ok()
            && self.hour.is_none_or(|hour| hour < 24)
            && self.minute.is_none_or(|minute| minute < 60)
            && self.second.is_none_or(|second| second < 60)
    }

    /// How much of it was written.
    pub fn precision(&self) -> Precision {
        let finer = [
            (self.fraction.is_some(), Precision::Fraction),
            (self.second.is_some(), Precision::Second),
            (self.minute.is_some(), Precision::Minute),
            (self.hour.is_some(), Precision::Hour),
            (self.day.is_some(), Precision::Day),
            (self.month.is_some(), Precision::Month),
        ];
        let written = finer.into_iter().find(|(written, _)| *written);
        written.map_or(Precision::Year, |(_, precision)| precision)
    }

    /// The instant meant, in `zone` where no offset was written; `None` for a date alone, which is no instant.
    ///
    /// A local time that a change of clocks skips is moved forward, one that comes twice is the earlier.
    pub fn instant(&self, zone: &TimeZone) -> Option<Timestamp> {
        let local = self.local()?;
        match self.offset_minutes {
            Some(minutes) => {
                let offset = Offset::from_seconds(i32::from(minutes) * 60).ok()?;
                offset.to_timestamp(local).ok()
            }
            None => zone.to_ambiguous_timestamp(local).compatible().ok(),
        }
    }

    /// The same, but of a local time that comes twice the later.
    pub fn latest_instant(&self, zone: &TimeZone) -> Option<Timestamp> {
        let ambiguous = zone.to_ambiguous_timestamp(self.local()?);
        match (self.offset_minutes, ambiguous.offset()) {
            (None, AmbiguousOffset::Fold { .. }) => ambiguous.later().ok(),
            _ => self.instant(zone),
        }
    }

    fn local(&self) -> Option<civil::DateTime> {
        let nanosecond = self
            .fraction
            .map_or(0, |fraction| i32::from(fraction.ten_thousandths) * 100_000);
        let date = civil::Date::new(self.year as i16, self.month? as i8, self.day? as i8);
        Some(date.ok()?.at(
            self.hour? as i8,
            self.minute.unwrap_or(0) as i8,
            self.second.unwrap_or(0) as i8,
            nanosecond,
        ))
    }
}

impl Fraction {
    fn parse(text: &str) -> Option<Self> {
        if !(1..=4).contains(&text.len()) || !all_digits(text) {
            return None;
        }
        let written: u16 = text.parse().ok()?;
        Some(Self {
            digits: text.len() as u8,
            ten_thousandths: written * 10_u16.pow(4 - text.len() as u32),
        })
    }
}

/// Reads `+HHMM` or `-HHMM`; `-0000` is kept as no offset from UTC.
fn offset(text: &str) -> Option<i16> {
    let (sign, digits) = match text.split_at_checked(1)? {
        ("+", digits) => (1, digits),
        (_, digits) => (-1, digits),
    };
    if digits.len() != 4 || !all_digits(digits) {
        return None;
    }
    let (hours, minutes): (i16, i16) = (digits[..2].parse().ok()?, digits[2..].parse().ok()?);
    (hours < 24 && minutes < 60).then_some(sign * (hours * 60 + minutes))
}

/// Whether `text` is an NM: an optional sign, digits, an optional point with digits; no exponent, no separators.
///
/// A number is kept as text, because leading zeros and the number of decimals may matter to its receiver.
pub fn is_number(text: &str) -> bool {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    match unsigned.split_once('.') {
        Some((whole, decimals)) => {
            (!whole.is_empty() || !decimals.is_empty())
                && whole
                    .bytes()
                    .chain(decimals.bytes())
                    .all(|byte| byte.is_ascii_digit())
        }
        None => all_digits(unsigned),
    }
}

/// Reads an SI: digits alone.
pub fn sequence(text: &str) -> Option<u64> {
    all_digits(text).then(|| text.parse().ok()).flatten()
}

fn all_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}
