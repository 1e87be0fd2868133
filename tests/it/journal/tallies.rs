//! Figures of traffic: added up by minute and by hour, and forgotten in time.

use ligature::flow::FlowId;
use ligature::store::journal::tally::{Step, Tallied};
use ligature::store::journal::{Settled, State};

use super::{Bed, account, arrival, both};

both!(
    figures_add_up_by_minute_and_hour,
    only_what_is_open_is_counted,
);

const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;

fn tallied(minute: i64, kind: &str, count: u64) -> Tallied {
    Tallied {
        account: account(),
        at_ms: minute * MINUTE_MS,
        kind: kind.into(),
        subject: "lead".into(),
        count,
    }
}

async fn figures_add_up_by_minute_and_hour(bed: Bed) {
    let said = async |step, from_ms, to_ms| {
        let found = bed.journal.tallies(&account(), step, from_ms, to_ms).await;
        let found = found.unwrap().into_iter();
        let said = found.map(|one| format!("{}:{}={}", one.at_ms / MINUTE_MS, one.kind, one.count));
        let mut said: Vec<_> = said.collect();
        said.sort();
        said.join(" ")
    };
    bed.journal.add_tallies(&[]).await.unwrap();
    // Minutes of two hours, and another host's share of one of them.
    let ours = [
        tallied(59, "delivered", 1),
        tallied(60, "delivered", 2),
        tallied(61, "failed", 3),
        tallied(61, "delivered", 4),
    ];
    bed.journal.add_tallies(&ours).await.unwrap();
    let theirs = [tallied(60, "delivered", 10)];
    bed.journal.add_tallies(&theirs).await.unwrap();
    assert_eq!(
        said(Step::Minute, 0, i64::MAX).await,
        "59:delivered=1 60:delivered=12 61:delivered=4 61:failed=3"
    );
    assert_eq!(
        said(Step::Minute, 60 * MINUTE_MS, 61 * MINUTE_MS).await,
        "60:delivered=12"
    );
    assert_eq!(
        said(Step::Hour, 0, i64::MAX).await,
        "0:delivered=1 60:delivered=16 60:failed=3"
    );
    let (minutes_ms, hours_ms) = (61 * MINUTE_MS, HOUR_MS);
    bed.journal
        .forget_tallies(minutes_ms, hours_ms)
        .await
        .unwrap();
    assert_eq!(
        said(Step::Minute, 0, i64::MAX).await,
        "61:delivered=4 61:failed=3"
    );
    assert_eq!(
        said(Step::Hour, 0, i64::MAX).await,
        "60:delivered=16 60:failed=3"
    );
}

async fn only_what_is_open_is_counted(bed: Bed) {
    for patient in ["1", "2", "3", "4"] {
        bed.append(arrival(patient, &[patient])).await;
    }
    let claimed = bed.claim().await;
    let states = [
        Settled::Delivered,
        Settled::Dead { hold: false },
        Settled::Parked,
    ];
    for (claimed, state) in claimed.iter().zip(states) {
        bed.settle(claimed, state).await;
    }
    let open = bed.journal.open_reasons(&account()).await.unwrap();
    let mut open: Vec<_> = open
        .into_iter()
        .map(|one| (one.flow, one.state, one.count))
        .collect();
    open.sort_by_key(|(_, state, _)| state.as_str());
    let flow = FlowId::from("lead");
    assert_eq!(
        open,
        [(flow.clone(), State::Parked, 1), (flow, State::Running, 1)]
    );
}
