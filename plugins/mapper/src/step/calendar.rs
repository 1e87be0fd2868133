//! Steps that read, change and write dates and times.

use super::{Kind, Lenience, Reading, Step, Tools, Unit};
use crate::number::Number;
use crate::program::Fact;
use crate::value::{Date, DateTime, Reason, Time, Value};
use crate::{dtm, lsq};

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

const DAYS: [&str; 7] = [
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
    "Sunday",
];

const MIDNIGHT: Time = Time {
    hour: 0,
    minute: 0,
    second: 0,
    nanosecond: 0,
};

/// None where the result leaves the calendar.
pub(super) fn apply<'a>(
    step: &'a Step<'a>,
    value: Value<'a>,
    tools: &Tools<'a>,
) -> Option<Value<'a>> {
    let (date, time) = match &value {
        Value::Date(date) => (Some(*date), MIDNIGHT),
        Value::DateTime(at) => (Some(at.date), at.time),
        Value::Time(time) => (None, *time),
        _ => return Some(value),
    };
    Some(match (step, value) {
        (Step::Date(_), _) => Value::Date(date?),
        (Step::DateTime(_), Value::Date(date)) => Value::DateTime(DateTime {
            date,
            time: MIDNIGHT,
            offset_minutes: None,
        }),
        (Step::Time { .. }, _) => Value::Time(time),
        (Step::FormatDate(format), value) => {
            let offset = match value {
                Value::DateTime(at) => at.offset_minutes,
                _ => None,
            };
            Value::Text(written(format, date, time, offset).into())
        }
        (Step::Shift { by, unit }, Value::Date(date)) => {
            Value::Date(day_shifted(date, *by, *unit)?)
        }
        (Step::Shift { by, unit }, Value::DateTime(at)) if unit.is_days() => {
            Value::DateTime(DateTime {
                date: day_shifted(at.date, *by, *unit)?,
                ..at
            })
        }
        (Step::Shift { by, unit }, Value::DateTime(at)) => {
            let (days, time) = clock_shifted(at.time, *by, *unit);
            Value::DateTime(DateTime {
                date: from_days(to_days(at.date) + days)?,
                time,
                ..at
            })
        }
        (Step::Shift { by, unit }, Value::Time(time)) => {
            Value::Time(clock_shifted(time, *by, *unit).1)
        }
        (Step::Age(unit), _) => {
            let received = tools.reader.fact(Fact::ReceivedAt)?;
            let today = dtm::date(&received, false)?;
            Value::Number(Number::whole(age(date?, today, *unit)?))
        }
        (_, value) => value,
    })
}

pub(super) fn not_a_date(outbound: bool) -> Reason {
    match outbound {
        true => Reason::NotAFieldDate,
        false => Reason::NotADate,
    }
}

pub(super) fn not_a_date_time(outbound: bool) -> Reason {
    match outbound {
        true => Reason::NotAFieldDateTime,
        false => Reason::NotADateTime,
    }
}

pub(super) fn read_date(text: &str, reading: Reading, outbound: bool) -> Option<Date> {
    let strict = match outbound {
        true => lsq::date(text),
        false => dtm::date(text, reading.first_day),
    };
    strict.or_else(|| Some(lenient(text, reading)?.0))
}

pub(super) fn read_date_time(text: &str, reading: Reading, outbound: bool) -> Option<DateTime> {
    let strict = match outbound {
        true => lsq::date_time(text),
        false => dtm::date_time(text),
    };
    strict.or_else(|| {
        let (date, rest) = lenient(text, reading)?;
        let (time, offset_minutes) = match rest.trim_start_matches(['T', ',', ' ']) {
            "" => (MIDNIGHT, None),
            rest => clock(rest)?,
        };
        Some(DateTime {
            date,
            time,
            offset_minutes,
        })
    })
}

/// `HHMM[SS[.SSSS]]`, and with `lenient` `9:05`, `09:05:30`, `9:05 pm`.
pub(crate) fn read_time(text: &str, is_lenient: bool) -> Option<Time> {
    let text = text.trim();
    // A day in front makes a DTM of it, which is read by one piece of code.
    let strict = text.len() >= 4 && !text.contains(['+', '-']);
    let strict = strict.then(|| dtm::date_time(&format!("20000101{text}")));
    match strict.flatten() {
        Some(at) => Some(at.time),
        None if is_lenient => clock(text).map(|(time, _)| time),
        None => None,
    }
}

/// Another way of writing a date, and what stands behind it.
fn lenient(text: &str, reading: Reading) -> Option<(Date, &str)> {
    if reading.lenience == Lenience::None {
        return None;
    }
    let mut rest = text.trim();
    let mut parts = [Part::default(); 3];
    for part in &mut parts {
        rest = rest.trim_start_matches(['-', '/', '.', ',', ' ']);
        let digits = |byte: &u8| byte.is_ascii_digit();
        let letters = |byte: &u8| byte.is_ascii_alphabetic();
        let is_word = rest.as_bytes().first().is_some_and(letters);
        let length = match is_word {
            true => rest.bytes().take_while(letters).count(),
            false => rest.bytes().take_while(digits).count(),
        };
        let (word, behind) = rest.split_at(length);
        rest = behind;
        *part = match is_word {
            true => Part {
                number: month_named(word)?,
                digits: 0,
            },
            false if (1..=4).contains(&length) => Part {
                number: word.parse().ok()?,
                digits: length,
            },
            false => return None,
        };
    }
    let [a, b, c] = parts;
    let (year, month, day) = match (a.digits, b.digits, c.digits) {
        // 1988-07-05, 1988 July 5
        (4, 0..=2, 1 | 2) => (a, b, c),
        // 5 July 1988
        (1 | 2, 0, 4) => (c, b, a),
        // July 5, 1988
        (0, 1 | 2, 4) => (c, a, b),
        (1 | 2, 1 | 2, 4) => match reading.lenience {
            Lenience::DayFirst => (c, b, a),
            Lenience::MonthFirst => (c, a, b),
            Lenience::Plain | Lenience::None => return None,
        },
        _ => return None,
    };
    let date = dtm::day(year.number, month.number, day.number)?;
    Some((date, rest))
}

#[derive(Clone, Copy, Default)]
struct Part {
    number: u16,
    /// Zero for a month's name.
    digits: usize,
}

/// `Jul`, `july`
fn month_named(word: &str) -> Option<u16> {
    let is = |month: &str| {
        let long_enough = word.len() >= 3 && word.len() <= month.len();
        long_enough && month[..word.len()].eq_ignore_ascii_case(word)
    };
    let at = MONTHS.iter().position(|month| is(month))?;
    Some(at as u16 + 1)
}

/// `9:05[:30[.5]] [am|pm] [Z|+05:30]`
fn clock(text: &str) -> Option<(Time, Option<i16>)> {
    let (hour, rest) = number(text, 2)?;
    let (minute, rest) = number(rest.strip_prefix(':')?, 2)?;
    let (second, mut rest) = match rest.strip_prefix(':') {
        Some(rest) => number(rest, 2)?,
        None => (0, rest),
    };
    if let Some(fraction) = rest.strip_prefix('.') {
        rest = fraction.trim_start_matches(|letter: char| letter.is_ascii_digit());
    }
    rest = rest.trim_start();
    let half = rest.get(..2).map(str::to_ascii_lowercase);
    let hour = match half.as_deref() {
        Some("am" | "pm") if !(1..=12).contains(&hour) => return None,
        Some("am") => hour % 12,
        Some("pm") => hour % 12 + 12,
        _ => hour,
    };
    if matches!(half.as_deref(), Some("am" | "pm")) {
        rest = rest[2..].trim_start();
    }
    let offset = match rest.as_bytes().first() {
        None => None,
        Some(b'Z') if rest.len() == 1 => Some(0),
        Some(sign @ (b'+' | b'-')) => {
            let (hours, rest) = number(&rest[1..], 2)?;
            let (minutes, rest) = number(rest.strip_prefix(':').unwrap_or(rest), 2)?;
            let total = i16::from(hours) * 60 + i16::from(minutes);
            if !rest.is_empty() || minutes > 59 || total > 14 * 60 {
                return None;
            }
            Some(if *sign == b'-' { -total } else { total })
        }
        Some(_) => return None,
    };
    let real = hour < 24 && minute < 60 && second < 60;
    let time = Time {
        hour,
        minute,
        second,
        nanosecond: 0,
    };
    real.then_some((time, offset))
}

/// A number of so many digits at most, and what stands behind it.
fn number(text: &str, most: usize) -> Option<(u8, &str)> {
    let length = text
        .bytes()
        .take(most)
        .take_while(u8::is_ascii_digit)
        .count();
    let (digits, rest) = text.split_at(length);
    Some((digits.parse().ok()?, rest))
}

/// Days since a day long ago, of the proleptic Gregorian calendar.
fn to_days(date: Date) -> i64 {
    // Years begin in March, so that the leap day is the last.
    let (year, month) = (i64::from(date.year), i64::from(date.month));
    let year = if month <= 2 { year - 1 } else { year };
    let month = (month + 9) % 12;
    365 * year + year.div_euclid(4) - year.div_euclid(100)
        + year.div_euclid(400)
        + (month * 306 + 5) / 10
        + i64::from(date.day)
}

fn from_days(days: i64) -> Option<Date> {
    let mut year = (days * 400).div_euclid(146_097);
    let start =
        |year: i64| 365 * year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    // The estimate is at most one year off.
    while start(year) >= days {
        year -= 1;
    }
    while start(year + 1) < days {
        year += 1;
    }
    let of_year = days - start(year) - 1;
    let month = (of_year * 100 + 52) / 3_060;
    let day = of_year - (month * 306 + 5) / 10 + 1;
    let (year, month) = match month < 10 {
        true => (year, month + 3),
        false => (year + 1, month - 9),
    };
    let year = u16::try_from(year).ok().filter(|year| *year <= 9_999)?;
    dtm::day(year, month as u16, day as u16)
}

fn day_shifted(date: Date, by: i32, unit: Unit) -> Option<Date> {
    let by = i64::from(by);
    match unit {
        Unit::Weeks => from_days(to_days(date) + by * 7),
        Unit::Years | Unit::Months => {
            let months = if unit == Unit::Years { by * 12 } else { by };
            let month = i64::from(date.year) * 12 + i64::from(date.month) - 1 + months;
            let year = u16::try_from(month.div_euclid(12)).ok()?;
            let month = month.rem_euclid(12) as u16 + 1;
            let year = Some(year).filter(|year| *year <= 9_999)?;
            // The last day where the month is shorter.
            (1..=u16::from(date.day))
                .rev()
                .find_map(|day| dtm::day(year, month, day))
        }
        _ => from_days(to_days(date) + by),
    }
}

/// The time, and the days that it went over midnight.
fn clock_shifted(time: Time, by: i32, unit: Unit) -> (i64, Time) {
    let seconds = i64::from(by)
        * match unit {
            Unit::Hours => 3_600,
            Unit::Minutes => 60,
            _ => 1,
        };
    let of_day =
        i64::from(time.hour) * 3_600 + i64::from(time.minute) * 60 + i64::from(time.second);
    let total = of_day + seconds;
    let rest = total.rem_euclid(86_400);
    let time = Time {
        hour: (rest / 3_600) as u8,
        minute: (rest / 60 % 60) as u8,
        second: (rest % 60) as u8,
        nanosecond: time.nanosecond,
    };
    (total.div_euclid(86_400), time)
}

/// Full units between two days; none where the second is the earlier one.
fn age(born: Date, today: Date, unit: Unit) -> Option<i64> {
    if today < born {
        return None;
    }
    let months = i64::from(today.year) * 12 + i64::from(today.month)
        - i64::from(born.year) * 12
        - i64::from(born.month)
        - i64::from(today.day < born.day);
    let days = to_days(today) - to_days(born);
    Some(match unit {
        Unit::Years => months / 12,
        Unit::Months => months,
        Unit::Weeks => days / 7,
        Unit::Days => days,
        Unit::Hours => days * 24,
        Unit::Minutes => days * 1_440,
        Unit::Seconds => days * 86_400,
    })
}

/// Letters of a format that ask for a day, for a time, and for an offset.
const DAY_LETTERS: &str = "YymdeBbAaj";
const TIME_LETTERS: &str = "HIMSpf";

/// Checks a format against the kind of value that it is to write.
///
/// # Errors
///
/// What is wrong with it.
pub fn check_format(format: &str, kind: Kind) -> Result<(), String> {
    let mut letters = format.chars();
    while let Some(letter) = letters.next() {
        if letter != '%' {
            continue;
        }
        let Some(letter) = letters.next() else {
            return Err("ends in %: write %% for the sign".into());
        };
        let known = match letter {
            '%' => true,
            'z' => kind == Kind::DateTime,
            letter if DAY_LETTERS.contains(letter) => kind != Kind::Time,
            letter if TIME_LETTERS.contains(letter) => kind != Kind::Date,
            _ => {
                return Err(format!(
                    "%{letter} is not known: there are %Y %y %m %d %e %B %b %A %a %j %H %I %M %S %p %f %z and %%"
                ));
            }
        };
        if !known {
            return Err(format!("{kind} has no %{letter}"));
        }
    }
    Ok(())
}

fn written(format: &str, date: Option<Date>, time: Time, offset: Option<i16>) -> String {
    let mut out = String::with_capacity(format.len() + 8);
    let date = date.unwrap_or(Date {
        year: 1,
        month: 1,
        day: 1,
    });
    let weekday = || DAYS[(to_days(date) + 1).rem_euclid(7) as usize];
    let month = MONTHS[usize::from(date.month - 1) % 12];
    let mut letters = format.chars();
    while let Some(letter) = letters.next() {
        if letter != '%' {
            out.push(letter);
            continue;
        }
        let two = |number: u8| format!("{number:02}");
        let piece = match letters.next() {
            Some('Y') => format!("{:04}", date.year),
            Some('y') => format!("{:02}", date.year % 100),
            Some('m') => two(date.month),
            Some('d') => two(date.day),
            Some('e') => date.day.to_string(),
            Some('B') => month.into(),
            Some('b') => month[..3].into(),
            Some('A') => weekday().into(),
            Some('a') => weekday()[..3].into(),
            Some('j') => {
                let first = Date {
                    month: 1,
                    day: 1,
                    ..date
                };
                format!("{:03}", to_days(date) - to_days(first) + 1)
            }
            Some('H') => two(time.hour),
            Some('I') => two((time.hour + 11) % 12 + 1),
            Some('M') => two(time.minute),
            Some('S') => two(time.second),
            Some('p') => if time.hour < 12 { "AM" } else { "PM" }.into(),
            Some('f') => format!("{:03}", time.nanosecond / 1_000_000),
            Some('z') => match offset {
                Some(minutes) => {
                    let sign = if minutes < 0 { '-' } else { '+' };
                    let minutes = minutes.unsigned_abs();
                    format!("{sign}{:02}{:02}", minutes / 60, minutes % 60)
                }
                None => String::new(),
            },
            Some('%') => "%".into(),
            _ => String::new(),
        };
        out.push_str(&piece);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_counted_both_ways() {
        let mut date = Date {
            year: 1,
            month: 1,
            day: 1,
        };
        let first = to_days(date);
        // 1 January of year 1 was a Monday.
        assert_eq!((first + 1).rem_euclid(7), 0);
        for days in 0..3_652_058 {
            let back = from_days(first + days);
            assert!(back == Some(date), "{days}");
            date = dtm::day(date.year, date.month.into(), u16::from(date.day) + 1)
                .or_else(|| dtm::day(date.year, u16::from(date.month) + 1, 1))
                .unwrap_or(Date {
                    year: date.year + 1,
                    month: 1,
                    day: 1,
                });
        }
        assert!(from_days(first - 1).is_none());
        assert!(from_days(first + 3_652_059).is_none());
    }
}
