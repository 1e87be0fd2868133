//! The export of world `inbound-mapping`: a message read, assignments out.

use ligature_guest::{self as guest, InboundMapping, Mapped, Message};

use super::{content, date, date_time, denied, refusal};
use crate::{Contents, Program, Reader, Value};

struct Mapper;

guest::export_inbound!(Mapper);

impl InboundMapping for Mapper {
    fn describe() -> guest::Manifest {
        super::describe()
    }

    fn to_lead_squared(message: &Message<'_>) -> Result<Mapped, guest::Refusal> {
        map(&super::program()?, message).map_err(refusal)
    }
}

fn map(program: &Program<'_>, message: &Message<'_>) -> Result<Mapped, crate::Refusal> {
    let contents = Contents::read(program, &Asked(message))?;
    let evaluated = crate::evaluate(program, &contents)?;
    super::warn(evaluated.left_out);
    Ok(Mapped::Write(guest::Write {
        lead: assignments(evaluated.lead),
        retired: Vec::new(),
        activities: evaluated
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
    fn get_all(&self, paths: &[&str]) -> Result<Vec<crate::Content>, crate::Refusal> {
        let contents = self.0.get_all(paths).map_err(denied)?;
        Ok(contents.into_iter().map(content).collect())
    }

    fn hits(&self, paths: &[&str]) -> Result<Vec<Vec<crate::Content>>, crate::Refusal> {
        let contents = self.0.hits(paths).map_err(denied)?;
        Ok(contents
            .into_iter()
            .map(|hits| hits.into_iter().map(content).collect())
            .collect())
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
                Value::Date(value) => guest::Value::Date(date(value)),
                Value::DateTime(value) => guest::Value::DateTime(date_time(value)),
            },
        })
        .collect()
}
