//! Calls are scarce: rate plans, forecasts, priorities, and the hours after a downtime.
//!
//! Time is scaled down: a window of five seconds becomes a fraction of one, and so does everything that is measured.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, ensure};
use ligature::simulator::lead_squared::{Change, RateLimit, Settings};
use ligature_tests::clinic::Clinic;
use ligature_tests::mllp::Client;
use tokio::time::Instant;

const MAPPING: &str = r#"
format = 1
name = "Patient"
version = "1"
events = ["ADT^A04"]

[[lead]]
target = "mx_MRN"
path = "PID-3.1"

[[lead]]
target = "LastName"
path = "PID-5.1"

[[lead]]
target = "mx_City"
path = "PID-11.3"
"#;

const ACTIVITY: &str = r#"
[[activity]]
key = { path = "SCH-1.1" }

[[activity.field]]
target = "Status"
path = "SCH-25.1"
"#;

/// A plan of so many calls in a window.
type Plan = (u32, Duration);

/// A clinic with a plan on both sides, or without one.
async fn clinic(plan: Option<Plan>) -> anyhow::Result<Clinic> {
    let settings = Settings {
        rate_limit: plan.map(limit),
        log_calls: true,
        ..Settings::default()
    };
    let activity = format!("{MAPPING}{ACTIVITY}");
    let files = [("lead.toml", MAPPING), ("activity.toml", activity.as_str())];
    Clinic::of_files(settings, |api, mllp| setup(plan, api, mllp), &files).await
}

/// Gives a clinic without a plan one, on both sides.
async fn restrict(clinic: &mut Clinic, plan: Plan) -> anyhow::Result<()> {
    clinic.host.take().context("a running host")?.stop()?;
    let text = setup(Some(plan), &clinic.simulator.api(), clinic.site.mllp);
    let activity = format!("{MAPPING}{ACTIVITY}");
    let files = [
        ("setup.toml", text.as_bytes()),
        ("lead.toml", MAPPING.as_bytes()),
        ("activity.toml", activity.as_bytes()),
    ];
    let keys = clinic.simulator.keys();
    clinic
        .site
        .import(&files, (&keys.access_key, &keys.secret_key))?;
    clinic.simulator.set_rate_limit(Some(limit(plan)));
    clinic.host = Some(clinic.site.start().await?);
    Ok(())
}

fn limit((calls, window): Plan) -> RateLimit {
    RateLimit {
        calls,
        window,
        ..RateLimit::default()
    }
}

fn setup(plan: Option<Plan>, api: &str, mllp: SocketAddr) -> String {
    let (calls, window) = plan.unwrap_or((0, Duration::from_secs(5)));
    let mut text = format!(
        "[account]\nid = \"clinic\"\nname = \"Clinic\"\napi = \"{api}\"\n\
             rate_plan = {{ calls = {calls}, window_ms = {} }}\n\n\
             [[channels]]\nid = \"ehr\"\nname = \"EHR\"\naddress = \"{mllp}\"\n",
        window.as_millis()
    );
    let lead = "entity = \"lead\"\nmapping = \"lead.toml\"";
    let activity = "entity = \"activity\"\nmapping = \"activity.toml\"\nlead_behaviour = \"nothing\"\n\
                        activity = { code = 205, key_field = \"mx_Custom_1\" }";
    for (event, kind) in [("ADT^A04", lead), ("ADT^A08", lead), ("SIU^S12", activity)] {
        text.push_str(&format!(
                "\n[[flows]]\nid = \"{event}\"\nname = \"{event}\"\ndirection = \"ehr-to-leadsquared\"\n\
                 channel = \"ehr\"\nevent = \"{event}\"\nprimary_search_field = \"mx_MRN\"\n{kind}\n"
            ));
    }
    text
}

/// A message about patient `patient` whose event was `ago` ago.
fn message(event: &str, id: &str, patient: usize, city: usize, ago: Duration) -> String {
    let now = jiff::Zoned::now();
    let at = now
        .checked_sub(jiff::SignedDuration::try_from(ago).expect("a short time"))
        .expect("this century")
        .strftime("%Y%m%d%H%M%S%z");
    let schedule = match event.starts_with("SIU") {
        true => format!("SCH|K{id}{}Booked\r", "|".repeat(24)),
        false => String::new(),
    };
    format!(
        "MSH|^~\\&|EHR|CLINIC|LIG|LSQ|{at}||{event}|{id}|P|2.5.1\rEVN||{at}\r{schedule}\
         PID|1||P{patient}^^^CLINIC^MR||Patient{patient}||||||^^{city:06}\r"
    )
}

/// Where a patient lives by the update of `round`: everybody moves once.
fn city_at(round: usize, patient: usize) -> usize {
    usize::from(round >= patient % 10)
}

/// Sends all over one connection without waiting for each answer.
async fn send(to: SocketAddr, messages: &[String]) -> anyhow::Result<()> {
    let mut client = Client::connect(to).await?;
    for part in messages.chunks(64) {
        let frames: Vec<u8> = part
            .iter()
            .flat_map(|message| {
                let start = std::iter::once(0x0b);
                start.chain(message.bytes()).chain([0x1c, 0x0d])
            })
            .collect();
        client.write(&frames).await?;
        for _ in part {
            let answer = client.frame().await?;
            ensure!(String::from_utf8_lossy(&answer).contains("MSA|AA"));
        }
    }
    Ok(())
}

/// The cities written to each lead, in order.
fn cities(clinic: &Clinic) -> anyhow::Result<HashMap<String, Vec<usize>>> {
    let mut cities: HashMap<String, Vec<usize>> = HashMap::new();
    for write in clinic.simulator.writes() {
        if !matches!(write.change, Change::LeadCreated | Change::LeadUpdated) {
            continue;
        }
        let body: Vec<BTreeMap<String, String>> = serde_json::from_slice(&write.body)?;
        let city = body.iter().find(|pair| pair["Attribute"] == "mx_City");
        if let Some(city) = city {
            let city = city["Value"].parse().context("a number for a city")?;
            cities.entry(write.lead.clone()).or_default().push(city);
        }
    }
    Ok(cities)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_plan_is_kept_used_and_forecast() -> anyhow::Result<()> {
    const PATIENTS: usize = 500;
    // All of it is queued before calls are made, however slow this machine is.
    let mut clinic = clinic(Some((1, Duration::from_secs(3_600)))).await?;
    let mut messages = Vec::new();
    for round in 0..4 {
        let event = if round == 0 { "ADT^A04" } else { "ADT^A08" };
        for patient in 0..PATIENTS {
            let id = format!("R{round}P{patient}");
            messages.push(message(event, &id, patient, round, Duration::ZERO));
        }
    }
    send(clinic.site.mllp, &messages).await?;
    // A hundred times as fast as the plan of 10 calls in 5 seconds.
    restrict(&mut clinic, (10, Duration::from_millis(50))).await?;

    let before = clinic.simulator.counts();

    // What deliveries cost is learned from the first hundred.
    let (looked, outlook) = loop {
        let looked = Instant::now();
        let outlook = clinic.site.json("/api/v1/accounts/clinic/calls").await?;
        let open = outlook["open_deliveries"].as_u64().context("deliveries")?;
        if open < messages.len() as u64 - 100 {
            ensure!(open > 1_000, "most still wait: {outlook}");
            break (looked, outlook);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    let made = clinic.simulator.counts().calls;
    let forecast = Duration::from_millis(outlook["empty_in_ms"].as_u64().context("a forecast")?);
    let expected = outlook["expected_calls"].as_f64().context("calls")?;
    clinic.settled(Duration::from_secs(120)).await?;
    let took = looked.elapsed();

    let counts = clinic.simulator.counts();
    ligature_tests::say(&format!(
        "{} calls for {} messages: {:.2} each; forecast {forecast:?}, took {took:?}; {outlook}",
        counts.calls,
        messages.len(),
        counts.calls as f64 / messages.len() as f64
    ));
    let refused = counts.limited - before.limited;
    ensure!(refused == 0, "{refused} calls were refused");
    ensure!(counts.leads == PATIENTS);
    for (lead, cities) in cities(&clinic)? {
        ensure!(
            cities.first() == Some(&0) && cities.last() == Some(&3) && cities.is_sorted(),
            "{lead}: {cities:?}"
        );
    }
    // A search, a creation and an update a patient, and the metadata.
    let ideal = (PATIENTS * 3) as u64;
    ensure!(
        counts.calls <= ideal + ideal / 10,
        "{} calls, {ideal} are enough",
        counts.calls
    );
    // The time follows from the calls and the plan, and from how busy this machine is.
    let off = expected / (counts.calls - made) as f64 - 1.0;
    ensure!(
        off.abs() < 0.2,
        "{expected} calls were forecast, {} made",
        counts.calls - made
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_downtime_appointments_go_first_and_unchanged_updates_cost_nothing()
-> anyhow::Result<()> {
    const PATIENTS: usize = 2_000;
    const UPDATES: usize = 10;
    const APPOINTMENTS: usize = 100;
    const HOUR: Duration = Duration::from_secs(3_600);
    /// 25 calls in 5 seconds become 25 in a quarter of one, and two minutes become six seconds.
    const FASTER: u32 = 20;
    let mut clinic = clinic(None).await?;
    let known: Vec<String> = (0..PATIENTS)
        .map(|patient| message("ADT^A04", &format!("A{patient}"), patient, 0, 5 * HOUR))
        .collect();
    send(clinic.site.mllp, &known).await?;
    clinic.settled(Duration::from_secs(120)).await?;
    restrict(&mut clinic, (25, Duration::from_secs(5) / FASTER)).await?;
    let before = clinic.simulator.calls().len();

    // Four hours of updates, oldest first; one of each patient's ten changes the city.
    let mut backlog = Vec::new();
    for round in 0..UPDATES {
        for patient in 0..PATIENTS {
            let city = city_at(round, patient);
            let ago = 4 * HOUR * (UPDATES - round) as u32 / UPDATES as u32;
            backlog.push(message(
                "ADT^A08",
                &format!("B{round}P{patient}"),
                patient,
                city,
                ago,
            ));
        }
    }
    let (to, count) = (clinic.site.mllp, backlog.len());
    // Today's appointments come in between.
    let booking = async {
        let mut sent = HashMap::new();
        let mut client = Client::connect(to).await?;
        for number in 0..APPOINTMENTS {
            let id = format!("S{number}");
            let patient = number * 17 % PATIENTS;
            let booked = message("SIU^S12", &id, patient, 999, Duration::ZERO);
            client.exchange(booked.as_bytes()).await?;
            sent.insert(format!("K{id}"), jiff::Timestamp::now().as_millisecond());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        anyhow::Ok(sent)
    };
    let (_, sent) = tokio::try_join!(send(to, &backlog), booking)?;
    clinic.settled(Duration::from_secs(240)).await?;

    let mut slowest = 0;
    for write in clinic.simulator.writes() {
        if write.change == Change::ActivityCreated {
            let body = String::from_utf8_lossy(&write.body).into_owned();
            let (key, at) = sent
                .iter()
                .find(|(key, _)| body.contains(&format!("\"{key}\"")))
                .context("an appointment of ours")?;
            ensure!(write.at_ms >= *at - 100, "{key}");
            slowest = slowest.max(write.at_ms - at);
        }
    }
    let calls = clinic.simulator.calls().split_off(before);
    let updates = calls
        .iter()
        .filter(|call| call.route.ends_with("Lead.Update"))
        .count();
    let changed: usize = (0..PATIENTS)
        .map(|patient| {
            let mut cities = vec![0];
            cities.extend((0..UPDATES).map(|round| city_at(round, patient)));
            cities.dedup();
            cities.len() - 1
        })
        .sum();
    ligature_tests::say(&format!(
        "{count} updates, {changed} of them changed: {updates} calls; slowest appointment {slowest} ms of this test's time, \
         {} s of the clinic's; {} calls in all",
        slowest * i64::from(FASTER) / 1_000,
        calls.len()
    ));
    ensure!(clinic.simulator.counts().activities == APPOINTMENTS);
    ensure!(slowest < 120_000 / i64::from(FASTER), "{slowest} ms");
    ensure!(
        updates as f64 <= changed as f64 * 1.15,
        "{updates} calls for {changed} changes"
    );
    for (lead, cities) in cities(&clinic)? {
        ensure!(cities.is_sorted(), "{lead} went back: {cities:?}");
    }
    for lead in clinic.simulator.leads() {
        let city = &lead.values["mx_City"];
        ensure!(city == "000001", "{} has {city}", lead.values["mx_MRN"]);
    }
    Ok(())
}
