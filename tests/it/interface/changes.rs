//! Changes against the version that was seen, faults with their paths, lists.

use anyhow::{Context, ensure};
use serde_json::json;

use super::{ALL, clinic, flow};

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
        let made = api
            .put(&path, json!({ "entries": { "1": ["One"] } }))
            .await?;
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
