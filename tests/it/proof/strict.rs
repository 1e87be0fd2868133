//! A flow that requires shadow runs takes a saved code table, and a candidate for some patients, only with one.

use anyhow::{Context, ensure};
use ligature_tests::bridge::{Bridge, PATIENCE};
use ligature_tests::visitor::Visitor;
use serde_json::{Value, json};
use tokio::time::{Duration, Instant, sleep};

use super::{activate, open, registration, send};

const MAPPING: &str = r#"format = 1
name = "Registrations"
version = "1"
events = ["ADT^A04"]

[[lead]]
target = "mx_MRN"
path = "PID-3.1"
required = true

[[lead]]
target = "LastName"
path = "PID-5.1"

[[lead]]
target = "mx_City"
path = "PID-11.3"
steps = [{ table = "towns" }]
"#;

const TABLE: &str = "code-tables/clinic/towns";

async fn save(bridge: &Bridge, town: &str, version: Option<i64>) -> anyhow::Result<Value> {
    let mut table = json!({ "entries": { "RYE": [town] } });
    if let Some(version) = version {
        table["version"] = version.into();
    }
    bridge.call("PUT", TABLE, table).await
}

async fn in_force(bridge: &Bridge) -> anyhow::Result<Value> {
    let view = bridge.call("GET", "flows/registrations", json!({})).await?;
    Ok(view["flow"]["release"].clone())
}

/// Proves a release; gives the shadow run's id.
async fn proven(bridge: &Bridge, release: &Value) -> anyhow::Result<Value> {
    let body = json!({ "release": release });
    let started = bridge
        .call("POST", "flows/registrations/shadows", body)
        .await?;
    let path = format!("shadows/{}", started["id"].as_str().context("an id")?);
    let begun = Instant::now();
    loop {
        let shadow = bridge.call("GET", &path, json!({})).await?;
        if shadow["state"] == "done" {
            return Ok(shadow["id"].clone());
        }
        ensure!(begun.elapsed() < PATIENCE, "{shadow}");
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_saved_table_waits_for_its_proof() -> anyhow::Result<()> {
    let bridge = open("").await?;
    save(&bridge, "Rye", None).await?;
    activate(&bridge, json!({ "mapping": MAPPING })).await?;
    let known = bridge.call("GET", "flows/registrations", json!({})).await?;
    let mut flow = known["flow"].clone();
    flow["require_shadow"] = true.into();
    let change = json!({ "flow": flow, "version": known["version"] });
    bridge.call("PUT", "flows/registrations", change).await?;
    send(&bridge, [registration(1, "RYE")]).await?;
    bridge.settled(1).await?;

    let first = in_force(&bridge).await?;
    let saved = save(&bridge, "Ryde", Some(1)).await?;
    ensure!(in_force(&bridge).await? == first, "it is not proven");
    let waits = &saved["unproven"][0];
    ensure!(waits["flow"] == "registrations", "{saved}");
    let release = waits["release"].clone();
    let refused = activate(&bridge, json!({ "release": release })).await;
    ensure!(refused.is_err(), "it is not proven");
    // The page of the table says so, too, and leads to where it is proven.
    let token = bridge.office.token("view").await?;
    let mut viewer = Visitor::with_token(bridge.office.host.http, &token);
    let link = format!(
        "/flows/registrations/start?release={}",
        release.as_str().context("a digest")?
    );
    let page = viewer.get("/code-tables/clinic/towns").await?.text;
    ensure!(page.contains(&link), "{page}");
    // Nor does it serve some of the patients.
    let known = bridge.call("GET", "flows/registrations", json!({})).await?;
    let body = json!({ "release": release, "percent": 10, "version": known["version"] });
    let refused = bridge
        .call("POST", "flows/registrations/canary", body)
        .await;
    let refused = refused.err().context("not proven")?.to_string();
    ensure!(refused.contains("flows.shadow"), "{refused}");

    let shadow = proven(&bridge, &release).await?;
    activate(&bridge, json!({ "release": release, "shadow": shadow })).await?;
    ensure!(in_force(&bridge).await? == release);
    let table = bridge.call("GET", TABLE, json!({})).await?;
    ensure!(
        table["unproven"].as_array().is_some_and(Vec::is_empty),
        "{table}"
    );
    let page = viewer.get("/code-tables/clinic/towns").await?.text;
    ensure!(!page.contains("Not in use everywhere yet"), "{page}");

    // A flow that requires none has the table at once.
    let known = bridge.call("GET", "flows/registrations", json!({})).await?;
    let mut flow = known["flow"].clone();
    flow["require_shadow"] = false.into();
    let change = json!({ "flow": flow, "version": known["version"] });
    bridge.call("PUT", "flows/registrations", change).await?;
    save(&bridge, "Rye", Some(2)).await?;
    ensure!(in_force(&bridge).await? != release);
    Ok(())
}
