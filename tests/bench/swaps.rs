//! Hot swaps: a flow goes back and forth between two releases while messages come; nothing is lost, memory stays flat.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, ensure};
use ligature::mllp::sender::{Sender, Target, Timeouts};
use ligature_tests::clinic::{Clinic, Setup, UNLIMITED, unlimited};
use ligature_tests::site::quickstart;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::load::{Times, registration};
use crate::memory::rss_kib;

const SETUP: Setup<'_> = Setup {
    account: UNLIMITED,
    channel: "",
    leads: &["ADT^A04"],
    activities: &[],
};

const FLOW: &str = "/api/v1/flows/ADT%5EA04";
const SWAPS: usize = 10_000;
const SENDERS: usize = 2;

pub(crate) async fn run() -> anyhow::Result<Value> {
    let mut clinic = Clinic::prepare(None, unlimited(), SETUP).await?;
    // While no host has the store.
    let api = clinic.site.token("all")?;
    clinic.host = Some(clinic.site.start().await?);

    // The second release differs in a step.
    let document = quickstart("adt-a04-lead.toml")?;
    let version = |flow: &Value| flow["version"].as_i64().context("a version");
    let seen = version(&api.get(FLOW).await?.expect(200)?)?;
    let other = document.replace("steps = [\"trim\"]", "steps = [\"trim\", \"upper\"]");
    let activate = format!("{FLOW}/activate");
    let body = json!({ "mapping": other, "version": seen });
    let mut seen = version(&api.post(&activate, body).await?.expect(200)?)?;
    let releases = api.get(&format!("{FLOW}/releases")).await?.expect(200)?;
    let releases = releases["items"].as_array().context("releases")?;
    let digests: Vec<&str> = (releases.iter())
        .filter_map(|release| release["digest"].as_str())
        .collect();
    ensure!(digests.len() == 2, "two releases");

    let (stop, next) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicUsize::new(0)),
    );
    let mut senders = JoinSet::new();
    for _ in 0..SENDERS {
        let (stop, next) = (stop.clone(), next.clone());
        let target = Target {
            address: clinic.site.mllp.to_string(),
            tls: None,
            timeouts: Timeouts::default(),
        };
        senders.spawn(async move {
            let mut sender = Sender::connect(&target).await?;
            while !stop.load(Ordering::Relaxed) {
                let number = next.fetch_add(1, Ordering::Relaxed);
                sender
                    .send(registration(number).as_bytes(), |_| true)
                    .await?;
                // Some 200 a second: the swaps are measured, not the queue.
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            anyhow::Ok(())
        });
    }
    let host = clinic.host.as_ref().context("the host runs")?.id();
    let (mut times, mut early) = (Vec::with_capacity(SWAPS), 0);
    for swap in 0..SWAPS {
        let started = Instant::now();
        let body = json!({ "release": digests[swap % 2], "version": seen });
        seen = version(&api.post(&activate, body).await?.expect(200)?)?;
        times.push(started.elapsed());
        if swap == SWAPS / 10 {
            early = rss_kib(host, "VmRSS")?;
        }
        if swap % 1_000 == 999 {
            eprintln!(
                "  {} swaps, VmRSS {} MB",
                swap + 1,
                rss_kib(host, "VmRSS")? / 1024
            );
        }
    }
    let late = rss_kib(host, "VmRSS")?;
    stop.store(true, Ordering::Relaxed);
    while let Some(sent) = senders.join_next().await {
        sent??;
    }
    let sent = next.load(Ordering::Relaxed);
    clinic.settled(Duration::from_secs(120)).await?;
    let leads = clinic.simulator.counts().leads;
    ensure!(leads == sent, "{leads} leads of {sent} messages");
    Ok(json!({
        "swaps": SWAPS,
        "messages_meanwhile": sent,
        "lost": sent - leads,
        "swap": Times::new(times).json_us(),
        "vm_rss_mb_after_a_tenth": early / 1024,
        "vm_rss_mb_at_the_end": late / 1024,
    }))
}
