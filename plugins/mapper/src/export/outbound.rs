//! The export of world `outbound-mapping`: a change read, placements out.

use ligature_guest::{self as guest, Change, Composed, Entity, Moment, OutboundMapping, flow};

use super::{content, date, date_time, denied, refusal};
use crate::outbound::{ACTIVITY, BEFORE, EVENT, LEAD, RECEIVED_AT};
use crate::{Content, Contents, PhoneForm, Program, Reader, Value};

struct Mapper;

guest::export_outbound!(Mapper);

impl OutboundMapping for Mapper {
    fn describe() -> guest::Manifest {
        super::describe()
    }

    fn to_hl7(change: &Change<'_>) -> Result<Composed, guest::Refusal> {
        compose(&super::program()?, change).map_err(refusal)
    }
}

fn compose(program: &Program<'_>, change: &Change<'_>) -> Result<Composed, crate::Refusal> {
    let contents = Contents::read(program, &Asked(change))?;
    let evaluated = crate::evaluate(program, &contents)?;
    super::warn(evaluated.left_out);
    let placements = evaluated.places.into_iter();
    Ok(Composed::Write(
        placements
            .map(|placement| guest::Placement {
                path: placement.path.into(),
                fill: fill(placement.value),
                required: placement.required,
            })
            .collect(),
    ))
}

fn fill(value: Value<'_>) -> guest::Fill {
    match value {
        Value::Clear => guest::Fill::Null,
        Value::Text(text) => guest::Fill::Text(text.into()),
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
    fn get_all(&self, paths: &[&str]) -> Result<Vec<Content>, crate::Refusal> {
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
        for (at, path) in paths.iter().enumerate() {
            match *path {
                EVENT => contents[at] = Content::Text(flow::event()),
                RECEIVED_AT => contents[at] = Content::Text(received_at()),
                _ => {}
            }
        }
        Ok(contents)
    }

    /// A field has one value.
    fn hits(&self, paths: &[&str]) -> Result<Vec<Vec<Content>>, crate::Refusal> {
        let contents = self.get_all(paths)?;
        Ok(contents.into_iter().map(|content| vec![content]).collect())
    }
}

/// `YYYYMMDDHHMMSS+0000`
fn received_at() -> String {
    let at = flow::received_at();
    let mut text = String::with_capacity(19);
    let mut digits = |number: u16, count: u32| {
        for place in (0..count).rev() {
            let digit = number / 10_u16.pow(place) % 10;
            text.push(char::from(b'0' + digit as u8));
        }
    };
    digits(at.date.year, 4);
    for number in [
        at.date.month,
        at.date.day,
        at.time.hour,
        at.time.minute,
        at.time.second,
    ] {
        digits(number.into(), 2);
    }
    text + "+0000"
}
