//! The harness itself: a database for each call, the binary where it is looked for.

use ligature_tests::{ligature_binary, postgres};
use sqlx::{Connection, PgConnection};

#[tokio::test]
async fn every_call_gives_an_empty_database_of_its_own() -> anyhow::Result<()> {
    let (one, other) = (postgres()?, postgres()?);
    assert_ne!(one, other);
    let mut connection = PgConnection::connect(&one).await?;
    sqlx::raw_sql("create table fact (id bigint primary key)")
        .execute(&mut connection)
        .await?;
    let mut connection = PgConnection::connect(&other).await?;
    let tables: i64 =
        sqlx::query_scalar("select count(*) from pg_tables where schemaname = 'public'")
            .fetch_one(&mut connection)
            .await?;
    assert_eq!(tables, 0);
    Ok(())
}

#[test]
fn the_binary_is_built() -> anyhow::Result<()> {
    let output = std::process::Command::new(ligature_binary())
        .arg("--help")
        .output()?;
    assert!(output.status.success());
    Ok(())
}
