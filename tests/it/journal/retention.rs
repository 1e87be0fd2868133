//! Retention: what goes, what stays, what outlives it, and how much one transaction deletes.

use jiff::Timestamp;
use ligature::flow::channel::Channel;
use ligature::flow::load::{Load, State, What};
use ligature::flow::retention::{Outcome, Policies};
use ligature::store::catalog::Author;
use ligature::store::journal::retention::ROWS;
use ligature::store::journal::{
    Appended, Arrival, DuplicateKey, Filter, Link, LinkKey, LinkTarget, NewOperation,
    OperationKind, Removed, Route, Settled, Start,
};
use sqlx::Connection as _;

use super::{ACCOUNT, Bed, account, arrival, both, queued, settlement};

both!(
    what_has_ended_goes_by_its_outcome,
    a_repeated_message_is_known_after_the_first_has_gone,
    search_values_go_with_their_messages,
    no_transaction_deletes_more_than_it_may,
    a_write_of_unknown_outcome_outlives_its_message,
    a_load_goes_when_it_has_ended_and_no_message_of_it_is_left,
);

const HOUR_MS: i64 = 60 * 60 * 1_000;
const DAY_MS: i64 = 24 * HOUR_MS;

/// Ids and the ends of deliveries are of now, so time goes on instead.
fn now() -> i64 {
    Timestamp::now().as_millisecond()
}

fn policies() -> Policies {
    let channel: Channel = toml::from_str(&format!(
        "id = \"adt\"\naccount = {ACCOUNT:?}\nname = \"ADT\"\naddress = 0\n\
         retention = {{ delivered_days = 1, skipped_days = 2, dead_days = 30, header_facts_days = 60 }}"
    ))
    .unwrap();
    Policies::of([&channel])
}

fn fresh(control_id: &str, lanes: &[&str]) -> Arrival {
    Arrival {
        received_at_ms: now(),
        ..arrival(control_id, lanes)
    }
}

fn unclaimed(control_id: &str) -> Arrival {
    Arrival {
        route: Route::Skipped {
            reason: "no-flow",
            text: "no flow takes it".into(),
        },
        ..fresh(control_id, &[])
    }
}

/// Sweeps as if it was `later` and gives what went.
async fn sweep(bed: &Bed, later: i64) -> Removed {
    let mut sweep = bed.journal.sweep(&policies(), now() + later).await.unwrap();
    let mut removed = Removed::default();
    while let Some(step) = sweep.step().await.unwrap() {
        removed += step;
    }
    assert!(removed.largest_transaction <= ROWS, "{removed:?}");
    removed
}

async fn going(bed: &Bed, later: i64) -> Vec<(Outcome, u64)> {
    let going = bed.journal.going(&policies(), now() + later).await.unwrap();
    going
        .into_iter()
        .map(|line| (line.outcome, line.messages))
        .collect()
}

async fn listed(bed: &Bed) -> Vec<String> {
    let page = bed.journal.list(&Filter::default(), None, 100).await;
    let mut ids: Vec<_> = page
        .unwrap()
        .rows
        .into_iter()
        .map(|row| row.control_id)
        .collect();
    ids.sort();
    ids
}

/// Rows of a table, as the database says.
async fn count(bed: &Bed, table: &'static str) -> i64 {
    let count = sqlx::AssertSqlSafe(format!("select count(*) from {table}"));
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

async fn what_has_ended_goes_by_its_outcome(bed: Bed) {
    for (id, end) in [
        ("delivered", Settled::Delivered),
        ("skipped", Settled::Skipped),
        ("dead", Settled::Dead { hold: false }),
        ("held", Settled::Dead { hold: true }),
        ("parked", Settled::Parked),
        (
            "waiting",
            Settled::Waiting {
                due_at_ms: now() + 100 * DAY_MS,
            },
        ),
    ] {
        bed.append(fresh(id, &[id])).await;
        let claimed = bed.claim().await;
        let mut end = settlement(end);
        end.links = vec![Link {
            key: link(id),
            to: LinkTarget {
                target: "prospect".into(),
                parent: None,
            },
        }];
        bed.journal.settle(&claimed[0].lease, end).await.unwrap();
    }
    let mut mixed = fresh("delivered and dead", &["m"]);
    mixed.route = Route::Flows(vec![queued("lead"), queued("activity")]);
    bed.append(mixed).await;
    let first = bed.claim().await;
    bed.settle(&first[0], Settled::Delivered).await;
    let second = bed.claim().await;
    bed.settle(&second[0], Settled::Dead { hold: false }).await;
    let mut half = fresh("delivered and parked", &["h"]);
    let mut parked = queued("activity");
    parked.start = Start::Parked {
        reason: "flow-paused",
        text: "paused".into(),
    };
    half.route = Route::Flows(vec![queued("lead"), parked]);
    bed.append(half).await;
    let lead = bed.claim().await;
    bed.settle(&lead[0], Settled::Delivered).await;
    bed.append(fresh("running", &["r"])).await;
    let running = bed.claim().await;
    bed.append(fresh("queued", &["r"])).await;
    bed.append(unclaimed("unclaimed")).await;
    let mut excluded = unclaimed("excluded");
    excluded.facts_only = true;
    excluded.search = vec!["4711".into()];
    excluded.lanes = vec!["p".into()];
    excluded.route = Route::Excluded {
        reason: "excluded-vip",
        text: "a rule".into(),
    };
    let excluded = bed.append(excluded).await;
    let view = bed
        .journal
        .message(&account(), &excluded)
        .await
        .unwrap()
        .unwrap();
    assert!(view.payload.is_none() && !view.message.is_whole);
    assert!(
        view.acknowledgement.is_some(),
        "a repeated one is answered as the first"
    );
    let found = bed.journal.find(&account(), "4711", 1).await;
    assert_eq!(found.unwrap(), []);

    use Outcome::{Dead, Delivered, HeaderFacts, Skipped, Unclaimed};
    assert_eq!(going(&bed, HOUR_MS).await, []);
    assert_eq!(
        going(&bed, 25 * HOUR_MS).await,
        [(Delivered, 1), (Unclaimed, 1)]
    );
    let month = [(Delivered, 1), (Skipped, 1), (Dead, 2), (Unclaimed, 1)];
    assert_eq!(going(&bed, 31 * DAY_MS).await, month);
    assert_eq!(
        going(&bed, 61 * DAY_MS).await.last(),
        Some(&(HeaderFacts, 1))
    );

    let removed = sweep(&bed, 31 * DAY_MS).await;
    assert_eq!((removed.messages, removed.payloads), (4, 1));
    let stay = [
        "delivered and parked",
        "excluded",
        "held",
        "parked",
        "queued",
        "running",
        "unclaimed",
        "waiting",
    ];
    assert_eq!(listed(&bed).await, stay);
    assert_eq!(count(&bed, "delivery").await, 7);
    assert_eq!(count(&bed, "attempt").await, 4);
    let page = bed
        .journal
        .list(&Filter::default(), None, 100)
        .await
        .unwrap();
    let facts = page
        .rows
        .iter()
        .find(|row| row.control_id == "unclaimed")
        .unwrap();
    assert!(!facts.is_whole && facts.reason == "no-flow" && facts.size_bytes > 0);
    let view = bed
        .journal
        .message(&account(), &facts.id)
        .await
        .unwrap()
        .unwrap();
    assert!(view.payload.is_none() && view.acknowledgement.is_none());
    for id in ["delivered", "dead"] {
        let known = bed.journal.links(&account(), &[link(id)]).await.unwrap();
        assert!(known[0].is_some(), "links outlive messages");
    }

    // What stays goes on, also after a new start.
    assert_eq!(sweep(&bed, 31 * DAY_MS).await, Removed::default());
    bed.settle(&running[0], Settled::Delivered).await;
    assert_eq!(bed.claim_ids().await, ["queued"]);
    let bed = bed.reopen().await;
    assert_eq!(listed(&bed).await, stay);
    let removed = sweep(&bed, 100 * DAY_MS).await;
    assert_eq!(removed.messages, 3, "header facts, and what was running");
}

fn link(id: &str) -> LinkKey {
    LinkKey {
        kind: "lead mx_MRN".into(),
        key: id.into(),
    }
}

async fn a_repeated_message_is_known_after_the_first_has_gone(bed: Bed) {
    let repeatable = |payload: u8| {
        let mut arrival = fresh("1", &["p"]);
        arrival.duplicate = Some(DuplicateKey {
            identity: "adt|1".into(),
            payload: [payload; 32],
        });
        arrival
    };
    let first = bed.append(repeatable(1)).await;
    let claimed = bed.claim().await;
    bed.settle(&claimed[0], Settled::Delivered).await;
    assert_eq!(sweep(&bed, 2 * DAY_MS).await.messages, 1);
    assert_eq!(listed(&bed).await, [""; 0]);
    let again = bed.journal.append(vec![repeatable(1)]).await.unwrap();
    let known = Appended::Duplicate {
        message: first,
        acknowledgement: None,
    };
    assert_eq!(again, [known]);
    // Another message under the same control id is another message, and its repetition is known, too.
    let other = bed
        .journal
        .append(vec![repeatable(2), repeatable(2)])
        .await
        .unwrap();
    assert!(
        matches!(&other[..], [Appended::Stored, Appended::Duplicate { .. }]),
        "{other:?}"
    );
    let removed = sweep(&bed, 8 * DAY_MS).await;
    assert_eq!(removed.duplicate_keys, 2);
    assert_eq!(count(&bed, "duplicate").await, 0);
}

async fn search_values_go_with_their_messages(bed: Bed) {
    // More than are filed at once, so that some are in a bucket and some wait.
    for start in (0..1_300).step_by(100) {
        let arrivals = (start..start + 100)
            .map(|number| {
                let mut arrival = unclaimed(&number.to_string());
                arrival.search = vec![format!("P{}", number % 100), format!("V{number}")];
                arrival
            })
            .collect();
        bed.journal.append(arrivals).await.unwrap();
    }
    while count(&bed, "search_recent").await >= 1_000 {
        tokio::task::yield_now().await;
    }
    let mut stays = fresh("stays", &["p"]);
    stays.search = vec!["P7".into()];
    bed.append(stays).await;
    let filed = count(&bed, "search").await;
    assert!(filed > 0, "some are filed");

    let removed = sweep(&bed, 25 * HOUR_MS).await;
    assert_eq!(removed.payloads, 1_300);
    assert_eq!(removed.search_keys as i64, filed);
    assert_eq!(count(&bed, "search").await, 0);
    assert_eq!(count(&bed, "search_recent").await, 1);
    let found = bed.journal.find(&account(), "P7", 50).await.unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].control_id, "stays");
}

async fn no_transaction_deletes_more_than_it_may(bed: Bed) {
    for patient in 0..300 {
        bed.append(fresh(&patient.to_string(), &[&patient.to_string()]))
            .await;
    }
    let mut claimed = Vec::new();
    loop {
        let some = bed.claim().await;
        if some.is_empty() {
            break;
        }
        for one in &some {
            bed.settle(one, Settled::Delivered).await;
        }
        claimed.extend(some);
    }
    // One that was tried for weeks.
    let tried = claimed[7].delivery.as_str();
    run(
        &bed,
        format!(
            "with recursive n(i) as (select 2 union all select i + 1 from n where i < 2500)
             insert into attempt (account_id, delivery_id, number, stage, code, started_at, duration_ms)
             select '{ACCOUNT}', '{tried}', i, 'write', 'unavailable', 1, 1 from n"
        ),
    )
    .await;
    let nothing = if bed.is_sqlite() { "x''" } else { "''::bytea" };
    run(
        &bed,
        format!(
            "with recursive n(i) as (select 1 union all select i + 1 from n where i < 1200)
             insert into operation (account_id, delivery_id, id, ordinal, kind, state, started_at, payload)
             select '{ACCOUNT}', '{tried}', cast(i as text), 0, 'update-lead', 'failed', 1, {nothing} from n"
        ),
    )
    .await;
    let removed = sweep(&bed, 2 * DAY_MS).await;
    assert_eq!(removed.messages, 300);
    assert!(removed.largest_transaction > ROWS / 2, "{removed:?}");
    for table in ["message", "delivery", "attempt", "operation"] {
        assert_eq!(count(&bed, table).await, 0, "{table}");
    }
}

async fn run(bed: &Bed, statement: String) {
    let statement = sqlx::AssertSqlSafe(statement);
    if bed.is_sqlite() {
        let mut connection = sqlx::SqliteConnection::connect(&bed.url).await.unwrap();
        sqlx::raw_sql(statement)
            .execute(&mut connection)
            .await
            .unwrap();
    } else {
        let mut connection = sqlx::PgConnection::connect(&bed.url).await.unwrap();
        sqlx::raw_sql(statement)
            .execute(&mut connection)
            .await
            .unwrap();
    }
}

async fn a_write_of_unknown_outcome_outlives_its_message(bed: Bed) {
    bed.append(fresh("1", &["p"])).await;
    let claimed = bed.claim().await;
    let operation = NewOperation {
        ordinal: 0,
        kind: OperationKind::CreateLead,
        identity: Some(("lead", "4711".into())),
        payload: b"FirstName=Jane".to_vec(),
    };
    let begun = bed
        .journal
        .begin(&claimed[0].lease, Vec::new(), operation)
        .await;
    begun.unwrap();
    bed.settle(&claimed[0], Settled::Dead { hold: false }).await;
    assert_eq!(sweep(&bed, 31 * DAY_MS).await.messages, 1);
    let open = bed
        .journal
        .open_operations(&account(), "lead", "4711")
        .await
        .unwrap();
    assert_eq!(open.len(), 1);
    assert_eq!(open[0].payload, b"FirstName=Jane");
    assert_eq!(sweep(&bed, 366 * DAY_MS).await.ledger_rows, 1);
    let open = bed
        .journal
        .open_operations(&account(), "lead", "4711")
        .await
        .unwrap();
    assert_eq!(open.len(), 0);
}

async fn a_load_goes_when_it_has_ended_and_no_message_of_it_is_left(bed: Bed) {
    let loads = bed.store.loads();
    let author = Author("test".into());
    for (id, end) in [("empty", true), ("kept", true), ("open", false)] {
        let load = Load {
            id: id.into(),
            account: account(),
            flow: "lead".into(),
            state: State::Collecting,
            what: What::default(),
            taken: 0,
            total: 0,
            created_at_ms: now(),
            updated_at_ms: now(),
        };
        loads.create(&load, &author).await.unwrap();
        if end {
            let from = [State::Collecting];
            let ended = loads.change(&load, &from, State::Cancelled, None).await;
            assert!(ended.unwrap());
        }
    }
    let of_load = Arrival {
        load: Some("kept".into()),
        ..fresh("1", &["1"])
    };
    bed.journal.append(vec![of_load]).await.unwrap();
    let left = async || {
        let mut left: Vec<_> = loads.list().await.unwrap();
        left.sort_by(|a, b| a.id.cmp(&b.id));
        left.into_iter().map(|load| load.id).collect::<Vec<_>>()
    };
    loads.forget(now() - HOUR_MS).await.unwrap();
    assert_eq!(left().await, ["empty", "kept", "open"], "not yet");
    loads.forget(now() + HOUR_MS).await.unwrap();
    assert_eq!(left().await, ["kept", "open"]);
}
