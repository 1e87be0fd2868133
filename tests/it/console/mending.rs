//! What operators do when something is wrong, with a browser: a code without an entry is mended, a message found, looked
//! at, tried with another release and sent again; and somebody who may only look is refused the rest.

use std::time::Duration;

use anyhow::{Context, ensure};
use ligature_tests::browser::Browser;
use ligature_tests::mllp::Client;
use ligature_tests::office::Office;
use ligature_tests::visitor::Visitor;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::journeys::{looked_at, signed_in};
use super::office;

pub(super) fn message(control_id: &str, mrn: &str, sex: &str) -> String {
    format!(
        "MSH|^~\\&|EPIC|MAIN|LIG|LSQ|20261120093000||ADT^A04|{control_id}|P|2.5.1\rEVN|A04\r\
         PID|1||{mrn}^^^CLINIC^MR||Fenwick^odalys||19840219|{sex}\rPV1|1|O\r"
    )
}

/// Makes the code table `sexes` with one entry.
pub(super) async fn table(ana: &mut Visitor) -> anyhow::Result<()> {
    ana.submit("/code-tables", "/code-tables", &[("name", "sexes")])
        .await?;
    let table = "/code-tables/clinic/sexes";
    let entry = [("code", "F"), ("value", "Female")];
    ana.submit(table, &format!("{table}/entry"), &entry).await?;
    Ok(())
}

/// Saves a mapping of the flow `registrations` whose first names go through `steps`, and puts it in force.
pub(super) async fn publish(ana: &mut Visitor, steps: Value) -> anyhow::Result<()> {
    let document = json!({
        "format": 1, "name": "Registrations", "version": "1",
        "lead": [
            { "target": "FirstName", "label": "First name", "path": "PID-5.2", "steps": steps },
            { "target": "mx_Gender", "label": "Gender", "path": "PID-8",
              "steps": [{ "table": "sexes" }], "on-error": "wait" },
            { "target": "mx_MRN", "label": "MRN", "path": "PID-3.1" },
        ],
    });
    let (page, document) = ("/flows/registrations/mapping", document.to_string());
    let start = ana.submit(page, page, &[("document", &document)]).await?;
    let confirmed = [("confirm_not_unique", "1")];
    ana.submit(&start.to, "/flows/registrations/activate", &confirmed)
        .await?;
    Ok(())
}

pub(super) async fn until_a_lead(office: &Office, mrn: &str) -> anyhow::Result<()> {
    let started = Instant::now();
    while office.simulator.leads_with("mx_MRN", mrn).is_empty() {
        ensure!(
            started.elapsed() < Duration::from_secs(60),
            "no lead {mrn} was made"
        );
        sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

/// Adds somebody who may only look; gives the path of the link by which they choose a password.
pub(super) async fn viewer(ana: &mut Visitor) -> anyhow::Result<String> {
    let fields = [
        ("name", "Ben Okafor"),
        ("login", "ben@example.org"),
        ("role", "Administrator"),
        ("right", "view"),
    ];
    let page = ana.post("/access/new", "/access/new", &fields).await?;
    let rest = page.text.split("value=\"/welcome/").nth(1);
    let link = rest.and_then(|rest| rest.split('"').next());
    Ok(format!("/welcome/{}", link.context("a link")?))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unmapped_code_is_mended_and_a_message_is_sent_again() -> anyhow::Result<()> {
    let (office, mut ana) = office(None).await?;
    table(&mut ana).await?;
    publish(&mut ana, json!(["title"])).await?;
    let mut ehr = Client::connect(office.host.channels[0].1).await?;
    for (control_id, mrn, sex) in [("W1", "ZQ8001", "X"), ("W2", "ZQ8002", "F")] {
        ehr.exchange(message(control_id, mrn, sex).as_bytes())
            .await?;
    }
    until_a_lead(&office, "ZQ8002").await?;

    // The code waits in the table's inbox; its entry lets the delivery go.
    let (browser, axe) = signed_in(&office).await?;
    browser.click("link", "Code tables").await?;
    browser.click("link", "sexes").await?;
    browser.says("Codes without an entry").await?;
    looked_at(&browser, &axe, "code-table-inbox").await?;
    insta::assert_snapshot!("inbox", browser.outline("main", "").await?);
    ensure!(office.simulator.leads_with("mx_MRN", "ZQ8001").is_empty());
    browser.fill("Entry for X", "Other").await?;
    browser.click("button", "Add and release").await?;
    browser.says("Deliveries that waited for it go on").await?;
    until_a_lead(&office, "ZQ8001").await?;
    let lead = office.simulator.leads_with("mx_MRN", "ZQ8001");
    ensure!(
        lead[0].values["mx_Gender"] == "Other",
        "{:?}",
        lead[0].values
    );

    // Found by the patient's number, which stands in no address.
    browser.click("link", "Messages").await?;
    browser.fill("Search", "zq8001").await?;
    browser.click("button", "Search").await?;
    browser.says("1 found").await?;
    let address = browser.script("return location.href").await?;
    let address = address.as_str().unwrap_or_default();
    ensure!(address.ends_with("/messages"), "{address}");
    looked_at(&browser, &axe, "messages-found").await?;
    let id = "return document.querySelector('tbody a').getAttribute('href')";
    let id = browser.script(id).await?;
    let id = id.as_str().context("a message")?.to_owned();

    // Its values with a reason; what another release would make of it; and sent again with that.
    publish(&mut ana, json!(["upper"])).await?;
    browser.open(&id).await?;
    browser
        .click("link", "Values and replay through registrations")
        .await?;
    browser.says("title").await?;
    ensure!(!browser.text().await?.contains("Odalys"));
    looked_at(&browser, &axe, "delivery").await?;
    insta::assert_snapshot!("delivery", browser.outline("main", "").await?);
    browser
        .fill("Why do you need to see the values?", "Ticket 4711")
        .await?;
    browser.click("button", "Show values").await?;
    browser.says("Odalys").await?;
    looked_at(&browser, &axe, "delivery-revealed").await?;
    browser.click("link", "As now").await?;
    browser.says("What would be different now").await?;
    looked_at(&browser, &axe, "delivery-now").await?;
    browser
        .fill("Why is it sent again?", "The mapping was wrong")
        .await?;
    browser.click("button", "Send again with release 3").await?;
    browser.says("Made from an earlier message").await?;
    browser.says("Delivered").await?;
    looked_at(&browser, &axe, "message-again").await?;
    let lead = office.simulator.leads_with("mx_MRN", "ZQ8001");
    ensure!(
        lead[0].values["FirstName"] == "ODALYS",
        "{:?}",
        lead[0].values
    );
    browser
        .open("/flows/registrations/mapping/versions")
        .await?;
    browser.says("steps upper instead of title").await?;
    looked_at(&browser, &axe, "versions-of-two").await?;
    browser.close().await?;

    // Somebody who may look sees the way, and is refused the rest.
    let browser = Browser::start(office.host.http).await?;
    browser.open(&viewer(&mut ana).await?).await?;
    browser.fill("Password", "seven green kites").await?;
    browser
        .fill("The same password again", "seven green kites")
        .await?;
    browser.click("button", "Sign in").await?;
    browser.at("/overview").await?;
    browser.open(&id).await?;
    browser.says("Whoever has the right").await?;
    let seen = browser.text().await?;
    for hidden in ["Fenwick", "ZQ8001", "Show values", "Edit and send again"] {
        ensure!(!seen.contains(hidden), "{hidden:?} is in {seen}");
    }
    looked_at(&browser, &axe, "message-viewer").await?;
    insta::assert_snapshot!("viewer", browser.outline("main", "").await?);
    browser.open("/flows/registrations/mapping").await?;
    browser.says("you need the right “Map”").await?;
    browser.says("PID-5.2").await?;
    looked_at(&browser, &axe, "mapping-viewer").await?;
    browser.open("/flows/registrations/basic").await?;
    browser.says("This is not yours to do").await?;
    looked_at(&browser, &axe, "refused").await?;
    browser.close().await?;
    office.host.stop().await;
    Ok(())
}
