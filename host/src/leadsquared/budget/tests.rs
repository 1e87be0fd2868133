//! The law of the budget: no sliding window of arrivals ever holds more calls than the plan.

use proptest::prelude::*;

use super::*;

const WINDOW: Duration = Duration::from_secs(5);

fn budget(calls: u32) -> Arc<Budget> {
    Arc::new(Budget::new(calls, WINDOW, None))
}

/// Runs `calls` of the given durations through a budget and returns when each was let go, in milliseconds.
async fn starts(budget: &Arc<Budget>, durations_ms: &[u64]) -> Vec<u64> {
    let origin = Instant::now();
    let calls = durations_ms.iter().map(|duration_ms| async move {
        let permit = budget.acquire(0).await.expect("no quota");
        let start = origin.elapsed().as_millis() as u64;
        tokio::time::sleep(Duration::from_millis(*duration_ms)).await;
        drop(permit);
        start
    });
    futures_util::future::join_all(calls).await
}

#[tokio::test(start_paused = true)]
async fn a_window_holds_no_more_than_the_plan() {
    let budget = budget(2);
    assert_eq!(
        starts(&budget, &[0, 0, 0, 0, 0]).await,
        [0, 0, 5_000, 5_000, 10_000]
    );
}

#[tokio::test(start_paused = true)]
async fn no_plan_is_no_limit() {
    let budget = budget(0);
    assert_eq!(starts(&budget, &[0; 50]).await, [0; 50]);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_stops_everybody_for_a_window_and_lowers_the_limit() {
    let budget = budget(8);
    budget.exceeded(None);
    // What was refused at the same moment does not count again.
    budget.exceeded(None);
    assert_eq!(budget.limit(), Some(6));
    let starts = starts(&budget, &[0; 7]).await;
    assert_eq!(starts, [5_000, 5_000, 5_000, 5_000, 5_000, 5_000, 10_000]);
    assert_eq!(budget.limit(), Some(7), "a quiet window gives one back");
}

#[tokio::test(start_paused = true)]
async fn the_limit_that_a_refusal_names_is_believed() {
    for calls in [25, 0] {
        let budget = budget(calls);
        budget.exceeded(Some(10));
        assert_eq!(budget.limit(), Some(10));
    }
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_gives_up_does_not_stop_the_line() {
    let budget = budget(1);
    drop(budget.acquire(0).await);
    {
        let mut impatient = std::pin::pin!(budget.acquire(0));
        assert!(futures_util::poll!(impatient.as_mut()).is_pending());
    }
    assert_eq!(starts(&budget, &[0]).await, [5_000]);
}

#[tokio::test(start_paused = true)]
async fn a_call_without_an_answer_holds_its_place_for_two_windows_only() {
    let budget = budget(1);
    let _hanging = budget.acquire(0).await.expect("no quota");
    assert_eq!(starts(&budget, &[0]).await, [10_000]);
}

#[tokio::test(start_paused = true)]
async fn the_urgent_go_first() {
    let budget = budget(1);
    drop(budget.acquire(0).await);
    let origin = Instant::now();
    let call = async |rank: u8| {
        drop(budget.acquire(rank).await);
        origin.elapsed().as_secs()
    };
    let starts = tokio::join!(call(2), call(1), call(1), call(0));
    assert_eq!(starts, (20, 10, 15, 5));
}

#[tokio::test(start_paused = true)]
async fn a_used_up_day_is_said_and_takes_no_place() {
    let budget = Arc::new(Budget::new(9, WINDOW, Some(2)));
    drop(budget.acquire(0).await);
    drop(budget.acquire(0).await);
    assert!(budget.acquire(0).await.is_err());
    assert_eq!(budget.standing().used.calls, 2);
    assert_eq!(budget.state().taken.len(), 2);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// A call may arrive at any moment between being let go and being answered.
    #[test]
    fn whenever_calls_arrive_the_server_sees_the_plan_kept(
        calls in 1u32..6,
        durations in prop::collection::vec((0u64..4_000, 0.0f64..=1.0), 1..40),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime");
        let lengths: Vec<u64> = durations.iter().map(|(duration, _)| *duration).collect();
        let starts = runtime.block_on(async { starts(&budget(calls), &lengths).await });
        prop_assert!(starts.is_sorted(), "first come, first served: {starts:?}");
        let mut arrivals: Vec<u64> = starts
            .iter()
            .zip(&durations)
            .map(|(start, (duration, share))| start + (*duration as f64 * share) as u64)
            .collect();
        arrivals.sort_unstable();
        for window in arrivals.windows(calls as usize + 1) {
            let span = window[calls as usize] - window[0];
            prop_assert!(span >= WINDOW.as_millis() as u64, "{arrivals:?}");
        }
    }
}
