//! What is asked of a flow on its pages and told of it: settings of flows to the EHR, a sample of another event, two flows
//! that hear of the same, a mapping that somebody may only read.

use anyhow::ensure;
use ligature::simulator::lead_squared::Settings;
use ligature_tests::office::{Office, lead_squared};
use ligature_tests::visitor::{Visitor, text_of};
use serde_json::{Value, json};

use super::office;

/// A lead flow to the EHR with a condition that no line of the form can say, and one of activities.
const OUT: &str = "[[channels]]\nid = \"out\"\n[channels.target]\naddress = \"127.0.0.1:1\"\n\
    [[flows]]\nid = \"updates\"\ndirection = \"leadsquared-to-ehr\"\nchannel = \"out\"\nevent = \"ADT^A08\"\n\
    entity = \"lead\"\noutbound = { webhook = \"lead-update\", condition = [{ field = \"ProspectStage\", not_in = [\"Lost\"] }] }\n\
    [[flows]]\nid = \"registers\"\ndirection = \"leadsquared-to-ehr\"\nchannel = \"out\"\nevent = \"ADT^A04\"\n\
    entity = \"lead\"\noutbound = { webhook = \"lead-create\" }\n\
    [[flows]]\nid = \"bookings\"\ndirection = \"leadsquared-to-ehr\"\nchannel = \"out\"\nevent = \"SIU^S12\"\n\
    entity = \"activity\"\nactivity = { code = 205 }\noutbound = { webhook = \"lead-activity-create\" }\n";

async fn out() -> anyhow::Result<(Office, Visitor)> {
    let settings = Settings {
        rate_limit: None,
        ..Settings::default()
    };
    let office = Box::pin(Office::open(None, lead_squared(settings).await?, OUT)).await?;
    let mut ana = Visitor::new(office.host.http);
    let link = ligature::serve::first_start(&office.host).await?;
    ana.begin(&link.unwrap_or_default()).await?;
    Ok((office, ana))
}

/// A flow's document, as the interface has it.
async fn flow(office: &Office, id: &str) -> anyhow::Result<Value> {
    let token = office.token("view").await?;
    let url = format!("{}/api/v1/flows/{id}", office.address());
    let answer = ligature_tests::http().get(url).bearer_auth(token).send();
    let kept: Value = serde_json::from_slice(&answer.await?.bytes().await?)?;
    Ok(kept["flow"].clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_flows_to_the_ehr_ask_is_set_on_their_pages() -> anyhow::Result<()> {
    let (office, mut ana) = out().await?;
    let page = "/flows/updates/additional";
    let said = text_of(&ana.get(page).await?.text);
    ensure!(said.contains("ProspectStage is none of Lost"), "{said}");
    let mut fields = vec![
        ("condition_field", "mx_MRN"),
        ("condition_values", ""),
        ("unidentified", "register"),
        ("wait_for_identifier_ms", "1.5"),
        ("register", "registers"),
        ("answer_path", "PID-3.1"),
        ("answer_field", "mx_MRN"),
        ("answer_path", ""),
        ("answer_field", ""),
        ("max_sends", "soon"),
    ];
    let refused = ana.post(page, page, &fields).await?;
    let said = text_of(&refused.text);
    ensure!(
        refused.status == 422 && said.contains("Times that a message is sent at most"),
        "{said}"
    );
    // What was typed is there still, what is no number, too.
    for (name, typed) in [("max_sends", "soon"), ("wait_for_identifier_ms", "1.5")] {
        let input = refused.text.split(&format!("name=\"{name}\"")).nth(1);
        let input = input.and_then(|rest| rest.split('>').next());
        ensure!(
            input.is_some_and(|input| input.contains(&format!("value=\"{typed}\""))),
            "{name}: {input:?}"
        );
    }
    fields.pop();
    fields.push(("max_sends", "3"));
    // 31 minutes are no round number of hours, and good.
    fields[3].1 = "0.516666666666666";
    ana.submit(page, page, &fields).await?;
    let outbound = flow(&office, "updates").await?["outbound"].clone();
    ensure!(
        outbound["wait_for_identifier_ms"] == 1_860_000,
        "{outbound}"
    );
    fields[3].1 = "1.5";
    ana.submit(page, page, &fields).await?;
    let outbound = flow(&office, "updates").await?["outbound"].clone();
    ensure!(
        outbound["condition"]
            == json!([
                { "field": "ProspectStage", "not_in": ["Lost"] },
                { "field": "mx_MRN", "present": true },
            ])
            && outbound["unidentified"] == "register"
            && outbound["patient"]["register"] == "registers"
            && outbound["wait_for_identifier_ms"] == 5_400_000
            && outbound["max_sends"] == 3
            && outbound["read_back"]
                == json!([{ "path": "PID-3.1", "field": "mx_MRN", "activity": false }]),
        "{outbound}"
    );
    // What is there is there again, and a path that is none is told at its line.
    let again = ana.get(page).await?.text;
    ensure!(
        again.contains("value=\"1.5\"") && again.contains("value=\"PID-3.1\""),
        "{}",
        text_of(&again)
    );
    let wrong = [("answer_path", "number"), ("answer_field", "mx_MRN")];
    let refused = ana.post(page, page, &wrong).await?;
    ensure!(refused.status == 422, "{}", text_of(&refused.text));

    // Of an activity: what is told of the patient first, and an element for the activity.
    let page = "/flows/bookings/additional";
    let fields = [
        ("behaviour", "capture"),
        ("register", "registers"),
        ("update", "updates"),
        ("unidentified", "wait"),
        ("answer_path", "SCH-2.1"),
        ("answer_field", "mx_Custom_1"),
        ("answer_of", "activity"),
        ("max_sends", "10"),
    ];
    ana.submit(page, page, &fields).await?;
    let outbound = flow(&office, "bookings").await?["outbound"].clone();
    ensure!(
        outbound["patient"]
            == json!({ "behaviour": "capture", "register": "registers", "update": "updates" })
            && outbound["read_back"]
                == json!([{ "path": "SCH-2.1", "field": "mx_Custom_1", "activity": true }]),
        "{outbound}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn two_flows_that_hear_of_the_same_are_told() -> anyhow::Result<()> {
    let (office, mut ana) = out().await?;
    let kind = [
        ("direction", "leadsquared-to-ehr"),
        ("webhook", "lead-update"),
    ];
    let page = ana.submit("/flows/new", "/flows/new", &kind).await?;
    let said = text_of(&page.text);
    let told = "The same change in LeadSquared also sets this going: updates.";
    ensure!(
        page.to == "/flows/adt-a08-to-ehr/basic" && said.matches(told).count() == 2,
        "said when it is made, and on its page: {said}"
    );
    let event = "/flows/adt-a08-to-ehr/event";
    ana.submit(event, event, &[("event", "ADT^A08"), ("starter", "1")])
        .await?;
    let start = "/flows/adt-a08-to-ehr/start";
    let said = text_of(&ana.get(start).await?.text);
    ensure!(said.contains(told), "{said}");
    let confirmed = [("confirm_no_condition", "1")];
    ana.submit(start, "/flows/adt-a08-to-ehr/activate", &confirmed)
        .await?;

    // By the interface as well.
    let token = office.token("view,publish").await?;
    let (path, body) = (
        "flows/adt-a08-to-ehr/activate",
        json!({ "version": 2, "confirm_no_condition": true }),
    );
    let known = flow_version(&office, "adt-a08-to-ehr").await?;
    let mut body = body;
    body["version"] = known;
    let url = format!("{}/api/v1/{path}", office.address());
    let request = ligature_tests::http().post(url).bearer_auth(token);
    let answer = request.body(body.to_string()).send().await?;
    let answer: Value = serde_json::from_slice(&answer.bytes().await?)?;
    ensure!(answer["told_of_the_same"] == json!(["updates"]), "{answer}");

    // Another event tells them apart, and can be chosen afterwards.
    let basic = "/flows/adt-a08-to-ehr/basic";
    let fields = [
        ("name", "New leads"),
        ("channel", "out"),
        ("webhook", "lead-create"),
    ];
    ana.submit(basic, basic, &fields).await?;
    let said = text_of(&ana.get(basic).await?.text);
    ensure!(
        !said.contains(told) && said.contains("sets this going: registers"),
        "{said}"
    );
    Ok(())
}

async fn flow_version(office: &Office, id: &str) -> anyhow::Result<Value> {
    let token = office.token("view").await?;
    let url = format!("{}/api/v1/flows/{id}", office.address());
    let answer = ligature_tests::http().get(url).bearer_auth(token).send();
    let kept: Value = serde_json::from_slice(&answer.await?.bytes().await?)?;
    Ok(kept["version"].clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sample_of_another_event_is_told() -> anyhow::Result<()> {
    let (_office, mut ana) = office(None).await?;
    let event = "/flows/registrations/event";
    let sample =
        |event: &str| format!("MSH|^~\\&|S|H|L|L|20261120||{event}|1|P|2.5.1\nPID|1||77\n");
    let other = sample("ADT^A08");
    let mut fields = [
        ("event", "ADT^A04"),
        ("message", other.as_str()),
        ("made_up", "1"),
        ("next", "1"),
    ];
    let page = ana.submit(event, event, &fields).await?;
    let said = text_of(&page.text);
    ensure!(
        page.to == event && said.contains("it is of another event than the flow"),
        "{} {said}",
        page.to
    );
    ensure!(
        page.text
            .contains("<mark title=\"the sample is of another event than the flow\">ADT"),
        "{}",
        page.text
    );
    let own = sample("ADT^A04");
    fields[1].1 = &own;
    let page = ana.submit(event, event, &fields).await?;
    ensure!(page.to == "/flows/registrations/mapping", "{}", page.to);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_who_may_look_reads_a_mapping() -> anyhow::Result<()> {
    let (office, mut ana) = office(None).await?;
    let viewer = office.token("view").await?;
    let mut viewer = Visitor::with_token(office.host.http, &viewer);
    let mapping = "/flows/registrations/mapping";
    let said = text_of(&viewer.get(mapping).await?.text);
    ensure!(said.contains("No mapping is saved yet"), "{said}");
    let document = json!({
        "format": 1, "name": "Registrations", "version": "1",
        "group": [{ "name": "insured", "when": [{ "path": "IN1-3", "present": true }] }],
        "lead": [
            { "target": "mx_MRN", "label": "Record number", "path": "PID-3.1", "required": true },
            { "target": "mx_Plan", "path": "IN1-2", "group": "insured", "steps": ["trim", { "pad": 8, "with": "0" }],
              "empty": { "default": "none" }, "on-error": "wait" },
        ],
    });
    let document = document.to_string();
    ana.submit(mapping, mapping, &[("document", &document)])
        .await?;
    let page = viewer.get(mapping).await?;
    let said = text_of(&page.text);
    ensure!(page.status == 200, "{}", page.status);
    for part in [
        "Record number mx_MRN PID-3.1",
        "always needed",
        "mx_Plan IN1-2 trim , pad = 8",
        "without a value: writes none; if it cannot be used: waits",
        "you need the right “Map”",
    ] {
        ensure!(said.contains(part), "{part} is not in {said}");
    }
    ensure!(
        !page.text.contains("data-desk") && !page.text.contains("<button id=\"save\""),
        "{}",
        page.text
    );
    let flow = viewer.get("/flows/registrations").await?.text;
    ensure!(flow.contains(&format!("href=\"{mapping}\"")), "{flow}");
    let versions = viewer.get(&format!("{mapping}/versions")).await?;
    ensure!(versions.status == 200);
    // To change it is still refused.
    let fields = [("document", document.as_str())];
    let sent = viewer.post(mapping, mapping, &fields).await?;
    ensure!(sent.status == 403);
    Ok(())
}
