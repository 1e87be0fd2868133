//! Statements to be sent together: one SQL text for both dialects, rendered for several rows at once.
//!
//! A handful of words in braces stand for what differs, see [`Dialect::word`].

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use super::value::{Kind, Row, Value};

/// Rows of one statement; more are split, fewer are filled up with nulls to the next size.
const SIZES: [usize; 4] = [1, 4, 16, 64];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) enum Dialect {
    Sqlite,
    Postgres,
}

impl Dialect {
    /// What a word in braces stands for.
    fn word(self, word: &str) -> &'static str {
        match (word, self) {
            // A claimer does not wait for lanes that another host is claiming.
            ("skip_locked", Dialect::Postgres) => "for update skip locked",
            // A lease that a ledger row relies on must not change hands before that row is committed.
            ("share_lease", Dialect::Postgres) => "for share of l",
            ("least", Dialect::Postgres) => "least",
            ("least", Dialect::Sqlite) => "min",
            // A refused statement ends the whole transaction anyway; without this word SQLite keeps a copy of every page
            // that the statement touches, so as to undo it alone, which is a fifth of the work of an append.
            ("or_rollback", Dialect::Sqlite) => "or rollback",
            ("or_rollback", Dialect::Postgres) => "",
            // What is asked of several people must not change before the answer is used.
            ("hold_people", Dialect::Postgres) => "lock table person in share row exclusive mode",
            ("hold_people", Dialect::Sqlite) => "select 1",
            // SQLite has one writer; it needs no row locks.
            ("skip_locked" | "share_lease", Dialect::Sqlite) => "",
            _ => unreachable!("no word {word:?}"),
        }
    }
}

/// One SQL text for both databases.
///
/// `?` is a parameter. `{rows}` is `(?, ?), (?, ?)`, one for each row, with the columns of `kinds`.
pub(in crate::store) struct Sql {
    pub(in crate::store) text: &'static str,
    pub(in crate::store) kinds: &'static [Kind],
}

/// Writes [`Sql`] out for one dialect and keeps the results.
pub(in crate::store) struct Renderer {
    pub(in crate::store) dialect: Dialect,
    known: RwLock<HashMap<(usize, usize), Arc<str>>>,
}

impl Renderer {
    pub(in crate::store) fn new(dialect: Dialect) -> Self {
        Self {
            dialect,
            known: RwLock::default(),
        }
    }

    /// The text of `sql` for `rows` rows.
    fn text(&self, sql: &'static Sql, rows: usize) -> Arc<str> {
        let key = (sql.text.as_ptr() as usize, rows);
        if let Some(text) = self
            .known
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&key)
        {
            return text.clone();
        }
        let text: Arc<str> = self.write_out(sql, rows).into();
        self.known
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(key, text.clone());
        text
    }

    fn write_out(&self, sql: &Sql, rows: usize) -> String {
        let mut text = String::with_capacity(sql.text.len() + rows * sql.kinds.len() * 4);
        let mut parameters = 0;
        let mut parameter = |text: &mut String| {
            parameters += 1;
            match self.dialect {
                // Named and numbered parameters cost SQLite a search through all of them for each.
                Dialect::Sqlite => text.push('?'),
                Dialect::Postgres => {
                    text.push('$');
                    text.push_str(&parameters.to_string());
                }
            }
        };
        let mut rest = sql.text;
        while let Some(at) = rest.find(['?', '{']) {
            text.push_str(&rest[..at]);
            if rest[at..].starts_with('?') {
                parameter(&mut text);
                rest = &rest[at + 1..];
                continue;
            }
            let end = at + rest[at..].find('}').expect("a closing brace");
            match &rest[at + 1..end] {
                "rows" => {
                    for row in 0..rows {
                        text.push_str(if row == 0 { "(" } else { ", (" });
                        for column in 0..sql.kinds.len() {
                            if column > 0 {
                                text.push_str(", ");
                            }
                            parameter(&mut text);
                        }
                        text.push(')');
                    }
                }
                word => text.push_str(self.dialect.word(word)),
            }
            rest = &rest[end + 1..];
        }
        text.push_str(rest);
        text
    }
}

pub(super) struct Statement {
    pub(super) text: Arc<str>,
    pub(super) values: Vec<Value>,
}

/// Statements to run one after another.
///
/// SQLite runs on a thread of its own; small statements cross over to it together.
pub(in crate::store) struct Script {
    renderer: Arc<Renderer>,
    pub(super) statements: Vec<Statement>,
}

/// Which statements of a script a call added.
#[derive(Debug, Clone, Default)]
pub(in crate::store) struct Part(std::ops::Range<usize>);

impl Part {
    pub(in crate::store) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Script {
    pub(in crate::store) fn new(renderer: &Arc<Renderer>) -> Self {
        Self {
            renderer: renderer.clone(),
            statements: Vec::new(),
        }
    }

    pub(in crate::store) fn dialect(&self) -> Dialect {
        self.renderer.dialect
    }

    pub(in crate::store) fn renderer(&self) -> &Arc<Renderer> {
        &self.renderer
    }

    /// Adds a statement without parameters.
    pub(in crate::store) fn plain(&mut self, text: &'static str) {
        self.statements.push(Statement {
            text: text.into(),
            values: Vec::new(),
        });
    }

    /// Adds a statement whose parameters are `values`, in order.
    pub(in crate::store) fn one(&mut self, sql: &'static Sql, values: Vec<Value>) -> Part {
        let start = self.statements.len();
        self.statements.push(Statement {
            text: self.renderer.text(sql, 1),
            values,
        });
        Part(start..start + 1)
    }

    /// Adds as many statements as `rows` (all values, row after row) take; none for none.
    ///
    /// Few sizes, so that statements stay prepared; what is missing is filled up with nulls, which every
    /// text takes care to leave out.
    pub(in crate::store) fn rows(&mut self, sql: &'static Sql, rows: Vec<Value>) -> Part {
        let start = self.statements.len();
        let width = sql.kinds.len();
        debug_assert_eq!(rows.len() % width, 0, "{}", sql.text);
        let mut rows = rows.into_iter();
        while rows.len() > 0 {
            let count = (rows.len() / width).min(SIZES[SIZES.len() - 1]);
            let size = SIZES
                .into_iter()
                .find(|size| *size >= count)
                .unwrap_or(count);
            let mut values = Vec::with_capacity(size * width);
            values.extend(rows.by_ref().take(count * width));
            for _ in count..size {
                values.extend(sql.kinds.iter().map(|kind| Value::Null(*kind)));
            }
            self.statements.push(Statement {
                text: self.renderer.text(sql, size),
                values,
            });
        }
        Part(start..self.statements.len())
    }
}

/// The rows that each statement of a script gave.
#[derive(Default)]
pub(in crate::store) struct Answers(pub(super) Vec<Vec<Row>>);

impl Answers {
    /// The rows of all statements of `part`.
    pub(in crate::store) fn of(&mut self, part: &Part) -> Vec<Row> {
        let mut rows = Vec::new();
        if part.is_empty() {
            return rows;
        }
        for answer in &mut self.0[part.0.clone()] {
            rows.append(answer);
        }
        rows
    }
}
