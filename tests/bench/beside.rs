//! An honest flow alone, and beside one whose component misbehaves: the time from sending to the lead, in pairs.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::Context;
use jiff::Timestamp;
use ligature::mllp::sender::{Sender, Target, Timeouts};
use ligature_tests::clinic::{Clinic, Setup, UNLIMITED, unlimited};
use ligature_tests::guests::guest;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{Instant, interval};

use crate::load::{Times, micros, registration};

const SETUP: Setup<'_> = Setup {
    account: UNLIMITED,
    channel: "",
    leads: &["ADT^A04"],
    activities: &[],
};

/// What the guest does, by the event.
const WAYS: [&str; 6] = ["spin", "grow", "recurse", "panic", "log", "large"];

const PAIRS: usize = 5;

/// Of one half of a pair: 50 a second for 10 seconds.
const HONEST: usize = 500;
const HONEST_EVERY: Duration = Duration::from_millis(20);

/// Each of the ways once in 3 seconds; a run that times out is tried four times, 100 ms each.
const BAD_EVERY: Duration = Duration::from_millis(500);

pub(crate) async fn run() -> anyhow::Result<Value> {
    let mut clinic = Clinic::prepare(None, unlimited(), SETUP).await?;
    let component = guest("misbehaving");
    let events = WAYS.map(|way| format!("TST^{way}"));
    let flows: Vec<_> = (events.iter())
        .map(|event| (event.as_str(), component.as_slice()))
        .collect();
    clinic.import(SETUP, &flows)?;
    clinic.host = Some(clinic.site.start().await?);
    let mut first = 0;
    let mut half = async |is_beside: bool| {
        let times = measured(&clinic, first, is_beside).await;
        first += HONEST;
        times
    };
    // What is compiled or cached at first use is not the guest's fault.
    half(true).await?;
    let (mut alone, mut beside, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for pair in 0..PAIRS {
        let [quiet, loud] =
            [half(false).await?, half(true).await?].map(|times| times.quantile(0.99));
        eprintln!("  {pair}: p99 {quiet:?} alone, {loud:?} beside");
        ratios.push(loud.as_secs_f64() / quiet.as_secs_f64());
        alone.push(micros(quiet));
        beside.push(micros(loud));
    }
    ratios.sort_by(f64::total_cmp);
    Ok(json!({
        "honest_per_second": 50,
        "misbehaving_per_second": 2,
        "p99_alone_us": alone,
        "p99_beside_us": beside,
        "median_ratio": (ratios[PAIRS / 2] * 100.0).round() / 100.0,
    }))
}

/// Sends honest messages from number `first` on, and with `is_beside` others; gives the time of each honest one to its lead.
async fn measured(clinic: &Clinic, first: usize, is_beside: bool) -> anyhow::Result<Times> {
    let target = Target {
        address: clinic.site.mllp.to_string(),
        tls: None,
        timeouts: Timeouts::default(),
    };
    let mut others = JoinSet::new();
    if is_beside {
        let mut sender = Sender::connect(&target).await?;
        others.spawn(async move {
            let mut due = interval(BAD_EVERY);
            for number in first.. {
                due.tick().await;
                let event = format!("TST^{}", WAYS[number % WAYS.len()]);
                // Patients of their own: lanes are not what is measured.
                let text = registration(9_000_000 - number).replace("ADT^A04^ADT_A01", &event);
                if sender.send(text.as_bytes(), |_| true).await.is_err() {
                    return;
                }
            }
        });
    }
    let mut sender = Sender::connect(&target).await?;
    let mut due = interval(HONEST_EVERY);
    let mut sent = HashMap::new();
    for number in first..first + HONEST {
        due.tick().await;
        sent.insert(format!("ZB{number:07}"), Timestamp::now().as_microsecond());
        sender
            .send(registration(number).as_bytes(), |_| true)
            .await?;
    }
    let started = Instant::now();
    let wanted = first + HONEST;
    clinic
        .simulator
        .until(|counts| counts.leads >= wanted)
        .await;
    eprintln!("  the last came {:?} later", started.elapsed());
    others.shutdown().await;

    let mut times = Vec::with_capacity(HONEST);
    for write in clinic.simulator.writes() {
        let body = String::from_utf8_lossy(&write.body);
        let number = body.find("ZB").and_then(|at| body.get(at..at + 9));
        if let Some(at) = number.and_then(|number| sent.get(number)) {
            // The simulator notes milliseconds.
            let took = (write.at_ms * 1_000 + 500 - at).max(0);
            times.push(Duration::from_micros(took.unsigned_abs()));
        }
    }
    let found = Some(times.len()).filter(|found| *found >= HONEST);
    found.context("every honest message has its lead")?;
    Ok(Times::new(times))
}
