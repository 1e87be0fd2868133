//! The interpreter's types to the host's, as [`answer`](crate::mapping::answer) turns those of the contract.

use jiff::civil;
use ligature_mapper as mapper;

use crate::flow::change::{PhoneForm, Placement, Value as Placed};
use crate::flow::mapped::{Assignment, DateTime, OnError, Refusal, Value};
use crate::hl7::Path;
use crate::mapping::host::shown;
use crate::mapping::{Cause, Warning};

pub(super) fn assignments(assignments: Vec<mapper::Assignment<'_>>) -> Vec<Assignment> {
    assignments
        .into_iter()
        .map(|assignment| Assignment {
            target: assignment.target.into(),
            value: value(assignment.value),
            on_error: on_error(assignment.on_error),
        })
        .collect()
}

pub(super) fn placements(placements: Vec<mapper::Placement<'_>>) -> Vec<Placement> {
    placements
        .into_iter()
        .filter_map(|placement| {
            Some(Placement {
                // The document check lets no place through that is none.
                path: placement.path.parse().ok()?,
                value: placed(placement.value),
                on_error: on_error(placement.on_error),
            })
        })
        .collect()
}

fn on_error(on_error: &mapper::OnError<'_>) -> OnError {
    match on_error {
        mapper::OnError::LeaveOut => OnError::LeaveOut,
        mapper::OnError::Default(text) => OnError::Default(text.to_string()),
        mapper::OnError::Wait => OnError::Wait,
        mapper::OnError::Refuse => OnError::Refuse,
    }
}

fn value(value: mapper::Value<'_>) -> Value {
    match value {
        mapper::Value::Clear => Value::Clear,
        mapper::Value::Text(text) | mapper::Value::Phone(text, _) => Value::Text(text.into()),
        mapper::Value::List(texts) => Value::Choices(texts.into_iter().map(Into::into).collect()),
        mapper::Value::Number(number) => match number.as_integer() {
            Some(integer) => Value::Integer(integer),
            None => Value::Decimal(number.text()),
        },
        mapper::Value::Boolean(flag) => Value::Boolean(flag),
        mapper::Value::Date(value) => Value::Date(date(value)),
        mapper::Value::Time(value) => Value::Time(time(value)),
        mapper::Value::DateTime(value) => Value::DateTime(date_time(value)),
    }
}

fn placed(value: mapper::Value<'_>) -> Placed {
    match value {
        mapper::Value::Clear => Placed::Null,
        mapper::Value::Text(text) => Placed::Text(text.into()),
        mapper::Value::List(texts) => Placed::Text(texts.join(", ")),
        mapper::Value::Boolean(flag) => Placed::Text(if flag { "Y" } else { "N" }.into()),
        mapper::Value::Number(number) => Placed::Text(number.text()),
        mapper::Value::Time(_) => Placed::Empty,
        mapper::Value::Date(value) => Placed::Date(date(value)),
        mapper::Value::DateTime(value) => Placed::DateTime(date_time(value)),
        mapper::Value::Phone(number, form) => Placed::Phone {
            number: number.into(),
            form: match form {
                mapper::PhoneForm::National => PhoneForm::National,
                mapper::PhoneForm::Digits => PhoneForm::Digits,
                mapper::PhoneForm::International => PhoneForm::International,
                mapper::PhoneForm::CountryCode => PhoneForm::CountryCode,
                mapper::PhoneForm::AreaCode => PhoneForm::AreaCode,
                mapper::PhoneForm::Local => PhoneForm::Local,
            },
        },
    }
}

fn date(date: mapper::Date) -> civil::Date {
    let year = i16::try_from(date.year).unwrap_or(i16::MAX);
    civil::Date::new(year, date.month.cast_signed(), date.day.cast_signed()).unwrap_or_default()
}

fn time(time: mapper::Time) -> civil::Time {
    let nanosecond = time.nanosecond.cast_signed();
    civil::Time::new(
        time.hour.cast_signed(),
        time.minute.cast_signed(),
        time.second.cast_signed(),
        nanosecond,
    )
    .unwrap_or_default()
}

pub(super) fn date_time(at: mapper::DateTime) -> DateTime {
    DateTime {
        at: date(at.date).to_datetime(time(at.time)),
        offset_minutes: at.offset_minutes,
    }
}

pub(super) fn warning(warning: &mapper::Warning<'_>) -> Warning {
    Warning {
        row: Some(warning.row.to_string()),
        path: match warning.path.parse::<Path>() {
            Ok(path) => shown(&path),
            Err(_) => warning.path.trim_start_matches(mapper::BEFORE).into(),
        },
        cause: match warning.reason {
            mapper::Reason::NoSuchCode => Cause::UnmappedCode,
            mapper::Reason::HitsDiffer => Cause::SeveralValues,
            mapper::Reason::TooMany => Cause::TooMany,
            _ => Cause::Malformed,
        },
        defaulted: warning.defaulted,
    }
}

pub(super) fn refusal(refusal: mapper::Refusal) -> Refusal {
    match refusal {
        mapper::Refusal::Missing(path) => Refusal::Missing(path),
        mapper::Refusal::Malformed { path, expected } => Refusal::Malformed { path, expected },
        mapper::Refusal::UnmappedCode { table, code } => Refusal::UnmappedCode { table, code },
        mapper::Refusal::Other(text) => Refusal::Other(text),
    }
}
