//! The one task that writes.
//!
//! It takes every command that waits, runs them in one transaction and answers them after the commit, so that a
//! disk sync is shared by all who waited for it. A transaction has few steps, each of them a script with the
//! statements of all its commands: who holds what, then the changes, then what is claimed.
//! A command that the database refuses does not fail its neighbours: they are run again one by one.
//! When the storage is gone every command fails at once, and the next batch tries to connect anew.
//! Knows the steps, not the tables. Start with [`Work::batch`].

mod transaction;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::database::{Address, Connection, Dialect, Part, Renderer, Row, Script, Sql, Value};
use super::failure::Failure;
use super::journal::append::{Entry, Kept};
use super::journal::claim::{Claim, Head};
use super::journal::lanes;
use super::journal::ledger::Begin;
use super::journal::settle::Settle;
use super::migrate::Lock;
use super::{Error, Written, now_ms};
use transaction::transaction;

/// Commands that may wait before callers are held up.
const QUEUE: usize = 4_096;
/// Commands of one transaction.
const BATCH: usize = 512;
/// Bytes of messages in one transaction, so that a few very large ones do not fill the memory.
const BATCH_BYTES: usize = 32 * 1024 * 1024;
/// A transaction that takes longer is given up, and its connection with it.
const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(15);
/// How often a transaction that another host was in the way of is tried again.
const CONFLICT_TRIES: u32 = 5;
/// Batches that go the careful way after the quick one failed: repeated messages come in numbers.
const CAREFUL: u32 = 16;
/// Numbers that are taken from the database at once; those not used by the end of the process are left out.
const NUMBERS: i64 = 10_000;

type Reply<T> = oneshot::Sender<Result<T, Error>>;

/// Something to be written.
pub(super) enum Command {
    Append {
        entries: Vec<Entry>,
        reply: Reply<Vec<Kept>>,
    },
    Begin {
        begin: Begin,
        reply: Reply<()>,
    },
    Settle {
        settle: Settle,
        reply: Reply<()>,
    },
    Claim {
        claim: Claim,
        reply: Reply<Vec<Head>>,
    },
    Plain {
        statements: Vec<Planned>,
        wake: bool,
        reply: Reply<Vec<Vec<Row>>>,
    },
}

impl Command {
    fn size(&self) -> usize {
        match self {
            Command::Append { entries, .. } => entries.iter().map(Entry::size).sum(),
            _ => 0,
        }
    }
}

/// A statement of a [`Command::Plain`].
pub(super) struct Planned {
    sql: &'static Sql,
    values: Vec<Value>,
    changes: bool,
}

impl Planned {
    pub(super) fn one(sql: &'static Sql, values: Vec<Value>) -> Self {
        debug_assert!(sql.kinds.is_empty());
        Self {
            sql,
            values,
            changes: true,
        }
    }

    /// Asks what only the writer's connection knows.
    pub(super) fn read(sql: &'static Sql, values: Vec<Value>) -> Self {
        Self {
            changes: false,
            ..Self::one(sql, values)
        }
    }

    pub(super) fn rows(sql: &'static Sql, values: Vec<Value>) -> Self {
        debug_assert!(!sql.kinds.is_empty());
        Self {
            sql,
            values,
            changes: true,
        }
    }

    fn changes(&self) -> bool {
        self.changes
    }

    fn add(&self, script: &mut Script) -> Part {
        if self.sql.kinds.is_empty() {
            script.one(self.sql, self.values.clone())
        } else {
            script.rows(self.sql, self.values.clone())
        }
    }
}

/// The way to the writing task.
pub(super) struct Writer {
    queue: mpsc::Sender<Command>,
    pub(super) wake: Arc<Notify>,
    counters: Arc<Counters>,
}

#[derive(Default)]
struct Counters {
    commits: AtomicU64,
    messages: AtomicU64,
    settled: AtomicU64,
}

impl Writer {
    /// Hands a command over and waits until it is durable.
    pub(super) async fn send<T>(
        &self,
        command: impl FnOnce(Reply<T>) -> Command,
    ) -> Result<T, Error> {
        let stopped = || Error::Unavailable("the store is closed".into());
        let (reply, answer) = oneshot::channel();
        self.queue
            .send(command(reply))
            .await
            .map_err(|_| stopped())?;
        answer.await.map_err(|_| stopped())?
    }

    /// Runs statements in the next transaction; `wake` when they may make something claimable.
    pub(super) async fn plain(
        &self,
        statements: Vec<Planned>,
        wake: bool,
    ) -> Result<Vec<Vec<Row>>, Error> {
        self.send(|reply| Command::Plain {
            statements,
            wake,
            reply,
        })
        .await
    }

    /// Whether commands wait.
    pub(super) fn is_busy(&self) -> bool {
        self.queue.capacity() < self.queue.max_capacity()
    }

    pub(super) fn written(&self) -> Written {
        Written {
            commits: self.counters.commits.load(Ordering::Relaxed),
            messages: self.counters.messages.load(Ordering::Relaxed),
            deliveries_settled: self.counters.settled.load(Ordering::Relaxed),
        }
    }
}

/// Makes the writer and its task, which ends some time after `shutdown`.
pub(super) async fn prepare(
    address: Address,
    connection: Connection,
    renderer: Arc<Renderer>,
    lock: Lock,
    shutdown: CancellationToken,
) -> Result<(Writer, impl Future<Output = ()> + Send + 'static), Error> {
    let (queue, commands) = mpsc::channel(QUEUE);
    let wake = Arc::new(Notify::new());
    let counters = Arc::new(Counters::default());
    let mut work = Work {
        address,
        connection: None,
        renderer,
        numbers: Numbers::default(),
        careful: 0,
        wake: wake.clone(),
        counters: counters.clone(),
    };
    work.connection = Some(work.ready(connection).await?);
    let writer = Writer {
        queue,
        wake,
        counters,
    };
    let task = async move {
        work.run(commands, shutdown).await;
        drop(lock);
    };
    Ok((writer, task))
}

struct Work {
    address: Address,
    connection: Option<Connection>,
    renderer: Arc<Renderer>,
    numbers: Numbers,
    /// Batches that go the careful way because one before them had to.
    careful: u32,
    wake: Arc<Notify>,
    counters: Arc<Counters>,
}

/// How a batch is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// In one round trip that fails if a message is a repeated one.
    Quick,
    /// First who was here before and who holds what, then the changes.
    Careful,
}

/// Sequence numbers at hand.
#[derive(Default)]
struct Numbers {
    next: i64,
    /// SQLite: the database has been told that numbers below this are taken.
    end: i64,
}

/// What a command is answered after the commit.
enum Outcome {
    Append(Vec<Kept>),
    Done,
    LeaseLost,
    Claim(Vec<Head>),
    Plain(Vec<Vec<Row>>),
}

/// Everything a transaction has to tell once it is committed.
struct Done {
    outcomes: Vec<Outcome>,
    changed: bool,
    wake: bool,
    messages: u64,
    settled: u64,
}

static LAST_NUMBER: Sql = Sql {
    text: "select value from sequence where name = ?",
    kinds: &[],
};

impl Work {
    /// Makes a new connection ready to write; see [`lanes`] for what SQLite needs.
    async fn ready(&mut self, mut connection: Connection) -> Result<Connection, Failure> {
        if self.renderer.dialect == Dialect::Sqlite {
            let mut script = Script::new(&self.renderer);
            lanes::make(&mut script, now_ms());
            let last = script.one(&LAST_NUMBER, vec!["seq".into()]);
            let rows = connection.run(script).await?.of(&last);
            let last = rows.first().ok_or_else(|| Failure::column(0))?.int(0)?;
            self.numbers = Numbers {
                next: last + 1,
                end: last + 1,
            };
        }
        Ok(connection)
    }

    async fn run(&mut self, mut commands: mpsc::Receiver<Command>, shutdown: CancellationToken) {
        let mut batch = Vec::new();
        let mut stopping = false;
        loop {
            let first = tokio::select! {
                biased;
                () = shutdown.cancelled(), if !stopping => {
                    stopping = true;
                    commands.close();
                    continue;
                }
                first = commands.recv() => first,
            };
            let Some(first) = first else { break };
            // Callers that were answered a moment ago get to send their next command, so that it is in this batch.
            tokio::task::yield_now().await;
            let mut size = first.size();
            batch.push(first);
            while batch.len() < BATCH && size < BATCH_BYTES {
                let Ok(next) = commands.try_recv() else { break };
                size += next.size();
                batch.push(next);
            }
            self.batch(std::mem::take(&mut batch)).await;
        }
        if let Some(connection) = self.connection.take()
            && let Err(failure) = connection.close().await
        {
            tracing::warn!(error = %Error::from(failure), "the database connection did not close cleanly");
        }
    }

    /// Writes a batch and answers its commands.
    async fn batch(&mut self, commands: Vec<Command>) {
        match self.attempt(&commands).await {
            Ok(done) => self.answer(commands, done),
            Err(failure) if failure.is_storage() || commands.len() == 1 => {
                self.refuse(commands, &failure.into());
            }
            Err(failure) => {
                tracing::warn!(
                    error = %Error::from(failure),
                    commands = commands.len(),
                    "a batch was refused; its commands are run one by one"
                );
                for command in commands {
                    let command = vec![command];
                    match self.attempt(&command).await {
                        Ok(done) => self.answer(command, done),
                        Err(failure) => self.refuse(command, &failure.into()),
                    }
                }
            }
        }
    }

    fn answer(&self, commands: Vec<Command>, done: Done) {
        self.counters
            .commits
            .fetch_add(u64::from(done.changed), Ordering::Relaxed);
        self.counters
            .messages
            .fetch_add(done.messages, Ordering::Relaxed);
        self.counters
            .settled
            .fetch_add(done.settled, Ordering::Relaxed);
        // A caller that is gone by now does not mind: what it asked for is durable.
        for (command, outcome) in commands.into_iter().zip(done.outcomes) {
            match (command, outcome) {
                (Command::Append { reply, .. }, Outcome::Append(kept)) => {
                    let _ = reply.send(Ok(kept));
                }
                (Command::Begin { reply, .. } | Command::Settle { reply, .. }, outcome) => {
                    let _ = reply.send(match outcome {
                        Outcome::Done => Ok(()),
                        _ => Err(Error::LeaseLost),
                    });
                }
                (Command::Claim { reply, .. }, Outcome::Claim(heads)) => {
                    let _ = reply.send(Ok(heads));
                }
                (Command::Plain { reply, .. }, Outcome::Plain(rows)) => {
                    let _ = reply.send(Ok(rows));
                }
                _ => debug_assert!(false, "an outcome of another kind than its command"),
            }
        }
        if done.wake {
            self.wake.notify_one();
        }
    }

    fn refuse(&self, commands: Vec<Command>, error: &Error) {
        tracing::warn!(error = %error, commands = commands.len(), "nothing was written");
        for command in commands {
            let error = error.clone();
            match command {
                Command::Append { reply, .. } => drop(reply.send(Err(error))),
                Command::Begin { reply, .. } | Command::Settle { reply, .. } => {
                    drop(reply.send(Err(error)));
                }
                Command::Claim { reply, .. } => drop(reply.send(Err(error))),
                Command::Plain { reply, .. } => drop(reply.send(Err(error))),
            }
        }
    }

    /// Runs one transaction, connecting first where needed; a failed one leaves nothing behind.
    async fn attempt(&mut self, commands: &[Command]) -> Result<Done, Failure> {
        let mut tries = 0;
        let mut way = self.way(commands);
        loop {
            let mut connection = match self.connection.take() {
                Some(connection) => connection,
                None => {
                    let connection = self.address.connect().await?;
                    self.wake.notify_one();
                    self.ready(connection).await?
                }
            };
            let done = tokio::time::timeout(
                TRANSACTION_TIMEOUT,
                transaction(
                    &mut connection,
                    &self.renderer,
                    &mut self.numbers,
                    commands,
                    way,
                ),
            )
            .await
            .unwrap_or(Err(Failure::TimedOut));
            match done {
                Ok(done) => {
                    self.connection = Some(connection);
                    return Ok(done);
                }
                // Dropping the connection rolls back.
                Err(failure) if failure.is_storage() => return Err(failure),
                Err(failure) => {
                    let mut script = Script::new(&self.renderer);
                    script.plain("rollback");
                    match connection.run(script).await {
                        // SQLite has rolled back by itself, and says so.
                        Err(other)
                            if self.renderer.dialect == Dialect::Postgres || other.is_storage() => {
                        }
                        _ => self.connection = Some(connection),
                    }
                    if way == Way::Quick {
                        way = Way::Careful;
                        self.careful = CAREFUL;
                        continue;
                    }
                    tries += 1;
                    if !matches!(failure, Failure::Conflict(_)) || tries == CONFLICT_TRIES {
                        return Err(failure);
                    }
                }
            }
        }
    }

    /// Appends alone go the quick way, unless some were repeated a moment ago.
    fn way(&mut self, commands: &[Command]) -> Way {
        if self.careful > 0 {
            self.careful -= 1;
            return Way::Careful;
        }
        let quick = self.renderer.dialect == Dialect::Sqlite
            && commands
                .iter()
                .all(|command| matches!(command, Command::Append { .. }));
        if quick { Way::Quick } else { Way::Careful }
    }
}
