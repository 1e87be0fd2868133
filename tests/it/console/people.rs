//! How people come in, and stay out.

use anyhow::{Context, ensure};
use ligature_tests::postgres;
use ligature_tests::visitor::{Visitor, text_of};

use super::office;

/// The id of a person in the list.
fn id_of(page: &str, name: &str) -> Option<String> {
    let mut links = page.split("/access/people/").skip(1);
    let is_it = |rest: &&str| {
        rest.split("</a>")
            .next()
            .is_some_and(|part| part.contains(name))
    };
    Some(links.find(is_it)?.split('"').next()?.to_owned())
}

/// Somebody's whole life at the console, on one database.
async fn come_and_go(storage: Option<&str>) -> anyhow::Result<()> {
    let (office, mut ana) = office(storage).await?;
    let console = office.host.http;
    ensure!(ana.get("/messages").await?.status == 200);
    ensure!(
        ligature::serve::first_start(&office.host).await?.is_none(),
        "a second first administrator"
    );

    // Whoever is not signed in is led to the door, and comes back to where they wanted to go.
    let mut stranger = Visitor::new(console);
    let sent = stranger.get("/messages?state=dead").await?;
    ensure!(
        sent.status == 303 && sent.to == "/sign-in?next=%2Fmessages%3Fstate%3Ddead",
        "{sent:?}"
    );
    let page = stranger
        .post(
            &sent.to,
            "/sign-in",
            &[
                ("login", "ANA@example.org"),
                ("password", "three blue herons"),
            ],
        )
        .await?;
    ensure!(page.to == "/messages?state=dead", "{page:?}");
    let cookie = page
        .cookies
        .iter()
        .find(|set| set.starts_with("lig_session="))
        .context("no session")?;
    ensure!(
        cookie.contains("HttpOnly") && cookie.contains("SameSite=Lax"),
        "{cookie}"
    );
    for elsewhere in ["//example.org", "https://example.org", "/\\example.org"] {
        let fields = [
            ("login", "ana@example.org"),
            ("password", "three blue herons"),
            ("next", elsewhere),
        ];
        let page = Visitor::new(console)
            .post("/sign-in", "/sign-in", &fields)
            .await?;
        ensure!(
            page.status == 303 && page.to == "/",
            "{elsewhere} leads to {}",
            page.to
        );
    }

    // Ana adds Ben, who chooses a password by his link, once.
    let fields = [
        ("name", "Ben Okafor"),
        ("login", "ben@example.org"),
        ("role", "Administrator"),
        ("right", "view"),
    ];
    let page = ana.post("/access/new", "/access/new", &fields).await?;
    ensure!(page.status == 200, "{}", text_of(&page.text));
    let link = page
        .text
        .split("value=\"/welcome/")
        .nth(1)
        .and_then(|rest| rest.split('"').next())
        .context("no link")?;
    let link = format!("/welcome/{link}");
    let twice = ana.post("/access/new", "/access/new", &fields).await?;
    ensure!(
        twice.status == 422 && text_of(&twice.text).contains("mail address"),
        "{}",
        text_of(&twice.text)
    );
    let mut ben = Visitor::new(console);
    let weak = ben
        .post(&link, &link, &[("password", "short"), ("again", "short")])
        .await?;
    ensure!(
        weak.status == 422 && weak.text.contains("fewer than 12 characters"),
        "{}",
        text_of(&weak.text)
    );
    let other = ben
        .post(
            &link,
            &link,
            &[
                ("password", "nine green lamps"),
                ("again", "nine green lamp"),
            ],
        )
        .await?;
    ensure!(other.status == 422 && other.text.contains("not the same"));
    let chosen = [
        ("password", "nine green lamps"),
        ("again", "nine green lamps"),
    ];
    ensure!(ben.post(&link, &link, &chosen).await?.status == 303);
    ensure!(ben.get("/messages").await?.status == 200);
    ensure!(
        Visitor::new(console).get(&link).await?.status == 410,
        "the link is good twice"
    );

    // He may look and not more; what he may not is said.
    let refused = ben.get("/access").await?;
    ensure!(
        refused.status == 403 && text_of(&refused.text).contains("administer"),
        "{}",
        text_of(&refused.text)
    );

    // His password is his own to change, which signs him out elsewhere.
    let mut other_ben = Visitor::new(console);
    ensure!(
        other_ben
            .sign_in("ben@example.org", "nine green lamps")
            .await?
            .to
            == "/"
    );
    let wrong = [
        ("old_password", "nine green lamp"),
        ("password", "ten silver spoons"),
        ("again", "ten silver spoons"),
    ];
    ensure!(ben.post("/own", "/own/password", &wrong).await?.status == 422);
    let right = [
        ("old_password", "nine green lamps"),
        ("password", "ten silver spoons"),
        ("again", "ten silver spoons"),
    ];
    ben.submit("/own", "/own/password", &right).await?;
    ensure!(
        other_ben.get("/messages").await?.status == 303,
        "signed in elsewhere still"
    );
    ensure!(ben.get("/messages").await?.status == 200);

    // His role may not use the connector any more, then may again.
    let people = ana.get("/access").await?.text;
    let id = id_of(&people, "Ben").context("Ben is not listed")?;
    let path = format!("/access/people/{id}");
    let sales = [
        ("name", "Ben Okafor"),
        ("role", "Sales_User"),
        ("right", "view"),
    ];
    ana.submit(&path, &path, &sales).await?;
    ensure!(
        ben.get("/messages").await?.status == 303,
        "sales users may not"
    );
    ensure!(
        Visitor::new(console)
            .sign_in("ben@example.org", "ten silver spoons")
            .await?
            .status
            == 403
    );
    ana.submit("/access", "/access/roles/clinic", &[("role", "Sales_User")])
        .await?;
    ensure!(
        ben.get("/messages").await?.status == 200,
        "sales users may now"
    );

    // Nobody shuts themselves out, and the last administrator stays.
    let own = id_of(&people, "Ana").context("Ana is not listed")?;
    let own = format!("/access/people/{own}");
    let fields = [
        ("name", "Ana Ortiz"),
        ("role", "Administrator"),
        ("right", "view"),
    ];
    let kept = ana.post(&own, &own, &fields).await?;
    ensure!(
        kept.status == 422 && text_of(&kept.text).contains("last administrator"),
        "{}",
        text_of(&kept.text)
    );

    // Shut out, he is out at once.
    let out = [
        ("name", "Ben Okafor"),
        ("role", "Administrator"),
        ("right", "view"),
        ("shut_out", "1"),
    ];
    ana.submit(&path, &path, &out).await?;
    ensure!(ben.get("/messages").await?.status == 303);
    ensure!(
        ben.sign_in("ben@example.org", "ten silver spoons")
            .await?
            .status
            == 403
    );

    // A form of another site has no token, and does nothing.
    let bare = ana.post_bare("/own/sign-out", &[]).await?;
    ensure!(bare.status == 403, "{}", bare.status);
    ensure!(ana.get("/messages").await?.status == 200);
    ana.post("/own", "/own/sign-out", &[]).await?;
    ensure!(ana.get("/messages").await?.status == 303);

    // What was done is recorded, without a password in it.
    let records = office
        .host
        .pipeline
        .store
        .catalog()
        .audit(None, 100)
        .await?;
    let said: Vec<_> = records
        .iter()
        .map(|row| {
            format!(
                "{} {} {}",
                row.actor, row.record.action, row.record.document
            )
        })
        .collect();
    for expected in [
        "first start add ana@example.org",
        "ana@example.org add ben@example.org",
        "ben@example.org password ben@example.org",
        "ana@example.org sign-out ana@example.org",
    ] {
        ensure!(
            said.iter().any(|line| line == expected),
            "{expected} is not in {said:#?}"
        );
    }
    office.host.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn people_come_and_go_on_sqlite() -> anyhow::Result<()> {
    Box::pin(come_and_go(None)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn people_come_and_go_on_postgresql() -> anyhow::Result<()> {
    Box::pin(come_and_go(Some(&postgres()?))).await
}

#[tokio::test(flavor = "multi_thread")]
async fn guessing_a_password_gets_slow() -> anyhow::Result<()> {
    let (office, _) = office(None).await?;
    let mut guesser = Visitor::new(office.host.http);
    let mut statuses = Vec::new();
    for _ in 0..6 {
        statuses.push(
            guesser
                .sign_in("ana@example.org", "a guess, a guess")
                .await?
                .status,
        );
    }
    ensure!(statuses == [403, 403, 403, 403, 403, 429], "{statuses:?}");
    // The right password has to wait as well, and somebody who does not exist is told the same.
    let page = guesser
        .sign_in("ana@example.org", "three blue herons")
        .await?;
    ensure!(page.status == 429 && page.text.contains("too many attempts"));
    let nobody = guesser
        .sign_in("nobody@example.org", "three blue herons")
        .await?;
    ensure!(nobody.status == 403 && nobody.text.contains("do not belong together"));
    office.host.stop().await;
    Ok(())
}
