//! World `outbound-mapping`: a change read, placements out.

use ligature_guest::{self as guest, Change, Composed, Entity, Moment};

use super::{content, date, date_time, denied, otherwise, refusal};
use crate::{
    BEFORE, Content, Contents, Evaluated, Fact, PhoneForm, Program, Reader, Refusal, Stopped, Value,
};

/// Before a field of the lead, and before one of the activity.
const LEAD: &str = "lead.";
const ACTIVITY: &str = "activity.";

#[cfg(feature = "outbound")]
struct Mapper;

#[cfg(feature = "outbound")]
guest::export_outbound!(Mapper);

#[cfg(feature = "outbound")]
impl guest::OutboundMapping for Mapper {
    fn describe() -> guest::Manifest {
        super::program::describe()
    }

    fn to_hl7(change: &Change<'_>) -> Result<Composed, guest::Refusal> {
        to_hl7(&super::program::program()?, change)
    }
}

/// What a change means by a program.
///
/// # Errors
///
/// The refusal that a row, an ending or an access came to.
pub fn to_hl7(program: &Program<'_>, change: &Change<'_>) -> Result<Composed, guest::Refusal> {
    match compose(program, change) {
        Ok(composed) => Ok(composed),
        Err(stopped) if stopped.waits => Ok(Composed::Wait(refusal(stopped.refusal))),
        Err(stopped) => Err(refusal(stopped.refusal)),
    }
}

fn compose(program: &Program<'_>, change: &Change<'_>) -> Result<Composed, Stopped> {
    let reader = Asked(change);
    let contents = Contents::read(program, &reader)?;
    let written = match crate::evaluate(program, &contents, &reader)? {
        Evaluated::Write(written) => written,
        Evaluated::Skip(reason) => return Ok(Composed::Skip(reason.into())),
    };
    super::warn(written.warnings);
    let placements = written.places.into_iter();
    Ok(Composed::Write(
        placements
            .map(|placement| guest::Placement {
                path: placement.path.into(),
                fill: fill(placement.value),
                otherwise: otherwise(placement.on_error),
            })
            .collect(),
    ))
}

fn fill(value: Value<'_>) -> guest::Fill {
    match value {
        Value::Clear => guest::Fill::Null,
        Value::Text(text) => guest::Fill::Text(text.into()),
        // The document check lets no list, flag or time of day end an outbound row.
        Value::List(texts) => guest::Fill::Text(texts.join(", ")),
        Value::Boolean(flag) => guest::Fill::Text(if flag { "Y" } else { "N" }.into()),
        Value::Number(number) => guest::Fill::Text(number.text()),
        Value::Time(_) => guest::Fill::Empty,
        Value::Date(value) => guest::Fill::Date(date(value)),
        Value::DateTime(value) => guest::Fill::DateTime(date_time(value)),
        Value::Phone(number, form) => guest::Fill::Phone(guest::Phone {
            number: number.into(),
            form: match form {
                PhoneForm::National => guest::PhoneForm::National,
                PhoneForm::Digits => guest::PhoneForm::Digits,
                PhoneForm::International => guest::PhoneForm::International,
                PhoneForm::CountryCode => guest::PhoneForm::CountryCode,
                PhoneForm::AreaCode => guest::PhoneForm::AreaCode,
                PhoneForm::Local => guest::PhoneForm::Local,
            },
        }),
    }
}

struct Asked<'a>(&'a Change<'a>);

impl Reader for Asked<'_> {
    /// One crossing for each entity and moment that the program asks for, usually one or two.
    fn get_all(&self, paths: &[&str]) -> Result<Vec<Content>, Refusal> {
        let mut contents = vec![Content::Absent; paths.len()];
        for moment in [Moment::After, Moment::Before] {
            for (entity, prefix) in [(Entity::Lead, LEAD), (Entity::Activity, ACTIVITY)] {
                let name = |path: &&'_ str| -> Option<usize> {
                    let rest = match (moment, path.strip_prefix(BEFORE)) {
                        (Moment::Before, Some(rest)) => rest,
                        (Moment::After, None) => path,
                        _ => return None,
                    };
                    rest.starts_with(prefix)
                        .then(|| path.len() - rest.len() + prefix.len())
                };
                let asked: Vec<(usize, &str)> = paths
                    .iter()
                    .enumerate()
                    .filter_map(|(at, path)| Some((at, &path[name(path)?..])))
                    .collect();
                if asked.is_empty() {
                    continue;
                }
                let names: Vec<&str> = asked.iter().map(|(_, name)| *name).collect();
                let answers = self.0.get_all(entity, &names, moment).map_err(denied)?;
                for ((at, _), answer) in asked.into_iter().zip(answers) {
                    contents[at] = content(answer);
                }
            }
        }
        Ok(contents)
    }

    /// A field has one value.
    fn hits(&self, paths: &[&str]) -> Result<Vec<Vec<Content>>, Refusal> {
        let contents = self.get_all(paths)?;
        Ok(contents.into_iter().map(|content| vec![content]).collect())
    }

    /// A field has no other form than its text, and there is one of it.
    fn raw(&self, _: &str) -> Result<Option<String>, Refusal> {
        Ok(None)
    }

    fn count(&self, _: &str) -> Result<u32, Refusal> {
        Ok(0)
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
