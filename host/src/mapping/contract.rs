//! Which versions of the contract in `wit/` this host serves, and what becomes of a component of another one.
//!
//! A component names the version that it was built for in each of its imports and exports. What a major version exports
//! is frozen and what it imports only grows, so a host serves every version of a major up to its own, and cannot serve a
//! later one: the component may ask what this host does not know.
//! Grants are decided in one place below all versions, [`grants`](super::grants).

use std::fmt;

/// The package whose interfaces a component may import.
pub(crate) const PACKAGE: &str = "ligature:mapping/";

/// The newest version of each major that is served.
pub const SERVED: [Version; 1] = [Version {
    major: 1,
    minor: 0,
    patch: 0,
}];

/// A version of the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    pub major: u64,
    pub minor: u64,
    pub patch: u64,
}

/// Why a version is not served; to be read after "is built for …, this host serves …; ".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unserved {
    /// It says none that can be read.
    Nameless,
    /// It is of a draft.
    Draft,
    /// It is of a major, or of a minor of a served major, that came after this host.
    Newer,
}

impl Version {
    /// Reads `1.0.0`.
    pub fn parse(text: &str) -> Option<Self> {
        let mut numbers = text.split('.').map(|number| number.parse().ok());
        let version = Self {
            major: numbers.next()??,
            minor: numbers.next()??,
            patch: numbers.next()??,
        };
        numbers.next().is_none().then_some(version)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

impl Unserved {
    pub(crate) fn advice(self) -> &'static str {
        match self {
            Self::Nameless => "it names no version: build it against the wit/ folder of this host",
            Self::Draft => {
                "that is a draft which was never released: build it against the wit/ folder of this host"
            }
            Self::Newer => {
                "bring the host up to date, or build the component against the wit/ folder of this host"
            }
        }
    }
}

/// Splits `ligature:mapping/hl7@1.0.0` into the interface and its version; none of another package.
pub(crate) fn parts(name: &str) -> Option<(&str, &str)> {
    let rest = name.strip_prefix(PACKAGE)?;
    Some(rest.split_once('@').unwrap_or((rest, "")))
}

/// Whether a component of `version` can run here.
pub(crate) fn check(version: &str) -> Result<Version, Unserved> {
    let version = Version::parse(version).ok_or(Unserved::Nameless)?;
    if version.major == 0 {
        return Err(Unserved::Draft);
    }
    let mut served = SERVED.iter();
    let newest = served.find(|served| served.major == version.major);
    // A patch changes words of the text alone.
    match newest.is_some_and(|newest| version.minor <= newest.minor) {
        true => Ok(version),
        false => Err(Unserved::Newer),
    }
}

/// What is served, for sentences: `1.0`.
pub(crate) fn served() -> String {
    let served = SERVED.map(|version| match version.minor {
        0 => format!("{}.0", version.major),
        minor => format!("{}.0 to {0}.{minor}", version.major),
    });
    served.join(" and ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_up_to_the_newest_of_their_major_are_served() {
        let said = |text: &str, expected: Result<(), Unserved>| {
            assert_eq!(check(text).map(drop), expected, "{text}");
        };
        said("1.0.0", Ok(()));
        said("1.0.7", Ok(()));
        said("1.1.0", Err(Unserved::Newer));
        said("2.0.0", Err(Unserved::Newer));
        said("0.1.0", Err(Unserved::Draft));
        said("", Err(Unserved::Nameless));
        said("1.0", Err(Unserved::Nameless));
        said("1.0.0.0", Err(Unserved::Nameless));
        assert_eq!(served(), "1.0");
    }

    #[test]
    fn an_import_is_an_interface_and_its_version() {
        assert_eq!(parts("ligature:mapping/hl7@1.0.0"), Some(("hl7", "1.0.0")));
        assert_eq!(parts("ligature:mapping/hl7"), Some(("hl7", "")));
        assert_eq!(parts("wasi:cli/environment@0.2.6"), None);
    }
}
