//! Any stored message through any release, and a day against what was recorded of it.

use anyhow::{Context, ensure};
use ligature::simulator::ehr;
use ligature_tests::bridge;
use ligature_tests::clinic::Clinic;
use ligature_tests::http;
use ligature_tests::mllp::Client;
use serde_json::{Value, json};
use sqlx::ConnectOptions;

use super::{CITY_IN_CAPITALS, activate, candidate, ids, mapping, open, registration, send};
use crate::outbound::{self, PATIENT};

/// The fields of a replay with what became of them.
fn changes(replay: &Value) -> Vec<String> {
    let fields = replay["fields"].as_array().into_iter().flatten();
    let said = |field: &Value| {
        let (name, change) = (field["field"].as_str(), field["change"].as_str());
        format!("{} {}", name.unwrap_or("?"), change.unwrap_or("?"))
    };
    fields.map(said).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_runs_again_through_any_release() -> anyhow::Result<()> {
    let bridge = open("").await?;
    send(&bridge, [registration(1, "Rye"), registration(2, "")]).await?;
    bridge.settled(2).await?;
    let capitals = candidate(&bridge, &mapping(2, CITY_IN_CAPITALS)).await?;
    let without = candidate(&bridge, &mapping(3, "")).await?;
    let ids = ids(&bridge).await?;
    let replay = async |at: usize, body: Value| {
        let path = format!("deliveries/{}/replay", ids[at]);
        bridge.call("POST", &path, body).await
    };
    let calls = bridge.office.simulator.counts().calls;

    // As it was carried out.
    let same = replay(0, json!({})).await?;
    ensure!(same["is_same"] == true, "{same}");
    ensure!(
        same["outcome"] == "wrote" && same["fuel"].as_u64() > Some(1_000),
        "{same}"
    );
    let fields = changes(&same);
    ensure!(fields.contains(&"lead.mx_City same".into()), "{same}");
    ensure!(!same.to_string().contains("Rye"), "{same}");
    ensure!(replay(0, json!({})).await?["fuel"] == same["fuel"]);

    // Through others.
    let other = replay(0, json!({ "release": capitals })).await?;
    ensure!(other["is_same"] == false, "{other}");
    let expected = [
        "lead.FirstName same",
        "lead.LastName same",
        "lead.mx_City changed",
        "lead.mx_MRN same",
    ];
    ensure!(changes(&other) == expected, "{other}");
    ensure!(!other.to_string().contains("RYE"), "{other}");
    let other = replay(0, json!({ "release": capitals, "values": true })).await?;
    let city = &other["fields"][2];
    ensure!(city["was"] == "Rye" && city["now"] == "RYE", "{other}");
    let other = replay(0, json!({ "release": without })).await?;
    ensure!(changes(&other)[2] == "lead.mx_City newly-empty", "{other}");
    let other = replay(1, json!({ "release": without })).await?;
    ensure!(changes(&other).len() == 3, "{other}");
    let gone = replay(0, json!({ "release": "0123" })).await;
    let gone = gone.err().context("no such release")?.to_string();
    ensure!(
        gone.contains("409") && gone.contains("has no release"),
        "{gone}"
    );

    // Values are for those who may see them.
    let token = bridge.office.token("view").await?;
    let url = format!(
        "{}/api/v1/deliveries/{}/replay",
        bridge.office.address(),
        ids[0]
    );
    for (body, expected) in [(json!({}), 200), (json!({ "values": true }), 403)] {
        let request = http().post(&url).bearer_auth(&token).body(body.to_string());
        let status = request.send().await?.status().as_u16();
        ensure!(status == expected, "{body}: {status}");
    }
    // No call was made for any of it.
    ensure!(bridge.office.simulator.counts().calls == calls);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_recorded_stays_true_after_merges_releases_and_tables() -> anyhow::Result<()> {
    let bridge = open("").await?;
    send(&bridge, [registration(1, "Rye"), registration(2, "Bath")]).await?;
    bridge.settled(2).await?;
    // M1 is M2 from now on; the next message still says M1.
    let merge = "MSH|^~\\&|EPIC|MAIN|LIG|LSQ|20261120093000||ADT^A40|G1|P|2.5.1\rEVN|A40\r\
                 PID|1||M2^^^CLINIC^MR||Fenwick^Odalys\rMRG|M1^^^CLINIC^MR\r";
    send(&bridge, [merge.to_owned(), registration(1, "Wells")]).await?;
    bridge.settled(4).await?;
    activate(&bridge, json!({ "mapping": mapping(2, CITY_IN_CAPITALS) })).await?;
    send(&bridge, [registration(3, "York")]).await?;
    bridge.settled(5).await?;

    let ids = ids(&bridge).await?;
    let path = format!("deliveries/{}/replay", ids[2]);
    let merged = bridge
        .call("POST", &path, json!({ "values": true }))
        .await?;
    let mrn = merged["fields"].as_array().context("fields")?;
    let mrn = mrn.iter().find(|field| field["field"] == "lead.mx_MRN");
    ensure!(
        merged["is_same"] == true && mrn.context("the number")?["now"] == "M2",
        "{merged}"
    );
    let verified = bridge.call("POST", "replays/verify", json!({})).await?;
    ensure!(
        verified["checked"] == 4 && verified["same"] == 4 && verified["next"].is_null(),
        "{verified}"
    );
    // A part at a time.
    let part = json!({ "flow": "registrations", "limit": 3 });
    let first = bridge.call("POST", "replays/verify", part.clone()).await?;
    let mut second = part;
    second["after"] = first["next"].clone();
    let second = bridge.call("POST", "replays/verify", second).await?;
    ensure!(
        first["checked"] == 3 && second["checked"] == 1,
        "{first} {second}"
    );
    ensure!(second["next"].is_null());
    let none = json!({ "to": "2020-01-01T00:00:00Z" });
    let none = bridge.call("POST", "replays/verify", none).await?;
    ensure!(none["checked"] == 0, "{none}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_for_the_ehr_run_on_what_was_read_for_them() -> anyhow::Result<()> {
    let ehr = bridge::ehr(ehr::Settings::default()).await?;
    let documents = [
        outbound::channel("out", &ehr),
        outbound::flow(
            "update",
            "out",
            "ADT^A08",
            "lead",
            "webhook = \"lead-update\"",
        ),
    ]
    .concat();
    let flows = [("update".to_owned(), PATIENT.to_owned())];
    let bridge = outbound::open(&documents, &flows).await?;
    let lead = bridge.create_lead(&[
        ("FirstName", "Odalys"),
        ("LastName", "Quill"),
        ("mx_MRN", "77"),
        ("mx_City", "Rye"),
    ])?;
    ensure!(bridge.edit_lead(&lead, &[("mx_City", "Bath")])?);
    bridge.until(&ehr, 1).await?;
    ensure!(bridge.edit_lead(&lead, &[("mx_City", "")])?);
    bridge.until(&ehr, 2).await?;
    bridge.quiet(bridge::PATIENCE).await?;
    // What the lead holds now is no matter.
    let verified = bridge.call("POST", "replays/verify", json!({})).await?;
    ensure!(
        verified["checked"] == 2 && verified["same"] == 2,
        "{verified} {:?}",
        bridge.deliveries().await?
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_tells_what_came_to_something_else() -> anyhow::Result<()> {
    let mut clinic = Clinic::of_registrations("").await?;
    let mut client = Client::connect(clinic.site.mllp).await?;
    for number in 0..3 {
        client
            .exchange(registration(number, "Rye").as_bytes())
            .await?;
    }
    clinic.settled(bridge::PATIENCE).await?;
    drop(client);
    clinic.host.take().context("a host")?.stop()?;
    let verify = ["flow", "replay", "--verify"];
    let said = clinic.site.run(&verify)?;
    ensure!(said == "3 run again, 0 different\n", "{said}");

    // Somebody has been at the record of one.
    let file = clinic.site.path("ligature.db");
    let mut connection = sqlx::sqlite::SqliteConnectOptions::new()
        .filename(&file)
        .connect()
        .await?;
    let spoilt =
        "update run set outcome = 'skipped' where delivery_id = (select max(delivery_id) from run)";
    sqlx::query(spoilt).execute(&mut connection).await?;
    let (delivery,): (String,) = sqlx::query_as("select max(delivery_id) from run")
        .fetch_one(&mut connection)
        .await?;
    sqlx::Connection::close(connection).await?;
    let output = std::process::Command::new(ligature_tests::ligature_binary())
        .args(verify)
        .args([
            "--config".as_ref(),
            clinic.site.path("ligature.toml").as_os_str(),
        ])
        .output()?;
    let said = String::from_utf8(output.stdout)?;
    ensure!(output.status.code() == Some(1), "{said}");
    ensure!(
        said.contains(&delivery) && said.contains("recorded skipped, now wrote"),
        "{said}"
    );
    ensure!(said.ends_with("3 run again, 1 different\n"), "{said}");

    let one = clinic.site.run(&["flow", "replay", &delivery])?;
    ensure!(
        one.contains("lead.LastName  ") && !one.contains("Fenwick"),
        "{one}"
    );
    let one = clinic
        .site
        .run(&["flow", "replay", &delivery, "--values"])?;
    ensure!(one.contains("Fenwick"), "{one}");
    let since = clinic
        .site
        .run(&["flow", "bisect", &delivery, "lead.LastName"])?;
    ensure!(
        since.starts_with("lead.LastName was never otherwise: since the first release "),
        "{since}"
    );
    Ok(())
}
