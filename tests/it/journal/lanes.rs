//! Lanes: order for each patient, independence of patients, merges, leases and fences.

use ligature::flow::Direction;
use ligature::store::Error;
use ligature::store::journal::{
    Filter, Finished, LEASE, Lanes, NewOperation, OperationKind, OperationState, Route, Settled,
    State,
};

use super::{Bed, RUN_OUT, account, arrival, both, ids, queued, settlement};

both!(
    a_lane_is_untouched_until_a_delivery_has_left_it,
    a_patient_s_deliveries_run_one_after_another_across_flows,
    directions_and_messages_without_patient_have_lanes_of_their_own,
    waiting_holds_the_lane_until_it_is_due,
    parked_and_dead_let_the_lane_go_on,
    a_dead_delivery_holds_when_its_flow_says_so,
    a_released_delivery_runs_at_its_old_place,
    a_paused_flow_s_deliveries_wait_apart_and_come_back_together,
    a_merge_runs_when_it_heads_both_lanes,
    a_merge_that_waits_holds_both_lanes,
    an_expired_lease_passes_on_and_the_old_one_is_refused,
    a_renewed_lease_holds,
    lanes_given_back_are_claimable_at_once,
    the_ledger_outlives_the_worker,
);

async fn a_patient_s_deliveries_run_one_after_another_across_flows(bed: Bed) {
    let mut first = arrival("1", &["p1"]);
    first.route = Route::Flows(vec![queued("lead"), queued("activity")]);
    bed.append(first).await;
    let mut second = arrival("2", &["p1"]);
    second.route = Route::Flows(vec![queued("cancel")]);
    bed.append(second).await;
    bed.append(arrival("3", &["p2"])).await;

    let mut order = Vec::new();
    loop {
        let claimed = bed.claim().await;
        if claimed.is_empty() {
            break;
        }
        for one in &claimed {
            order.push(format!("{}:{}", one.control_id, one.flow));
        }
        assert_eq!(bed.claim_ids().await, [""; 0], "claimed lanes are leased");
        for one in &claimed {
            bed.settle(one, Settled::Delivered).await;
        }
    }
    assert_eq!(order, ["1:lead", "3:lead", "1:activity", "2:cancel"]);
    assert_eq!(bed.journal.next_due_at().await.unwrap(), None);
}

async fn directions_and_messages_without_patient_have_lanes_of_their_own(bed: Bed) {
    bed.append(arrival("1", &["p1"])).await;
    let mut back = arrival("2", &["p1"]);
    back.direction = Direction::LeadSquaredToEhr;
    bed.append(back).await;
    bed.append(arrival("3", &[])).await;
    bed.append(arrival("4", &[])).await;
    assert_eq!(bed.claim_ids().await, ["1", "2", "3", "4"]);
}

async fn waiting_holds_the_lane_until_it_is_due(bed: Bed) {
    bed.append(arrival("1", &["p1"])).await;
    bed.append(arrival("2", &["p1"])).await;
    bed.append(arrival("3", &["p2"])).await;
    let claimed = bed.claim().await;
    let later = i64::MAX / 2;
    bed.settle(&claimed[0], Settled::Waiting { due_at_ms: later })
        .await;
    bed.settle(&claimed[1], Settled::Delivered).await;
    assert_eq!(bed.claim_ids().await, [""; 0]);
    assert_eq!(bed.journal.next_due_at().await.unwrap(), Some(later));

    bed.journal
        .release(&account(), &claimed[0].delivery)
        .await
        .unwrap();
    let claimed = bed.claim().await;
    assert_eq!(ids(&claimed), ["1"]);
    assert_eq!((claimed[0].attempt, claimed[0].tries), (2, 2));
    bed.settle(&claimed[0], Settled::Waiting { due_at_ms: 1 })
        .await;
    let claimed = bed.claim().await;
    assert_eq!(ids(&claimed), ["1"], "its time has come");
    bed.settle(&claimed[0], Settled::Delivered).await;
    assert_eq!(bed.claim_ids().await, ["2"]);
}

async fn parked_and_dead_let_the_lane_go_on(bed: Bed) {
    for id in ["1", "2", "3"] {
        bed.append(arrival(id, &["p1"])).await;
    }
    let claimed = bed.claim().await;
    bed.settle(&claimed[0], Settled::Parked).await;
    let claimed = bed.claim().await;
    assert_eq!(ids(&claimed), ["2"]);
    bed.settle(&claimed[0], Settled::Dead { hold: false }).await;
    assert_eq!(bed.claim_ids().await, ["3"]);
}

async fn a_dead_delivery_holds_when_its_flow_says_so(bed: Bed) {
    bed.append(arrival("1", &["p1"])).await;
    bed.append(arrival("2", &["p1"])).await;
    let claimed = bed.claim().await;
    bed.settle(&claimed[0], Settled::Dead { hold: true }).await;
    bed.append(arrival("3", &["p1"])).await;
    assert_eq!(bed.claim_ids().await, [""; 0]);
    assert_eq!(bed.journal.next_due_at().await.unwrap(), None);

    bed.journal
        .release(&account(), &claimed[0].delivery)
        .await
        .unwrap();
    assert_eq!(bed.claim_ids().await, ["1"]);
}

async fn a_released_delivery_runs_at_its_old_place(bed: Bed) {
    for id in ["1", "2", "3"] {
        bed.append(arrival(id, &["p1"])).await;
    }
    let first = bed.claim().await.remove(0);
    bed.settle(&first, Settled::Dead { hold: false }).await;
    let second = bed.claim().await.remove(0);
    bed.journal
        .release(&account(), &first.delivery)
        .await
        .unwrap();
    assert_eq!(
        bed.claim_ids().await,
        [""; 0],
        "the lane is leased for the second"
    );
    bed.settle(&second, Settled::Delivered).await;
    let claimed = bed.claim().await;
    assert_eq!(ids(&claimed), ["1"], "before the third");
    bed.settle(&claimed[0], Settled::Delivered).await;
    assert_eq!(bed.claim_ids().await, ["3"]);

    let error = bed
        .journal
        .release(&account(), &first.delivery)
        .await
        .unwrap_err();
    assert!(matches!(error, Error::NotReleasable { .. }), "{error}");
    let error = bed
        .journal
        .release(&account(), &"nothing".into())
        .await
        .unwrap_err();
    assert!(matches!(error, Error::NotFound(_)), "{error}");
}

async fn a_paused_flow_s_deliveries_wait_apart_and_come_back_together(bed: Bed) {
    let mut paused = queued("lead");
    paused.start = ligature::store::journal::Start::Parked {
        reason: "flow-paused",
        text: "The flow is paused.".into(),
    };
    for id in ["1", "2"] {
        let mut arrival = arrival(id, &["p1"]);
        arrival.route = Route::Flows(vec![paused.clone()]);
        bed.append(arrival).await;
    }
    bed.append(arrival("3", &["p1"])).await;
    let third = bed.claim().await;
    assert_eq!(ids(&third), ["3"]);
    bed.settle(&third[0], Settled::Delivered).await;

    let flow = "lead".into();
    let released = |reason: &'static str| {
        let (journal, flow) = (bed.journal.clone(), &flow);
        async move {
            journal
                .release_flow(&account(), flow, reason)
                .await
                .unwrap()
        }
    };
    assert_eq!(released("another reason").await, 0);
    assert_eq!(released("flow-paused").await, 2);
    assert_eq!(released("flow-paused").await, 0);
    for id in ["1", "2"] {
        let claimed = bed.claim().await;
        assert_eq!(ids(&claimed), [id]);
        bed.settle(&claimed[0], Settled::Delivered).await;
    }
}

async fn a_merge_runs_when_it_heads_both_lanes(bed: Bed) {
    // Which of two lanes is the first is up to their hashes, so both ways round.
    for [a, b] in [["p1", "p2"], ["p3", "p4"], ["p5", "p6"], ["p7", "p8"]] {
        bed.append(arrival("1", &[a])).await;
        bed.append(arrival("merge", &[a, b])).await;
        bed.append(arrival("2", &[a])).await;
        bed.append(arrival("3", &[b])).await;
        let before = bed.claim().await;
        assert_eq!(ids(&before), ["1"], "the merge holds up the other lane");
        assert_eq!(bed.claim_ids().await, [""; 0]);
        bed.settle(&before[0], Settled::Delivered).await;

        let mut merge = bed.claim().await;
        if merge.is_empty() {
            // The first claim finds the merge at the head of the lane that is not its own and wakes the other.
            merge = bed.claim().await;
        }
        assert_eq!(ids(&merge), ["merge"]);
        assert_eq!(bed.claim_ids().await, [""; 0]);
        bed.settle(&merge[0], Settled::Delivered).await;
        let after = bed.claim().await;
        assert_eq!(ids(&after), ["2", "3"]);
        for one in &after {
            bed.settle(one, Settled::Delivered).await;
        }
        assert_eq!(bed.journal.next_due_at().await.unwrap(), None);
    }
}

async fn a_merge_that_waits_holds_both_lanes(bed: Bed) {
    bed.append(arrival("merge", &["p1", "p2"])).await;
    bed.append(arrival("1", &["p1"])).await;
    bed.append(arrival("2", &["p2"])).await;
    let mut claimed = bed.claim().await;
    while claimed.is_empty() {
        claimed = bed.claim().await;
    }
    bed.settle(
        &claimed[0],
        Settled::Waiting {
            due_at_ms: i64::MAX / 2,
        },
    )
    .await;
    assert_eq!(bed.claim_ids().await, [""; 0]);
    assert_eq!(bed.claim_ids().await, [""; 0]);

    bed.journal
        .release(&account(), &claimed[0].delivery)
        .await
        .unwrap();
    let mut claimed = bed.claim().await;
    while claimed.is_empty() {
        claimed = bed.claim().await;
    }
    assert_eq!(ids(&claimed), ["merge"]);
    bed.settle(&claimed[0], Settled::Dead { hold: false }).await;
    assert_eq!(bed.claim_ids().await, ["1", "2"]);
}

async fn an_expired_lease_passes_on_and_the_old_one_is_refused(bed: Bed) {
    bed.append(arrival("1", &["p1"])).await;
    let old = bed
        .journal
        .claim("slow", 64, RUN_OUT)
        .await
        .unwrap()
        .remove(0);
    let new = bed.claim().await.remove(0);
    assert_eq!(new.delivery, old.delivery);
    assert_eq!((old.attempt, new.attempt), (1, 2));
    // The old one never said what became of it: nothing is wrong with the delivery.
    assert_eq!((old.tries, new.tries), (1, 1));

    let operation = NewOperation {
        ordinal: 0,
        kind: OperationKind::CreateLead,
        identity: None,
        payload: Vec::new(),
    };
    let begun = bed.journal.begin(&old.lease, Vec::new(), operation).await;
    assert!(matches!(begun, Err(Error::LeaseLost)), "{begun:?}");
    let settled = bed
        .journal
        .settle(&old.lease, settlement(Settled::Delivered))
        .await;
    assert!(matches!(settled, Err(Error::LeaseLost)), "{settled:?}");
    bed.settle(&new, Settled::Delivered).await;
    let again = bed
        .journal
        .settle(&new.lease, settlement(Settled::Delivered))
        .await;
    assert!(matches!(again, Err(Error::LeaseLost)), "{again:?}");
}

async fn a_renewed_lease_holds(bed: Bed) {
    bed.append(arrival("1", &["p1"])).await;
    let claimed = bed.claim().await;
    let until = || async { bed.journal.next_due_at().await.unwrap().unwrap() };
    let first = until().await;
    bed.journal.renew("another", 10 * LEASE).await.unwrap();
    assert_eq!(until().await, first);
    bed.journal.renew("worker", 10 * LEASE).await.unwrap();
    assert!(until().await > first + 8 * LEASE.as_millis() as i64);
    bed.settle(&claimed[0], Settled::Delivered).await;
}

async fn lanes_given_back_are_claimable_at_once(bed: Bed) {
    bed.append(arrival("1", &["p1"])).await;
    bed.append(arrival("2", &["p2"])).await;
    let mine = bed.journal.claim("a", 1, LEASE).await.unwrap();
    let other = bed.journal.claim("b", 1, LEASE).await.unwrap();
    assert_eq!((mine.len(), other.len()), (1, 1));
    bed.journal.release_all("a").await.unwrap();
    assert_eq!(bed.claim_ids().await, ids(&mine));
    let running = Filter {
        state: Some(State::Running),
        ..Filter::default()
    };
    let page = bed.journal.list(&running, None, 10).await.unwrap();
    assert_eq!(page.rows.len(), 2);
}

async fn the_ledger_outlives_the_worker(bed: Bed) {
    bed.append(arrival("1", &["p1"])).await;
    let first = bed.journal.claim("a", 64, RUN_OUT).await.unwrap().remove(0);
    let new = |ordinal, kind| NewOperation {
        ordinal,
        kind,
        identity: Some(("activity", "205|A-1".into())),
        payload: format!("payload {ordinal}").into_bytes(),
    };
    let lead = bed
        .journal
        .begin(&first.lease, Vec::new(), new(0, OperationKind::CreateLead))
        .await
        .unwrap();
    let done = Finished {
        operation: lead,
        state: OperationState::Done {
            target: Some("lead-1".into()),
        },
    };
    bed.journal
        .begin(
            &first.lease,
            vec![done],
            new(1, OperationKind::CreateActivity),
        )
        .await
        .unwrap();

    let open = || async {
        bed.journal
            .open_operations(&account(), "activity", "205|A-1")
            .await
            .unwrap()
    };
    assert_eq!(open().await.len(), 1);
    let mut second = bed.claim().await.remove(0);
    let told: Vec<_> = second
        .operations
        .iter()
        .map(|row| {
            (
                row.ordinal,
                row.kind,
                row.state.clone(),
                row.payload.clone(),
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            (
                0,
                OperationKind::CreateLead,
                OperationState::Done {
                    target: Some("lead-1".into())
                },
                b"payload 0".to_vec()
            ),
            (
                1,
                OperationKind::CreateActivity,
                OperationState::Begun,
                b"payload 1".to_vec()
            ),
        ]
    );
    let mut end = settlement(Settled::Delivered);
    end.finished = vec![Finished {
        operation: second.operations.remove(1).id,
        state: OperationState::Unknown,
    }];
    bed.journal.settle(&second.lease, end).await.unwrap();
    assert_eq!(open().await.len(), 1, "unknown is open, too");
    assert_eq!(open().await[0].state, OperationState::Unknown);
}

async fn a_lane_is_untouched_until_a_delivery_has_left_it(bed: Bed) {
    let check = async |untouched, followed, what: &str| {
        let lanes = bed.journal.lanes(&account()).await.unwrap();
        let expected = Lanes {
            untouched,
            followed,
        };
        assert_eq!(lanes, expected, "{what}");
    };
    for (control_id, lane) in [("a1", "a"), ("a2", "a"), ("a3", "a"), ("b1", "b")] {
        bed.append(arrival(control_id, &[lane])).await;
    }
    check(2, 1, "queued").await;
    let claimed = bed.claim().await;
    check(0, 2, "worked on").await;
    for claimed in &claimed {
        bed.settle(claimed, Settled::Waiting { due_at_ms: 0 }).await;
    }
    check(2, 1, "tried in vain").await;
    for claimed in bed.claim().await {
        bed.settle(&claimed, Settled::Delivered).await;
    }
    check(0, 1, "the first of each has left").await;
    let claimed = bed.claim().await;
    bed.settle(&claimed[0], Settled::Waiting { due_at_ms: 0 })
        .await;
    check(0, 1, "the second was tried in vain").await;
}
