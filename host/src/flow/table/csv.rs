//! Code tables as CSV: a heading `code` and the columns, then a line for each code.
//!
//! What a spreadsheet writes is taken: a byte order mark, semicolons or tabs instead of commas, empty lines. What is
//! written is plain RFC 4180 with commas, and an apostrophe before what a spreadsheet would take for a formula; reading
//! takes it away again.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::{CodeTable, MAX_ENTRIES};

/// The heading of the first column.
pub const CODE: &str = "code";

/// Columns and entries of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sheet {
    pub columns: Vec<String>,
    pub entries: BTreeMap<String, Vec<String>>,
}

/// Why a text is no table; lines count from 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("the text is empty: its first line names the columns, `code` and `value`")]
    Empty,
    #[error("line 1 names the columns and begins with `code`, not {0:?}")]
    Heading(String),
    #[error("line 1 has one column: name what the codes stand for behind `code`, such as `value`")]
    OneColumn,
    #[error("line {line} has {found} values where the heading has {expected}")]
    Width {
        line: u64,
        found: usize,
        expected: usize,
    },
    #[error("line {line} has no code")]
    NoCode { line: u64 },
    #[error("line {line} repeats the code of line {first}")]
    Repeated { line: u64, first: u64 },
    #[error("more than {MAX_ENTRIES} codes")]
    TooMany,
    #[error("line {line} is not UTF-8: save the file as \"CSV UTF-8\"")]
    NotUtf8 { line: u64 },
    #[error("{0}")]
    Unreadable(String),
}

/// Reads a table.
///
/// # Errors
/// The first line that cannot be taken, and why.
pub fn read(bytes: &[u8]) -> Result<Sheet, Error> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let heading = bytes
        .split(|byte| *byte == b'\n')
        .next()
        .unwrap_or_default();
    let mut reader = ::csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .delimiter(delimiter(heading))
        .from_reader(bytes);
    let mut columns: Option<Vec<String>> = None;
    let mut entries = BTreeMap::new();
    let mut lines = BTreeMap::new();
    for record in reader.records() {
        let record = record.map_err(unreadable)?;
        let line = record.position().map_or(0, ::csv::Position::line);
        if record.iter().all(str::is_empty) {
            continue;
        }
        let Some(columns) = &columns else {
            let mut names = record.iter().map(|name| plain(name.trim()));
            let first = names.next().unwrap_or_default();
            if !first.eq_ignore_ascii_case(CODE) {
                return Err(Error::Heading(first));
            }
            let names: Vec<_> = names.collect();
            if names.is_empty() {
                return Err(Error::OneColumn);
            }
            columns = Some(names);
            continue;
        };
        let mut values = record.iter().map(plain);
        let code = values.next().unwrap_or_default();
        let row: Vec<_> = values.collect();
        if row.len() != columns.len() {
            return Err(Error::Width {
                line,
                found: row.len() + 1,
                expected: columns.len() + 1,
            });
        }
        if code.is_empty() {
            return Err(Error::NoCode { line });
        }
        if let Some(first) = lines.insert(code.clone(), line) {
            return Err(Error::Repeated { line, first });
        }
        entries.insert(code, row);
        if entries.len() > MAX_ENTRIES {
            return Err(Error::TooMany);
        }
    }
    let columns = columns.ok_or(Error::Empty)?;
    Ok(Sheet { columns, entries })
}

/// Which of the usual three divides the heading.
fn delimiter(heading: &[u8]) -> u8 {
    let count = |delimiter: u8| heading.iter().filter(|byte| **byte == delimiter).count();
    let usual = [b',', b';', b'\t'];
    // The first of equals: the last maximum would be the tab.
    let best = usual.into_iter().rev().max_by_key(|it| count(*it));
    best.unwrap_or(b',')
}

fn unreadable(fault: ::csv::Error) -> Error {
    let line = fault.position().map_or(0, ::csv::Position::line);
    match fault.kind() {
        ::csv::ErrorKind::Utf8 { .. } => Error::NotUtf8 { line },
        _ => Error::Unreadable(fault.to_string()),
    }
}

/// A value that a spreadsheet takes for text: one that would be a formula has an apostrophe before it, and so has one
/// that looks like such a value already, so that [`plain`] gives every value back.
fn harmless(value: &str) -> Cow<'_, str> {
    match is_formula(value.trim_start_matches('\'')) {
        true => Cow::Owned(format!("'{value}")),
        false => Cow::Borrowed(value),
    }
}

fn plain(value: &str) -> String {
    let inner = value.strip_prefix('\'');
    let inner = inner.filter(|inner| is_formula(inner.trim_start_matches('\'')));
    inner.unwrap_or(value).to_owned()
}

/// Whether a spreadsheet would take a value for a formula.
pub fn is_formula(value: &str) -> bool {
    value.starts_with(['=', '+', '-', '@', '\t', '\r'])
}

/// Writes a table.
pub fn write(table: &CodeTable) -> Vec<u8> {
    let mut writer = ::csv::Writer::from_writer(Vec::new());
    let columns = table.columns.iter().map(|name| harmless(name));
    let heading = std::iter::once(Cow::Borrowed(CODE)).chain(columns);
    let written = writer
        .write_record(heading.map(Cow::into_owned))
        .and_then(|()| {
            table.entries.iter().try_for_each(|(code, row)| {
                let values = std::iter::once(code).chain(row);
                writer.write_record(values.map(|value| harmless(value).into_owned()))
            })
        });
    written.expect("memory takes everything, and every row has the same width");
    writer.into_inner().expect("memory takes everything")
}
