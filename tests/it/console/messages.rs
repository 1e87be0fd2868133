//! Messages without script: found, looked at, tried with another release, sent again, edited. On both databases.

use std::time::Duration;

use anyhow::{Context, ensure};
use ligature_tests::mllp::Client;
use ligature_tests::office::Office;
use ligature_tests::postgres;
use ligature_tests::visitor::{Seen, Visitor, text_of};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::office;

fn message(number: usize) -> String {
    format!(
        "MSH|^~\\&|EPIC|MAIN|LIG|LSQ|2026112009300{number}||ADT^A04|CTL{number}|P|2.5.1\rEVN|A04\r\
         PID|1||ZQ700{number}^^^CLINIC^MR||Fenwick^odalys||19840219|F\rPV1|1|O\r"
    )
}

/// A mapping whose first name comes from `path`.
fn mapping(path: &str) -> String {
    let document = json!({
        "format": 1, "name": "Registrations", "version": "1",
        "lead": [
            { "target": "FirstName", "label": "First Name", "path": path, "steps": ["trim", "title"] },
            { "target": "LastName", "path": "PID-5.1" },
            { "target": "mx_Gender", "path": "PID-8", "steps": [{ "table": "sexes" }] },
            { "target": "mx_MRN", "path": "PID-3.1" },
        ],
    });
    document.to_string()
}

/// Saves a mapping and puts it in force.
async fn publish(ana: &mut Visitor, path: &str) -> anyhow::Result<()> {
    let page = "/flows/registrations/mapping";
    let document = mapping(path);
    let start = ana.submit(page, page, &[("document", &document)]).await?;
    ensure!(
        start.to.starts_with("/flows/registrations/start?release="),
        "{}: {}",
        start.to,
        text_of(&start.text)
    );
    let confirmed = [("confirm_not_unique", "1")];
    let page = ana
        .submit(&start.to, "/flows/registrations/activate", &confirmed)
        .await?;
    let said = text_of(&page.text);
    ensure!(said.contains("being transferred"), "{said}");
    Ok(())
}

/// Waits for a page that says `text`.
async fn says(visitor: &mut Visitor, path: &str, text: &str) -> anyhow::Result<Seen> {
    let started = Instant::now();
    loop {
        let page = visitor.get(path).await?;
        if text_of(&page.text).contains(text) {
            return Ok(page);
        }
        ensure!(
            started.elapsed() < Duration::from_secs(60),
            "{path} does not say {text:?}: {}",
            text_of(&page.text)
        );
        sleep(Duration::from_millis(20)).await;
    }
}

/// What follows `mark` up to a quote, the first of several.
fn after<'a>(page: &'a str, mark: &str) -> anyhow::Result<&'a str> {
    let rest = page
        .split(mark)
        .nth(1)
        .with_context(|| format!("no {mark}"))?;
    rest.split('"').next().context("a quote")
}

async fn search(ana: &mut Visitor, text: &str) -> anyhow::Result<String> {
    let page = ana
        .post("/messages", "/messages", &[("text", text)])
        .await?;
    ensure!(page.status == 200 && page.to.is_empty(), "{}", page.status);
    Ok(text_of(&page.text))
}

/// The release that the last run of a message's delivery went through.
async fn release_of(office: &Office, message: &str) -> anyhow::Result<String> {
    let token = office.token("view").await?;
    let url = format!("{}/api/v1/deliveries/{message}.0", office.address());
    let answer = ligature_tests::http()
        .get(url)
        .bearer_auth(token)
        .send()
        .await?;
    let body: Value = serde_json::from_slice(&answer.bytes().await?)?;
    Ok(body["run"]["release"]
        .as_str()
        .unwrap_or_default()
        .to_owned())
}

async fn from_a_search_to_an_edited_message(storage: Option<&str>) -> anyhow::Result<()> {
    let (office, mut ana) = office(storage).await?;
    ana.submit("/code-tables", "/code-tables", &[("name", "sexes")])
        .await?;
    let entry = [("code", "F"), ("value", "Female")];
    ana.submit(
        "/code-tables/clinic/sexes",
        "/code-tables/clinic/sexes/entry",
        &entry,
    )
    .await?;
    publish(&mut ana, "PID-5.2").await?;
    let mut ehr = Client::connect(office.host.channels[0].1).await?;
    for number in 1..=3 {
        ehr.exchange(message(number).as_bytes()).await?;
    }
    let started = Instant::now();
    while office.simulator.leads().len() < 3 {
        ensure!(started.elapsed() < Duration::from_secs(60), "no leads");
        sleep(Duration::from_millis(20)).await;
    }

    // By a patient's number, a control id, a lead; a name is no number, and part of one finds nothing.
    let found = search(&mut ana, "zq7002").await?;
    ensure!(found.contains("CTL2") && !found.contains("CTL1"), "{found}");
    ensure!(search(&mut ana, "CTL3").await?.contains("1 found"));
    let lead = office
        .simulator
        .leads_with("mx_MRN", "ZQ7001")
        .pop()
        .context("a lead")?;
    let started = Instant::now();
    while !search(&mut ana, &lead.id).await?.contains("CTL1") {
        ensure!(
            started.elapsed() < Duration::from_secs(60),
            "not found by its lead"
        );
        sleep(Duration::from_millis(20)).await;
    }
    for nothing in ["Fenwick", "ZQ70", "no such reason"] {
        ensure!(
            search(&mut ana, nothing)
                .await?
                .contains("Nothing was found")
        );
    }
    let page = ana
        .post(
            "/messages",
            "/messages",
            &[("text", ""), ("from", "2026-01-01T00:00")],
        )
        .await?;
    ensure!(
        page.to == "/messages?from=2026-01-01T00%3A00",
        "{}",
        page.to
    );
    let wrong = ana.get("/messages?to=yesterday").await?;
    ensure!(
        wrong.status == 422 && wrong.text.contains("times are as in"),
        "{}",
        wrong.status
    );

    // The message, masked and as it came; its values with their way.
    let list = says(&mut ana, "/messages?state=delivered", "CTL1").await?;
    let row = list.text.split("CTL1").next().context("a row")?;
    let first = row
        .rsplit("/messages/")
        .next()
        .and_then(|rest| rest.split('"').next());
    let first = first.context("an id")?.to_owned();
    let page = ana.get(&format!("/messages/{first}")).await?;
    ensure!(
        page.text.contains("title=\"PID-5.1 "),
        "{}",
        text_of(&page.text)
    );
    ensure!(!page.text.contains("Fenwick") && !page.text.contains("odalys"));
    let delivery = after(&page.text, "href=\"/deliveries/")?.to_owned();
    let place = format!("/deliveries/{delivery}");
    let page = ana.get(&place).await?;
    let said = text_of(&page.text);
    for part in [
        "PID-5.2",
        "title",
        "First Name",
        "release 1",
        "entry in sexes",
        "•••",
    ] {
        ensure!(said.contains(part), "{part} is not in {said}");
    }
    ensure!(
        !said.contains("Fenwick") && !said.contains("Odalys"),
        "{said}"
    );
    let page = ana.post(&place, &place, &[("reason", "no")]).await?;
    ensure!(page.status == 422 && !page.text.contains("Odalys"));
    let page = ana
        .post(&place, &place, &[("reason", "Ticket 4711")])
        .await?;
    let said = text_of(&page.text);
    for part in ["Odalys", "odalys", "entry for “F” in sexes", "Female"] {
        ensure!(said.contains(part), "{part} is not in {said}");
    }
    let records = office.host.pipeline.store.catalog().audit(None, 5).await?;
    ensure!(records[0].record.document == format!("{delivery}: Ticket 4711"));

    // Another release: the difference first, then either of them.
    let then = release_of(&office, &first).await?;
    publish(&mut ana, "PID-5.1").await?;
    let now = format!("{place}?with=now");
    let said = text_of(&ana.get(&now).await?.text);
    ensure!(
        said.contains("1 field differs, 3 stay") && said.contains("lead.FirstName"),
        "{said}"
    );
    let reason = [("with", "now"), ("reason", "Ticket 4711")];
    let said = text_of(&ana.post(&now, &place, &reason).await?.text);
    ensure!(said.contains("Odalys Fenwick"), "{said}");
    let again = format!("{place}/again");
    let page = ana
        .submit(&now, &again, &[("reason", "the name was wrong")])
        .await?;
    let as_now = page.to.trim_start_matches("/messages/").to_owned();
    ensure!(
        text_of(&page.text).contains("Made from an earlier message"),
        "{}",
        page.to
    );
    says(&mut ana, &page.to, "Delivered").await?;
    let page = ana
        .submit(&place, &again, &[("reason", "as it was then")])
        .await?;
    let as_then = page.to.trim_start_matches("/messages/").to_owned();
    says(&mut ana, &page.to, "Mapped and planned").await?;
    ensure!(release_of(&office, &as_then).await? == then);
    ensure!(release_of(&office, &as_now).await? != then);
    let old = ana.get(&format!("/messages/{first}")).await?;
    ensure!(
        text_of(&old.text).contains("Sent again as message 1 , message 2"),
        "{}",
        text_of(&old.text)
    );

    // Edited: another patient, a message of its own. Without the right to see, nobody edits.
    let edit = format!("/messages/{first}/edit");
    let edited = message(1).replace("ZQ7001", "ZQ7009").replace('\r', "\n");
    let fields = [
        ("message", edited.as_str()),
        ("reason", "wrong patient number"),
    ];
    let page = ana
        .submit(&format!("/messages/{first}"), &edit, &fields)
        .await?;
    says(&mut ana, &page.to, "Delivered").await?;
    ensure!(office.simulator.leads_with("mx_MRN", "ZQ7009").len() == 1);
    let broken = [("message", "PID|1"), ("reason", "wrong patient number")];
    let page = ana
        .submit(&format!("/messages/{first}"), &edit, &broken)
        .await?;
    ensure!(
        text_of(&page.text).contains("is no HL7 message"),
        "{}",
        text_of(&page.text)
    );
    let operator = office.token("view,operate").await?;
    let mut operator = Visitor::with_token(office.host.http, &operator);
    let page = operator
        .submit(&format!("/messages/{first}"), &edit, &fields)
        .await?;
    ensure!(page.to == format!("/messages/{first}"), "{}", page.to);

    // Whoever may only look finds messages, and sees no value.
    let viewer = office.token("view").await?;
    let mut viewer = Visitor::with_token(office.host.http, &viewer);
    ensure!(search(&mut viewer, "ZQ7003").await?.contains("CTL3"));
    for path in [place.as_str(), again.as_str(), edit.as_str()] {
        ensure!(
            viewer
                .post_bare(path, &[("reason", "Ticket 4711")])
                .await?
                .status
                == 403
        );
    }

    // Versions of the mapping in words, and samples that tell about nobody.
    let page = ana.get("/flows/registrations/mapping/versions").await?;
    let said = text_of(&page.text);
    ensure!(
        said.contains("First Name: from PID-5.1 instead of PID-5.2")
            && said.contains("ana@example.org"),
        "{said}"
    );
    let page = ana
        .get(&format!("/flows/registrations/mapping?version={then}"))
        .await?;
    ensure!(
        page.text.contains("draft 1") && page.text.contains("PID-5.2"),
        "{}",
        text_of(&page.text)
    );
    let samples = ana.get("/api/v1/flows/registrations/samples").await?;
    let samples: Value = serde_json::from_str(&samples.text)?;
    ensure!(
        samples["items"]
            .as_array()
            .is_some_and(|items| items.len() == 6),
        "{samples}"
    );
    let sample = ana
        .get(&format!("/api/v1/flows/registrations/samples/{first}"))
        .await?;
    ensure!(
        sample.text.contains("PID-5.1") && !sample.text.contains("Fenwick"),
        "{}",
        sample.text
    );
    office.host.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_are_found_and_sent_again_on_sqlite() -> anyhow::Result<()> {
    Box::pin(from_a_search_to_an_edited_message(None)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_are_found_and_sent_again_on_postgresql() -> anyhow::Result<()> {
    Box::pin(from_a_search_to_an_edited_message(Some(&postgres()?))).await
}
