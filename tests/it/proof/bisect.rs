//! The release that changed a value is found by halving: a component, a setting, a version of a code table.

use anyhow::{Context, ensure};
use ligature::flow::table::TableVersion;
use ligature::flow::{CodeTable, Digest, Flow, Release};
use ligature::store::catalog::{Author, Change, Expected};
use ligature_tests::bridge::{self, Bridge};
use serde_json::{Value, json};

use super::{FLOW, ids, registration, send};

/// Behind the first, with which the flow was put in force.
const RELEASES: usize = 63;

/// Takes one value of a setting and one of a code table.
const MAPPING: &str = r#"format = 1
name = "Registrations"
version = "1"
events = ["ADT^A04"]

[[setting]]
name = "clinic"
label = "Clinic"

[[lead]]
target = "mx_MRN"
path = "PID-3.1"
required = true

[[lead]]
target = "LastName"
path = "PID-5.1"

[[lead]]
target = "mx_City"
path = "PID-11.3"
steps = [{ table = "towns" }]

[[lead]]
target = "Company"
setting = "clinic"
"#;

/// A version of the one code table.
fn towns(town: &str, spare: usize) -> anyhow::Result<CodeTable> {
    let text = format!(
        "{{\"account\":\"clinic\",\"name\":\"towns\",\"columns\":[\"value\"],\"entries\":{{\"RYE\":[\"{town}\"],\"S{spare}\":[\"x\"]}}}}"
    );
    serde_json::from_str(&text).context("a code table")
}

/// Puts 63 more releases in force one after the other, none of which compiles anything: at `planted.0` the setting becomes
/// another, at `planted.1` the table's entry.
async fn history(bridge: &Bridge, planted: (usize, usize)) -> anyhow::Result<Vec<Digest>> {
    let catalog = bridge.office.host.pipeline.store.catalog();
    let kept = catalog.list().await?.flows.pop().context("a flow")?;
    let flow = kept.document;
    let first = flow.release.clone().context("a release")?;
    let first = catalog.release(&flow.account, &first).await?;
    let first = first.context("a release")?;
    let mut digests = Vec::new();
    for number in 0..RELEASES {
        let table = towns(if number < planted.1 { "Rye" } else { "Ryde" }, number)?;
        let version = TableVersion {
            name: "towns".into(),
            digest: table.digest(),
        };
        let clinic = match number < planted.0 {
            true => "Old",
            false => "New",
        };
        let release = Release {
            settings: [("clinic".to_owned(), clinic.to_owned())].into(),
            tables: [("towns".to_owned(), version)].into(),
            ..first.clone()
        };
        let digest = release.digest();
        let flow = Flow {
            release: Some(digest.clone()),
            choices: release.choices(),
            ..flow.clone()
        };
        let changes = [
            Change::CodeTable(table, Expected::Any),
            Change::Release(flow.account.clone(), release),
            Change::Flow(Box::new(flow), Expected::Any),
        ];
        catalog.apply(&changes, &Author("test".into())).await?;
        digests.push(digest);
    }
    bridge.office.host.pipeline.put_in_force().await;
    Ok(digests)
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_64_releases_is_found_in_six_runs() -> anyhow::Result<()> {
    let bridge = Bridge::without_webhooks(bridge::prompt(), "", FLOW, &[]).await?;
    let table = json!({ "entries": { "RYE": ["Rye"] } });
    bridge
        .call("PUT", "code-tables/clinic/towns", table)
        .await?;
    let known = bridge.call("GET", "flows/registrations", json!({})).await?;
    let mut flow = known["flow"].clone();
    flow["choices"] = json!({ "settings": { "clinic": "First" } });
    let change = json!({ "flow": flow, "version": known["version"] });
    bridge.call("PUT", "flows/registrations", change).await?;
    super::activate(&bridge, json!({ "mapping": MAPPING })).await?;
    let planted = (21, 42);
    let digests = Box::pin(history(&bridge, planted)).await?;
    send(&bridge, [registration(1, "RYE")]).await?;
    bridge.settled(1).await?;
    let id = ids(&bridge).await?.pop().context("a delivery")?;
    let bisect = async |body: Value| {
        let path = format!("deliveries/{id}/bisect");
        bridge.call("POST", &path, body).await
    };
    for (field, at, change) in [
        (
            "lead.Company",
            planted.0,
            "setting clinic: \"New\" instead of \"Old\"",
        ),
        ("lead.mx_City", planted.1, "code table towns: "),
    ] {
        let found = bisect(json!({ "field": field })).await?;
        ensure!(found["since"] == digests[at].as_str(), "{found}");
        ensure!(found["before"] == digests[at - 1].as_str(), "{found}");
        ensure!(found["releases"] == RELEASES + 1, "{found}");
        ensure!(found["runs"].as_u64() <= Some(6), "{found}");
        let changes = found["changes"].as_array().context("changes")?;
        ensure!(
            changes
                .iter()
                .filter_map(Value::as_str)
                .any(|text| text.starts_with(change)),
            "{found}"
        );
        ensure!(!found.to_string().contains("Ryde"), "{found}");
    }
    let always = bisect(json!({ "field": "lead.LastName" })).await?;
    ensure!(always["before"].is_null(), "{always}");
    let never = bisect(json!({ "field": "lead.LastName", "release": "0123" })).await;
    ensure!(never.is_err());
    Ok(())
}
