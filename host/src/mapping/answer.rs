//! A component's answer, checked and turned into the host's own types.
//!
//! What is checked here is what the types of the contract cannot say: dates of the calendar, decimals, one assignment
//! for each target and one placement for each element, and that each target and each place is granted.

use std::collections::HashSet;

use jiff::civil;

use super::bindings::types;
use super::failure::{Access, BadAnswer, Failure};
use super::grants::Granted;
use super::host::shown;
use super::manifest::{Manifest, Target};
use crate::flow::Entity;
use crate::flow::change::{Composed, PhoneForm, Placement, Value as Placed};
use crate::flow::mapped::{Activity, Assignment, DateTime, Mapped, OnError, Refusal, Value, Write};
use crate::hl7::Path;
use crate::hl7::fill::{Position, check_place};

/// Activities of one message: an order with a line for each day of a year is the largest that makes sense.
const MAX_ACTIVITIES: usize = 1_000;

/// Places filled in one message.
const MAX_PLACEMENTS: usize = 2_000;

/// Longest path text that is looked at.
const MAX_PATH_BYTES: usize = 64;

pub(crate) fn mapped(
    mapped: types::Mapped,
    granted: &Granted,
    manifest: &Manifest,
) -> Result<Mapped, Failure> {
    let write = match mapped {
        types::Mapped::Skip(text) => return Ok(Mapped::Skip(text)),
        types::Mapped::Wait(cause) => return Err(Failure::Waits(refusal(cause))),
        types::Mapped::Write(write) => write,
    };
    if write.activities.len() > MAX_ACTIVITIES {
        return Err(Failure::BadAnswer(BadAnswer::TooMany));
    }
    Ok(Mapped::Write(Write {
        lead: assignments(Entity::Lead, write.lead, granted, &manifest.lead_targets)?,
        retired: write.retired,
        activities: write
            .activities
            .into_iter()
            .map(|activity| {
                Ok(Activity {
                    key: activity.key,
                    kind: activity.kind,
                    note: activity.note,
                    at: activity.at.map(date_time).transpose()?,
                    fields: assignments(
                        Entity::Activity,
                        activity.fields,
                        granted,
                        &manifest.activity_targets,
                    )?,
                })
            })
            .collect::<Result<_, Failure>>()?,
    }))
}

pub(crate) fn composed(
    composed: types::Composed,
    granted: &Granted,
    _: &Manifest,
) -> Result<Composed, Failure> {
    let placements = match composed {
        types::Composed::Skip(text) => return Ok(Composed::Skip(text)),
        types::Composed::Wait(cause) => return Err(Failure::Waits(refusal(cause))),
        types::Composed::Write(placements) => placements,
    };
    if placements.len() > MAX_PLACEMENTS {
        return Err(Failure::BadAnswer(BadAnswer::TooMany));
    }
    let mut checked = Vec::with_capacity(placements.len());
    let mut positions = Vec::with_capacity(placements.len());
    for placement in placements {
        let path: Option<Path> = match placement.path.len() <= MAX_PATH_BYTES {
            true => placement.path.parse().ok(),
            false => None,
        };
        let path = path.ok_or(Failure::BadAnswer(BadAnswer::NotAPath))?;
        if !granted.place(&path) {
            return Err(Failure::NotGranted(Access::Place(shown(&path))));
        }
        let Some(position) = Position::of(&path) else {
            return Err(Failure::BadAnswer(BadAnswer::Place {
                place: shown(&path),
                reason: check_place(&path).err().unwrap_or_default(),
            }));
        };
        positions.push((position, checked.len()));
        checked.push(Placement {
            value: placed(placement.fill)?,
            on_error: on_error(placement.otherwise),
            path,
        });
    }
    // In message order a wider place stands right before what lies in it.
    positions.sort_unstable();
    for pair in positions.windows(2) {
        if pair[0].0.overlaps(&pair[1].0) {
            let target = shown(&checked[pair[1].1].path);
            return Err(Failure::BadAnswer(BadAnswer::Twice { target }));
        }
    }
    Ok(Composed::Write(checked))
}

fn placed(fill: types::Fill) -> Result<Placed, Failure> {
    Ok(match fill {
        types::Fill::Empty => Placed::Empty,
        types::Fill::Null => Placed::Null,
        types::Fill::Text(text) => Placed::Text(text),
        types::Fill::Date(value) => Placed::Date(date(value)?),
        types::Fill::DateTime(value) => Placed::DateTime(date_time(value)?),
        types::Fill::Phone(phone) => Placed::Phone {
            number: phone.number,
            form: match phone.form {
                types::PhoneForm::National => PhoneForm::National,
                types::PhoneForm::Digits => PhoneForm::Digits,
                types::PhoneForm::International => PhoneForm::International,
                types::PhoneForm::CountryCode => PhoneForm::CountryCode,
                types::PhoneForm::AreaCode => PhoneForm::AreaCode,
                types::PhoneForm::Local => PhoneForm::Local,
            },
        },
    })
}

pub(crate) fn refusal(refusal: types::Refusal) -> Refusal {
    match refusal {
        types::Refusal::Missing(path) => Refusal::Missing(path),
        types::Refusal::Malformed(types::Malformed { path, expected }) => {
            Refusal::Malformed { path, expected }
        }
        types::Refusal::UnmappedCode(types::UnmappedCode { table, code }) => {
            Refusal::UnmappedCode { table, code }
        }
        types::Refusal::Other(text) => Refusal::Other(text),
    }
}

fn assignments(
    entity: Entity,
    assignments: Vec<types::Assignment>,
    granted: &Granted,
    targets: &[Target],
) -> Result<Vec<Assignment>, Failure> {
    let mut seen = HashSet::with_capacity(assignments.len());
    for assignment in &assignments {
        // From here on the name is one that a person approved, so it may stand in a text.
        if !granted.target(entity, &assignment.target) {
            return Err(Failure::NotGranted(Access::Write(entity)));
        }
        if !seen.insert(assignment.target.as_str()) {
            let target = assignment.target.clone();
            return Err(Failure::BadAnswer(BadAnswer::Twice { target }));
        }
    }
    let is_required = |name: &str| {
        let mut named = targets.iter().filter(|target| target.name == name);
        named.any(|target| target.required)
    };
    assignments
        .into_iter()
        .map(|assignment| {
            let on_error = match on_error(assignment.otherwise) {
                // What must be there is not left out, whatever the component says.
                OnError::LeaveOut | OnError::Default(_) if is_required(&assignment.target) => {
                    OnError::Refuse
                }
                on_error => on_error,
            };
            Ok(Assignment {
                value: value(&assignment.target, assignment.value)?,
                target: assignment.target,
                on_error,
            })
        })
        .collect()
}

fn on_error(otherwise: types::Otherwise) -> OnError {
    match otherwise {
        types::Otherwise::LeaveOut => OnError::LeaveOut,
        types::Otherwise::Default(text) => OnError::Default(text),
        types::Otherwise::Wait => OnError::Wait,
        types::Otherwise::Refuse => OnError::Refuse,
    }
}

fn value(target: &str, value: types::Value) -> Result<Value, Failure> {
    Ok(match value {
        types::Value::Clear => Value::Clear,
        types::Value::Text(text) => Value::Text(text),
        types::Value::Boolean(boolean) => Value::Boolean(boolean),
        types::Value::Integer(integer) => Value::Integer(integer),
        types::Value::Decimal(text) if is_decimal(&text) => Value::Decimal(text),
        types::Value::Decimal(_) => {
            let target = target.into();
            return Err(Failure::BadAnswer(BadAnswer::Decimal { target }));
        }
        types::Value::Date(value) => Value::Date(date(value)?),
        types::Value::Time(value) => Value::Time(time(value)?),
        types::Value::DateTime(value) => Value::DateTime(date_time(value)?),
        types::Value::Choices(choices) => Value::Choices(choices),
    })
}

fn is_decimal(text: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    match unsigned.split_once('.') {
        Some((whole, fraction)) => digits(whole) && digits(fraction),
        None => digits(unsigned),
    }
}

fn date(date: types::Date) -> Result<civil::Date, Failure> {
    let numbers = (|| {
        Some((
            i16::try_from(date.year).ok()?,
            small(date.month)?,
            small(date.day)?,
        ))
    })();
    numbers
        .and_then(|(year, month, day)| civil::Date::new(year, month, day).ok())
        .ok_or(Failure::BadAnswer(BadAnswer::Date))
}

fn time(time: types::Time) -> Result<civil::Time, Failure> {
    let numbers = (|| {
        Some((
            small(time.hour)?,
            small(time.minute)?,
            small(time.second)?,
            i32::try_from(time.nanosecond).ok()?,
        ))
    })();
    numbers
        .and_then(|(hour, minute, second, nanosecond)| {
            civil::Time::new(hour, minute, second, nanosecond).ok()
        })
        .ok_or(Failure::BadAnswer(BadAnswer::Date))
}

fn date_time(at: types::DateTime) -> Result<DateTime, Failure> {
    // Beyond 18 hours no zone ever was.
    if at
        .offset_minutes
        .is_some_and(|minutes| minutes.unsigned_abs() > 18 * 60)
    {
        return Err(Failure::BadAnswer(BadAnswer::Date));
    }
    Ok(DateTime {
        at: date(at.date)?.to_datetime(time(at.time)?),
        offset_minutes: at.offset_minutes,
    })
}

fn small(number: u8) -> Option<i8> {
    i8::try_from(number).ok()
}
