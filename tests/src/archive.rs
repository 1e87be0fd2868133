//! Fills a store with as many messages as a busy clinic has after years, by plain SQL: nothing of them can be opened.
//!
//! The store is made by the host and closed before; what is put in is the account `clinic`, its channel `ehr` and its flows
//! `archive-0` to `archive-3`. One in a hundred messages is dead and one is skipped.

use anyhow::Context;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, SqliteConnection};

/// Messages that are put in with one statement.
const PART: u64 = 50_000;

/// When the newest of them came, in epoch milliseconds: 2026-06-01.
pub const NEWEST_MS: u64 = 1_780_272_000_000;

/// How far apart they are.
const APART_MS: u64 = 3_000;

/// Where the search values of message `n` have been filed.
const BUCKET: &str = "(n / 8192 + 1) * 16384";

/// The words in which the two databases differ.
struct Words {
    /// `n` from `$low` to `$high`.
    numbers: &'static str,
    /// An id of version 7 for a message of the time `at`, with `n` in it.
    id: &'static str,
    /// So many bytes that tell nothing.
    bytes: fn(usize) -> String,
    /// A hash of `n` and a letter.
    hash: fn(&str) -> String,
}

const SQLITE: Words = Words {
    numbers: "with recursive numbers(n) as (select $low union all select n + 1 from numbers where n < $high)",
    id: "printf('%08x-%04x-7%03x-8000-%012x', at >> 16, at & 65535, n & 4095, n)",
    bytes: |count| format!("randomblob({count})"),
    hash: |_| "randomblob(16)".into(),
};

const POSTGRES: Words = Words {
    numbers: "with numbers(n) as (select * from generate_series($low::bigint, $high::bigint))",
    id: "lpad(to_hex(at >> 16), 8, '0') || '-' || lpad(to_hex(at & 65535), 4, '0') || '-7' || lpad(to_hex(n & 4095), 3, '0') \
         || '-8000-' || lpad(to_hex(n), 12, '0')",
    bytes: |count| {
        format!(
            "decode(repeat(md5(n::text), {}), 'hex')",
            count.div_ceil(16)
        )
    },
    hash: |letter| format!("decode(md5('{letter}' || n::text), 'hex')"),
};

/// Puts `messages` messages with all that hangs on them into the store at `url`; `told` hears how many are there.
///
/// # Errors
/// What the database said.
pub async fn fill(url: &str, messages: u64, mut told: impl FnMut(u64)) -> anyhow::Result<()> {
    let words = if url.starts_with("sqlite:") {
        SQLITE
    } else {
        POSTGRES
    };
    let mut database = Database::open(url).await?;
    for low in (1..=messages).step_by(usize::try_from(PART)?) {
        let high = (low + PART - 1).min(messages);
        for statement in statements(&words, messages) {
            let text = statement
                .replace("$low", &low.to_string())
                .replace("$high", &high.to_string());
            database.run(text).await?;
        }
        told(high);
    }
    // The host goes on counting behind them.
    let next = messages * 2 + 2;
    match &database {
        Database::Sqlite(_) => {
            database
                .run(format!("update sequence set value = {next}"))
                .await?
        }
        Database::Postgres(_) => {
            database
                .run(format!("select setval('message_seq', {next})"))
                .await?;
            database.run("vacuum analyze".into()).await?;
        }
    }
    Ok(())
}

/// One for each table, in the order of its primary key as far as that can be.
fn statements(words: &Words, messages: u64) -> Vec<String> {
    let Words {
        numbers,
        id,
        bytes,
        hash,
    } = words;
    let oldest = NEWEST_MS - messages * APART_MS;
    let rows = format!(
        "{numbers}, timed as (select n, {oldest} + n * {APART_MS} as at from numbers),
         made as (select n, at, {id} as id, 'archive-' || (n % 4) as flow,
           case when n % 100 = 0 then 'dead' when n % 100 = 1 then 'skipped' else 'delivered' end as state,
           case when n % 100 = 0 then 'refused' when n % 100 = 1 then 'skipped-by-mapping' else 'delivered' end as reason
           from timed)"
    );
    // SQLite reads `with` before `insert` only.
    let insert = |into: &str, what: &str| format!("{rows} insert into {into} {what}");
    let keys = ["p", "v", "c"].map(|letter| {
        let hash = hash(letter);
        format!("select {BUCKET}, {hash}, 'clinic', id from made")
    });
    vec![
        insert(
            "message (account_id, id, seq, direction, channel_id, received_at, event, control_id, sender, version, route, \
             reason, detail, remark, warnings, peer, size, kept, acknowledgement, payload)",
            &format!(
                "select 'clinic', id, n * 2, 'ehr-to-leadsquared', 'ehr', at, 'ADT^A08', 'C' || n, 'EPIC|MAIN', '2.5.1', \
                 'flows', '', '', '', '', '10.0.0.1', 600, 'whole', {}, {} from made",
                bytes(64),
                bytes(128)
            ),
        ),
        insert(
            "delivery (account_id, id, message_id, flow_id, seq, state, attempts, updated_at, reason, detail, holds, rank, lanes)",
            &format!(
                "select 'clinic', id || '.0', id, flow, n * 2 + 1, state, 1, at + 900, reason, case when state = 'delivered' \
                 then '' else 'LeadSquared takes no such value in field number ' || (n % 40) end, 0, 1, {} from made",
                bytes(16)
            ),
        ),
        insert(
            "attempt (account_id, delivery_id, number, stage, code, started_at, duration_ms)",
            "select 'clinic', id || '.0', 1, 'write', reason, at + 400, 500 from made",
        ),
        insert(
            "operation (account_id, delivery_id, id, ordinal, kind, state, target, started_at, finished_at, payload)",
            &format!(
                "select 'clinic', id || '.0', id, 1, 'update-lead', 'done', id, at + 500, at + 800, {} from made \
                 where state = 'delivered'",
                bytes(32)
            ),
        ),
        insert(
            "run (account_id, delivery_id, flow_id, release_id, at, outcome, broke, document)",
            &format!(
                "select 'clinic', id || '.0', flow, 'archive', at + 450, 'wrote', 0, {} from made",
                bytes(64)
            ),
        ),
        insert(
            "search (bucket, key, account_id, message_id)",
            &format!("{} order by 1, 2", keys.join(" union all ")),
        ),
        insert(
            "search_bucket (bucket, is_merged)",
            &format!(
                "select distinct {BUCKET}, 1 from made where true on conflict (bucket) do nothing"
            ),
        ),
    ]
}

/// A connection that writes.
enum Database {
    Sqlite(Box<SqliteConnection>),
    Postgres(Box<PgConnection>),
}

impl Database {
    async fn open(url: &str) -> anyhow::Result<Self> {
        if url.starts_with("sqlite:") {
            let mut connection = SqliteConnection::connect(url)
                .await
                .context("opening the store")?;
            // What is lost in a power cut is made again.
            connection
                .execute("pragma synchronous = off; pragma cache_size = -262144")
                .await?;
            return Ok(Self::Sqlite(Box::new(connection)));
        }
        let connection = PgConnection::connect(url)
            .await
            .context("opening the store")?;
        Ok(Self::Postgres(Box::new(connection)))
    }

    async fn run(&mut self, text: String) -> anyhow::Result<()> {
        let text = sqlx::raw_sql(AssertSqlSafe(text));
        match self {
            Self::Sqlite(connection) => connection.execute(text).await.map(|_| ())?,
            Self::Postgres(connection) => connection.execute(text).await.map(|_| ())?,
        }
        Ok(())
    }
}
