//! The script of the week: tables of a Markdown file, read into people and rows.
//!
//! Knows neither HL7 nor the host. What a row's details say is a list of clauses, each a word and what goes with it.

use std::collections::BTreeMap;
use std::fmt;

use anyhow::{Context, bail, ensure};
use jiff::civil;
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

/// Everybody and everything.
pub(super) struct Script {
    pub(super) people: BTreeMap<String, Person>,
    pub(super) rows: Vec<Row>,
}

/// One person, by the columns of the table.
#[derive(Debug, Clone)]
pub(super) struct Person(BTreeMap<String, String>);

/// One thing that happens.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) at: Zoned,
    pub(super) who: String,
    pub(super) what: String,
    pub(super) about: String,
    /// Word and what goes with it.
    details: Vec<(String, String)>,
    /// Details as they stand.
    pub(super) notes: Vec<String>,
}

/// Columns of people, and the lead fields that hold them.
const FIELDS: [(&str, &str); 8] = [
    ("family", "LastName"),
    ("given", "FirstName"),
    ("born", "mx_Date_of_Birth"),
    ("sex", "mx_Gender"),
    ("phone", "Phone"),
    ("email", "EmailAddress"),
    ("street", "mx_Street1"),
    ("city", "mx_City"),
];

impl Script {
    pub(super) fn parse(text: &str) -> anyhow::Result<Self> {
        let (mut people, mut rows) = (BTreeMap::new(), Vec::new());
        let mut day: Option<civil::Date> = None;
        let mut columns: Vec<&str> = Vec::new();
        for line in text.lines() {
            if let Some(title) = line.strip_prefix("## ") {
                day = match title.rsplit_once(", ") {
                    Some((_, date)) => Some(date.parse()?),
                    None => None,
                };
                columns.clear();
            }
            let Some(cells) = line
                .strip_prefix('|')
                .and_then(|line| line.strip_suffix('|'))
            else {
                continue;
            };
            let cells: Vec<&str> = cells.split('|').map(str::trim).collect();
            if columns.is_empty() {
                columns = cells;
                continue;
            }
            if cells[0].starts_with("---") {
                continue;
            }
            ensure!(
                cells.len() == columns.len(),
                "a cell too few or too many: {line}"
            );
            match day {
                None => {
                    let values = columns.iter().zip(&cells);
                    let values = values.map(|(column, cell)| ((*column).into(), (*cell).into()));
                    people.insert(cells[0].to_owned(), Person(values.collect()));
                }
                Some(day) => {
                    let row = Row::parse(day, &cells).with_context(|| line.to_owned())?;
                    rows.push(row);
                }
            }
        }
        Ok(Self { people, rows })
    }
}

impl Person {
    pub(super) fn get(&self, column: &str) -> &str {
        self.0.get(column).map_or("", String::as_str)
    }

    pub(super) fn set(&mut self, column: &str, value: &str) {
        self.0.insert(column.to_owned(), value.to_owned());
    }

    /// Digits of the phone, area code first.
    pub(super) fn digits(&self) -> String {
        self.get("phone")
            .chars()
            .filter(char::is_ascii_digit)
            .collect()
    }

    /// What people type into a lead.
    pub(super) fn as_lead(&self) -> Vec<(&'static str, String)> {
        let values = FIELDS.iter().map(|(column, field)| {
            let value = match (*column, self.get(column)) {
                ("sex", "F") => "Female".to_owned(),
                ("sex", _) => "Male".to_owned(),
                (_, value) => value.to_owned(),
            };
            (*field, value)
        });
        values.collect()
    }
}

impl Row {
    fn parse(day: civil::Date, cells: &[&str]) -> anyhow::Result<Self> {
        let [at, who, what, about, details] = cells else {
            bail!("five columns: at, who, does what, for whom, details");
        };
        let mut row = Self {
            at: moment(&format!("{day} {at}"))?.0,
            who: (*who).to_owned(),
            what: (*what).to_owned(),
            about: (*about).to_owned(),
            details: Vec::new(),
            notes: details
                .split(';')
                .map(|note| note.trim().to_owned())
                .collect(),
        };
        for clause in &row.notes {
            // What stands in brackets is for people.
            let said = clause.split('(').next().unwrap_or_default().trim();
            if said.is_empty() {
                continue;
            }
            let (word, rest) = said.split_once(' ').unwrap_or((said, ""));
            let known = [
                "visit",
                "on",
                "for",
                "waits",
                "protected",
                "registration",
                "appointment",
                "phone",
                "city",
                "street",
                "email",
                "given",
                "instead",
                "deceased",
                "happened",
            ];
            ensure!(known.contains(&word), "{word:?} is no detail");
            row.details.push((word.to_owned(), rest.trim().to_owned()));
        }
        Ok(row)
    }

    /// What goes with a word of the details.
    pub(super) fn get(&self, word: &str) -> Option<&str> {
        let (_, rest) = self.details.iter().find(|(known, _)| known == word)?;
        Some(rest)
    }

    /// Whether what comes of it cannot be seen before the next row.
    pub(super) fn waits(&self) -> bool {
        self.get("waits").is_some()
    }

    /// When a visit begins, and whether the script says which of two.
    pub(super) fn starts(&self) -> anyhow::Result<Option<(Zoned, bool)>> {
        self.get("on").map(moment).transpose()
    }

    /// When it happened, where that is not when it is told.
    pub(super) fn happened(&self) -> anyhow::Result<Zoned> {
        match self.get("happened") {
            Some(text) => Ok(moment(text)?.0),
            None => Ok(self.at.clone()),
        }
    }

    /// Makes a person what the row says.
    pub(super) fn change(&self, person: &mut Person) {
        for column in ["phone", "city", "street", "email", "given"] {
            if let Some(value) = self.get(column) {
                person.set(column, value.strip_prefix("none").unwrap_or(value));
            }
        }
        for mark in ["protected", "deceased"] {
            if self.get(mark).is_some() {
                person.set(mark, "Y");
            }
        }
    }

    /// Whether the row changes what a lead field holds.
    pub(super) fn touches(&self, field: &str) -> bool {
        let column = FIELDS.iter().find(|(_, known)| *known == field);
        column.is_some_and(|(column, _)| self.get(column).is_some())
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.who, self.what)?;
        if !self.about.is_empty() {
            write!(f, " {}", self.about)?;
        }
        Ok(())
    }
}

/// The zone of everybody in the script.
pub(super) fn zone() -> anyhow::Result<TimeZone> {
    Ok(TimeZone::get("America/New_York")?)
}

/// `2026-11-01 01:30 EST`: a local time, and whether it says which of two.
fn moment(text: &str) -> anyhow::Result<(Zoned, bool)> {
    let (local, offset) = match text.rsplit_once(' ') {
        Some((local, "EDT")) => (local, Some(-4)),
        Some((local, "EST")) => (local, Some(-5)),
        _ => (text, None),
    };
    let at: civil::DateTime = local.replace(' ', "T").parse()?;
    let zone = zone()?;
    Ok(match offset {
        Some(hours) => {
            let instant: Timestamp = jiff::tz::offset(hours).to_timestamp(at)?;
            (instant.to_zoned(zone), true)
        }
        None => (at.to_zoned(zone)?, false),
    })
}
