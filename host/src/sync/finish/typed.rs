//! Values of fields with a type of their own: numbers, truth values, e-mail addresses, days and times.
//!
//! A mapping may give each as the value it is or as text, as it stands in the message; both are checked here.

use jiff::{Timestamp, civil, tz::TimeZone};

use crate::flow::mapped::{DateTime, Value};

pub(super) const NOT_AN_EMAIL: &str = "it is not an e-mail address";
const NOT_A_NUMBER: &str = "it is not a number";
const NOT_A_DATE: &str = "it is not a whole date";
const NOT_A_TIME: &str = "it is not a time of day";
const NOT_A_BOOLEAN: &str = "it is neither true nor false";

/// Reads an HL7 NM or a number: sign, digits, a point with digits. No exponent and no thousands, which differ by country.
pub(super) fn number(value: Value) -> Result<String, &'static str> {
    let text = match value {
        Value::Integer(number) => return Ok(number.to_string()),
        Value::Text(text) | Value::Decimal(text) => text,
        _ => return Err(NOT_A_NUMBER),
    };
    let text = text.trim();
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", text.strip_prefix('+').unwrap_or(text)),
    };
    let (whole, decimals) = digits.split_once('.').unwrap_or((digits, ""));
    let all_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !all_digits(whole) || !all_digits(decimals) || whole.len() + decimals.len() == 0 {
        return Err(NOT_A_NUMBER);
    }
    let whole = if whole.is_empty() { "0" } else { whole };
    let point = if decimals.is_empty() { "" } else { "." };
    Ok([sign, whole, point, decimals].concat())
}

/// Reads a truth value; `Y` and `N` are those of HL7 table 0136.
pub(super) fn boolean(value: Value) -> Result<bool, &'static str> {
    let text = match value {
        Value::Boolean(flag) => return Ok(flag),
        Value::Integer(number) => number.to_string(),
        Value::Text(text) | Value::Decimal(text) => text,
        _ => return Err(NOT_A_BOOLEAN),
    };
    match text.trim().to_ascii_lowercase().as_str() {
        "true" | "yes" | "y" | "1" => Ok(true),
        "false" | "no" | "n" | "0" => Ok(false),
        _ => Err(NOT_A_BOOLEAN),
    }
}

/// Reads an e-mail address as people write them: no quotes, no comments, a domain of at least two labels.
pub(super) fn email(text: &str) -> Result<String, &'static str> {
    let text = text.trim();
    let address = match text.get(..7) {
        Some(scheme) if scheme.eq_ignore_ascii_case("mailto:") => &text[7..],
        _ => text,
    };
    let (name, domain) = address.rsplit_once('@').ok_or(NOT_AN_EMAIL)?;
    // RFC 5322, section 3.2.3: what is not quoted has none of these.
    let special = |c: char| c.is_whitespace() || c.is_control() || "()<>[]:;@\\,\"".contains(c);
    let is_name = (1..=64).contains(&name.len())
        && !name.contains(special)
        && name.split('.').all(|part| !part.is_empty());
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.chars().all(|c| c.is_alphanumeric() || c == '-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let top_is_name = domain
        .rsplit('.')
        .next()
        .is_some_and(|top| !top.bytes().all(|byte| byte.is_ascii_digit()));
    let is_domain = domain.contains('.')
        && domain.len() <= 253
        && domain.split('.').all(is_label)
        && top_is_name;
    match is_name && is_domain {
        true => Ok(address.into()),
        false => Err(NOT_AN_EMAIL),
    }
}

/// A day, or a day with a time.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Moment {
    /// Stays a day: a birth date at midnight would be the day before in another zone.
    Date(civil::Date),
    /// Local to the flow's zone, unless an offset was written.
    Local(DateTime),
    /// In UTC already.
    Utc(civil::DateTime),
}

/// Reads a day or a day with a time.
///
/// Of texts it takes HL7's (`YYYYMMDD`, `YYYYMMDDHHMM[SS[.SSSS]][+ZZZZ]`), ISO 8601's (`YYYY-MM-DD`,
/// `YYYY-MM-DDTHH:MM[:SS]` with `Z`, an offset or neither) and LeadSquared's own, `YYYY-MM-DD HH:MM:SS`, which is UTC.
/// A year or a month alone is none.
pub(super) fn moment(value: Value) -> Result<Moment, &'static str> {
    let text = match value {
        Value::Date(date) => return Ok(Moment::Date(date)),
        Value::DateTime(at) => return Ok(Moment::Local(at)),
        Value::Text(text) => text,
        _ => return Err(NOT_A_DATE),
    };
    let text = text.trim();
    let digits = text
        .bytes()
        .take_while(|byte| byte.is_ascii_digit())
        .count();
    match digits {
        4 => iso(text),
        8 | 12 | 14 => hl7(text, digits),
        _ => None,
    }
    .ok_or(NOT_A_DATE)
}

fn iso(text: &str) -> Option<Moment> {
    // jiff reads more than ISO 8601: an annotation of a zone, a week date.
    if text.contains('[') || !text.is_ascii() || text.get(4..5) != Some("-") {
        return None;
    }
    if text.len() == 10 {
        return text.parse().ok().map(Moment::Date);
    }
    match (text.get(10..11)?, text.parse::<Timestamp>()) {
        (_, Ok(instant)) => Some(Moment::Utc(TimeZone::UTC.to_datetime(instant))),
        (" ", Err(_)) => text.parse().ok().map(Moment::Utc),
        ("T", Err(_)) => Some(Moment::Local(DateTime {
            at: text.parse().ok()?,
            offset_minutes: None,
        })),
        _ => None,
    }
}

/// `digits` of the text are digits.
fn hl7(text: &str, digits: usize) -> Option<Moment> {
    let date = civil::Date::strptime("%Y%m%d", &text[..8]).ok()?;
    if digits == 8 {
        return (text.len() == 8).then_some(Moment::Date(date));
    }
    let pair = |at: usize| text.get(at..at + 2).and_then(|pair| pair.parse().ok());
    let second = if digits == 14 { pair(12)? } else { 0 };
    let time = civil::Time::new(pair(8)?, pair(10)?, second, 0).ok()?;
    let rest = &text[digits..];
    let offset = rest.find(['+', '-']).map(|at| rest.split_at(at));
    let (fraction, offset) = offset.unwrap_or((rest, ""));
    let is_fraction = fraction.is_empty()
        || fraction.strip_prefix('.').is_some_and(|digits| {
            (1..=4).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit())
        });
    let offset_minutes = match offset.as_bytes() {
        [] => None,
        [sign, digits @ ..] if digits.len() == 4 && digits.iter().all(u8::is_ascii_digit) => {
            let number = |at: usize| offset[at..at + 2].parse::<i16>().ok();
            let minutes = number(1)? * 60 + number(3)?;
            // Kiribati is the farthest from Greenwich.
            let plausible = minutes <= 14 * 60 && number(3)? < 60;
            Some(plausible.then_some(if *sign == b'-' { -minutes } else { minutes })?)
        }
        _ => return None,
    };
    is_fraction.then_some(Moment::Local(DateTime {
        at: date.to_datetime(time),
        offset_minutes,
    }))
}

/// Reads a time of day, as text `HH:MM[:SS]` or HL7's `HHMM[SS]`.
pub(super) fn time(value: Value) -> Result<String, &'static str> {
    let text = match value {
        Value::Time(time) => return Ok(clock(time)),
        Value::Text(text) => text,
        _ => return Err(NOT_A_TIME),
    };
    let text = text.trim();
    let form = match text.len() {
        4 => "%H%M",
        5 => "%H:%M",
        6 => "%H%M%S",
        8 => "%H:%M:%S",
        _ => return Err(NOT_A_TIME),
    };
    let is_time = text
        .bytes()
        .all(|byte| byte.is_ascii_digit() || byte == b':');
    let read = civil::Time::strptime(form, text).ok().filter(|_| is_time);
    read.map(clock).ok_or(NOT_A_TIME)
}

/// `HH:mm:ss`
pub(super) fn clock(time: civil::Time) -> String {
    format!(
        "{:02}:{:02}:{:02}",
        time.hour(),
        time.minute(),
        time.second()
    )
}
