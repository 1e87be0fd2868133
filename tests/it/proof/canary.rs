//! A candidate serves some patients, always the same, until it is promoted, ended, or breaks too often.

use std::collections::BTreeMap;

use anyhow::{Context, ensure};
use ligature_tests::bridge::{Bridge, PATIENCE};
use ligature_tests::clinic::Clinic;
use ligature_tests::mllp::Client;
use ligature_tests::site::quickstart;
use serde_json::{Value, json};

use super::fall_back::{broken, message, office, until};
use super::{ids, registration, send};

const CANARY: &str = "flows/registrations/canary";

/// The `n`th message of patient `number`.
fn again(number: usize, n: usize, name: &str) -> String {
    message(number, name).replace(&format!("|F{number}|"), &format!("|F{number}x{n}|"))
}

async fn flow(bridge: &Bridge) -> anyhow::Result<Value> {
    bridge.call("GET", "flows/registrations", json!({})).await
}

/// Does something to the candidate of the flow as it stands; gives the flow.
async fn act(bridge: &Bridge, action: &str, mut body: Value) -> anyhow::Result<Value> {
    body["version"] = flow(bridge).await?["version"].clone();
    let path = format!("{CANARY}{action}");
    Ok(bridge.call("POST", &path, body).await?["flow"].clone())
}

/// The releases that messages of each patient ran with last, by the number behind `F`.
async fn ran(bridge: &Bridge) -> anyhow::Result<BTreeMap<String, Vec<String>>> {
    let mut ran: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let page = bridge.call("GET", "messages?limit=500", json!({})).await?;
    for item in page["messages"].as_array().context("messages")? {
        let control_id = item["control_id"].as_str();
        let control_id = control_id.context("a control id")?.trim_start_matches('F');
        let patient = control_id.split('x').next().unwrap_or_default().to_owned();
        let id = item["deliveries"][0]["id"].as_str().context("an id")?;
        let path = format!("deliveries/{id}/replay");
        let replay = bridge.call("POST", &path, json!({})).await?;
        let release = replay["recorded"]["release"]
            .as_str()
            .context("a release")?;
        ran.entry(patient).or_default().push(release.to_owned());
    }
    Ok(ran)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_candidate_serves_named_patients_and_ends_when_it_breaks() -> anyhow::Result<()> {
    let bridge = office("fall_back = { failures = 3 }\n").await?;
    let honest = flow(&bridge).await?["flow"]["release"].clone();
    send(&bridge, [message(1, "Fenwick")]).await?;
    until(&bridge, &[("delivered", 1)]).await?;
    let first = ids(&bridge).await?.pop().context("a delivery")?;
    let with = broken(&bridge).await?;
    let begin = async |percent: u8, deliveries: &[&String]| {
        let mut body = with.clone();
        body["percent"] = percent.into();
        body["deliveries"] = json!(deliveries);
        act(&bridge, "", body).await
    };
    let nobody = begin(0, &[]).await.err().context("nobody")?.to_string();
    ensure!(nobody.contains("it would serve nobody"), "{nobody}");
    let stranger = begin(0, &[&"0199".to_owned()]).await.err();
    let stranger = stranger.context("no delivery")?.to_string();
    ensure!(stranger.contains("there is no delivery"), "{stranger}");
    let begun = begin(0, &[&first]).await?;
    let candidate = begun["canary"]["release"].clone();
    ensure!(begun["release"] == honest && candidate != honest, "{begun}");
    ensure!(!begun.to_string().contains("M1"), "{begun}");

    let more = [
        again(1, 1, "Fenwick"),
        message(2, "Rye"),
        message(3, "Trap"),
    ];
    send(&bridge, more).await?;
    until(&bridge, &[("delivered", 4)]).await?;
    let ran = ran(&bridge).await?;
    ensure!(
        ran["1"].iter().any(|release| candidate == release.as_str()),
        "{ran:?}"
    );
    ensure!(ran["2"] == [honest.as_str().unwrap_or_default()], "{ran:?}");
    ensure!(ran["3"] == ran["2"], "{ran:?}");
    let standing = bridge.call("GET", CANARY, json!({})).await?;
    ensure!(standing["candidate"]["deliveries"] == 1, "{standing}");
    ensure!(
        standing["candidate"]["states"]["delivered"] == 1,
        "{standing}"
    );

    // Three deliveries of the patient whom it serves, all of which it breaks on.
    send(&bridge, (2..5).map(|n| again(1, n, "Trap"))).await?;
    until(&bridge, &[("dead", 0), ("delivered", 7)]).await?;
    let ended = flow(&bridge).await?["flow"].clone();
    ensure!(
        ended["release"] == honest && ended["fell_back"].is_null(),
        "{ended}"
    );
    ensure!(ended["canary"]["ended"]["failures"] == 3, "{ended}");
    let records = bridge.call("GET", "audit", json!({})).await?;
    let records = records["items"].as_array().context("records")?;
    let told = |record: &&Value| record["action"] == "end-canary" && record["actor"] == "host";
    ensure!(records.iter().filter(told).count() == 1, "{records:?}");
    // Nobody is served by it, and a person takes it away.
    send(&bridge, [again(1, 5, "Trap")]).await?;
    until(&bridge, &[("dead", 0), ("delivered", 8)]).await?;
    let promoted = act(&bridge, "/promote", json!({})).await;
    ensure!(promoted.is_err(), "it has ended");
    let gone = act(&bridge, "/end", json!({})).await?;
    ensure!(gone["canary"].is_null(), "{gone}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_share_of_patients_is_served_always_the_same() -> anyhow::Result<()> {
    const PATIENTS: usize = 40;
    let bridge = office("").await?;
    let honest = flow(&bridge).await?["flow"]["release"].clone();
    let with = broken(&bridge).await?;
    let begin = async |percent: u8| {
        let mut body = with.clone();
        body["percent"] = percent.into();
        act(&bridge, "", body).await
    };
    let candidate = begin(40).await?["canary"]["release"].clone();
    for n in 0..2 {
        let messages = (0..PATIENTS).map(|number| again(number, n, "Rye"));
        send(&bridge, messages).await?;
    }
    until(&bridge, &[("delivered", 2 * PATIENTS as u64)]).await?;
    let served = |ran: &BTreeMap<String, Vec<String>>| -> anyhow::Result<Vec<String>> {
        let mut served = Vec::new();
        for (patient, releases) in ran {
            ensure!(
                releases.iter().all(|release| *release == releases[0]),
                "{patient}"
            );
            if candidate == releases[0].as_str() {
                served.push(patient.clone());
            }
        }
        Ok(served)
    };
    let before = served(&ran(&bridge).await?)?;
    ensure!(!before.is_empty() && before.len() < PATIENTS, "{before:?}");
    let standing = bridge.call("GET", CANARY, json!({})).await?;
    let deliveries = |whose: &str| standing[whose]["deliveries"].as_u64();
    ensure!(
        deliveries("candidate") == Some(2 * before.len() as u64),
        "{standing}"
    );
    let rest = 2 * (PATIENTS - before.len()) as u64;
    ensure!(deliveries("in_force") == Some(rest), "{standing}");

    // More of them, and all who were; then everybody.
    let more = act(&bridge, "", json!({ "percent": 80 })).await?;
    ensure!(more["canary"]["release"] == candidate, "{more}");
    let promoted = act(&bridge, "/promote", json!({})).await?;
    ensure!(
        promoted["release"] == candidate && promoted["canary"].is_null(),
        "{promoted}"
    );
    send(&bridge, [again(0, 2, "Rye")]).await?;
    until(&bridge, &[("delivered", 2 * PATIENTS as u64 + 1)]).await?;

    // The one that was in force may be a candidate, and ends.
    let back = json!({ "release": honest, "percent": 10 });
    ensure!(act(&bridge, "", back).await?["canary"]["release"] == honest);
    let ended = act(&bridge, "/end", json!({})).await?;
    ensure!(
        ended["canary"].is_null() && ended["release"] == candidate,
        "{ended}"
    );
    let itself = json!({ "release": candidate, "percent": 10 });
    let itself = act(&bridge, "", itself).await;
    ensure!(itself.is_err(), "a candidate is beside another release");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_tries_a_candidate_and_promotes_it() -> anyhow::Result<()> {
    let clinic = Clinic::of_registrations("").await?;
    let site = &clinic.site;
    let canary = |args: &[&str]| site.run(&[&["flow", "canary"], args].concat());
    let file = site.path("new.toml");
    let mapping = quickstart("adt-a04-lead.toml")?;
    std::fs::write(
        &file,
        mapping.replacen("version = \"1\"", "version = \"2\"", 1),
    )?;
    let file = file.display().to_string();
    let begun = canary(&["start", "ADT^A04", "--mapping", &file, "--percent", "100"])?;
    ensure!(begun.contains("serves 100 % of the patients"), "{begun}");
    let release = begun.split_whitespace().nth(1).context("a release")?;

    let mut client = Client::connect(site.mllp).await?;
    client.exchange(registration(1, "Rye").as_bytes()).await?;
    clinic.settled(PATIENCE).await?;
    let shown = canary(&["show", "ADT^A04"])?;
    let line = format!("candidate  {release}  1 deliveries, 0 broke, 1 delivered");
    ensure!(shown.contains(&line), "{shown}");
    let page = site.page("/flows/ADT^A04").await?;
    ensure!(page.contains("serves 100 % of the patients"), "{page}");

    let promoted = canary(&["promote", "ADT^A04"])?;
    ensure!(
        promoted == format!("release {release} is in force\n"),
        "{promoted}"
    );
    let again = canary(&["end", "ADT^A04"]).err().context("there is none")?;
    ensure!(again.to_string().contains("the flow has none"), "{again:#}");
    Ok(())
}
