//! World `inbound-mapping`: a message read, assignments out.

use ligature_guest::{self as guest, Mapped, Message};

use super::{content, date, date_time, denied, otherwise, refusal, time};
use crate::{Contents, Evaluated, Fact, Program, Reader, Refusal, Stopped, Value};

#[cfg(feature = "inbound")]
struct Mapper;

#[cfg(feature = "inbound")]
guest::export_inbound!(Mapper);

#[cfg(feature = "inbound")]
impl guest::InboundMapping for Mapper {
    fn describe() -> guest::Manifest {
        super::program::describe()
    }

    fn to_lead_squared(message: &Message<'_>) -> Result<Mapped, guest::Refusal> {
        to_lead_squared(&super::program::program()?, message)
    }
}

/// What a message means by a program.
///
/// # Errors
///
/// The refusal that a row, an ending or an access came to.
pub fn to_lead_squared(
    program: &Program<'_>,
    message: &Message<'_>,
) -> Result<Mapped, guest::Refusal> {
    match map(program, message) {
        Ok(mapped) => Ok(mapped),
        Err(stopped) if stopped.waits => Ok(Mapped::Wait(refusal(stopped.refusal))),
        Err(stopped) => Err(refusal(stopped.refusal)),
    }
}

fn map(program: &Program<'_>, message: &Message<'_>) -> Result<Mapped, Stopped> {
    let reader = Asked(message);
    let contents = Contents::read(program, &reader)?;
    let written = match crate::evaluate(program, &contents, &reader)? {
        Evaluated::Write(written) => written,
        Evaluated::Skip(reason) => return Ok(Mapped::Skip(reason.into())),
    };
    super::warn(written.warnings);
    Ok(Mapped::Write(guest::Write {
        lead: assignments(written.lead),
        retired: written.retired.into_iter().map(Into::into).collect(),
        activities: written
            .activities
            .into_iter()
            .map(|activity| guest::Activity {
                key: activity.key.map(Into::into),
                kind: activity.kind.map(Into::into),
                note: activity.note.map(Into::into),
                at: activity.at.map(date_time),
                fields: assignments(activity.fields),
            })
            .collect(),
    }))
}

struct Asked<'a>(&'a Message<'a>);

impl Reader for Asked<'_> {
    fn get_all(&self, paths: &[&str]) -> Result<Vec<crate::Content>, Refusal> {
        let contents = self.0.get_all(paths).map_err(denied)?;
        Ok(contents.into_iter().map(content).collect())
    }

    fn hits(&self, paths: &[&str]) -> Result<Vec<Vec<crate::Content>>, Refusal> {
        let contents = self.0.hits(paths).map_err(denied)?;
        Ok(contents
            .into_iter()
            .map(|hits| hits.into_iter().map(content).collect())
            .collect())
    }

    fn raw(&self, path: &str) -> Result<Option<String>, Refusal> {
        self.0.raw(path).map_err(denied)
    }

    fn count(&self, path: &str) -> Result<u32, Refusal> {
        self.0.count(path).map_err(denied)
    }

    fn fact(&self, fact: Fact) -> Option<String> {
        super::fact(fact)
    }

    fn setting(&self, name: &str) -> Result<Option<String>, Refusal> {
        super::setting(name)
    }

    fn code(
        &self,
        table: &str,
        code: &str,
        column: Option<&str>,
    ) -> Result<Option<String>, Refusal> {
        super::code(table, code, column)
    }
}

fn assignments(assignments: Vec<crate::Assignment<'_>>) -> Vec<guest::Assignment> {
    assignments
        .into_iter()
        .map(|assignment| guest::Assignment {
            target: assignment.target.into(),
            value: match assignment.value {
                Value::Clear => guest::Value::Clear,
                Value::Text(text) | Value::Phone(text, _) => guest::Value::Text(text.into()),
                Value::List(texts) => {
                    guest::Value::Choices(texts.into_iter().map(Into::into).collect())
                }
                Value::Number(number) => match number.as_integer() {
                    Some(integer) => guest::Value::Integer(integer),
                    None => guest::Value::Decimal(number.text()),
                },
                Value::Boolean(flag) => guest::Value::Boolean(flag),
                Value::Date(value) => guest::Value::Date(date(value)),
                Value::Time(value) => guest::Value::Time(time(value)),
                Value::DateTime(value) => guest::Value::DateTime(date_time(value)),
            },
            otherwise: otherwise(assignment.on_error),
        })
        .collect()
}
