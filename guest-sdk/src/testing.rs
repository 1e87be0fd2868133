//! Native stand-ins for the host, so that a mapping is tested with `cargo test` and nothing else.
//!
//! A [`StandIn`] message answers exactly the paths it was given, absent for every other; it does not parse HL7.
//! A [`ChangeStandIn`] answers the fields it was given, before and after, as the host would.
//! `ligature plugin run` runs the component against a real message with the host's own code.
//! Settings and tables belong to the thread, which in `cargo test` is the test.

use std::cell::RefCell;
use std::collections::BTreeMap;

use crate::change::parse;
use crate::{AccessError, Content, Entity, Moment};

/// A message of path and value pairs; `""` written as value is HL7's null.
pub fn message<'a>(values: impl IntoIterator<Item = (&'a str, &'a str)>) -> StandIn {
    let mut message = StandIn::default();
    for (path, value) in values {
        let content = match value {
            "\"\"" => Content::Null,
            text => Content::Text(text.into()),
        };
        message.values.entry(path.into()).or_default().push(content);
    }
    message
}

/// A change after which fields (`lead.FirstName`, `activity.mx_Custom_1`) hold these values; an empty one is an empty field.
pub fn change<'a>(after: impl IntoIterator<Item = (&'a str, &'a str)>) -> ChangeStandIn {
    ChangeStandIn {
        before: Fields::new(),
        after: fields(after),
    }
}

fn fields<'a>(values: impl IntoIterator<Item = (&'a str, &'a str)>) -> Fields {
    let values = values.into_iter();
    values
        .map(|(field, value)| (field.into(), value.into()))
        .collect()
}

/// Sets a setting of the flow for this thread.
pub fn set(name: &str, value: &str) {
    HOST.with_borrow_mut(|host| host.settings.insert(name.into(), value.into()));
}

/// Adds an entry to a code table for this thread; its columns are what [`codes::look_up`] answers.
pub fn add_code<'a>(
    table: &str,
    code: &str,
    columns: impl IntoIterator<Item = (&'a str, &'a str)>,
) {
    let columns = columns
        .into_iter()
        .map(|(name, value)| (name.into(), value.into()))
        .collect();
    HOST.with_borrow_mut(|host| {
        let table = host.tables.entry(table.into()).or_default();
        table.insert(code.into(), columns);
    });
}

/// The lines logged on this thread so far.
pub fn logged() -> Vec<String> {
    HOST.with_borrow(|host| host.log.clone())
}

/// The rows warned of on this thread so far.
pub fn warned() -> Vec<String> {
    HOST.with_borrow(|host| host.warnings.clone())
}

thread_local! {
    static HOST: RefCell<Host> = RefCell::default();
}

type Columns = BTreeMap<String, String>;

#[derive(Default)]
struct Host {
    settings: BTreeMap<String, String>,
    tables: BTreeMap<String, BTreeMap<String, Columns>>,
    log: Vec<String>,
    warnings: Vec<String>,
}

/// A message that answers the paths it was given; several values of one path are its hits.
#[derive(Debug, Clone, Default)]
pub struct StandIn {
    values: BTreeMap<String, Vec<Content>>,
}

impl StandIn {
    fn all(&self, path: &str) -> Vec<Content> {
        self.values.get(path).cloned().unwrap_or_default()
    }

    pub(crate) fn get(&self, path: &str) -> Result<Content, AccessError> {
        let first = self.all(path).into_iter().next();
        Ok(first.unwrap_or(Content::Absent))
    }

    pub(crate) fn get_all(&self, paths: &[&str]) -> Result<Vec<Content>, AccessError> {
        paths.iter().map(|path| self.get(path)).collect()
    }

    pub(crate) fn hits(&self, paths: &[&str]) -> Result<Vec<Vec<Content>>, AccessError> {
        Ok(paths.iter().map(|path| self.all(path)).collect())
    }

    pub(crate) fn raw(&self, path: &str) -> Result<Option<String>, AccessError> {
        Ok(match self.get(path)? {
            Content::Absent => None,
            Content::Null => Some("\"\"".into()),
            Content::Text(text) => Some(text),
        })
    }

    /// How many values the path was given; for a segment or a field without values of its own, whether anything
    /// below it was.
    pub(crate) fn count(&self, path: &str) -> Result<u32, AccessError> {
        let own = self.all(path).len();
        let below = self.values.keys().any(|known| known.starts_with(path));
        Ok(own.max(usize::from(below)) as u32)
    }

    pub(crate) fn segments(&self) -> Vec<String> {
        let mut names: Vec<_> = self
            .values
            .keys()
            .map(|path| path.chars().take(3).collect())
            .collect();
        names.dedup();
        names
    }
}

/// `lead.<Schema>` or `activity.<Schema>`, and what it holds.
type Fields = BTreeMap<String, String>;

/// A change that answers the fields it was given.
#[derive(Debug, Clone, Default)]
pub struct ChangeStandIn {
    before: Fields,
    after: Fields,
}

impl ChangeStandIn {
    /// What fields held before the change; without it nobody says.
    pub fn before<'a>(mut self, before: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        self.before = fields(before);
        self
    }

    pub(crate) fn get(
        &self,
        entity: Entity,
        field: &str,
        moment: Moment,
    ) -> Result<Content, AccessError> {
        let prefix = match entity {
            Entity::Lead => "lead",
            Entity::Activity => "activity",
        };
        let field = format!("{prefix}.{field}");
        let text = |fields: &Fields| fields.get(&field).filter(|text| !text.is_empty()).cloned();
        let (before, after) = (text(&self.before), text(&self.after));
        Ok(match (moment, before, after) {
            (Moment::Before, Some(text), _) | (Moment::After, _, Some(text)) => Content::Text(text),
            // The change emptied it.
            (Moment::After, Some(_), None) if self.after.contains_key(&field) => Content::Null,
            _ => Content::Absent,
        })
    }

    pub(crate) fn get_all(
        &self,
        entity: Entity,
        fields: &[&str],
        moment: Moment,
    ) -> Result<Vec<Content>, AccessError> {
        let fields = fields.iter();
        fields
            .map(|field| self.get(entity, field, moment))
            .collect()
    }

    pub(crate) fn changed(&self, entity: Entity) -> Vec<String> {
        let differs = |(field, after): &(&String, &String)| {
            self.before.get(*field).map_or("", String::as_str) != after.as_str()
        };
        let changed = self.after.iter().filter(differs);
        changed
            .filter_map(|(field, _)| parse(field).ok())
            .filter(|(of, _)| *of == entity)
            .map(|(_, name)| name.to_owned())
            .collect()
    }
}

/// The flow of the tests.
pub mod flow {
    use super::HOST;
    use crate::{AccessError, Date, DateTime, Time};

    /// A setting made with [`set`](super::set).
    ///
    /// # Errors
    ///
    /// Never here; the host refuses a name that the manifest does not list.
    pub fn setting(name: &str) -> Result<Option<String>, AccessError> {
        Ok(HOST.with_borrow(|host| host.settings.get(name).cloned()))
    }

    /// `ADT^A04`, unless the setting `event` says otherwise.
    pub fn event() -> String {
        HOST.with_borrow(|host| host.settings.get("event").cloned())
            .unwrap_or_else(|| "ADT^A04".into())
    }

    /// Noon UTC on the first day of 2026.
    pub fn received_at() -> DateTime {
        DateTime {
            date: Date {
                year: 2026,
                month: 1,
                day: 1,
            },
            time: Time {
                hour: 12,
                minute: 0,
                second: 0,
                nanosecond: 0,
            },
            offset_minutes: Some(0),
        }
    }

    /// UTC.
    pub fn time_zone() -> String {
        "UTC".into()
    }

    /// None.
    pub fn default_country_code() -> Option<String> {
        None
    }

    /// `tests`.
    pub fn channel() -> String {
        "tests".into()
    }

    /// None.
    pub fn control_id() -> Option<String> {
        None
    }
}

/// The code tables of the tests, filled with [`add_code`](super::add_code).
pub mod codes {
    use super::HOST;
    use crate::AccessError;

    /// The column `value` of an entry.
    ///
    /// # Errors
    ///
    /// The table has no entry at all.
    pub fn translate(table: &str, code: &str) -> Result<Option<String>, AccessError> {
        Ok(look_up(table, code, &["value"])?.and_then(|columns| columns.into_iter().next()))
    }

    /// Columns of an entry; empty text where the entry has no such column.
    ///
    /// # Errors
    ///
    /// The table has no entry at all.
    pub fn look_up(
        table: &str,
        code: &str,
        columns: &[&str],
    ) -> Result<Option<Vec<String>>, AccessError> {
        HOST.with_borrow(|host| {
            let entries = host.tables.get(table);
            let entries = entries.ok_or_else(|| AccessError::UnknownName(table.into()))?;
            Ok(entries.get(code).map(|entry| {
                columns
                    .iter()
                    .map(|name| entry.get(*name).cloned().unwrap_or_default())
                    .collect()
            }))
        })
    }
}

/// The log of the tests, read with [`logged`](super::logged).
pub mod log {
    use super::HOST;

    pub use crate::bindings::inbound::ligature::mapping::log::{Cause, Level, Warning};

    /// Keeps one line.
    pub fn write(_level: Level, text: &str) {
        HOST.with_borrow_mut(|host| host.log.push(text.into()));
    }

    /// Keeps the row of a warning, read with [`warned`](super::warned).
    pub fn warn(warning: Warning<'_>) {
        HOST.with_borrow_mut(|host| host.warnings.push(warning.row.into()));
    }
}
