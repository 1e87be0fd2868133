//! Flows without script: from *Create flow* to a roll back, and code tables.

use anyhow::{Context, ensure};
use ligature_tests::postgres;
use ligature_tests::visitor::{Visitor, text_of};
use serde_json::{Value, json};

use super::office;

/// The document that the mapping screen would hand its script.
pub(super) fn desk(page: &str) -> anyhow::Result<Value> {
    let text = page
        .split("data-desk=\"")
        .nth(1)
        .and_then(|rest| rest.split('"').next())
        .context("no desk")?;
    let text = text
        .replace("&#34;", "\"")
        .replace("&#39;", "'")
        .replace("&#60;", "<")
        .replace("&#62;", ">")
        .replace("&#38;", "&");
    Ok(serde_json::from_str(&text)?)
}

fn confirmed() -> [(&'static str, &'static str); 1] {
    [("confirm_not_unique", "1")]
}

async fn from_nothing_to_a_roll_back(storage: Option<&str>) -> anyhow::Result<()> {
    let (office, mut ana) = office(storage).await?;

    // A starter set: four flows, each with a release and a sample.
    ana.submit("/flows/new", "/flows/new", &[("set", "registration")])
        .await?;
    let list = text_of(&ana.get("/flows").await?.text);
    for label in ["A04 - Register a patient", "A08 - ", "A28 - ", "A31 - "] {
        ensure!(list.contains(label), "{label} is not in {list}");
    }

    // One flow, step by step. Wrong entries are told at their field, and what was typed is there again.
    let made = [
        ("direction", "ehr-to-leadsquared"),
        ("entity", "activity"),
        ("lead_behaviour", "update-only"),
        ("activity_behaviour", "capture"),
    ];
    let page = ana.submit("/flows/new", "/flows/new", &made).await?;
    ensure!(page.to == "/flows/siu-s12/basic", "{}", page.to);
    let basic = "/flows/siu-s12/basic";
    let fields = [
        ("name", "Bookings"),
        ("description", "Of the front desk"),
        ("channel", "ehr"),
        ("lead_behaviour", "update-only"),
        ("activity_behaviour", "capture"),
        ("code", "205"),
        ("key_field", ""),
    ];
    let refused = ana.post(basic, basic, &fields).await?;
    ensure!(
        refused.status == 422
            && refused.text.contains("appointment id")
            && refused.text.contains("Of the front desk"),
        "{}",
        text_of(&refused.text)
    );
    let mut fields = fields.to_vec();
    fields[6].1 = "mx_Custom_1";
    let page = ana.submit(basic, basic, &fields).await?;
    ensure!(page.to == "/flows/siu-s12/additional", "{}", page.to);
    let additional = "/flows/siu-s12/additional";
    let fields = [
        ("lead_source", "EHR"),
        ("default_country_code", "1"),
        ("time_zone", "Mars/Olympus"),
        ("primary_search_field", "mx_MRN"),
    ];
    let refused = ana.post(additional, additional, &fields).await?;
    ensure!(
        refused.status == 422
            && refused.text.contains("is not an IANA name")
            && refused.text.contains("Mars/Olympus"),
        "{}",
        text_of(&refused.text)
    );
    let fields = [
        ("lead_source", "EHR"),
        ("default_country_code", "1"),
        ("time_zone", "America/New_York"),
        ("primary_search_field", "mx_MRN"),
        confirmed()[0],
    ];
    ana.submit(additional, additional, &fields).await?;
    let event = "/flows/siu-s12/event";
    let refused = ana
        .post(
            event,
            event,
            &[
                ("event", "SIU^S12"),
                ("message", "no message"),
                ("made_up", "1"),
            ],
        )
        .await?;
    ensure!(
        refused.status == 422 && refused.text.contains("is no HL7 message"),
        "{}",
        text_of(&refused.text)
    );
    let odd = "MSH|^~\\&|S|H|L|L|20261120||SIU^S12|1|P|2.5.1\nSCH|A77\nPID|1||77^^^C^MR||Fenwick^Odalys||1984-02-19\n";
    let page = ana
        .submit(
            event,
            event,
            &[
                ("event", "SIU^S12"),
                ("message", odd),
                ("made_up", "1"),
                ("check", "1"),
            ],
        )
        .await?;
    let said = text_of(&page.text);
    ensure!(
        said.contains("is not of the form of a date") && page.text.contains("<mark"),
        "{said}"
    );
    let page = ana
        .submit(event, event, &[("event", "SIU^S12"), ("starter", "1")])
        .await?;
    ensure!(page.status == 200);

    // What the screen tries is tried by the interface; a fault has its row.
    let page = ana.get("/flows/siu-s12/mapping").await?;
    let desk = desk(&page.text)?;
    let token = office.token("view,map").await?;
    let try_it = async |document: Value| -> anyhow::Result<Value> {
        let url = format!("{}/api/v1/flows/siu-s12/preview", office.address());
        let request = ligature_tests::http()
            .post(url)
            .bearer_auth(&token)
            .header("content-type", "application/json");
        let answer = request
            .body(json!({ "document": document }).to_string())
            .send()
            .await?;
        Ok(serde_json::from_slice(&answer.bytes().await?)?)
    };
    let tried = try_it(desk["document"].clone()).await?;
    ensure!(
        tried["faults"] == json!([]) && tried["result"]["activities"][0]["key"].is_string(),
        "{tried}"
    );
    let mut wrong = desk["document"].clone();
    wrong["lead"][0]["steps"] = json!(["no-such-step"]);
    let target = wrong["lead"][0]["target"]
        .as_str()
        .context("a target")?
        .to_owned();
    let tried = try_it(wrong).await?;
    ensure!(
        tried["faults"][0]["row"] == format!("lead row {target:?}")
            && tried["result"]["lead"][&target].is_null()
            && tried["result"]["activities"][0]["key"].is_string(),
        "the other rows have their results: {tried}"
    );

    // Saved, started, changed, rolled back, paused, gone on.
    let mapping = "/flows/siu-s12/mapping";
    let page = ana
        .submit(
            mapping,
            mapping,
            &[("document", &desk["document"].to_string())],
        )
        .await?;
    ensure!(
        page.to.starts_with("/flows/siu-s12/start?release=") && text_of(&page.text).contains("S12"),
        "{}",
        text_of(&page.text)
    );
    let start = "/flows/siu-s12/start";
    let activate = "/flows/siu-s12/activate";
    let page = ana.submit(start, activate, &confirmed()).await?;
    ensure!(
        text_of(&page.text).contains("being transferred"),
        "{}",
        text_of(&page.text)
    );
    let mut other = desk["document"].clone();
    other["summary"] = json!("Another one.");
    ana.submit(mapping, mapping, &[("document", &other.to_string())])
        .await?;
    ana.submit(start, activate, &confirmed()).await?;
    let flow = "/flows/siu-s12";
    let page = ana.get(flow).await?.text;
    ensure!(
        page.contains("Roll back to release 1"),
        "{}",
        text_of(&page)
    );
    let first = page
        .split("name=\"release\" value=\"")
        .nth(1)
        .and_then(|rest| rest.split('"').next())
        .context("a release")?;
    let page = ana
        .submit(flow, activate, &[("release", first), confirmed()[0]])
        .await?;
    ensure!(
        text_of(&page.text).contains("Roll back to this"),
        "{}",
        text_of(&page.text)
    );
    ana.submit(flow, "/flows/siu-s12/pause", &[("reason", "moving house")])
        .await?;
    let page = text_of(&ana.get("/flows").await?.text);
    ensure!(page.contains("moving house"), "{page}");
    let kept = ana
        .submit(flow, "/flows/siu-s12/delete", &[("name", "Boking")])
        .await?;
    ensure!(text_of(&kept.text).contains("nothing was deleted"));
    ana.submit(flow, "/flows/siu-s12/delete", &[("name", "Bookings")])
        .await?;
    ensure!(ana.get(flow).await?.status == 404);

    // A code table: made, filled, refused without a name.
    ana.submit("/code-tables", "/code-tables", &[("name", "wards")])
        .await?;
    let table = "/code-tables/clinic/wards";
    ana.submit(
        table,
        table,
        &[
            ("code", "4W"),
            ("value0", "Four West"),
            ("code", ""),
            ("value0", ""),
        ],
    )
    .await?;
    ana.submit(
        table,
        "/code-tables/clinic/wards/entry",
        &[("code", "5E"), ("value", "Five East")],
    )
    .await?;
    let page = ana.get(table).await?.text;
    ensure!(
        page.contains("Four West") && page.contains("Five East"),
        "{}",
        text_of(&page)
    );

    // Somebody who may look sees all of it, and no button that would be refused.
    let viewer = office.token("view").await?;
    let mut viewer = Visitor::with_token(office.host.http, &viewer);
    for path in [
        "/flows",
        "/flows/adt-a04",
        "/messages",
        "/channels",
        "/code-tables",
        table,
    ] {
        let page = viewer.get(path).await?;
        ensure!(page.status == 200, "{path}: {}", page.status);
        ensure!(
            !page.text.contains("Create flow")
                && !page.text.contains("Activate")
                && !page.text.contains(">Save<"),
            "{path}: {}",
            text_of(&page.text)
        );
    }
    office.host.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn flows_are_made_and_rolled_back_on_sqlite() -> anyhow::Result<()> {
    Box::pin(from_nothing_to_a_roll_back(None)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn flows_are_made_and_rolled_back_on_postgresql() -> anyhow::Result<()> {
    Box::pin(from_nothing_to_a_roll_back(Some(&postgres()?))).await
}
