//! A component has limits of its own within the host's, and shows what it uses.

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use super::activate;
use super::fall_back::{broken, message, office, until};
use super::{ids, send};

#[tokio::test(flavor = "multi_thread")]
async fn a_component_has_limits_and_shows_what_it_uses() -> anyhow::Result<()> {
    let bridge = office("fall_back = { on = false }\n").await?;
    let with = broken(&bridge).await?;
    let digest = with["component"].as_str().context("a digest")?.to_owned();
    activate(&bridge, with).await?;
    let path = format!("components/clinic/{digest}");
    send(&bridge, [message(1, "Fenwick"), message(2, "Trap")]).await?;
    until(&bridge, &[("delivered", 1), ("dead", 1)]).await?;
    let shown = bridge.call("GET", &path, json!({})).await?;
    let used = &shown["used"];
    ensure!(
        used["runs"] == 2 && used["broke"] == 1 && used["running"] == 0,
        "{shown}"
    );
    let most = |name: &str| used[name].as_u64().unwrap_or(0);
    ensure!(
        most("most_running") >= 1 && most("most_duration_us") > 0,
        "{shown}"
    );
    ensure!(most("most_memory_bytes") > 1024 * 1024, "{shown}");
    ensure!(shown["limits"] == json!({}), "{shown}");
    ensure!(shown["defaults"]["max_memory_mib"] == 64, "{shown}");

    // Less than it needs: it breaks on what it did before; given back, it does it.
    let limits = format!("{path}/limits");
    let beyond = json!({ "deadline_ms": 60_000, "max_memory_mib": 0 });
    let refused = bridge.call("PUT", &limits, beyond).await;
    let refused = refused.err().context("beyond the ceiling")?.to_string();
    ensure!(
        refused.contains("limits.deadline_ms") && refused.contains("limits.max_memory_mib"),
        "{refused}"
    );
    let tight = json!({ "max_memory_mib": 1, "deadline_ms": 5_000 });
    let shown = bridge.call("PUT", &limits, tight.clone()).await?;
    ensure!(shown["limits"] == tight, "{shown}");
    send(&bridge, [message(3, "Fenwick")]).await?;
    until(&bridge, &[("delivered", 1), ("dead", 2)]).await?;
    let id = ids(&bridge).await?.pop().context("a delivery")?;
    let dead: Value = bridge
        .call("GET", &format!("deliveries/{id}"), json!({}))
        .await?;
    ensure!(
        dead["delivery"]["reason_code"] == "mapping-over-limit",
        "{dead}"
    );
    bridge.call("PUT", &limits, json!({})).await?;
    bridge
        .call("POST", &format!("deliveries/{id}/release"), json!({}))
        .await?;
    until(&bridge, &[("delivered", 2), ("dead", 1)]).await?;
    Ok(())
}
