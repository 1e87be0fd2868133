//! Phone numbers in LeadSquared's stored form, `+<country>-<national>`.
//!
//! libphonenumber's tables say which countries there are, how long their numbers may be and which digits are only dialled
//! inside them. Its patterns of numbers in service are not asked: they are older than the newest area codes, and a clinic
//! wants the number it was given. So a number counts when its length is right for its country, and is refused otherwise.
//! Start at [`read`].

use phonenumber::Metadata;
use phonenumber::metadata::{DATABASE, Descriptor};

const NOT_A_NUMBER: &str = "it is not a phone number";
const MORE_THAN_A_NUMBER: &str = "it holds more than one phone number";
const NO_AREA_CODE: &str = "it is a local phone number without its area code";
const WRONG_LENGTH: &str = "its number of digits is none that phone numbers of its country have";
const NO_COUNTRY: &str = "it begins with a country code that no country has";
const NO_DEFAULT: &str = "the default country code is none that a country has";

/// Writes a phone number as `+<country>-<national>`; none where it is none. See [`read`].
pub fn phone(text: &str, country_code: Option<&str>) -> Option<String> {
    read(text, country_code).ok()
}

/// Reads libphonenumber's tables (6 MB), which takes a tenth of a second and more: a host does so before its first
/// delivery, and not on a thread that answers senders.
pub fn warm_up() {
    let _ = DATABASE.by_code(&1);
}

/// Writes a phone number as `+<country>-<national>`.
///
/// A number that says its country keeps it: with `+`, with the prefix of calls abroad (`011` in North America, `00`
/// elsewhere), or in HL7's old form, before a bracket: `44 (20)7946-0958`. Any other is one of the default country, a
/// calling code such as `1` or `91`; without a default its digits stand as they are. What comes behind the number in XTN.1
/// (extension, beeper, comment) and an extension in any usual form are no part of it; LeadSquared has no place for them.
///
/// # Errors
/// Why the value cannot be written; a number is never written in part.
pub(super) fn read(text: &str, country_code: Option<&str>) -> Result<String, &'static str> {
    let Written {
        international,
        digits,
        before_bracket,
    } = written(text)?;
    if international {
        // `+00 44` is a slip that people make.
        return abroad(digits.strip_prefix("00").unwrap_or(&digits));
    }
    let Some(code) = country_code else {
        return match digits.strip_prefix("00").map(abroad) {
            Some(Ok(number)) => Ok(number),
            _ if (5..=15).contains(&digits.len()) => Ok(digits),
            _ => Err(NOT_A_NUMBER),
        };
    };
    let code = code.trim().trim_start_matches('+');
    let country = Country::of(code).ok_or(NO_DEFAULT)?;
    if let Some(rest) = country.without_international_prefix(&digits)
        && let Ok(number) = abroad(rest)
    {
        return Ok(number);
    }
    match country.national(&digits, true) {
        Err(_) if (1..=3).contains(&before_bracket) => abroad(&digits),
        national => national.map(|national| format!("+{code}-{national}")),
    }
}

/// Reads digits that begin with a country code.
fn abroad(digits: &str) -> Result<String, &'static str> {
    let mut codes = (1..=3).filter_map(|length| digits.split_at_checked(length));
    let found = codes.find_map(|(code, rest)| Some((Country::of(code)?, code, rest)));
    let (country, code, rest) = found.ok_or(NO_COUNTRY)?;
    let national = country.national(rest, false)?;
    Ok(format!("+{code}-{national}"))
}

/// A number as it was written.
struct Written {
    /// A plus sign stands before it.
    international: bool,
    /// In ASCII.
    digits: String,
    /// How many digits stand before the first bracket behind a digit; 0 without one.
    before_bracket: usize,
}

fn written(text: &str) -> Result<Written, &'static str> {
    // "Home: 617-555-0142": what comes before the number is a remark.
    let start = text.find(|c| is_plus(c) || digit(c).is_some());
    let number = &text[start.ok_or(NOT_A_NUMBER)?..];
    let mut written = Written {
        international: false,
        digits: String::new(),
        before_bracket: 0,
    };
    let mut end = number.len();
    for (at, c) in number.char_indices() {
        match digit(c) {
            Some(digit) => written.digits.push(digit),
            None if is_plus(c) && written.digits.is_empty() => written.international = true,
            None if c == '(' && written.before_bracket == 0 => {
                written.before_bracket = written.digits.len();
            }
            None if is_punctuation(c) => {}
            None => {
                end = at;
                break;
            }
        }
    }
    let (number, rest) = number.split_at(end);
    if rest.contains(|c| digit(c).is_some()) && !is_extension(number, rest) {
        return Err(MORE_THAN_A_NUMBER);
    }
    match written.digits.len() {
        0..5 => Err(NOT_A_NUMBER),
        5..=32 => Ok(written),
        _ => Err(MORE_THAN_A_NUMBER),
    }
}

/// Whether what follows a number is an extension, or one of the parts that may follow in XTN.1 up to version 2.6:
/// `[NNN] [(999)]999-9999[X99999][B99999][C any text]`.
fn is_extension(number: &str, rest: &str) -> bool {
    let mut characters = rest.chars();
    let (first, second) = (characters.next(), characters.next());
    match first {
        Some('x' | 'X' | '#' | ',' | ';') => true,
        Some('e' | 'E') => rest
            .get(..3)
            .is_some_and(|start| start.eq_ignore_ascii_case("ext")),
        Some('B') => second.is_some_and(|c| c.is_ascii_digit()),
        Some('C') => number.ends_with(|c: char| c.is_ascii_digit()),
        _ => false,
    }
}

/// A country by its calling code, which some share; their tables agree in what is asked here.
#[derive(Clone, Copy)]
struct Country<'a> {
    code: &'a str,
    facts: &'static Metadata,
}

impl<'a> Country<'a> {
    fn of(code: &'a str) -> Option<Self> {
        let number = code.parse().ok().filter(|_| !code.starts_with('0'))?;
        let facts = DATABASE.by_code(&number)?.into_iter().next()?;
        Some(Self { code, facts })
    }

    /// What follows the digits that are dialled for a call abroad, if the number begins with them.
    fn without_international_prefix<'n>(&self, digits: &'n str) -> Option<&'n str> {
        let own = self.facts.international_prefix();
        let own = own.and_then(|prefix| prefix.find(digits));
        match own {
            Some(found) if found.start() == 0 => digits.get(found.end()..),
            _ => digits.strip_prefix("00"),
        }
    }

    /// The number without the digits that are only dialled inside the country; `coded` for one that may begin with the
    /// country's code, written without a plus sign.
    ///
    /// Of the ways to read it that give a length which phones of people have, the first is taken: without the digit of
    /// long-distance calls, as it stands, without the country's code. Then the same for all other numbers.
    fn national(&self, digits: &str, coded: bool) -> Result<String, &'static str> {
        let bare = self.without_trunk_prefix(digits);
        let uncoded = digits.strip_prefix(self.code).filter(|_| coded);
        let readings = [bare.clone(), Some(digits.to_owned())]
            .into_iter()
            .chain([uncoded.map(|rest| self.without_trunk_prefix(rest).unwrap_or(rest.into()))])
            .flatten();
        // Where a 0 is dialled before every number, none begins with it.
        let is_trunk =
            |number: &String| self.facts.national_prefix() == Some("0") && number.starts_with('0');
        let readings: Vec<String> = readings.filter(|number| !is_trunk(number)).collect();
        let facts = self.facts.descriptors();
        let of_people = [facts.fixed_line(), facts.mobile()];
        let of_others = [
            facts.voip(),
            facts.personal_number(),
            facts.toll_free(),
            facts.shared_cost(),
            facts.uan(),
            facts.pager(),
            facts.premium_rate(),
        ];
        let fits = |kinds: &[Option<&Descriptor>], lengths: fn(&Descriptor) -> &[u16]| {
            let possible = |number: &&String| {
                let mut kinds = kinds.iter().flatten();
                kinds.any(|kind| lengths(kind).contains(&(number.len() as u16)))
            };
            readings.iter().find(possible).cloned()
        };
        let found = fits(&of_people, Descriptor::possible_length)
            .or_else(|| fits(&of_others, Descriptor::possible_length));
        match found {
            // What is written must read as itself; it gets shorter each time.
            Some(found) if found != digits => self.national(&found, false),
            Some(found) => Ok(found),
            None => match fits(&of_people, Descriptor::possible_local_length) {
                Some(_) => Err(NO_AREA_CODE),
                None => Err(WRONG_LENGTH),
            },
        }
    }

    /// The number without its trunk prefix (mostly `0`, `1` in North America), where it has one; in some countries the
    /// code of a carrier or of mobile phones goes with it.
    fn without_trunk_prefix(&self, digits: &str) -> Option<String> {
        let Some(rule) = self.facts.national_prefix_for_parsing() else {
            let rest = digits.strip_prefix(self.facts.national_prefix()?)?;
            return Some(rest.to_owned());
        };
        let parts = rule.captures(digits)?;
        let whole = parts.get(0).filter(|whole| whole.start() == 0)?;
        match self.facts.national_prefix_transform_rule() {
            Some(form) if parts.get(parts.len() - 1).is_some() => {
                Some(rule.replace(digits, form).into_owned())
            }
            _ => Some(digits[whole.end()..].to_owned()),
        }
    }
}

/// A decimal digit as ASCII; of the scripts that phones are written in.
fn digit(c: char) -> Option<char> {
    let zero = match c {
        '0'..='9' => return Some(c),
        '\u{ff10}'..='\u{ff19}' => '\u{ff10}',
        '\u{660}'..='\u{669}' => '\u{660}',
        '\u{6f0}'..='\u{6f9}' => '\u{6f0}',
        '\u{966}'..='\u{96f}' => '\u{966}',
        _ => return None,
    };
    char::from_digit(u32::from(c) - u32::from(zero), 10)
}

fn is_plus(c: char) -> bool {
    matches!(c, '+' | '\u{ff0b}')
}

/// Whether a character may stand inside a number: blanks, dashes, brackets, and marks that copied text carries unseen.
fn is_punctuation(c: char) -> bool {
    matches!(
        c,
        '-' | '(' | ')' | '.' | '/' | '[' | ']' | '~' | '\u{ad}' | '\u{feff}'
    ) || matches!(c, '\u{2010}'..='\u{2015}' | '\u{2212}' | '\u{200b}'..='\u{200f}')
        || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}')
        || (c.is_whitespace() && !matches!(c, '\r' | '\n'))
}
