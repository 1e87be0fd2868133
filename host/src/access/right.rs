//! What a caller may do.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

/// One thing that a caller may do; none includes another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Right {
    /// See configuration, and messages without their values.
    View,
    /// Pause flows, release deliveries.
    Operate,
    /// Change flows, mappings and code tables.
    Map,
    /// Upload components and put flows in force.
    Publish,
    /// See values of messages.
    SeePatientData,
    /// Change accounts, channels and fields of LeadSquared.
    Administer,
    /// Read who changed what.
    Audit,
}

impl Right {
    pub const ALL: [Right; 7] = [
        Right::View,
        Right::Operate,
        Right::Map,
        Right::Publish,
        Right::SeePatientData,
        Right::Administer,
        Right::Audit,
    ];

    /// The word on the command line and in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            Right::View => "view",
            Right::Operate => "operate",
            Right::Map => "map",
            Right::Publish => "publish",
            Right::SeePatientData => "see-patient-data",
            Right::Administer => "administer",
            Right::Audit => "audit",
        }
    }

    fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|right| right.as_str() == word)
    }
}

/// A set of rights, written with blanks between the words.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rights(BTreeSet<Right>);

/// A word that names no right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no right: write one or more of view, operate, map, publish, see-patient-data, administer and audit, \
     with commas between them, or all"
)]
pub struct NoRight(String);

impl Rights {
    pub fn holds(&self, right: Right) -> bool {
        self.0.contains(&right)
    }

    /// What both hold.
    pub fn both(&self, other: &Rights) -> Self {
        Self(self.0.intersection(&other.0).copied().collect())
    }

    /// The words that this program knows; what a newer one gave is not held here.
    pub fn known(text: &str) -> Self {
        Self(text.split_whitespace().filter_map(Right::parse).collect())
    }
}

impl FromStr for Rights {
    type Err = NoRight;

    /// Reads `view,map`, or `all`, which leaves patient data out: who may see those is said by name.
    fn from_str(text: &str) -> Result<Self, NoRight> {
        let mut rights = BTreeSet::new();
        let words = text.split(|c: char| c == ',' || c.is_whitespace());
        for word in words.filter(|word| !word.is_empty()) {
            match Right::parse(word) {
                Some(right) => drop(rights.insert(right)),
                None if word == "all" => rights.extend(
                    Right::ALL
                        .into_iter()
                        .filter(|right| *right != Right::SeePatientData),
                ),
                None => return Err(NoRight(word.into())),
            }
        }
        if rights.is_empty() {
            return Err(NoRight(text.into()));
        }
        Ok(Self(rights))
    }
}

impl fmt::Display for Rights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<_> = self.0.iter().map(|right| right.as_str()).collect();
        f.write_str(&words.join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        let read = match text.parse::<Rights>() {
            Ok(rights) => rights.to_string(),
            Err(NoRight(word)) => format!("not {word}"),
        };
        assert_eq!(read, expected, "{text:?}");
    }

    #[test]
    fn rights_are_read_and_written() {
        check("view", "view");
        check("map, view", "view map");
        check("view,see-patient-data", "view see-patient-data");
        check("all", "view operate map publish administer audit");
        check(
            "all,see-patient-data",
            "view operate map publish see-patient-data administer audit",
        );
        check("", "not ");
        check("view,root", "not root");
        assert_eq!(Rights::known("view later").to_string(), "view");
    }
}
