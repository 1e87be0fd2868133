//! A code table: what a sender's codes stand for, kept by an administrator.
//!
//! A release names the table at one version ([`TableVersion`]), so that a replay sees what was looked up then; saving the
//! table makes new releases of the flows that use it. [`CodeTable::find`] is the look-up, [`csv`] the form for files.

pub mod csv;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::check::{Fault, is_no_id};
use super::{AccountId, Digest};

/// The largest table, in codes.
pub const MAX_ENTRIES: usize = 100_000;

const MAX_COLUMNS: usize = 16;
const MAX_NAME_BYTES: usize = 200;
const MAX_CODE_BYTES: usize = 200;
const MAX_VALUE_BYTES: usize = 4_096;

/// The only column of a table that names none.
pub const VALUE: &str = "value";

/// Codes and what they stand for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CodeTable {
    pub account: AccountId,
    pub name: String,
    /// What is known of a code, in this order; the first is what a code is translated to.
    #[serde(default = "one_column")]
    pub columns: Vec<String>,
    /// `icu` finds the entry of `ICU`; letters of any script.
    #[serde(default)]
    pub ignore_case: bool,
    /// What a code without an entry stands for.
    #[serde(default)]
    pub otherwise: Otherwise,
    /// A value for each column.
    pub entries: BTreeMap<String, Vec<String>>,
}

/// What a code without an entry stands for.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Otherwise {
    /// Nothing: the mapping decides what happens, and the code is shown to the administrator.
    #[default]
    Nothing,
    /// These values; the code is shown all the same.
    Default(Vec<String>),
    /// Itself, in every column.
    PassThrough,
}

/// One version of a table, as a release names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TableVersion {
    /// The account's name of the table.
    pub name: String,
    pub digest: Digest,
}

/// What a table says of a code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found<'a> {
    /// A value for each column; none where a code without an entry stands for nothing.
    pub row: Option<Cow<'a, [String]>>,
    /// Whether the table has no entry, whatever it stands for then.
    pub is_miss: bool,
}

fn one_column() -> Vec<String> {
    vec![VALUE.to_owned()]
}

impl CodeTable {
    /// A table of one column without entries.
    pub fn new(account: AccountId, name: String) -> Self {
        Self {
            account,
            name,
            columns: one_column(),
            ignore_case: false,
            otherwise: Otherwise::default(),
            entries: BTreeMap::new(),
        }
    }

    /// The digest of all that the table says; maps are sorted, so equal tables have equal digests.
    pub fn digest(&self) -> Digest {
        let text = serde_json::to_string(self).expect("maps with text keys serialize");
        Digest::of(text.as_bytes())
    }

    /// What is wrong with it, each with its place.
    pub fn check(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        let mut say = |path: String, text: String| faults.push(Fault::new(&path, text));
        let is_name = |text: &str| {
            !text.trim().is_empty()
                && text.len() <= MAX_NAME_BYTES
                && !text.chars().any(char::is_control)
        };
        let names = format!("takes 1 to {MAX_NAME_BYTES} bytes without control characters");
        if !is_name(&self.name) {
            say("name".into(), names.clone());
        } else if self.name.contains(is_no_id) {
            say("name".into(), "takes no slashes".into());
        }
        if self.columns.is_empty() || self.columns.len() > MAX_COLUMNS {
            say("columns".into(), format!("takes 1 to {MAX_COLUMNS} names"));
        }
        for (at, column) in self.columns.iter().enumerate() {
            if !is_name(column) || column == csv::CODE {
                let text = format!("{names}, and not `{}`", csv::CODE);
                say(format!("columns.{at}"), text);
            }
            if self.columns[..at].contains(column) {
                let text = format!("{column} is there already");
                say(format!("columns.{at}"), text);
            }
        }
        if self.entries.len() > MAX_ENTRIES {
            let text = format!("takes at most {MAX_ENTRIES} codes");
            say("entries".into(), text);
        }
        let width = self.columns.len();
        let count = |row: &[String]| {
            (row.len() != width).then(|| {
                format!(
                    "takes a value for each of the {width} columns, not {}",
                    row.len()
                )
            })
        };
        for (code, row) in &self.entries {
            let place = || format!("entries.{code}");
            if code.is_empty() || code.len() > MAX_CODE_BYTES {
                let text = format!("a code takes 1 to {MAX_CODE_BYTES} bytes");
                say(place(), text);
            }
            if let Some(text) = count(row) {
                say(place(), text);
            }
            if row.iter().any(|value| value.len() > MAX_VALUE_BYTES) {
                say(
                    place(),
                    format!("a value takes at most {MAX_VALUE_BYTES} bytes"),
                );
            }
        }
        if let Otherwise::Default(row) = &self.otherwise
            && let Some(text) = count(row)
        {
            say("otherwise.default".into(), text);
        }
        if self.ignore_case {
            let mut seen: BTreeMap<String, &str> = BTreeMap::new();
            for code in self.entries.keys() {
                match seen.entry(code.to_lowercase()) {
                    Entry::Occupied(other) => {
                        let text = format!("is {} as well when case is ignored", other.get());
                        say(format!("entries.{code}"), text);
                    }
                    Entry::Vacant(free) => {
                        free.insert(code);
                    }
                }
            }
        }
        faults
    }

    /// Where a column stands.
    pub fn column(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column == name)
    }

    /// What the table says of a code; `folded` is [`CodeTable::folded`].
    fn find<'a>(&'a self, folded: &'a BTreeMap<String, String>, code: &str) -> Found<'a> {
        let own = self.entries.get(code).or_else(|| {
            let entry = self.ignore_case.then(|| folded.get(&code.to_lowercase()));
            self.entries.get(entry??)
        });
        let row = match (own, &self.otherwise) {
            (Some(row), _) => Some(Cow::Borrowed(row.as_slice())),
            (None, Otherwise::Nothing) => None,
            (None, Otherwise::Default(row)) => Some(Cow::Borrowed(row.as_slice())),
            (None, Otherwise::PassThrough) => {
                Some(Cow::Owned(vec![code.to_owned(); self.columns.len()]))
            }
        };
        // What passes through needs nobody's attention.
        let is_miss = own.is_none() && self.otherwise != Otherwise::PassThrough;
        Found { row, is_miss }
    }

    /// Lower case to the codes as they are written, where case is ignored.
    fn folded(&self) -> BTreeMap<String, String> {
        let codes = self.entries.keys().filter(|_| self.ignore_case);
        codes
            .map(|code| (code.to_lowercase(), code.clone()))
            .collect()
    }
}

/// A table ready to be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lookup {
    table: CodeTable,
    folded: BTreeMap<String, String>,
}

impl From<CodeTable> for Lookup {
    fn from(table: CodeTable) -> Self {
        Self {
            folded: table.folded(),
            table,
        }
    }
}

impl Lookup {
    /// What the table says of a code.
    pub fn find(&self, code: &str) -> Found<'_> {
        self.table.find(&self.folded, code)
    }

    pub fn table(&self) -> &CodeTable {
        &self.table
    }
}

#[cfg(test)]
mod tests;
