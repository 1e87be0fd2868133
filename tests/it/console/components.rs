//! A vendor's component in the console: approved, told its settings, tried beside what runs.

use std::time::Duration;

use anyhow::{Context, ensure};
use ligature_tests::guests;
use ligature_tests::visitor::text_of;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::office;

fn names(list: &Value) -> Vec<String> {
    let items = list.as_array().into_iter().flatten();
    items
        .filter_map(|item| item.as_str().or_else(|| item["name"].as_str()))
        .map(str::to_owned)
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_is_approved_told_its_settings_and_tried() -> anyhow::Result<()> {
    let (office, mut ana) = office(None).await?;
    let kind = [("entity", "activity"), ("code", "205")];
    ana.submit("/flows/new", "/flows/new", &kind).await?;
    let tab = "/flows/siu-s12/component";
    let page = text_of(&ana.get(tab).await?.text);
    ensure!(page.contains("No release yet"), "{page}");

    // Taken by the interface; approved in part as the page after an upload would.
    let token = office.token("publish").await?;
    let url = format!(
        "{}/api/v1/components?account=clinic&accept_findings=true",
        office.address()
    );
    let request = ligature_tests::http().post(url).bearer_auth(&token);
    let answer = request.body(guests::example("rust-appointments")).send();
    let answer: Value = serde_json::from_slice(&answer.await?.bytes().await?)?;
    let digest = answer["digest"]
        .as_str()
        .with_context(|| answer.to_string())?;
    let manifest = &answer["manifest"];
    let mut fields = vec![("component".to_owned(), digest.to_owned())];
    let reads = names(&manifest["reads"]);
    let (kept_from, rest) = reads.split_last().context("reads")?;
    fields.extend(rest.iter().map(|path| ("reads".to_owned(), path.clone())));
    for kind in ["lead_targets", "activity_targets"] {
        let names = names(&manifest[kind]).into_iter();
        fields.extend(names.map(|name| (kind.to_owned(), name)));
    }
    let fields: Vec<_> = fields
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let page = ana
        .submit("/flows/siu-s12/basic", "/flows/siu-s12/approve", &fields)
        .await?;
    ensure!(
        page.to.starts_with("/flows/siu-s12/start?release="),
        "{}",
        page.to
    );
    let page = ana.get(tab).await?.text;
    let said = text_of(&page);
    ensure!(
        said.contains("uploaded") && said.contains("asks for more than it is granted"),
        "{said}"
    );
    ensure!(
        page.contains(&format!("name=\"reads\" value=\"{kept_from}\"> "))
            && page.contains(&format!("name=\"reads\" value=\"{}\" checked", rest[0])),
        "{page}"
    );

    // What it is told makes another release, which keeps what was approved.
    let settings = "/flows/siu-s12/settings";
    let page = ana
        .submit(tab, settings, &[("setting.authority", "CLINIC")])
        .await?;
    ensure!(
        page.text.contains("value=\"CLINIC\"") && page.text.contains("Activate release 2"),
        "{}",
        text_of(&page.text)
    );
    let url = format!("{}/api/v1/flows/siu-s12/component", office.address());
    let viewer = office.token("view").await?;
    let answer = ligature_tests::http().get(url).bearer_auth(&viewer).send();
    let answer: Value = serde_json::from_slice(&answer.await?.bytes().await?)?;
    ensure!(
        answer["choices"]["settings"]["authority"] == "CLINIC"
            && answer["runs"]["release_number"] == 2
            && answer["not_granted"]
                .as_array()
                .is_some_and(|not| not.len() == 1),
        "{answer}"
    );

    // While it is in force, other settings can be tried first: a candidate that changes nothing.
    let confirmed = [("confirm_not_unique", "1")];
    let start = "/flows/siu-s12/start";
    let page = ana
        .submit(start, "/flows/siu-s12/activate", &confirmed)
        .await?;
    let said = text_of(&page.text);
    ensure!(said.contains("The flow is active"), "{said}");
    let candidate = [("setting.authority", "ANNEX"), ("candidate", "1")];
    let page = ana.submit(tab, settings, &candidate).await?;
    let said = text_of(&page.text);
    ensure!(
        page.to.starts_with("/flows/siu-s12/start?release=")
            && said.contains("setting authority")
            && said.contains("ANNEX")
            && said.contains("Shadow run"),
        "{} {said}",
        page.to
    );
    let in_force = ana.get(tab).await?.text;
    ensure!(in_force.contains("value=\"CLINIC\""), "{in_force}");

    // Tried on real messages, of which there are none: that is said, and the run comes to its end.
    ana.submit(start, "/flows/siu-s12/shadow", &[]).await?;
    let started = Instant::now();
    loop {
        let page = text_of(&ana.get(start).await?.text);
        if page.contains("done 0 of 0 deliveries") {
            break;
        }
        ensure!(started.elapsed() < Duration::from_secs(60), "{page}");
        sleep(Duration::from_millis(50)).await;
    }
    let page = text_of(&ana.get("/inventory").await?.text);
    ensure!(
        page.contains("uploaded") && page.contains(&digest[..12]),
        "{page}"
    );
    office.host.stop().await;
    Ok(())
}
