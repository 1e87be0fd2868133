//! What a form may hold, and where it leads.

use anyhow::ensure;
use ligature_tests::visitor::{Visitor, text_of};

use super::journeys::{looked_at, signed_in};
use super::office;

#[tokio::test(flavor = "multi_thread")]
async fn a_form_is_as_large_as_its_page_needs() -> anyhow::Result<()> {
    let (office, mut ana) = office(None).await?;
    let large = "x".repeat(200_000);
    let check = async |ana: &mut Visitor, path: &str, is_taken: bool| {
        let seen = ana.post_bare(path, &[("reason", &large)]).await?;
        ensure!((seen.status != 413) == is_taken, "{path}: {}", seen.status);
        anyhow::Ok(())
    };
    check(&mut ana, "/flows/registrations/pause", false).await?;
    check(&mut ana, "/own/password", false).await?;
    check(&mut ana, "/sign-in", false).await?;
    check(&mut ana, "/flows/registrations/mapping", true).await?;
    check(&mut ana, "/code-tables/clinic/wards/csv", true).await?;
    check(&mut ana, "/flows/registrations/component", true).await?;
    // Many fields take more memory than their text.
    let fields = vec![("a", ""); 30_000];
    let seen = ana
        .post_bare("/flows/registrations/mapping", &fields)
        .await?;
    ensure!(seen.status == 403, "{}", seen.status);
    office.host.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn after_sign_in_one_stays_here() -> anyhow::Result<()> {
    let (office, _) = office(None).await?;
    let to = async |next: &str| {
        let mut visitor = Visitor::new(office.host.http);
        let fields = [
            ("login", "ana@example.org"),
            ("password", "three blue herons"),
            ("next", next),
        ];
        let seen = visitor.post("/sign-in", "/sign-in", &fields).await?;
        ensure!(seen.status == 303, "{next:?}: {}", seen.status);
        anyhow::Ok(seen.to)
    };
    ensure!(to("/channels?x=1").await? == "/channels?x=1");
    for next in [
        "/\t/evil.com",
        "/\nx",
        "//evil.com",
        "/\\evil.com",
        "/.//evil.com",
    ] {
        ensure!(to(next).await? == "/", "{next:?}");
    }
    office.host.stop().await;
    Ok(())
}

/// What is wrong is said in words of the page, and what was typed is there still.
#[tokio::test(flavor = "multi_thread")]
async fn a_form_keeps_what_was_typed_and_says_what_is_wrong() -> anyhow::Result<()> {
    let (office, mut ana) = office(None).await?;
    let account = "/accounts/clinic";
    let typed = [
        ("name", "Main Street Clinic"),
        ("time_zone", "Europe/Vienna"),
        ("calls", "plenty"),
        ("window_ms", "5000"),
        ("reserve_percent", "30"),
    ];
    let page = ana.post(account, account, &typed).await?;
    let said = text_of(&page.text);
    ensure!(
        page.status == 422
            && said.contains("is not a whole number, such as 30.")
            && page.text.contains("rate_plan.calls\" data-text=")
            && page.text.contains("value=\"plenty\"")
            && page.text.contains("value=\"Europe/Vienna\""),
        "{said}"
    );
    let alerts = "/alerts/settings";
    let typed = [
        ("owner", "night@example.org"),
        ("server", "smtp.example.org"),
        ("port", "many"),
        ("security", "tls"),
        ("quiet.enabled", "1"),
        ("quiet.threshold", "long"),
    ];
    let page = ana.post(alerts, alerts, &typed).await?;
    let is_kept = |text: &str| page.text.contains(&format!("value=\"{text}\""));
    let kept = ["night@example.org", "smtp.example.org", "many", "long"];
    ensure!(
        page.status == 422 && kept.into_iter().all(is_kept),
        "{}",
        text_of(&page.text)
    );
    let event = "/flows/registrations/event";
    let page = ana.post(event, event, &[("event", "nonsense")]).await?;
    ensure!(
        page.status == 422 && page.text.contains("value=\"nonsense\""),
        "{}",
        text_of(&page.text)
    );
    let search = "/flows/registrations/additional";
    let fields = [("primary_search_field", "FirstName")];
    let page = ana.post(search, search, &fields).await?;
    let said = text_of(&page.text);
    ensure!(
        said.contains("or tick that you mean it") && !said.contains("confirm_not_unique"),
        "{said}"
    );
    office.host.stop().await;
    Ok(())
}

/// With a script each fault stands at its field, too, which is named by it for people who listen.
#[tokio::test(flavor = "multi_thread")]
async fn a_fault_stands_at_its_field() -> anyhow::Result<()> {
    let (office, _) = office(None).await?;
    let (browser, axe) = signed_in(&office).await?;
    browser.open("/flows/registrations/additional").await?;
    browser.fill("Time zone", "Mars/Base").await?;
    browser.click("button", "Save & Next").await?;
    browser.says("This was not saved").await?;
    let field = browser
        .script("const input = document.querySelector('[name=time_zone]'); return [input.value, input.getAttribute('aria-invalid'), document.getElementById(input.getAttribute('aria-describedby')).textContent]")
        .await?;
    ensure!(
        field[0] == "Mars/Base"
            && field[1] == "true"
            && (field[2].as_str()).is_some_and(|text| text.contains("is not an IANA name")),
        "{field}"
    );
    looked_at(&browser, &axe, "form-fault").await?;
    browser.close().await?;
    office.host.stop().await;
    Ok(())
}
