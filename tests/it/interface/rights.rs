//! Tokens and their rights.

use anyhow::{Context, ensure};
use ligature_tests::clinic::{Clinic, Setup, UNLIMITED, unlimited};
use ligature_tests::interface::Interface;
use serde_json::json;

use super::flow;

#[tokio::test(flavor = "multi_thread")]
async fn nobody_sees_or_changes_configuration_without_a_token_of_the_right() -> anyhow::Result<()> {
    let setup = Setup {
        account: UNLIMITED,
        channel: "",
        leads: &["ADT^A04"],
        activities: &[],
    };
    let mut clinic = Clinic::prepare(None, unlimited(), setup).await?;
    let viewer = clinic.site.token("view")?;
    let revoked = clinic.site.token("map")?;
    clinic.site.ligature(&["token", "revoke", "map"], &[])?;
    let listed = clinic.site.ligature(&["token", "list"], &[])?;
    ensure!(
        listed.contains("view") && listed.contains("revoked"),
        "{listed}"
    );
    let secret = viewer.bearer().rsplit('_').next().context("a secret")?;
    ensure!(!listed.contains(secret), "a secret is shown: {listed}");
    clinic.host = Some(clinic.site.start().await?);
    let stranger = clinic.site.stranger();

    // Messages are shown on this machine, as the console shows them.
    for path in ["/api/v1/messages", "/api/v1/counts", "/api/v1/deliveries"] {
        stranger.get(path).await?.expect(200)?;
    }
    for noun in [
        "accounts",
        "channels",
        "flows",
        "components",
        "code-tables",
        "audit",
    ] {
        let path = format!("/api/v1/{noun}");
        ensure!(
            stranger.get(&path).await?.problem() == "401 unauthorized",
            "{noun}"
        );
        ensure!(
            revoked.get(&path).await?.problem() == "401 unauthorized",
            "{noun}"
        );
        let forged = stranger.with_token(&format!("{}0", viewer.bearer()));
        ensure!(
            forged.get(&path).await?.problem() == "401 unauthorized",
            "{noun}"
        );
        let expected = if noun == "audit" { 403 } else { 200 };
        ensure!(viewer.get(&path).await?.status == expected, "{noun}");
    }
    let flow = json!({ "flow": flow("two", "ADT^A08") });
    for (method, path) in [
        ("POST", "/api/v1/accounts"),
        ("PUT", "/api/v1/accounts/clinic"),
        ("DELETE", "/api/v1/accounts/clinic"),
        ("PUT", "/api/v1/accounts/clinic/keys"),
        ("POST", "/api/v1/channels"),
        ("PUT", "/api/v1/channels/ehr"),
        ("DELETE", "/api/v1/channels/ehr"),
        ("POST", "/api/v1/flows"),
        ("PUT", "/api/v1/flows/ADT%5EA04"),
        ("DELETE", "/api/v1/flows/ADT%5EA04"),
        ("POST", "/api/v1/flows/ADT%5EA04/activate"),
        ("POST", "/api/v1/flows/ADT%5EA04/pause"),
        ("POST", "/api/v1/components?account=clinic"),
        ("PUT", "/api/v1/code-tables/clinic/wards"),
        ("POST", "/api/v1/deliveries/1.0/release"),
        ("POST", "/api/v1/accounts/clinic/fields"),
        ("POST", "/api/v1/accounts/clinic/synchronise"),
    ] {
        let sent = |caller: Interface| {
            let flow = flow.clone();
            async move { caller.send(method, path, Some(flow), None).await }
        };
        let answer = sent(stranger.clone()).await?;
        ensure!(
            answer.problem() == "401 unauthorized",
            "{method} {path}: {}",
            answer.problem()
        );
        let answer = sent(viewer.clone()).await?;
        ensure!(
            answer.problem() == "403 forbidden",
            "{method} {path}: {}",
            answer.problem()
        );
    }
    // Nothing of this was done.
    let flows = viewer.get("/api/v1/flows").await?.expect(200)?;
    ensure!(
        flows["items"].as_array().map(Vec::len) == Some(1),
        "{flows}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_may_demand_tokens_for_messages_too() -> anyhow::Result<()> {
    let setup = Setup {
        account: UNLIMITED,
        channel: "",
        leads: &["ADT^A04"],
        activities: &[],
    };
    let mut clinic = Clinic::prepare(None, unlimited(), setup).await?;
    let viewer = clinic.site.token("view")?;
    let file = clinic.site.path("ligature.toml");
    let text = std::fs::read_to_string(&file)?;
    std::fs::write(
        &file,
        text.replace("[http]\n", "[http]\nrequire_token = true\n"),
    )?;
    clinic.host = Some(clinic.site.start().await?);
    let stranger = clinic.site.stranger();
    for path in [
        "/api/v1/messages",
        "/api/v1/messages/x",
        "/api/v1/counts",
        "/api/v1/deliveries",
    ] {
        ensure!(
            stranger.get(path).await?.problem() == "401 unauthorized",
            "{path}"
        );
    }
    viewer.get("/api/v1/messages").await?.expect(200)?;
    let url = format!("http://{}/messages", clinic.site.http);
    let page = ligature_tests::http().get(url).send().await?;
    ensure!(page.url().path() == "/sign-in", "the page is shown");
    Ok(())
}
