//! What an administrator does with a browser, from sign-in to the first patient, found by role and label.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, ensure};
use ligature_tests::browser::Browser;
use ligature_tests::mllp::Client;
use ligature_tests::office::Office;
use tokio::time::{Instant, sleep};

use super::office;

/// The version of axe-core that findings are asked of.
const AXE: &str = "axe-core@4.10.3";

const MESSAGE: &str = "MSH|^~\\&|EPIC|MAIN|LIG|LSQ|20261120093000||ADT^A04|J1|P|2.5.1\rEVN|A04\r\
    PID|1||ZQ7001^^^CLINIC^MR||Fenwick^Odalys||19840219|F\rPV1|1|O\r";

/// Where pictures of the pages go, for people to look at: `TARGET/release/console-pictures`.
fn pictures() -> anyhow::Result<PathBuf> {
    let test = std::env::current_exe()?;
    let release = test.ancestors().nth(2).context("TARGET/release/deps")?;
    Ok(release.join("console-pictures"))
}

/// A browser with an administrator who is signed in, and the text of axe-core.
pub(super) async fn signed_in(office: &Office) -> anyhow::Result<(Browser, String)> {
    let axe = ligature_tests::node_with(&[AXE])?.join("axe-core/axe.min.js");
    let axe = std::fs::read_to_string(axe)?;
    let browser = Browser::start(office.host.http).await?;
    browser.open("/flows").await?;
    browser.at("/sign-in").await?;
    browser.fill("Mail address", "ana@example.org").await?;
    browser.fill("Password", "three blue herons").await?;
    browser.click("button", "Sign in").await?;
    browser.at("/flows").await?;
    Ok((browser, axe))
}

/// The page has no fault that axe-core knows, is no wider than its window, and the browser complains of nothing; pictures
/// are kept.
pub(super) async fn looked_at(browser: &Browser, axe: &str, name: &str) -> anyhow::Result<()> {
    let found = browser.examine(&pictures()?, name, axe).await?;
    ensure!(found.is_empty(), "{name}: {found:#?}");
    let complaints = browser.complaints().await?;
    ensure!(complaints.is_empty(), "{name}: {complaints:#?}");
    Ok(())
}

/// Of the mapping screen, while rows write fields that the account lacks.
const UNKNOWN: &str = "write what is not a field of the account";

#[tokio::test(flavor = "multi_thread")]
async fn from_create_flow_to_the_first_patient() -> anyhow::Result<()> {
    let (office, _) = office(None).await?;
    let (browser, axe) = signed_in(&office).await?;
    looked_at(&browser, &axe, "first-flows").await?;

    // The connector's own first screen, then its steps.
    browser.click("link", "Create flow").await?;
    looked_at(&browser, &axe, "first-flow-new").await?;
    browser.click("button", "Save & Configure").await?;
    browser.at("/flows/adt-a04/basic").await?;
    looked_at(&browser, &axe, "first-flow-basic").await?;
    browser.fill("Name", "Clinic registrations").await?;
    browser.click("button", "Save & Next").await?;
    browser.at("/flows/adt-a04/additional").await?;
    looked_at(&browser, &axe, "first-flow-additional").await?;
    browser.fill("Primary search field", "FirstName").await?;
    browser.click("button", "Save & Next").await?;
    browser
        .says("a patient identifier must be the primary or the secondary")
        .await?;
    browser.fill("Primary search field", "mx_MRN").await?;
    browser
        .click(
            "checkbox",
            "I mean a field that LeadSquared does not show as unique",
        )
        .await?;
    browser.click("button", "Save & Next").await?;
    browser.at("/flows/adt-a04/event").await?;
    browser
        .click("button", "Take the starter's sample and mapping")
        .await?;
    browser.says("The sample that is kept").await?;
    looked_at(&browser, &axe, "first-flow-event").await?;

    // The mapping, by keyboard: a wrong path is told at its row, a right one shows its value.
    browser.click("link", "Mapping").await?;
    browser.at("/flows/adt-a04/mapping").await?;
    browser.says(UNKNOWN).await?;
    looked_at(&browser, &axe, "first-mapping").await?;
    browser.click("button", "Add row").await?;
    browser.keys("mx_Ward\t").await?;
    browser.keys("PV1-").await?;
    browser.says("to mend").await?;
    looked_at(&browser, &axe, "first-mapping-fault").await?;
    browser.keys("2").await?;
    browser.says(UNKNOWN).await?;
    let shown = browser.script("const all = [...document.querySelectorAll('.line')]; const line = all.find((line) => line.querySelector('.target')?.value === 'mx_Ward'); return line.querySelector('output').textContent").await?;
    ensure!(shown == "O", "the result of the row is {shown}");
    // What is not saved is there after a reload, and gone after an undo.
    browser.open("/flows/adt-a04/mapping").await?;
    browser.says("Your unsaved changes are here again").await?;
    browser.click("button", "Discard them").await?;
    browser.says(UNKNOWN).await?;
    // The page says which fields of the starter the account lacks; they are made before anything is started.
    browser
        .says("Visit status · not a field of the account")
        .await?;
    browser.click("button", "Save & Close").await?;
    browser.at("/flows/adt-a04/start").await?;
    browser
        .click("button", "Make 4 fields in LeadSquared")
        .await?;
    browser.says("4 fields are made in LeadSquared").await?;
    looked_at(&browser, &axe, "first-flow-start").await?;
    browser
        .click(
            "checkbox",
            "The search field is meant, even if LeadSquared does not show it as unique",
        )
        .await?;
    browser.click("button", "Start transferring").await?;
    browser.at("/flows/adt-a04").await?;
    browser.says("messages are being transferred").await?;
    looked_at(&browser, &axe, "first-flow").await?;

    // The first patient.
    let mut ehr = Client::connect(office.host.channels[0].1).await?;
    let answer = ehr.exchange(MESSAGE.as_bytes()).await?;
    ensure!(answer.windows(7).any(|part| part == b"MSA|AA|"));
    let started = Instant::now();
    while !office
        .simulator
        .leads()
        .iter()
        .any(|lead| lead.values.get("mx_MRN").is_some_and(|mrn| mrn == "ZQ7001"))
    {
        ensure!(
            started.elapsed() < Duration::from_secs(60),
            "no lead was made"
        );
        sleep(Duration::from_millis(20)).await;
    }
    browser.click("link", "Messages").await?;
    browser.says("Clinic registrations").await?;
    looked_at(&browser, &axe, "first-messages").await?;
    let id = browser
        .script("return document.querySelector('tbody a').getAttribute('href')")
        .await?;
    browser.open(id.as_str().context("a message")?).await?;
    let masked = browser.text().await?;
    ensure!(
        !masked.contains("Fenwick") && masked.contains("Family Name"),
        "{masked}"
    );
    looked_at(&browser, &axe, "first-message").await?;
    browser
        .fill("Why do you need to see the values?", "Ticket 4711")
        .await?;
    browser.click("button", "Show values").await?;
    browser.says("Fenwick").await?;
    looked_at(&browser, &axe, "first-message-revealed").await?;
    let records = office.host.pipeline.store.catalog().audit(None, 50).await?;
    ensure!(records.iter().any(|row| row.record.action == "reveal"
        && row.actor == "ana@example.org"
        && row.record.document.ends_with("Ticket 4711")));

    browser.click("button", "Sign out").await?;
    browser.at("/sign-in").await?;
    browser.close().await?;
    office.host.stop().await;
    Ok(())
}
