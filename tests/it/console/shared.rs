//! Flows that share a mapping: one save makes a candidate for each, one review puts them in force.

use anyhow::{Context, ensure};
use ligature_tests::visitor::{Visitor, text_of};
use serde_json::{Value, json};

use super::office;

const REVIEW: &str = "/shared-mappings/clinic/registrations";

/// The document of the flow, with a row more for `row`.
fn document(row: &str) -> Value {
    json!({
        "format": 1,
        "name": "Patients",
        "version": "1",
        "events": ["ADT^A04"],
        "lead": [
            { "target": "mx_MRN", "path": "PID-3.1", "required": true },
            { "target": "LastName", "path": row },
        ],
    })
}

async fn save(ana: &mut Visitor, flow: &str, row: &str) -> anyhow::Result<String> {
    let path = format!("/flows/{flow}/mapping");
    let document = document(row).to_string();
    let seen = ana.submit(&path, &path, &[("document", &document)]).await?;
    Ok(seen.to)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_changes_in_all_flows_after_one_review() -> anyhow::Result<()> {
    let (office, mut ana) = office(None).await?;
    let token = office.token("view,map,publish").await?;
    let call = async |method: &str, path: &str, body: Value| -> anyhow::Result<(u16, Value)> {
        let url = format!("{}/api/v1/{path}", office.address());
        let request = ligature_tests::http().request(method.parse()?, url);
        let request = request.bearer_auth(&token).body(body.to_string());
        let answer = request.send().await?;
        let status = answer.status().as_u16();
        Ok((status, serde_json::from_slice(&answer.bytes().await?)?))
    };
    let confirmed = [("confirm_not_unique", "1")];
    save(&mut ana, "registrations", "PID-5.1").await?;
    let start = "/flows/registrations/start";
    ana.submit(start, "/flows/registrations/activate", &confirmed)
        .await?;

    // The flow again for another event, with the same mapping and not a copy of it.
    let duplicate = "/flows/registrations/duplicate";
    let shared = [("event", "ADT^A08"), ("share", "1")];
    ana.submit(duplicate, duplicate, &shared).await?;
    let screen = ana.get("/flows/adt-a08/mapping").await?.text;
    let said = text_of(&screen);
    ensure!(
        said.contains("shared by 2 flows") && screen.contains("href=\"/flows/registrations\""),
        "{said}"
    );
    let (_, list) = call("GET", "shared-mappings", json!({})).await?;
    let one = &list["items"][0];
    ensure!(
        one["name"] == "registrations" && one["flows"].as_array().map(Vec::len) == Some(2),
        "{list}"
    );
    let events = one["mapping"].as_str().unwrap_or_default();
    ensure!(
        events.contains("\"ADT^A04\", \"ADT^A08\""),
        "both events are named: {events}"
    );

    // Saved on the screen of one, it is a candidate of both.
    let to = save(&mut ana, "adt-a08", "PID-5.2").await?;
    ensure!(to == REVIEW, "{to}");
    let page = ana.get(REVIEW).await?.text;
    let said = text_of(&page);
    for part in [
        "registrations",
        "LastName",
        "PID-5.2",
        "Put what is ticked in force",
    ] {
        ensure!(said.contains(part), "{part} is not in {said}");
    }
    let (_, before) = call("GET", "shared-mappings/clinic/registrations", json!({})).await?;
    let flows = before["flows"].as_array().context("flows")?.clone();
    ensure!(
        flows.iter().all(|flow| flow["candidate"].is_string()),
        "{before}"
    );
    let decided = |flow: &Value| json!({ "flow": flow["flow"], "release": flow["candidate"], "version": flow["version"] });
    // One of them changed meanwhile: none comes into force.
    let mut stale: Vec<_> = flows.iter().map(decided).collect();
    stale[1]["version"] = 77.into();
    let path = "shared-mappings/clinic/registrations/activate";
    let body = json!({ "flows": stale, "confirm_not_unique": true });
    let (status, refused) = call("POST", path, body).await?;
    ensure!(status == 409, "{refused}");
    let (_, after) = call("GET", "shared-mappings/clinic/registrations", json!({})).await?;
    ensure!(after["flows"] == before["flows"], "{after}");

    let fields: Vec<(String, String)> = flows
        .iter()
        .flat_map(|flow| {
            let of = |name: &str| flow[name].to_string().trim_matches('"').to_owned();
            let id = of("flow");
            [
                (format!("release.{id}"), of("candidate")),
                (format!("version.{id}"), of("version")),
                ("flow".to_owned(), id),
            ]
        })
        .chain([("confirm_not_unique".to_owned(), "1".to_owned())])
        .collect();
    let fields: Vec<_> = fields
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let page = ana.submit(REVIEW, REVIEW, &fields).await?;
    let said = text_of(&page.text);
    ensure!(
        said.contains("run with the mapping as it stands") && !said.contains("what is ticked"),
        "{said}"
    );
    let (_, runs) = call("GET", "inventory", json!({})).await?;
    let runs = runs["items"].as_array().context("items")?;
    ensure!(
        runs.len() == 2
            && runs[0]["component"] == runs[1]["component"]
            && runs.iter().all(|run| run["status"] == "active"),
        "{runs:?}"
    );

    // A document for one of them alone is refused, and so is a flow that writes something else.
    let alone = json!({ "mapping": "format = 1" });
    let (status, refused) = call("POST", "flows/adt-a08/releases", alone).await?;
    ensure!(
        status == 422 && refused.to_string().contains("shares its mapping"),
        "{refused}"
    );
    let visits = json!({ "flow": {
        "id": "visits", "account": "clinic", "name": "Visits", "direction": "ehr-to-leadsquared", "channel": "ehr",
        "event": "SIU^S12", "entity": "activity", "primary_search_field": "mx_MRN",
        "activity": { "code": 200, "key_field": "mx_Custom_1" }, "shared_mapping": "registrations",
    } });
    let (status, refused) = call("POST", "flows", visits).await?;
    ensure!(
        status == 422 && refused.to_string().contains("flows.shared_mapping"),
        "{refused}"
    );
    // Taken out on its first page, a flow has its mapping for itself again.
    let basic = "/flows/adt-a08/basic";
    let own = [
        ("name", "Updates"),
        ("channel", "ehr"),
        ("lead_behaviour", "capture"),
        ("shared_mapping", ""),
    ];
    ana.submit(basic, basic, &own).await?;
    let to = save(&mut ana, "adt-a08", "PID-5.3").await?;
    ensure!(to.starts_with("/flows/adt-a08/start"), "{to}");
    let (_, list) = call("GET", "shared-mappings", json!({})).await?;
    ensure!(
        list["items"][0]["flows"].as_array().map(Vec::len) == Some(1),
        "{list}"
    );
    office.host.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_starter_set_shares_one_mapping() -> anyhow::Result<()> {
    let (office, mut ana) = office(None).await?;
    let page = ana.get("/flows/new").await?.text;
    ensure!(page.contains("name=\"share\" value=\"1\" checked"));
    let token = office.token("view").await?;
    let list = async || -> anyhow::Result<Value> {
        let url = format!("{}/api/v1/shared-mappings", office.address());
        let request = ligature_tests::http().get(url).bearer_auth(&token);
        Ok(serde_json::from_slice(
            &request.send().await?.bytes().await?,
        )?)
    };
    for (set, flows) in [("registration", 4), ("appointments", 5)] {
        let fields = [("set", set), ("share", "1")];
        let page = ana.submit("/flows/new", "/flows/new", &fields).await?;
        let said = text_of(&page.text);
        ensure!(
            page.to == "/flows" && said.contains("one mapping for all"),
            "{said}"
        );
        let listed = list().await?;
        let mut items = listed["items"].as_array().into_iter().flatten();
        let one = items.find(|one| one["name"] == set).context("the set")?;
        let sharing = one["flows"].as_array().context("flows")?;
        ensure!(
            sharing.len() == flows && sharing.iter().all(|flow| flow["candidate"].is_string()),
            "{one}"
        );
    }
    // Once more it is a set of its own.
    let fields = [("set", "registration"), ("share", "1")];
    ana.submit("/flows/new", "/flows/new", &fields).await?;
    ensure!(list().await?["items"].as_array().map(Vec::len) == Some(3));

    // Its review starts all of them at once.
    let review = "/shared-mappings/clinic/appointments";
    let said = text_of(&ana.get("/flows/siu-s15").await?.text);
    ensure!(said.contains("Mapping appointments"), "{said}");
    let said = text_of(&ana.get(review).await?.text);
    ensure!(said.contains("5 flows share it"), "{said}");
    office.host.stop().await;
    Ok(())
}
