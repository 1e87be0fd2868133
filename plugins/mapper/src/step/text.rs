//! Steps from text to text.

use std::borrow::Cow;

use super::{Step, Tools};
use crate::text::Text;

pub(super) fn apply<'a>(step: &'a Step<'a>, text: Cow<'a, str>, tools: &Tools<'a>) -> Cow<'a, str> {
    match step {
        Step::Trim => within(text, str::trim),
        Step::Upper => Cow::Owned(text.to_uppercase()),
        Step::Lower => Cow::Owned(text.to_lowercase()),
        Step::Title => Cow::Owned(title(&text)),
        Step::Name => Cow::Owned(name(&text)),
        Step::Pad {
            length,
            with,
            at_end,
        } => pad(text, *length as usize, with, *at_end),
        Step::Truncate(length) => within(text, |text| &text[..after(text, *length as usize)]),
        Step::Substring { start, length } => within(text, |text| {
            let rest = &text[after(text, start.saturating_sub(1) as usize)..];
            &rest[..after(rest, *length as usize)]
        }),
        Step::Replace { from, to } if text.contains(&**from) => {
            Cow::Owned(text.replace(&**from, to))
        }
        Step::Extract { pattern, group } => tools.pattern(pattern, |regex| {
            let found = regex.and_then(|regex| regex.captures(&text));
            let found = found.and_then(|found| found.get(*group as usize));
            found.map_or(Cow::Borrowed(""), |found| Cow::Owned(found.as_str().into()))
        }),
        Step::ReplacePattern { pattern, to } => tools.pattern(pattern, |regex| match regex {
            Some(regex) => Cow::Owned(regex.replace_all(&text, &**to).into_owned()),
            None => text.clone(),
        }),
        Step::Digits => Cow::Owned(text.chars().filter(char::is_ascii_digit).collect()),
        Step::Prefix(prefix) => Cow::Owned(format!("{prefix}{text}")),
        Step::Suffix(suffix) => Cow::Owned(format!("{text}{suffix}")),
        Step::PlainText => Cow::Owned(plain(&text)),
        Step::Mask { with, keep } => {
            let hidden = text.chars().count().saturating_sub(*keep as usize);
            let at = after(&text, hidden);
            Cow::Owned(with.repeat(hidden) + &text[at..])
        }
        _ => text,
    }
}

/// Where a text is behind so many characters.
fn after(text: &str, count: usize) -> usize {
    let mut characters = text.char_indices();
    characters.nth(count).map_or(text.len(), |(at, _)| at)
}

/// A part of a text, borrowed where the text is.
fn within<'a>(text: Cow<'a, str>, part: impl Fn(&str) -> &str) -> Cow<'a, str> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(part(text)),
        Cow::Owned(text) if part(&text).len() == text.len() => Cow::Owned(text),
        Cow::Owned(text) => Cow::Owned(part(&text).into()),
    }
}

/// The parts between separators; characters where the separator is empty.
pub(super) fn split<'a>(text: Cow<'a, str>, at: &str) -> Vec<Cow<'a, str>> {
    match text {
        Cow::Borrowed(text) => text.split(at).map(Cow::Borrowed).collect(),
        Cow::Owned(text) => text.split(at).map(|part| Cow::Owned(part.into())).collect(),
    }
}

/// Counted from 1, or from -1 backwards; nothing where there is none.
pub(super) fn pick(mut items: Vec<Cow<'_, str>>, position: i32) -> Cow<'_, str> {
    let distance = position.unsigned_abs() as usize;
    let at = match position {
        0 => return Cow::Borrowed(""),
        1.. => distance - 1,
        _ if distance > items.len() => return Cow::Borrowed(""),
        _ => items.len() - distance,
    };
    match at < items.len() {
        true => items.swap_remove(at),
        false => Cow::Borrowed(""),
    }
}

pub(super) fn without(text: &str, letters: &[char]) -> String {
    text.replace(letters, "")
}

/// The usual words, in any case, unless there are words of the document's own.
pub(super) fn boolean(text: &str, yes: &[Text<'_>], no: &[Text<'_>]) -> Option<bool> {
    let text = text.trim();
    let is = |word: &&str| text.eq_ignore_ascii_case(word);
    if yes.is_empty() && no.is_empty() {
        return match text {
            _ if ["Y", "YES", "TRUE", "T", "1"].iter().any(is) => Some(true),
            _ if ["N", "NO", "FALSE", "F", "0"].iter().any(is) => Some(false),
            _ => None,
        };
    }
    let among = |words: &[Text<'_>]| words.iter().any(|word| **word == *text);
    match (among(yes), among(no)) {
        (true, _) => Some(true),
        // With one list alone, everything else is the other.
        (false, true) => Some(false),
        (false, false) if no.is_empty() => Some(false),
        (false, false) if yes.is_empty() => Some(true),
        (false, false) => None,
    }
}

fn pad<'a>(text: Cow<'a, str>, length: usize, with: &str, at_end: bool) -> Cow<'a, str> {
    let missing = length.saturating_sub(text.chars().count());
    if missing == 0 {
        return text;
    }
    let filling: String = with.chars().cycle().take(missing).collect();
    Cow::Owned(match at_end {
        true => text.into_owned() + &filling,
        false => filling + &text,
    })
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

/// Words that stay small inside of a name.
const PARTICLES: &[&str] = &[
    "af", "al", "bin", "da", "das", "de", "del", "della", "den", "der", "di", "dos", "du", "el",
    "ibn", "la", "le", "ten", "ter", "van", "vel", "von", "zu", "zur",
];

/// Generations behind a name.
const NUMERALS: &[&str] = &["II", "III", "IV", "VI", "VII", "VIII"];

/// As people write their names: a word that is in both cases already stays as it is.
fn name(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for (at, word) in text.split(' ').enumerate() {
        if at > 0 {
            out.push(' ');
        }
        let lower = word.to_lowercase();
        let upper = word.to_uppercase();
        if word != lower && word != upper {
            out.push_str(word);
        } else if at > 0 && NUMERALS.contains(&upper.as_str()) {
            out.push_str(&upper);
        } else if at > 0 && PARTICLES.contains(&lower.as_str()) {
            out.push_str(&lower);
        } else {
            let word = title(word);
            match word.strip_prefix("Mc") {
                Some(rest) if rest.chars().count() > 2 => {
                    out.push_str("Mc");
                    out.push_str(&title(rest));
                }
                _ => out.push_str(&word),
            }
        }
    }
    out
}

/// Formatting of FT and TX fields away: `\.br\` and its kin to line breaks and blanks, highlighting to nothing.
///
/// HL7 v2.8, 2.7.6 and 2.7.2. The escape character is `\` in the texts that a component gets.
fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(open) = rest.find('\\') {
        out.push_str(&rest[..open]);
        let body = &rest[open + 1..];
        let Some(close) = body.find('\\').filter(|close| *close <= 8) else {
            out.push('\\');
            rest = body;
            continue;
        };
        let sequence = &body[..close];
        let command = sequence.get(..3).unwrap_or(sequence);
        let count = || {
            let number = sequence.get(3..).unwrap_or("").trim();
            let number = number.trim_start_matches('+');
            // A message cannot ask for more space than a page has.
            number.parse().unwrap_or(1_usize).min(200)
        };
        match command {
            "H" | "N" | ".fi" | ".nf" => {}
            ".br" | ".ce" => out.push('\n'),
            ".sp" => out.push_str(&"\n".repeat(count())),
            ".in" | ".ti" | ".sk" => out.push_str(&" ".repeat(count())),
            _ => {
                out.push('\\');
                rest = body;
                continue;
            }
        }
        rest = &body[close + 1..];
    }
    out.push_str(rest);
    out
}
