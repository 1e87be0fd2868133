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
    let rss = rss_kib(host.id(), "VmRSS")?;
    eprintln!("  VmRSS {} MB", rss / 1024);
    Ok(
        json!({ "vm_rss_mb": (rss as f64 / 102.4).round() / 10.0, "file_backed_mb": rss_kib(host.id(), "RssFile")? / 1024 }),
    )
}

/// A figure of a process's status, in KiB.
pub(crate) fn rss_kib(process: u32, name: &str) -> anyhow::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let figure = line.and_then(|line| line.trim_start_matches(':').trim().split(' ').next());
    figure
        .and_then(|figure| figure.parse().ok())
        .with_context(|| format!("no {name} of process {process}"))
}
