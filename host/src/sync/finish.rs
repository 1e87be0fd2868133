//! Finishes one value for the LeadSquared field it goes to: phone form, UTC, options, numbers, length.
//!
//! A vendor's component gets the same treatment as a generated one, because it happens here and not in the component.
//! What a field would not take is left out with the reason, never written in part: LeadSquared refuses the whole lead
//! for some of it and stores the rest without complaint. An empty text stays an empty text, whatever the field is.
//! Start at [`Finish`]; phone numbers are in `finish/phone.rs`, dates and other typed texts in `finish/typed.rs`.

mod phone;
#[cfg(test)]
mod tests;
mod typed;

use std::collections::HashMap;

use jiff::civil;
use jiff::tz::{Offset, TimeZone};

pub use self::phone::{phone, warm_up};
use super::Fault;
use crate::flow::mapped::{DateTime, Value};
use crate::flow::{Account, Flow};
use crate::leadsquared::{LeadField, Slot};

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

/// What is known of a field.
#[derive(Clone, Copy)]
struct Shape<'a> {
    data_type: &'a str,
    /// In characters.
    max_length: Option<u32>,
    /// Empty where any text is taken.
    options: &'a [String],
}

/// What a field takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Number,
    Email,
    Phone,
    /// A day, or a day with a time: LeadSquared calls both so.
    Date,
    Time,
    Boolean,
    /// One of its options, or several where it is said to take several.
    Option {
        several: bool,
    },
}

impl Shape<'_> {
    /// The names are LeadSquared's, of lead fields and of activity fields; an unknown one takes any text.
    fn kind(self) -> Kind {
        let name = self.data_type.to_ascii_lowercase();
        match name.as_str() {
            "number" | "integer" | "decimal" => Kind::Number,
            "email" => Kind::Email,
            "phone" => Kind::Phone,
            "date" | "datetime" => Kind::Date,
            "time" => Kind::Time,
            "boolean" => Kind::Boolean,
            _ if !self.options.is_empty() => Kind::Option {
                several: name.contains("multi"),
            },
            _ => Kind::Text,
        }
    }
}

impl<'a> Finish<'a> {
    /// Takes country code and time zone from the flow, else from the account; UTC where neither has a zone.
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
        let shape = Shape {
            data_type: &field.data_type,
            max_length: field.max_length,
            options: &field.options,
        };
        Ok(self.shaped(shape, value))
    }

    /// Finishes a value for an activity field of which nothing is known; see [`Finish::slot_value`].
    pub fn activity_value(&self, value: Value) -> Finished {
        Ok(self.text(value))
    }

    /// Finishes a value for an activity field whose type is known.
    pub fn slot_value(&self, slot: &Slot, value: Value) -> Finished {
        let shape = Shape {
            data_type: &slot.data_type,
            max_length: slot.max_length,
            options: &slot.options,
        };
        self.shaped(shape, value)
    }

    fn shaped(&self, shape: Shape<'_>, value: Value) -> Finished {
        let kind = shape.kind();
        let is_empty = matches!(&value, Value::Text(text) if text.trim().is_empty());
        let text = match (kind, value) {
            (_, Value::Clear) => return Ok(None),
            (Kind::Text, value) => self.text(value).unwrap_or_default(),
            _ if is_empty => String::new(),
            (Kind::Phone, value) => {
                let text = self.text(value).unwrap_or_default();
                phone::read(&text, self.country_code)?
            }
            (Kind::Email, Value::Text(text)) => typed::email(&text)?,
            (Kind::Email, _) => return Err(typed::NOT_AN_EMAIL),
            (Kind::Number, value) => typed::number(value)?,
            (Kind::Boolean, value) => typed::boolean(value)?.to_string(),
            (Kind::Date, value) => match typed::moment(value)? {
                typed::Moment::Date(date) => date.to_string(),
                typed::Moment::Local(at) => self.utc(&at),
                typed::Moment::Utc(at) => stamp(at),
            },
            (Kind::Time, value) => typed::time(value)?,
            (Kind::Option { several }, value) => self.options(shape.options, several, value)?,
        };
        match shape.max_length {
            Some(longest) if text.chars().count() > longest as usize => {
                Err("it is longer than the field takes")
            }
            _ => Ok(Some(text)),
        }
    }

    /// Writes options in their own spelling; LeadSquared would store any other text, and its users could not filter by it.
    fn options(
        &self,
        options: &[String],
        several: bool,
        value: Value,
    ) -> Result<String, &'static str> {
        let known = |text: &str| {
            let text = text.trim();
            let same = |option: &&String| option.trim().to_lowercase() == text.to_lowercase();
            let exact = options.iter().find(|option| *option == text);
            exact.or_else(|| options.iter().find(same))
        };
        let all = |texts: &[&str]| {
            let found: Option<Vec<&str>> = texts
                .iter()
                .map(|text| known(text).map(String::as_str))
                .collect();
            found.map(|found| found.join(";"))
        };
        let found = match value {
            Value::Choices(choices) => all(&choices.iter().map(String::as_str).collect::<Vec<_>>()),
            Value::Boolean(flag) => {
                let words = match flag {
                    true => ["true", "yes", "y", "1"],
                    false => ["false", "no", "n", "0"],
                };
                words.into_iter().find_map(|word| all(&[word]))
            }
            value => {
                let text = self.text(value).unwrap_or_default();
                let parts: Vec<&str> = text.split(';').collect();
                all(&[&text]).or_else(|| all(&parts).filter(|_| several))
            }
        };
        found.ok_or("it is not one of the field's options")
    }

    /// Writes a date and time in UTC, `yyyy-MM-dd HH:mm:ss`, the one form LeadSquared documents.
    ///
    /// A local time in a gap moves forward, one that happens twice is the earlier of the two. A fraction of a second is
    /// cut off. An offset that no zone can have counts as none.
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
            Ok(zoned) => stamp(TimeZone::UTC.to_datetime(zoned.timestamp())),
            // Only the ends of jiff's calendar (years -9999 and 9999) get here.
            Err(_) => stamp(at.at),
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
            Value::Time(time) => typed::clock(time),
            Value::DateTime(at) => self.utc(&at),
            Value::Choices(choices) => choices.join(";"),
        })
    }
}

/// `yyyy-MM-dd HH:mm:ss`
fn stamp(at: civil::DateTime) -> String {
    format!("{} {}", at.date(), typed::clock(at.time()))
}
