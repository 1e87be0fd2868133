//! Finding messages by what they are about, before and after they are filed.

use ligature::flow::MessageId;
use ligature::store::journal::{Arrival, Filter, Settled, Settlement, State};
use sqlx::Connection as _;

use super::{Bed, account, arrival, both, settlement};

both!(
    messages_are_found_before_and_after_they_are_filed,
    one_box_finds_numbers_records_and_reasons,
);

/// One more bucket than become one, and a few that wait.
const MESSAGES: usize = 17 * 1_024 + 92;

fn about(number: usize) -> Arrival {
    let mut arrival = arrival(&number.to_string(), &[]);
    arrival.search = vec![format!("P{}", number % 100), format!("V{number}")];
    arrival
}

/// Messages that wait to be filed, and buckets.
async fn filed(bed: &Bed) -> (i64, i64) {
    let counts =
        "select (select count(*) from search_recent), (select count(*) from search_bucket)";
    if bed.is_sqlite() {
        let mut connection = sqlx::SqliteConnection::connect(&bed.url).await.unwrap();
        sqlx::query_as(counts)
            .fetch_one(&mut connection)
            .await
            .unwrap()
    } else {
        let mut connection = sqlx::PgConnection::connect(&bed.url).await.unwrap();
        sqlx::query_as(counts)
            .fetch_one(&mut connection)
            .await
            .unwrap()
    }
}

async fn find(bed: &Bed, value: &str, limit: usize) -> Vec<String> {
    let rows = bed.journal.find(&account(), value, limit).await;
    rows.unwrap()
        .into_iter()
        .map(|row| row.control_id)
        .collect()
}

async fn messages_are_found_before_and_after_they_are_filed(bed: Bed) {
    for start in (0..MESSAGES).step_by(500) {
        let arrivals = (start..MESSAGES.min(start + 500)).map(about).collect();
        bed.journal.append(arrivals).await.unwrap();
    }
    // Filing runs beside the appends, and at last sixteen buckets become one.
    let all: Vec<String> = (0..MESSAGES)
        .rev()
        .filter(|number| number % 100 == 7)
        .map(|number| number.to_string())
        .collect();
    loop {
        assert_eq!(find(&bed, "P7", 500).await, all);
        if filed(&bed).await == (92, 2) {
            break;
        }
    }
    assert_eq!(find(&bed, "P7", 500).await, all, "filed once");
    assert_eq!(find(&bed, "P7", 2).await, all[..2]);
    assert_eq!(find(&bed, "V3", 2).await, ["3"]);
    assert_eq!(find(&bed, "V1299", 2).await, ["1299"]);
    assert_eq!(find(&bed, "V17499", 2).await, ["17499"]);
    assert_eq!(find(&bed, "X3", 2).await, [""; 0]);

    let bed = bed.reopen().await;
    assert_eq!(find(&bed, "P7", 500).await, all);
}

async fn one_box_finds_numbers_records_and_reasons(bed: Bed) {
    for number in 0..6 {
        let mut arrival = arrival(&format!("c{number}"), &[&number.to_string()]);
        arrival.search = vec!["4711".into(), format!("c{number}")];
        bed.append(arrival).await;
    }
    for claimed in bed.claim().await {
        let (state, reason, detail) = match claimed.control_id.as_str() {
            "c0" | "c1" => (
                Settled::Dead { hold: false },
                "refused",
                "The field Ward takes 50% at most.",
            ),
            "c2" => (Settled::Skipped, "skipped-by-mapping", "Not a patient."),
            _ => (Settled::Delivered, "delivered", ""),
        };
        let found_by = match state {
            Settled::Delivered => vec![
                "5F2A-Lead".to_owned(),
                format!("act-{}", claimed.control_id),
            ],
            _ => Vec::new(),
        };
        let settled = Settlement {
            reason: reason.into(),
            detail: detail.into(),
            found_by,
            ..settlement(state)
        };
        bed.journal.settle(&claimed.lease, settled).await.unwrap();
    }
    let search = |text: &'static str, filter: Filter, before: Option<MessageId>, limit: usize| {
        let journal = bed.journal.clone();
        async move {
            let page = journal
                .search(&filter, text, before.as_ref(), limit)
                .await
                .unwrap();
            let ids: Vec<_> = page.rows.into_iter().map(|row| row.control_id).collect();
            (ids, page.next)
        }
    };
    let all = Filter::default;
    // Numbers, as they are but for capitals and spaces; what was written; reasons by code and by any part of them.
    assert_eq!(search("C3", all(), None, 9).await.0, ["c3"]);
    assert_eq!(
        search(" 5f2a-lead ", all(), None, 9).await.0,
        ["c5", "c4", "c3"]
    );
    assert_eq!(search("act-c4", all(), None, 9).await.0, ["c4"]);
    assert_eq!(search("ward", all(), None, 9).await.0, ["c1", "c0"]);
    assert_eq!(search("50%", all(), None, 9).await.0, ["c1", "c0"]);
    assert_eq!(search("by mapping", all(), None, 9).await.0, ["c2"]);
    assert_eq!(search("471", all(), None, 9).await.0, [""; 0]);
    // Pages and filters.
    let (first, next) = search("4711", all(), None, 4).await;
    assert_eq!(first, ["c5", "c4", "c3", "c2"]);
    assert_eq!(search("4711", all(), next, 4).await.0, ["c1", "c0"]);
    let dead = || Filter {
        state: Some(State::Dead),
        ..all()
    };
    assert_eq!(search("4711", dead(), None, 9).await.0, ["c1", "c0"]);
    let refused = Filter {
        reason: Some("refused".into()),
        ..all()
    };
    assert_eq!(search("c0", refused.clone(), None, 9).await.0, ["c0"]);
    let page = bed.journal.list(&refused, None, 1).await.unwrap();
    assert_eq!(page.rows[0].control_id, "c1");
    let page = bed
        .journal
        .list(&refused, page.next.as_ref(), 9)
        .await
        .unwrap();
    assert_eq!(page.rows[0].control_id, "c0");
    // Times are those of the ids.
    let now = jiff::Timestamp::now().as_millisecond();
    let past = Filter {
        to_ms: Some(now - 3_600_000),
        ..all()
    };
    assert_eq!(search("4711", past.clone(), None, 9).await.0, [""; 0]);
    assert!(
        bed.journal
            .list(&past, None, 9)
            .await
            .unwrap()
            .rows
            .is_empty()
    );
    let recent = Filter {
        from_ms: Some(now - 3_600_000),
        to_ms: Some(now + 3_600_000),
        ..dead()
    };
    assert_eq!(
        bed.journal.list(&recent, None, 9).await.unwrap().rows.len(),
        2
    );
}
