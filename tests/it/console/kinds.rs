//! Flows of each kind with a browser, from *Create flow* to *Start transferring*; and a vendor's component, from its file
//! to a roll back.

use anyhow::ensure;
use ligature::simulator::ehr;
use ligature_tests::bridge;
use ligature_tests::guests;

use super::journeys::{looked_at, signed_in};
use super::office;

const IN: &str = "EHR to LeadSquared A message from the EHR becomes a lead or an activity.";
const OUT: &str = "LeadSquared to EHR A change in LeadSquared becomes a message to the EHR.";
const LEAD: &str = "Lead Registrations, updates, admissions.";
const ACTIVITY: &str = "Activity Appointments and other things that happen.";
const NOT_UNIQUE: &str =
    "The search field is meant, even if LeadSquared does not show it as unique";

/// What is chosen on the connector's own first screen, and what comes of it.
struct Kind {
    name: &'static str,
    flow_type: &'static str,
    /// Cards that are pressed.
    entity: Option<&'static str>,
    /// Lists, with what is chosen of them.
    choices: &'static [(&'static str, &'static str)],
    id: &'static str,
    event: &'static str,
}

const KINDS: [Kind; 4] = [
    Kind {
        name: "in-lead",
        flow_type: IN,
        entity: Some(LEAD),
        choices: &[("Sync behaviour: lead", "Create only new")],
        id: "adt-a04",
        event: "A04 - Register a patient",
    },
    Kind {
        name: "in-activity",
        flow_type: IN,
        entity: Some(ACTIVITY),
        choices: &[
            ("Sync behaviour: lead", "Update only existing"),
            ("Sync behaviour: activity", "Create new and update existing"),
        ],
        id: "siu-s12",
        event: "S12",
    },
    Kind {
        name: "out-lead",
        flow_type: OUT,
        entity: None,
        choices: &[("Webhook event", "Lead is updated")],
        id: "adt-a08-to-ehr",
        event: "A08",
    },
    Kind {
        name: "out-activity",
        flow_type: OUT,
        entity: None,
        choices: &[("Webhook event", "Activity is posted on a lead")],
        id: "siu-s12-to-ehr",
        event: "S12",
    },
];

#[tokio::test(flavor = "multi_thread")]
async fn a_flow_of_each_kind_is_made_and_started() -> anyhow::Result<()> {
    let (office, _) = office(None).await?;
    let clinic = bridge::ehr(ehr::Settings::default()).await?;
    let (browser, axe) = signed_in(&office).await?;

    // A flow to the EHR needs a channel to it, and says so.
    browser.click("link", "Create flow").await?;
    browser.click("radio", OUT).await?;
    browser.click("button", "Save & Configure").await?;
    browser
        .says("no channel yet that sends to the EHR: make one first")
        .await?;
    browser.click("link", "Channels").await?;
    browser.click("link", "New channel to the EHR").await?;
    browser.fill("Name", "To the EHR").await?;
    browser
        .fill("Address of the EHR", &clinic.address().to_string())
        .await?;
    browser.click("button", "Make the channel").await?;
    browser.at("/channels/to-the-ehr").await?;

    for kind in &KINDS {
        let look = async |page: &str| {
            let name = format!("kind-{}-{page}", kind.name);
            looked_at(&browser, &axe, &name).await
        };
        browser.click("link", "Flows").await?;
        browser.click("link", "Create flow").await?;
        browser.click("radio", kind.flow_type).await?;
        if let Some(entity) = kind.entity {
            browser.click("radio", entity).await?;
        }
        for (list, choice) in kind.choices {
            browser.select(list, choice).await?;
        }
        look("new").await?;
        let chosen = browser.outline("main", "").await?;
        insta::assert_snapshot!(kind.name, chosen);
        browser.click("button", "Save & Configure").await?;
        browser.at(&format!("/flows/{}/basic", kind.id)).await?;
        look("basic").await?;
        browser.fill("Name", kind.name).await?;
        browser.click("button", "Save & Next").await?;
        browser
            .at(&format!("/flows/{}/additional", kind.id))
            .await?;
        look("additional").await?;
        match kind.flow_type {
            IN => {
                let meant = "I mean a field that LeadSquared does not show as unique";
                browser.click("checkbox", meant).await?;
            }
            _ => browser.fill("Field", "mx_MRN").await?,
        }
        browser.click("button", "Save & Next").await?;
        browser.at(&format!("/flows/{}/event", kind.id)).await?;
        browser
            .click("button", "Take the starter's sample and mapping")
            .await?;
        browser.says("The sample that is kept").await?;
        look("event").await?;
        browser.click("link", "Mapping").await?;
        let ready: &[&str] = match kind.flow_type {
            // The starter writes fields that the account lacks; they are made before the start.
            IN => &[
                "not a field of the account: LeadSquared refuses",
                "Every row is in order",
            ],
            _ => &["shown when one has come"],
        };
        browser.says_one_of(ready).await?;
        look("mapping").await?;
        browser.click("button", "Save & Close").await?;
        browser.at(&format!("/flows/{}/start", kind.id)).await?;
        if browser
            .text()
            .await?
            .contains("Fields that LeadSquared lacks")
        {
            let make = "return document.querySelector('#lacking-title').parentElement.querySelector('button').textContent";
            let make = browser.script(make).await?;
            let make = make.as_str().unwrap_or_default();
            browser.click("button", make).await?;
            browser.says("made in LeadSquared").await?;
        }
        look("start").await?;
        if kind.flow_type == IN {
            browser.click("checkbox", NOT_UNIQUE).await?;
        }
        browser.click("button", "Start transferring").await?;
        browser.at(&format!("/flows/{}", kind.id)).await?;
        // What people change comes once LeadSquared has a webhook for it.
        let started = [
            "messages are being transferred",
            "LeadSquared tells it what changes",
        ];
        browser.says_one_of(&started).await?;
        browser.says(kind.event).await?;
        look("flow").await?;
    }
    browser.click("link", "Flows").await?;
    let list = browser.text().await?;
    for kind in &KINDS {
        ensure!(list.contains(kind.name), "{} is not in {list}", kind.name);
    }
    let active = "return document.querySelectorAll('tbody .state.active').length";
    ensure!(browser.script(active).await? == KINDS.len(), "{list}");
    browser.close().await?;
    office.host.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_is_uploaded_approved_started_and_rolled_back() -> anyhow::Result<()> {
    let (office, mut ana) = office(None).await?;
    ana.submit("/flows/new", "/flows/new", &[("set", "appointments")])
        .await?;
    let confirmed = [("confirm_not_unique", "1")];
    ana.submit(
        "/flows/siu-s12/start",
        "/flows/siu-s12/activate",
        &confirmed,
    )
    .await?;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("appointments.wasm");
    std::fs::write(&file, guests::example("rust-appointments"))?;
    let wrong = folder.path().join("wrong.wasm");
    std::fs::write(&wrong, "no component")?;

    // What is no component is refused with its reason; a good one says what it wants.
    let (browser, axe) = signed_in(&office).await?;
    browser.open("/flows/siu-s12").await?;
    browser.click("link", "Component").await?;
    looked_at(&browser, &axe, "vendor-component-generated").await?;
    browser.choose("component", &wrong).await?;
    browser.click("button", "Upload and check").await?;
    browser
        .says("is not WebAssembly: upload the .wasm file")
        .await?;
    looked_at(&browser, &axe, "vendor-component-refused").await?;
    browser.choose("component", &file).await?;
    browser.click("button", "Upload and check").await?;
    browser.says("It wants to").await?;
    looked_at(&browser, &axe, "vendor-component-approve").await?;
    insta::assert_snapshot!("approve", browser.outline("main", "").await?);

    // Approved but for one thing, looked at, started.
    browser
        .click("checkbox", "write first-name of the lead")
        .await?;
    browser
        .click("button", "Approve and make a release")
        .await?;
    browser.at("/flows/siu-s12/start").await?;
    browser.says("It is not in force yet").await?;
    looked_at(&browser, &axe, "vendor-component-start").await?;
    browser.click("button", "Start transferring").await?;
    browser.at("/flows/siu-s12").await?;
    browser.says("messages are being transferred").await?;
    browser.click("link", "Component").await?;
    browser.says("It asks for more than it is granted").await?;
    looked_at(&browser, &axe, "vendor-component").await?;
    browser.fill("Assigning authority", "LAKESIDE").await?;
    browser.click("button", "Save settings").await?;
    browser.says("The component's settings are saved").await?;

    // Back to what was, with one press, and forward again.
    browser.click("button", "Roll back to release 1").await?;
    browser.at("/flows/siu-s12").await?;
    browser.says("messages are being transferred").await?;
    looked_at(&browser, &axe, "vendor-flow-rolled-back").await?;
    browser.click("button", "Roll back to release 3").await?;
    browser.says("messages are being transferred").await?;
    browser.find("button", "Roll back to release 1").await?;

    // Held and let go, each with one press.
    browser.fill("Why?", "The vendor looks at it").await?;
    browser.click("button", "Pause the flow").await?;
    browser.says("The vendor looks at it").await?;
    looked_at(&browser, &axe, "vendor-flow-paused").await?;
    browser.click("button", "Go on").await?;
    browser.says("messages are being transferred").await?;
    browser.close().await?;
    office.host.stop().await;
    Ok(())
}
