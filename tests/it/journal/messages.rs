//! Messages: durable appends, repeated ones, search, pages, links, configuration, and what the file tells a thief.

use std::collections::BTreeMap;

use ligature::flow::account::Keys;
use ligature::flow::{Account, Digest, Grants, MessageId, Release};
use ligature::store::Error;
use ligature::store::catalog::NewComponent;
use ligature::store::journal::{
    Appended, DuplicateKey, Filter, Finished, Link, LinkKey, LinkTarget, NewOperation,
    OperationKind, OperationState, Route, Settled, State,
};

use super::{Bed, account, arrival, both, ids, queued, settlement};

both!(
    what_was_appended_is_there_after_a_restart,
    a_repeated_message_gets_the_first_acknowledgement,
    a_reused_control_id_is_another_message,
    concurrent_appends_share_commits,
    a_refused_command_does_not_fail_its_neighbours,
    messages_are_found_by_exact_value,
    pages_list_newest_first,
    a_message_is_shown_whole,
    links_outlive_deliveries,
    configuration_comes_back_as_it_was,
    nothing_about_a_patient_is_readable,
    large_batches_and_large_messages_pass,
);

async fn what_was_appended_is_there_after_a_restart(bed: Bed) {
    bed.append(arrival("1", &["p1"])).await;
    bed.append(arrival("2", &["p1"])).await;
    let claimed = bed
        .journal
        .claim("worker", 64, super::RUN_OUT)
        .await
        .unwrap();
    assert_eq!(ids(&claimed), ["1"]);
    let bed = bed.reopen().await;
    let claimed = bed.claim().await;
    assert_eq!(ids(&claimed), ["1"]);
    assert_eq!(claimed[0].payload, b"MSH|1|Doe^Jane");
    assert_eq!(claimed[0].attempt, 2);
    bed.append(arrival("3", &["p1"])).await;
    bed.settle(&claimed[0], Settled::Delivered).await;
    let second = bed.claim().await;
    assert_eq!(ids(&second), ["2"]);
    bed.settle(&second[0], Settled::Delivered).await;
    assert_eq!(
        bed.claim_ids().await,
        ["3"],
        "numbers go on after a restart"
    );
}

fn repeatable(control_id: &str, payload: u8) -> ligature::store::journal::Arrival {
    let mut arrival = arrival(control_id, &["p1"]);
    arrival.duplicate = Some(DuplicateKey {
        identity: format!("adt|{control_id}"),
        payload: [payload; 32],
    });
    arrival
}

async fn a_repeated_message_gets_the_first_acknowledgement(bed: Bed) {
    let first = repeatable("1", 1);
    let id = first.id.clone();
    let duplicate = Appended::Duplicate {
        message: id.clone(),
        acknowledgement: Some(b"MSA|AA|1".to_vec()),
    };
    let mut again = repeatable("1", 1);
    again.acknowledgement = b"MSA|AA|another".to_vec();
    let appended = bed.journal.append(vec![first, again]).await.unwrap();
    assert_eq!(
        appended,
        [Appended::Stored, duplicate.clone()],
        "within one receipt"
    );
    for _ in 0..2 {
        let again = repeatable("1", 1);
        assert_eq!(
            bed.journal.append(vec![again]).await.unwrap(),
            std::slice::from_ref(&duplicate)
        );
    }
    assert_eq!(bed.claim_ids().await, ["1"]);
    let page = bed
        .journal
        .list(&Filter::default(), None, 10)
        .await
        .unwrap();
    assert_eq!(page.rows.len(), 1);

    let mut later = repeatable("1", 1);
    later.received_at_ms += ligature::store::journal::DUPLICATE_WINDOW_MS + 1;
    let later_id = later.id.clone();
    let mut again = repeatable("1", 1);
    again.received_at_ms = later.received_at_ms + 1;
    assert_eq!(
        bed.journal.append(vec![later]).await.unwrap(),
        [Appended::Stored]
    );
    let appended = bed.journal.append(vec![again]).await.unwrap();
    assert!(
        matches!(&appended[0], Appended::Duplicate { message, .. } if *message == later_id),
        "{appended:?}"
    );
}

async fn a_reused_control_id_is_another_message(bed: Bed) {
    let first = repeatable("1", 1);
    let other = repeatable("1", 2);
    let other_id = other.id.clone();
    let appended = bed
        .journal
        .append(vec![first, other, repeatable("1", 2), repeatable("1", 1)])
        .await
        .unwrap();
    assert!(
        matches!(
            &appended[..],
            [
                Appended::Stored,
                Appended::Stored,
                Appended::Duplicate { .. },
                Appended::Duplicate { .. }
            ]
        ),
        "{appended:?}"
    );
    let again = bed.journal.append(vec![repeatable("1", 2)]).await.unwrap();
    assert!(matches!(&again[0], Appended::Duplicate { message, .. } if *message == other_id));
    let page = bed
        .journal
        .list(&Filter::default(), None, 10)
        .await
        .unwrap();
    let remarks: Vec<_> = page.rows.iter().map(|row| row.remark.as_str()).collect();
    assert_eq!(remarks, ["control-id-reused", ""]);
}

async fn concurrent_appends_share_commits(bed: Bed) {
    let before = bed.store.written();
    let senders: Vec<_> = (0..64)
        .map(|sender| {
            let journal = bed.journal.clone();
            async move {
                for n in 0..10 {
                    let id = format!("{sender}-{n}");
                    journal.append(vec![arrival(&id, &[&id])]).await.unwrap();
                }
            }
        })
        .collect();
    futures_util::future::join_all(senders).await;
    let after = bed.store.written();
    assert_eq!(after.messages - before.messages, 640);
    assert!(
        after.commits - before.commits <= 64,
        "{} commits for 640 messages of 64 senders",
        after.commits - before.commits
    );
    let mut claimed = 0;
    loop {
        let some = bed.claim().await;
        if some.is_empty() {
            break;
        }
        claimed += some.len();
        let settled = some.iter().map(|one| {
            bed.journal
                .settle(&one.lease, settlement(Settled::Delivered))
        });
        for result in futures_util::future::join_all(settled).await {
            result.unwrap();
        }
    }
    assert_eq!(claimed, 640);
    assert_eq!(bed.store.written().deliveries_settled, 640);
}

async fn a_refused_command_does_not_fail_its_neighbours(bed: Bed) {
    let first = arrival("1", &["p1"]);
    let mut twin = arrival("twin", &["p2"]);
    twin.id = first.id.clone();
    bed.append(first).await;
    let good = |n: usize| bed.journal.append(vec![arrival(&format!("good {n}"), &[])]);
    let (bad, goods) = futures_util::future::join(
        bed.journal.append(vec![arrival("with it", &[]), twin]),
        futures_util::future::join_all((0..20).map(good)),
    )
    .await;
    assert!(matches!(bad, Err(Error::Database(_))), "{bad:?}");
    assert!(goods.iter().all(Result::is_ok));
    assert_eq!(
        bed.claim().await.len(),
        21,
        "a receipt is kept whole or not at all"
    );
}

async fn messages_are_found_by_exact_value(bed: Bed) {
    for (id, mrn) in [("1", "4711"), ("2", "4712"), ("3", "4711")] {
        let mut arrival = arrival(id, &[]);
        arrival.search = vec![mrn.into(), format!("control {id}")];
        bed.append(arrival).await;
    }
    let find = |value: &'static str| {
        let journal = bed.journal.clone();
        async move {
            let rows = journal.find(&account(), value, 10).await.unwrap();
            rows.into_iter()
                .map(|row| row.control_id)
                .collect::<Vec<_>>()
        }
    };
    assert_eq!(find("4711").await, ["3", "1"]);
    assert_eq!(find(" CONTROL 2 ").await, ["2"]);
    assert_eq!(find("471").await, [""; 0]);
}

async fn pages_list_newest_first(bed: Bed) {
    for n in 0..25 {
        let mut arrival = arrival(&n.to_string(), &[]);
        arrival.route = if n % 5 == 4 {
            Route::Skipped {
                reason: "no-flow",
                text: "No flow takes ADT^A02.".into(),
            }
        } else {
            Route::Flows(vec![queued("lead"), queued("activity")])
        };
        bed.append(arrival).await;
    }
    for claimed in bed.claim().await {
        let state = match claimed.control_id.as_str() {
            "7" => Settled::Dead { hold: false },
            _ => Settled::Delivered,
        };
        bed.settle(&claimed, state).await;
    }
    let mut seen = Vec::new();
    let mut before: Option<MessageId> = None;
    loop {
        let page = bed
            .journal
            .list(&Filter::default(), before.as_ref(), 10)
            .await
            .unwrap();
        seen.extend(page.rows.iter().map(|row| row.control_id.clone()));
        before = page.next;
        if before.is_none() {
            break;
        }
    }
    let expected: Vec<String> = (0..25).rev().map(|n: u32| n.to_string()).collect();
    assert_eq!(seen, expected);

    let list = |state, flow: Option<&'static str>| {
        let journal = bed.journal.clone();
        async move {
            let filter = Filter {
                account: Some(account()),
                flow: flow.map(Into::into),
                state,
                ..Filter::default()
            };
            let page = journal.list(&filter, None, 50).await.unwrap();
            page.rows
                .into_iter()
                .map(|row| row.control_id)
                .collect::<Vec<_>>()
        }
    };
    assert_eq!(list(Some(State::Dead), None).await, ["7"]);
    assert_eq!(list(Some(State::Dead), Some("activity")).await, [""; 0]);
    assert_eq!(list(None, Some("lead")).await.len(), 20);
    assert_eq!(list(Some(State::Queued), Some("activity")).await.len(), 20);
    let counts = bed.journal.counts(&account()).await.unwrap();
    let counts: Vec<_> = counts
        .iter()
        .map(|c| format!("{} {} {}", c.flow, c.state, c.count))
        .collect();
    assert_eq!(
        counts,
        ["activity queued 20", "lead dead 1", "lead delivered 19"]
    );
    let page = bed.journal.list(&Filter::default(), None, 1).await.unwrap();
    let row = &page.rows[0];
    assert_eq!(
        (row.route.as_str(), row.reason.as_str(), row.detail.as_str()),
        ("skipped", "no-flow", "No flow takes ADT^A02.")
    );
}

async fn a_message_is_shown_whole(bed: Bed) {
    let id = bed.append(arrival("1", &["p1"])).await;
    let claimed = bed.claim().await.remove(0);
    let operation = NewOperation {
        ordinal: 0,
        kind: OperationKind::UpsertLead,
        identity: None,
        payload: b"FirstName=Jane".to_vec(),
    };
    let operation = bed
        .journal
        .begin(&claimed.lease, Vec::new(), operation)
        .await
        .unwrap();
    let mut end = settlement(Settled::Parked);
    end.note = Some("Jane Doe has no phone".into());
    end.finished = vec![Finished {
        operation,
        state: OperationState::Failed {
            code: "rejected".into(),
        },
    }];
    bed.journal.settle(&claimed.lease, end).await.unwrap();

    let view = bed.journal.message(&account(), &id).await.unwrap().unwrap();
    assert_eq!(view.payload.as_deref(), Some(&b"MSH|1|Doe^Jane"[..]));
    assert_eq!(view.acknowledgement.as_deref(), Some(&b"MSA|AA|1"[..]));
    let row = &view.message.deliveries[0];
    assert_eq!((row.state, row.attempts), (State::Parked, 1));
    assert_eq!(
        (row.reason.as_str(), row.detail.as_str()),
        ("code", "A sentence.")
    );
    assert_eq!(
        (row.written[0].kind.as_str(), row.written[0].state.as_str()),
        ("upsert-lead", "failed")
    );
    assert_eq!(row.written[0].code.as_deref(), Some("rejected"));
    let delivery = &view.deliveries[0];
    assert_eq!(delivery.note.as_deref(), Some("Jane Doe has no phone"));
    assert_eq!(delivery.attempts[0].stage, "write");
    assert_eq!(delivery.operations[0].payload, b"FirstName=Jane");
    let none = bed.journal.message(&account(), &"no".into()).await.unwrap();
    assert!(none.is_none());
}

async fn links_outlive_deliveries(bed: Bed) {
    bed.append(arrival("1", &["p1"])).await;
    bed.append(arrival("2", &["p1"])).await;
    let key = |key: &str| LinkKey {
        kind: "lead mx_MRN".into(),
        key: key.into(),
    };
    let to = |target: &str, parent: Option<&str>| LinkTarget {
        target: target.into(),
        parent: parent.map(Into::into),
    };
    let keys = [key("a"), key("b"), key("c")];
    let claimed = bed.claim().await.remove(0);
    let mut end = settlement(Settled::Delivered);
    end.links = vec![
        Link {
            key: key("a"),
            to: to("lead-1", None),
        },
        Link {
            key: key("c"),
            to: to("activity-1", Some("lead-1")),
        },
    ];
    bed.journal.settle(&claimed.lease, end).await.unwrap();
    let links = bed.journal.links(&account(), &keys).await.unwrap();
    assert_eq!(
        links,
        [
            Some(to("lead-1", None)),
            None,
            Some(to("activity-1", Some("lead-1")))
        ]
    );

    let claimed = bed.claim().await.remove(0);
    let mut end = settlement(Settled::Delivered);
    end.forget = vec![key("c"), key("b")];
    end.links = vec![Link {
        key: key("a"),
        to: to("lead-2", None),
    }];
    bed.journal.settle(&claimed.lease, end).await.unwrap();
    let links = bed.journal.links(&account(), &keys).await.unwrap();
    assert_eq!(links, [Some(to("lead-2", None)), None, None]);
    let other = bed.journal.links(&"other".into(), &keys).await.unwrap();
    assert_eq!(other, [None, None, None]);
}

async fn configuration_comes_back_as_it_was(bed: Bed) {
    let catalog = bed.store.catalog();
    let account: Account = serde_json::from_value(serde_json::json!({
        "id": super::ACCOUNT, "name": "Clinic", "api": "http://localhost:1"
    }))
    .unwrap();
    let keys = Keys {
        access_key: "access".into(),
        secret_key: "secret".into(),
    };
    let error = catalog.put_keys(&account.id, &keys).await.unwrap_err();
    assert!(matches!(error, Error::NotFound(_)), "{error}");
    catalog.put_account(&account).await.unwrap();
    catalog.put_keys(&account.id, &keys).await.unwrap();
    catalog.put_account(&account).await.unwrap();

    let component = NewComponent {
        origin: "generated".into(),
        document: "[[row]]".into(),
        examination: String::new(),
        bytes: vec![0, 97, 115, 109],
    };
    let digest = catalog
        .put_component(&account.id, component.clone())
        .await
        .unwrap();
    let again = catalog.put_component(&account.id, component).await.unwrap();
    assert_eq!(digest, again);
    assert_eq!(digest, Digest::of(&[0, 97, 115, 109]));
    let release = Release {
        flow: "lead".into(),
        component: digest.clone(),
        grants: Grants::default(),
        bindings: BTreeMap::new(),
        settings: BTreeMap::new(),
        tables: BTreeMap::new(),
    };
    let release_digest = catalog.put_release(&account.id, &release).await.unwrap();

    let bed = bed.reopen().await;
    let catalog = bed.store.catalog();
    let snapshot = catalog.load().await.unwrap();
    assert_eq!(snapshot.accounts, std::slice::from_ref(&account));
    assert_eq!(snapshot.keys[&account.id], keys);
    assert_eq!(
        catalog
            .release(&account.id, &release_digest)
            .await
            .unwrap()
            .unwrap(),
        release
    );
    let components = catalog.components(&account.id).await.unwrap();
    assert_eq!(components[0].document, "[[row]]");
    assert_eq!(components[0].size_bytes, 4);
    let bytes = catalog.component_bytes(&account.id, &digest).await.unwrap();
    assert_eq!(bytes.as_deref(), Some(&[0, 97, 115, 109][..]));
}

async fn nothing_about_a_patient_is_readable(bed: Bed) {
    let mut secret = arrival("1", &["4711^^^CLINIC^MR"]);
    secret.payload = b"PID|||4711^^^CLINIC^MR||Doe^Jane".to_vec();
    secret.acknowledgement = b"MSA|AE|1|Doe^Jane".to_vec();
    secret.search = vec!["4711".into()];
    secret.duplicate = Some(DuplicateKey {
        identity: "4711".into(),
        payload: [0; 32],
    });
    bed.append(secret).await;
    let claimed = bed.claim().await.remove(0);
    let operation = NewOperation {
        ordinal: 0,
        kind: OperationKind::UpsertLead,
        identity: Some(("lead", "4711".into())),
        payload: b"FirstName=Jane".to_vec(),
    };
    bed.journal
        .begin(&claimed.lease, Vec::new(), operation)
        .await
        .unwrap();
    let mut end = settlement(Settled::Delivered);
    end.note = Some("Jane".into());
    end.links = vec![Link {
        key: LinkKey {
            kind: "lead".into(),
            key: "4711".into(),
        },
        to: LinkTarget {
            target: "lead-1".into(),
            parent: None,
        },
    }];
    bed.journal.settle(&claimed.lease, end).await.unwrap();

    let dump = dump(&bed).await;
    assert!(dump.contains("ADT^A04"), "the dump is of the right place");
    for secret in ["4711", "Doe", "Jane", "FirstName"] {
        assert!(!dump.contains(secret), "{secret} is readable");
    }
}

/// Everything in the database as text: bytes as they are.
async fn dump(bed: &Bed) -> String {
    use sqlx::{Connection as _, Row as _};
    if let Some(path) = bed.url.strip_prefix("sqlite:") {
        let mut bytes = std::fs::read(path).unwrap();
        bytes.extend(std::fs::read(format!("{path}-wal")).unwrap());
        return String::from_utf8_lossy(&bytes).into_owned();
    }
    let mut connection = sqlx::PgConnection::connect(&bed.url).await.unwrap();
    let mut dump = String::new();
    for table in [
        "message",
        "delivery",
        "lane",
        "lane_entry",
        "attempt",
        "operation",
        "search",
        "duplicate",
        "link",
    ] {
        let rows = sqlx::query(sqlx::AssertSqlSafe(format!(
            "select convert_from(convert_to(t::text, 'UTF8'), 'UTF8') || encode(convert_to(t::text, 'UTF8'), 'escape') from {table} t"
        )))
        .fetch_all(&mut connection)
        .await
        .unwrap();
        for row in rows {
            let text: String = row.get(0);
            // Bytes are written as hexadecimal digits: read them again, too.
            for word in text.split(['"', ',', '(', ')']) {
                let digits = word.trim_start_matches('\\').trim_start_matches('x');
                let bytes: Vec<u8> = (0..digits.len() / 2)
                    .filter_map(|at| u8::from_str_radix(digits.get(at * 2..at * 2 + 2)?, 16).ok())
                    .collect();
                dump.push_str(&String::from_utf8_lossy(&bytes));
            }
            dump.push_str(&text);
        }
    }
    dump
}

async fn large_batches_and_large_messages_pass(bed: Bed) {
    let mut large = arrival("large", &[]);
    large.payload = vec![b'x'; 5_000_000];
    let receipt: Vec<_> = (0..300)
        .map(|n| {
            let id = n.to_string();
            let mut arrival = arrival(&id, &[&id]);
            arrival.search = (0..7).map(|k| format!("{n}/{k}")).collect();
            arrival
        })
        .chain([large])
        .collect();
    bed.journal.append(receipt).await.unwrap();
    let mut claimed = Vec::new();
    loop {
        let some = bed.claim().await;
        if some.is_empty() {
            break;
        }
        claimed.extend(some);
    }
    assert_eq!(claimed.len(), 301);
    let large = claimed
        .iter()
        .find(|one| one.control_id == "large")
        .unwrap();
    assert_eq!(large.payload.len(), 5_000_000);
    let odd = "nul \0 and quote ' and $1 ?";
    let mut strange = arrival(odd, &[odd]);
    strange.search = vec![odd.into()];
    bed.append(strange).await;
    let found = bed.journal.find(&account(), odd, 1).await.unwrap();
    assert_eq!(found[0].control_id, odd.replace('\0', "\u{fffd}"));
}
