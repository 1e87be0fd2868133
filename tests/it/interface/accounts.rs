//! Accounts: found by their keys, their users, fields that are added.

use std::time::Duration;

use anyhow::{Context, ensure};
use ligature::simulator::lead_squared::Settings;
use ligature_tests::office::lead_squared;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::{PATIENCE, clinic, flow};

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
async fn keys_go_to_no_other_host_than_they_were_given_for() -> anyhow::Result<()> {
    let (clinic, api) = clinic().await?;
    let other = lead_squared(Settings::default()).await?;
    let path = "/api/v1/accounts/clinic";
    let kept = api.get(path).await?.expect(200)?;
    let mut moved = kept.clone();
    for (host, keys) in [(other.api(), false), ("http://example.org".into(), true)] {
        moved["account"]["api"] = json!(host);
        if keys {
            moved["keys"] = json!({ "access_key": "a", "secret_key": "s" });
        }
        let refused = api.put(path, moved.clone()).await?;
        let problem = refused.problem();
        ensure!(problem == "422 invalid accounts.api", "{}", refused.body);
    }
    // Another way to write the same host is no other host.
    let mut same = kept.clone();
    same["account"]["api"] = json!(format!("{}/v2/", clinic.simulator.api()));
    let kept = api.put(path, same).await?.expect(200)?;
    ensure!(other.counts().calls == 0, "the other host was spoken to");

    let keys = other.keys();
    moved["account"]["api"] = json!(other.api());
    moved["version"] = kept["version"].clone();
    moved["keys"] = json!({ "access_key": keys.access_key, "secret_key": keys.secret_key });
    api.put(path, moved).await?.expect(200)?;
    let audit = api.get("/api/v1/audit").await?.expect(200)?;
    let mut records = audit["items"].as_array().into_iter().flatten();
    let record = records.find(|record| record["action"] == "move");
    let what = record.context("a record")?["document"].to_string();
    let hosts = [clinic.simulator.api(), other.api()];
    ensure!(hosts.iter().all(|host| what.contains(host)), "{what}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn custom_fields_are_made_as_the_message_calls_for() -> anyhow::Result<()> {
    let (clinic, api) = clinic().await?;
    let proposal = api
        .get("/api/v1/accounts/clinic/fields/proposal?path=PID-17")
        .await?
        .expect(200)?;
    ensure!(
        proposal == json!({ "display_name": "Religion", "data_type": "Text", "max_length": 100 }),
        "{proposal}"
    );
    let path = "/api/v1/accounts/clinic/fields";
    let made = api
        .post(path, json!({ "path": "PID-17" }))
        .await?
        .expect(201)?;
    let field = &made["field"];
    ensure!(
        field["schema_name"] == "mx_Religion"
            && field["max_length"] == 100
            && field["is_unique"] == false,
        "{made}"
    );
    ensure!(made["next"].to_string().contains("Settings"), "{made}");
    let twice = api.post(path, json!({ "path": "PID-17" })).await?;
    ensure!(twice.problem() == "409 refused", "{}", twice.body);
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
