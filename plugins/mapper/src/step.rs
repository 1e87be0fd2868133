//! What each step does to a value.

use std::borrow::Cow;

use crate::program::Step;
use crate::value::{Reason, Value};
use crate::{dtm, lsq};

/// Carries out one step.
///
/// # Errors
///
/// The reason for which the value cannot be used, and the text that it was.
pub(crate) fn apply<'a>(
    step: &Step<'a>,
    value: Value<'a>,
) -> Result<Value<'a>, (Reason, Cow<'a, str>)> {
    // The document check lets a typed value be the end of a chain only.
    let Value::Text(text) = value else {
        return Ok(value);
    };
    Ok(Value::Text(match step {
        Step::Trim => trim(text),
        Step::Upper => Cow::Owned(text.to_uppercase()),
        Step::Lower => Cow::Owned(text.to_lowercase()),
        Step::Title => Cow::Owned(title(&text)),
        Step::Substring { start, length } => substring(text, *start, *length),
        Step::Replace { from, to } if text.contains(from) => Cow::Owned(text.replace(from, to)),
        Step::Replace { .. } => text,
        Step::Map { entries, default } => {
            match entries.binary_search_by(|(code, _)| (*code).cmp(&text)) {
                Ok(at) => Cow::Borrowed(entries[at].1),
                Err(_) => Cow::Borrowed(default.ok_or((Reason::NoSuchCode, text))?),
            }
        }
        Step::Date { first_day } => {
            let date = dtm::date(&text, *first_day);
            return date.map(Value::Date).ok_or((Reason::NotADate, text));
        }
        Step::DateTime => {
            let at = dtm::date_time(&text);
            return at.map(Value::DateTime).ok_or((Reason::NotADateTime, text));
        }
        Step::FieldDate => {
            let date = lsq::date(&text);
            return date.map(Value::Date).ok_or((Reason::NotAFieldDate, text));
        }
        Step::FieldDateTime => {
            let at = lsq::date_time(&text);
            let at = at.map(Value::DateTime);
            return at.ok_or((Reason::NotAFieldDateTime, text));
        }
        Step::Phone(_) if text.is_empty() => text,
        Step::Phone(form) => return Ok(Value::Phone(text, *form)),
    }))
}

fn trim(text: Cow<'_, str>) -> Cow<'_, str> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.trim()),
        Cow::Owned(text) if text.trim().len() == text.len() => Cow::Owned(text),
        Cow::Owned(text) => Cow::Owned(text.trim().into()),
    }
}

/// The first letter of each word in upper case, the others in lower case: `MARY ANN O'NEIL-SMITH` to
/// `Mary Ann O'Neil-Smith`.
fn title(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut inside = false;
    for letter in text.chars() {
        if inside {
            out.extend(letter.to_lowercase());
        } else {
            out.extend(letter.to_uppercase());
        }
        inside = letter.is_alphanumeric();
    }
    out
}

fn substring(text: Cow<'_, str>, start: u32, length: u32) -> Cow<'_, str> {
    let skipped = start.saturating_sub(1) as usize;
    let at = |text: &str, count: usize| {
        text.char_indices()
            .nth(count)
            .map_or(text.len(), |(at, _)| at)
    };
    let from = at(&text, skipped);
    let to = from + at(&text[from..], length as usize);
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(&text[from..to]),
        Cow::Owned(text) => Cow::Owned(text[from..to].into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(step: Step<'_>, text: &str, expected: &str) {
        for text in [Cow::Borrowed(text), Cow::Owned(text.to_owned())] {
            match apply(&step, Value::Text(text)) {
                Ok(Value::Text(got)) => assert_eq!(got, expected),
                Ok(_) => panic!("not a text"),
                Err((reason, _)) => assert_eq!(reason.expected(), expected),
            }
        }
    }

    #[test]
    fn texts() {
        check(Step::Trim, "  Ann ", "Ann");
        check(Step::Trim, "   ", "");
        check(Step::Upper, "straße", "STRASSE");
        check(Step::Lower, "ÉCOLE", "école");
        check(
            Step::Title,
            "MARY ANN O'NEIL-SMITH",
            "Mary Ann O'Neil-Smith",
        );
        check(Step::Title, "élodie van der berg", "Élodie Van Der Berg");
        check(
            Step::Substring {
                start: 1,
                length: 2,
            },
            "héllo",
            "hé",
        );
        check(
            Step::Substring {
                start: 3,
                length: 99,
            },
            "héllo",
            "llo",
        );
        check(
            Step::Substring {
                start: 9,
                length: 2,
            },
            "héllo",
            "",
        );
        check(Step::Replace { from: "-", to: "" }, "07-11-22", "071122");
        check(Step::Replace { from: "x", to: "y" }, "abc", "abc");
    }

    #[test]
    fn codes() {
        let map = |default| Step::Map {
            entries: vec![("F", "Female"), ("M", "Male")],
            default,
        };
        check(map(None), "M", "Male");
        check(map(Some("Other")), "X", "Other");
        check(map(None), "X", "a code of the row's map");
    }
}
