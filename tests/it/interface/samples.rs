//! Samples of flows, what retention lets go of, tokens: by real HTTP and by the command line.

use anyhow::{Context, ensure};
use ligature_tests::clinic::{Clinic, Setup, UNLIMITED, unlimited};
use ligature_tests::mllp::Client;
use serde_json::{Value, json};

use super::{ALL, clinic, flow, registration, until};

const TEMPLATE: &str = "/api/v1/accounts/clinic/flows/ADT%5EA04/template";

fn codes(view: &Value) -> Vec<&str> {
    let findings = view["findings"].as_array().into_iter().flatten();
    findings
        .filter_map(|finding| finding["code"].as_str())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flow_has_a_sample_that_tells_about_nobody() -> anyhow::Result<()> {
    let setup = Setup {
        account: UNLIMITED,
        channel: "",
        leads: &["ADT^A04"],
        activities: &[],
    };
    let mut clinic = Clinic::prepare(None, unlimited(), setup).await?;
    let api = clinic.site.token(ALL)?;
    let doctor = clinic.site.token("view,map,see-patient-data")?;
    clinic.host = Some(clinic.site.start().await?);
    ensure!(api.get(TEMPLATE).await?.problem() == "404 not-found");

    // Pasted: other values in the same shape, unless it is about nobody.
    let text = registration("P1");
    let put = api
        .put(TEMPLATE, json!({ "message": text }))
        .await?
        .expect(200)?;
    ensure!(
        put["kept"] == "deidentified" && put["event"] == "ADT^A04",
        "{put}"
    );
    ensure!(!put.to_string().contains("Fenwick"), "{put}");
    ensure!(codes(&put).is_empty(), "{put}");
    ensure!(api.get(TEMPLATE).await?.expect(200)? == put);
    let made_up = json!({ "message": text, "made_up": true });
    let put = api.put(TEMPLATE, made_up).await?.expect(200)?;
    ensure!(
        put["kept"] == "made-up" && put.to_string().contains("Fenwick"),
        "{put}"
    );
    // Another event's, with a date that is none; the places are told, never the values.
    let other = text
        .replace("ADT^A04", "ADT^A08")
        .replace("20261120093000", "ZSECRET");
    let put = api
        .put(TEMPLATE, json!({ "message": other }))
        .await?
        .expect(200)?;
    ensure!(codes(&put).contains(&"event-differs"), "{put}");
    ensure!(codes(&put).contains(&"not-a-date"), "{put}");
    for (body, problem) in [
        (
            json!({ "message": "PID|1" }),
            "422 invalid template.message",
        ),
        (json!({}), "422 invalid template.message"),
        (json!({ "text": "" }), "422 invalid template"),
    ] {
        let refused = api.put(TEMPLATE, body).await?;
        ensure!(refused.problem() == problem, "{}", refused.body);
    }

    // From traffic.
    let mut client = Client::connect(clinic.site.mllp).await?;
    client.exchange(registration("T1").as_bytes()).await?;
    let page = until(&api, "/api/v1/messages", |page| {
        page["messages"][0].is_object()
    })
    .await?;
    let id = page["messages"][0]["id"].as_str().context("id")?;
    let taken = format!("{TEMPLATE}?from_message={id}");
    let put = api.put(&taken, json!({})).await?.expect(200)?;
    ensure!(put["kept"] == "deidentified", "{put}");
    ensure!(
        !put.to_string().contains("Fenwick") && put["message"].to_string().contains("PID|1||"),
        "{put}"
    );
    let original = format!("{taken}&keep_original=true");
    let refused = api.put(&original, json!({})).await?;
    ensure!(refused.problem() == "403 forbidden", "{}", refused.body);
    let put = doctor.put(&original, json!({})).await?.expect(200)?;
    ensure!(
        put["kept"] == "original" && !put.to_string().contains("Fenwick"),
        "{put}"
    );
    ensure!(
        put["message"].to_string().contains("Xxxxxxx"),
        "masked: {put}"
    );
    let missing = api
        .put(&format!("{TEMPLATE}?from_message=0"), json!({}))
        .await?;
    ensure!(missing.problem() == "404 not-found", "{}", missing.body);

    // Recorded, and gone with its flow.
    let audit = api.get("/api/v1/audit?account=clinic").await?.expect(200)?;
    let records = audit["items"].as_array().context("items")?;
    let puts = records
        .iter()
        .filter(|record| record["kind"] == "template" && record["action"] == "put");
    ensure!(puts.count() == 5, "{audit}");
    ensure!(api.delete(TEMPLATE).await?.status == 204);
    ensure!(api.delete(TEMPLATE).await?.problem() == "404 not-found");
    api.post("/api/v1/flows", json!({ "flow": flow("later", "ADT^A05") }))
        .await?
        .expect(201)?;
    let later = "/api/v1/accounts/clinic/flows/later/template";
    api.put(later, json!({ "message": text }))
        .await?
        .expect(200)?;
    ensure!(
        api.get("/api/v1/accounts/other/flows/later/template")
            .await?
            .status
            == 404
    );
    ensure!(api.delete("/api/v1/flows/later").await?.status == 204);
    api.post("/api/v1/flows", json!({ "flow": flow("later", "ADT^A05") }))
        .await?
        .expect(201)?;
    ensure!(api.get(later).await?.problem() == "404 not-found");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_retention_lets_go_of_is_told_before() -> anyhow::Result<()> {
    let setup = Setup {
        account: UNLIMITED,
        channel: "retention = { unclaimed_hours = 0 }",
        leads: &["ADT^A04"],
        activities: &[],
    };
    let mut clinic = Clinic::prepare(None, unlimited(), setup).await?;
    let api = clinic.site.token(ALL)?;
    clinic.host = Some(clinic.site.start().await?);
    let path = "/api/v1/accounts/clinic/channels/ehr/retention";
    let view = api.get(path).await?.expect(200)?;
    ensure!(
        view["going"] == json!([]) && view["retention"]["unclaimed_hours"] == 0,
        "{view}"
    );
    let mut client = Client::connect(clinic.site.mllp).await?;
    for message in [
        registration("T1").replace("ADT^A04", "ADT^A02"),
        registration("T2"),
    ] {
        client.exchange(message.as_bytes()).await?;
    }
    let view = until(&api, path, |view| view["going"][0].is_object()).await?;
    let going = &view["going"];
    ensure!(
        going.as_array().map(Vec::len) == Some(1)
            && going[0]["outcome"] == "unclaimed"
            && going[0]["messages"] == 1,
        "{view}"
    );
    let absent = api
        .get("/api/v1/accounts/clinic/channels/none/retention")
        .await?;
    ensure!(absent.problem() == "404 not-found", "{}", absent.body);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_token_lies_beside_the_store_and_makes_others() -> anyhow::Result<()> {
    let clinic = Clinic::of_registrations("").await?;
    let file = clinic.site.path("first-token");
    let token = std::fs::read_to_string(&file)?;
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&file)?.permissions());
    ensure!(mode & 0o077 == 0, "others can read it: {mode:o}");
    ensure!(
        !clinic.site.log()?.contains(token.trim()),
        "the log shows it"
    );
    let first = clinic.site.stranger().with_token(token.trim());
    let made = json!({ "name": "console", "rights": "view,operate" });
    let made = first.post("/api/v1/tokens", made).await?.expect(201)?;
    let console = first.with_token(made["token"].as_str().context("token")?);
    console.get("/api/v1/flows").await?.expect(200)?;
    ensure!(console.get("/api/v1/tokens").await?.problem() == "403 forbidden");
    // Nobody gives what they lack.
    let more = json!({ "name": "ward", "rights": "view,see-patient-data" });
    ensure!(first.post("/api/v1/tokens", more).await?.problem() == "403 forbidden");
    let odd = json!({ "name": "ward", "rights": "root" });
    ensure!(first.post("/api/v1/tokens", odd).await?.problem() == "422 invalid tokens.rights");
    let listed = first.get("/api/v1/tokens").await?.expect(200)?;
    ensure!(
        listed["items"].as_array().map(Vec::len) == Some(2),
        "{listed}"
    );
    ensure!(!listed.to_string().contains("digest"), "{listed}");
    ensure!(first.delete("/api/v1/tokens/console").await?.status == 204);
    ensure!(console.get("/api/v1/flows").await?.status == 401);

    // Once: whoever took it away does not find it again after the next start.
    std::fs::remove_file(&file)?;
    let Clinic { site, host, .. } = clinic;
    host.context("the host runs")?.stop()?;
    let host = site.start().await?;
    ensure!(!file.exists(), "a second first token");
    drop(host);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flow_whose_activity_type_lacks_a_field_is_refused() -> anyhow::Result<()> {
    let (clinic, api) = clinic().await?;
    let mut flow = flow("bookings", "SIU^S12");
    flow["entity"] = json!("activity");
    flow["activity"] = json!({ "code": 205, "key_field": "mx_Custom_31" });
    api.post("/api/v1/flows", json!({ "flow": flow }))
        .await?
        .expect(201)?;
    let mapping = ligature_tests::site::quickstart("siu-s12-activity.toml")?
        .replace("\"mx_Custom_4\"", "\"mx_Custom_32\"");
    let path = "/api/v1/flows/bookings/activate";
    let body = json!({ "mapping": mapping, "version": 1 });
    let refused = api.post(path, body.clone()).await?;
    ensure!(
        refused.problem() == "422 invalid flows.activity.key_field flows.mapping",
        "{}",
        refused.body
    );
    let text = refused.body.to_string();
    ensure!(
        text.contains("205 (EHR Appointment)")
            && text.contains("mx_Custom_31")
            && text.contains("mx_Custom_32"),
        "{text}"
    );
    flow["activity"]["code"] = json!(999);
    api.put(
        "/api/v1/flows/bookings",
        json!({ "flow": flow, "version": 1 }),
    )
    .await?
    .expect(200)?;
    let body = json!({ "mapping": mapping, "version": 2 });
    let refused = api.post(path, body).await?;
    ensure!(
        refused.problem() == "422 invalid flows.activity.code",
        "{}",
        refused.body
    );

    // A field that was made a moment ago is seen.
    flow["activity"] = json!({ "code": 205, "key_field": "mx_Custom_1" });
    api.put(
        "/api/v1/flows/bookings",
        json!({ "flow": flow, "version": 2 }),
    )
    .await?
    .expect(200)?;
    let mapping = mapping.replace("mx_Custom_32", "mx_Custom_11");
    let people = clinic.simulator.keys();
    let added = ligature_tests::http()
        .post(format!("{}/v2/ProspectActivity.svc/CustomActivityType/Update", clinic.simulator.api()))
        .header("x-lsq-accesskey", &people.access_key)
        .header("x-lsq-secretkey", &people.secret_key)
        .header("content-type", "application/json")
        .body(
            json!({
                "ID": type_id(&clinic).await?,
                "Fields": [{ "SchemaName": "mx_Custom_11", "DisplayName": "Doctor", "DataType": "String",
                    "OptionSet": [{ "Value": "Ada" }] }],
            })
            .to_string(),
        )
        .send()
        .await?;
    ensure!(added.status() == 200);
    let body = json!({ "mapping": mapping, "version": 3 });
    api.post(path, body).await?.expect(200)?;
    let slots = api
        .get("/api/v1/accounts/clinic/activity-types/205/slots")
        .await?
        .expect(200)?;
    let slots = slots["items"].as_array().context("items")?;
    let made = slots
        .iter()
        .find(|slot| slot["schema_name"] == "mx_Custom_11");
    ensure!(
        made.is_some_and(|slot| slot["options"] == json!(["Ada"])),
        "{slots:?}"
    );
    Ok(())
}

/// The id of the type 205, as LeadSquared tells it.
async fn type_id(clinic: &Clinic) -> anyhow::Result<String> {
    let keys = clinic.simulator.keys();
    let types = ligature_tests::http()
        .get(format!(
            "{}/v2/ProspectActivity.svc/ActivityTypes.Get",
            clinic.simulator.api()
        ))
        .header("x-lsq-accesskey", &keys.access_key)
        .header("x-lsq-secretkey", &keys.secret_key)
        .send()
        .await?;
    let types: Value = serde_json::from_slice(&types.bytes().await?)?;
    let mut types = types.as_array().context("types")?.iter();
    let kind = types
        .find(|kind| kind["ActivityEvent"] == 205)
        .context("205")?;
    Ok(kind["ID"].as_str().context("ID")?.to_owned())
}
