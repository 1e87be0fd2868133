//! What a run leaves behind beside its answer: lines of log, warnings, codes without an entry.

use std::fmt;

/// A line that the component wrote; may hold patient data, so it is sealed with the delivery.
#[derive(Clone, PartialEq, Eq)]
pub struct LogLine {
    pub level: Level,
    pub text: String,
}

/// How a component rates its line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    Debug,
    Info,
    Warn,
}

/// A row whose value was not used as it came, while the message went on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// A row of the manifest; none where the component named another, whose name may be patient data.
    pub row: Option<String>,
    /// Where the value is, as its segment and field, or a field of LeadSquared; empty if nowhere.
    pub path: String,
    pub cause: Cause,
    /// Whether something else was written instead of nothing.
    pub defaulted: bool,
}

/// Why a value was not used as it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    Malformed,
    UnmappedCode,
    SeveralValues,
    TooMany,
}

impl Cause {
    /// A stable word for counters and the store.
    pub fn code(self) -> &'static str {
        match self {
            Cause::Malformed => "malformed",
            Cause::UnmappedCode => "unmapped-code",
            Cause::SeveralValues => "several-values",
            Cause::TooMany => "too-many",
        }
    }

    /// What is wrong with the value, to be read after the row's name.
    pub fn words(self) -> &'static str {
        match self {
            Cause::Malformed => "it is not of the form that the mapping expects",
            Cause::UnmappedCode => "its code has no entry",
            Cause::SeveralValues => "the message has several values for it",
            Cause::TooMany => "the message has more of them than the mapping takes",
        }
    }
}

/// A code that its table has no entry for; the code may be patient data.
#[derive(Clone, PartialEq, Eq)]
pub struct Miss {
    /// The account's name of the table.
    pub table: String,
    pub code: String,
}

impl Level {
    pub fn as_str(self) -> &'static str {
        match self {
            Level::Debug => "debug",
            Level::Info => "info",
            Level::Warn => "warn",
        }
    }
}

impl fmt::Debug for Miss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Miss({}, redacted)", self.table)
    }
}
