//! A release that breaks is gone back from by itself, once, and what it broke on runs again.

use anyhow::{Context, ensure};
use ligature_tests::bridge::{self, Bridge, Mapped, PATIENCE};
use ligature_tests::{guests, http};
use serde_json::{Value, json};
use tokio::time::{Duration, Instant, sleep};

use super::{FLOW, activate, send};

const HONEST: &str = r#"format = 1
name = "Honest"
version = "1"
events = ["TST^Z02"]

[[lead]]
target = "mx_MRN"
path = "PID-3.1"
required = true

[[lead]]
target = "LastName"
path = "PID-5.1"
"#;

/// A message on which the component of the tests breaks, or not.
pub(super) fn message(number: usize, name: &str) -> String {
    format!(
        "MSH|^~\\&|EPIC|MAIN|LIG|LSQ|20261120093000||TST^Z02|F{number}|P|2.5.1\r\
         PID|1||M{number}^^^CLINIC^MR||{name}^Odalys\r"
    )
}

pub(super) async fn office(settings: &str) -> anyhow::Result<Bridge> {
    let flows = [Mapped {
        flow: "registrations",
        mapping: HONEST,
        template: None,
    }];
    let documents = FLOW.replace("ADT^A04", "TST^Z02") + settings;
    Bridge::without_webhooks(bridge::prompt(), "", &documents, &flows).await
}

/// Uploads the component that breaks; gives what to activate it with.
pub(super) async fn broken(bridge: &Bridge) -> anyhow::Result<Value> {
    let token = bridge.office.token("all").await?;
    let url = format!(
        "{}/api/v1/components?account=clinic",
        bridge.office.address()
    );
    let component = tokio::task::spawn_blocking(|| guests::guest("misbehaving")).await?;
    let request = http().post(url).bearer_auth(token).body(component);
    let answer = request.send().await?;
    let uploaded: Value = serde_json::from_slice(&answer.bytes().await?)?;
    ensure!(uploaded["digest"].is_string(), "{uploaded}");
    let grants = json!({
        "reads": ["PID-3", "PID-5"], "lead_targets": ["mrn", "name"], "activity_targets": ["status"]
    });
    Ok(json!({ "component": uploaded["digest"], "grants": grants }))
}

async fn flow(bridge: &Bridge) -> anyhow::Result<Value> {
    let view = bridge.call("GET", "flows/registrations", json!({})).await?;
    Ok(view["flow"].clone())
}

/// Waits until so many deliveries are in a state, and none is on its way.
pub(super) async fn until(bridge: &Bridge, expected: &[(&str, u64)]) -> anyhow::Result<()> {
    let started = Instant::now();
    loop {
        let counts = bridge.call("GET", "counts", json!({})).await?;
        let found = &counts["deliveries"];
        let is = |state: &str, count: u64| found[state].as_u64().unwrap_or(0) == count;
        let rests = ["queued", "running", "waiting"]
            .iter()
            .all(|state| is(state, 0));
        if rests && expected.iter().all(|(state, count)| is(state, *count)) {
            return Ok(());
        }
        ensure!(
            started.elapsed() < PATIENCE,
            "{expected:?} wanted: {counts} {:#?}",
            bridge.deliveries().await?
        );
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flow_goes_back_once_and_runs_again_what_broke() -> anyhow::Result<()> {
    let bridge = office("fall_back = { failures = 3 }\n").await?;
    let honest = flow(&bridge).await?["release"].clone();
    let with = broken(&bridge).await?;
    let active = activate(&bridge, with.clone()).await?;
    let bad = active["flow"]["release"].clone();
    ensure!(bad != honest);

    // Two of three: it stays.
    send(
        &bridge,
        [
            message(1, "Trap"),
            message(2, "Fenwick"),
            message(3, "Trap"),
        ],
    )
    .await?;
    until(&bridge, &[("dead", 2), ("delivered", 1)]).await?;
    // The same again is not another.
    let dead = bridge
        .call("GET", "deliveries?state=dead", json!({}))
        .await?;
    let id = dead["items"][0]["delivery"]["id"]
        .as_str()
        .context("an id")?;
    bridge
        .call("POST", &format!("deliveries/{id}/release"), json!({}))
        .await?;
    until(&bridge, &[("dead", 2), ("delivered", 1)]).await?;
    let now = flow(&bridge).await?;
    ensure!(now["release"] == bad && now["fell_back"].is_null(), "{now}");

    send(&bridge, [message(4, "Trap")]).await?;
    until(&bridge, &[("dead", 0), ("delivered", 4)]).await?;
    let now = flow(&bridge).await?;
    ensure!(now["release"] == honest, "{now}");
    ensure!(
        now["fell_back"]["from"] == bad && now["fell_back"]["failures"] == 3,
        "{now}"
    );
    let records = bridge.call("GET", "audit", json!({})).await?;
    let records = records["items"].as_array().context("records")?;
    let told = |record: &&Value| record["action"] == "fall-back" && record["actor"] == "host";
    ensure!(records.iter().filter(told).count() == 1, "{records:?}");

    // A person puts it in force again: what was is forgotten, and it may go back again.
    let active = activate(&bridge, with).await?;
    ensure!(active["flow"]["fell_back"].is_null(), "{active}");
    send(&bridge, (5..8).map(|number| message(number, "Trap"))).await?;
    until(&bridge, &[("dead", 0), ("delivered", 7)]).await?;
    ensure!(flow(&bridge).await?["release"] == honest);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flow_does_not_go_to_and_fro() -> anyhow::Result<()> {
    let bridge = office("fall_back = { failures = 2 }\n").await?;
    let mut with = broken(&bridge).await?;
    let first = activate(&bridge, with.clone()).await?["flow"]["release"].clone();
    // The same component with fewer grants is another release, and breaks as well.
    with["grants"]["activity_targets"] = json!([]);
    let second = activate(&bridge, with).await?["flow"]["release"].clone();
    ensure!(first != second);
    send(&bridge, [message(1, "Trap"), message(2, "Trap")]).await?;
    until(&bridge, &[("dead", 2)]).await?;
    let started = Instant::now();
    while flow(&bridge).await?["release"] != first {
        ensure!(started.elapsed() < PATIENCE);
        sleep(Duration::from_millis(20)).await;
    }
    // What broke has run again, and broken again; it stays.
    let runs = async |release: &Value| -> anyhow::Result<usize> {
        let mut count = 0;
        for id in super::ids(&bridge).await? {
            let path = format!("deliveries/{id}/replay");
            let replay = bridge.call("POST", &path, json!({})).await?;
            count += usize::from(replay["recorded"]["release"] == *release);
        }
        Ok(count)
    };
    while runs(&first).await? < 2 {
        ensure!(started.elapsed() < PATIENCE);
        sleep(Duration::from_millis(20)).await;
    }
    send(&bridge, [message(3, "Trap")]).await?;
    until(&bridge, &[("dead", 3)]).await?;
    let now = flow(&bridge).await?;
    ensure!(
        now["release"] == first && now["fell_back"]["from"] == second,
        "{now}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flow_that_is_told_to_stay_stays() -> anyhow::Result<()> {
    let bridge = office("fall_back = { on = false, failures = 1 }\n").await?;
    let with = broken(&bridge).await?;
    let bad = activate(&bridge, with).await?["flow"]["release"].clone();
    send(&bridge, (1..4).map(|number| message(number, "Trap"))).await?;
    until(&bridge, &[("dead", 3)]).await?;
    let now = flow(&bridge).await?;
    ensure!(now["release"] == bad && now["fell_back"].is_null(), "{now}");
    Ok(())
}
