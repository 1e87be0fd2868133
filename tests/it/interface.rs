//! The interface under `/api/v1`, as an administrator's script uses it: real HTTP against a running host.

mod document;

use std::time::Duration;

use anyhow::{Context, ensure};
use ligature_tests::clinic::{Clinic, Setup, UNLIMITED, unlimited};
use ligature_tests::interface::Interface;
use ligature_tests::mllp::Client;
use ligature_tests::site::{free_address, quickstart};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

/// How long a change may take to be in force on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

const ALL: &str = "view,operate,map,publish,administer,audit";

/// A started clinic with one lead flow, and a caller who may do everything.
async fn clinic() -> anyhow::Result<(Clinic, Interface)> {
    let setup = Setup {
        account: UNLIMITED,
        channel: "",
        leads: &["ADT^A04"],
        activities: &[],
    };
    let mut clinic = Clinic::prepare(None, unlimited(), setup).await?;
    let interface = clinic.site.token(ALL)?;
    clinic.host = Some(clinic.site.start().await?);
    Ok((clinic, interface))
}

/// Asks again until the answer is as wanted.
async fn until(
    interface: &Interface,
    path: &str,
    wanted: impl Fn(&Value) -> bool,
) -> anyhow::Result<Value> {
    let started = Instant::now();
    loop {
        let body = interface.get(path).await?.expect(200)?;
        if wanted(&body) {
            return Ok(body);
        }
        ensure!(started.elapsed() < PATIENCE, "{path} stays {body}");
        sleep(Duration::from_millis(20)).await;
    }
}

fn registration(control_id: &str) -> String {
    format!(
        "MSH|^~\\&|EPIC|MAIN|LIG|LSQ|20261120093000||ADT^A04|{control_id}|P|2.5.1\rEVN|A04\r\
         PID|1||{control_id}^^^CLINIC^MR||Fenwick^Odalys\rPV1|1|O\r"
    )
}

fn flow(id: &str, event: &str) -> Value {
    json!({
        "id": id, "account": "clinic", "name": id, "direction": "ehr-to-leadsquared", "channel": "ehr",
        "event": event, "entity": "lead", "primary_search_field": "mx_MRN",
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_sees_or_changes_configuration_without_a_token_of_the_right() -> anyhow::Result<()> {
    let setup = Setup {
        account: UNLIMITED,
        channel: "",
        leads: &["ADT^A04"],
        activities: &[],
    };
    let mut clinic = Clinic::prepare(None, unlimited(), setup).await?;
    let viewer = clinic.site.token("view")?;
    let revoked = clinic.site.token("map")?;
    clinic.site.ligature(&["token", "revoke", "map"], &[])?;
    let listed = clinic.site.ligature(&["token", "list"], &[])?;
    ensure!(
        listed.contains("view") && listed.contains("revoked"),
        "{listed}"
    );
    let secret = viewer.bearer().rsplit('_').next().context("a secret")?;
    ensure!(!listed.contains(secret), "a secret is shown: {listed}");
    clinic.host = Some(clinic.site.start().await?);
    let stranger = clinic.site.stranger();

    // Messages are shown on this machine, as the console shows them.
    for path in ["/api/v1/messages", "/api/v1/counts", "/api/v1/deliveries"] {
        stranger.get(path).await?.expect(200)?;
    }
    for noun in [
        "accounts",
        "channels",
        "flows",
        "components",
        "code-tables",
        "audit",
    ] {
        let path = format!("/api/v1/{noun}");
        ensure!(
            stranger.get(&path).await?.problem() == "401 unauthorized",
            "{noun}"
        );
        ensure!(
            revoked.get(&path).await?.problem() == "401 unauthorized",
            "{noun}"
        );
        let forged = stranger.with_token(&format!("{}0", viewer.bearer()));
        ensure!(
            forged.get(&path).await?.problem() == "401 unauthorized",
            "{noun}"
        );
        let expected = if noun == "audit" { 403 } else { 200 };
        ensure!(viewer.get(&path).await?.status == expected, "{noun}");
    }
    let flow = json!({ "flow": flow("two", "ADT^A08") });
    for (method, path) in [
        ("POST", "/api/v1/accounts"),
        ("PUT", "/api/v1/accounts/clinic"),
        ("DELETE", "/api/v1/accounts/clinic"),
        ("PUT", "/api/v1/accounts/clinic/keys"),
        ("POST", "/api/v1/channels"),
        ("PUT", "/api/v1/channels/ehr"),
        ("DELETE", "/api/v1/channels/ehr"),
        ("POST", "/api/v1/flows"),
        ("PUT", "/api/v1/flows/ADT%5EA04"),
        ("DELETE", "/api/v1/flows/ADT%5EA04"),
        ("POST", "/api/v1/flows/ADT%5EA04/activate"),
        ("POST", "/api/v1/flows/ADT%5EA04/pause"),
        ("POST", "/api/v1/components?account=clinic"),
        ("PUT", "/api/v1/code-tables/clinic/wards"),
        ("POST", "/api/v1/deliveries/1.0/release"),
        ("POST", "/api/v1/accounts/clinic/fields"),
        ("POST", "/api/v1/accounts/clinic/synchronise"),
    ] {
        let sent = |caller: Interface| {
            let flow = flow.clone();
            async move { caller.send(method, path, Some(flow), None).await }
        };
        let answer = sent(stranger.clone()).await?;
        ensure!(
            answer.problem() == "401 unauthorized",
            "{method} {path}: {}",
            answer.problem()
        );
        let answer = sent(viewer.clone()).await?;
        ensure!(
            answer.problem() == "403 forbidden",
            "{method} {path}: {}",
            answer.problem()
        );
    }
    // Nothing of this was done.
    let flows = viewer.get("/api/v1/flows").await?.expect(200)?;
    ensure!(
        flows["items"].as_array().map(Vec::len) == Some(1),
        "{flows}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_may_demand_tokens_for_messages_too() -> anyhow::Result<()> {
    let setup = Setup {
        account: UNLIMITED,
        channel: "",
        leads: &["ADT^A04"],
        activities: &[],
    };
    let mut clinic = Clinic::prepare(None, unlimited(), setup).await?;
    let viewer = clinic.site.token("view")?;
    let file = clinic.site.path("ligature.toml");
    let text = std::fs::read_to_string(&file)?;
    std::fs::write(
        &file,
        text.replace("[http]\n", "[http]\nrequire_token = true\n"),
    )?;
    clinic.host = Some(clinic.site.start().await?);
    let stranger = clinic.site.stranger();
    for path in [
        "/api/v1/messages",
        "/api/v1/messages/x",
        "/api/v1/counts",
        "/api/v1/deliveries",
    ] {
        ensure!(
            stranger.get(path).await?.problem() == "401 unauthorized",
            "{path}"
        );
    }
    viewer.get("/api/v1/messages").await?.expect(200)?;
    let url = format!("http://{}/messages", clinic.site.http);
    let page = ligature_tests::http().get(url).send().await?;
    ensure!(page.status() == 401, "the page is shown");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_changed_meanwhile_is_not_written_over() -> anyhow::Result<()> {
    let (_clinic, api) = clinic().await?;
    let path = "/api/v1/channels/ehr";
    let answer = api.get(path).await?;
    ensure!(answer.tag.as_deref() == Some("\"1\""), "{:?}", answer.tag);
    let mut seen = answer.expect(200)?;
    seen["channel"]["name"] = json!("Feed");
    // An answer can be sent back as it is.
    let changed = api.put(path, seen.clone()).await?.expect(200)?;
    ensure!(
        changed["version"] == 2 && changed["channel"]["name"] == "Feed",
        "{changed}"
    );
    let late = api.put(path, seen.clone()).await?;
    ensure!(late.problem() == "409 conflict", "{}", late.problem());
    let channel = json!({ "channel": seen["channel"] });
    let late = api
        .send("PUT", path, Some(channel.clone()), Some(1))
        .await?;
    ensure!(late.problem() == "412 conflict", "{}", late.problem());
    let unsure = api.put(path, channel.clone()).await?;
    ensure!(
        unsure.problem() == "428 version-needed",
        "{}",
        unsure.problem()
    );
    api.send("PUT", path, Some(channel), Some(2))
        .await?
        .expect(200)?;
    let late = api.send("DELETE", path, None, Some(2)).await?;
    ensure!(late.problem() == "412 conflict", "{}", late.problem());
    let used = api.delete(path).await?;
    ensure!(used.problem() == "409 still-used", "{}", used.problem());
    let text = used.body["error"]["message"].as_str().unwrap_or_default();
    ensure!(text.contains("flow ADT^A04"), "{text}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_of_a_flow_is_told_with_its_path() -> anyhow::Result<()> {
    let (_clinic, api) = clinic().await?;
    for (name, value, expected) in [
        ("event", json!("A04"), "422 invalid flows.event"),
        ("colour", json!("red"), "422 invalid flows.colour"),
        ("channel", json!("nowhere"), "422 invalid flows.channel"),
        (
            "account",
            json!("nobody"),
            "422 invalid flows.account flows.channel",
        ),
        (
            "primary_search_field",
            json!("Phone"),
            "422 invalid flows.primary_search_field",
        ),
        (
            "time_zone",
            json!("Mars/Olympus"),
            "422 invalid flows.time_zone",
        ),
        (
            "default_country_code",
            json!("+1"),
            "422 invalid flows.default_country_code",
        ),
        (
            "status",
            json!({ "state": "active" }),
            "422 invalid flows.status",
        ),
        ("id", json!("ADT^A04"), "409 exists"),
    ] {
        let mut flow = flow("two", "ADT^A08");
        flow[name] = value;
        let answer = api.post("/api/v1/flows", json!({ "flow": flow })).await?;
        ensure!(answer.problem() == expected, "{name}: {}", answer.body);
    }
    let answer = api.post("/api/v1/flows", json!({})).await?;
    ensure!(answer.problem() == "422 invalid flows", "{}", answer.body);
    let answer = api
        .send_bytes("POST", "/api/v1/flows", Some(b"{".to_vec()), None)
        .await?;
    ensure!(answer.problem() == "400 bad-request", "{}", answer.body);
    let answer = api.get("/api/v1/flows?colour=red").await?;
    ensure!(answer.problem() == "400 bad-request", "{}", answer.body);
    let answer = api.get("/api/v1/nothing").await?;
    ensure!(answer.problem() == "404 not-found", "{}", answer.body);
    let answer = api.send("PATCH", "/api/v1/flows", None, None).await?;
    ensure!(
        answer.problem() == "405 method-not-allowed",
        "{}",
        answer.body
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_are_filtered_and_paged() -> anyhow::Result<()> {
    let (_clinic, api) = clinic().await?;
    for number in 0..5 {
        let path = format!("/api/v1/code-tables/clinic/table-{number}");
        let made = api.put(&path, json!({ "entries": { "1": "One" } })).await?;
        made.expect(201)?;
    }
    let mut names = Vec::new();
    let mut path = "/api/v1/code-tables?limit=2".to_owned();
    let mut pages = 0;
    loop {
        let page = api.get(&path).await?.expect(200)?;
        pages += 1;
        let items = page["items"].as_array().context("items")?;
        names.extend(items.iter().map(|item| item["name"].to_string()));
        let Some(next) = page["next"].as_str() else {
            break;
        };
        path = format!("/api/v1/code-tables?limit=2&after={next}");
    }
    ensure!(pages == 3 && names.len() == 5, "{pages} {names:?}");
    let path = "/api/v1/code-tables/clinic/table-0";
    let again = api.put(path, json!({ "entries": {} })).await?;
    ensure!(again.problem() == "409 exists", "{}", again.problem());
    let wrong = api
        .put(path, json!({ "entries": { "1": 2 }, "version": 1 }))
        .await?;
    ensure!(
        wrong.problem() == "422 invalid code-tables.entries.1",
        "{}",
        wrong.body
    );
    let changed = api
        .put(path, json!({ "entries": {}, "version": 1 }))
        .await?;
    ensure!(changed.expect(200)?["version"] == 2);
    ensure!(api.delete(path).await?.status == 204);
    ensure!(api.get(path).await?.problem() == "404 not-found");
    for (query, count) in [
        ("status=active", 1),
        ("status=draft", 0),
        ("channel=ehr", 1),
        ("channel=other", 0),
        ("account=other", 0),
    ] {
        let page = api
            .get(&format!("/api/v1/flows?{query}"))
            .await?
            .expect(200)?;
        ensure!(
            page["items"].as_array().map(Vec::len) == Some(count),
            "{query}: {page}"
        );
    }
    let audit = api.get("/api/v1/audit?limit=3").await?.expect(200)?;
    let last = &audit["items"][0];
    ensure!(
        last["action"] == "delete"
            && last["kind"] == "code-table"
            && last["document"] == "table-0"
            && last["version"] == 2,
        "{last}"
    );
    ensure!(last["actor"] == format!("token {ALL}"), "{last}");
    ensure!(audit["next"].is_string());
    Ok(())
}

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
        if let [delivery] = page["items"].as_array().context("items")?.as_slice() {
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
    drop(taken);
    until(&api, path, |view| view["listening_on"].is_string()).await?;

    ensure!(api.delete(path).await?.status == 204);
    let started = Instant::now();
    while Client::connect(other).await.is_ok() {
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

#[tokio::test(flavor = "multi_thread")]
async fn an_account_is_found_by_its_keys_and_they_are_never_read_back() -> anyhow::Result<()> {
    let (clinic, api) = clinic().await?;
    let keys = clinic.simulator.keys();
    let keys = json!({ "access_key": keys.access_key, "secret_key": keys.secret_key });
    let discovery = json!({ "keys": keys, "api": clinic.simulator.api() });
    let found = api
        .post("/api/v1/accounts/discover", discovery)
        .await?
        .expect(200)?;
    ensure!(
        found["time_zone"] == "America/New_York" && found["default_country_code"] == "1",
        "{found}"
    );
    ensure!(found["identifier_fields"] == json!(["mx_MRN"]), "{found}");
    ensure!(found["lead_fields"].as_u64() > Some(40), "{found}");
    let wrong = json!({ "keys": { "access_key": "u$r1", "secret_key": "2" }, "api": clinic.simulator.api() });
    let wrong = api.post("/api/v1/accounts/discover", wrong).await?;
    ensure!(wrong.problem() == "502 leadsquared", "{}", wrong.body);

    let account = json!({ "id": "second", "name": "Second", "api": clinic.simulator.api() });
    let made = api
        .post(
            "/api/v1/accounts",
            json!({ "account": account, "keys": keys }),
        )
        .await?;
    let made = made.expect(201)?;
    ensure!(made["account"]["time_zone"] == "America/New_York", "{made}");
    ensure!(
        made["account"]["identifier_fields"] == json!(["mx_MRN"]),
        "{made}"
    );
    ensure!(made["found"]["role"] == "Administrator", "{made}");
    let secret = keys["secret_key"].as_str().context("a key")?;
    for path in [
        "/api/v1/accounts",
        "/api/v1/accounts/second",
        "/api/v1/audit",
    ] {
        let text = api.get(path).await?.expect(200)?.to_string();
        ensure!(!text.contains(secret), "{path} shows a key");
    }
    let log = clinic.site.log()?;
    ensure!(!log.contains(secret), "the log shows a key");
    let none = api
        .post("/api/v1/accounts", json!({ "account": { "id": "third" } }))
        .await?;
    ensure!(
        none.problem() == "422 invalid accounts.keys",
        "{}",
        none.body
    );

    let mut changed = api.get("/api/v1/accounts/second").await?.expect(200)?;
    changed["account"]["identifier_fields"] = json!(["mx_MRN", "Mobile"]);
    changed["account"]["roles"] = json!(["Sales_User"]);
    let refused = api.put("/api/v1/accounts/second", changed.clone()).await?;
    ensure!(
        refused.problem() == "422 invalid accounts.identifier_fields.1",
        "{}",
        refused.body
    );
    changed["account"]["identifier_fields"] = json!(["mx_MRN"]);
    api.put("/api/v1/accounts/second", changed)
        .await?
        .expect(200)?;

    // Users and their roles as of the last reading.
    let path = "/api/v1/accounts/second/users";
    let may = |users: &Value, email: &str| {
        let users = users["items"].as_array().into_iter().flatten();
        let mut of = users.filter(|view| view["user"]["email"] == email);
        of.next().map(|view| view["may_use"] == true)
    };
    let started = Instant::now();
    let users = loop {
        let answer = api.get(path).await?;
        if answer.status == 200 {
            break answer.body;
        }
        ensure!(started.elapsed() < PATIENCE, "{}", answer.body);
        sleep(Duration::from_millis(20)).await;
    };
    let who = ["bridge@example.com", "kim@example.com", "ravi@example.com"];
    ensure!(
        who.map(|email| may(&users, email)) == [Some(true), Some(true), Some(false)],
        "{users}"
    );
    ensure!(
        clinic
            .simulator
            .change_user("kim@example.com", "Sales_User", false)
    );
    ensure!(
        clinic
            .simulator
            .change_user("ravi@example.com", "Sales_User", true)
    );
    let users = api.get(path).await?.expect(200)?;
    ensure!(
        may(&users, "kim@example.com") == Some(true),
        "not read again yet"
    );
    let read = api
        .post("/api/v1/accounts/second/synchronise", json!({}))
        .await?
        .expect(200)?;
    ensure!(read["users"] == 3 && read["activity_types"] == 3, "{read}");
    let users = api.get(path).await?.expect(200)?;
    ensure!(
        who.map(|email| may(&users, email)) == [Some(true), Some(false), Some(true)],
        "{users}"
    );

    let used = api.delete("/api/v1/accounts/clinic").await?;
    ensure!(used.problem() == "409 still-used", "{}", used.body);
    ensure!(api.delete("/api/v1/accounts/second").await?.status == 204);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn custom_fields_are_made_as_the_message_calls_for() -> anyhow::Result<()> {
    let (clinic, api) = clinic().await?;
    let proposal = api
        .get("/api/v1/accounts/clinic/fields/proposal?path=PID-16")
        .await?
        .expect(200)?;
    ensure!(
        proposal
            == json!({ "display_name": "Marital Status", "data_type": "Text", "max_length": 100 }),
        "{proposal}"
    );
    let path = "/api/v1/accounts/clinic/fields";
    let made = api
        .post(path, json!({ "path": "PID-16" }))
        .await?
        .expect(201)?;
    let field = &made["field"];
    ensure!(
        field["schema_name"] == "mx_Marital_Status"
            && field["max_length"] == 100
            && field["is_unique"] == false,
        "{made}"
    );
    ensure!(made["next"].to_string().contains("Settings"), "{made}");
    let twice = api.post(path, json!({ "path": "PID-16" })).await?;
    ensure!(twice.problem() == "502 leadsquared", "{}", twice.body);
    let options =
        json!({ "display_name": "Clinic", "data_type": "Select", "options": ["North", "So/uth"] });
    let refused = api.post(path, options).await?;
    ensure!(
        refused.problem() == "422 invalid fields.options.1",
        "{}",
        refused.body
    );
    let options =
        json!({ "display_name": "Clinic", "data_type": "Select", "options": ["North", "South"] });
    let made = api.post(path, options).await?.expect(201)?;
    ensure!(
        made["field"]["options"] == json!(["North", "South"]),
        "{made}"
    );

    // Not unique: to be confirmed, or marked in LeadSquared and read again.
    let made = api
        .post(path, json!({ "display_name": "Patient Number" }))
        .await?
        .expect(201)?;
    ensure!(
        made["field"]["schema_name"] == "mx_Patient_Number",
        "{made}"
    );
    let mut flow = flow("updates", "ADT^A08");
    flow["primary_search_field"] = json!("mx_Patient_Number");
    let refused = api.post("/api/v1/flows", json!({ "flow": flow })).await?;
    ensure!(
        refused.problem() == "422 invalid flows.primary_search_field",
        "{}",
        refused.body
    );
    let confirmed = json!({ "flow": flow, "confirm_not_unique": true });
    api.post("/api/v1/flows", confirmed).await?.expect(201)?;
    ensure!(clinic.simulator.mark_unique("mx_Patient_Number"));
    api.post("/api/v1/accounts/clinic/synchronise", json!({}))
        .await?
        .expect(200)?;
    flow["id"] = json!("others");
    api.post("/api/v1/flows", json!({ "flow": flow }))
        .await?
        .expect(201)?;

    let slots = "/api/v1/accounts/clinic/activity-types/205/slots";
    let before = api.get(slots).await?.expect(200)?;
    ensure!(
        before["items"].as_array().map(Vec::len) == Some(10),
        "{before}"
    );
    let slot = api
        .post(slots, json!({ "path": "SCH-7" }))
        .await?
        .expect(201)?;
    ensure!(
        slot["schema_name"] == "mx_Custom_11" && slot["data_type"] == "String",
        "{slot}"
    );
    let after = api.get(slots).await?.expect(200)?;
    ensure!(
        after["items"].as_array().map(Vec::len) == Some(11),
        "{after}"
    );
    let absent = api
        .get("/api/v1/accounts/clinic/activity-types/999/slots")
        .await?;
    ensure!(absent.problem() == "502 leadsquared", "{}", absent.body);
    Ok(())
}
