//! Whether conditions hold.

use std::borrow::Cow;
use std::cmp::Ordering;

use super::{Found, Here, Run};
use crate::lsq;
use crate::number::Number;
use crate::program::{At, Condition, Order, Test};
use crate::step::{Kind, read_time};
use crate::value::{Date, Time, Value};

impl<'a> Run<'a> {
    pub(super) fn all_hold(&self, conditions: &'a [Condition<'a, At>], here: &Here<'a>) -> bool {
        conditions
            .iter()
            .all(|condition| self.holds(condition, here))
    }

    fn holds(&self, condition: &'a Condition<'a, At>, here: &Here<'a>) -> bool {
        match condition {
            // A value that its steps cannot use is none.
            Condition::Is { subject, test } => {
                let found = self.find(subject, here).unwrap_or(Found::Absent);
                self.passes(&found, test)
            }
            Condition::Changed(after, before) => {
                let text = |at: &At| match self.contents.first.get(usize::from(at.at)) {
                    Some(crate::Content::Text(text)) => Some(text.as_str()),
                    _ => None,
                };
                text(after) != text(before)
            }
            Condition::All(conditions) => self.all_hold(conditions, here),
            Condition::Any(conditions) => {
                let mut conditions = conditions.iter();
                conditions.any(|condition| self.holds(condition, here))
            }
            Condition::Not(condition) => !self.holds(condition, here),
        }
    }

    fn passes(&self, found: &Found<'_>, test: &Test<'_>) -> bool {
        let value = match found {
            Found::Value(Value::Text(text)) if text.is_empty() => None,
            Found::Value(value) => Some(value),
            Found::Null | Found::Absent => None,
        };
        let same = |text: &str, wanted: &str, any_case: bool| match any_case {
            true => text.to_lowercase() == wanted.to_lowercase(),
            false => text == wanted,
        };
        match (test, value) {
            (Test::Present, value) => value.is_some(),
            (Test::Absent, value) => value.is_none(),
            (Test::Null, _) => matches!(found, Found::Null),
            (_, None) => false,
            (Test::Equals { text, any_case }, Some(value)) => same(&shown(value), text, *any_case),
            (Test::In { texts, any_case }, Some(value)) => {
                let value = shown(value);
                texts.iter().any(|text| same(&value, text, *any_case))
            }
            (Test::Matches(pattern), Some(value)) => {
                let value = shown(value);
                self.tools.pattern(pattern, |regex| {
                    regex.is_some_and(|regex| regex.is_match(&value))
                })
            }
            (Test::Compare(order, with), Some(value)) => {
                compare(value, with).is_some_and(|ordering| match order {
                    Order::Below => ordering == Ordering::Less,
                    Order::AtMost => ordering != Ordering::Greater,
                    Order::AtLeast => ordering != Ordering::Less,
                    Order::Above => ordering == Ordering::Greater,
                })
            }
        }
    }
}

/// Whether a value of this kind can be compared with a text.
pub fn is_comparable(kind: Kind, with: &str) -> bool {
    match kind {
        Kind::Text | Kind::Number => Number::parse(with).is_some(),
        Kind::Date => lsq::date(with).is_some(),
        Kind::Time => read_time(with, true).is_some(),
        Kind::DateTime => lsq::date_time(with).is_some(),
        Kind::List | Kind::Boolean | Kind::Phone => false,
    }
}

/// How a value stands to a text; text stands as the number that it is. None where one of them is none.
fn compare(value: &Value<'_>, with: &str) -> Option<Ordering> {
    Some(match value {
        Value::Text(text) => Number::parse(text)?.against(Number::parse(with)?),
        Value::Number(number) => number.against(Number::parse(with)?),
        Value::Date(date) => date.cmp(&lsq::date(with)?),
        Value::Time(time) => time.cmp(&read_time(with, true)?),
        Value::DateTime(at) => {
            let with = lsq::date_time(with)?;
            (at.date, at.time).cmp(&(with.date, with.time))
        }
        Value::Clear | Value::List(_) | Value::Boolean(_) | Value::Phone(..) => return None,
    })
}

/// A value as conditions see it.
fn shown<'v>(value: &'v Value<'_>) -> Cow<'v, str> {
    let day = |date: &Date| format!("{:04}-{:02}-{:02}", date.year, date.month, date.day);
    let clock = |time: &Time| format!("{:02}:{:02}:{:02}", time.hour, time.minute, time.second);
    match value {
        Value::Text(text) | Value::Phone(text, _) => Cow::Borrowed(text),
        Value::List(items) => items.join(", ").into(),
        Value::Number(number) => number.text().into(),
        Value::Boolean(flag) => Cow::Borrowed(if *flag { "true" } else { "false" }),
        Value::Date(date) => day(date).into(),
        Value::Time(time) => clock(time).into(),
        Value::DateTime(at) => format!("{} {}", day(&at.date), clock(&at.time)).into(),
        Value::Clear => Cow::Borrowed(""),
    }
}
