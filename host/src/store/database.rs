//! Connections to SQLite and PostgreSQL, and everything in which the two differ.
//!
//! One SQL text serves both; a handful of words in braces stand for what differs, see [`Dialect::word`].
//! sqlx's `Any` driver would do as well, but it copies every value twice, caches 100 statements and cannot
//! send several statements to SQLite's thread at once, which is what makes a single append quick (see [`Script`]).
//! Knows nothing of messages.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use futures_util::TryStreamExt;
use sqlx::pool::PoolOptions;
use sqlx::postgres::{PgArguments, PgConnectOptions, PgRow};
use sqlx::sqlite::{
    SqliteArguments, SqliteConnectOptions, SqliteJournalMode, SqliteRow, SqliteSynchronous,
};
use sqlx::{
    Arguments, AssertSqlSafe, ConnectOptions, Connection as _, Either, Executor, PgConnection,
    PgPool, Row as _, SqliteConnection, SqlitePool, TypeInfo, Value as _, ValueRef,
};

use super::failure::Failure;

/// How long a connection may take to come up.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Readers beside the one writer.
const READERS: u32 = 4;
/// Statements of several sizes are kept prepared; see [`Script::rows`].
const PREPARED_STATEMENTS: usize = 500;
/// Rows of one statement; more are split, fewer are filled up with nulls to the next size.
const SIZES: [usize; 4] = [1, 4, 16, 64];
/// Statements with fewer values go to SQLite's thread together.
const SMALL: usize = 200;

/// The type of a column or parameter; these three are spelled alike in both databases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Int,
    Text,
    Bytes,
}

/// One value on its way to or from the database.
#[derive(Clone, PartialEq)]
pub(super) enum Value {
    Null(Kind),
    Int(i64),
    Text(Arc<str>),
    Bytes(Arc<[u8]>),
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Value::Int(value)
    }
}

impl From<&str> for Value {
    /// PostgreSQL has no text with NUL in it, and a sender's control id may hold anything.
    fn from(value: &str) -> Self {
        if value.contains('\0') {
            Value::Text(value.replace('\0', "\u{fffd}").into())
        } else {
            Value::Text(value.into())
        }
    }
}

impl From<&Arc<str>> for Value {
    fn from(value: &Arc<str>) -> Self {
        Value::Text(value.clone())
    }
}

impl From<&Arc<[u8]>> for Value {
    fn from(value: &Arc<[u8]>) -> Self {
        Value::Bytes(value.clone())
    }
}

impl From<Vec<u8>> for Value {
    fn from(value: Vec<u8>) -> Self {
        Value::Bytes(value.into())
    }
}

impl Value {
    pub(super) fn optional_int(value: Option<i64>) -> Self {
        value.map_or(Value::Null(Kind::Int), Value::Int)
    }

    pub(super) fn optional_text(value: Option<&str>) -> Self {
        value.map_or(Value::Null(Kind::Text), Value::from)
    }

    pub(super) fn optional_bytes(value: Option<&Arc<[u8]>>) -> Self {
        value.map_or(Value::Null(Kind::Bytes), Value::from)
    }
}

/// One row of an answer.
pub(super) struct Row(Vec<Value>);

impl Row {
    pub(super) fn int(&self, at: usize) -> Result<i64, Failure> {
        match &self.0[at] {
            Value::Int(value) => Ok(*value),
            _ => Err(Failure::column(at)),
        }
    }

    pub(super) fn text(&self, at: usize) -> Result<Arc<str>, Failure> {
        match &self.0[at] {
            Value::Text(value) => Ok(value.clone()),
            _ => Err(Failure::column(at)),
        }
    }

    pub(super) fn string(&self, at: usize) -> Result<String, Failure> {
        self.text(at).map(|text| text.as_ref().into())
    }

    pub(super) fn bytes(&self, at: usize) -> Result<Arc<[u8]>, Failure> {
        match &self.0[at] {
            Value::Bytes(value) => Ok(value.clone()),
            _ => Err(Failure::column(at)),
        }
    }

    pub(super) fn is_null(&self, at: usize) -> bool {
        matches!(self.0[at], Value::Null(_))
    }

    /// What `read` finds at `at`, or none for null.
    pub(super) fn optional<T>(
        &self,
        at: usize,
        read: impl Fn(&Self, usize) -> Result<T, Failure>,
    ) -> Result<Option<T>, Failure> {
        if self.is_null(at) {
            Ok(None)
        } else {
            read(self, at).map(Some)
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
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
            // Locks the lane, so that a settling host cannot delete it as empty while an entry is on its way.
            ("keep_lane", Dialect::Postgres) => "do update set due_at = lane.due_at",
            ("keep_lane", Dialect::Sqlite) => "do nothing",
            // A refused statement ends the whole transaction anyway; without this word SQLite keeps a copy of every page
            // that the statement touches, so as to undo it alone, which is a fifth of the work of an append.
            ("or_rollback", Dialect::Sqlite) => "or rollback",
            ("or_rollback", Dialect::Postgres) => "",
            // SQLite has one writer; it needs no row locks.
            ("skip_locked" | "share_lease", Dialect::Sqlite) => "",
            _ => unreachable!("no word {word:?}"),
        }
    }
}

/// One SQL text for both databases.
///
/// `?` is a parameter. `{rows}` is `(?, ?), (?, ?)`, one for each row, with the columns of `kinds`.
pub(super) struct Sql {
    pub(super) text: &'static str,
    pub(super) kinds: &'static [Kind],
}

/// Writes [`Sql`] out for one dialect and keeps the results.
pub(super) struct Renderer {
    pub(super) dialect: Dialect,
    known: RwLock<HashMap<(usize, usize), Arc<str>>>,
}

impl Renderer {
    pub(super) fn new(dialect: Dialect) -> Self {
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

struct Statement {
    text: Arc<str>,
    values: Vec<Value>,
}

/// Statements to run one after another.
///
/// SQLite runs on a thread of its own; small statements cross over to it together.
pub(super) struct Script {
    renderer: Arc<Renderer>,
    statements: Vec<Statement>,
}

/// Which statements of a script a call added.
#[derive(Debug, Clone, Default)]
pub(super) struct Part(std::ops::Range<usize>);

impl Part {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Script {
    pub(super) fn new(renderer: &Arc<Renderer>) -> Self {
        Self {
            renderer: renderer.clone(),
            statements: Vec::new(),
        }
    }

    pub(super) fn dialect(&self) -> Dialect {
        self.renderer.dialect
    }

    pub(super) fn renderer(&self) -> &Arc<Renderer> {
        &self.renderer
    }

    /// Adds a statement without parameters.
    pub(super) fn plain(&mut self, text: &'static str) {
        self.statements.push(Statement {
            text: text.into(),
            values: Vec::new(),
        });
    }

    /// Adds a statement whose parameters are `values`, in order.
    pub(super) fn one(&mut self, sql: &'static Sql, values: Vec<Value>) -> Part {
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
    pub(super) fn rows(&mut self, sql: &'static Sql, rows: Vec<Value>) -> Part {
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
pub(super) struct Answers(Vec<Vec<Row>>);

impl Answers {
    /// The rows of all statements of `part`.
    pub(super) fn of(&mut self, part: &Part) -> Vec<Row> {
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

/// Where the database is and how to open it.
#[derive(Clone)]
pub(super) enum Address {
    Sqlite(Box<SqliteConnectOptions>),
    Postgres(Box<PgConnectOptions>),
}

impl Address {
    /// Reads `sqlite:PATH` or `postgres://…`.
    pub(super) fn parse(url: &str) -> Result<Self, Failure> {
        if let Some(path) = url.strip_prefix("sqlite:") {
            let options = SqliteConnectOptions::new()
                .filename(path.strip_prefix("//").unwrap_or(path))
                .create_if_missing(true)
                .journal_mode(SqliteJournalMode::Wal)
                // A commit that returned is on the disk, also after a power cut.
                .synchronous(SqliteSynchronous::Full)
                .busy_timeout(Duration::from_secs(2))
                .foreign_keys(false)
                // 64 MiB of write-ahead log: a page that is written many times is copied to its place once.
                .pragma("wal_autocheckpoint", "4096")
                .pragma("cache_size", "-32768")
                .pragma("temp_store", "memory")
                .statement_cache_capacity(PREPARED_STATEMENTS)
                .row_buffer_size(1024)
                .disable_statement_logging();
            Ok(Address::Sqlite(Box::new(options)))
        } else if url.starts_with("postgres:") || url.starts_with("postgresql:") {
            let options: PgConnectOptions = url
                .parse()
                // The text of the fault may quote the address with its password.
                .map_err(|_| Failure::Address)?;
            let options = options
                .application_name("ligature")
                .statement_cache_capacity(PREPARED_STATEMENTS)
                // A stuck server fails the batch instead of holding it.
                .options([("statement_timeout", "10s")])
                .disable_statement_logging();
            Ok(Address::Postgres(Box::new(options)))
        } else {
            Err(Failure::Address)
        }
    }

    pub(super) fn dialect(&self) -> Dialect {
        match self {
            Address::Sqlite(_) => Dialect::Sqlite,
            Address::Postgres(_) => Dialect::Postgres,
        }
    }

    /// The file of a SQLite database.
    pub(super) fn file(&self) -> Option<&Path> {
        match self {
            Address::Sqlite(options) => Some(options.get_filename()),
            Address::Postgres(_) => None,
        }
    }

    /// Opens a connection that may write.
    pub(super) async fn connect(&self) -> Result<Connection, Failure> {
        let connect = async {
            Ok(match self {
                Address::Sqlite(options) => Connection::Sqlite(options.connect().await?),
                Address::Postgres(options) => {
                    Connection::Postgres(Box::new(options.connect().await?))
                }
            })
        };
        tokio::time::timeout(CONNECT_TIMEOUT, connect)
            .await
            .unwrap_or(Err(Failure::TimedOut))
    }

    /// Opens the readers; connections come up when they are needed.
    pub(super) fn readers(&self) -> Readers {
        // A reader that was closed by the server is noticed by its first statement and tried once more.
        match self {
            Address::Sqlite(options) => Readers::Sqlite(
                PoolOptions::new()
                    .max_connections(READERS)
                    .acquire_timeout(CONNECT_TIMEOUT)
                    .test_before_acquire(false)
                    .connect_lazy_with(
                        options
                            .as_ref()
                            .clone()
                            .read_only(true)
                            .create_if_missing(false),
                    ),
            ),
            Address::Postgres(options) => Readers::Postgres(
                PoolOptions::new()
                    .max_connections(READERS)
                    .acquire_timeout(CONNECT_TIMEOUT)
                    .test_before_acquire(false)
                    .connect_lazy_with(options.as_ref().clone()),
            ),
        }
    }
}

/// One connection.
pub(super) enum Connection {
    Sqlite(SqliteConnection),
    Postgres(Box<PgConnection>),
}

impl Connection {
    /// Runs a script; stops at the first statement that fails.
    pub(super) async fn run(&mut self, script: Script) -> Result<Answers, Failure> {
        let mut answers = Vec::with_capacity(script.statements.len());
        match self {
            Connection::Sqlite(connection) => {
                let mut waiting = script.statements.into_iter().peekable();
                while let Some(mut statement) = waiting.next() {
                    let mut together = 1;
                    if statement.values.len() < SMALL {
                        let mut text = String::new();
                        while let Some(next) = waiting
                            .next_if(|next| statement.values.len() + next.values.len() < SMALL)
                        {
                            if text.is_empty() {
                                text.push_str(&statement.text);
                            }
                            text.push_str(";\n");
                            text.push_str(&next.text);
                            statement.values.extend(next.values);
                            together += 1;
                        }
                        if together > 1 {
                            statement.text = text.into();
                        }
                    }
                    let first = answers.len();
                    run_sqlite(connection, statement, &mut answers).await?;
                    // SQLite says nothing of an empty statement; there is none in a script.
                    debug_assert_eq!(answers.len(), first + together);
                }
            }
            Connection::Postgres(connection) => {
                for statement in script.statements {
                    answers.push(run_postgres(connection, statement).await?);
                }
            }
        }
        Ok(Answers(answers))
    }

    /// Closes the connection; SQLite empties its write-ahead log into the file.
    pub(super) async fn close(self) -> Result<(), Failure> {
        match self {
            Connection::Sqlite(connection) => connection.close().await?,
            Connection::Postgres(connection) => connection.close().await?,
        }
        Ok(())
    }
}

/// Connections that only read.
pub(super) enum Readers {
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

impl Readers {
    /// Runs one statement; see [`Script::one`] for `values`.
    pub(super) async fn one(
        &self,
        renderer: &Arc<Renderer>,
        sql: &'static Sql,
        values: Vec<Value>,
    ) -> Result<Vec<Row>, Failure> {
        let mut script = Script::new(renderer);
        script.one(sql, values);
        self.run(script).await
    }

    /// Runs one statement for many rows; see [`Script::rows`].
    pub(super) async fn rows(
        &self,
        renderer: &Arc<Renderer>,
        sql: &'static Sql,
        rows: Vec<Value>,
    ) -> Result<Vec<Row>, Failure> {
        let mut script = Script::new(renderer);
        script.rows(sql, rows);
        self.run(script).await
    }

    /// The rows of all statements of a script.
    async fn run(&self, script: Script) -> Result<Vec<Row>, Failure> {
        let mut all = Vec::new();
        match self {
            Readers::Sqlite(pool) => {
                let mut connection = pool.acquire().await?;
                for statement in script.statements {
                    run_sqlite(&mut connection, statement, &mut all).await?;
                }
            }
            Readers::Postgres(pool) => {
                let mut connection = pool.acquire().await?;
                for statement in script.statements {
                    all.push(run_postgres(&mut connection, statement).await?);
                }
            }
        }
        Ok(all.into_iter().flatten().collect())
    }

    pub(super) async fn close(&self) {
        match self {
            Readers::Sqlite(pool) => pool.close().await,
            Readers::Postgres(pool) => pool.close().await,
        }
    }
}

async fn run_sqlite(
    connection: &mut SqliteConnection,
    statement: Statement,
    answers: &mut Vec<Vec<Row>>,
) -> Result<(), Failure> {
    let mut arguments = SqliteArguments::default();
    arguments.reserve(statement.values.len(), 0);
    for value in statement.values {
        match value {
            Value::Null(_) => arguments.add(None::<i64>),
            Value::Int(value) => arguments.add(value),
            Value::Text(value) => arguments.add(value),
            Value::Bytes(value) => arguments.add(value.to_vec()),
        }
        .map_err(sqlx::Error::Encode)?;
    }
    let query = sqlx::query_with(AssertSqlSafe(statement.text), arguments);
    let mut stream = connection.fetch_many(query);
    let mut rows = Vec::new();
    while let Some(step) = stream.try_next().await? {
        match step {
            Either::Left(_) => answers.push(std::mem::take(&mut rows)),
            Either::Right(row) => rows.push(sqlite_row(&row)?),
        }
    }
    Ok(())
}

fn sqlite_row(row: &SqliteRow) -> Result<Row, sqlx::Error> {
    let read = |at| {
        let value = ValueRef::to_owned(&row.try_get_raw(at)?);
        match value.type_info().name() {
            "NULL" => Ok(Value::Null(Kind::Int)),
            "TEXT" => value
                .try_decode::<&str>()
                .map(|text| Value::Text(text.into())),
            "BLOB" => value
                .try_decode::<&[u8]>()
                .map(|bytes| Value::Bytes(bytes.into())),
            _ => value.try_decode().map(Value::Int),
        }
    };
    (0..row.len()).map(read).collect::<Result<_, _>>().map(Row)
}

async fn run_postgres(
    connection: &mut PgConnection,
    statement: Statement,
) -> Result<Vec<Row>, Failure> {
    if statement.values.is_empty() {
        // The simple protocol: `begin` and `commit` need no preparation.
        connection
            .execute(sqlx::raw_sql(AssertSqlSafe(statement.text)))
            .await?;
        return Ok(Vec::new());
    }
    let mut arguments = PgArguments::default();
    arguments.reserve(statement.values.len(), 0);
    for value in statement.values {
        match value {
            Value::Null(Kind::Int) => arguments.add(None::<i64>),
            Value::Null(Kind::Text) => arguments.add(None::<String>),
            Value::Null(Kind::Bytes) => arguments.add(None::<Vec<u8>>),
            Value::Int(value) => arguments.add(value),
            Value::Text(value) => arguments.add(value.as_ref()),
            Value::Bytes(value) => arguments.add(value.as_ref()),
        }
        .map_err(sqlx::Error::Encode)?;
    }
    let query = sqlx::query_with(AssertSqlSafe(statement.text), arguments);
    let rows = connection.fetch_all(query).await?;
    Ok(rows
        .iter()
        .map(postgres_row)
        .collect::<Result<_, sqlx::Error>>()?)
}

fn postgres_row(row: &PgRow) -> Result<Row, sqlx::Error> {
    let read = |at| {
        let value = row.try_get_raw(at)?;
        let kind = match value.type_info().name() {
            "TEXT" | "VARCHAR" => Kind::Text,
            "BYTEA" => Kind::Bytes,
            _ => Kind::Int,
        };
        Ok(if value.is_null() {
            Value::Null(kind)
        } else {
            match kind {
                Kind::Text => Value::Text(row.try_get::<&str, _>(at)?.into()),
                Kind::Bytes => Value::Bytes(row.try_get::<&[u8], _>(at)?.into()),
                Kind::Int => Value::Int(row.try_get(at)?),
            }
        })
    };
    (0..row.len()).map(read).collect::<Result<_, _>>().map(Row)
}
