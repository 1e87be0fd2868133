//! Code tables and releases: a vendor's component that needs an entry, from the first refusal to going back.

use anyhow::{Context, ensure};
use ligature_tests::mllp::Client;
use ligature_tests::visitor::Visitor;
use serde_json::{Value, json};

use super::{clinic, flow, until};

const TABLE: &str = "/api/v1/code-tables/clinic/codes";
const FLOW: &str = "/api/v1/flows/coded";

fn message(id: &str, name: &str) -> String {
    format!(
        "MSH|^~\\&|EPIC|MAIN|LIG|LSQ|20261120093000||TST^Z01|{id}|P|2.5.1\r\
         PID|1||{id}^^^CLINIC^MR||{name}\r"
    )
}

/// The only delivery of a message, when it is in `state`.
async fn delivery(
    api: &ligature_tests::interface::Interface,
    control_id: &str,
    state: &str,
) -> anyhow::Result<Value> {
    let path = format!("/api/v1/messages?state={state}");
    let is_it = |message: &&Value| message["control_id"] == control_id;
    let page = until(api, &path, |page| {
        page["messages"]
            .as_array()
            .is_some_and(|all| all.iter().any(|it| is_it(&it)))
    });
    let page = page
        .await
        .with_context(|| format!("{control_id} is not {state}"))?;
    let found = page["messages"]
        .as_array()
        .into_iter()
        .flatten()
        .find(is_it);
    Ok(found.context("a message")?["deliveries"][0].clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_waits_for_an_entry_and_a_release_can_be_gone_back_to() -> anyhow::Result<()> {
    let (mut clinic, api) = clinic().await?;
    clinic.host.take().context("a running host")?.stop()?;
    let seer = clinic.site.token("view,see-patient-data")?;
    clinic.host = Some(clinic.site.start().await?);
    let path = "/api/v1/components?account=clinic";
    let component = ligature_tests::guests::guest("misbehaving");
    let uploaded = api.send_bytes("POST", path, Some(component), None).await?;
    let uploaded = uploaded.expect(201)?;
    let digest = uploaded["digest"].as_str().context("a digest")?.to_owned();
    let mut new = flow("coded", "TST^Z01");
    new["choices"] = json!({ "tables": { "codes": "codes" } });
    api.post("/api/v1/flows", json!({ "flow": new }))
        .await?
        .expect(201)?;

    // What the flow chooses must be there, and a person must approve what the component asks for.
    let activate = |more: Value| {
        let mut body = json!({ "component": digest, "version": 1 });
        let (body_members, more) = (body.as_object_mut(), more.as_object().cloned());
        if let (Some(members), Some(more)) = (body_members, more) {
            members.extend(more);
        }
        api.post("/api/v1/flows/coded/activate", body)
    };
    let refused = activate(json!({})).await?;
    ensure!(
        refused.problem() == "422 invalid flows.choices.tables.codes",
        "{}",
        refused.body
    );
    let wrong = b"code,value\nKnown,Mapped\nKnown,Twice\n".to_vec();
    let wrong = api
        .send_bytes("PUT", &format!("{TABLE}/csv"), Some(wrong), None)
        .await?;
    ensure!(
        wrong.problem() == "422 invalid code-tables.entries",
        "{}",
        wrong.body
    );
    ensure!(
        wrong.body.to_string().contains("line 3 repeats"),
        "{}",
        wrong.body
    );
    let sheet = b"code;value\r\nKnown;Mapped\r\n".to_vec();
    let made = api
        .send_bytes("PUT", &format!("{TABLE}/csv"), Some(sheet), None)
        .await?;
    let made = made.expect(201)?;
    ensure!(made["entries"] == json!({ "Known": ["Mapped"] }), "{made}");
    let refused = activate(json!({})).await?;
    ensure!(
        refused.problem() == "422 invalid flows.grants",
        "{}",
        refused.body
    );
    let text = refused.body.to_string();
    ensure!(
        text.contains("read PID-3 (Patient Identifier List)"),
        "{text}"
    );
    let grants = json!({ "grants": {
        "reads": ["PID-3", "PID-5"], "lead_targets": ["mrn", "name"], "activity_targets": [],
    } });
    let active = activate(grants).await?.expect(200)?;
    let first = active["flow"]["release"]
        .as_str()
        .context("a release")?
        .to_owned();

    let mut client = Client::connect(clinic.site.mllp).await?;
    client.exchange(message("1", "Known").as_bytes()).await?;
    delivery(&api, "1", "delivered").await?;
    client.exchange(message("2", "Missing").as_bytes()).await?;
    let waits = delivery(&api, "2", "parked").await?;
    let why = waits["reason"].as_str().unwrap_or_default();
    ensure!(why.contains("add the entry"), "{why}");
    let misses = format!("{TABLE}/misses");
    let page = seer.get(&misses).await?.expect(200)?;
    let miss = &page["items"][0];
    ensure!(
        miss["code"] == "Missing" && miss["deliveries_stopped"] == 1,
        "{page}"
    );
    let hidden = api.get(&misses).await?.expect(200)?;
    let miss = &hidden["items"][0];
    ensure!(
        miss["code"].is_null() && miss["deliveries_stopped"] == 1,
        "{hidden}"
    );

    // Whoever saw the code is in the audit, once for each look; nobody else is.
    let looks = async || {
        let audit = api.get("/api/v1/audit").await?.expect(200)?;
        let records = audit["items"].as_array().cloned().unwrap_or_default();
        let looks = records.iter().filter(|record| record["action"] == "see");
        anyhow::Ok(looks.count())
    };
    ensure!(looks().await? == 1, "a look at the interface");
    let mut page = Visitor::with_token(clinic.site.http, seer.bearer());
    let page = page.get("/code-tables/clinic/codes").await?;
    ensure!(page.text.contains("Missing"), "{}", page.text);
    ensure!(looks().await? == 2, "a look at the console");
    let mut page = Visitor::with_token(clinic.site.http, api.bearer());
    let page = page.get("/code-tables/clinic/codes").await?;
    ensure!(!page.text.contains("Missing") && looks().await? == 2);

    // The entry makes a new release and lets the message go on.
    let table = api.get(TABLE).await?.expect(200)?;
    ensure!(table["flows"] == json!(["coded"]), "{table}");
    let mut table = table;
    table["entries"]["Missing"] = json!(["Found"]);
    let saved = api.put(TABLE, table).await?.expect(200)?;
    ensure!(saved["version"] == 2, "{saved}");
    delivery(&api, "2", "delivered").await?;
    let names: Vec<_> = clinic
        .simulator
        .leads()
        .iter()
        .map(|lead| lead.values["LastName"].clone())
        .collect();
    ensure!(names.contains(&"Found".to_owned()), "{names:?}");
    let left = api.get(&misses).await?.expect(200)?;
    ensure!(left["items"] == json!([]), "{left}");

    // Both releases are there; going back takes the table of then along.
    let releases = api.get(&format!("{FLOW}/releases")).await?.expect(200)?;
    let items = releases["items"].as_array().context("releases")?;
    ensure!(
        items.len() == 2 && items[0]["is_active"] == true,
        "{releases}"
    );
    ensure!(items[1]["digest"] == first.as_str(), "{releases}");
    ensure!(
        items
            .iter()
            .all(|item| item["activations"].as_array().map(Vec::len) == Some(1)),
        "{releases}"
    );
    let version = api.get(FLOW).await?.expect(200)?["version"].clone();
    let back = json!({ "release": first, "version": version });
    let back = api
        .post("/api/v1/flows/coded/activate", back)
        .await?
        .expect(200)?;
    ensure!(back["flow"]["release"] == first.as_str(), "{back}");
    until(&api, &format!("{FLOW}/releases"), |page| {
        page["items"][1]["is_active"] == true
    })
    .await?;
    let mut waiting = 0;
    while api
        .get("/api/v1/messages?state=parked")
        .await?
        .expect(200)?["messages"]
        == json!([])
    {
        // The host takes the release up a moment later; until then the newer one answers.
        client
            .exchange(message(&format!("b{waiting}"), "Missing").as_bytes())
            .await?;
        waiting += 1;
        ensure!(waiting < 200, "the release of before is not in force");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }

    // What is named stays.
    for path in [
        TABLE.to_owned(),
        format!("/api/v1/components/clinic/{digest}"),
        format!("{FLOW}/releases/{first}"),
    ] {
        let used = api.delete(&path).await?;
        ensure!(used.problem() == "409 still-used", "{path}: {}", used.body);
    }
    let other = items[0]["digest"].as_str().context("a digest")?;
    ensure!(
        api.delete(&format!("{FLOW}/releases/{other}"))
            .await?
            .status
            == 204
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_is_made_beside_the_one_in_force() -> anyhow::Result<()> {
    let (_clinic, api) = clinic().await?;
    let path = "/api/v1/flows/ADT%5EA04";
    let before = api.get(path).await?.expect(200)?;
    let components = api.get("/api/v1/components").await?.expect(200)?;
    let document = components["items"][0]["document"]
        .as_str()
        .context("a document")?;
    let changed = document.replace("PID-5.1", "PID-5.2");
    ensure!(changed != document, "{document}");
    let made = api
        .post(&format!("{path}/releases"), json!({ "mapping": changed }))
        .await?;
    let made = made.expect(201)?;
    let differences = made["differences"].as_array().context("differences")?;
    ensure!(
        differences
            .iter()
            .any(|it| it.as_str().is_some_and(|it| it.starts_with("component "))),
        "{made}"
    );
    let after = api.get(path).await?.expect(200)?;
    ensure!(after == before, "it is not in force: {after}");
    let bad = api
        .post(
            &format!("{path}/releases"),
            json!({ "mapping": "format = 9" }),
        )
        .await?;
    ensure!(
        bad.problem().starts_with("422 invalid flows.mapping"),
        "{}",
        bad.body
    );
    let activation = json!({ "release": made["digest"], "version": before["version"] });
    let active = api
        .post(&format!("{path}/activate"), activation)
        .await?
        .expect(200)?;
    ensure!(active["flow"]["release"] == made["digest"], "{active}");
    Ok(())
}
