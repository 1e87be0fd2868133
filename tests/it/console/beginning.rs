//! What a new administrator meets: webhooks and fields that are not there yet, deliveries that died alike, our own probes.

use std::time::Duration;

use anyhow::{Context, ensure};
use ligature::config::Console;
use ligature::simulator::lead_squared::Settings;
use ligature_tests::mllp::Client;
use ligature_tests::office::{Office, lead_squared};
use ligature_tests::visitor::{Visitor, text_of};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::office;

/// A draft that carries leads to an EHR which nobody answers for.
const OUT: &str = "[[channels]]\nid = \"out\"\n[channels.target]\naddress = \"127.0.0.1:1\"\n\
    [[flows]]\nid = \"updates\"\ndirection = \"leadsquared-to-ehr\"\nchannel = \"out\"\nevent = \"ADT^A08\"\n\
    entity = \"lead\"\noutbound = { webhook = \"lead-update\" }\n";

async fn visitor(office: &Office) -> anyhow::Result<Visitor> {
    let mut ana = Visitor::new(office.host.http);
    let link = ligature::serve::first_start(&office.host).await?;
    ana.begin(&link.unwrap_or_default()).await?;
    Ok(ana)
}

async fn says(ana: &mut Visitor, path: &str, text: &str) -> anyhow::Result<String> {
    let said = text_of(&ana.get(path).await?.text);
    ensure!(said.contains(text), "{path} does not say {text:?}: {said}");
    Ok(said)
}

/// What is wrong, as the alerts have it.
async fn alerts(office: &Office) -> anyhow::Result<String> {
    let pipeline = &office.host.pipeline;
    Box::pin(pipeline.look_for_alerts()).await?;
    let standing = pipeline.store.alerts().standing().await?;
    let open = standing.iter().filter(|alert| alert.ended_at_ms.is_none());
    Ok(open.map(|alert| alert.text.as_str()).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flow_to_the_ehr_says_which_webhook_it_needs() -> anyhow::Result<()> {
    let settings = Settings {
        rate_limit: None,
        ..Settings::default()
    };
    let office = Office::open(None, lead_squared(settings).await?, OUT).await?;
    let mut ana = visitor(&office).await?;

    // The starter is that of the other direction, and fills a message of the flow's event.
    let event = "/flows/updates/event";
    ana.submit(event, event, &[("event", "ADT^A08"), ("starter", "1")])
        .await?;
    let said = says(&mut ana, event, "The sample that is kept").await?;
    ensure!(said.contains("PID"), "{said}");

    // Before the start it is said what is missing; nothing lacks a field, because places are no fields.
    let start = "/flows/updates/start";
    let said = says(&mut ana, start, "webhook lead-update").await?;
    ensure!(said.contains("missing") && said.contains("allows 3 webhooks"));
    ensure!(said.contains("Checks passed"), "{said}");
    let page = ana.get(start).await?.text;
    ensure!(page.contains("name=\"make_webhook\" value=\"1\" checked"));

    // Started without it, every page that tells how things stand names it.
    let activate = "/flows/updates/activate";
    let confirmed = ("confirm_no_condition", "1");
    ana.submit(start, activate, &[confirmed]).await?;
    says(&mut ana, "/flows/updates", "missing Lead is updated").await?;
    says(&mut ana, "/overview", "does not tell of lead-update").await?;
    says(&mut ana, "/setup", "does not tell of lead-update").await?;
    says(&mut ana, "/accounts/clinic", "missing Lead is updated").await?;
    let wrong = alerts(&office).await?;
    ensure!(wrong.contains("No webhook lead-update is there"), "{wrong}");

    // One button makes it.
    let address = office.address();
    let fields = [("address", address.as_str()), ("limit", "3")];
    let make = "/accounts/clinic/webhooks";
    let page = ana.submit("/flows/updates", make, &fields).await?;
    ensure!(page.to == "/flows/updates", "{}", page.to);
    says(&mut ana, "/flows/updates", "on Lead is updated").await?;
    says(&mut ana, "/setup", "LeadSquared tells of lead-update").await?;
    let said = text_of(&ana.get("/overview").await?.text);
    ensure!(!said.contains("does not tell of"), "{said}");
    ensure!(alerts(&office).await?.is_empty());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_start_makes_the_webhook() -> anyhow::Result<()> {
    let settings = Settings {
        rate_limit: None,
        ..Settings::default()
    };
    let office = Office::open(None, lead_squared(settings).await?, OUT).await?;
    let mut ana = visitor(&office).await?;
    let event = "/flows/updates/event";
    ana.submit(event, event, &[("event", "ADT^A08"), ("starter", "1")])
        .await?;
    let address = office.address();
    let fields = [
        ("confirm_no_condition", "1"),
        ("make_webhook", "1"),
        ("address", address.as_str()),
        ("limit", "3"),
    ];
    let start = "/flows/updates/start";
    let page = ana
        .submit(start, "/flows/updates/activate", &fields)
        .await?;
    let said = text_of(&page.text);
    ensure!(
        said.contains("tells it what changes") && said.contains("on Lead is updated"),
        "{said}"
    );
    Ok(())
}

fn message(number: usize) -> String {
    format!(
        "MSH|^~\\&|EPIC|MAIN|LIG|LSQ|2026112009300{number}||ADT^A04|B{number}|P|2.5.1\rEVN|A04\r\
         PID|1||ZQ810{number}^^^CLINIC^MR||Fenwick^Odalys||19840219|F\rPV1|1|O\r"
    )
}

/// Saves a mapping with one more row, and gives the page that asks whether to start.
async fn save(ana: &mut Visitor, row: Value) -> anyhow::Result<String> {
    let document = json!({
        "format": 1, "name": "Registrations", "version": "1",
        "lead": [
            { "target": "LastName", "path": "PID-5.1" },
            { "target": "mx_MRN", "path": "PID-3.1" },
            row,
        ],
    });
    let (page, document) = ("/flows/registrations/mapping", document.to_string());
    let start = ana.submit(page, page, &[("document", &document)]).await?;
    Ok(start.to)
}

const ACTIVATE: &str = "/flows/registrations/activate";

#[tokio::test(flavor = "multi_thread")]
async fn fields_that_the_account_lacks_are_made_at_the_start() -> anyhow::Result<()> {
    let (_office, mut ana) = office(None).await?;
    let row = json!({ "target": "mx_Favourite_Ward", "path": "PV1-3.1" });
    let start = save(&mut ana, row).await?;
    let said = says(&mut ana, &start, "1 of the fields that it writes").await?;
    ensure!(!said.contains("Checks passed"), "{said}");

    // Nothing starts unseen.
    let confirmed = ("confirm_not_unique", "1");
    let page = ana.submit(&start, ACTIVATE, &[confirmed]).await?;
    let said = text_of(&page.text);
    ensure!(
        said.contains("does not have what the flow writes: mx_Favourite_Ward"),
        "{said}"
    );
    ensure!(
        page.to.starts_with("/flows/registrations/start"),
        "{}",
        page.to
    );

    // Confirmed, it does, and the flow's page has the button.
    let fields = [confirmed, ("confirm_lacking", "1")];
    ana.submit(&start, ACTIVATE, &fields).await?;
    says(&mut ana, "/flows/registrations", "Make 1 field").await?;

    // Ticked, they are made first.
    let fields = [confirmed, ("make_fields", "1")];
    let page = ana.submit(&start, ACTIVATE, &fields).await?;
    let said = text_of(&page.text);
    ensure!(
        said.contains("being transferred") && !said.contains("lacks"),
        "{said}"
    );
    says(&mut ana, &start, "Checks passed").await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn deliveries_that_died_alike_are_tried_again_together() -> anyhow::Result<()> {
    let (office, mut ana) = office(None).await?;
    let confirmed = ("confirm_not_unique", "1");
    let row = json!({ "target": "mx_City", "label": "City", "path": "PID-11[.7='H'].3", "required": true });
    let start = save(&mut ana, row).await?;
    ana.submit(&start, ACTIVATE, &[confirmed]).await?;
    let mut ehr = Client::connect(office.host.channels[0].1).await?;
    for number in 1..=3 {
        ehr.exchange(message(number).as_bytes()).await?;
    }
    let dead = "/messages?state=dead&flow=registrations";
    let started = Instant::now();
    let page = loop {
        let page = ana.get(dead).await?.text;
        let said = text_of(&page);
        // They are counted after the list is read: the list may be of the moment before.
        if said.contains("Try all 3 again") && !said.contains("No message is like that") {
            break page;
        }
        ensure!(
            started.elapsed() < Duration::from_secs(60),
            "{}",
            text_of(&page)
        );
        sleep(Duration::from_millis(20)).await;
    };

    // What is missing is named where the message is listed, and its values are shown all the same.
    ensure!(
        text_of(&page)
            .replace("&#39;", "'")
            .contains("(PID-11[.7='H'].3)"),
        "{}",
        text_of(&page)
    );
    let message = page.split("/messages/0").nth(1).context("a message")?;
    let message = format!("0{}", message.split('"').next().unwrap_or_default());
    let values = format!("/deliveries/{message}.0");
    let reason = [("reason", "Ticket 4711: no city")];
    let seen = ana.post(&values, &values, &reason).await?;
    let said = text_of(&seen.text);
    ensure!(
        said.contains("Fenwick") && said.contains("nothing, and it is required"),
        "{said}"
    );
    says(
        &mut ana,
        "/flows/registrations",
        "3 failed today, 3 dead now",
    )
    .await?;

    // Nothing goes without the tick; with it all go, and that is recorded.
    let page = ana.submit(dead, "/messages/release", &[]).await?;
    ensure!(text_of(&page.text).contains("nothing was tried again"));
    let row = json!({ "target": "mx_City", "path": "PID-11.3" });
    let start = save(&mut ana, row).await?;
    ana.submit(&start, ACTIVATE, &[confirmed]).await?;
    let page = ana
        .submit(dead, "/messages/release", &[("confirm", "1")])
        .await?;
    let said = text_of(&page.text);
    ensure!(said.contains("3 deliveries are queued again"), "{said}");
    let started = Instant::now();
    while office.simulator.leads().len() < 3 {
        ensure!(started.elapsed() < Duration::from_secs(60), "no leads");
        sleep(Duration::from_millis(20)).await;
    }
    says(&mut ana, "/audit", "3 dead of registrations").await?;
    says(&mut ana, dead, "No message is like that").await?;

    // The same by the interface, for whoever operates.
    let call = async |rights: &str, state: &str| -> anyhow::Result<(u16, Value)> {
        let token = office.token(rights).await?;
        let url = format!("{}/api/v1/deliveries/release", office.address());
        let body = json!({ "state": state }).to_string();
        let request = ligature_tests::http().post(url).bearer_auth(token);
        let answer = request.body(body).send().await?;
        let status = answer.status().as_u16();
        Ok((status, serde_json::from_slice(&answer.bytes().await?)?))
    };
    ensure!(call("view", "dead").await?.0 == 403);
    ensure!(call("operate", "delivered").await?.0 == 400);
    let (status, made) = call("operate", "dead").await?;
    ensure!(
        status == 200 && made == json!({ "released": 0, "more": false }),
        "{made}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn our_own_probe_is_no_first_message() -> anyhow::Result<()> {
    let (office, mut ana) = office(None).await?;
    let channel = "/channels/ehr";
    let examined = ana.post(channel, "/channels/ehr/doctor", &[]).await?;
    ensure!(examined.status < 400, "{}", text_of(&examined.text));
    // It came, and counts for nothing.
    says(&mut ana, "/messages", "NMQ^N01").await?;
    says(&mut ana, "/setup", "No message came yet").await?;
    let mut ehr = Client::connect(office.host.channels[0].1).await?;
    ehr.exchange(message(1).as_bytes()).await?;
    says(&mut ana, "/setup", "ADT^A04 came over ehr").await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_form_keeps_its_ticks() -> anyhow::Result<()> {
    let simulator = lead_squared(Settings::default()).await?;
    let console = Console::at(([127, 0, 0, 1], 0).into());
    let office = Office::bare(None, simulator, console).await?;
    let mut ana = Visitor::new(office.host.http);
    let link = ligature::serve::first_start(&office.host).await?;
    let link = link.context("a link")?;
    let path = link.split(&office.host.http.to_string()).nth(1);
    let path = path.context("a path")?;
    let said = text_of(&ana.get(path).await?.text);
    ensure!(said.contains("nobody sees a value"), "{said}");
    let fields = [
        ("name", "Ana Ortiz"),
        ("login", "ana@example.org"),
        ("password", "three blue herons"),
        ("again", "three blue heron"),
        ("sees", "1"),
    ];
    let page = ana.post(path, path, &fields).await?;
    ensure!(
        page.status == 422 && page.text.contains("name=\"sees\" value=\"1\" checked"),
        "{}",
        page.text
    );
    ensure!(
        page.text
            .contains("The same password again: is not the same")
    );
    Ok(())
}
