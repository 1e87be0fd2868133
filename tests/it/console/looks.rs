//! Every page in Chromium, in a console where much has happened: nothing that axe-core finds, and a picture of each in both
//! themes, wide and narrow. A page that is not in these lists fails the test.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, ensure};
use ligature::config::Console;
use ligature::simulator::lead_squared::Settings;
use ligature::web::console::PAGES;
use ligature_tests::browser::Browser;
use ligature_tests::guests;
use ligature_tests::mllp::Client;
use ligature_tests::office::{Office, lead_squared};
use ligature_tests::pki::Pki;
use ligature_tests::visitor::{Visitor, text_of};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::journeys::{looked_at, signed_in};
use super::mending::{message, publish, table, until_a_lead, viewer};
use super::office;

/// A page as [`PAGES`] has it, an address of it with names of [`Office`]'s things in braces, and what its pictures are called.
type Look = (&'static str, &'static str, &'static str);

/// Pages of somebody who is not signed in.
const OUTSIDE: &[Look] = &[
    ("/sign-in", "/sign-in", "sign-in"),
    ("/first-start/{secret}", "{first}", "first-start"),
    ("/welcome/{id}/{secret}", "{welcome}", "welcome"),
    ("/welcome/{id}/{secret}", "/welcome/x/y", "link-used"),
];

/// Pages of an administrator.
#[rustfmt::skip]
const INSIDE: &[Look] = &[
    ("/own", "/own", "own"),
    ("/access", "/access", "access"),
    ("/access/new", "/access/new", "person-new"),
    ("/access/people/{id}", "/access/people/{person}", "person"),
    ("/setup", "/setup", "setup"),
    ("/setup/account", "/setup/account", "account-new"),
    ("/accounts/{id}", "/accounts/clinic", "account"),
    ("/overview", "/overview", "overview"),
    ("/overview", "/overview?span=week", "overview-week"),
    ("/alerts", "/alerts", "alerts"),
    ("/alerts/settings", "/alerts/settings", "alert-settings"),
    ("/audit", "/audit", "audit"),
    ("/audit", "/audit?who=nobody", "audit-nothing"),
    ("/messages", "/messages", "messages"),
    ("/messages", "/messages?state=parked", "messages-parked"),
    ("/messages/{id}", "/messages/{message}", "message"),
    ("/deliveries/{id}", "/deliveries/{message}.0", "delivery-stopped"),
    ("/deliveries/{id}", "/deliveries/{message}.0?with=now", "delivery-stopped-now"),
    ("/flows", "/flows", "flows"),
    ("/flows/new", "/flows/new", "flow-new"),
    ("/flows/{id}", "/flows/registrations", "flow"),
    ("/flows/{id}", "/flows/siu-s12", "flow-canary"),
    ("/flows/{id}", "/flows/adt-a08-to-ehr", "flow-out"),
    ("/flows/{id}/component", "/flows/registrations/component", "component-generated"),
    ("/flows/{id}/component", "/flows/siu-s12/component", "component-canary"),
    ("/flows/{id}/component", "/flows/adt-a08-to-ehr/component", "component-none"),
    ("/inventory", "/inventory", "inventory"),
    ("/flows/{id}/duplicate", "/flows/registrations/duplicate", "flow-duplicate"),
    ("/flows/{id}/basic", "/flows/siu-s12/basic", "flow-basic"),
    ("/flows/{id}/additional", "/flows/siu-s12/additional", "flow-additional"),
    ("/flows/{id}/additional", "/flows/adt-a08-to-ehr/additional", "flow-additional-out"),
    ("/flows/{id}/event", "/flows/siu-s12/event", "flow-event"),
    ("/flows/{id}/event", "/flows/registrations/event", "flow-event-live"),
    ("/flows/{id}/mapping", "/flows/siu-s13/mapping", "mapping"),
    ("/flows/{id}/mapping", "/flows/adt-a08-to-ehr/mapping", "mapping-out"),
    ("/flows/{id}/start", "/flows/siu-s13/start", "flow-start"),
    ("/flows/{id}/start", "/flows/registrations/start", "flow-start-shadow"),
    ("/flows/{id}/mapping/versions", "/flows/registrations/mapping/versions", "mapping-versions"),
    ("/shared-mappings/{account}/{name}", "/shared-mappings/clinic/siu-s13", "shared-mapping"),
    ("/channels", "/channels", "channels"),
    ("/channels/new", "/channels/new", "channel-new"),
    ("/channels/new", "/channels/new?way=out", "channel-new-out"),
    ("/channels/{id}", "/channels/ehr", "channel"),
    ("/channels/{id}", "/channels/old-channel", "channel-tls"),
    ("/channels/{id}", "/channels/to-the-ehr", "channel-out"),
    ("/code-tables", "/code-tables", "code-tables"),
    ("/code-tables/{account}/{name}", "/code-tables/clinic/sexes", "code-table"),
];

/// What is no page to look at: it leads elsewhere, or is a file.
const NO_LOOKS: [&str; 5] = [
    "/",
    "/enter/{secret}",
    "/audit.csv",
    "/sign-in/openid",
    "/sign-in/openid/back",
];

/// Whether an address can be one of a page.
fn fits(address: &str, page: &str) -> bool {
    let address = address.split('?').next().unwrap_or_default();
    let (mut parts, mut names) = (address.split('/'), page.split('/'));
    loop {
        match (parts.next(), names.next()) {
            (None, None) => return true,
            (Some(part), Some(name)) if part == name || name.starts_with('{') => {}
            _ => return false,
        }
    }
}

#[test]
fn every_page_has_its_pictures() -> anyhow::Result<()> {
    let looks = || OUTSIDE.iter().chain(INSIDE);
    let pages = PAGES.iter().filter(|page| page.method == "GET");
    for page in pages.filter(|page| !NO_LOOKS.contains(&page.path)) {
        ensure!(
            looks().any(|(pattern, ..)| *pattern == page.path),
            "no picture is made of {}: give it a line in INSIDE",
            page.path
        );
    }
    for (pattern, address, name) in looks() {
        let is_whole = address.starts_with('{');
        ensure!(is_whole || fits(address, pattern), "{name}: {address}");
        ensure!(
            PAGES.iter().any(|page| page.path == *pattern),
            "{name}: there is no page {pattern}"
        );
        ensure!(
            looks().filter(|(_, _, other)| other == name).count() == 1,
            "two pictures are called {name}"
        );
    }
    Ok(())
}

/// What follows `mark` up to a quote, the first of several.
fn after(page: &str, mark: &str) -> anyhow::Result<String> {
    let rest = page
        .split(mark)
        .nth(1)
        .with_context(|| format!("no {mark}"))?;
    Ok(rest.split('"').next().unwrap_or_default().to_owned())
}

/// A flow with a vendor's component that some patients go through.
async fn with_component(office: &Office, ana: &mut Visitor) -> anyhow::Result<()> {
    let made = [("set", "appointments")];
    ana.submit("/flows/new", "/flows/new", &made).await?;
    let (flow, start) = ("/flows/siu-s12", "/flows/siu-s12/start");
    let confirmed = [("confirm_not_unique", "1")];
    ana.submit(start, &format!("{flow}/activate"), &confirmed)
        .await?;
    let token = office.token("publish").await?;
    let url = format!(
        "{}/api/v1/components?account=clinic&accept_findings=true",
        office.address()
    );
    let request = ligature_tests::http().post(url).bearer_auth(&token);
    let answer = request.body(guests::example("rust-appointments")).send();
    let answer: Value = serde_json::from_slice(&answer.await?.bytes().await?)?;
    let digest = answer["digest"].as_str().context("a component")?;
    let fields = [
        ("component", digest),
        ("reads", "PID-3"),
        ("lead_targets", "mrn"),
        ("activity_targets", "status"),
    ];
    let start = ana
        .submit(
            &format!("{flow}/basic"),
            &format!("{flow}/approve"),
            &fields,
        )
        .await?;
    let release = start.to.split("release=").nth(1).context("a release")?;
    let some = [("release", release), ("percent", "5")];
    ana.submit(flow, &format!("{flow}/canary"), &some).await?;
    Ok(())
}

/// A release of the flow `registrations` that was tried on its messages.
async fn with_shadow(ana: &mut Visitor) -> anyhow::Result<()> {
    let page = "/flows/registrations/mapping";
    let document = json!({
        "format": 1, "name": "Registrations", "version": "1",
        "lead": [
            { "target": "FirstName", "label": "First name", "path": "PID-5.1", "steps": ["title"] },
            { "target": "mx_MRN", "label": "MRN", "path": "PID-3.1" },
        ],
    });
    let document = document.to_string();
    let start = ana.submit(page, page, &[("document", &document)]).await?;
    ana.submit(&start.to, "/flows/registrations/shadow", &[])
        .await?;
    let started = Instant::now();
    loop {
        let page = text_of(&ana.get(&start.to).await?.text);
        if page.contains("done 2 of 2 deliveries") {
            return Ok(());
        }
        ensure!(started.elapsed() < Duration::from_secs(60), "{page}");
        sleep(Duration::from_millis(50)).await;
    }
}

/// A channel whose certificate is over, and the alert of it.
async fn with_alert(office: &Office, ana: &mut Visitor, pki: &Pki) -> anyhow::Result<()> {
    pki.issue_expired("old")?;
    let (certificate, key) = (pki.text("old.pem"), pki.text("old.key"));
    let channel = [
        ("name", "Old channel"),
        ("address", "127.0.0.1:0"),
        ("tls", "1"),
        ("certificate", certificate.as_str()),
        ("key", key.as_str()),
    ];
    ana.submit("/channels/new", "/channels/new", &channel)
        .await?;
    let settings = "/alerts/settings";
    // The disk is below such a threshold, and then the rule is off: one alert is over.
    for rule in ["disk.enabled", "certificate.enabled"] {
        let fields = [
            (rule, "1"),
            ("disk.threshold", "90"),
            ("certificate.enabled", "1"),
        ];
        ana.submit(settings, settings, &fields).await?;
        office.host.pipeline.look_for_alerts().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_is_accessible_in_both_themes() -> anyhow::Result<()> {
    let (office, mut ana) = office(None).await?;
    let pki = Pki::new()?;
    table(&mut ana).await?;
    publish(&mut ana, json!(["title"])).await?;
    let mut ehr = Client::connect(office.host.channels[0].1).await?;
    for (control_id, mrn, sex) in [("W1", "ZQ8001", "X"), ("W2", "ZQ8002", "F")] {
        ehr.exchange(message(control_id, mrn, sex).as_bytes())
            .await?;
    }
    until_a_lead(&office, "ZQ8002").await?;
    publish(&mut ana, json!(["upper"])).await?;
    with_shadow(&mut ana).await?;
    with_component(&office, &mut ana).await?;
    with_alert(&office, &mut ana, &pki).await?;
    let (duplicate, shared) = (
        "/flows/siu-s13/duplicate",
        [("event", "SIU^S16"), ("share", "1")],
    );
    ana.submit(duplicate, duplicate, &shared).await?;
    let out = [
        ("way", "out"),
        ("name", "To the EHR"),
        ("address", "127.0.0.1:1"),
    ];
    let new = "/channels/new?way=out";
    ana.submit(new, "/channels/new", &out).await?;
    let out = [
        ("direction", "leadsquared-to-ehr"),
        ("webhook", "lead-update"),
    ];
    ana.submit("/flows/new", "/flows/new", &out).await?;
    let event = "/flows/adt-a08-to-ehr/event";
    let begun = [("event", "ADT^A08"), ("starter", "1")];
    ana.submit(event, event, &begun).await?;

    // What addresses name.
    let messages = ana.get("/messages").await?.text;
    let row = messages.split("W1").next().unwrap_or_default();
    let at = row.rfind("/messages/").context("a message")?;
    let bare = lead_squared(Settings::default()).await?;
    let bare = Office::bare(None, bare, Console::at(([127, 0, 0, 1], 0).into())).await?;
    let first = ligature::serve::first_start(&bare.host).await?;
    let names = BTreeMap::from([
        ("{message}", after(&row[at..], "/messages/")?),
        ("{welcome}", viewer(&mut ana).await?),
        (
            "{person}",
            after(&ana.get("/access").await?.text, "/access/people/")?,
        ),
        ("{first}", first.context("a link")?),
    ]);
    let address = |path: &str| {
        let filled = names.iter();
        filled.fold(path.to_owned(), |path, (name, value)| {
            path.replace(name, value)
        })
    };

    let stranger = Browser::start(office.host.http).await?;
    let (browser, axe) = signed_in(&office).await?;
    let mut wrong = Vec::new();
    for (browser, looks) in [(&stranger, OUTSIDE), (&browser, INSIDE)] {
        for (_, path, name) in looks {
            browser.open(&address(path)).await?;
            if let Err(fault) = looked_at(browser, &axe, name).await {
                wrong.push(fault.to_string());
            }
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    stranger.close().await?;

    // The form of a channel by label and keyboard alone, and what the doctor says of the channel.
    browser.open("/channels/ehr").await?;
    browser.fill("Name", "Main hospital").await?;
    browser.click("button", "Save").await?;
    browser.says("The channel is saved").await?;
    browser.click("button", "Examine the connection").await?;
    browser.says("All is well").await?;
    looked_at(&browser, &axe, "channel-doctor").await?;
    browser.close().await?;
    bare.host.stop().await;
    office.host.stop().await;
    Ok(())
}
