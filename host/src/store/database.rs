//! Connections to SQLite and PostgreSQL, and everything in which the two differ.
//!
//! One SQL text serves both; a handful of words in braces stand for what differs, see [`Dialect::word`].
//! sqlx's `Any` driver would do as well, but it copies every value twice, caches 100 statements and cannot
//! send several statements to SQLite's thread at once, which is what makes a single append quick (see [`Script`]).
//! Knows nothing of messages.

mod script;
mod value;

use std::fs::OpenOptions;
use std::future::poll_fn;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures_util::{Stream, StreamExt};
use sqlx::pool::PoolOptions;
use sqlx::postgres::{PgArguments, PgConnectOptions, PgRow};
use sqlx::sqlite::{
    SqliteArguments, SqliteConnectOptions, SqliteJournalMode, SqliteRow, SqliteSynchronous,
};
use sqlx::{
    Arguments, AssertSqlSafe, ConnectOptions, Connection as _, Either, Executor, PgConnection,
    PgPool, Row as _, SqliteConnection, SqlitePool, TypeInfo, Value as _, ValueRef,
};

use tokio::time::Instant;

use super::failure::Failure;

pub(super) use script::{Answers, Dialect, Part, Renderer, Script, Sql};
pub(super) use value::{Kind, Row, Value};

use script::Statement;

/// How long a connection may take to come up.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Readers beside the one writer.
const READERS: u32 = 4;
/// Statements of several sizes are kept prepared; see [`Script::rows`].
const PREPARED_STATEMENTS: usize = 500;
/// How long the writer looks for SQLite's next answer before it sleeps; a disk sync takes longer.
const PATIENCE: Duration = Duration::from_micros(40);
/// Statements with fewer values go to SQLite's thread together.
const SMALL: usize = 200;

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
                Address::Sqlite(options) => {
                    make(options.get_filename());
                    Connection::Sqlite(options.connect().await?)
                }
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
                    // A server that was restarted has closed them all.
                    .test_before_acquire(true)
                    .connect_lazy_with(options.as_ref().clone()),
            ),
        }
    }
}

/// Makes the file of a new database for its owner's eyes only; SQLite gives the files beside it the same permissions.
fn make(file: &Path) {
    if file.to_str().is_some_and(|name| name.starts_with(':')) {
        return;
    }
    // What stands in the way is told by SQLite.
    let _ = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(file);
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
                    run_sqlite(connection, statement, &mut answers, PATIENCE).await?;
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

/// Connections that only read; cloning shares them.
#[derive(Clone)]
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
                    run_sqlite(&mut connection, statement, &mut all, Duration::ZERO).await?;
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
    patience: Duration,
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
    while let Some(step) = eagerly(&mut stream, patience).await {
        match step? {
            Either::Left(_) => answers.push(std::mem::take(&mut rows)),
            Either::Right(row) => rows.push(sqlite_row(&row)?),
        }
    }
    Ok(())
}

/// Takes the next step of a stream, looking for it again and again for `patience` before it sleeps.
///
/// SQLite's thread answers each statement of a script after a few microseconds, and waking a sleeper for each costs it
/// more than the statement does. It is let in between two looks: the kernel likes to put it on the core that woke it,
/// which is this one, and there it would stand behind a thread that only looks for it.
async fn eagerly<T>(stream: &mut (impl Stream<Item = T> + Unpin), patience: Duration) -> Option<T> {
    let mut until = None;
    poll_fn(|context| {
        loop {
            if let Poll::Ready(step) = stream.poll_next_unpin(context) {
                return Poll::Ready(step);
            }
            let now = Instant::now();
            if now >= *until.get_or_insert(now + patience) {
                return Poll::Pending;
            }
            std::thread::yield_now();
        }
    })
    .await
}

fn sqlite_row(row: &SqliteRow) -> Result<Row, sqlx::Error> {
    let read = |at| {
        let value = ValueRef::to_owned(&row.try_get_raw(at)?);
        if value.is_null() {
            // The type of a null is its column's, and no reader asks for it.
            return Ok(Value::Null(Kind::Int));
        }
        match value.type_info().name() {
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
