//! A place in a message: `PID-5.1`, `OBX[2]-5`, `PID-3[.5='MR' and .4='CLINIC'].1`.
//!
//! One grammar for the command line, mapping documents, grants and components:
//!
//! ```text
//! path       = segment [ "[" index "]" ] [ ( "-" | "." ) field [ conditions ] [ "[" index "]" ] [ "." component [ "." subcomponent ] ] ]
//! conditions = "[" condition { "and" condition } "]"
//! condition  = "." component [ "." subcomponent ] "=" "'" text "'"          -- '' stands for one quote
//! index      = number from 1 | "*"
//! ```
//!
//! A condition compares the decoded first leaf; `'""'` holds for null, `''` for absent.

use std::fmt;
use std::str::FromStr;

use super::message::{Content, Repetition};
use super::parse;

mod grammar;

pub use grammar::Error;

/// A place in a message; elements are counted from 1, and what is left out is the first.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Path {
    name: [u8; 3],
    occurrence: Index,
    field: Option<u16>,
    conditions: Vec<Condition>,
    repetition: Index,
    component: Option<u16>,
    subcomponent: Option<u16>,
}

/// Which of several.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Index {
    /// Not written: the first, and every one where hits are listed under a condition.
    #[default]
    Unset,
    /// Counted from 1.
    Nth(u16),
    /// `*`
    Every,
}

impl Index {
    /// How many to skip and how many to take.
    pub(super) fn range(self) -> (usize, usize) {
        match self {
            Index::Unset => (0, 1),
            Index::Nth(nth) => (usize::from(nth) - 1, 1),
            Index::Every => (0, usize::MAX),
        }
    }

    /// The position of the first one meant, from 0.
    pub(super) fn position(self) -> usize {
        self.range().0
    }
}

/// A test of one leaf of a repetition.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Condition {
    component: u16,
    subcomponent: Option<u16>,
    value: String,
}

impl Condition {
    pub(super) fn holds(&self, repetition: &Repetition<'_>) -> bool {
        match repetition.leaf(self.component, self.subcomponent.unwrap_or(1)) {
            Content::Absent => self.value.is_empty(),
            Content::Null => self.value == "\"\"",
            Content::Text(text) => text == self.value,
        }
    }
}

impl Path {
    /// The path of a whole segment or field; `None` if `segment` is no segment id or `field` is 0.
    pub fn new(segment: &str, field: Option<u16>) -> Option<Self> {
        let name: [u8; 3] = segment.as_bytes().try_into().ok()?;
        if !parse::is_name(&name) || field == Some(0) {
            return None;
        }
        Some(Self {
            name: name.map(|byte| byte.to_ascii_uppercase()),
            occurrence: Index::Unset,
            field,
            conditions: Vec::new(),
            repetition: Index::Unset,
            component: None,
            subcomponent: None,
        })
    }

    /// The segment id in upper case.
    pub fn segment(&self) -> &str {
        std::str::from_utf8(&self.name).unwrap_or_default()
    }

    /// Which of the segments of that id: the number in `OBX[2]`.
    pub fn occurrence(&self) -> Index {
        self.occurrence
    }

    /// The field, counted from 1; `None` for a whole segment.
    pub fn field(&self) -> Option<u16> {
        self.field
    }

    /// Which repetition of the field, or which of those that the conditions take.
    pub fn repetition(&self) -> Index {
        self.repetition
    }

    /// The component, counted from 1.
    pub fn component(&self) -> Option<u16> {
        self.component
    }

    /// The subcomponent, counted from 1.
    pub fn subcomponent(&self) -> Option<u16> {
        self.subcomponent
    }

    /// Whether repetitions are chosen by what they hold.
    pub fn is_conditional(&self) -> bool {
        !self.conditions.is_empty()
    }

    /// Whether a grant of this path is a grant of `other`: `PID` covers `PID-5.1`, `PID-5` covers `PID-5[2].1`.
    ///
    /// Indices and conditions play no part: a field is granted with all its repetitions.
    pub fn covers(&self, other: &Path) -> bool {
        fn within(granted: Option<u16>, asked: Option<u16>) -> bool {
            granted.is_none() || granted == asked
        }
        self.name == other.name
            && within(self.field, other.field)
            && within(self.component, other.component)
            && within(self.subcomponent, other.subcomponent)
    }

    /// What reading this path looks at: each leaf that a condition tests, then the path itself.
    pub fn reads(&self) -> Vec<Path> {
        let tested = self.conditions.iter().map(|condition| Path {
            conditions: Vec::new(),
            repetition: Index::Unset,
            component: Some(condition.component),
            subcomponent: condition.subcomponent,
            ..self.clone()
        });
        tested.chain([self.clone()]).collect()
    }

    /// The same path for the `nth` hit (from 1) of its repetition.
    pub fn nth(&self, nth: u16) -> Path {
        Path {
            repetition: Index::Nth(nth.max(1)),
            ..self.clone()
        }
    }

    /// The same conditions, indices and components in another field, read in every segment of its name.
    ///
    /// `None` if `segment` is no segment id or `field` is 0.
    pub fn moved_to(&self, segment: &str, field: u16) -> Option<Path> {
        let place = Path::new(segment, Some(field))?;
        Some(Path {
            name: place.name,
            occurrence: Index::Every,
            field: place.field,
            ..self.clone()
        })
    }

    pub(super) fn name(&self) -> [u8; 3] {
        self.name
    }

    pub(super) fn conditions(&self) -> &[Condition] {
        &self.conditions
    }

    /// Whether this is a field with all its repetitions.
    pub(super) fn is_whole_field(&self) -> bool {
        self.field.is_some()
            && self.component.is_none()
            && self.is_first_repetition()
            && self.occurrence != Index::Every
    }

    /// Whether nothing says which repetition is meant.
    pub(super) fn is_first_repetition(&self) -> bool {
        self.conditions.is_empty() && self.repetition == Index::Unset
    }

    /// Under conditions every repetition that they take is a hit, unless an index picks one.
    pub(super) fn repetition_range(&self) -> (usize, usize) {
        match self.repetition {
            Index::Unset if self.is_conditional() => Index::Every.range(),
            index => index.range(),
        }
    }
}

impl FromStr for Path {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        grammar::parse(text)
    }
}

impl TryFrom<String> for Path {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl From<Path> for String {
    fn from(path: Path) -> Self {
        path.to_string()
    }
}

impl serde::Serialize for Path {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Path {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.segment())?;
        self.occurrence.fmt(f)?;
        let Some(field) = self.field else {
            return Ok(());
        };
        write!(f, "-{field}")?;
        for (position, condition) in self.conditions.iter().enumerate() {
            write!(
                f,
                "{}.{}",
                if position == 0 { "[" } else { " and " },
                condition.component
            )?;
            if let Some(subcomponent) = condition.subcomponent {
                write!(f, ".{subcomponent}")?;
            }
            write!(f, "='{}'", condition.value.replace('\'', "''"))?;
        }
        if self.is_conditional() {
            f.write_str("]")?;
        }
        self.repetition.fmt(f)?;
        for part in [self.component, self.subcomponent].into_iter().flatten() {
            write!(f, ".{part}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Index {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Index::Unset => Ok(()),
            Index::Nth(nth) => write!(f, "[{nth}]"),
            Index::Every => f.write_str("[*]"),
        }
    }
}

impl fmt::Debug for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Path({self})")
    }
}
