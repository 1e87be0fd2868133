//! Sign-in by an identity provider that is not ours: npm `oidc-provider`, a certified one.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, ensure};
use ligature::access::session::form_token;
use ligature::config::Console;
use ligature::openid::{BACK, Secret, Settings};
use ligature::simulator::lead_squared;
use ligature_tests::browser::Browser;
use ligature_tests::office::{self, Office};
use ligature_tests::site::free_address;
use ligature_tests::visitor::{Seen, Visitor, text_of};
use ligature_tests::{node_with, postgres, workspace_root};
use reqwest::Url;
use serde_json::{Value, json};

use super::journeys::looked_at;

const PROVIDER: &str = "oidc-provider@8.8.1";

/// As `tests/clients/provider.cjs` knows us by.
const SECRET: &str = "odd: secret+of/ours";

/// A provider of its own process; killed when dropped.
struct Provider(Child);

impl Drop for Provider {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Who has an account at the provider.
fn accounts() -> Value {
    json!({
        "a-1": { "email": "Ana@example.org", "email_verified": true },
        "a-2": { "email": "ana@example.org", "email_verified": true },
        "b-1": { "email": "bo@example.org", "email_verified": true },
        "c-1": { "email": "cy@example.org", "email_verified": false },
        "x-1": { "email": "nobody@example.org", "email_verified": true },
    })
}

/// A host whose people sign in at a provider, with an administrator who has signed in with a password.
async fn with_provider(
    storage: Option<&str>,
    in_token: bool,
    change: impl FnOnce(&mut Settings),
) -> anyhow::Result<(Office, Visitor, Provider)> {
    let (console, provider) = (free_address()?, free_address()?);
    let modules = node_with(&[PROVIDER])?;
    let mut child = Command::new("node")
        .arg(workspace_root().join("tests/clients/provider.cjs"))
        .args([
            provider.port().to_string(),
            format!("http://{console}{BACK}"),
        ])
        .args([accounts().to_string(), in_token.to_string()])
        .env("NODE_PATH", modules)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .context("starting node")?;
    let out = child.stdout.take().context("its output")?;
    let child = Provider(child);
    let mut line = String::new();
    // Warnings come first.
    let mut lines = BufReader::new(out);
    while line.trim() != provider.port().to_string() {
        line.clear();
        ensure!(
            lines.read_line(&mut line)? > 0,
            "the provider did not start"
        );
    }
    // What it says later must not fill the pipe.
    std::thread::spawn(move || std::io::copy(&mut lines, &mut std::io::sink()));

    let mut settings = Settings {
        issuer: format!("http://{provider}"),
        client_id: "ligature".into(),
        client_secret: Some(Secret(SECRET.into())),
        console: format!("http://{console}").parse()?,
        name: "Clinic account".into(),
        authorities: None,
        trust_mail: false,
        only: false,
    };
    change(&mut settings);
    let simulator = office::lead_squared(lead_squared::Settings::default()).await?;
    let console = Console {
        openid: Some(settings),
        ..Console::at(console)
    };
    let office = Office::bare(storage, simulator, console).await?;
    let mut ana = Visitor::new(office.host.http);
    let link = ligature::serve::first_start(&office.host).await?;
    ana.begin(&link.context("a link")?).await?;
    Ok((office, ana, child))
}

/// Goes from our door to the provider's, signs in there as `subject`, and gives the address to which it leads back.
async fn at_the_provider(
    visitor: &mut Visitor,
    door: &str,
    subject: &str,
) -> anyhow::Result<String> {
    let out = visitor.get(door).await?;
    ensure!(
        out.status == 303,
        "{door}: {} {}",
        out.status,
        text_of(&out.text)
    );
    let mut to: Url = out.to.parse()?;
    let host = to
        .socket_addrs(|| None)?
        .first()
        .copied()
        .context("an address")?;
    let mut there = Visitor::new(host);
    for _ in 0..10 {
        let path = path_of(&to);
        let seen = there.get(&path).await?;
        let sent = if seen.status == 200 {
            let behind = |text: &str| -> anyhow::Result<String> {
                let rest = seen.text.split(text).nth(1);
                let value = rest.and_then(|rest| rest.split('"').next());
                Ok(value
                    .with_context(|| format!("{path}: no {text}"))?
                    .to_owned())
            };
            let action = to.join(&behind("action=\"")?)?;
            let prompt = behind("name=\"prompt\" value=\"")?;
            let fields = [
                ("prompt", prompt.as_str()),
                ("login", subject),
                ("password", "any"),
            ];
            there.post_bare(&path_of(&action), &fields).await?
        } else {
            seen
        };
        ensure!(
            sent.status / 100 == 3,
            "{path}: {} {}",
            sent.status,
            text_of(&sent.text)
        );
        to = to.join(&sent.to)?;
        if to.path() == BACK {
            return Ok(path_of(&to));
        }
    }
    anyhow::bail!("the provider leads in circles, at last to {to}")
}

/// Path and query.
fn path_of(url: &Url) -> String {
    match url.query() {
        Some(query) => format!("{}?{query}", url.path()),
        None => url.path().to_owned(),
    }
}

/// Signs in as `subject`; what our console says to it.
async fn enter(visitor: &mut Visitor, subject: &str) -> anyhow::Result<Seen> {
    let back = at_the_provider(visitor, "/sign-in/openid", subject).await?;
    visitor.get(&back).await
}

/// Adds a person; gives their id.
async fn add(ana: &mut Visitor, name: &str, login: &str) -> anyhow::Result<String> {
    let fields = [
        ("name", name),
        ("login", login),
        ("role", "Administrator"),
        ("right", "view"),
    ];
    let added = ana.post("/access/new", "/access/new", &fields).await?;
    ensure!(added.status == 200, "{}", text_of(&added.text));
    let people = ana.get("/access").await?.text;
    let link = people
        .split("/access/people/")
        .find(|rest| rest.contains(login));
    let id = link.and_then(|rest| rest.split('"').next());
    Ok(id.context("a link to the person")?.to_owned())
}

async fn people_come_and_go(storage: Option<&str>, in_token: bool) -> anyhow::Result<()> {
    let (office, mut ana, provider) = with_provider(storage, in_token, |_| {}).await?;
    let console = office.host.http;
    let bo = add(&mut ana, "Bo Ito", "bo@example.org").await?;
    add(&mut ana, "Cy Diaz", "cy@example.org").await?;

    // Back where they wanted to go, with a session.
    let mut visitor = Visitor::new(console);
    let door = visitor.get("/messages?state=dead").await?.to;
    let page = visitor.get(&door).await?.text;
    ensure!(
        page.contains("Sign in with Clinic account") && page.contains("type=\"password\""),
        "{page}"
    );
    let link = page
        .split("href=\"")
        .find(|rest| rest.starts_with("/sign-in/openid"));
    let link = link
        .and_then(|rest| rest.split('"').next())
        .context("a link")?;
    let back = at_the_provider(&mut visitor, link, "b-1").await?;
    let seen = visitor.get(&back).await?;
    ensure!(
        seen.status == 303 && seen.to == "/messages?state=dead",
        "{seen:?}"
    );
    ensure!(visitor.get("/messages").await?.status == 200);
    ensure!(text_of(&visitor.get("/own").await?.text).contains("bo@example.org"));

    // The same answer again, or brought by another browser, opens nothing.
    let again = visitor.get(&back).await?;
    ensure!(
        again.status == 403 && again.text.contains("begin it again"),
        "{again:?}"
    );
    let mut thief = Visitor::new(console);
    let taken = at_the_provider(&mut Visitor::new(console), "/sign-in/openid", "b-1").await?;
    let seen = thief.get(&taken).await?;
    ensure!(
        seen.status == 403 && seen.text.contains("another browser"),
        "{seen:?}"
    );
    // Neither does it where that browser has begun a sign-in of its own: nobody is led into a stranger's session.
    thief.get("/sign-in/openid").await?;
    let seen = thief.get(&taken).await?;
    ensure!(
        seen.status == 403 && seen.text.contains("another browser"),
        "{seen:?}"
    );
    ensure!(thief.get("/messages").await?.status == 303);

    // Somebody whom nobody has added, and somebody whose address the provider does not stand for.
    let seen = enter(&mut Visitor::new(console), "x-1").await?;
    ensure!(
        seen.status == 403 && seen.text.contains("nobody@example.org"),
        "{seen:?}"
    );
    let seen = enter(&mut Visitor::new(console), "c-1").await?;
    ensure!(
        seen.status == 403 && seen.text.contains("has verified"),
        "{seen:?}"
    );

    // A person stays who they are; another account with the same address is somebody else until an administrator says so.
    ensure!(enter(&mut Visitor::new(console), "a-1").await?.status == 303);
    ensure!(enter(&mut Visitor::new(console), "a-1").await?.status == 303);
    let seen = enter(&mut Visitor::new(console), "a-2").await?;
    ensure!(
        seen.status == 403 && seen.text.contains("somebody else"),
        "{seen:?}"
    );
    let token = office.token("all,see-patient-data").await?;
    let mut script = Visitor::with_token(console, &token);
    let people: Value = serde_json::from_str(&script.get("/api/v1/people").await?.text)?;
    let people = people["items"].as_array().context("people")?;
    let identities: Vec<_> = people
        .iter()
        .map(|person| &person["has_identity"])
        .collect();
    ensure!(
        identities == [&json!(true), &json!(true), &json!(false)],
        "{people:?}"
    );
    let first = people[0]["id"].as_str().context("an id")?;
    let of_first = format!("/access/people/{first}");
    ana.submit(&of_first, &format!("{of_first}/untie"), &[])
        .await?;
    ensure!(
        ana.get("/access").await?.status == 303,
        "untied, and still signed in"
    );
    ana.sign_in("ana@example.org", "three blue herons").await?;
    ensure!(enter(&mut Visitor::new(console), "a-2").await?.status == 303);
    ensure!(enter(&mut Visitor::new(console), "a-1").await?.status == 403);

    // Whoever is shut out stays out, by this way, too.
    let of_bo = format!("/access/people/{bo}");
    let fields = [
        ("name", "Bo Ito"),
        ("role", "Administrator"),
        ("right", "view"),
        ("shut_out", "1"),
    ];
    ana.submit(&of_bo, &of_bo, &fields).await?;
    ensure!(visitor.get("/messages").await?.status == 303);
    let seen = enter(&mut Visitor::new(console), "b-1").await?;
    ensure!(
        seen.status == 403 && seen.text.contains("may not sign in here"),
        "{seen:?}"
    );

    // What the provider refuses is told without what could be hidden in it.
    let mut refused = Visitor::new(console);
    let out: Url = refused.get("/sign-in/openid").await?.to.parse()?;
    let state = out.query_pairs().find(|(name, _)| name == "state");
    let state = state.context("a state")?.1.into_owned();
    let denied = format!("{BACK}?error=access_denied%3Cb%3E&state={state}");
    let seen = refused.get(&denied).await?;
    ensure!(
        seen.status == 403 && seen.text.contains("(access_deniedb)"),
        "{seen:?}"
    );

    // Everything of it is on record.
    let audit = ana.get("/audit").await?.text;
    ensure!(
        audit.contains(">tie") || audit.contains("tie "),
        "{}",
        text_of(&audit)
    );

    // Without the provider there is still the password.
    drop(provider);
    let mut late = Visitor::new(console);
    let back = at_the_provider(&mut late, "/sign-in/openid", "a-2").await;
    ensure!(back.is_err());
    ensure!(
        late.sign_in("ana@example.org", "three blue herons")
            .await?
            .status
            == 303
    );
    office.host.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn people_sign_in_at_an_identity_provider() -> anyhow::Result<()> {
    Box::pin(people_come_and_go(None, false)).await?;
    Box::pin(people_come_and_go(Some(&postgres()?), true)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn passwords_can_be_switched_off() -> anyhow::Result<()> {
    let only = |settings: &mut Settings| settings.only = true;
    let (office, mut ana, _provider) = with_provider(None, true, only).await?;
    let console = office.host.http;
    let mut visitor = Visitor::new(console);
    let door = visitor.get("/sign-in").await?;
    ensure!(!door.text.contains("type=\"password\""), "{door:?}");
    // Where there is no form, somebody may make one.
    let kept = door.cookies.iter().find_map(|set| {
        let value = set.strip_prefix("lig_visitor=")?;
        value.split(';').next()
    });
    let csrf = form_token(kept.context("a visitor")?);
    let fields = [
        ("csrf", csrf.as_str()),
        ("login", "ana@example.org"),
        ("password", "three blue herons"),
    ];
    let refused = visitor.post_bare("/sign-in", &fields).await?;
    ensure!(
        refused.status == 403 && refused.text.contains("sign in with Clinic account"),
        "{refused:?}"
    );

    let fields = [
        ("name", "Bo Ito"),
        ("login", "bo@example.org"),
        ("role", "Administrator"),
        ("right", "view"),
    ];
    let added = ana.post("/access/new", "/access/new", &fields).await?;
    ensure!(
        !added.text.contains("/welcome/") && added.text.contains("Bo Ito is added"),
        "{}",
        text_of(&added.text)
    );
    ensure!(enter(&mut visitor, "b-1").await?.status == 303);
    ensure!(!text_of(&visitor.get("/own").await?.text).contains("Change your password"));

    // An old link to choose a password opens nothing, and there are no new ones.
    let token = office.token("all,see-patient-data").await?;
    let mut script = Visitor::with_token(console, &token);
    let people: Value = serde_json::from_str(&script.get("/api/v1/people").await?.text)?;
    let bo = people["items"][1]["id"].as_str().context("an id")?;
    let refused = script
        .post_bare(&format!("/api/v1/people/{bo}/invite"), &[])
        .await?;
    ensure!(
        refused.status == 403 && refused.text.contains("passwords are switched off"),
        "{refused:?}"
    );
    office.host.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_signs_in_at_the_provider() -> anyhow::Result<()> {
    let (office, _ana, _provider) = with_provider(None, false, |_| {}).await?;
    let axe = node_with(&["axe-core@4.10.3"])?.join("axe-core/axe.min.js");
    let axe = std::fs::read_to_string(axe)?;
    let browser = Browser::start(office.host.http).await?;
    browser.open("/channels").await?;
    browser.at("/sign-in").await?;
    looked_at(&browser, &axe, "sign-in-openid").await?;
    browser.click("link", "Sign in with Clinic account").await?;
    browser.says("Sign-in").await?;
    browser.fill("Enter any login", "a-1").await?;
    browser.fill("and password", "any").await?;
    browser.click("button", "Sign-in").await?;
    browser.says("Continue").await?;
    browser.click("button", "Continue").await?;
    browser.at("/channels").await?;
    browser.close().await?;
    office.host.stop().await;
    Ok(())
}
