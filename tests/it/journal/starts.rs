//! What a new start finds: SQLite's lanes are made anew from the deliveries.

use ligature::store::Error;
use ligature::store::journal::Settled;

use super::{Bed, account, arrival, ids, settlement};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lanes_are_the_same_after_a_new_start() {
    let bed = Bed::sqlite().await;
    let later = 4_000_000_000_000;
    for (id, lanes) in [
        ("held", &["p1"][..]),
        ("waiting", &["p2"]),
        ("running", &["p3"]),
        ("delivered", &["p4"]),
        ("first of p5", &["p5"]),
    ] {
        bed.append(arrival(id, lanes)).await;
    }
    let claimed = bed.claim().await;
    assert_eq!(claimed.len(), 5);
    bed.settle(&claimed[0], Settled::Dead { hold: true }).await;
    bed.settle(&claimed[1], Settled::Waiting { due_at_ms: later })
        .await;
    bed.settle(&claimed[3], Settled::Delivered).await;
    bed.settle(&claimed[4], Settled::Waiting { due_at_ms: later })
        .await;
    for (id, lanes) in [
        ("behind held", &["p1"][..]),
        ("behind waiting", &["p2"]),
        ("behind running", &["p3"]),
        ("merge", &["p5", "p6"]),
        ("behind the merge", &["p6"]),
        ("free", &["p7"]),
    ] {
        bed.append(arrival(id, lanes)).await;
    }

    let bed = bed.reopen().await;
    let again = bed.claim().await;
    assert_eq!(ids(&again), ["running", "free"]);
    assert_eq!((again[0].attempt, again[0].tries), (2, 1));
    let old = bed
        .journal
        .settle(&claimed[2].lease, settlement(Settled::Delivered))
        .await;
    assert!(matches!(old, Err(Error::LeaseLost)), "{old:?}");
    for one in &again {
        bed.settle(one, Settled::Delivered).await;
    }
    assert_eq!(bed.claim_ids().await, ["behind running"]);

    for kept in [&claimed[0], &claimed[1], &claimed[4]] {
        bed.journal
            .release(&account(), &kept.delivery)
            .await
            .unwrap();
    }
    let released = bed.claim().await;
    assert_eq!(ids(&released), ["held", "waiting", "first of p5"]);
    for one in &released {
        bed.settle(one, Settled::Delivered).await;
    }
    assert_eq!(
        bed.claim_ids().await,
        ["behind held", "behind waiting", "merge"]
    );
}
