//! What a row of a mapping does without a value, set with a browser; rows that are run beside one that is at fault; and a
//! field of an activity that is made on the screen.

use std::time::Duration;

use anyhow::ensure;
use ligature_tests::browser::{ALT, Browser, TAB};
use tokio::time::{Instant, sleep};

use super::journeys::{looked_at, signed_in};
use super::office;
use super::working::shows;

/// Waits until a script gives true.
async fn until(browser: &Browser, script: &str) -> anyhow::Result<()> {
    let started = Instant::now();
    while browser.script(script).await? != true {
        ensure!(started.elapsed() < Duration::from_secs(40), "not {script}");
        sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_row_does_without_a_value_is_set_by_keyboard() -> anyhow::Result<()> {
    let (office, mut ana) = office(None).await?;
    ana.submit("/flows/new", "/flows/new", &[("set", "registration")])
        .await?;
    let (browser, axe) = signed_in(&office).await?;
    browser.open("/flows/adt-a04/mapping").await?;
    shows(&browser, "FirstName", "Lena").await?;
    // What the starter says of a city that is deleted is seen at its row.
    browser.find("button", "Options (1) of mx_City").await?;

    browser.chord(ALT, "n").await?;
    browser.keys(&format!("mx_Language{TAB}PID-15.1")).await?;
    shows(&browser, "mx_Language", "nothing").await?;
    browser.chord(ALT, "o").await?;
    browser.keys("w").await?;
    until(
        &browser,
        "return document.activeElement.getAttribute('aria-label') === 'Without a value, it writes'",
    )
    .await?;
    browser.keys("English").await?;
    shows(&browser, "mx_Language", "English").await?;
    looked_at(&browser, &axe, "mapping-options").await?;
    browser
        .select(
            "With a value that cannot be used",
            "waits until somebody has mended it",
        )
        .await?;
    browser.find("button", "Options (2) of mx_Language").await?;

    // One row that is at fault says so, and the others keep their results.
    browser.chord(ALT, "n").await?;
    browser
        .keys(&format!("mx_Primary_Provider{TAB}PID-"))
        .await?;
    browser.says("1 to mend").await?;
    until(
        &browser,
        "return [...document.querySelectorAll('.line.bad')].map((line) => line.dataset.target).join() === 'mx_Primary_Provider'",
    )
    .await?;
    shows(&browser, "FirstName", "Lena").await?;
    shows(&browser, "mx_Language", "English").await?;
    browser.keys("5.2").await?;
    shows(&browser, "mx_Primary_Provider", "LENA").await?;

    browser.chord(ALT, "s").await?;
    browser.at("/flows/adt-a04/start").await?;
    let token = office.token("view").await?;
    let url = format!("{}/flows/adt-a04/mapping", office.address());
    let read = ligature_tests::http().get(url).bearer_auth(token);
    let read = read.send().await?.text().await?;
    ensure!(
        read.contains("without a value: writes English; if it cannot be used: waits"),
        "{read}"
    );
    browser.close().await?;
    office.host.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_field_of_an_activity_is_made_on_the_screen() -> anyhow::Result<()> {
    let (office, mut ana) = office(None).await?;
    let kind = [("entity", "activity"), ("code", "205")];
    ana.submit("/flows/new", "/flows/new", &kind).await?;
    let event = "/flows/siu-s12/event";
    ana.submit(event, event, &[("event", "SIU^S12"), ("starter", "1")])
        .await?;
    let (browser, axe) = signed_in(&office).await?;
    browser.open("/flows/siu-s12/mapping").await?;
    browser
        .says_one_of(&["Every row is in order", "not a field of the account"])
        .await?;
    // How a step that has several members is read.
    browser.find("button", "Remove step join \", \"").await?;
    browser
        .click("button", "Add custom field of the activity")
        .await?;
    looked_at(&browser, &axe, "mapping-custom-activity").await?;
    browser.fill("Display name", "Ward of the visit").await?;
    browser.click("button", "Create in LeadSquared").await?;
    until(&browser, "return document.activeElement.matches('.from')").await?;
    browser.keys("PV1-3.1").await?;
    let made = "return document.activeElement.closest('.line').querySelector('.target').value";
    let made = browser.script(made).await?;
    let made = made.as_str().unwrap_or_default();
    ensure!(made.starts_with("mx_Custom_"), "{made}");
    let token = office.token("view").await?;
    let url = format!(
        "{}/api/v1/accounts/clinic/activity-types/205/slots",
        office.address()
    );
    let slots = ligature_tests::http().get(url).bearer_auth(token);
    let slots = slots.send().await?.text().await?;
    ensure!(
        slots.contains("Ward of the visit") && slots.contains(made),
        "{slots}"
    );
    browser.close().await?;
    office.host.stop().await;
    Ok(())
}
