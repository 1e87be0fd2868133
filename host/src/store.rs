//! What is kept: traffic ([`journal`]) and configuration ([`catalog`]), in SQLite or PostgreSQL.
//!
//! The only room with SQL. Knows accounts, flows and the vault; nothing of components, HTTP or sockets.
//! One task writes, see [`writer`]; everyone else reads. Everything that tells about a patient is sealed
//! on the caller's task, and what must be found again is kept as a keyed hash.
//! Start with [`Store::open`], then [`journal::Journal`].

pub mod alerts;
pub mod catalog;
pub mod journal;
pub mod loads;
pub mod shadows;
pub mod templates;

mod database;
mod failure;
mod migrate;
mod writer;

use std::path::PathBuf;
use std::sync::Arc;

use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::vault::{self, Vault};
use alerts::Alerts;
use catalog::Catalog;
use database::{Address, Dialect, Readers, Renderer, Row, Sql, Value};
use journal::Journal;
use journal::search::filing::Recent;
use loads::Loads;
use shadows::Shadows;
use templates::Templates;
use writer::Writer;

/// Where the database is.
#[derive(Clone)]
pub struct Config {
    /// `sqlite:PATH` or `postgres://USER:PASSWORD@HOST/DATABASE`.
    pub url: String,
    /// Brings an older schema up to date; without it an older schema is an error.
    pub migrate: bool,
}

impl std::fmt::Debug for Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Config")
            .field("url", &"redacted")
            .field("migrate", &self.migrate)
            .finish()
    }
}

/// Why the store did not do what was asked. Texts hold no patient data.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// Full, gone or stopping. Whether an append was kept is open; the sender repeats it.
    #[error("storage is not available: {0}")]
    Unavailable(String),
    #[error("the lease on this patient's lane has passed to another worker")]
    LeaseLost,
    #[error("{0} is not in the store")]
    NotFound(String),
    #[error(
        "{what} is {state}: only a delivery that waits for a person or is dead can be released"
    )]
    NotReleasable { what: String, state: String },
    /// Somebody changed the document meanwhile: read it again, and change that.
    #[error(
        "{what} is at version {found}, not at {expected}: somebody else changed it, read it again first"
    )]
    Conflict {
        what: String,
        expected: i64,
        found: i64,
    },
    #[error("{0} exists already")]
    Exists(String),
    #[error("{what} cannot be deleted while it is used by {by}: delete or change those first")]
    StillUsed { what: String, by: String },
    #[error(
        "database {path:?} is in use by another process: stop that one, or ask it by its interface instead, such as \
         POST /api/v1/tokens for a token and GET /api/v1/flows for what flows are (host/docs/operating.md)"
    )]
    InUse { path: PathBuf },
    #[error(
        "database schema is at version {found}, this program needs {needed}: run `ligature migrate`"
    )]
    SchemaOlder { found: i64, needed: i64 },
    #[error(
        "database schema is at version {found}, this program knows {known}: use a newer program"
    )]
    SchemaNewer { found: i64, known: i64 },
    #[error("schema migration failed: {0}")]
    Migration(String),
    #[error("database address must be sqlite:PATH or postgres://USER:PASSWORD@HOST/DATABASE")]
    Address,
    #[error("the database refused a statement: {0}")]
    Database(String),
    #[error(transparent)]
    Sealed(#[from] vault::Error),
}

impl Error {
    /// Whether the same call can work later without anyone doing anything about the call.
    pub fn is_unavailable(&self) -> bool {
        matches!(self, Error::Unavailable(_))
    }
}

/// What has been written since the store was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Written {
    /// Transactions that changed something; each is one disk sync.
    pub commits: u64,
    pub messages: u64,
    pub deliveries_settled: u64,
}

/// The database of one installation; cloning shares it.
#[derive(Clone)]
pub struct Store {
    shared: Arc<Shared>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Store({})", self.sync_method())
    }
}

/// What journal and catalog work with.
struct Shared {
    vault: Arc<Vault>,
    renderer: Arc<Renderer>,
    readers: Readers,
    writer: Writer,
    recent: Recent,
}

impl Shared {
    async fn one(&self, sql: &'static Sql, values: Vec<Value>) -> Result<Vec<Row>, Error> {
        Ok(self.readers.one(&self.renderer, sql, values).await?)
    }

    async fn rows(&self, sql: &'static Sql, rows: Vec<Value>) -> Result<Vec<Row>, Error> {
        Ok(self.readers.rows(&self.renderer, sql, rows).await?)
    }
}

impl Store {
    /// Opens the database, brings its schema up to date if asked to, and starts the writer on `tracker`.
    ///
    /// After `shutdown` the writer finishes what waits and closes; later calls give [`Error::Unavailable`].
    ///
    /// # Errors
    /// `InUse` when another process has the SQLite file open, `SchemaOlder` and `SchemaNewer` when the schema
    /// is not this program's, `Unavailable` when the database cannot be reached.
    pub async fn open(
        config: Config,
        vault: Arc<Vault>,
        tracker: &TaskTracker,
        shutdown: CancellationToken,
    ) -> Result<Self, Error> {
        let address = Address::parse(&config.url)?;
        let lock = migrate::lock(&address)?;
        let mut connection = address.connect().await?;
        migrate::check(&mut connection, config.migrate).await?;
        let renderer = Arc::new(Renderer::new(address.dialect()));
        let readers = address.readers();
        let (writer, work) = writer::prepare(
            address,
            connection,
            renderer.clone(),
            lock,
            shutdown.clone(),
        )
        .await?;
        let shared = Arc::new(Shared {
            vault,
            renderer,
            readers,
            writer,
            recent: Recent::default(),
        });
        let store = Self { shared };
        let journal = store.journal();
        let filing = shutdown.clone();
        tracker.spawn(async move { journal.keep_filing(filing).await });
        let readers = store.shared.readers.clone();
        tracker.spawn(async move {
            shutdown.cancelled().await;
            readers.close().await;
        });
        if store.shared.renderer.dialect == Dialect::Sqlite {
            // A thread of its own: woken by each answer of the database, the writer would otherwise wait for its turn
            // among all other tasks, which costs a single append as much as the disk does. PostgreSQL's connection
            // needs the runtime's own threads.
            let runtime = Handle::current();
            tracker.spawn_blocking(move || runtime.block_on(work));
        } else {
            tracker.spawn(work);
        }
        Ok(store)
    }

    pub fn journal(&self) -> Journal {
        Journal::new(self.shared.clone())
    }

    pub fn templates(&self) -> Templates {
        Templates::new(self.shared.clone())
    }

    pub fn loads(&self) -> Loads {
        Loads::new(self.shared.clone())
    }

    pub fn shadows(&self) -> Shadows {
        Shadows::new(self.shared.clone())
    }

    pub fn alerts(&self) -> Alerts {
        Alerts::new(self.shared.clone())
    }

    pub fn catalog(&self) -> Catalog {
        Catalog::new(self.shared.clone())
    }

    /// Whether something waits to be written: what can wait had better.
    pub fn is_busy(&self) -> bool {
        self.shared.writer.is_busy()
    }

    /// What the database takes on its disk.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn size_bytes(&self) -> Result<u64, Error> {
        let sql = match self.shared.renderer.dialect {
            Dialect::Sqlite => &SIZE_OF_SQLITE,
            Dialect::Postgres => &SIZE_OF_POSTGRES,
        };
        let rows = self.shared.one(sql, vec![1.into()]).await?;
        let size = rows.first().map(|row| row.int(0)).transpose()?;
        Ok(size.unwrap_or_default().unsigned_abs())
    }

    pub fn written(&self) -> Written {
        self.shared.writer.written()
    }

    /// Tells how a commit reaches the disk, to be printed beside measurements.
    pub fn sync_method(&self) -> &'static str {
        match self.shared.renderer.dialect {
            Dialect::Postgres => "PostgreSQL, synchronous_commit as the server has it",
            // The flag that the bundled SQLite was compiled with, by the same build; see .cargo/config.toml.
            Dialect::Sqlite
                if option_env!("LIBSQLITE3_FLAGS")
                    .is_some_and(|flags| flags.contains("HAVE_FDATASYNC")) =>
            {
                "SQLite WAL, synchronous=full, fdatasync"
            }
            Dialect::Sqlite => "SQLite WAL, synchronous=full, fsync",
        }
    }
}

static SIZE_OF_SQLITE: Sql = Sql {
    text: "select page_count * page_size from pragma_page_count(), pragma_page_size() where 1 = ?",
    kinds: &[],
};

static SIZE_OF_POSTGRES: Sql = Sql {
    text: "select pg_database_size(current_database()) where 1 = ?",
    kinds: &[],
};

/// The wall clock in epoch milliseconds.
fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}
