//! (d) Memory: `VmRSS` of a host 30 seconds after its second start, with kept artefacts.

use std::time::Duration;

use anyhow::Context;
use serde_json::{Value, json};
use tokio::time::sleep;

use ligature_tests::clinic::{Clinic, Setup, UNLIMITED, unlimited};

/// A flow for registrations and no limit on calls.
const SETUP: Setup<'_> = Setup {
    account: UNLIMITED,
    channel: "",
    leads: &["ADT^A04"],
    activities: &[],
};

pub(crate) async fn run() -> anyhow::Result<Value> {
    let mut bench = Clinic::start(unlimited(), SETUP).await?;
    bench.host.take().context("the host runs")?.stop()?;
    let host = bench.site.start().await?;
    sleep(Duration::from_secs(30)).await;
    let status = std::fs::read_to_string(format!("/proc/{}/status", host.id()))?;
    let kib = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim_start_matches(':')
            .trim()
            .split(' ')
            .next()?
            .parse::<u64>()
            .ok()
    };
    let rss = kib("VmRSS").context("VmRSS")?;
    eprintln!("  VmRSS {} MB", rss / 1024);
    Ok(
        json!({ "vm_rss_mb": (rss as f64 / 102.4).round() / 10.0, "file_backed_mb": kib("RssFile").map(|kib| kib / 1024) }),
    )
}
