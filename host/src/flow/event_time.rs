//! When the event of a message happened, to tell late news from new ones.
//!
//! Pure: the zone of times without an offset is the caller's to know. Start with [`event_time`].

use jiff::tz::TimeZone;

use crate::hl7::value::DateTime;
use crate::hl7::{Content, Message, Path};

/// When an event happened, in epoch milliseconds.
///
/// The two differ where a local time comes twice, in the night in which clocks go back, and has no offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventTime {
    pub earliest_ms: i64,
    pub latest_ms: i64,
}

/// Occurred, recorded, sent: the best there is. EVN-6 came with version 2.3.1, and SIU has no EVN at all.
const PLACES: [(&str, u16); 3] = [("EVN", 6), ("EVN", 2), ("MSH", 7)];

/// Gives when the event of `message` happened: EVN-6, else EVN-2, else MSH-7.
///
/// A time without an offset is read in `zone`. What is less precise than a second is taken at the beginning of what was
/// written, so that `20260301` is that day's first instant. A field that is empty, null or no DTM gives way to the next.
pub fn event_time(message: &Message, zone: &TimeZone) -> Option<EventTime> {
    PLACES.iter().find_map(|(segment, field)| {
        let path = Path::new(segment, Some(*field))?;
        match message.get(&path) {
            Content::Text(text) => beginning(&text, zone),
            Content::Absent | Content::Null => None,
        }
    })
}

fn beginning(text: &str, zone: &TimeZone) -> Option<EventTime> {
    let written = DateTime::parse(text)?;
    let first = DateTime {
        month: written.month.or(Some(1)),
        day: written.day.or(Some(1)),
        hour: written.hour.or(Some(0)),
        ..written
    };
    Some(EventTime {
        earliest_ms: first.instant(zone)?.as_millisecond(),
        latest_ms: first.latest_instant(zone)?.as_millisecond(),
    })
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    /// `expected` as RFC 3339, empty for none.
    fn check(occurred: &str, recorded: &str, sent: &str, zone: &str, expected: &str) {
        let text = format!(
            "MSH|^~\\&|EHR|CLINIC|||{sent}||ADT^A08|1|P|2.5\rEVN|A08|{recorded}||||{occurred}\r"
        );
        let message = Message::parse(text.as_bytes()).unwrap();
        let zone = TimeZone::get(zone).unwrap();
        let given = event_time(&message, &zone).map(|at| {
            Timestamp::from_millisecond(at.earliest_ms)
                .unwrap()
                .to_string()
        });
        assert_eq!(
            given.unwrap_or_default(),
            expected,
            "EVN-6 {occurred:?}, EVN-2 {recorded:?}, MSH-7 {sent:?}"
        );
    }

    #[test]
    fn the_best_field_that_can_be_read_is_taken() {
        let utc = |occurred, recorded, sent, expected| {
            check(occurred, recorded, sent, "UTC", expected);
        };
        let (six, two, seven) = ("20260301100000", "20260301110000", "20260301120000");
        utc(six, two, seven, "2026-03-01T10:00:00Z");
        utc("", two, seven, "2026-03-01T11:00:00Z");
        utc("\"\"", two, seven, "2026-03-01T11:00:00Z");
        utc("", "", seven, "2026-03-01T12:00:00Z");
        utc("soon", "2026-03-01", seven, "2026-03-01T12:00:00Z");
        utc("20260230", "00000000", seven, "2026-03-01T12:00:00Z");
        utc("0", "", "yesterday", "");
        utc("", "", "", "");
        // A TS may have its precision behind it, and a field blanks around it.
        utc("202603011000^M", two, seven, "2026-03-01T10:00:00Z");
        utc(" 202603011000 ", two, seven, "2026-03-01T10:00:00Z");
    }

    #[test]
    fn every_precision_has_a_beginning() {
        let berlin = |written, expected| check(written, "", "", "Europe/Berlin", expected);
        berlin("2026", "2025-12-31T23:00:00Z");
        berlin("202607", "2026-06-30T22:00:00Z");
        berlin("20260715", "2026-07-14T22:00:00Z");
        berlin("2026071508", "2026-07-15T06:00:00Z");
        berlin("202607150830", "2026-07-15T06:30:00Z");
        berlin("20260715083015", "2026-07-15T06:30:15Z");
        berlin("20260715083015.2", "2026-07-15T06:30:15.2Z");
        berlin("20260715083015.1239", "2026-07-15T06:30:15.123Z");
        berlin("20260715083015.1239+0000", "2026-07-15T08:30:15.123Z");
        berlin("202607150830-0500", "2026-07-15T13:30:00Z");
        berlin("202607150830-0000", "2026-07-15T08:30:00Z");
        berlin("20260715+0530", "2026-07-14T18:30:00Z");
        berlin("2026-0800", "2026-01-01T08:00:00Z");
    }

    #[test]
    fn a_change_of_clocks_moves_a_gap_forward_and_takes_the_earlier_of_two() {
        let chicago = |written, expected| check(written, "", "", "America/Chicago", expected);
        chicago("20260308015959", "2026-03-08T07:59:59Z");
        chicago("20260308023000", "2026-03-08T08:30:00Z");
        chicago("20261101013000", "2026-11-01T06:30:00Z");
        // Midnight does not exist there that day.
        check(
            "20260906",
            "",
            "",
            "America/Santiago",
            "2026-09-06T04:00:00Z",
        );
    }

    #[test]
    fn a_time_that_comes_twice_has_two_instants() {
        let zone = TimeZone::get("America/New_York").unwrap();
        let check = |written: &str, hours: i64| {
            let text = format!("MSH|^~\\&|EHR|CLINIC|||{written}||SIU^S12|1|P|2.5\rSCH|1\r");
            let message = Message::parse(text.as_bytes()).unwrap();
            let at = event_time(&message, &zone).unwrap();
            assert_eq!(
                at.latest_ms - at.earliest_ms,
                hours * 3_600_000,
                "{written}"
            );
        };
        check("20261101013000", 1);
        check("20261101013000-0500", 0);
        check("20261101003000", 0);
        check("20261101023000", 0);
        // What a gap skips does not come at all.
        check("20260308023000", 0);
    }

    #[test]
    fn a_message_without_evn_has_the_time_it_was_sent() {
        let text = "MSH|^~\\&|EHR|CLINIC|||20260301120000+0100||SIU^S12|1|P|2.5\rSCH|1\r";
        let message = Message::parse(text.as_bytes()).unwrap();
        let given = event_time(&message, &TimeZone::UTC).unwrap();
        assert_eq!(
            Timestamp::from_millisecond(given.earliest_ms)
                .unwrap()
                .to_string(),
            "2026-03-01T11:00:00Z"
        );
    }
}
