//! Changes while the host runs: flows, channels, components, deliveries.

use std::time::Duration;

use anyhow::{Context, ensure};
use ligature_tests::mllp::Client;
use ligature_tests::site::{free_address, quickstart};
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::{PATIENCE, clinic, flow, registration, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_flow_is_made_put_in_force_held_and_goes_on_while_the_host_runs() -> anyhow::Result<()> {
    let (clinic, api) = clinic().await?;
    let made = api
        .post(
            "/api/v1/flows",
            json!({ "flow": flow("updates", "ADT^A08") }),
        )
        .await?;
    let made = made.expect(201)?;
    ensure!(
        made["event_label"] == "A08 - Update patient information",
        "{made}"
    );
    ensure!(
        made["flow"]["status"]["state"] == "draft" && made["version"] == 1,
        "{made}"
    );
    let activate = "/api/v1/flows/updates/activate";
    let nothing = api.post(activate, json!({ "version": 1 })).await?;
    ensure!(
        nothing.problem() == "422 invalid flows.mapping",
        "{}",
        nothing.body
    );
    let bad = api
        .post(activate, json!({ "version": 1, "mapping": "format = 2" }))
        .await?;
    ensure!(
        bad.problem().starts_with("422 invalid flows.mapping"),
        "{}",
        bad.body
    );
    let mapping =
        quickstart("adt-a04-lead.toml")?.replace("\"ADT^A04\"", "\"ADT^A04\", \"ADT^A08\"");
    let without = mapping.replace("target = \"mx_MRN\"", "target = \"mx_Other\"");
    let unfound = api
        .post(activate, json!({ "version": 1, "mapping": without }))
        .await?;
    ensure!(
        unfound.problem() == "422 invalid flows.primary_search_field",
        "{}",
        unfound.body
    );
    let late = api
        .post(activate, json!({ "version": 7, "mapping": mapping }))
        .await?;
    ensure!(late.problem() == "409 conflict", "{}", late.body);
    let active = api
        .post(activate, json!({ "version": 1, "mapping": mapping }))
        .await?
        .expect(200)?;
    ensure!(
        active["flow"]["status"]["state"] == "active" && active["version"] == 2,
        "{active}"
    );
    let component = active["flow"]["release"]
        .as_str()
        .context("a release")?
        .len();
    ensure!(component == 64);

    // A message of the event is this flow's as soon as the change is in force.
    let mut client = Client::connect(clinic.site.mllp).await?;
    let mut number = 0;
    let started = Instant::now();
    loop {
        number += 1;
        let message = registration(&format!("U{number}")).replace("A04", "A08");
        client.exchange(message.as_bytes()).await?;
        let page = api.get("/api/v1/messages?limit=1").await?.expect(200)?;
        if page["messages"][0]["state"] == "flows" {
            break;
        }
        ensure!(started.elapsed() < PATIENCE, "not in force");
        sleep(Duration::from_millis(20)).await;
    }
    clinic.simulator.until(|counts| counts.leads == 1).await;

    let paused = api
        .post(
            "/api/v1/flows/updates/pause",
            json!({ "version": 2, "reason": "upgrade" }),
        )
        .await?;
    let paused = paused.expect(200)?;
    ensure!(
        paused["flow"]["status"] == json!({ "state": "paused", "reason": "upgrade" }),
        "{paused}"
    );
    let started = Instant::now();
    let waiting = loop {
        number += 1;
        let message = registration(&format!("U{number}")).replace("A04", "A08");
        client.exchange(message.as_bytes()).await?;
        let page = api
            .get("/api/v1/deliveries?state=parked&flow=updates")
            .await?
            .expect(200)?;
        if let Some(delivery) = page["items"].as_array().and_then(|items| items.first()) {
            break delivery.clone();
        }
        ensure!(started.elapsed() < PATIENCE, "not held");
        sleep(Duration::from_millis(20)).await;
    };
    ensure!(
        waiting["delivery"]["reason"]
            .to_string()
            .contains("upgrade"),
        "{waiting}"
    );
    let on = api
        .post(activate, json!({ "version": 3 }))
        .await?
        .expect(200)?;
    ensure!(on["flow"]["release"] == active["flow"]["release"], "{on}");
    let id = waiting["delivery"]["id"].as_str().context("an id")?;
    let path = format!("/api/v1/deliveries/{id}");
    until(&api, &path, |delivery| {
        delivery["delivery"]["state"] == "delivered"
    })
    .await?;

    let versions = api
        .get("/api/v1/flows/updates/versions")
        .await?
        .expect(200)?;
    let told: Vec<_> = versions["items"]
        .as_array()
        .context("versions")?
        .iter()
        .map(|kept| format!("{} {}", kept["version"], kept["flow"]["status"]["state"]))
        .collect();
    ensure!(
        told == [
            "4 \"active\"",
            "3 \"paused\"",
            "2 \"active\"",
            "1 \"draft\""
        ],
        "{told:?}"
    );

    // Deleted, its deliveries are still there.
    let gone = api
        .send("DELETE", "/api/v1/flows/updates", None, Some(4))
        .await?;
    ensure!(gone.status == 204, "{}", gone.body);
    let kept = api.get(&path).await?.expect(200)?;
    ensure!(kept["delivery"]["flow"] == "updates", "{kept}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_delivery_is_released_again() -> anyhow::Result<()> {
    let (clinic, api) = clinic().await?;
    let mut client = Client::connect(clinic.site.mllp).await?;
    // Without an identifier, the mapping refuses it.
    let message = registration("7").replace("7^^^CLINIC^MR", "");
    client.exchange(message.as_bytes()).await?;
    let page = until(&api, "/api/v1/deliveries?state=dead", |page| {
        page["items"]
            .as_array()
            .is_some_and(|items| items.len() == 1)
    })
    .await?;
    let id = page["items"][0]["delivery"]["id"]
        .as_str()
        .context("an id")?;
    let path = format!("/api/v1/deliveries/{id}");
    let before = api.get(&path).await?.expect(200)?["delivery"]["attempts"].clone();
    api.post(&format!("{path}/release"), json!({}))
        .await?
        .expect(200)?;
    until(&api, &path, |delivery| {
        delivery["delivery"]["state"] == "dead" && delivery["delivery"]["attempts"] != before
    })
    .await?;
    let absent = api
        .post("/api/v1/deliveries/nothing.0/release", json!({}))
        .await?;
    ensure!(absent.problem() == "404 not-found", "{}", absent.body);
    let audit = api.get("/api/v1/audit?limit=1").await?.expect(200)?;
    ensure!(
        audit["items"][0]["action"] == "release" && audit["items"][0]["document"] == id,
        "{audit}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn channels_listen_as_soon_as_they_are_made() -> anyhow::Result<()> {
    let (clinic, api) = clinic().await?;
    let channel = json!({ "id": "lab", "account": "clinic", "name": "Lab", "address": "0" });
    let taken = json!({ "id": "lab", "account": "clinic", "name": "Lab", "address": clinic.site.mllp.to_string() });
    let refused = api
        .post("/api/v1/channels", json!({ "channel": taken }))
        .await?;
    ensure!(
        refused.problem() == "422 invalid channels.address",
        "{}",
        refused.body
    );
    api.post("/api/v1/channels", json!({ "channel": channel }))
        .await?
        .expect(201)?;
    let path = "/api/v1/channels/lab";
    let view = until(&api, path, |view| view["listening_on"].is_string()).await?;
    let address = view["listening_on"]
        .as_str()
        .context("an address")?
        .parse()?;
    let mut client = Client::connect(address).await?;
    client.exchange(registration("1").as_bytes()).await?;

    // Another address: the new one is bound, then the old one ends.
    let other = free_address()?;
    let mut changed = view.clone();
    changed["channel"]["address"] = json!(other.to_string());
    api.put(path, changed).await?.expect(200)?;
    until(&api, path, |view| view["listening_on"] == other.to_string()).await?;
    let mut client = Client::connect(other).await?;
    client.exchange(registration("2").as_bytes()).await?;

    // An address that cannot be had leaves the old one alone, and says so.
    let taken = std::net::TcpListener::bind("127.0.0.1:0")?;
    let view = api.get(path).await?.expect(200)?;
    let mut changed = view.clone();
    changed["channel"]["address"] = json!(taken.local_addr()?.to_string());
    api.put(path, changed).await?.expect(200)?;
    let broken = until(&api, path, |view| view["fault"].is_string()).await?;
    ensure!(
        broken["fault"].to_string().contains("cannot listen"),
        "{broken}"
    );
    let mut client = Client::connect(other).await?;
    client.exchange(registration("3").as_bytes()).await?;
    let last = taken.local_addr()?;
    drop(taken);
    until(&api, path, |view| view["listening_on"] == last.to_string()).await?;
    ensure!(Client::connect(other).await.is_err(), "the old one goes on");

    ensure!(api.delete(path).await?.status == 204);
    let started = Instant::now();
    while Client::connect(last).await.is_ok() {
        ensure!(started.elapsed() < PATIENCE, "still listening");
        sleep(Duration::from_millis(20)).await;
    }
    let mut client = Client::connect(clinic.site.mllp).await?;
    client.exchange(registration("4").as_bytes()).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_passes_the_gate_or_is_not_kept() -> anyhow::Result<()> {
    let (_clinic, api) = clinic().await?;
    let path = "/api/v1/components?account=clinic";
    let wrong = api
        .send_bytes("POST", path, Some(b"not wasm".to_vec()), None)
        .await?;
    ensure!(
        wrong.problem() == "422 invalid components",
        "{}",
        wrong.body
    );
    let list = api.get("/api/v1/components").await?.expect(200)?;
    let kept = &list["items"][0];
    ensure!(
        list["items"].as_array().map(Vec::len) == Some(1) && kept["origin"] == "generated",
        "{list}"
    );
    let digest = kept["digest"].as_str().context("a digest")?;
    let used = api
        .delete(&format!("/api/v1/components/clinic/{digest}"))
        .await?;
    ensure!(used.problem() == "409 still-used", "{}", used.body);

    let component = ligature_tests::guests::guest("misbehaving");
    let uploaded = api.send_bytes("POST", path, Some(component), None).await?;
    let uploaded = uploaded.expect(201)?;
    ensure!(uploaded["manifest"]["name"].is_string(), "{uploaded}");
    let digest = uploaded["digest"].as_str().context("a digest")?;
    let one = format!("/api/v1/components/clinic/{digest}");
    ensure!(api.get(&one).await?.expect(200)?["origin"] == "uploaded");
    let made = api
        .post(
            "/api/v1/flows",
            json!({ "flow": flow("vendor", "ADT^A08") }),
        )
        .await?;
    made.expect(201)?;
    let activation = json!({ "version": 1, "component": "ab" });
    let unknown = api
        .post("/api/v1/flows/vendor/activate", activation)
        .await?;
    ensure!(
        unknown.problem() == "422 invalid flows.component",
        "{}",
        unknown.body
    );
    ensure!(api.delete(&one).await?.status == 204);
    ensure!(api.get(&one).await?.problem() == "404 not-found");
    Ok(())
}
