//! Storage that is gone, locked or of another version: what callers are told, and that the writer recovers by itself.

use std::sync::Arc;

use ligature::store::{Config, Error, Store};
use ligature::vault::{Key, Vault};
use sqlx::{Connection as _, SqliteConnection};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{Bed, arrival, both};

both!(
    a_schema_of_another_version_is_refused,
    a_closed_store_says_so,
);

async fn open(url: &str, migrate: bool) -> Result<Store, Error> {
    let vault = Arc::new(Vault::new(Key::generate()?));
    let config = Config {
        url: url.into(),
        migrate,
    };
    Store::open(config, vault, &TaskTracker::new(), CancellationToken::new()).await
}

async fn execute(bed: &Bed, sql: &'static str) {
    if bed.is_sqlite() {
        let mut connection = SqliteConnection::connect(&bed.url).await.unwrap();
        sqlx::query(sql).execute(&mut connection).await.unwrap();
    } else {
        let mut connection = sqlx::PgConnection::connect(&bed.url).await.unwrap();
        sqlx::query(sql).execute(&mut connection).await.unwrap();
    }
}

async fn a_schema_of_another_version_is_refused(mut bed: Bed) {
    bed.shutdown.cancel();
    bed.tracker.close();
    bed.tracker.wait().await;
    execute(
        &bed,
        "insert into _sqlx_migrations (version, description, success, checksum, execution_time)
select 9999, 'later', success, checksum, 0 from _sqlx_migrations where version = 1",
    )
    .await;
    let error = open(&bed.url, true).await.err().unwrap();
    assert!(
        matches!(error, Error::SchemaNewer { found: 9999, .. }),
        "{error}"
    );
    execute(&bed, "delete from _sqlx_migrations where version > 1").await;
    let error = open(&bed.url, false).await.err().unwrap();
    assert!(
        matches!(error, Error::SchemaOlder { found: 1, .. }),
        "{error}"
    );
    // An empty database is older than any.
    bed = if bed.is_sqlite() {
        Bed::sqlite().await
    } else {
        Bed::postgres().await
    };
    let store = open(&bed.url.replace("journal.db", "other.db"), false).await;
    if bed.is_sqlite() {
        let error = store.err().unwrap();
        assert!(
            matches!(error, Error::SchemaOlder { found: 0, .. }),
            "{error}"
        );
    }
}

async fn a_closed_store_says_so(bed: Bed) {
    bed.append(arrival("1", &[])).await;
    bed.shutdown.cancel();
    bed.tracker.close();
    bed.tracker.wait().await;
    let error = bed
        .journal
        .append(vec![arrival("2", &[])])
        .await
        .unwrap_err();
    assert!(error.is_unavailable(), "{error}");
}

#[tokio::test]
async fn a_sqlite_file_belongs_to_one_process() {
    let bed = Bed::sqlite().await;
    let error = open(&bed.url, true).await.err().unwrap();
    assert!(matches!(&error, Error::InUse { .. }), "{error}");
    assert!(error.to_string().contains("journal.db"), "{error}");
    // By another name it is the same file.
    let file = bed
        .url
        .trim_start_matches("sqlite:")
        .split('?')
        .next()
        .unwrap();
    let other = std::path::Path::new(file).with_file_name("other.db");
    std::os::unix::fs::symlink(file, &other).unwrap();
    let error = open(&format!("sqlite:{}", other.display()), true)
        .await
        .err()
        .unwrap();
    assert!(matches!(&error, Error::InUse { .. }), "{error}");
}

#[tokio::test]
async fn a_busy_sqlite_file_is_unavailable_and_works_again() {
    let bed = Bed::sqlite().await;
    bed.append(arrival("1", &[])).await;
    let mut other = SqliteConnection::connect(&bed.url).await.unwrap();
    sqlx::query("begin immediate")
        .execute(&mut other)
        .await
        .unwrap();
    let error = bed
        .journal
        .append(vec![arrival("2", &[])])
        .await
        .unwrap_err();
    assert!(error.is_unavailable(), "{error}");
    sqlx::query("rollback").execute(&mut other).await.unwrap();
    bed.append(arrival("3", &[])).await;
    assert_eq!(bed.claim_ids().await, ["1", "3"]);
}

#[tokio::test]
async fn a_postgres_that_goes_away_is_unavailable_and_works_again() {
    let bed = Bed::postgres().await;
    bed.append(arrival("1", &[])).await;
    let (server, options) = bed.url.rsplit_once("/test_").unwrap();
    let (number, options) = options.split_once('?').unwrap();
    let name = format!("test_{number}");
    let mut other = sqlx::PgConnection::connect(&format!("{server}/postgres?{options}"))
        .await
        .unwrap();
    for sql in [
        format!("alter database {name} allow_connections false"),
        format!("select pg_terminate_backend(pid) from pg_stat_activity where datname = '{name}'"),
    ] {
        sqlx::query(sqlx::AssertSqlSafe(sql))
            .execute(&mut other)
            .await
            .unwrap();
    }
    for _ in 0..2 {
        let error = bed
            .journal
            .append(vec![arrival("2", &[])])
            .await
            .unwrap_err();
        assert!(error.is_unavailable(), "{error}");
    }
    let back = format!("alter database {name} allow_connections true");
    sqlx::query(sqlx::AssertSqlSafe(back))
        .execute(&mut other)
        .await
        .unwrap();
    bed.append(arrival("3", &[])).await;
    assert_eq!(bed.claim_ids().await, ["1", "3"]);
    let page = bed
        .journal
        .list(&Default::default(), None, 10)
        .await
        .unwrap();
    assert_eq!(page.rows.len(), 2, "readers come back, too");
}
