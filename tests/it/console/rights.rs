//! Every page and form: refused without its right, whatever else one may do; let in with it alone.

use anyhow::ensure;
use ligature::access::{self, Right, Rights};
use ligature::store::catalog::Author;
use ligature::web::console::{Needs, PAGES};
use ligature_tests::visitor::Visitor;

use super::office;

fn words(rights: impl Iterator<Item = Right>) -> String {
    rights.map(Right::as_str).collect::<Vec<_>>().join(",")
}

/// A path with something in its parameters.
fn concrete(path: &str) -> String {
    path.replace("{id}", "registrations")
        .replace("{account}", "clinic")
        .replace("{name}", "wards")
        .replace("{secret}", "0")
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_asks_for_its_right() -> anyhow::Result<()> {
    let (office, mut ana) = office(None).await?;
    let catalog = office.host.pipeline.store.catalog();
    let author = Author("test".into());
    let mut faults = Vec::new();
    for right in Right::ALL {
        let only: Rights = right.as_str().parse()?;
        let others: Rights =
            words(Right::ALL.into_iter().filter(|other| *other != right)).parse()?;
        let only = access::issue(&catalog, &format!("only {right:?}"), &only, &author).await?;
        let others = access::issue(&catalog, &format!("not {right:?}"), &others, &author).await?;
        let mut only = Visitor::with_token(office.host.http, only.reveal());
        let mut others = Visitor::with_token(office.host.http, others.reveal());
        for page in PAGES
            .iter()
            .filter(|page| page.needs == Needs::Right(right))
        {
            let path = concrete(page.path);
            for (visitor, is_refused) in [(&mut others, true), (&mut only, false)] {
                let seen = match page.method {
                    "GET" => visitor.get(&path).await?,
                    _ => visitor.post_bare(&path, &[]).await?,
                };
                if (seen.status == 403) != is_refused || seen.status >= 500 {
                    faults.push(format!("{} {path} {right:?}: {}", page.method, seen.status));
                }
            }
        }
    }
    ensure!(faults.is_empty(), "{faults:#?}");

    // Without anything, a page leads to the door and a form does nothing.
    let mut stranger = Visitor::new(office.host.http);
    let mut forged = Visitor::with_token(office.host.http, "lig_0_0");
    for page in PAGES {
        let path = concrete(page.path);
        let (seen, with_forged) = match page.method {
            "GET" => (stranger.get(&path).await?, forged.get(&path).await?),
            _ => (
                stranger.post_bare(&path, &[]).await?,
                forged.post_bare(&path, &[]).await?,
            ),
        };
        match page.needs {
            Needs::Nothing => ensure!(
                seen.status != 401 && seen.status < 500,
                "{path}: {}",
                seen.status
            ),
            Needs::SignIn | Needs::Right(_) => {
                ensure!(
                    seen.status == 303 && seen.to.starts_with("/sign-in"),
                    "{path}: {}",
                    seen.status
                );
                ensure!(with_forged.status == 401, "{path}: {}", with_forged.status);
            }
        }
    }
    // A session's cookie alone changes nothing by the interface either: another site can make a browser send it.
    ensure!(ana.get("/api/v1/people").await?.status == 200);
    let sent = ana.post_bare("/api/v1/people", &[]).await?;
    ensure!(
        sent.status == 403 && sent.text.contains("X-CSRF-Token"),
        "{}",
        sent.text
    );
    office.host.stop().await;
    Ok(())
}
