//! (c) End to end: from the acknowledgement to the lead in the simulator, with a fast far end and a slow one.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::load::{registration, send};
use ligature::simulator::lead_squared::Settings;
use ligature_tests::clinic::{Clinic, Setup, UNLIMITED, unlimited};

/// A flow for registrations and no limit on calls.
const SETUP: Setup<'_> = Setup {
    account: UNLIMITED,
    channel: "",
    leads: &["ADT^A04"],
    activities: &[],
};

pub(crate) async fn run() -> anyhow::Result<Value> {
    Ok(json!({
        "no_latency": through(20_000, Duration::ZERO).await?,
        "latency_100_ms": through(6_000, Duration::from_millis(100)).await?,
    }))
}

/// Sends `count` registrations of new patients and waits until each is a lead.
async fn through(count: usize, latency: Duration) -> anyhow::Result<Value> {
    let settings = Settings {
        latency,
        ..unlimited()
    };
    let bench = Clinic::start(settings, SETUP).await?;
    let started = Instant::now();
    let (intake, _) = send(bench.site.mllp, 16, count, registration).await?;
    bench.simulator.until(|counts| counts.leads >= count).await;
    let took = started.elapsed();
    let rate = count as f64 / took.as_secs_f64();
    eprintln!("  {} ms far end: {rate:.0}/s", latency.as_millis());
    Ok(json!({
        "messages": count,
        "delivered_per_second": rate.round(),
        "intake_per_second": (count as f64 / intake.as_secs_f64()).round(),
        "ratio_to_intake": (intake.as_secs_f64() / took.as_secs_f64() * 100.0).round() / 100.0,
        "calls_per_message": 2,
    }))
}
