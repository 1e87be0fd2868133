//! The figures of lists and pictures: they follow the traffic, and survive a restart.

use anyhow::{Context, ensure};
use ligature_tests::mllp::Client;
use serde_json::json;

use super::{clinic, registration, until};

#[tokio::test(flavor = "multi_thread")]
async fn figures_follow_the_traffic_and_survive_a_restart() -> anyhow::Result<()> {
    let (mut clinic, api) = clinic().await?;
    let today = "/api/v1/accounts/clinic/today";
    let nothing = api.get(today).await?.expect(200)?;
    ensure!(nothing["sums"]["received"] == 0, "{nothing}");
    let mut client = Client::connect(clinic.site.mllp).await?;
    for id in ["F1", "F2", "F3"] {
        client.exchange(registration(id).as_bytes()).await?;
    }
    // The same again is answered and not counted; what cannot be read is counted by itself.
    client.exchange(registration("F3").as_bytes()).await?;
    client.exchange(b"PID|1").await?;
    let expected =
        json!({ "received": 3, "not_taken": 1, "delivered": 3, "skipped": 0, "failed": 0 });
    let counted = until(&api, today, |today| today["sums"]["delivered"] == 3).await?;
    ensure!(counted["sums"] == expected, "{counted}");
    ensure!(
        counted["flows"]["ADT^A04"]["delivered"] == 3,
        "by flow: {counted}"
    );
    ensure!(counted["waiting"] == json!({}), "nothing waits: {counted}");

    clinic.host.take().context("the host runs")?.stop()?;
    clinic.host = Some(clinic.site.start().await?);
    for (span, points, step_ms) in [
        ("hour", 60, 60_000),
        ("day", 96, 900_000),
        ("week", 84, 7_200_000),
    ] {
        let path = format!("/api/v1/accounts/clinic/figures?span={span}");
        let series = api.get(&path).await?.expect(200)?;
        let all = series["points"].as_array().context("points")?;
        ensure!(
            all.len() == points && series["step_ms"] == step_ms,
            "{series}"
        );
        let sum = |what: &str| -> u64 {
            let counts = all.iter().filter_map(|point| point["sums"][what].as_u64());
            counts.sum()
        };
        ensure!(
            (sum("received"), sum("not_taken"), sum("delivered")) == (3, 1, 3),
            "{span}: {series}"
        );
        ensure!(
            series["flows"]["ADT^A04"]["delivered"] == 3,
            "{span}: {series}"
        );
    }
    let other = api
        .get("/api/v1/accounts/clinic/figures?span=year")
        .await?
        .problem();
    ensure!(other.starts_with("400"), "{other}");
    let unknown = api.get("/api/v1/accounts/nobody/today").await?.problem();
    ensure!(unknown.starts_with("404"), "{unknown}");
    Ok(())
}
