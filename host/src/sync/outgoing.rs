//! Finishes what a mapping puts into an HL7 message: dates, times of the flow's zone, phone numbers in the EHR's form.
//!
//! The mirror of [`finish`](super::finish): a vendor's component gets the same treatment as a generated one, because it
//! happens here. What cannot be written in the form asked for is never written in another: it is left out with the
//! reason, or stops the message where the mapping says that it must not be missing.

use jiff::tz::{Offset, TimeZone};

use super::finish::phone;
use crate::flow::change::{Fill, Filling, PhoneForm, Placement, Value};
use crate::flow::mapped::{DateTime, OnError};
use crate::flow::{Account, Flow};

const NOT_A_PHONE: &str = "it is not a phone number";
const NOT_A_TIME: &str = "it is a time outside of the calendar";

/// What finishing needs to know of the flow.
#[derive(Debug)]
pub struct Outgoing<'a> {
    country_code: Option<&'a str>,
    zone: TimeZone,
}

/// What is written, and what is not; texts name places, never values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished {
    pub fillings: Vec<Filling>,
    pub left_out: Vec<LeftOut>,
}

/// A place that is left out, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    /// An HL7 path.
    pub place: String,
    pub why: &'static str,
}

/// A value that must not be missing cannot be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the value for {place}, without which nothing is sent, cannot be used: {why}")]
pub struct Fault {
    /// An HL7 path.
    pub place: String,
    pub why: &'static str,
    /// Whether the change waits until somebody has mended the cause.
    pub waits: bool,
}

impl<'a> Outgoing<'a> {
    /// Takes country code and time zone from the flow, else from the account; UTC where neither has a zone.
    pub fn new(account: &'a Account, flow: &'a Flow) -> Self {
        let zone = flow.time_zone.as_deref().or(account.time_zone.as_deref());
        let country_code = flow.default_country_code.as_deref();
        Self {
            country_code: country_code.or(account.default_country_code.as_deref()),
            // Unknown zone names are refused when a flow is saved.
            zone: TimeZone::get(zone.unwrap_or("UTC")).unwrap_or(TimeZone::UTC),
        }
    }

    /// Finishes all that a mapping puts into a message; the order stays.
    ///
    /// # Errors
    /// A required value that cannot be written.
    pub fn finish(&self, placements: Vec<Placement>) -> Result<Finished, Fault> {
        let mut finished = Finished {
            fillings: Vec::with_capacity(placements.len()),
            left_out: Vec::new(),
        };
        for Placement {
            path,
            value,
            on_error,
        } in placements
        {
            let why = match self.value(value) {
                Ok(fill) => {
                    finished.fillings.push(Filling { path, fill });
                    continue;
                }
                Err(why) => why,
            };
            let mut place = path.to_string();
            match on_error {
                OnError::LeaveOut => {}
                OnError::Default(text) => {
                    place.push_str(" (its default is written)");
                    let fill = Fill::Text(text);
                    finished.fillings.push(Filling { path, fill });
                }
                OnError::Wait | OnError::Refuse => {
                    let waits = on_error == OnError::Wait;
                    return Err(Fault { place, why, waits });
                }
            }
            finished.left_out.push(LeftOut { place, why });
        }
        Ok(finished)
    }

    fn value(&self, value: Value) -> Result<Fill, &'static str> {
        let text = match value {
            Value::Empty => return Ok(Fill::Empty),
            Value::Null => return Ok(Fill::Null),
            Value::Text(text) => text,
            // A birth date is never turned into an instant.
            Value::Date(date) => date.strftime("%Y%m%d").to_string(),
            Value::DateTime(at) => self.local(at)?,
            Value::Phone { number, form } => self.phone(&number, form)?,
        };
        Ok(match text.is_empty() {
            true => Fill::Empty,
            false => Fill::Text(text),
        })
    }

    /// `YYYYMMDDHHMMSS+ZZZZ` in the flow's zone.
    ///
    /// A local time in a gap moves forward, one that happens twice is the earlier of the two.
    fn local(&self, at: DateTime) -> Result<String, &'static str> {
        let zone = match at.offset_minutes {
            Some(minutes) => {
                let offset = Offset::from_seconds(i32::from(minutes) * 60);
                TimeZone::fixed(offset.map_err(|_| NOT_A_TIME)?)
            }
            None => self.zone.clone(),
        };
        let instant = zone.to_ambiguous_zoned(at.at).compatible();
        let local = instant
            .map_err(|_| NOT_A_TIME)?
            .with_time_zone(self.zone.clone());
        if !(1..=9_999).contains(&local.year()) {
            return Err(NOT_A_TIME);
        }
        Ok(local.strftime("%Y%m%d%H%M%S%z").to_string())
    }

    fn phone(&self, text: &str, form: PhoneForm) -> Result<String, &'static str> {
        if text.trim().is_empty() {
            return Ok(String::new());
        }
        let number = phone(text, self.country_code).ok_or(NOT_A_PHONE)?;
        // Without a country nothing can be said of a number but its digits.
        let Some((code, national)) = number
            .strip_prefix('+')
            .and_then(|number| number.split_once('-'))
        else {
            return match form {
                PhoneForm::National | PhoneForm::Digits | PhoneForm::Local => Ok(number),
                PhoneForm::International | PhoneForm::CountryCode | PhoneForm::AreaCode => Err(
                    "the country of the phone number is not known: set the default country code",
                ),
            };
        };
        let own = self
            .country_code
            .map(|code| code.trim().trim_start_matches('+'));
        let is_own = own.is_none_or(|own| own == code);
        let (area, local) = match code {
            "1" => national.split_at_checked(3).unwrap_or(("", national)),
            _ => ("", national),
        };
        Ok(match form {
            PhoneForm::National if !is_own => format!("+{code} {national}"),
            PhoneForm::National if !area.is_empty() => match local.split_at_checked(3) {
                Some((exchange, line)) => format!("({area}){exchange}-{line}"),
                None => national.into(),
            },
            PhoneForm::Digits if !is_own => format!("{code}{national}"),
            PhoneForm::National | PhoneForm::Digits => national.into(),
            PhoneForm::International => format!("+{code}{national}"),
            PhoneForm::CountryCode => code.into(),
            PhoneForm::AreaCode => area.into(),
            PhoneForm::Local => local.into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil;

    use super::*;

    fn outgoing(country_code: Option<&'static str>) -> Outgoing<'static> {
        Outgoing {
            country_code,
            zone: TimeZone::get("America/New_York").unwrap(),
        }
    }

    fn shown(finished: Result<Fill, &'static str>) -> String {
        match finished {
            Ok(Fill::Empty) => "empty".into(),
            Ok(Fill::Null) => "null".into(),
            Ok(Fill::Text(text)) => text,
            Err(why) => why.into(),
        }
    }

    #[test]
    fn a_date_stays_a_date_and_an_instant_is_local_with_its_offset() {
        let check = |value, expected: &str| {
            assert_eq!(shown(outgoing(None).value(value)), expected);
        };
        check(Value::Date(civil::date(1988, 7, 5)), "19880705");
        check(Value::Null, "null");
        check(Value::Text(String::new()), "empty");
        let at = |text: &str, offset_minutes| {
            Value::DateTime(DateTime {
                at: text.parse().unwrap(),
                offset_minutes,
            })
        };
        // Clocks went back at two on that day.
        check(at("2026-11-01T05:30:00", Some(0)), "20261101013000-0400");
        check(at("2026-11-01T06:30:00", Some(0)), "20261101013000-0500");
        check(at("2026-11-01T01:30:00", None), "20261101013000-0400");
        check(at("2026-03-09T10:30:00", Some(-300)), "20260309113000-0400");
        check(at("2026-03-09T10:30:00", None), "20260309103000-0400");
    }

    #[test]
    fn phones_are_written_in_the_form_asked_for() {
        use PhoneForm::{AreaCode, CountryCode, Digits, International, Local, National};
        let check = |code, number: &str, form, expected: &str| {
            let number = number.into();
            let value = Value::Phone { number, form };
            assert_eq!(shown(outgoing(code).value(value)), expected, "{form:?}");
        };
        let us = Some("1");
        check(us, "+1-2075550134", National, "(207)555-0134");
        check(us, "2075550134", National, "(207)555-0134");
        check(us, "+1-2075550134", Digits, "2075550134");
        check(us, "+1-2075550134", International, "+12075550134");
        check(us, "+1-2075550134", CountryCode, "1");
        check(us, "+1-2075550134", AreaCode, "207");
        check(us, "+1-2075550134", Local, "5550134");
        check(us, "+44-2079460958", National, "+44 2079460958");
        check(us, "+44-2079460958", Digits, "442079460958");
        check(us, "+44-2079460958", AreaCode, "empty");
        check(us, "+44-2079460958", Local, "2079460958");
        check(Some("91"), "+91-9988776655", National, "9988776655");
        check(us, "none", National, NOT_A_PHONE);
        check(us, " ", National, "empty");
        check(None, "2075550134", Digits, "2075550134");
        check(
            None,
            "2075550134",
            CountryCode,
            "the country of the phone number is not known: set the default country code",
        );
    }

    #[test]
    fn what_cannot_be_finished_is_left_out_or_stops_the_message() {
        let phone = |on_error| Placement {
            path: "PID-13.1".parse().unwrap(),
            value: Value::Phone {
                number: "call my sister".into(),
                form: PhoneForm::National,
            },
            on_error,
        };
        let name = Placement {
            path: "PID-5.1".parse().unwrap(),
            value: Value::Text("Roe".into()),
            on_error: OnError::Refuse,
        };
        let finished = outgoing(None)
            .finish(vec![phone(OnError::LeaveOut), name.clone()])
            .unwrap();
        assert_eq!(finished.fillings.len(), 1);
        let default = phone(OnError::Default("unknown".into()));
        let defaulted = outgoing(None).finish(vec![default]).unwrap();
        assert!(defaulted.fillings[0].fill == Fill::Text("unknown".into()));
        assert_eq!(defaulted.left_out.len(), 1);
        let waits = outgoing(None).finish(vec![phone(OnError::Wait)]);
        assert!(waits.unwrap_err().waits);
        assert_eq!(finished.left_out[0].place, "PID-13.1");
        let fault = outgoing(None)
            .finish(vec![phone(OnError::Refuse), name])
            .unwrap_err();
        assert_eq!(
            fault.to_string(),
            "the value for PID-13.1, without which nothing is sent, cannot be used: it is not a phone number"
        );
    }
}
