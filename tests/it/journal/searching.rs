//! Finding messages by what they are about, before and after they are filed.

use ligature::store::journal::Arrival;
use sqlx::Connection as _;

use super::{Bed, account, arrival, both};

both!(messages_are_found_before_and_after_they_are_filed);

/// More than are filed at once.
const MESSAGES: usize = 1_300;

fn about(number: usize) -> Arrival {
    let mut arrival = arrival(&number.to_string(), &[]);
    arrival.search = vec![
        ("patient", format!("P{}", number % 100)),
        ("visit", format!("V{number}")),
    ];
    arrival
}

/// Messages that wait to be filed, as the table says.
async fn recent(bed: &Bed) -> i64 {
    let count = "select count(*) from search_recent";
    if bed.is_sqlite() {
        let mut connection = sqlx::SqliteConnection::connect(&bed.url).await.unwrap();
        sqlx::query_scalar(count)
            .fetch_one(&mut connection)
            .await
            .unwrap()
    } else {
        let mut connection = sqlx::PgConnection::connect(&bed.url).await.unwrap();
        sqlx::query_scalar(count)
            .fetch_one(&mut connection)
            .await
            .unwrap()
    }
}

async fn find(bed: &Bed, kind: &str, value: &str, limit: usize) -> Vec<String> {
    let rows = bed.journal.find(&account(), kind, value, limit).await;
    rows.unwrap()
        .into_iter()
        .map(|row| row.control_id)
        .collect()
}

async fn messages_are_found_before_and_after_they_are_filed(bed: Bed) {
    for start in (0..MESSAGES).step_by(100) {
        let arrivals = (start..start + 100).map(about).collect();
        bed.journal.append(arrivals).await.unwrap();
    }
    // Filing runs beside the appends; it is over when fewer than a bucket are left.
    let all: Vec<String> = (0..MESSAGES)
        .rev()
        .filter(|number| number % 100 == 7)
        .map(|number| number.to_string())
        .collect();
    loop {
        assert_eq!(find(&bed, "patient", "P7", 50).await, all);
        if recent(&bed).await < 1_000 {
            break;
        }
    }
    assert_eq!(find(&bed, "patient", "P7", 50).await, all, "filed once");
    assert_eq!(find(&bed, "patient", "P7", 2).await, all[..2]);
    assert_eq!(find(&bed, "visit", "V3", 2).await, ["3"]);
    assert_eq!(find(&bed, "visit", "V1299", 2).await, ["1299"]);
    assert_eq!(find(&bed, "patient", "V3", 2).await, [""; 0]);

    let bed = bed.reopen().await;
    assert_eq!(find(&bed, "patient", "P7", 50).await, all);
}
