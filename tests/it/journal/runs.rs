//! What mapping runs were given and came to is kept with their deliveries, and found by time and flow.

use ligature::flow::Digest;
use ligature::flow::ran::{Given, Print, Ran, Warned};
use ligature::store::journal::warnings::Per;
use ligature::store::journal::{RanCount, Settled, Window};

use super::{ACCOUNT, Bed, account, arrival, both, ids, settlement};

both!(
    the_last_run_of_a_delivery_is_kept,
    runs_are_found_by_time_and_flow,
    warnings_add_up_and_are_forgotten,
    what_a_release_broke_on_is_found_and_queued_again,
    a_flow_s_runs_are_counted_by_release_and_end,
    a_delivery_s_lane_is_the_one_that_it_runs_under,
);

fn ran(outcome: &str) -> Ran {
    Ran {
        flow: "lead".into(),
        release: Digest::of(outcome.as_bytes()),
        at_ms: 5,
        outcome: outcome.into(),
        broke: false,
        given: Given {
            time_zone: "UTC".into(),
            channel: "adt".into(),
            ..Given::default()
        },
        prints: vec![Print::of("lead.LastName", outcome)],
        warnings: Vec::new(),
        warnings_cut: 0,
        log: vec!["Doe".into()],
    }
}

fn all() -> Window {
    Window {
        flow: None,
        from_ms: 0,
        to_ms: jiff::Timestamp::now().as_millisecond() + 1_000,
    }
}

async fn the_last_run_of_a_delivery_is_kept(bed: Bed) {
    bed.append(arrival("1", &["a"])).await;
    let claimed = bed.claim().await.remove(0);
    let stored = async || {
        let stored = bed.journal.stored_one(&account(), &claimed.delivery).await;
        stored.unwrap().unwrap()
    };
    assert!(stored().await.ran.is_none());
    let mut first = settlement(Settled::Dead { hold: false });
    first.ran = Some(ran("mapping-trapped"));
    bed.journal.settle(&claimed.lease, first).await.unwrap();
    let found = stored().await;
    assert_eq!(found.ran, Some(ran("mapping-trapped")));
    assert_eq!(found.payload.as_deref(), Some(&b"MSH|1|Doe^Jane"[..]));

    // Tried again: another run takes its place, and a try without one leaves it.
    for (ran, expected) in [(Some(ran("wrote")), "wrote"), (None, "wrote")] {
        let released = bed.journal.release(&account(), &claimed.delivery).await;
        released.unwrap();
        let again = bed.claim().await.remove(0);
        let mut second = settlement(Settled::Dead { hold: false });
        second.ran = ran;
        bed.journal.settle(&again.lease, second).await.unwrap();
        let kept = stored().await.ran.map(|ran| ran.outcome);
        assert_eq!(kept.as_deref(), Some(expected));
    }
}

async fn runs_are_found_by_time_and_flow(bed: Bed) {
    for id in ["1", "2", "3"] {
        bed.append(arrival(id, &[id])).await;
    }
    let claimed = bed.claim().await;
    for claimed in &claimed {
        let mut done = settlement(Settled::Delivered);
        done.ran = Some(ran("wrote"));
        bed.journal.settle(&claimed.lease, done).await.unwrap();
    }
    let journal = &bed.journal;
    let found = async |window: Window, after: Option<usize>, limit| {
        let after = after.map(|at| &claimed[at].delivery);
        let found = journal.stored(&account(), &window, after, limit).await;
        let found = found.unwrap().into_iter();
        let place = |id| claimed.iter().position(|claimed| claimed.delivery == id);
        found
            .map(|stored| place(stored.delivery).unwrap())
            .collect::<Vec<_>>()
    };
    assert_eq!(found(all(), None, 10).await, [0, 1, 2]);
    assert_eq!(found(all(), None, 2).await, [0, 1]);
    assert_eq!(found(all(), Some(1), 2).await, [2]);
    let of_flow = |flow: &str| Window {
        flow: Some(flow.into()),
        ..all()
    };
    assert_eq!(found(of_flow("lead"), None, 10).await, [0, 1, 2]);
    assert!(found(of_flow("other"), None, 10).await.is_empty());
    let before = Window { to_ms: 1, ..all() };
    assert!(found(before, None, 10).await.is_empty());
    let count = async |window: Window, most| {
        let count = journal.count_stored(&account(), &window, most).await;
        count.unwrap()
    };
    assert_eq!(count(all(), 100).await, 3);
    assert_eq!(count(all(), 2).await, 2);
    assert_eq!(count(of_flow("other"), 100).await, 0);
}

async fn warnings_add_up_and_are_forgotten(bed: Bed) {
    for id in ["1", "2", "3"] {
        bed.append(arrival(id, &[id])).await;
    }
    let warned = |row: &str| Warned {
        row: row.into(),
        path: "PID-7".into(),
        cause: "malformed".into(),
        defaulted: false,
    };
    let hour = Per::Hour.ms();
    let at_ms = 1_000 * hour + 5;
    let ends = [
        (Settled::Delivered, "wrote"),
        (Settled::Skipped, "wrote"),
        // Tried again by itself: counted when it has come to rest.
        (
            Settled::Waiting {
                due_at_ms: i64::MAX,
            },
            "wrote",
        ),
    ];
    for (claimed, (state, outcome)) in bed.claim().await.iter().zip(ends) {
        let mut done = settlement(state);
        done.ran = Some(Ran {
            at_ms,
            warnings: vec![warned("born"), warned("born"), warned("died")],
            ..ran(outcome)
        });
        bed.journal.settle(&claimed.lease, done).await.unwrap();
    }
    let counts = async |per: Per, from_ms: i64| {
        let flow = "lead".into();
        let times = (from_ms, at_ms + 2 * hour);
        let found = bed.journal.warnings(&account(), &flow, per, times).await;
        let found = found.unwrap().into_iter();
        found
            .map(|one| format!("{} {} {}", one.at_ms, one.row, one.count))
            .collect::<Vec<_>>()
    };
    let begin = at_ms - 5;
    let expected = [format!("{begin} born 4"), format!("{begin} died 2")];
    assert_eq!(counts(Per::Hour, at_ms).await, expected);
    assert_eq!(counts(Per::Minute, at_ms).await, expected);
    assert!(counts(Per::Hour, at_ms + hour).await.is_empty());
    let day = 24 * hour;
    bed.journal.forget_warnings(at_ms + 3 * day).await.unwrap();
    assert!(counts(Per::Minute, 0).await.is_empty());
    assert_eq!(counts(Per::Hour, 0).await, expected);
    bed.journal.forget_warnings(at_ms + 91 * day).await.unwrap();
    assert!(counts(Per::Hour, 0).await.is_empty());
}

async fn what_a_release_broke_on_is_found_and_queued_again(bed: Bed) {
    for id in ["1", "2", "3", "4"] {
        bed.append(arrival(id, &[id])).await;
    }
    let dead = Settled::Dead { hold: false };
    let ends = [
        (dead, true, "bad"),
        (Settled::Dead { hold: true }, true, "bad"),
        (dead, true, "other"),
        (dead, false, "bad"),
    ];
    for (claimed, (state, broke, release)) in bed.claim().await.iter().zip(ends) {
        let mut done = settlement(state);
        done.ran = Some(Ran {
            broke,
            ..ran(release)
        });
        bed.journal.settle(&claimed.lease, done).await.unwrap();
    }
    let bad = Digest::of(b"bad");
    let broken = async |since_ms: i64| {
        let broken = bed.journal.broken(&account(), &bad, since_ms).await;
        broken.unwrap()
    };
    assert_eq!((broken(0).await, broken(6).await), (2, 0));
    let released = bed.journal.release_broken(&account(), &bad).await;
    assert_eq!(released.unwrap(), 2);
    assert_eq!(ids(&bed.claim().await), ["1", "2"]);
    let released = bed.journal.release_broken(&account(), &bad).await;
    assert_eq!(released.unwrap(), 0);
}

async fn a_flow_s_runs_are_counted_by_release_and_end(bed: Bed) {
    for id in ["1", "2", "3", "4", "5"] {
        bed.append(arrival(id, &[id])).await;
    }
    let ends = [
        (Settled::Delivered, "old", "lead"),
        (Settled::Delivered, "old", "lead"),
        (Settled::Dead { hold: false }, "new", "lead"),
        (Settled::Skipped, "new", "lead"),
        (Settled::Delivered, "old", "other"),
    ];
    for (claimed, (state, release, flow)) in bed.claim().await.iter().zip(ends) {
        let mut done = settlement(state);
        done.ran = Some(Ran {
            release: Digest::of(release.as_bytes()),
            flow: flow.into(),
            broke: matches!(state, Settled::Dead { .. }),
            ..ran("wrote")
        });
        bed.journal.settle(&claimed.lease, done).await.unwrap();
    }
    let counts = async |account: &str, flow: &str, since_ms: i64| {
        let (account, flow) = (account.into(), flow.into());
        let counts = bed.journal.ran_since(&account, &flow, since_ms).await;
        let mut lines: Vec<_> = counts.unwrap().into_iter().map(line).collect();
        lines.sort();
        lines
    };
    let expected = [
        "new dead wrote broke 1",
        "new skipped wrote 1",
        "old delivered wrote 2",
    ];
    assert_eq!(counts(ACCOUNT, "lead", 0).await, expected);
    assert_eq!(counts(ACCOUNT, "other", 0).await, ["old delivered wrote 1"]);
    assert!(counts(ACCOUNT, "nobody", 0).await.is_empty());
    assert!(counts("another", "lead", 0).await.is_empty());
    let later = jiff::Timestamp::now().as_millisecond() + 60_000;
    assert!(counts(ACCOUNT, "lead", later).await.is_empty());
}

fn line(count: RanCount) -> String {
    let name = |release: &&str| Digest::of(release.as_bytes()).as_str() == count.release;
    let release = ["old", "new"].iter().find(|release| name(release));
    let broke = if count.broke { " broke" } else { "" };
    format!(
        "{} {} {}{broke} {}",
        release.unwrap_or(&"?"),
        count.state,
        count.outcome,
        count.count
    )
}

async fn a_delivery_s_lane_is_the_one_that_it_runs_under(bed: Bed) {
    let lanes = [&["a"][..], &["b"], &["a"], &["b", "a"], &["a", "b"]];
    for (number, lanes) in lanes.iter().enumerate() {
        let message = arrival(&number.to_string(), lanes);
        bed.append(message).await;
    }
    let mut found = Vec::new();
    let window = all();
    for stored in bed
        .journal
        .stored(&account(), &window, None, 10)
        .await
        .unwrap()
    {
        let lane = bed.journal.lane_of(&account(), &stored.delivery).await;
        found.push(lane.unwrap().unwrap());
    }
    let [a, b, again, both, turned] = found.try_into().unwrap();
    assert_ne!(a, b);
    assert_eq!(a, again);
    // Of several the lowest, in whatever order they were named.
    assert_eq!(both, a.clone().min(b));
    assert_eq!(both, turned);
    let nobody = bed.journal.lane_of(&account(), &"nothing".into()).await;
    assert_eq!(nobody.unwrap(), None);
}
