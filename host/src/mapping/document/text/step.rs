//! A step in its written form.

use ligature_mapper::{Base64, Lenience, Miss, Notation, PhoneForm, Reading, Unit};

use super::{Keys, braces, key, list, quoted, table};
use crate::mapping::document::Step;
use crate::mapping::document::parse::{FORMS, UNITS};

pub(super) fn step(step: &Step) -> String {
    let word = step.word();
    let one = |value: String| table(vec![(word, value)]);
    match step {
        Step::Trim
        | Step::Upper
        | Step::Lower
        | Step::Title
        | Step::Name
        | Step::Digits
        | Step::PlainText => quoted(word),
        Step::Pad {
            length,
            with,
            at_end,
        } => {
            let mut keys = vec![(word, length.to_string())];
            if **with != *" " {
                keys.push(("with", quoted(with)));
            }
            if *at_end {
                keys.push(("side", quoted("end")));
            }
            table(keys)
        }
        Step::Truncate(length) => one(length.to_string()),
        Step::Substring { start, length } => table(vec![
            (word, start.to_string()),
            ("length", length.to_string()),
        ]),
        Step::Split { at, pick } => {
            let mut keys = vec![(word, quoted(at))];
            keys.extend(pick.map(|pick| ("pick", pick.to_string())));
            table(keys)
        }
        Step::Pick(position) => one(position.to_string()),
        Step::Join(text) | Step::Prefix(text) | Step::Suffix(text) | Step::Default(text) => {
            one(quoted(text))
        }
        Step::Replace { from, to } => table(vec![(word, quoted(from)), ("with", quoted(to))]),
        Step::Extract { pattern, group } => {
            let mut keys = vec![(word, quoted(pattern))];
            if *group > 0 {
                keys.push(("group", group.to_string()));
            }
            table(keys)
        }
        Step::ReplacePattern { pattern, to } => {
            table(vec![(word, quoted(pattern)), ("with", quoted(to))])
        }
        Step::Base64(Base64::Encode) => one(quoted("encode")),
        Step::Base64(Base64::Decode) => one(quoted("decode")),
        Step::Hash => one(quoted("sha256")),
        Step::Mask { with, keep } => {
            let mut keys = vec![(word, quoted(with))];
            if *keep > 0 {
                keys.push(("keep", keep.to_string()));
            }
            table(keys)
        }
        Step::Map { entries, miss } => {
            let entries = entries.iter();
            let entries = entries.map(|(code, text)| format!("{} = {}", key(code), quoted(text)));
            let mut keys = vec![(word, braces(entries))];
            keys.extend(missed(miss));
            table(keys)
        }
        Step::Table {
            table: name,
            column,
            miss,
        } => {
            let mut keys = vec![(word, quoted(name))];
            keys.extend(column.as_ref().map(|column| ("column", quoted(column))));
            keys.extend(missed(miss));
            table(keys)
        }
        Step::Date(reading) | Step::DateTime(reading) => match options(*reading)[..] {
            [] => quoted(word),
            [option] => one(quoted(option)),
            ref options => one(list(options.iter().map(|option| quoted(option)))),
        },
        Step::Time { lenient: false } => quoted(word),
        Step::Time { lenient: true } => one(quoted("lenient")),
        Step::FormatDate(format) => one(quoted(format)),
        Step::Shift { by, unit } => table(vec![
            (word, by.to_string()),
            ("unit", quoted(unit_word(*unit))),
        ]),
        Step::Age(unit) => one(quoted(unit_word(*unit))),
        Step::Number(Notation::Plain) => quoted(word),
        Step::Number(Notation::Point) => one(quoted("point")),
        Step::Number(Notation::Comma) => one(quoted("comma")),
        Step::Arithmetic { operand, .. } => one(quoted(operand)),
        Step::Divide { by, places } => {
            let mut keys = vec![(word, quoted(by))];
            if *places != 2 {
                keys.push(("places", places.to_string()));
            }
            table(keys)
        }
        Step::Round(places) => one(places.to_string()),
        Step::FormatNumber {
            places,
            point,
            group,
        } => {
            let mut keys = vec![(word, places.to_string())];
            if **point != *"." {
                keys.push(("point", quoted(point)));
            }
            if !group.is_empty() {
                keys.push(("group", quoted(group)));
            }
            table(keys)
        }
        Step::Boolean { yes, .. } if yes.is_empty() => quoted(word),
        Step::Boolean { yes, no } => {
            let mut keys = vec![(word, list(yes.iter().map(|text| quoted(text))))];
            if !no.is_empty() {
                keys.push(("no", list(no.iter().map(|text| quoted(text)))));
            }
            table(keys)
        }
        Step::Words { yes, no } => one(list([yes, no].iter().map(|text| quoted(text)))),
        Step::Phone(form) => one(quoted(form_word(*form))),
    }
}

fn missed(miss: &Miss<'_>) -> Keys {
    match miss {
        Miss::Fault => Vec::new(),
        Miss::Pass => vec![("pass", "true".into())],
        Miss::Default(text) => vec![("default", quoted(text))],
    }
}

fn options(reading: Reading) -> Vec<&'static str> {
    let first_day = reading.first_day.then_some("first-day");
    let lenience = match reading.lenience {
        Lenience::None => None,
        Lenience::Plain => Some("lenient"),
        Lenience::DayFirst => Some("day-first"),
        Lenience::MonthFirst => Some("month-first"),
    };
    first_day.into_iter().chain(lenience).collect()
}

fn unit_word(unit: Unit) -> &'static str {
    let mut units = UNITS.iter();
    let named = units.find(|(_, known)| *known == unit);
    named.map_or("", |(word, _)| word)
}

fn form_word(form: PhoneForm) -> &'static str {
    let mut forms = FORMS.iter();
    let named = forms.find(|(_, known)| *known == form);
    named.map_or("", |(word, _)| word)
}
