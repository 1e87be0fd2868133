//! What a channel keeps out: answered like any other, in no flow, and kept by its header facts alone.

use anyhow::ensure;
use ligature_tests::clinic::Clinic;
use ligature_tests::mllp::Client;
use serde_json::Value;

/// A registration of `name` with further segments; MSH-10 is `id`.
fn registration(id: &str, name: &str, segments: &str) -> String {
    format!(
        "MSH|^~\\&|EPIC|MAIN|LIG|LSQ|20261120093000||ADT^A04|{id}|P|2.5.1\rEVN|A04\r\
         PID|1||4711^^^CLINIC^MR||{name}\r{segments}"
    )
}

fn answer_code(answer: &[u8]) -> String {
    let answer = String::from_utf8_lossy(answer);
    let msa = answer.split('\r').find(|line| line.starts_with("MSA"));
    msa.unwrap_or_default().to_owned()
}

async fn newest(clinic: &Clinic) -> anyhow::Result<Value> {
    let page = clinic.site.json("/api/v1/messages").await?;
    Ok(page["messages"][0].clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_excluded_message_is_acknowledged_and_only_its_header_facts_are_kept()
-> anyhow::Result<()> {
    let clinic = Clinic::of_registrations(
        "exclusions = { names = [\"ZZ*\"], vip = [\"9\"], proposals = [\"behavioural-health\"] }",
    )
    .await?;
    let mut client = Client::connect(clinic.site.mllp).await?;
    for (id, name, segments, reason) in [
        ("1", "Zztop^Odalys", "", "excluded-name"),
        (
            "2",
            "Fenwick^Odalys",
            "PD1||||||||||||Y\r",
            "excluded-protected",
        ),
        (
            "3",
            "Fenwick^Odalys",
            "PV1|1|O||||||||||||||9\r",
            "excluded-vip",
        ),
        (
            "4",
            "Fenwick^Odalys",
            "PV1|1|O|7^^^^^^^^Outpatient Psychiatry\r",
            "excluded-location",
        ),
    ] {
        let message = registration(id, name, segments);
        // Repeated: known although nothing of the patient is.
        for _ in 0..2 {
            let answer = answer_code(&client.exchange(message.as_bytes()).await?);
            ensure!(answer == format!("MSA|AA|{id}"), "{answer}");
        }
        let seen = newest(&clinic).await?;
        ensure!(
            seen["control_id"] == id && seen["state"] == "excluded",
            "{seen}"
        );
        ensure!(seen["reason_code"] == reason, "{seen}");
        ensure!(seen["kept"] == "header-facts", "{seen}");
        ensure!(seen["size_bytes"] == message.len(), "{seen}");
        ensure!(
            seen["deliveries"].as_array().is_some_and(Vec::is_empty),
            "{seen}"
        );
        let address = format!("/messages/{}", seen["id"].as_str().unwrap_or_default());
        let one = clinic.site.json(&format!("/api/v1{address}")).await?;
        let page = clinic.site.page(&address).await?;
        ensure!(
            page.contains("<strong>Excluded</strong>") && page.contains("only these facts"),
            "{page}"
        );
        for text in [one.to_string(), page] {
            for value in ["Zztop", "Fenwick", "Odalys", "4711", "Psychiatry"] {
                ensure!(!text.contains(value), "{value} in {text}");
            }
        }
    }
    let page = clinic.site.json("/api/v1/messages").await?;
    ensure!(
        page["messages"]
            .as_array()
            .is_some_and(|all| all.len() == 4),
        "{page}"
    );

    // Nobody else is affected.
    let message = registration("5", "Fenwick^Odalys", "PD1||||||||||||N\r");
    client.exchange(message.as_bytes()).await?;
    clinic.settled(std::time::Duration::from_secs(20)).await?;
    let seen = newest(&clinic).await?;
    ensure!(seen["deliveries"][0]["state"] == "delivered", "{seen}");
    ensure!(seen["kept"] == "whole", "{seen}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sender_cannot_tell_an_excluded_message() -> anyhow::Result<()> {
    let clinic = Clinic::of_registrations(
        "no_flow = \"reject\"\nsenders = [{ application = \"EPIC\" }]\n\
         exclusions = { names = [\"ZZ*\"], events = [\"ADT^A60\"] }",
    )
    .await?;
    let mut client = Client::connect(clinic.site.mllp).await?;
    let zz = |id: &str| registration(id, "ZZ^Odalys", "");
    let no_flow = zz("1").replace("ADT^A04", "ADT^A08");
    let stranger = zz("2").replace("EPIC", "OTHER");
    let event = zz("3").replace("ADT^A04", "ADT^A60");
    for (message, expected, state, reason) in [
        (no_flow, "MSA|AR|1", "rejected", "no-flow"),
        (stranger, "MSA|AR|2", "rejected", "unexpected-sender"),
        (event, "MSA|AR|3", "rejected", "no-flow"),
        (zz("4"), "MSA|AA|4", "excluded", "excluded-name"),
    ] {
        let answer = answer_code(&client.exchange(message.as_bytes()).await?);
        ensure!(answer.starts_with(expected), "{answer}");
        let seen = newest(&clinic).await?;
        ensure!(
            seen["state"] == state && seen["reason_code"] == reason,
            "{seen}"
        );
        ensure!(seen["kept"] == "header-facts", "{seen}");
        ensure!(
            seen["reason"]
                .as_str()
                .is_some_and(|text| text.contains("exclusions")),
            "{seen}"
        );
    }
    Ok(())
}
