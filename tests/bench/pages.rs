//! (i) Pages of the console over a store that is as full as after years: server time of each, on SQLite.
//!
//! `bench pages 10000000` fills a store of so many messages once, beside the bench itself, and takes it again the next time.
//! The goal is 50 ms at the 95th percentile.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, ensure};
use ligature::simulator::lead_squared::Settings;
use ligature_tests::archive;
use ligature_tests::mllp::Client;
use ligature_tests::office::{Office, lead_squared};
use ligature_tests::visitor::Visitor;
use serde_json::{Map, Value, json};
use tokio::time::{Instant, sleep};

use crate::load::{Times, micros, registration};

/// Messages unless it is said.
const MESSAGES: u64 = 200_000;

/// Times that each page is asked for.
const ASKED: usize = 60;

/// Longest that is waited for the one real message.
const PATIENCE: Duration = Duration::from_secs(30);

fn documents() -> String {
    // Nothing of it is so old that it goes.
    let mut documents = String::from(
        "[[channels]]\nid = \"ehr\"\naddress = \"127.0.0.1:0\"\n\
         retention = { delivered_days = 3650, skipped_days = 3650, dead_days = 3650, header_facts_days = 3650 }\n",
    );
    for number in 0..4 {
        documents.push_str(&format!(
            "[[flows]]\nid = \"archive-{number}\"\ndirection = \"ehr-to-leadsquared\"\nchannel = \"ehr\"\n\
             event = \"ADT^A0{}\"\nentity = \"lead\"\nprimary_search_field = \"mx_MRN\"\n",
            number + 1
        ));
    }
    documents
}

async fn office(file: &std::path::Path) -> anyhow::Result<Office> {
    let settings = Settings {
        rate_limit: None,
        ..Settings::default()
    };
    let storage = format!("sqlite:{}", file.display());
    Office::open(Some(&storage), lead_squared(settings).await?, &documents()).await
}

pub(crate) async fn run(messages: Option<u64>) -> anyhow::Result<Value> {
    let messages = messages.unwrap_or(MESSAGES);
    let here = std::env::current_exe()?;
    let folder: PathBuf = here.parent().context("a folder")?.join("pages");
    std::fs::create_dir_all(&folder)?;
    let file = folder.join(format!("{messages}.db"));
    let complete = folder.join(format!("{messages}.complete"));
    if !complete.exists() {
        if file.exists() {
            std::fs::remove_file(&file)?;
        }
        office(&file).await?.host.stop().await;
        let started = Instant::now();
        archive::fill(&format!("sqlite:{}", file.display()), messages, |done| {
            eprintln!("  {done} messages after {} s", started.elapsed().as_secs());
        })
        .await?;
        std::fs::write(&complete, "")?;
    }
    let office = office(&file).await?;
    let mut ana = Visitor::new(office.host.http);
    match ligature::serve::first_start(&office.host).await? {
        Some(link) => ana.begin(&link).await?,
        None => drop(ana.sign_in("ana@example.org", "three blue herons").await?),
    }
    let mut ehr = Client::connect(office.host.channels[0].1).await?;
    let number = usize::try_from(jiff::Timestamp::now().as_millisecond() % 10_000_000)?;
    ehr.exchange(registration(number).as_bytes()).await?;
    let started = Instant::now();
    let real = loop {
        let page = ana.get("/messages").await?.text;
        let id = page
            .split("href=\"/messages/")
            .nth(1)
            .and_then(|rest| rest.split('"').next());
        let id = id.context("no message")?.to_owned();
        if ana.get(&format!("/messages/{id}")).await?.status == 200 || started.elapsed() > PATIENCE
        {
            break id;
        }
        sleep(Duration::from_millis(50)).await;
    };
    let middle = archive::NEWEST_MS - messages * 1_500;
    let middle = format!("{:08x}-{:04x}", middle >> 16, middle & 0xffff);
    let mut pages = vec![
        ("overview", "/overview".to_owned()),
        ("flows", "/flows".into()),
        ("flow", "/flows/archive-1".into()),
        ("mapping", "/flows/archive-1/mapping".into()),
        ("messages", "/messages".into()),
        ("messages, rows", "/messages?rows=1".into()),
        (
            "messages, half way down",
            format!("/messages?before={middle}"),
        ),
        ("messages, dead", "/messages?state=dead".into()),
        (
            "messages, dead of a flow, half way",
            format!("/messages?state=dead&flow=archive-0&before={middle}"),
        ),
        ("messages, of a flow", "/messages?flow=archive-2".into()),
        ("messages, by reason", "/messages?reason=refused".into()),
        (
            "messages, of a week",
            "/messages?from=2026-05-01&to=2026-05-07".into(),
        ),
        ("message", format!("/messages/{real}")),
        ("channels", "/channels".into()),
        ("code tables", "/code-tables".into()),
        ("access", "/access".into()),
        ("audit", "/audit".into()),
    ];
    let delivery = format!("/deliveries/{real}.0");
    match ana.get(&delivery).await?.status {
        200 => pages.push(("delivery", delivery)),
        status => eprintln!("  no flow ran the message ({status}): its delivery is not asked for"),
    }
    let mut figures = Map::new();
    for (name, path) in &pages {
        let mut times = Vec::new();
        for _ in 0..ASKED {
            let started = Instant::now();
            let seen = ana.get(path).await?;
            times.push(started.elapsed());
            ensure!(seen.status == 200, "{path}: {}", seen.status);
        }
        note(&mut figures, name, times);
    }
    let home = ana.get("/messages").await?.text;
    let token = home
        .split("name=\"csrf\" value=\"")
        .nth(1)
        .and_then(|rest| rest.split('"').next());
    let token = token.context("a token")?.to_owned();
    for (name, text) in [
        ("search, a number", format!("ZB{number:07}")),
        ("search, nothing", "ZX0000000".into()),
        ("search, text of a reason", "field number 17".into()),
        ("search, code of a reason", "skipped by mapping".into()),
    ] {
        let mut times = Vec::new();
        for _ in 0..ASKED {
            let fields = [("csrf", token.as_str()), ("text", text.as_str())];
            let started = Instant::now();
            let seen = ana.post_bare("/messages", &fields).await?;
            times.push(started.elapsed());
            ensure!(seen.status == 200, "{name}: {}", seen.status);
        }
        note(&mut figures, name, times);
    }
    office.host.stop().await;
    let size = std::fs::metadata(&file)?.len();
    Ok(json!({ "messages": messages, "store_bytes": size, "pages": figures }))
}

/// Writes down what a page took.
fn note(figures: &mut Map<String, Value>, name: &str, times: Vec<Duration>) {
    let times = Times::new(times);
    let ms = |share| micros(times.quantile(share)) / 1_000.0;
    eprintln!("  {name}: {:.1} ms", ms(0.95));
    figures.insert(
        name.to_owned(),
        json!({ "p50_ms": ms(0.5), "p95_ms": ms(0.95) }),
    );
}
