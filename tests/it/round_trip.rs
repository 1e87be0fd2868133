//! What people made on pages and by the interface goes to a second host by files, and is all there.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, ensure};
use ligature_tests::clinic::{Clinic, Setup, UNLIMITED, unlimited};
use ligature_tests::guests;
use ligature_tests::interface::Interface;
use ligature_tests::site::Site;
use serde_json::{Value, json};

const ALL: &str = "view,operate,map,publish,administer,audit";

/// Everything of an account that people configure.
const CONFIGURED: [&str; 7] = [
    "accounts",
    "channels",
    "flows",
    "code-tables",
    "shared-mappings",
    "components",
    "alert-settings",
];

/// Every file below `folder` with its bytes.
fn files(folder: &Path) -> anyhow::Result<BTreeMap<String, Vec<u8>>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(folder)?.display().to_string();
                found.insert(name, std::fs::read(&path)?);
            }
        }
    }
    Ok(found)
}

/// Leaves out what is of one host: versions, times, what was used, and releases whose tables have other versions there.
fn bare(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.retain(|name, _| {
                // How long a component took to be tried is measured anew.
                let of_host = [
                    "version",
                    "used",
                    "last_message_at",
                    "has_keys",
                    "slowest_ms",
                ];
                !of_host.contains(&name.as_str()) && !name.ends_with("_at") && name != "disk"
            });
            members.values_mut().for_each(bare);
        }
        Value::Array(items) => items.iter_mut().for_each(bare),
        _ => {}
    }
}

/// Everything that is configured, by the interface of a running host.
async fn configured(api: &Interface) -> anyhow::Result<BTreeMap<&'static str, Value>> {
    let mut all = BTreeMap::new();
    for noun in CONFIGURED {
        let answer = api.get(&format!("/api/v1/{noun}?limit=500")).await?;
        let mut value = answer.expect(200)?;
        bare(&mut value);
        if let Some(items) = value["items"].as_array_mut() {
            items.sort_by_key(|item| item["digest"].to_string());
        }
        all.insert(noun, value);
    }
    Ok(all)
}

/// What administrators do on pages: share a mapping, approve grants, give limits, say whom to tell, keep a draft.
async fn work(api: &Interface) -> anyhow::Result<()> {
    let shared = json!({ "event": "ADT^A08", "id": "updates", "share": true });
    api.post("/api/v1/flows/ADT%5EA04/duplicate", shared)
        .await?
        .expect(201)?;
    let draft = json!({ "event": "ADT^A31", "id": "later" });
    api.post("/api/v1/flows/ADT%5EA04/duplicate", draft)
        .await?
        .expect(201)?;

    let sheet = b"code,value\nKnown,Mapped\n".to_vec();
    let table = "/api/v1/code-tables/clinic/codes/csv";
    api.send_bytes("PUT", table, Some(sheet), None)
        .await?
        .expect(201)?;
    let component = guests::guest("misbehaving");
    let path = "/api/v1/components?account=clinic&accept_findings=true";
    let uploaded = api.send_bytes("POST", path, Some(component), None).await?;
    let uploaded = uploaded.expect(201)?;
    let digest = uploaded["digest"].as_str().context("a digest")?.to_owned();
    let vendor = json!({
        "id": "vendor", "account": "clinic", "name": "Vendor", "direction": "ehr-to-leadsquared",
        "channel": "ehr", "event": "TST^Z01", "entity": "lead", "primary_search_field": "mx_MRN",
        "choices": { "tables": { "codes": "codes" } },
    });
    api.post("/api/v1/flows", json!({ "flow": vendor }))
        .await?
        .expect(201)?;
    let approved = json!({ "component": digest, "version": 1, "grants": {
        "reads": ["PID-3"], "lead_targets": ["mrn", "name"], "activity_targets": [],
    } });
    api.post("/api/v1/flows/vendor/activate", approved)
        .await?
        .expect(200)?;
    let limits = json!({ "deadline_ms": 250, "max_memory_mib": 32 });
    api.put(
        &format!("/api/v1/components/clinic/{digest}/limits"),
        limits,
    )
    .await?
    .expect(200)?;

    let settings = json!({ "settings": {
        "owner": "night@example.org", "rules": { "disk": { "threshold": 5 }, "quiet": { "enabled": false } },
    } });
    api.send("PUT", "/api/v1/alert-settings", Some(settings), Some(0))
        .await?
        .expect(200)?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_host_lacks_nothing_of_what_the_first_exported() -> anyhow::Result<()> {
    let channel = "retention = { delivered_days = 7 }\nexclusions = { names = [\"Zebra\"] }\n";
    let setup = Setup {
        account: UNLIMITED,
        channel,
        leads: &["ADT^A04"],
        activities: &["SIU^S12"],
    };
    let mut clinic = Clinic::prepare(None, unlimited(), setup).await?;
    let api = clinic.site.token(ALL)?;
    let host = clinic.site.start().await?;
    work(&api).await?;
    let before = configured(&api).await?;
    host.stop()?;
    clinic.host = None;

    let first = clinic.site.path("first");
    let export = |site: &Site, folder: &Path| {
        let folder = folder.display().to_string();
        site.ligature(&["flow", "export", &folder], &[])
    };
    export(&clinic.site, &first)?;
    let exported = files(&first)?;
    let text = String::from_utf8_lossy(&exported["setup.toml"]).into_owned();
    for part in [
        "shared_mappings",
        "night@example.org",
        "max_memory_mib",
        "Zebra",
    ] {
        ensure!(text.contains(part), "{part} is not in\n{text}");
    }

    let second = Site::new(None)?;
    let keys = clinic.simulator.keys();
    let keys = [
        ("LEADSQUARED_ACCESS_KEY", keys.access_key.as_str()),
        ("LEADSQUARED_SECRET_KEY", keys.secret_key.as_str()),
    ];
    let folder = first.display().to_string();
    let import = ["flow", "import", &folder, "--accept-findings"];
    second.ligature(&import, &keys)?;
    export(&second, &second.path("second"))?;
    let again = files(&second.path("second"))?;
    ensure!(
        again.keys().eq(exported.keys()),
        "{:?}\n{:?}",
        again.keys(),
        exported.keys()
    );
    for (name, bytes) in &exported {
        ensure!(
            again[name] == *bytes,
            "{name} differs:\n{}\n{}",
            String::from_utf8_lossy(bytes),
            String::from_utf8_lossy(&again[name])
        );
    }
    let plan = second.ligature(&["flow", "import", "--plan", &folder], &[])?;
    for line in plan.lines() {
        ensure!(line.ends_with(": unchanged"), "{line}");
    }

    let api = second.token(ALL)?;
    let host = second.start().await?;
    let after = configured(&api).await?;
    for noun in CONFIGURED {
        ensure!(
            after[noun] == before[noun],
            "{noun}:\n{}\n{}",
            before[noun],
            after[noun]
        );
    }
    host.stop()?;

    // The host's alerts are not decided by one of several accounts.
    let other = text
        .replace("id = \"clinic\"", "id = \"other\"")
        .replace("night@example.org", "nobody@example.org");
    let (account, _) = other.split_once("[[channels]]").context("channels")?;
    let (_, alerts) = other.split_once("[alerts]").context("alerts")?;
    let alone = format!("[alerts]{alerts}");
    let alone = alone.split("[[").next().context("alerts alone")?;
    let (head, _) = account.split_once("[alerts]").unwrap_or((account, ""));
    let folder = second.path("other");
    std::fs::create_dir_all(&folder)?;
    std::fs::write(folder.join("setup.toml"), format!("{head}\n{alone}"))?;
    let told = second.ligature(&["flow", "import", &folder.display().to_string()], &keys)?;
    ensure!(told.contains("this host has other accounts"), "{told}");
    Ok(())
}
