//! Steps: words and tables to [`Step`]s, each checked against the kind of value that comes to it.

use ligature_mapper::{
    Base64, Info, Kind, Lenience, Miss, Notation, Operation, PhoneForm, Reading, STEPS, Text, Unit,
    check_format, check_pattern,
};
use toml::de::DeValue;

use super::keys::Keys;
use crate::mapping::document::Step;

/// Longest text that a padding or a mask makes.
const MAX_LENGTH: u32 = 10_000;

/// The steps of a rule, and the kind of value at their end.
pub(super) fn steps(keys: &mut Keys<'_, '_>, mut kind: Kind) -> (Vec<Step>, Kind) {
    let (faults, row) = (keys.faults, keys.row.clone());
    let mut steps: Vec<Step> = Vec::new();
    for (position, (at, item)) in keys.list("steps").into_iter().flatten().enumerate() {
        let key = format!("step {}", position + 1);
        let step = match item {
            DeValue::String(name) => {
                let step = word_step(name);
                if step.is_none() {
                    faults.add(at, &row, &key, not_a_word(name));
                }
                step
            }
            DeValue::Table(table) => {
                let mut keys = Keys::new(faults, table, at, &format!("{row} {key}"));
                let step = table_step(&mut keys, kind);
                keys.end();
                step
            }
            other => {
                let text = format!("expected a step, found {}", other.type_str());
                faults.add(at, &row, &key, text);
                None
            }
        };
        // What is wrong has been said.
        let Some(step) = step else { continue };
        let outbound = faults.is_outbound();
        if matches!(step, Step::Phone(_)) && !outbound {
            let text = "a phone number is written as its field has it, without a step";
            faults.add(at, &row, &key, text.into());
            continue;
        }
        if matches!(
            step,
            Step::Date(Reading {
                first_day: true,
                ..
            })
        ) && outbound
        {
            let text = "LeadSquared's dates are whole: write \"date\"";
            faults.add(at, &row, &key, text.into());
            continue;
        }
        match step.gives(kind) {
            Some(gives) => kind = gives,
            None => {
                let text = refused(&step, kind);
                faults.add(at, &row, &key, text);
            }
        }
        steps.push(step);
    }
    (steps, kind)
}

/// Why a step does not take what comes to it.
fn refused(step: &Step, kind: Kind) -> String {
    let info = step.info();
    if info.takes.contains(&kind) {
        return format!("{kind} has no such unit");
    }
    let takes: Vec<_> = info.takes.iter().map(ToString::to_string).collect();
    let word = info.word;
    format!("{word} takes {}, but {kind} comes here", takes.join(" or "))
}

fn not_a_word(name: &str) -> String {
    match STEPS.iter().find(|info| info.word == name) {
        Some(info) => format!("{name} is written {}", info.form),
        None => unknown(name),
    }
}

fn unknown(name: &str) -> String {
    let words: Vec<_> = STEPS.iter().map(|info| info.word).collect();
    format!("{name:?} is not a step; there are {}", words.join(", "))
}

fn word_step(name: &str) -> Option<Step> {
    Some(match name {
        "trim" => Step::Trim,
        "upper" => Step::Upper,
        "lower" => Step::Lower,
        "title" => Step::Title,
        "name" => Step::Name,
        "digits" => Step::Digits,
        "plain-text" => Step::PlainText,
        "date" => Step::Date(Reading::default()),
        "date-time" => Step::DateTime(Reading::default()),
        "time" => Step::Time { lenient: false },
        "number" => Step::Number(Notation::Plain),
        "boolean" => Step::Boolean {
            yes: Vec::new(),
            no: Vec::new(),
        },
        _ => return None,
    })
}

fn table_step(keys: &mut Keys<'_, '_>, kind: Kind) -> Option<Step> {
    // Several steps have a default of their own.
    let named = |info: &&Info| keys.has(info.word) && info.word != "default";
    let default = |info: &&Info| keys.has(info.word);
    let mut found = STEPS.iter();
    let found = found.find(named).or_else(|| STEPS.iter().find(default));
    let Some(info) = found else {
        let name = keys
            .table
            .keys()
            .next()
            .map(|key| key.get_ref().to_string());
        keys.fault("", unknown(&name.unwrap_or_default()));
        keys.skip_all();
        return None;
    };
    let word = info.word;
    let text = |keys: &mut Keys<'_, '_>, key: &str| -> Option<Text<'static>> {
        if !keys.has(key) {
            keys.missing(key);
        }
        keys.text(key).map(Into::into)
    };
    let count = |keys: &mut Keys<'_, '_>, key: &str| {
        if !keys.has(key) {
            keys.missing(key);
        }
        keys.count(key)
    };
    Some(match word {
        "pad" => {
            let length = count(keys, "pad");
            if length.is_some_and(|length| length > MAX_LENGTH) {
                keys.fault("pad", format!("is at most {MAX_LENGTH}"));
            }
            let at_end = keys.choice("side", &["start", "end"]) == Some("end");
            let with = match keys.has("with") {
                true => keys.text("with").map(Text::from),
                false => Some(" ".into()),
            };
            Step::Pad {
                length: length?,
                with: with?,
                at_end,
            }
        }
        "truncate" => Step::Truncate(count(keys, "truncate")?),
        "substring" => {
            let (start, length) = (count(keys, "substring"), count(keys, "length"));
            Step::Substring {
                start: start?,
                length: length?,
            }
        }
        "split" => {
            let at = text(keys, "split");
            let pick = match keys.has("pick") {
                true => Some(position(keys)?),
                false => None,
            };
            Step::Split { at: at?, pick }
        }
        "pick" => Step::Pick(position(keys)?),
        "join" => Step::Join(keys.any_text("join")?.into()),
        "replace" => {
            let from = text(keys, "replace");
            let to = keys.any_text("with").unwrap_or_default().into();
            Step::Replace { from: from?, to }
        }
        "extract" => {
            let group = match keys.has("group") {
                true => keys.integer("group"),
                false => Some(0),
            };
            let pattern = pattern(keys, "extract")?;
            let groups = check_pattern(&pattern).unwrap_or_default();
            let group = u32::try_from(group?).ok();
            if group.is_none_or(|group| group as usize > groups) {
                let text = format!("the pattern has groups 0 to {groups}");
                keys.fault("group", text);
            }
            Step::Extract {
                pattern,
                group: group?,
            }
        }
        "replace-pattern" => {
            let pattern = pattern(keys, "replace-pattern");
            let to = keys.any_text("with").unwrap_or_default().into();
            Step::ReplacePattern {
                pattern: pattern?,
                to,
            }
        }
        "prefix" => Step::Prefix(text(keys, "prefix")?),
        "suffix" => Step::Suffix(text(keys, "suffix")?),
        "default" => Step::Default(text(keys, "default")?),
        "base64" => match keys.choice("base64", &["encode", "decode"])? {
            "encode" => Step::Base64(Base64::Encode),
            _ => Step::Base64(Base64::Decode),
        },
        "hash" => {
            keys.choice("hash", &["sha256"])?;
            Step::Hash
        }
        "mask" => {
            let keep = match keys.has("keep") {
                true => keys
                    .integer("keep")
                    .and_then(|keep| u32::try_from(keep).ok()),
                false => Some(0),
            };
            if keep.is_none() {
                keys.fault("keep", "is a number from 0".into());
            }
            Step::Mask {
                with: text(keys, "mask")?,
                keep: keep?,
            }
        }
        "map" => {
            let miss = miss(keys);
            let (at, table) = keys.table("map")?;
            let mut codes = Keys::new(keys.faults, table, at, &keys.row);
            let entries = codes.all_texts().into_iter();
            Step::Map {
                entries: entries.map(|(code, to)| (code.into(), to.into())).collect(),
                miss,
            }
        }
        "table" => {
            let (miss, column) = (miss(keys), keys.text("column").map(Text::from));
            Step::Table {
                table: text(keys, "table")?,
                column,
                miss,
            }
        }
        "date" => Step::Date(reading(keys, "date")),
        "date-time" => {
            let reading = reading(keys, "date-time");
            if reading.first_day {
                keys.fault("date-time", "first-day is for a date".into());
            }
            Step::DateTime(reading)
        }
        "time" => {
            let words = options(keys, "time", &["lenient"]);
            Step::Time {
                lenient: words.contains(&"lenient"),
            }
        }
        "format-date" => {
            let format = text(keys, "format-date")?;
            if let Err(error) = check_format(&format, kind) {
                keys.fault("format-date", error);
            }
            Step::FormatDate(format)
        }
        "shift" => {
            if !keys.has("unit") {
                keys.missing("unit");
            }
            let (by, unit) = (keys.integer("shift"), unit(keys, "unit"));
            let by = by.and_then(|by| i32::try_from(by).ok());
            if by.is_none() {
                keys.fault("shift", "is a whole number of nine digits".into());
            }
            Step::Shift {
                by: by?,
                unit: unit?,
            }
        }
        "age" => Step::Age(unit(keys, "age")?),
        "number" => match keys.choice("number", &["plain", "point", "comma"])? {
            "point" => Step::Number(Notation::Point),
            "comma" => Step::Number(Notation::Comma),
            _ => Step::Number(Notation::Plain),
        },
        "add" => arithmetic(keys, word, Operation::Add)?,
        "subtract" => arithmetic(keys, word, Operation::Subtract)?,
        "multiply" => arithmetic(keys, word, Operation::Multiply)?,
        "divide" => {
            let by = keys.decimal("divide");
            let zero = by
                .as_deref()
                .is_some_and(|by| by.bytes().all(|byte| matches!(byte, b'0' | b'.' | b'-')));
            if zero {
                keys.fault("divide", "nothing is divided by zero".into());
            }
            let places = match keys.has("places") {
                true => places(keys, "places"),
                false => Some(2),
            };
            Step::Divide {
                by: by?.into(),
                places: places?,
            }
        }
        "round" => Step::Round(places(keys, "round")?),
        "format-number" => {
            let point = keys.any_text("point").unwrap_or_else(|| ".".into()).into();
            let group = keys.any_text("group").unwrap_or_default().into();
            Step::FormatNumber {
                places: places(keys, "format-number")?,
                point,
                group,
            }
        }
        "boolean" => {
            let texts = |keys: &mut Keys<'_, '_>, key: &str| -> Vec<Text<'static>> {
                match keys.has(key) {
                    true => keys.texts(key).into_iter().map(Into::into).collect(),
                    false => Vec::new(),
                }
            };
            let (yes, no) = (texts(keys, "boolean"), texts(keys, "no"));
            if yes.is_empty() {
                keys.fault("boolean", "is a list of the texts that mean yes".into());
            }
            Step::Boolean { yes, no }
        }
        "words" => {
            let words = keys.texts("words");
            let [yes, no] = <[String; 2]>::try_from(words)
                .map_err(|_| keys.fault("words", "is the text for yes and the text for no".into()))
                .ok()?;
            Step::Words {
                yes: yes.into(),
                no: no.into(),
            }
        }
        "phone" => {
            let word = keys.choice("phone", &FORMS.map(|(word, _)| word))?;
            let mut forms = FORMS.into_iter();
            Step::Phone(forms.find(|(known, _)| *known == word)?.1)
        }
        // A step that is a word alone.
        _ => {
            keys.skip_all();
            keys.fault(word, format!("is written {}", info.form));
            return None;
        }
    })
}

/// The forms of a phone number.
pub(in crate::mapping::document) const FORMS: [(&str, PhoneForm); 6] = [
    ("national", PhoneForm::National),
    ("digits", PhoneForm::Digits),
    ("international", PhoneForm::International),
    ("country-code", PhoneForm::CountryCode),
    ("area-code", PhoneForm::AreaCode),
    ("local", PhoneForm::Local),
];

/// The units of time.
pub(in crate::mapping::document) const UNITS: [(&str, Unit); 7] = [
    ("years", Unit::Years),
    ("months", Unit::Months),
    ("weeks", Unit::Weeks),
    ("days", Unit::Days),
    ("hours", Unit::Hours),
    ("minutes", Unit::Minutes),
    ("seconds", Unit::Seconds),
];

fn unit(keys: &mut Keys<'_, '_>, key: &str) -> Option<Unit> {
    let word = keys.choice(key, &UNITS.map(|(word, _)| word))?;
    let mut units = UNITS.into_iter();
    Some(units.find(|(known, _)| *known == word)?.1)
}

fn pattern(keys: &mut Keys<'_, '_>, key: &str) -> Option<Text<'static>> {
    let pattern = keys.text(key)?;
    if let Err(error) = check_pattern(&pattern) {
        keys.fault(key, error);
        return None;
    }
    Some(pattern.into())
}

/// Counted from 1, or from -1 backwards.
fn position(keys: &mut Keys<'_, '_>) -> Option<i32> {
    let position = keys.integer("pick");
    let position = position.and_then(|position| i32::try_from(position).ok());
    if position.is_none_or(|position| position == 0) {
        let text = "is the number of a part, from 1, or from -1 backwards";
        keys.fault("pick", text.into());
        return None;
    }
    position
}

fn places(keys: &mut Keys<'_, '_>, key: &str) -> Option<u32> {
    let places = keys.integer(key)?;
    let places = u32::try_from(places).ok().filter(|places| *places <= 10);
    if places.is_none() {
        keys.fault(key, "is a number of decimals from 0 to 10".into());
    }
    places
}

fn arithmetic(keys: &mut Keys<'_, '_>, key: &str, operation: Operation) -> Option<Step> {
    Some(Step::Arithmetic {
        operation,
        operand: keys.decimal(key)?.into(),
    })
}

/// `default = "…"` or `pass = true`.
fn miss(keys: &mut Keys<'_, '_>) -> Miss<'static> {
    let default = keys.any_text("default");
    let pass = keys.boolean("pass").unwrap_or_default();
    match default {
        Some(_) if pass => {
            keys.fault("pass", "default and pass exclude each other".into());
            Miss::Pass
        }
        Some(text) => Miss::Default(text.into()),
        None if pass => Miss::Pass,
        None => Miss::Fault,
    }
}

fn reading(keys: &mut Keys<'_, '_>, key: &str) -> Reading {
    const WORDS: &[&str] = &["first-day", "lenient", "day-first", "month-first"];
    let words = options(keys, key, WORDS);
    if words.contains(&"day-first") && words.contains(&"month-first") {
        keys.fault(key, "day-first and month-first exclude each other".into());
    }
    Reading {
        first_day: words.contains(&"first-day"),
        lenience: match () {
            () if words.contains(&"day-first") => Lenience::DayFirst,
            () if words.contains(&"month-first") => Lenience::MonthFirst,
            () if words.contains(&"lenient") => Lenience::Plain,
            () => Lenience::None,
        },
    }
}

/// One word or a list of words.
fn options(keys: &mut Keys<'_, '_>, key: &str, known: &[&'static str]) -> Vec<&'static str> {
    if let Some(DeValue::String(_)) = keys.peek(key) {
        return keys.choice(key, known).into_iter().collect();
    }
    let mut words = Vec::new();
    for text in keys.texts(key) {
        match known.iter().find(|known| **known == text) {
            Some(word) => words.push(*word),
            None => {
                let known = known.join(", ");
                keys.fault(key, format!("{text:?} is none of {known}"));
            }
        }
    }
    words
}
