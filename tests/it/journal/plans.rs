//! Lists and searches go by indexes, so that ten million messages are no more than ten thousand: both databases say how they
//! would go about each statement.

use ligature::store::journal::search::statements;
use ligature_tests::archive;
use sqlx::{AssertSqlSafe, Connection as _, Row as _};

use super::{Bed, both};

both!(lists_and_searches_go_by_indexes);

/// Tables that have a row for every message or more.
const LARGE: [&str; 8] = [
    "message",
    "delivery",
    "attempt",
    "operation",
    "run",
    "search",
    "duplicate",
    "search_recent",
];

/// A statement with a value in each place: both databases take this one for a number, a text and bytes.
fn filled(text: &str, columns: usize) -> String {
    let row = format!("({})", vec!["'1'"; columns].join(", "));
    text.replace("{rows}", &row).replace('?', "'1'")
}

async fn plan(bed: &Bed, text: String) -> Vec<String> {
    if bed.is_sqlite() {
        let mut connection = sqlx::SqliteConnection::connect(&bed.url).await.unwrap();
        let text = AssertSqlSafe(format!("explain query plan {text}"));
        let rows = sqlx::query(text).fetch_all(&mut connection).await.unwrap();
        return rows.iter().map(|row| row.get::<String, _>(3)).collect();
    }
    let mut connection = sqlx::PgConnection::connect(&bed.url).await.unwrap();
    // Of a table that is nearly empty all of it is read, index or not.
    let off = sqlx::query("set enable_seqscan = off");
    off.execute(&mut connection).await.unwrap();
    let text = AssertSqlSafe(format!("explain {text}"));
    let rows = sqlx::query(text).fetch_all(&mut connection).await.unwrap();
    rows.iter().map(|row| row.get::<String, _>(0)).collect()
}

/// Whether a line of a plan goes through a whole table.
fn scans(line: &str) -> bool {
    let line = line.trim().trim_start_matches("-> ").trim();
    let whole = |table: &&str| {
        // SQLite goes by an index where it says "SEARCH"; "SCAN x USING INDEX" reads all of it.
        let sqlite = line
            .strip_prefix("SCAN ")
            .and_then(|rest| rest.split(' ').next());
        let postgres = line
            .split("Seq Scan on ")
            .nth(1)
            .and_then(|rest| rest.split(' ').next());
        let alias = match *table {
            "message" => "m",
            "delivery" => "d",
            "operation" => "o",
            "search" => "s",
            other => other,
        };
        sqlite.is_some_and(|name| name == *table || name == alias) || postgres == Some(*table)
    };
    LARGE.iter().any(whole)
}

/// Whether SQLite goes through all deliveries of an account, or of a time, for those of a state, a reason or a flow.
fn walks(line: &str, text: &str) -> bool {
    let by_id = [
        "(account_id=?)",
        "(account_id=? AND id>?)",
        "(account_id=? AND id>? AND id<?)",
    ];
    let is_of_some = [
        "state = ",
        "reason = ",
        "flow_id = ",
        "identity = ",
        "awaits = ",
    ];
    line.contains("USING PRIMARY KEY")
        && by_id.iter().any(|range| line.ends_with(range))
        && is_of_some.iter().any(|condition| text.contains(condition))
}

async fn lists_and_searches_go_by_indexes(bed: Bed) {
    archive::fill(&bed.url, 20_000, |_| ()).await.unwrap();
    let mut found = Vec::new();
    for (text, columns) in statements() {
        let plan = plan(&bed, filled(text, columns)).await;
        assert!(!plan.is_empty(), "{text}");
        if plan.iter().any(|line| scans(line) || walks(line, text)) {
            found.push(format!("{text}\n{}", plan.join("\n")));
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n\n"));
    // The test would see it.
    let whole = plan(&bed, "select * from delivery where detail = 'x'".into()).await;
    assert!(whole.iter().any(|line| scans(line)), "{whole:?}");
    if bed.is_sqlite() {
        let text = "select * from delivery where account_id = 'x' and id > 'x' and detail = 'x' and state = lower('x')";
        let walk = plan(&bed, text.into()).await;
        assert!(walk.iter().any(|line| walks(line, text)), "{walk:?}");
    }
}
