//! What went wrong in the database, sorted by what the writer does next.
//!
//! Texts never hold values: a server's own message may quote them, so only its codes are passed on.

use sqlx::error::DatabaseError;

use super::Error;

/// A failed statement or connection.
#[derive(Debug)]
pub(super) enum Failure {
    /// The storage is full, gone or busy: nothing was kept; works again once the storage does.
    Storage(String),
    /// Another host's transaction was in the way: trying again works.
    Conflict(String),
    /// The statement itself is at fault.
    Statement(String),
    /// The address cannot be read.
    Address,
    TimedOut,
}

impl Failure {
    /// A column that does not hold what its reader expects.
    pub(super) fn column(at: usize) -> Self {
        Failure::Statement(format!("column {at} of an answer has another type"))
    }

    /// Whether the connection is of no more use.
    pub(super) fn is_storage(&self) -> bool {
        matches!(self, Failure::Storage(_) | Failure::TimedOut)
    }
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        match error {
            sqlx::Error::Database(error) => from_database(error.as_ref()),
            sqlx::Error::Io(error) => Failure::Storage(error.to_string()),
            sqlx::Error::Tls(error) => Failure::Storage(format!("TLS: {error}")),
            sqlx::Error::PoolTimedOut => Failure::TimedOut,
            sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed => {
                Failure::Storage("the connection was closed".into())
            }
            sqlx::Error::Protocol(_) => Failure::Storage("the connection is out of step".into()),
            sqlx::Error::Configuration(_) => Failure::Address,
            _ => Failure::Statement("an answer could not be read".into()),
        }
    }
}

/// Result codes: <https://sqlite.org/rescode.html>; SQLSTATE classes: PostgreSQL manual, appendix A.
fn from_database(error: &dyn DatabaseError) -> Failure {
    let code = error.code().unwrap_or_default();
    if error
        .try_downcast_ref::<sqlx::sqlite::SqliteError>()
        .is_some()
    {
        // The low byte is the primary code; SQLite's messages hold no values.
        let primary = code.parse::<i32>().unwrap_or(1) & 0xff;
        let text = format!("{} (SQLite code {code})", error.message());
        // busy, locked, no memory, read-only, I/O, corrupt, full, cannot open, protocol, not a database
        return if [5, 6, 7, 8, 10, 11, 13, 14, 15, 26].contains(&primary) {
            Failure::Storage(text)
        } else {
            Failure::Statement(text)
        };
    }
    let text = match error.constraint() {
        Some(constraint) => format!("PostgreSQL code {code}, constraint {constraint}"),
        None => format!("PostgreSQL code {code}"),
    };
    match code.get(..2) {
        Some("40") => Failure::Conflict(text),
        // connection, credentials, read-only, resources, operator intervention, system, internal
        Some("08" | "25" | "28" | "3D" | "53" | "55" | "57" | "58" | "XX") => {
            Failure::Storage(text)
        }
        _ => Failure::Statement(text),
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Storage(text) | Failure::Conflict(text) => Error::Unavailable(text),
            Failure::TimedOut => Error::Unavailable("the database did not answer in time".into()),
            Failure::Statement(text) => Error::Database(text),
            Failure::Address => Error::Address,
        }
    }
}
