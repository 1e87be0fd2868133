//! (a) Durable intake: acknowledged messages a second, beside a bare loop of append and `fdatasync` on the same disk.

use std::io::Write;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::load::{Times, registration, send};
use ligature_tests::clinic::{Clinic, Setup, unlimited};

/// How long the bare loop runs.
const BARE: Duration = Duration::from_secs(3);

pub(crate) async fn run() -> anyhow::Result<Value> {
    let mut figures = serde_json::Map::new();
    let mut sync_method = Value::Null;
    for (connections, count) in [(1, 3_000), (8, 15_000), (64, 50_000)] {
        // A budget of next to nothing: deliveries queue up as on a limited account and stay out of the way.
        let setup = Setup {
            account: "rate_plan = { calls = 1, window_ms = 3600000 }",
            channel: "",
            leads: &["ADT^A04"],
            activities: &[],
        };
        let bench = Clinic::start(unlimited(), setup).await?;
        let bare = bare_disk(&bench.site.path("bare"))?;
        sync_method = bench.site.json("/api/v1/counts").await?["sync_method"].clone();
        let before = commits(&bench).await?;
        let (took, times) = send(bench.site.mllp, connections, count, registration).await?;
        let syncs = commits(&bench).await?.saturating_sub(before);
        let rate = count as f64 / took.as_secs_f64();
        eprintln!(
            "  {connections} connections: {rate:.0}/s, bare {:.0}/s",
            bare.0
        );
        figures.insert(
            format!("connections_{connections}"),
            json!({
                "messages": count,
                "per_second": rate.round(),
                "latency": times.json_us(),
                "messages_per_commit": (count as f64 / syncs.max(1) as f64 * 10.0).round() / 10.0,
                "bare_fdatasync_per_second": bare.0.round(),
                "bare_latency": bare.1.json_us(),
                "ratio_to_bare": (rate / bare.0 * 100.0).round() / 100.0,
            }),
        );
    }
    figures.insert("sync_method".into(), sync_method);
    Ok(Value::Object(figures))
}

/// Appends one message and syncs, again and again: what the disk gives a single writer.
fn bare_disk(path: &std::path::Path) -> anyhow::Result<(f64, Times)> {
    let mut file = std::fs::File::create(path)?;
    let message = registration(0);
    let started = Instant::now();
    let mut times = Vec::new();
    while started.elapsed() < BARE {
        let one = Instant::now();
        file.write_all(message.as_bytes())?;
        file.sync_data()?;
        times.push(one.elapsed());
    }
    Ok((
        times.len() as f64 / started.elapsed().as_secs_f64(),
        Times::new(times),
    ))
}

/// Transactions that the host has committed; each is one disk sync.
async fn commits(bench: &Clinic) -> anyhow::Result<u64> {
    Ok(bench.site.json("/api/v1/counts").await?["commits"]
        .as_u64()
        .unwrap_or(0))
}
