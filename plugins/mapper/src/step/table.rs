//! The table of steps.

use super::{Kind, Operation, Step};

/// What a document's check and its reference say of one step.
#[derive(Debug)]
pub struct Info {
    /// What a document calls it.
    pub word: &'static str,
    /// How it is written, with all that it can be told.
    pub form: &'static str,
    pub takes: &'static [Kind],
    /// None: what it took.
    pub gives: Option<Kind>,
}

/// Each text of a list is changed for itself.
const TEXTS: &[Kind] = &[Kind::Text, Kind::List];
const TEXT: &[Kind] = &[Kind::Text];
const NUMBER: &[Kind] = &[Kind::Number];

const fn step(
    word: &'static str,
    form: &'static str,
    takes: &'static [Kind],
    gives: Option<Kind>,
) -> Info {
    Info {
        word,
        form,
        takes,
        gives,
    }
}

/// Every step, in the order of the reference.
pub const STEPS: &[Info] = &[
    step("trim", "\"trim\"", TEXTS, None),
    step("upper", "\"upper\"", TEXTS, None),
    step("lower", "\"lower\"", TEXTS, None),
    step("title", "\"title\"", TEXTS, None),
    step("name", "\"name\"", TEXTS, None),
    step(
        "pad",
        "{ pad = 8, with = \"0\", side = \"start\" }",
        TEXTS,
        None,
    ),
    step("truncate", "{ truncate = 50 }", TEXTS, None),
    step("substring", "{ substring = 1, length = 10 }", TEXTS, None),
    step(
        "split",
        "{ split = \";\", pick = 1 }",
        TEXT,
        Some(Kind::Text),
    ),
    step("pick", "{ pick = 1 }", &[Kind::List], Some(Kind::Text)),
    step("join", "{ join = \", \" }", &[Kind::List], Some(Kind::Text)),
    step("replace", "{ replace = \"a\", with = \"b\" }", TEXTS, None),
    step(
        "extract",
        "{ extract = \"[0-9]+\", group = 0 }",
        TEXTS,
        None,
    ),
    step(
        "replace-pattern",
        "{ replace-pattern = \"[0-9]\", with = \"#\" }",
        TEXTS,
        None,
    ),
    step("digits", "\"digits\"", TEXTS, None),
    step("prefix", "{ prefix = \"EHR-\" }", TEXTS, None),
    step("suffix", "{ suffix = \" kg\" }", TEXTS, None),
    step("default", "{ default = \"unknown\" }", TEXT, None),
    step("plain-text", "\"plain-text\"", TEXTS, None),
    step("base64", "{ base64 = \"decode\" }", TEXTS, None),
    step("hash", "{ hash = \"sha256\" }", TEXTS, None),
    step("mask", "{ mask = \"*\", keep = 4 }", TEXTS, None),
    step(
        "map",
        "{ map = { A = \"B\" }, default = \"C\" }",
        TEXTS,
        None,
    ),
    step(
        "table",
        "{ table = \"genders\", column = \"value\", default = \"C\" }",
        TEXTS,
        None,
    ),
    step(
        "date",
        "\"date\" or { date = [\"first-day\", \"day-first\"] }",
        &[Kind::Text, Kind::DateTime],
        Some(Kind::Date),
    ),
    step(
        "date-time",
        "\"date-time\" or { date-time = [\"lenient\"] }",
        &[Kind::Text, Kind::Date],
        Some(Kind::DateTime),
    ),
    step(
        "time",
        "\"time\" or { time = [\"lenient\"] }",
        &[Kind::Text, Kind::DateTime],
        Some(Kind::Time),
    ),
    step(
        "format-date",
        "{ format-date = \"%d.%m.%Y\" }",
        &[Kind::Date, Kind::DateTime, Kind::Time],
        Some(Kind::Text),
    ),
    step(
        "shift",
        "{ shift = -1, unit = \"days\" }",
        &[Kind::Date, Kind::DateTime, Kind::Time],
        None,
    ),
    step(
        "age",
        "{ age = \"years\" }",
        &[Kind::Date, Kind::DateTime],
        Some(Kind::Number),
    ),
    step(
        "number",
        "\"number\" or { number = \"comma\" }",
        TEXT,
        Some(Kind::Number),
    ),
    step("add", "{ add = \"1.5\" }", NUMBER, None),
    step("subtract", "{ subtract = \"1.5\" }", NUMBER, None),
    step("multiply", "{ multiply = \"2.2\" }", NUMBER, None),
    step("divide", "{ divide = \"100\", places = 2 }", NUMBER, None),
    step("round", "{ round = 0 }", NUMBER, None),
    step(
        "format-number",
        "{ format-number = 2, point = \".\", group = \",\" }",
        NUMBER,
        Some(Kind::Text),
    ),
    step(
        "boolean",
        "\"boolean\" or { boolean = [\"Y\"], no = [\"N\"] }",
        TEXT,
        Some(Kind::Boolean),
    ),
    step(
        "words",
        "{ words = [\"Yes\", \"No\"] }",
        &[Kind::Boolean],
        Some(Kind::Text),
    ),
    step("phone", "{ phone = \"national\" }", TEXT, Some(Kind::Phone)),
];

impl Step<'_> {
    /// What a document calls it.
    pub fn word(&self) -> &'static str {
        match self {
            Step::Trim => "trim",
            Step::Upper => "upper",
            Step::Lower => "lower",
            Step::Title => "title",
            Step::Name => "name",
            Step::Pad { .. } => "pad",
            Step::Truncate(_) => "truncate",
            Step::Substring { .. } => "substring",
            Step::Split { .. } => "split",
            Step::Pick(_) => "pick",
            Step::Join(_) => "join",
            Step::Replace { .. } => "replace",
            Step::Extract { .. } => "extract",
            Step::ReplacePattern { .. } => "replace-pattern",
            Step::Digits => "digits",
            Step::Prefix(_) => "prefix",
            Step::Suffix(_) => "suffix",
            Step::Default(_) => "default",
            Step::PlainText => "plain-text",
            Step::Base64(_) => "base64",
            Step::Hash => "hash",
            Step::Mask { .. } => "mask",
            Step::Map { .. } => "map",
            Step::Table { .. } => "table",
            Step::Date(_) => "date",
            Step::DateTime(_) => "date-time",
            Step::Time { .. } => "time",
            Step::FormatDate(_) => "format-date",
            Step::Shift { .. } => "shift",
            Step::Age(_) => "age",
            Step::Number(_) => "number",
            Step::Arithmetic { operation, .. } => match operation {
                Operation::Add => "add",
                Operation::Subtract => "subtract",
                Operation::Multiply => "multiply",
            },
            Step::Divide { .. } => "divide",
            Step::Round(_) => "round",
            Step::FormatNumber { .. } => "format-number",
            Step::Boolean { .. } => "boolean",
            Step::Words { .. } => "words",
            Step::Phone(_) => "phone",
        }
    }
}
