//! Promises 1, 2 and 3 on the way to the EHR: what was answered 200 is sent, a repetition has the same control id, and a
//! patient's changes arrive in order, wherever the host is killed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, ensure};
use ligature::simulator::ehr::{self, Handle, Kind, Mood};
use ligature_tests::bridge;
use ligature_tests::clinic::Clinic;
use ligature_tests::http;
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::{TEMPLATE, channel, flow};

const SENDERS: usize = 8;
const KILLS: usize = 30;

/// Changes of one lead, one behind the other.
const CHANGES: usize = 4;

const MAPPING: &str = r#"
format = 1
direction = "leadsquared-to-ehr"
name = "Patient"
version = "1"

[[place]]
target = "PID-3.1"
field = "lead.mx_MRN"

[[place]]
target = "PID-5.1"
field = "lead.LastName"
"#;

fn flows(ehr: &Handle) -> String {
    let outbound =
        "webhook = \"lead-update\", condition = [{ field = \"mx_MRN\", present = true }]";
    let flow = flow("update", "out", "ADT^A08", "lead", outbound);
    let flow = flow.replace(
        "outbound =",
        "name = \"update\"\nmapping = \"map.toml\"\ntemplate = \"template.hl7\"\noutbound =",
    );
    let channel = channel("out", ehr).replace("id = \"out\"", "id = \"out\"\nname = \"out\"");
    format!("{channel}{flow}")
}

/// What LeadSquared tells of the `change`th change of a lead.
fn told(lead: &str, change: usize) -> String {
    let snapshot = |change: usize| json!({ "ProspectID": lead, "ProspectAutoId": "7", "mx_MRN": format!("M{lead}"), "LastName": format!("{lead}/{change}") });
    json!({ "Before": snapshot(change - 1), "After": snapshot(change) }).to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_told_is_lost_or_sent_twice_by_kills() -> anyhow::Result<()> {
    let ehr = bridge::ehr(ehr::Settings::default()).await?;
    // Some messages are taken, and their acknowledgement is lost.
    ehr.tell(Mood {
        count: Some(20),
        ..Mood::always(Kind::Half)
    });
    let documents = flows(&ehr);
    let text = |api: &str| {
        format!(
            "[account]\nid = \"clinic\"\nname = \"Clinic\"\napi = \"{api}\"\nidentifier_fields = [\"mx_MRN\"]\n\
             rate_plan = {{ calls = 0, window_ms = 5000 }}\n\n{documents}"
        )
    };
    let files = [("map.toml", MAPPING), ("template.hl7", TEMPLATE)];
    let mut clinic = Clinic::of_files(
        ligature_tests::clinic::unlimited(),
        |api, _| text(api),
        &files,
    )
    .await?;
    clinic.host.take().context("a host")?.stop()?;
    let token = clinic
        .site
        .run(&["token", "add", "test", "--rights", "all"])?;
    let token = token
        .split_whitespace()
        .last()
        .context("a token")?
        .to_owned();
    let host = clinic.site.start().await?;
    let url = format!("http://{}", clinic.site.http);
    let made = http().post(format!("{url}/api/v1/accounts/clinic/webhooks/secret"));
    let made = made
        .bearer_auth(&token)
        .body("{}")
        .send()
        .await?
        .bytes()
        .await?;
    let made: serde_json::Value = serde_json::from_slice(&made)?;
    let secret = made["secret"]
        .as_str()
        .with_context(|| made.to_string())?
        .to_owned();
    host.kill();

    let done = Arc::new(AtomicBool::new(false));
    let mut senders = JoinSet::new();
    for sender in 0..SENDERS {
        let hook = format!("{url}/hooks/clinic/lead-update");
        senders.spawn(tell(hook, secret.clone(), sender, done.clone()));
    }
    let mut random = crate::crash::Random(0x0b0d_1234_5678_9abc);
    for _ in 0..KILLS {
        let host = clinic.site.start().await?;
        sleep(Duration::from_millis(50 + random.next() % 450)).await;
        host.kill();
    }
    clinic.host = Some(clinic.site.start().await?);
    done.store(true, Ordering::Relaxed);
    let mut leads = Vec::new();
    while let Some(told) = timeout(Duration::from_secs(60), senders.join_next()).await? {
        leads.extend(told??);
    }
    let counts = clinic.settled(Duration::from_secs(240)).await?;
    ensure!(
        counts["deliveries"]["dead"] == 0,
        "{counts}\n{}",
        clinic.site.log()?
    );

    let mut arrived: BTreeMap<String, Vec<(usize, String)>> = BTreeMap::new();
    for received in ehr.received() {
        let name = received.field("PID", 5);
        let (lead, change) = name.split_once('/').context("a lead and a change")?;
        let changes = arrived.entry(lead.to_owned()).or_default();
        changes.push((change.parse()?, received.control_id));
    }
    ensure!(arrived.len() == leads.len() && leads.len() >= SENDERS);
    let mut repeats = 0;
    for lead in leads {
        let mut changes = arrived.remove(&lead).context("every lead")?;
        ensure!(
            changes.is_sorted_by_key(|(change, _)| *change),
            "{lead} went back: {changes:?}"
        );
        let all = changes.len();
        changes.dedup();
        repeats += all - changes.len();
        let numbers: Vec<usize> = changes.iter().map(|(change, _)| *change).collect();
        // A second control id for one change would stand here twice.
        ensure!(
            numbers == (1..=CHANGES).collect::<Vec<_>>(),
            "{lead}: {changes:?}"
        );
    }
    ligature_tests::say(&format!(
        "{repeats} messages repeated with their control id"
    ));
    Ok(())
}

/// Tells of changes as LeadSquared does, each until it is answered 200; gives the leads.
async fn tell(
    hook: String,
    secret: String,
    sender: usize,
    done: Arc<AtomicBool>,
) -> anyhow::Result<Vec<String>> {
    let mut leads = Vec::new();
    while !done.load(Ordering::Relaxed) {
        let lead = format!("{sender:08x}-0000-4000-8000-{:012x}", leads.len());
        for change in 1..=CHANGES {
            loop {
                let request = http().post(&hook).header("x-ligature-secret", &secret);
                let answer = request.body(told(&lead, change)).send().await;
                match answer {
                    Ok(answer) if answer.status().is_success() => break,
                    _ => sleep(Duration::from_millis(10)).await,
                }
            }
        }
        leads.push(lead);
    }
    Ok(leads)
}

/// LeadSquared gathers changes and tells of many at once.
#[tokio::test(flavor = "multi_thread")]
async fn a_burst_is_durable_and_arrives_in_order() -> anyhow::Result<()> {
    const PAYLOADS: usize = 1_000;
    const AT_ONCE: usize = 16;
    const LEADS: usize = 500;
    let ehr = bridge::ehr(ehr::Settings::default()).await?;
    let outbound =
        "webhook = \"lead-update\", condition = [{ field = \"mx_MRN\", present = true }]";
    let documents = [
        channel("out", &ehr),
        flow("update", "out", "ADT^A08", "lead", outbound),
    ];
    let bridge = super::open(&documents.concat(), &[("update".into(), MAPPING.into())]).await?;
    let secret = bridge
        .call("POST", "accounts/clinic/webhooks/secret", json!({}))
        .await?;
    let secret = secret["secret"].as_str().context("a secret")?.to_owned();
    let hook = format!("{}/hooks/clinic/lead-update", bridge.office.address());

    // Each connection has leads of its own, so that their changes are told in order.
    let mut tasks = JoinSet::new();
    for task in 0..AT_ONCE {
        let (hook, secret) = (hook.clone(), secret.clone());
        tasks.spawn(async move {
            let mut changes: BTreeMap<usize, usize> = BTreeMap::new();
            let (mut times, mut next) = (Vec::new(), 0);
            for payload in (task..PAYLOADS).step_by(AT_ONCE) {
                let entries: Vec<serde_json::Value> = (0..=payload % 25)
                    .map(|_| {
                        next += 1;
                        let lead = task + AT_ONCE * (next % (LEADS / AT_ONCE));
                        let change = changes.entry(lead).or_default();
                        *change += 1;
                        let id = format!("{lead:08x}-0000-4000-8000-000000000000");
                        serde_json::from_str(&told(&id, *change)).expect("our own text")
                    })
                    .collect();
                let body = serde_json::to_string(&entries)?;
                let started = tokio::time::Instant::now();
                let request = http().post(&hook).header("x-ligature-secret", &secret);
                let answer = request.body(body).send().await?;
                ensure!(answer.status() == 200);
                times.push(started.elapsed());
            }
            anyhow::Ok((times, changes))
        });
    }
    let (mut times, mut changes) = (Vec::new(), BTreeMap::new());
    while let Some(ended) = tasks.join_next().await {
        let (took, made) = ended??;
        times.extend(took);
        changes.extend(made);
    }
    times.sort();
    let counts = bridge.call("GET", "counts", json!({})).await?;
    let kept: u64 = counts["deliveries"]
        .as_object()
        .context("counts")?
        .values()
        .filter_map(serde_json::Value::as_u64)
        .sum();
    let told: usize = changes.values().sum();
    ensure!(kept as usize == told, "{kept} of {told} are durable");
    let started = tokio::time::Instant::now();
    let received = timeout(
        Duration::from_secs(300),
        ehr.until(|received| received.len() >= told),
    )
    .await;
    let received =
        received.with_context(|| format!("{} of {told} arrived", ehr.received().len()))?;
    ligature_tests::say(&format!(
        "{PAYLOADS} payloads, {told} entries: answered in p50 {:?}, p99 {:?}; sent {:?} later",
        times[times.len() / 2],
        times[times.len() * 99 / 100],
        started.elapsed()
    ));
    let mut last: BTreeMap<String, usize> = BTreeMap::new();
    for received in received {
        let name = received.field("PID", 5);
        let (lead, change) = name.split_once('/').context("a lead and a change")?;
        let last = last.entry(lead.to_owned()).or_default();
        ensure!(change.parse::<usize>()? == *last + 1, "{name} after {last}");
        *last += 1;
    }
    bridge.office.host.stop().await;
    Ok(())
}
