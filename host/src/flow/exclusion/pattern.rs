//! A text to compare with, in which `*` stands for any text.

use std::str::FromStr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A text in which `*` stands for any text, also none; small and capital letters are alike, and all of a value must fit.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(try_from = "String", into = "String")]
#[schema(value_type = String, example = "ZZ*")]
pub struct Pattern(String);

/// A text that is no pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a pattern is a text to compare with, such as ZZ*, and cannot be empty")]
pub struct NotAPattern;

impl Pattern {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether all of `value` fits.
    pub fn fits(&self, value: &str) -> bool {
        fits(&self.0, value)
    }
}

impl FromStr for Pattern {
    type Err = NotAPattern;

    fn from_str(text: &str) -> Result<Self, NotAPattern> {
        let text = text.trim();
        if text.is_empty() {
            return Err(NotAPattern);
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for Pattern {
    type Error = NotAPattern;

    fn try_from(text: String) -> Result<Self, NotAPattern> {
        text.parse()
    }
}

impl From<Pattern> for String {
    fn from(pattern: Pattern) -> Self {
        pattern.0
    }
}

/// Whether all of `value` fits `pattern`, as [`Pattern::fits`] has it.
///
/// Goes back to the last `*` where what follows it does not fit: no pattern takes longer than its length times the
/// value's.
pub fn fits(pattern: &str, value: &str) -> bool {
    let lower = |text: &str| text.chars().flat_map(char::to_lowercase).collect();
    let (pattern, value): (Vec<char>, Vec<char>) = (lower(pattern), lower(value));
    let (mut in_pattern, mut in_value) = (0, 0);
    let mut star = None;
    while in_value < value.len() {
        match pattern.get(in_pattern) {
            Some('*') => {
                star = Some((in_pattern, in_value));
                in_pattern += 1;
            }
            Some(letter) if *letter == value[in_value] => {
                in_pattern += 1;
                in_value += 1;
            }
            _ => match star {
                Some((at, taken)) => {
                    star = Some((at, taken + 1));
                    in_pattern = at + 1;
                    in_value = taken + 1;
                }
                None => return false,
            },
        }
    }
    pattern[in_pattern..].iter().all(|letter| *letter == '*')
}
