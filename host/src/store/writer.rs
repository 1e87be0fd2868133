//! The one task that writes.
//!
//! It takes every command that waits, runs them in one transaction and answers them after the commit, so that a
//! disk sync is shared by all who waited for it. A transaction has few steps, each of them a script with the
//! statements of all its commands: who holds what, then the changes, then what is claimed.
//! A command that the database refuses does not fail its neighbours: they are run again one by one.
//! When the storage is gone every command fails at once, and the next batch tries to connect anew.
//! Knows the steps, not the tables. Start with [`Work::batch`].

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::database::{
    Address, Answers, Connection, Dialect, Part, Renderer, Row, Script, Sql, Value,
};
use super::failure::Failure;
use super::journal::append::{self, Entry, Kept, Verdict};
use super::journal::claim::{self, Claim, Head, Progress};
use super::journal::ledger::{self, Begin};
use super::journal::settle::{self, Settle};
use super::migrate::Lock;
use super::{Error, Written, now_ms};

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
}

impl Planned {
    pub(super) fn one(sql: &'static Sql, values: Vec<Value>) -> Self {
        debug_assert!(sql.kinds.is_empty());
        Self { sql, values }
    }

    pub(super) fn rows(sql: &'static Sql, values: Vec<Value>) -> Self {
        debug_assert!(!sql.kinds.is_empty());
        Self { sql, values }
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
        connection: Some(connection),
        renderer,
        numbers: Numbers::default(),
        wake: wake.clone(),
        counters: counters.clone(),
    };
    if work.renderer.dialect == Dialect::Sqlite {
        work.take_over().await?;
    }
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
    wake: Arc<Notify>,
    counters: Arc<Counters>,
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

static TAKE_NUMBERS: Sql = Sql {
    text: "update sequence set value = ? where name = 'seq'",
    kinds: &[],
};

static NEXT_NUMBERS: Sql = Sql {
    text: "select nextval('message_seq') from generate_series(1, ?)",
    kinds: &[],
};

impl Work {
    /// Voids the leases of a former process: the lock beside the file says that it is gone.
    async fn take_over(&mut self) -> Result<(), Error> {
        let mut script = Script::new(&self.renderer);
        script.plain("begin immediate");
        for statement in claim::give_back(None, now_ms()) {
            statement.add(&mut script);
        }
        let last = script.one(&LAST_NUMBER, vec!["seq".into()]);
        script.plain("commit");
        let Some(connection) = &mut self.connection else {
            return Ok(());
        };
        let rows = connection.run(script).await?.of(&last);
        let last = rows.first().ok_or_else(|| Failure::column(0))?.int(0)?;
        self.numbers = Numbers {
            next: last + 1,
            end: last + 1,
        };
        Ok(())
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
        loop {
            let mut connection = match self.connection.take() {
                Some(connection) => connection,
                None => self.address.connect().await?,
            };
            let done = tokio::time::timeout(
                TRANSACTION_TIMEOUT,
                transaction(&mut connection, &self.renderer, &mut self.numbers, commands),
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
                    if connection.run(script).await.is_ok() {
                        self.connection = Some(connection);
                    }
                    tries += 1;
                    if !matches!(failure, Failure::Conflict(_)) || tries == CONFLICT_TRIES {
                        return Err(failure);
                    }
                }
            }
        }
    }
}

/// Adds what makes the numbers of a batch durable, and gives where they come back.
fn reserve(numbers: &Numbers, script: &mut Script, count: i64) -> (Part, i64) {
    match script.dialect() {
        _ if count == 0 => (Part::default(), numbers.end),
        Dialect::Postgres => (script.one(&NEXT_NUMBERS, vec![count.into()]), 0),
        Dialect::Sqlite if numbers.next + count <= numbers.end => (Part::default(), numbers.end),
        Dialect::Sqlite => {
            let end = numbers.next + count + NUMBERS;
            (script.one(&TAKE_NUMBERS, vec![(end - 1).into()]), end)
        }
    }
}

async fn transaction(
    connection: &mut Connection,
    renderer: &Arc<Renderer>,
    numbers: &mut Numbers,
    commands: &[Command],
) -> Result<Done, Failure> {
    let now = now_ms();
    let mut entries: Vec<&Entry> = Vec::new();
    let mut begins = Vec::new();
    let mut settles = Vec::new();
    let mut claims = Vec::new();
    let mut plains = Vec::new();
    for command in commands {
        match command {
            Command::Append { entries: more, .. } => entries.extend(more),
            Command::Begin { begin, .. } => begins.push(begin),
            Command::Settle { settle, .. } => settles.push(settle),
            Command::Claim { claim, .. } => claims.push(claim),
            Command::Plain { statements, .. } => plains.push(statements),
        }
    }

    // Who was here before, who holds what.
    let mut script = Script::new(renderer);
    script.plain(match renderer.dialect {
        Dialect::Sqlite => "begin immediate",
        Dialect::Postgres => "begin",
    });
    let count = entries.iter().map(|entry| entry.numbers()).sum::<i64>() + claims.len() as i64;
    let (reserved, end) = reserve(numbers, &mut script, count);
    let identities = append::note_identities(&mut script, &entries);
    let noted = ledger::begin(&mut script, &begins);
    let freed = settle::free(&mut script, &settles, now);
    let asks = !(identities.is_empty() && noted.is_empty() && freed.is_empty())
        || (renderer.dialect == Dialect::Postgres && !reserved.is_empty());
    let mut answers = Answers::default();
    if asks {
        answers = connection.run(script).await?;
        script = Script::new(renderer);
    }
    let repeated = append::repeated(&mut answers, &identities, &entries)?;
    let noted = answers
        .of(&noted)
        .iter()
        .map(|row| row.text(0))
        .collect::<Result<HashSet<_>, _>>()?;
    let held = settle::held(&mut answers, &freed)?;
    let sqlite = renderer.dialect == Dialect::Sqlite;
    // SQLite's block needs no answer: one process counts, and its script may not have run yet.
    let given = if sqlite {
        Vec::new()
    } else {
        answers.of(&reserved)
    };
    let mut given = given
        .iter()
        .map(|row| row.int(0))
        .collect::<Result<Vec<_>, _>>()?
        .into_iter();
    let mut next_number = || {
        if sqlite {
            numbers.next += 1;
            numbers.next - 1
        } else {
            given.next().unwrap_or_default()
        }
    };
    let mut verdicts = HashMap::new();
    for at in repeated {
        let verdict = verdict(connection, &mut script, entries[at], &entries).await?;
        verdicts.insert(at, verdict);
    }

    // The changes, and the first step of claims.
    let queued = append::insert(&mut script, &entries, &verdicts, &mut next_number, now);
    let mut finished = Vec::new();
    for begin in &begins {
        if begin.is_noted(&noted) {
            finished.extend(begin.finished().iter().cloned());
        }
    }
    ledger::finish(&mut script, finished);
    let holding: Vec<&Settle> = settles
        .iter()
        .copied()
        .filter(|settle| held.has(settle))
        .collect();
    let (emptied, lanes_left) = settle::write(&mut script, &holding, now);
    let plain_parts: Vec<Vec<Part>> = plains
        .iter()
        .map(|statements| {
            statements
                .iter()
                .map(|planned| planned.add(&mut script))
                .collect()
        })
        .collect();
    let mut progress: Vec<Progress<'_>> = claims
        .iter()
        .map(|claim| Progress::take(claim, &mut script, next_number(), now))
        .collect();
    if claims.is_empty() {
        script.plain("commit");
    }
    let mut answers = connection.run(script).await?;
    let lanes_go_on = answers.of(&emptied).len() < lanes_left;
    let plain_rows = plain_parts
        .iter()
        .map(|parts| parts.iter().map(|part| answers.of(part)).collect());
    let mut plain_rows: Vec<Vec<Vec<Row>>> = plain_rows.collect();
    let mut heads = Vec::new();
    let mut woke = false;
    let mut took = false;
    if !claims.is_empty() {
        let claimed = claim_heads(connection, renderer, &mut progress, answers, now).await?;
        woke = progress.iter().any(Progress::woke);
        took = claimed.took;
        let mut answers = claimed.answers;
        for (progress, ledgers) in progress.into_iter().zip(claimed.ledgers) {
            heads.push(progress.finish(&mut answers, &ledgers)?);
        }
    }
    if sqlite {
        numbers.end = numbers.end.max(end);
    }

    // Committed: what each command is told.
    let mut kept = entries
        .iter()
        .enumerate()
        .map(|(at, _)| match verdicts.remove(&at) {
            Some(Verdict::Duplicate { message, sealed }) => Kept::Duplicate { message, sealed },
            _ => Kept::Stored,
        });
    let mut heads = heads.into_iter();
    let mut plain_rows = plain_rows.drain(..);
    let mut done = Done {
        outcomes: Vec::with_capacity(commands.len()),
        changed: took || !plains.is_empty() || !noted.is_empty() || !holding.is_empty(),
        wake: queued || woke || lanes_go_on,
        messages: 0,
        settled: holding.len() as u64,
    };
    for command in commands {
        done.outcomes.push(match command {
            Command::Append { entries, .. } => {
                let kept: Vec<Kept> = kept.by_ref().take(entries.len()).collect();
                let stored = kept
                    .iter()
                    .filter(|kept| matches!(kept, Kept::Stored))
                    .count();
                done.messages += stored as u64;
                Outcome::Append(kept)
            }
            Command::Begin { begin, .. } if begin.is_noted(&noted) => Outcome::Done,
            Command::Settle { settle, .. } if held.has(settle) => Outcome::Done,
            Command::Begin { .. } | Command::Settle { .. } => Outcome::LeaseLost,
            Command::Claim { .. } => Outcome::Claim(heads.next().unwrap_or_default()),
            Command::Plain { wake, .. } => {
                done.wake |= wake;
                Outcome::Plain(plain_rows.next().unwrap_or_default())
            }
        });
    }
    done.changed |= done.messages > 0;
    Ok(done)
}

/// Decides about an entry whose identity is known; rare, so one by one.
async fn verdict(
    connection: &mut Connection,
    script: &mut Script,
    entry: &Entry,
    entries: &[&Entry],
) -> Result<Verdict, Failure> {
    for second in [false, true] {
        let part = append::look_up(script, entry, second);
        let renderer = script.renderer().clone();
        let ask = std::mem::replace(script, Script::new(&renderer));
        let rows = connection.run(ask).await?.of(&part);
        if let Some(verdict) = append::judge(script, &rows, entry, second, entries)? {
            return Ok(verdict);
        }
    }
    Ok(Verdict::Reused)
}

struct ClaimedHeads {
    answers: Answers,
    ledgers: Vec<Part>,
    took: bool,
}

/// The further steps of claims, up to the commit.
async fn claim_heads(
    connection: &mut Connection,
    renderer: &Arc<Renderer>,
    progress: &mut [Progress<'_>],
    mut answers: Answers,
    now: i64,
) -> Result<ClaimedHeads, Failure> {
    let mut script = Script::new(renderer);
    let mut took = false;
    for claim in progress.iter_mut() {
        took |= claim.look(&mut answers, &mut script)?;
    }
    if took {
        answers = connection.run(script).await?;
        script = Script::new(renderer);
        for claim in progress.iter_mut() {
            claim.sort(&mut answers, &mut script, now)?;
        }
    }
    let mut others = None;
    if progress.iter().any(Progress::has_merges) {
        for claim in progress.iter_mut() {
            claim.take_others(&mut script);
        }
        others = Some(connection.run(script).await?);
        script = Script::new(renderer);
    }
    let mut ledgers = Vec::with_capacity(progress.len());
    for claim in progress.iter_mut() {
        ledgers.push(claim.mark(others.as_mut(), &mut script, now)?);
    }
    script.plain("commit");
    Ok(ClaimedHeads {
        answers: connection.run(script).await?,
        ledgers,
        took,
    })
}
