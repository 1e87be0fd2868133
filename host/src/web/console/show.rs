//! How pages write times, states and counts.

use jiff::Timestamp;

/// For people: to the second, in UTC.
pub fn utc(at_ms: i64) -> String {
    timestamp(at_ms).strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// For machines that show it in a person's own zone, see `console.js`.
pub fn iso(at_ms: i64) -> String {
    timestamp(at_ms).to_string()
}

fn timestamp(at_ms: i64) -> Timestamp {
    Timestamp::from_millisecond(at_ms).unwrap_or_default()
}

/// A time as a page has it: for people without script in UTC, and for the script.
#[derive(Debug, Clone, Default)]
pub struct Time {
    pub text: String,
    pub iso: String,
}

impl Time {
    pub fn of(at_ms: i64) -> Self {
        Self {
            text: utc(at_ms),
            iso: iso(at_ms),
        }
    }
}

/// So many things: `1 delivery`, `2 deliveries`.
pub fn count<N: std::fmt::Display + PartialEq + From<u8>>(
    number: N,
    one: &str,
    several: &str,
) -> String {
    match number == N::from(1) {
        true => format!("1 {one}"),
        false => format!("{number} {several}"),
    }
}
