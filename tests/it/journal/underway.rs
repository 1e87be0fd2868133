//! Whether somebody is writing the record that LeadSquared tells of.

use jiff::Timestamp;
use ligature::flow::{DeliveryId, FlowId};
use ligature::store::journal::underway::Told;
use ligature::store::journal::{Finished, NewOperation, OperationKind, OperationState, Settled};

use super::{Bed, account, arrival, both, settlement};

both!(a_write_is_under_way_until_it_is_noted);

fn write(ordinal: i64, kind: OperationKind) -> NewOperation {
    NewOperation {
        ordinal,
        kind,
        identity: None,
        payload: b"values".to_vec(),
    }
}

/// Whether a record's change that came now may be a write of another delivery than `own`.
async fn is_writing(bed: &Bed, own: &str, record: &str, ago_ms: i64) -> bool {
    let until_ms = Timestamp::now().as_millisecond() - ago_ms;
    let told = Told {
        record,
        since_ms: until_ms - 60_000,
        until_ms,
    };
    let own = DeliveryId::from(own);
    let account = account();
    let flow = FlowId::from("lead");
    let flows = [&flow];
    let asked = (bed.journal).is_writing(&account, &own, told, &flows);
    asked.await.unwrap()
}

async fn a_write_is_under_way_until_it_is_noted(bed: Bed) {
    bed.append(arrival("1", &["p1"])).await;
    bed.append(arrival("2", &["p2"])).await;
    let claimed = bed.claim().await;
    let [one, two] = claimed.as_slice() else {
        panic!("two deliveries");
    };
    assert!(!is_writing(&bed, "other", "lead-1", 0).await);

    // What was read or sent elsewhere is no write.
    let read = write(0, OperationKind::ReadRecord);
    bed.journal
        .begin(&two.lease, Vec::new(), read)
        .await
        .unwrap();
    assert!(!is_writing(&bed, "other", "lead-1", 0).await);

    let lead = write(0, OperationKind::UpdateLead);
    let lead = bed.journal.begin(&one.lease, Vec::new(), lead).await;
    // Nobody knows yet whose lead it is; what came before is not of it.
    assert!(is_writing(&bed, "other", "lead-1", 0).await);
    assert!(is_writing(&bed, "other", "lead-2", 0).await);
    assert!(!is_writing(&bed, "other", "lead-1", 30_000).await);
    assert!(!is_writing(&bed, one.delivery.as_str(), "lead-1", 0).await);

    let done = Finished {
        operation: lead.unwrap(),
        state: OperationState::Done {
            target: Some("lead-1".into()),
        },
    };
    let activity = write(1, OperationKind::CreateActivity);
    let activity = bed.journal.begin(&one.lease, vec![done], activity).await;
    let failed = Finished {
        operation: activity.unwrap(),
        state: OperationState::Failed {
            code: "refused".into(),
        },
    };
    let last = write(2, OperationKind::ReadRecord);
    bed.journal
        .begin(&one.lease, vec![failed], last)
        .await
        .unwrap();
    // Written, and not noted before the delivery is settled.
    assert!(is_writing(&bed, "other", "lead-1", 0).await);
    assert!(!is_writing(&bed, "other", "lead-2", 0).await);
    bed.settle(one, Settled::Delivered).await;
    assert!(!is_writing(&bed, "other", "lead-1", 0).await);

    // A write whose answer never came is under way while its delivery waits to look it up.
    let lost = write(1, OperationKind::UpdateLead);
    let lost = bed.journal.begin(&two.lease, Vec::new(), lost).await;
    let mut waits = settlement(Settled::Waiting {
        due_at_ms: i64::MAX / 2,
    });
    waits.finished = vec![Finished {
        operation: lost.unwrap(),
        state: OperationState::Unknown,
    }];
    bed.journal.settle(&two.lease, waits).await.unwrap();
    assert!(is_writing(&bed, "other", "lead-2", 0).await);
}
