//! The steps a value goes through: what each is, what kinds of value it takes and gives, and what it does.
//!
//! [`STEPS`] is the one table of them: the host's document check reads kinds and words from it, and its reference is
//! tested against it. A new step is a variant, a row of the table, an arm in [`Step::word`] and one in `apply`.

mod calendar;
mod code;
mod table;
mod text;

use std::borrow::Cow;
use std::cell::RefCell;
use std::fmt;

use regex_lite::{Regex, RegexBuilder};
use serde::{Deserialize, Serialize};

pub use calendar::check_format;
pub(crate) use calendar::read_time;
pub use table::{Info, STEPS};

use crate::evaluate::Reader;
use crate::number::Number;
use crate::text::Text;
use crate::value::{Reason, Refusal, Value};

/// One change of a value on its way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Step<'a> {
    Trim,
    Upper,
    Lower,
    Title,
    Name,
    /// To so many characters at least, at the start or at the end.
    Pad {
        length: u32,
        #[serde(borrow)]
        with: Text<'a>,
        at_end: bool,
    },
    Truncate(u32),
    /// Characters from `start` (the first is 1), at most `length`.
    Substring {
        start: u32,
        length: u32,
    },
    /// A list of the parts, or one of them: the first is 1, the last -1.
    Split {
        #[serde(borrow)]
        at: Text<'a>,
        pick: Option<i32>,
    },
    Pick(i32),
    Join(#[serde(borrow)] Text<'a>),
    Replace {
        #[serde(borrow)]
        from: Text<'a>,
        #[serde(borrow)]
        to: Text<'a>,
    },
    /// What a group of the pattern took; nothing where the pattern is not found.
    Extract {
        #[serde(borrow)]
        pattern: Text<'a>,
        group: u32,
    },
    ReplacePattern {
        #[serde(borrow)]
        pattern: Text<'a>,
        #[serde(borrow)]
        to: Text<'a>,
    },
    Digits,
    Prefix(#[serde(borrow)] Text<'a>),
    Suffix(#[serde(borrow)] Text<'a>),
    /// Where there is no text so far.
    Default(#[serde(borrow)] Text<'a>),
    PlainText,
    Base64(Base64),
    Hash,
    /// Every character but the last `keep`.
    Mask {
        #[serde(borrow)]
        with: Text<'a>,
        keep: u32,
    },
    /// An inline code map, sorted by code.
    Map {
        #[serde(borrow)]
        entries: Vec<(Text<'a>, Text<'a>)>,
        #[serde(borrow)]
        miss: Miss<'a>,
    },
    /// A code table of the administrator's.
    Table {
        #[serde(borrow)]
        table: Text<'a>,
        #[serde(borrow)]
        column: Option<Text<'a>>,
        #[serde(borrow)]
        miss: Miss<'a>,
    },
    /// Text to a calendar date, or the day of a date and time.
    Date(Reading),
    /// Text to a date and time, or the midnight of a date.
    DateTime(Reading),
    /// Text to a time of day, or the time of a date and time.
    Time {
        lenient: bool,
    },
    FormatDate(#[serde(borrow)] Text<'a>),
    Shift {
        by: i32,
        unit: Unit,
    },
    /// Full units from a date to the day on which the message came in, in UTC.
    Age(Unit),
    /// Text to a number.
    Number(Notation),
    Arithmetic {
        operation: Operation,
        #[serde(borrow)]
        operand: Text<'a>,
    },
    Divide {
        #[serde(borrow)]
        by: Text<'a>,
        places: u32,
    },
    Round(u32),
    FormatNumber {
        places: u32,
        #[serde(borrow)]
        point: Text<'a>,
        #[serde(borrow)]
        group: Text<'a>,
    },
    /// Text to yes or no; without texts of its own by the usual words.
    Boolean {
        #[serde(borrow)]
        yes: Vec<Text<'a>>,
        #[serde(borrow)]
        no: Vec<Text<'a>>,
    },
    /// Yes or no to a text.
    Words {
        #[serde(borrow)]
        yes: Text<'a>,
        #[serde(borrow)]
        no: Text<'a>,
    },
    /// Outbound: a phone number for the host to write in this form.
    Phone(PhoneForm),
}

/// Which way base64 is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Base64 {
    Encode,
    Decode,
}

/// What becomes of a code without an entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Miss<'a> {
    /// The row's `on-error` decides.
    Fault,
    /// The code itself goes on.
    Pass,
    Default(#[serde(borrow)] Text<'a>),
}

/// Which texts are dates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Reading {
    /// A year or a month alone is its first day.
    pub first_day: bool,
    pub lenience: Lenience,
}

/// Which other ways of writing a date are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Lenience {
    #[default]
    None,
    /// `1988-07-05`, `5 July 1988`, `Jul 5, 1988`: those in which the order is plain.
    Plain,
    /// Also `5/7/1988` and `05.07.1988` as the fifth of July.
    DayFirst,
    /// Also `7/5/1988` as the fifth of July.
    MonthFirst,
}

/// A unit of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Unit {
    Years,
    Months,
    Weeks,
    Days,
    Hours,
    Minutes,
    Seconds,
}

/// How numbers are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Notation {
    /// `-12.50`
    Plain,
    /// `1,234.50`
    Point,
    /// `1.234,50`
    Comma,
}

/// What is done with a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Operation {
    Add,
    Subtract,
    Multiply,
}

/// How the receiver is to get a phone number; the contract's `phone-form`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum PhoneForm {
    National,
    Digits,
    International,
    CountryCode,
    AreaCode,
    Local,
}

/// What kind of value a step takes or gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Text,
    List,
    Number,
    Boolean,
    Date,
    Time,
    DateTime,
    Phone,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Text => "text",
            Kind::List => "a list",
            Kind::Number => "a number",
            Kind::Boolean => "yes or no",
            Kind::Date => "a date",
            Kind::Time => "a time",
            Kind::DateTime => "a date and time",
            Kind::Phone => "a phone number",
        })
    }
}

impl Step<'_> {
    /// What the value is after this step; none if it does not take such a value.
    pub fn gives(&self, taken: Kind) -> Option<Kind> {
        let info = self.info();
        if !info.takes.contains(&taken) {
            return None;
        }
        match self {
            Step::Split { pick: None, .. } => Some(Kind::List),
            // A day has no hours.
            Step::Shift { unit, .. } if taken == Kind::Date && !unit.is_days() => None,
            Step::Shift { unit, .. } if taken == Kind::Time && unit.is_days() => None,
            _ => Some(info.gives.unwrap_or(taken)),
        }
    }

    /// Its row of the table.
    ///
    /// # Panics
    ///
    /// Never: a test goes through all words.
    pub fn info(&self) -> &'static Info {
        let word = self.word();
        let mut steps = STEPS.iter();
        steps
            .find(|info| info.word == word)
            .expect("every step has a row")
    }
}

impl Unit {
    fn is_days(self) -> bool {
        matches!(self, Unit::Years | Unit::Months | Unit::Weeks | Unit::Days)
    }
}

/// Why a value does not go on.
pub(crate) enum Trouble<'a> {
    /// The value cannot be used.
    Value(Reason),
    /// A code has no entry; without a table's name it is the row's own map.
    Code {
        table: Option<&'a str>,
        code: Cow<'a, str>,
    },
    /// The host does not answer.
    Refused(Refusal),
}

impl From<Reason> for Trouble<'_> {
    fn from(reason: Reason) -> Self {
        Trouble::Value(reason)
    }
}

/// What steps work with besides the value.
pub(crate) struct Tools<'a> {
    pub(crate) reader: &'a dyn Reader,
    pub(crate) outbound: bool,
    /// By where their text stands: a loop uses each many times.
    patterns: RefCell<Vec<(*const u8, Option<Regex>)>>,
}

impl<'a> Tools<'a> {
    pub(crate) fn new(reader: &'a dyn Reader, outbound: bool) -> Self {
        Self {
            reader,
            outbound,
            patterns: RefCell::default(),
        }
    }

    /// Uses a pattern; a document's patterns were checked when it was saved, one that cannot be read is found nowhere.
    pub(crate) fn pattern<T>(&self, pattern: &str, with: impl FnOnce(Option<&Regex>) -> T) -> T {
        let mut patterns = self.patterns.borrow_mut();
        let place = pattern.as_ptr();
        let known = patterns.iter().position(|(other, _)| *other == place);
        let at = known.unwrap_or_else(|| {
            patterns.push((place, compile(pattern).ok()));
            patterns.len() - 1
        });
        with(patterns[at].1.as_ref())
    }
}

fn compile(pattern: &str) -> Result<Regex, regex_lite::Error> {
    // Matching takes time in proportion to pattern times text, so the pattern is bounded; deadlines bound the rest.
    RegexBuilder::new(pattern).size_limit(64 * 1024).build()
}

/// Checks a regular expression; the groups that it has besides the whole.
///
/// # Errors
///
/// What is wrong with it.
pub fn check_pattern(pattern: &str) -> Result<usize, String> {
    match compile(pattern) {
        Ok(regex) => Ok(regex.captures_len() - 1),
        Err(error) => Err(error.to_string()),
    }
}

/// Carries out one step. Text that is empty is no value, so no step but `default` is asked about it.
///
/// # Errors
///
/// Why the value cannot be used.
pub(crate) fn apply<'a>(
    step: &'a Step<'a>,
    value: Value<'a>,
    tools: &Tools<'a>,
) -> Result<Value<'a>, Trouble<'a>> {
    Ok(match value {
        Value::Text(text) => from_text(step, text, tools)?,
        Value::List(items) => match step {
            Step::Join(separator) => Value::Text(items.join(&**separator).into()),
            Step::Pick(position) => Value::Text(text::pick(items, *position)),
            _ => {
                let mut changed = Vec::with_capacity(items.len());
                for item in items {
                    match from_text(step, item, tools)? {
                        Value::Text(text) if text.is_empty() => {}
                        Value::Text(text) => changed.push(text),
                        // The document check lets through what gives text for text only.
                        other => return Ok(other),
                    }
                }
                Value::List(changed)
            }
        },
        Value::Number(number) => from_number(step, number).ok_or(Reason::OutOfRange)?,
        Value::Boolean(flag) => match step {
            Step::Words { yes, .. } if flag => Value::Text(yes.borrowed()),
            Step::Words { no, .. } => Value::Text(no.borrowed()),
            _ => Value::Boolean(flag),
        },
        Value::Date(_) | Value::Time(_) | Value::DateTime(_) => {
            calendar::apply(step, value, tools).ok_or(Reason::OutOfRange)?
        }
        Value::Clear | Value::Phone(..) => value,
    })
}

fn from_text<'a>(
    step: &'a Step<'a>,
    value: Cow<'a, str>,
    tools: &Tools<'a>,
) -> Result<Value<'a>, Trouble<'a>> {
    Ok(match step {
        Step::Split { at, pick } => {
            let parts = text::split(value, at);
            match pick {
                Some(position) => Value::Text(text::pick(parts, *position)),
                None => Value::List(parts.into_iter().filter(|part| !part.is_empty()).collect()),
            }
        }
        Step::Map { entries, miss } => {
            let found = entries.binary_search_by(|(code, _)| (**code).cmp(&value));
            let found = found.ok().map(|at| entries[at].1.borrowed());
            Value::Text(missed(found, miss, None, value)?)
        }
        Step::Table {
            table,
            column,
            miss,
        } => {
            let code = value.trim();
            let found = tools.reader.code(table, code, column.as_deref());
            let found = found.map_err(Trouble::Refused)?.map(Cow::Owned);
            Value::Text(missed(found, miss, Some(table), value)?)
        }
        Step::Date(reading) => {
            let read = calendar::read_date(&value, *reading, tools.outbound);
            Value::Date(read.ok_or(calendar::not_a_date(tools.outbound))?)
        }
        Step::DateTime(reading) => {
            let read = calendar::read_date_time(&value, *reading, tools.outbound);
            Value::DateTime(read.ok_or(calendar::not_a_date_time(tools.outbound))?)
        }
        Step::Time { lenient } => {
            Value::Time(calendar::read_time(&value, *lenient).ok_or(Reason::NotATime)?)
        }
        Step::Number(notation) => {
            let read = match notation {
                Notation::Plain => Number::parse(&value),
                Notation::Point => Number::parse(&text::without(&value, &[',', ' ', '\''])),
                Notation::Comma => {
                    Number::parse(&text::without(&value, &['.', ' ', '\'']).replace(',', "."))
                }
            };
            Value::Number(read.ok_or(Reason::NotANumber)?)
        }
        Step::Boolean { yes, no } => {
            Value::Boolean(text::boolean(&value, yes, no).ok_or(Reason::NotABoolean)?)
        }
        Step::Base64(way) => {
            let coded = match way {
                Base64::Encode => Some(code::encode(value.as_bytes())),
                Base64::Decode => code::decode(&value),
            };
            Value::Text(coded.ok_or(Reason::NotBase64)?.into())
        }
        Step::Hash => Value::Text(code::hash(&value).into()),
        Step::Phone(form) => Value::Phone(value, *form),
        _ => Value::Text(text::apply(step, value, tools)),
    })
}

fn missed<'a>(
    found: Option<Cow<'a, str>>,
    miss: &'a Miss<'a>,
    table: Option<&'a Text<'a>>,
    code: Cow<'a, str>,
) -> Result<Cow<'a, str>, Trouble<'a>> {
    match (found, miss) {
        (Some(text), _) => Ok(text),
        (None, Miss::Pass) => Ok(code),
        (None, Miss::Default(text)) => Ok(text.borrowed()),
        (None, Miss::Fault) => Err(Trouble::Code {
            table: table.map(|table| &**table),
            code: Cow::Owned(code.trim().into()),
        }),
    }
}

/// None where the number leaves the range.
fn from_number<'a>(step: &'a Step<'a>, number: Number) -> Option<Value<'a>> {
    Some(Value::Number(match step {
        Step::Arithmetic { operation, operand } => {
            let operand = Number::parse(operand)?;
            match operation {
                Operation::Add => number.plus(operand)?,
                Operation::Subtract => number.minus(operand)?,
                Operation::Multiply => number.times(operand)?,
            }
        }
        Step::Divide { by, places } => number.over(Number::parse(by)?, *places)?,
        Step::Round(places) => number.rounded(*places)?,
        Step::FormatNumber {
            places,
            point,
            group,
        } => {
            let written = number.rounded(*places)?.written(point, group);
            return Some(Value::Text(written.into()));
        }
        _ => number,
    }))
}
