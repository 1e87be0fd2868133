//! The schema and who may use the file: migrations, their checks, and the lock beside a SQLite file.
//!
//! Migrations are numbered and go forward only; both folders list the same names.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::PathBuf;

use sqlx::SqlSafeStr;
use sqlx::migrate::{Migrate, MigrateError, Migration, MigrationType, Migrator};

use super::Error;
use super::database::{Address, Connection, Dialect};
use super::failure::Failure;

const TABLE: &str = "_sqlx_migrations";

/// Number, name, SQLite text, PostgreSQL text.
const MIGRATIONS: &[(i64, &str, &str, &str)] = &[
    (
        1,
        "journal",
        include_str!("../../migrations/sqlite/0001_journal.sql"),
        include_str!("../../migrations/postgres/0001_journal.sql"),
    ),
    (
        2,
        "catalog",
        include_str!("../../migrations/sqlite/0002_catalog.sql"),
        include_str!("../../migrations/postgres/0002_catalog.sql"),
    ),
];

/// Keeps other processes away from a SQLite file until dropped; nothing for PostgreSQL.
pub(super) type Lock = Option<File>;

/// Locks the file beside a SQLite database: two hosts would each take the other's leases for stale.
pub(super) fn lock(address: &Address) -> Result<Lock, Error> {
    let Some(database) = address.file() else {
        return Ok(None);
    };
    // One file may have several names; the lock stands beside the one that it really has.
    let real = database.canonicalize();
    let mut path = real.as_deref().unwrap_or(database).as_os_str().to_owned();
    path.push(".lock");
    let path = PathBuf::from(path);
    let unavailable =
        |error: std::io::Error| Error::Unavailable(format!("lock file {path:?}: {error}"));
    let file = OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(false)
        .open(&path)
        .map_err(unavailable)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Err(Error::InUse {
            path: database.into(),
        }),
        Err(TryLockError::Error(error)) => Err(unavailable(error)),
    }
}

/// Compares the schema with this program's and, with `migrate`, brings it up to date.
pub(super) async fn check(connection: &mut Connection, migrate: bool) -> Result<(), Error> {
    match connection {
        Connection::Sqlite(connection) => apply(connection, Dialect::Sqlite, migrate).await,
        Connection::Postgres(connection) => {
            apply(connection.as_mut(), Dialect::Postgres, migrate).await
        }
    }
}

async fn apply(
    connection: &mut impl Migrate,
    dialect: Dialect,
    migrate: bool,
) -> Result<(), Error> {
    let needed = MIGRATIONS.last().map_or(0, |(version, ..)| *version);
    if migrate {
        // Hosts of one database may start at the same moment.
        connection.lock().await.map_err(fault)?;
        connection
            .ensure_migrations_table(TABLE)
            .await
            .map_err(fault)?;
    }
    let applied = match connection.list_applied_migrations(TABLE).await {
        Ok(applied) => applied,
        Err(error) => match fault(error) {
            // An empty database has no such table, and looking at it must not make one.
            Error::Migration(_) if !migrate => Vec::new(),
            error => return Err(error),
        },
    };
    let found = applied.last().map_or(0, |migration| migration.version);
    if found > needed {
        return Err(Error::SchemaNewer {
            found,
            known: needed,
        });
    }
    if found < needed && !migrate {
        return Err(Error::SchemaOlder { found, needed });
    }
    let migrations = MIGRATIONS
        .iter()
        .map(|(version, name, sqlite, postgres)| {
            let text = match dialect {
                Dialect::Sqlite => *sqlite,
                Dialect::Postgres => *postgres,
            };
            Migration::new(
                *version,
                (*name).into(),
                MigrationType::Simple,
                text.into_sql_str(),
                false,
            )
        })
        .collect();
    Migrator::with_migrations(migrations)
        .run_direct(None, connection, false)
        .await
        .map_err(fault)?;
    if migrate {
        connection.unlock().await.map_err(fault)?;
    }
    Ok(())
}

fn fault(error: MigrateError) -> Error {
    match error {
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => {
            match Failure::from(error) {
                Failure::Statement(text) => Error::Migration(text),
                failure => failure.into(),
            }
        }
        error => Error::Migration(error.to_string()),
    }
}
