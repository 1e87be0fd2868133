//! Reading one table key by key, so that every fault is found and every unknown key is one.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::Fault;
use crate::flow::Direction;
use crate::flow::change::Field;
use crate::hl7::Path;

/// The faults found so far; shared, because a fault stops nothing.
pub(super) struct Faults<'t> {
    pub(super) text: &'t str,
    /// Which way the document maps, from when its heading was read.
    pub(super) direction: Cell<Direction>,
    /// Names of the document's settings and groups, from when they were read.
    pub(super) settings: RefCell<Vec<String>>,
    pub(super) groups: RefCell<Vec<String>>,
    /// Ids that are taken.
    pub(super) ids: RefCell<HashSet<String>>,
    /// Whether the rows that are read belong to a loop or a repeat.
    pub(super) in_loop: Cell<bool>,
    pub(super) found: RefCell<Vec<Fault>>,
}

impl Faults<'_> {
    pub(super) fn add(&self, at: usize, row: &str, key: &str, text: String) {
        let before = &self.text.as_bytes()[..at.min(self.text.len())];
        self.found.borrow_mut().push(Fault {
            line: before.iter().filter(|byte| **byte == b'\n').count() + 1,
            row: row.into(),
            key: key.into(),
            text,
        });
    }

    pub(super) fn is_outbound(&self) -> bool {
        self.direction.get() == Direction::LeadSquaredToEhr
    }

    /// Warnings are counted by id, so each is there once.
    pub(super) fn take_id(&self, at: usize, row: &str, id: String) {
        let text = format!("another row has the id {id:?} already");
        if !self.ids.borrow_mut().insert(id) {
            self.add(at, row, "id", text);
        }
    }

    pub(super) fn none(&self) -> bool {
        self.found.borrow().is_empty()
    }
}

/// The keys of one table, ticked off as they are read.
pub(super) struct Keys<'a, 't> {
    pub(super) faults: &'a Faults<'t>,
    pub(super) table: &'a DeTable<'a>,
    pub(super) at: usize,
    pub(super) row: String,
    pub(super) read: Vec<String>,
}

impl<'a, 't> Keys<'a, 't> {
    pub(super) fn new(
        faults: &'a Faults<'t>,
        table: &'a DeTable<'a>,
        at: usize,
        row: &str,
    ) -> Self {
        Self {
            faults,
            table,
            at,
            row: row.into(),
            read: Vec::new(),
        }
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// What the key holds, without ticking it off.
    pub(super) fn peek(&self, key: &str) -> Option<&'a DeValue<'a>> {
        self.table.get(key).map(Spanned::get_ref)
    }

    pub(super) fn skip(&mut self, key: &str) {
        self.read.push(key.into());
    }

    pub(super) fn skip_all(&mut self) {
        self.read
            .extend(self.table.keys().map(|key| key.get_ref().to_string()));
    }

    pub(super) fn fault(&self, key: &str, text: String) {
        let at = self
            .table
            .get(key)
            .map_or(self.at, |value| value.span().start);
        self.faults.add(at, &self.row, key, text);
    }

    pub(super) fn missing(&self, key: &str) {
        self.fault(key, "is needed".into());
    }

    /// Every key that nobody asked for is a fault.
    pub(super) fn end(self) {
        for key in self.table.keys() {
            if !self.read.iter().any(|read| *read == **key.get_ref()) {
                let text = "there is no such key".into();
                self.faults
                    .add(key.span().start, &self.row, key.get_ref(), text);
            }
        }
    }

    pub(super) fn value(&mut self, key: &str) -> Option<&'a DeValue<'a>> {
        self.skip(key);
        self.table.get(key).map(Spanned::get_ref)
    }

    /// A text, which may be empty.
    pub(super) fn any_text(&mut self, key: &str) -> Option<String> {
        match self.value(key)? {
            DeValue::String(text) => Some(text.to_string()),
            other => {
                self.fault(key, format!("expected text, found {}", other.type_str()));
                None
            }
        }
    }

    pub(super) fn text(&mut self, key: &str) -> Option<String> {
        let text = self.any_text(key)?;
        if text.is_empty() {
            self.fault(key, "is empty".into());
        }
        Some(text)
    }

    pub(super) fn path(&mut self, key: &str) -> Option<Path> {
        let text = self.text(key)?;
        match text.parse() {
            Ok(path) => Some(path),
            Err(error) => {
                self.fault(key, format!("{text:?}: {error}"));
                None
            }
        }
    }

    /// A field as grants name it.
    pub(super) fn field(&mut self, key: &str) -> Option<String> {
        let text = self.text(key)?;
        if Field::parse(&text).is_none() {
            self.fault(key, not_a_field(&text));
            return None;
        }
        Some(text)
    }

    pub(super) fn choice(&mut self, key: &str, known: &[&'static str]) -> Option<&'static str> {
        let text = self.text(key)?;
        let choice = known.iter().copied().find(|known| *known == text);
        if choice.is_none() {
            let known = known.join(", ");
            self.fault(key, format!("{text:?} is none of {known}"));
        }
        choice
    }

    pub(super) fn boolean(&mut self, key: &str) -> Option<bool> {
        match self.value(key)? {
            DeValue::Boolean(boolean) => Some(*boolean),
            other => {
                self.fault(
                    key,
                    format!("expected true or false, found {}", other.type_str()),
                );
                None
            }
        }
    }

    pub(super) fn integer(&mut self, key: &str) -> Option<i64> {
        let value = self.value(key)?;
        let number = value
            .as_integer()
            .and_then(|integer| i64::from_str_radix(integer.as_str(), integer.radix()).ok());
        if number.is_none() {
            self.fault(
                key,
                format!("expected a number, found {}", value.type_str()),
            );
        }
        number
    }

    /// A number from 1.
    pub(super) fn count(&mut self, key: &str) -> Option<u32> {
        let count = u32::try_from(self.integer(key)?)
            .ok()
            .filter(|count| *count > 0);
        if count.is_none() {
            self.fault(key, "is a number from 1".into());
        }
        count
    }

    /// A decimal number, written as one or as text.
    pub(super) fn decimal(&mut self, key: &str) -> Option<String> {
        let text = match self.value(key)? {
            DeValue::String(text) => text.to_string(),
            DeValue::Integer(number) if number.radix() == 10 => number.as_str().into(),
            DeValue::Float(number) => number.as_str().into(),
            other => other.type_str().into(),
        };
        let number = ligature_mapper::Number::parse(&text);
        if number.is_none() {
            self.fault(key, format!("expected a number, found {text:?}"));
        }
        Some(number?.text())
    }

    pub(super) fn list(&mut self, key: &str) -> Option<Vec<(usize, &'a DeValue<'a>)>> {
        match self.value(key)? {
            DeValue::Array(items) => Some(
                items
                    .iter()
                    .map(|item| (item.span().start, item.get_ref()))
                    .collect(),
            ),
            other => {
                self.fault(key, format!("expected a list, found {}", other.type_str()));
                None
            }
        }
    }

    pub(super) fn texts(&mut self, key: &str) -> Vec<String> {
        let mut texts = Vec::new();
        for (at, item) in self.list(key).into_iter().flatten() {
            match item {
                DeValue::String(text) => texts.push(text.to_string()),
                other => {
                    let text = format!("expected text, found {}", other.type_str());
                    self.faults.add(at, &self.row, key, text);
                }
            }
        }
        texts
    }

    pub(super) fn table(&mut self, key: &str) -> Option<(usize, &'a DeTable<'a>)> {
        self.skip(key);
        let value = self.table.get(key)?;
        match value.get_ref() {
            DeValue::Table(table) => Some((value.span().start, table)),
            other => {
                self.fault(key, format!("expected a table, found {}", other.type_str()));
                None
            }
        }
    }

    pub(super) fn tables(&mut self, key: &str) -> Vec<(usize, &'a DeTable<'a>)> {
        let mut tables = Vec::new();
        for (at, item) in self.list(key).into_iter().flatten() {
            match item {
                DeValue::Table(table) => tables.push((at, table)),
                other => {
                    let text = format!("expected a table, found {}", other.type_str());
                    self.faults.add(at, &self.row, key, text);
                }
            }
        }
        tables
    }

    /// All keys with their texts, sorted.
    pub(super) fn all_texts(&mut self) -> Vec<(String, String)> {
        let names: Vec<_> = self
            .table
            .keys()
            .map(|key| key.get_ref().to_string())
            .collect();
        let mut entries: Vec<_> = names
            .into_iter()
            .filter_map(|name| self.any_text(&name).map(|text| (name, text)))
            .collect();
        entries.sort();
        entries
    }
}

pub(super) fn not_a_field(text: &str) -> String {
    format!("{text:?} is no field: write lead.<Schema> or activity.<Schema>")
}
