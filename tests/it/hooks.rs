//! Webhooks: who is let in, what is made in LeadSquared, and what comes of a change that a person makes there.

use std::time::Duration;

use anyhow::{Context, ensure};
use ligature::flow::AccountId;
use ligature::simulator::lead_squared::{Settings, Webhooks};
use ligature_tests::http;
use ligature_tests::office::{Office, lead_squared};
use serde_json::{Value, json};

const CHANNEL: &str = "[[channels]]\nid = \"out\"\n[channels.target]\naddress = \"127.0.0.1:1\"\n";

/// A flow to the EHR that is set going by `webhook`; it waits, because nothing is mapped.
fn flow(id: &str, event: &str, webhook: &str, activity: Option<u32>) -> String {
    let entity = match activity {
        Some(code) => format!(
            "entity = \"activity\"\nactivity = {{ code = {code}, key_field = \"mx_Custom_1\" }}"
        ),
        None => "entity = \"lead\"".to_owned(),
    };
    format!(
        "[[flows]]\nid = \"{id}\"\ndirection = \"leadsquared-to-ehr\"\nchannel = \"out\"\nevent = \"{event}\"\n{entity}\n\
         status = {{ state = \"paused\", reason = \"test\" }}\noutbound = {{ webhook = \"{webhook}\" }}\n"
    )
}

fn settings(webhooks: Webhooks) -> Settings {
    Settings {
        rate_limit: None,
        webhooks: Webhooks {
            spacing: Duration::from_millis(5),
            grouped: None,
            ..webhooks
        },
        ..Settings::default()
    }
}

async fn office(webhooks: Webhooks, flows: &[String]) -> anyhow::Result<Office> {
    let documents = format!("{CHANNEL}{}", flows.concat());
    let simulator = lead_squared(settings(webhooks)).await?;
    Office::open(None, simulator, &documents).await
}

/// Calls the interface; gives status and body.
async fn call(
    office: &Office,
    token: &str,
    method: &str,
    path: &str,
    body: Value,
) -> anyhow::Result<(u16, Value)> {
    let url = format!("{}/api/v1/accounts/clinic/{path}", office.address());
    let request = http().request(method.parse()?, url).bearer_auth(token);
    let answer = request.body(body.to_string()).send().await?;
    let status = answer.status().as_u16();
    Ok((status, serde_json::from_slice(&answer.bytes().await?)?))
}

/// Delivers by hand; gives status, content type and body.
async fn deliver(
    office: &Office,
    method: &str,
    path: &str,
    secret: Option<&str>,
    body: &str,
) -> anyhow::Result<(u16, String, String)> {
    let url = format!("{}/hooks/{path}", office.address());
    let mut request = http().request(method.parse()?, url).body(body.to_owned());
    if let Some(secret) = secret {
        request = request.header("x-ligature-secret", secret);
    }
    let answer = request.send().await?;
    let kind = answer.headers().get("content-type");
    let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let (status, kind) = (answer.status().as_u16(), kind.to_owned());
    Ok((status, kind, answer.text().await?))
}

const LEAD: &str = r#"{"ProspectID":"a3110000-0000-4000-8000-000000000001","FirstName":"Odalys"}"#;
const SUCCESS: &str = r#"{"Status":"Success","StatusReason":""}"#;

#[tokio::test(flavor = "multi_thread")]
async fn only_who_knows_the_secret_is_let_in() -> anyhow::Result<()> {
    let office = office(Webhooks::default(), &[]).await?;
    let token = office.token("administer").await?;
    let (status, made) = call(&office, &token, "POST", "webhooks/secret", json!({})).await?;
    ensure!(status == 200, "{made}");
    let secret = made["secret"].as_str().context("a secret")?;
    let wrong = "0".repeat(secret.len());

    // Whoever is not let in sees what stands at any other address.
    let nothing = deliver(&office, "POST", "../nothing-here", None, LEAD).await?;
    ensure!(nothing.0 == 404, "{nothing:?}");
    for (path, header) in [
        ("clinic".to_owned(), None),
        ("clinic".into(), Some(wrong.as_str())),
        (format!("clinic/{wrong}"), None),
        (format!("clinic/{}", &secret[..20]), None),
        ("clinic/lead-update".into(), None),
        ("clinic/lead-update".into(), Some("")),
        (format!("nobody/{secret}"), None),
        ("nobody".into(), Some(secret)),
    ] {
        let refused = deliver(&office, "POST", &path, header, LEAD).await?;
        ensure!(refused == nothing, "{path}: {refused:?}");
    }
    let large = "x".repeat(9 * 1024 * 1024);
    let refused = deliver(&office, "POST", "clinic", Some(&wrong), &large).await;
    ensure!(refused.is_err() || refused? == nothing);

    // Trials are answered, whether there is such an account or not.
    for path in ["clinic", "nobody", "clinic/lead-update"] {
        for method in ["HEAD", "GET"] {
            let (status, _, body) = deliver(&office, method, path, None, "").await?;
            ensure!(status == 200 && (method == "HEAD" || body == SUCCESS));
        }
        let (status, _, body) = deliver(&office, "POST", path, None, " \r\n").await?;
        ensure!((status, body.as_str()) == (200, SUCCESS), "{path}: {body}");
    }
    for (path, header) in [
        ("clinic", Some(secret)),
        ("clinic/lead-update", Some(secret)),
        (format!("clinic/{secret}").as_str(), None),
        (format!("clinic/{secret}/lead-update").as_str(), None),
        (format!("clinic/lead-update/{secret}").as_str(), None),
    ] {
        for trial in ["", "{}", "[]"] {
            let (status, _, body) = deliver(&office, "POST", path, header, trial).await?;
            ensure!((status, body.as_str()) == (200, SUCCESS), "{path}: {body}");
        }
        let (status, _, body) = deliver(&office, "POST", path, header, "<odd>").await?;
        ensure!(
            status == 200 && body.contains("\"Error\""),
            "{path}: {body}"
        );
        // Whoever goes on sending may not get to read the answer.
        let large = deliver(&office, "POST", path, header, &large).await;
        ensure!(large.map_or(true, |(status, ..)| status == 413), "{path}");
    }

    // A new secret; what LeadSquared repeats meanwhile comes with the old one.
    let (_, renewed) = call(&office, &token, "POST", "webhooks/secret", json!({})).await?;
    let renewed = renewed["secret"].as_str().context("a secret")?;
    ensure!(renewed != secret);
    for secret in [secret, renewed] {
        let (status, ..) = deliver(&office, "POST", "clinic", Some(secret), "{}").await?;
        ensure!(status == 200);
    }
    office.host.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_webhooks_that_flows_need_are_made_as_far_as_the_plan_allows() -> anyhow::Result<()> {
    let flows = [
        flow("update", "ADT^A08", "lead-update", None),
        flow("register", "ADT^A04", "lead-create", None),
        flow("again", "ADT^A31", "lead-update", None),
        flow("book", "SIU^S12", "lead-activity-create", Some(205)),
        flow("move", "SIU^S13", "lead-activity-update", Some(205)),
    ];
    let plan = Webhooks {
        plan_limit: 30,
        ..Webhooks::default()
    };
    let office = office(plan, &flows).await?;
    let token = office.token("administer,view").await?;
    let (status, shown) = call(&office, &token, "GET", "webhooks", json!({})).await?;
    ensure!(
        status == 200 && shown["limit"] == 3 && shown["used"] == 0,
        "{shown}"
    );
    ensure!(
        shown["missing"].as_array().map(Vec::len) == Some(4),
        "{shown}"
    );

    let make = |body: Value| call(&office, &token, "POST", "webhooks", body);
    let (status, refused) = make(json!({})).await?;
    ensure!(
        status == 409 && refused.to_string().contains("`address`"),
        "{refused}"
    );
    let (status, refused) = make(json!({ "address": "http://bridge.example.org" })).await?;
    ensure!(status == 409, "{refused}");
    // Four do not fit: none is made.
    let (status, refused) = make(json!({ "address": office.address() })).await?;
    ensure!(
        status == 409 && refused.to_string().contains("allows 3"),
        "{refused}"
    );
    ensure!(office.simulator.webhooks().is_empty());
    let (status, made) = make(json!({ "address": office.address(), "limit": 30 })).await?;
    ensure!(status == 200 && made["missing"] == json!([]), "{made}");
    ensure!(made["used"] == 4 && made["limit"] == 30, "{made}");
    let webhooks = made["webhooks"].as_array().context("webhooks")?;
    ensure!(
        webhooks
            .iter()
            .all(|it| it["status"] == "enabled" && it["is_needed"] == true)
    );
    let held = office.simulator.webhooks();
    ensure!(
        held.iter()
            .filter(|it| it.activity.as_deref() == Some("205"))
            .count()
            == 2
    );
    ensure!(held.iter().all(|it| it.url.starts_with(&office.address())));
    let (secret, ids): (Value, Vec<String>) = (
        call(&office, &token, "POST", "webhooks/secret", json!({}))
            .await?
            .1,
        held.iter().map(|it| it.id.clone()).collect(),
    );
    ensure!(!format!("{held:?}").contains(secret["secret"].as_str().context("a secret")?));

    // Once more changes nothing, and what a person turned off stays off.
    ensure!(office.simulator.enable_webhook(&ids[0], false));
    let (status, again) = make(json!({})).await?;
    ensure!(status == 200 && again["used"] == 4, "{again}");
    let of = |shown: &Value, id: &str| {
        let webhooks = shown["webhooks"].as_array().cloned().unwrap_or_default();
        webhooks.into_iter().find(|it| it["id"] == id)
    };
    let off = of(&again, &ids[0]).context("the same webhook")?;
    ensure!(off["status"] == "disabled-by-hand", "{off}");
    office.host.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_turned_off_after_failures_is_made_anew() -> anyhow::Result<()> {
    let fragile = Webhooks {
        disabled_after: 2,
        ..Webhooks::default()
    };
    let flows = [flow("update", "ADT^A08", "lead-update", None)];
    let office = office(fragile, &flows).await?;
    let token = office.token("administer,view").await?;
    let body = json!({ "address": office.address() });
    let (status, made) = call(&office, &token, "POST", "webhooks", body).await?;
    ensure!(status == 200, "{made}");
    let id = office.simulator.webhooks()[0].id.clone();
    ensure!(office.simulator.break_webhook(&id, 2));
    let (_, shown) = call(&office, &token, "GET", "webhooks", json!({})).await?;
    ensure!(
        shown["webhooks"][0]["status"] == "disabled-after-failures",
        "{shown}"
    );
    let (_, mended) = call(&office, &token, "POST", "webhooks", json!({})).await?;
    ensure!(mended["webhooks"][0]["status"] == "enabled", "{mended}");
    ensure!(
        mended["used"] == 1 && mended["webhooks"][0]["id"] != id.as_str(),
        "{mended}"
    );
    // What the host does by itself now and then.
    let id = office.simulator.webhooks()[0].id.clone();
    ensure!(office.simulator.break_webhook(&id, 2));
    let account = AccountId::from("clinic");
    Box::pin(office.host.pipeline.mend_webhooks(&account)).await?;
    let held = office.simulator.webhooks();
    let is_new = held.len() == 1 && held[0].status == "enabled" && held[0].id != id;
    ensure!(is_new, "{held:?}");
    office.host.stop().await;
    Ok(())
}

/// A webhook for each event, and one change of each by a person.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_person_changes_is_durable_before_it_is_answered() -> anyhow::Result<()> {
    let flows = [
        flow("update", "ADT^A08", "lead-update", None),
        flow("register", "ADT^A04", "lead-create", None),
        flow("book", "SIU^S12", "lead-activity-create", Some(205)),
    ];
    let office = office(Webhooks::default(), &flows).await?;
    let token = office.token("administer,view").await?;
    let body = json!({ "address": office.address() });
    let (status, made) = call(&office, &token, "POST", "webhooks", body).await?;
    ensure!(status == 200, "{made}");
    let said = |text: String| anyhow::anyhow!(text);
    let lead = office
        .simulator
        .create_lead(&[("FirstName", "Odalys"), ("mx_MRN", "42")]);
    let lead = lead.map_err(said)?;
    let edited = office.simulator.edit_lead(&lead, &[("FirstName", "Odile")]);
    ensure!(edited.map_err(said)?);
    let booked = office
        .simulator
        .create_activity(&lead, 205, &[("mx_Custom_1", "A-1")]);
    booked.map_err(said)?;
    let counts = office
        .simulator
        .until(|counts| counts.told + counts.not_told == 3)
        .await;
    let url = format!("{}/api/v1/messages?limit=100", office.address());
    let messages: Value = serde_json::from_slice(&http().get(url).send().await?.bytes().await?)?;
    // As many as were answered with 200, no more and no less.
    ensure!(
        messages["messages"].as_array().map(Vec::len) == Some(counts.told),
        "{counts:?}: {messages}"
    );
    let bodies: Vec<String> = office
        .simulator
        .told()
        .into_iter()
        .map(|it| it.body)
        .collect();
    ensure!(bodies.iter().all(|body| body.contains(&lead)), "{bodies:?}");
    office.host.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_that_cannot_be_read_is_kept_and_seen() -> anyhow::Result<()> {
    let office = office(Webhooks::default(), &[]).await?;
    let token = office.token("administer,view").await?;
    let (status, made) = call(&office, &token, "POST", "webhooks/secret", json!({})).await?;
    ensure!(status == 200, "{made}");
    let secret = made["secret"].as_str().context("a secret")?;
    // One entry of three is of nobody; the others are taken.
    let nobody = r#"{"FirstName":"Odalys"}"#;
    let body = format!("[{LEAD},{nobody},7]");
    for _ in 0..2 {
        let (status, _, said) = deliver(&office, "POST", "clinic", Some(secret), &body).await?;
        ensure!(
            status == 200 && said.contains("entry 2 does not name its lead"),
            "{said}"
        );
    }
    // Neither is what is no JSON lost.
    let (status, _, said) = deliver(&office, "POST", "clinic", Some(secret), "Odalys").await?;
    ensure!(
        status == 200 && said.contains("neither JSON nor a form"),
        "{said}"
    );

    let url = format!("{}/api/v1/messages?limit=50", office.address());
    let answer = http().get(url).bearer_auth(&token).send().await?;
    let page: Value = serde_json::from_slice(&answer.bytes().await?)?;
    let messages = page["messages"].as_array().context("messages")?;
    let unread: Vec<_> = messages
        .iter()
        .filter(|message| message["state"] == "rejected")
        .collect();
    // What comes again is known.
    ensure!(messages.len() == 4 && unread.len() == 3, "{page}");
    for (part, count) in [
        ("entry 2 does not name its lead", 1),
        ("entry 3 is not an object", 1),
        ("neither JSON nor a form", 1),
    ] {
        let found = unread.iter().filter(|one| one.to_string().contains(part));
        ensure!(found.count() == count, "{part}: {page}");
    }
    ensure!(!page.to_string().contains("Odalys"), "{page}");
    Ok(())
}
