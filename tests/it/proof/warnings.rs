//! Rows that let a message go on without their value are counted as it happens, and told with the delivery.

use anyhow::{Context, ensure};
use ligature_tests::bridge::{self, Bridge, Mapped};
use ligature_tests::http;
use serde_json::{Value, json};

use super::{FLOW, ids, mapping, registration, send};

const BORN: &str = "[[lead]]\ntarget = \"mx_Date_of_Birth\"\nlabel = \"Born\"\npath = \"PID-7\"\nsteps = [\"date\"]\n\n\
    [[skip]]\nreason = \"{PID-5.2} is not meant\"\nwhen = [{ path = \"PID-11.3\", equals = \"Nowhere\" }]\n";

#[tokio::test(flavor = "multi_thread")]
async fn warnings_are_counted_by_row() -> anyhow::Result<()> {
    let mapping = mapping(1, BORN);
    let flows = [Mapped {
        flow: "registrations",
        mapping: &mapping,
        template: None,
    }];
    let bridge = Bridge::without_webhooks(bridge::prompt(), "", FLOW, &flows).await?;
    let odd = |number, city| registration(number, city).replace("19800101", "SOON");
    let messages = [
        odd(1, "Rye"),
        registration(2, "Rye"),
        odd(3, "Bath"),
        odd(4, "Nowhere"),
    ];
    send(&bridge, messages).await?;
    bridge.settled(4).await?;
    for per in ["minute", "hour"] {
        let path = format!("flows/registrations/warnings?per={per}");
        let warnings = bridge.call("GET", &path, json!({})).await?;
        let rows = warnings["rows"].as_array().context("rows")?;
        ensure!(rows.len() == 1 && rows[0]["count"] == 2, "{warnings}");
        ensure!(
            rows[0]["cause"] == "malformed" && rows[0]["label"] == "Born",
            "{warnings}"
        );
        let times = warnings["times"].as_array().context("times")?;
        let sum: u64 = times.iter().filter_map(|time| time["count"].as_u64()).sum();
        ensure!(sum == 2, "{warnings}");
    }
    let none = "flows/registrations/warnings?to=2020-01-01T00:00:00Z";
    let none = bridge.call("GET", none, json!({})).await?;
    ensure!(none["rows"] == json!([]), "{none}");

    // With the delivery: row, place and cause for everybody, the component's words for whoever may see them.
    let ids = ids(&bridge).await?;
    let show = async |at: usize, query: &str| {
        let path = format!("deliveries/{}{query}", ids[at]);
        bridge.call("GET", &path, json!({})).await
    };
    let shown = show(0, "").await?;
    let warning = &shown["run"]["warnings"][0];
    ensure!(
        warning["path"] == "PID-7"
            && warning["cause"] == "malformed"
            && warning["defaulted"] == false,
        "{shown}"
    );
    ensure!(show(1, "").await?["run"]["warnings"] == json!([]));
    let skipped = show(3, "").await?;
    ensure!(skipped["run"]["outcome"] == "skipped", "{skipped}");
    ensure!(!skipped.to_string().contains("not meant"), "{skipped}");
    let skipped = show(3, "?values=true").await?;
    ensure!(
        skipped["run"]["said"]
            .as_str()
            .is_some_and(|said| said.contains("not meant")),
        "{skipped}"
    );
    let token = bridge.office.token("view").await?;
    let url = format!(
        "{}/api/v1/deliveries/{}?values=true",
        bridge.office.address(),
        ids[3]
    );
    let answer = http().get(url).bearer_auth(token).send().await?;
    ensure!(answer.status().as_u16() == 403);
    let records: Value = bridge.call("GET", "audit", json!({})).await?;
    ensure!(records.to_string().contains("\"see\""), "{records}");
    Ok(())
}
