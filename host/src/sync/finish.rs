//! Finishes one value for the LeadSquared field it goes to: phone form, UTC, length.
//!
//! A vendor's component gets the same treatment as a generated one, because it happens here and not in the component.

use std::collections::HashMap;

use jiff::civil;
use jiff::tz::{Offset, TimeZone};

use super::Fault;
use crate::flow::mapped::{DateTime, Value};
use crate::flow::{Account, Flow};
use crate::leadsquared::LeadField;

/// The account's lead fields by schema name.
#[derive(Debug, Clone, Default)]
pub struct Fields(HashMap<String, LeadField>);

impl FromIterator<LeadField> for Fields {
    fn from_iter<I: IntoIterator<Item = LeadField>>(fields: I) -> Self {
        Self(
            fields
                .into_iter()
                .map(|field| (field.schema_name.clone(), field))
                .collect(),
        )
    }
}

impl Fields {
    /// The field of this schema name.
    pub fn get(&self, name: &str) -> Option<&LeadField> {
        self.0.get(name)
    }
}

/// What finishing needs to know of the flow.
#[derive(Debug)]
pub struct Finish<'a> {
    fields: &'a Fields,
    country_code: Option<&'a str>,
    zone: TimeZone,
}

/// A finished value (none empties the field), or why the field is left out.
pub type Finished = Result<Option<String>, &'static str>;

impl<'a> Finish<'a> {
    pub fn new(account: &'a Account, flow: &'a Flow, fields: &'a Fields) -> Self {
        let zone = flow
            .time_zone
            .as_deref()
            .or(account.time_zone.as_deref())
            .unwrap_or("UTC");
        Self {
            fields,
            country_code: flow
                .default_country_code
                .as_deref()
                .or(account.default_country_code.as_deref()),
            // Unknown zone names are refused when a flow is saved.
            zone: TimeZone::get(zone).unwrap_or(TimeZone::UTC),
        }
    }

    /// Finishes a value for lead field `name`.
    ///
    /// # Errors
    /// [`Fault::UnknownField`] if the account has no such field.
    pub fn lead_value(&self, name: &str, value: Value) -> Result<Finished, Fault> {
        let field = self
            .fields
            .0
            .get(name)
            .ok_or_else(|| Fault::UnknownField(name.into()))?;
        let text = match value {
            Value::Text(text) if field.data_type == "Phone" && !text.trim().is_empty() => {
                match phone(&text, self.country_code) {
                    Some(number) => number,
                    None => return Ok(Err("it is not a phone number")),
                }
            }
            value => match self.text(value) {
                Some(text) => text,
                None => return Ok(Ok(None)),
            },
        };
        match field.max_length {
            Some(longest) if text.chars().count() > longest as usize => {
                Ok(Err("it is longer than the field takes"))
            }
            _ => Ok(Ok(Some(text))),
        }
    }

    /// Finishes a value for an activity field; their types are not checked before the call.
    pub fn activity_value(&self, value: Value) -> Finished {
        Ok(self.text(value))
    }

    /// Writes a date and time in UTC, `yyyy-MM-dd HH:mm:ss`, the one form LeadSquared documents.
    ///
    /// A local time in a gap moves forward, one that happens twice is the earlier of the two.
    pub fn utc(&self, at: &DateTime) -> String {
        let zone = match at
            .offset_minutes
            .map(|minutes| Offset::from_seconds(i32::from(minutes) * 60))
        {
            Some(Ok(offset)) => TimeZone::fixed(offset),
            _ => self.zone.clone(),
        };
        let instant = zone.to_ambiguous_zoned(at.at).compatible();
        match instant {
            Ok(zoned) => zoned.timestamp().strftime("%Y-%m-%d %H:%M:%S").to_string(),
            // Only the ends of jiff's calendar (years -9999 and 9999) get here.
            Err(_) => at.at.strftime("%Y-%m-%d %H:%M:%S").to_string(),
        }
    }

    fn text(&self, value: Value) -> Option<String> {
        Some(match value {
            Value::Clear => return None,
            Value::Text(text) | Value::Decimal(text) => text,
            Value::Boolean(flag) => flag.to_string(),
            Value::Integer(number) => number.to_string(),
            // A birth date is never turned into an instant.
            Value::Date(date) => date.to_string(),
            Value::Time(time) => civil::Time::strftime(&time, "%H:%M:%S").to_string(),
            Value::DateTime(at) => self.utc(&at),
            Value::Choices(choices) => choices.join(";"),
        })
    }
}

/// Writes a phone number as `+<country>-<national>`, LeadSquared's stored form.
///
/// A number that says its country keeps it; where the country code cannot be told from the national number, the digits
/// stand undivided. None where there are fewer than five digits.
pub fn phone(text: &str, country_code: Option<&str>) -> Option<String> {
    let text = text.trim();
    // An extension is not part of the number: 555-0142x12, 555-0142 ext. 12.
    let number = text.split(['x', 'X', ';', ',']).next().unwrap_or(text);
    let number = number.split("ext").next().unwrap_or(number);
    let digits: String = number.chars().filter(char::is_ascii_digit).collect();
    if digits.len() < 5 || digits.len() > 17 {
        return None;
    }
    let international = number.trim_start().starts_with('+');
    let country = country_code.map(|code| code.trim_start_matches('+'));
    Some(match country {
        Some(country) if international => match digits.strip_prefix(country) {
            Some(national) => format!("+{country}-{national}"),
            None => match number
                .trim_start()
                .trim_start_matches('+')
                .split_once(['-', ' ', '('])
            {
                Some((other, rest))
                    if (1..=3).contains(&other.len())
                        && other.chars().all(|c| c.is_ascii_digit()) =>
                {
                    let national: String = rest.chars().filter(char::is_ascii_digit).collect();
                    format!("+{other}-{national}")
                }
                _ => format!("+{digits}"),
            },
        },
        None if international => format!("+{digits}"),
        // North American numbers are often written with their country code and no plus sign.
        Some("1") if digits.len() == 11 && digits.starts_with('1') => {
            format!("+1-{}", &digits[1..])
        }
        // The 0 in front is the domestic trunk prefix nearly everywhere; Italian numbers keep it abroad.
        Some(country) if country != "39" => {
            format!("+{country}-{}", digits.strip_prefix('0').unwrap_or(&digits))
        }
        Some(country) => format!("+{country}-{digits}"),
        None => digits,
    })
}
