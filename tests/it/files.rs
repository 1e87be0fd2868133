//! `ligature flow export` and `flow import`: the same bytes again, a plan first, and all or nothing.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, ensure};
use ligature::flow::Digest;
use ligature::mapping::signature::SigningKey;
use ligature_tests::guests;
use ligature_tests::site::{Site, quickstart};

const SETUP: &str = r#"
[account]
id = "clinic"
name = "Clinic"
api = "http://127.0.0.1:1"
time_zone = "America/New_York"
identifier_fields = ["mx_MRN"]

[[channels]]
id = "ehr"
name = "EHR"
address = "127.0.0.1:2575"
allowed_peers = ["10.1.0.0/16"]

[[channels]]
id = "lab"
name = "Lab"
address = "127.0.0.1:2576"

[[flows]]
id = "ADT^A04"
name = "Registrations"
direction = "ehr-to-leadsquared"
channel = "ehr"
event = "ADT^A04"
entity = "lead"
primary_search_field = "mx_MRN"
mapping = "lead.toml"
template = "a04.hl7"

[[flows]]
id = "bookings"
name = "Bookings"
direction = "ehr-to-leadsquared"
channel = "ehr"
event = "SIU^S12"
entity = "activity"
activity = { code = 205, key_field = "mx_Custom_1" }
primary_search_field = "mx_MRN"
status = { state = "paused", reason = "not yet" }
mapping = "booking.toml"

[[flows]]
id = "later"
name = "Later"
direction = "ehr-to-leadsquared"
channel = "lab"
event = "ORU^R01"
entity = "lead"
primary_search_field = "mx_MRN"
status = { state = "draft" }

[[code_tables]]
name = "wards^1"
file = "wards.csv"
"#;

/// The same with a vendor's component, and what a person has approved of its wishes.
fn with_component() -> String {
    SETUP.replace(
        "mapping = \"booking.toml\"\n",
        "component = \"vendor.wasm\"\n\n[flows.choices.grants]\n\
         reads = [\"PID-3\", \"PID-5\", \"SCH\", \"AIS\", \"AIP-3\", \"ZAP\"]\n\
         lead_targets = [\"mrn\", \"first-name\", \"last-name\"]\n\
         activity_targets = [\"status\", \"provider\", \"visit\"]\n",
    )
}

const SAMPLE: &str = "MSH|^~\\&|A|B|C|D|20260301||ADT^A04|1|P|2.5.1\rPID|1||77||Sample^Ana\r";

const KEYS: &[(&str, &str)] = &[
    ("LEADSQUARED_ACCESS_KEY", "u$r0123456789"),
    ("LEADSQUARED_SECRET_KEY", "fedcba9876543210"),
];

/// Writes the setup into `folder`.
fn write(site: &Site, name: &str, setup: &str) -> anyhow::Result<String> {
    let folder = site.path(name);
    std::fs::create_dir_all(&folder)?;
    std::fs::write(folder.join("setup.toml"), setup)?;
    std::fs::write(folder.join("lead.toml"), quickstart("adt-a04-lead.toml")?)?;
    std::fs::write(
        folder.join("booking.toml"),
        quickstart("siu-s12-activity.toml")?,
    )?;
    if setup.contains("vendor.wasm") {
        let vendor = guests::example("rust-appointments");
        std::fs::write(folder.join("vendor.wasm"), vendor)?;
    }
    let wards = "code,value\n1A,\"Ward 1 \"\"A\"\"\"\n2,Ward 2\n";
    std::fs::write(folder.join("wards.csv"), wards)?;
    std::fs::write(folder.join("a04.hl7"), SAMPLE)?;
    Ok(folder.display().to_string())
}

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

fn export(site: &Site, name: &str) -> anyhow::Result<BTreeMap<String, Vec<u8>>> {
    let folder = site.path(name);
    site.ligature(&["flow", "export", &folder.display().to_string()], &[])?;
    files(&folder)
}

#[test]
fn what_is_exported_and_imported_is_exported_again_byte_for_byte() -> anyhow::Result<()> {
    let one = Site::new(None)?;
    let setup = write(&one, "in", &with_component())?;
    one.ligature(&["flow", "import", &setup], KEYS)?;
    let first = export(&one, "first")?;
    let names: Vec<_> = first.keys().map(String::as_str).collect();
    ensure!(names.len() == 5, "{names:?}");
    ensure!(names[0] == "code-tables/wards%5E1.csv", "{names:?}");
    ensure!(
        names[1].starts_with("components/") && names[1].ends_with(".wasm"),
        "{names:?}"
    );
    ensure!(
        names[2..]
            == [
                "flows/ADT%5EA04.toml",
                "setup.toml",
                "templates/ADT%5EA04.hl7"
            ],
        "{names:?}"
    );
    ensure!(first["templates/ADT%5EA04.hl7"] == SAMPLE.as_bytes());
    let text = String::from_utf8(first["setup.toml"].clone())?;
    for secret in ["u$r0123456789", "fedcba9876543210", "release"] {
        ensure!(!text.contains(secret), "{secret} is in the files:\n{text}");
    }

    // Into another store, and once more.
    let two = Site::new(None)?;
    let folder = one.path("first").display().to_string();
    two.ligature(&["flow", "import", &folder], KEYS)?;
    ensure!(
        export(&two, "second")? == first,
        "the second export differs"
    );

    // Again there is nothing to do, and no keys are needed for it.
    let plan = two.ligature(&["flow", "import", "--plan", &folder], &[])?;
    ensure!(
        !plan.contains("changed\n") || !plan.contains(": new"),
        "{plan}"
    );
    for line in plan.lines() {
        ensure!(line.ends_with(": unchanged"), "{line}");
    }
    Ok(())
}

#[test]
fn a_plan_tells_field_by_field_and_changes_nothing() -> anyhow::Result<()> {
    let site = Site::new(None)?;
    let setup = write(&site, "in", SETUP)?;
    let plan = site.ligature(&["flow", "import", "--plan", &setup], KEYS)?;
    for line in [
        "account clinic: new",
        "keys of account clinic: new",
        "flow later: new",
    ] {
        ensure!(plan.contains(line), "{line} is not in\n{plan}");
    }
    let nothing = site.ligature(&["flow", "export", "nowhere"], &[]);
    let text = format!("{:#}", nothing.err().context("there is nothing to export")?);
    ensure!(text.contains("no account"), "{text}");
    site.ligature(&["flow", "import", &setup], KEYS)?;
    let before = export(&site, "before")?;

    let changed = SETUP
        .replace("name = \"Lab\"", "name = \"Laboratory\"")
        .replace("\"127.0.0.1:2576\"", "\"127.0.0.1:2577\"")
        .replace("reason = \"not yet\"", "reason = \"soon\"")
        .replace("name = \"wards^1\"", "name = \"wards^2\"");
    let folder = write(&site, "changed", &changed)?;
    let plan = site.ligature(&["flow", "import", "--plan", &folder], KEYS)?;
    for line in [
        "account clinic: unchanged",
        "channel ehr: unchanged",
        "channel lab: changed",
        "  address: \"127.0.0.1:2576\" -> \"127.0.0.1:2577\"",
        "  name: \"Lab\" -> \"Laboratory\"",
        "code table wards^2: new",
        "flow ADT^A04: unchanged",
        "  status.reason: \"not yet\" -> \"soon\"",
    ] {
        ensure!(
            plan.lines().any(|told| told == line),
            "{line:?} is not in\n{plan}"
        );
    }
    ensure!(
        export(&site, "after")? == before,
        "a plan has changed something"
    );

    // What is left out of the files stays.
    let (without, _) = changed
        .split_once("[[flows]]\nid = \"later\"")
        .context("later")?;
    let folder = write(&site, "without", without)?;
    let told = site.ligature(&["flow", "import", &folder], &[])?;
    ensure!(
        told.contains("flow later: not in the files, stays as it is"),
        "{told}"
    );
    let after = String::from_utf8(export(&site, "left")?["setup.toml"].clone())?;
    ensure!(
        after.contains("\"later\"") && after.contains("Laboratory"),
        "{after}"
    );
    Ok(())
}

#[test]
fn one_fault_keeps_everything_out() -> anyhow::Result<()> {
    let site = Site::new(None)?;
    let faulty = SETUP
        .replace("America/New_York", "Mars/Olympus")
        .replace("channel = \"lab\"", "channel = \"nowhere\"")
        .replacen(
            "primary_search_field = \"mx_MRN\"",
            "primary_search_field = \"Phone\"",
            1,
        );
    let folder = write(&site, "in", &faulty)?;
    let refused = site.ligature(&["flow", "import", &folder], KEYS);
    let text = format!("{:#}", refused.err().context("it was imported")?);
    for fault in [
        "account.time_zone",
        "flows.ADT^A04.primary_search_field",
        "flows.later.channel",
    ] {
        ensure!(text.contains(fault), "{fault} is not in\n{text}");
    }
    ensure!(
        site.ligature(&["flow", "export", "out"], &[]).is_err(),
        "something was kept"
    );
    let good = write(&site, "good", SETUP)?;
    let refused = site.ligature(&["flow", "import", &good], &[]);
    let text = format!(
        "{:#}",
        refused.err().context("it was imported without keys")?
    );
    ensure!(text.contains("LEADSQUARED_ACCESS_KEY"), "{text}");
    ensure!(
        site.ligature(&["flow", "export", "out"], &[]).is_err(),
        "something was kept"
    );
    Ok(())
}

#[test]
fn files_that_lead_to_another_host_need_the_keys_anew() -> anyhow::Result<()> {
    let site = Site::new(None)?;
    site.ligature(&["flow", "import", &write(&site, "in", SETUP)?], KEYS)?;
    let moved = SETUP.replace("http://127.0.0.1:1\"", "http://127.0.0.1:2\"");
    let moved = write(&site, "moved", &moved)?;
    let refused = site.ligature(&["flow", "import", &moved], &[]);
    let text = format!("{:#}", refused.err().context("it was imported")?);
    ensure!(text.contains("takes the keys anew"), "{text}");
    site.ligature(&["flow", "import", &moved], KEYS)?;
    // Nothing new: no keys.
    site.ligature(&["flow", "import", &moved], &[])?;
    Ok(())
}

#[test]
fn a_sample_with_patient_data_is_kept_by_the_command_line_and_never_exported() -> anyhow::Result<()>
{
    let site = Site::new(None)?;
    let setup = write(&site, "in", SETUP)?;
    site.ligature(&["flow", "import", &setup], KEYS)?;
    let shown = site.run(&["flow", "template", "show", "ADT^A04"])?;
    ensure!(shown.contains("Sample^Ana"), "made up: {shown}");
    let file = site.path("real.hl7");
    std::fs::write(
        &file,
        SAMPLE.replace("Sample", "Fenwick").replace("A04", "A08"),
    )?;
    let file = file.display().to_string();
    let put = |how: &[&str]| {
        let mut args = vec!["flow", "template", "put", "ADT^A04", file.as_str()];
        args.extend(how);
        site.run(&args)
    };
    let findings = put(&[])?;
    ensure!(findings.contains("event-differs MSH-9"), "{findings}");
    let shown = site.run(&["flow", "template", "show", "ADT^A04"])?;
    ensure!(
        !shown.contains("Fenwick") && shown.contains("PID|1||"),
        "{shown}"
    );
    put(&["--keep-original"])?;
    let shown = site.run(&["flow", "template", "show", "ADT^A04"])?;
    ensure!(
        !shown.contains("Fenwick") && shown.contains("Xxxxxxx^Xxx"),
        "{shown}"
    );
    let files = export(&site, "out")?;
    ensure!(!files.contains_key("templates/ADT%5EA04.hl7"));
    ensure!(!String::from_utf8_lossy(&files["setup.toml"]).contains("template"));
    site.run(&["flow", "template", "remove", "ADT^A04"])?;
    ensure!(site.run(&["flow", "template", "show", "ADT^A04"]).is_err());
    Ok(())
}

#[test]
fn an_account_without_an_address_is_looked_for_by_its_keys() -> anyhow::Result<()> {
    let site = Site::new(None)?;
    let setup = SETUP.replace("api = \"http://127.0.0.1:1\"\n", "");
    let folder = write(&site, "in", &setup)?;
    let refused = site.ligature(&["flow", "import", &folder], &[]);
    let text = format!("{:#}", refused.err().context("no keys")?);
    ensure!(text.contains("found by its keys"), "{text}");
    // One that is known keeps what is known of it, without a call.
    let known = write(&site, "known", SETUP)?;
    site.ligature(&["flow", "import", &known], KEYS)?;
    let plan = site.ligature(&["flow", "import", "--plan", &folder], &[])?;
    ensure!(plan.contains("account clinic: unchanged"), "{plan}");
    Ok(())
}

#[test]
fn a_component_in_files_stands_what_an_uploaded_one_does() -> anyhow::Result<()> {
    let site = Site::new(None)?;
    let key = SigningKey::generate()?;
    let policy = format!(
        "[account.components]\nsigned_only = true\n\
         trusted_keys = [{{ name = \"Example Inc.\", key = \"{}\" }}]\n\n[[channels]]\nid = \"ehr\"",
        key.public()
    );
    let approved = with_component().replacen("[[channels]]\nid = \"ehr\"", &policy, 1);
    let (before, _) = approved
        .split_once("\n[flows.choices.grants]")
        .context("grants")?;
    let (_, after) = approved.split_once("\"visit\"]\n").context("grants")?;
    let not_approved = format!("{before}{after}");

    let import = |folder: &str, more: &[&str]| {
        let args = [&["flow", "import", folder], more].concat();
        site.ligature(&args, KEYS)
    };
    let refused = |folder: &str, part: &str| -> anyhow::Result<()> {
        let text = format!(
            "{:#}",
            import(folder, &[]).err().context("it was imported")?
        );
        ensure!(text.contains(part), "{part:?} is not in {text}");
        Ok(())
    };
    let folder = write(&site, "in", &not_approved)?;
    refused(&folder, "takes signed components only")?;
    let file = Path::new(&folder).join("vendor.wasm");
    let sign = |bytes: &[u8]| -> anyhow::Result<()> {
        std::fs::write(&file, bytes)?;
        let signature = key.sign(&Digest::of(bytes)).to_string();
        Ok(std::fs::write(file.with_extension("wasm.sig"), signature)?)
    };
    sign(&guests::example("rust-appointments"))?;
    refused(&folder, "asks for what nobody has approved yet: read PID-3")?;
    std::fs::write(Path::new(&folder).join("setup.toml"), &approved)?;
    import(&folder, &[])?;
    // Whoever takes the files elsewhere has the signature as well.
    let files = export(&site, "out")?;
    ensure!(files.keys().any(|name| name.ends_with(".wasm.sig")));
    let plan = import(&folder, &["--plan"])?;
    ensure!(plan.contains("flow bookings: unchanged"), "{plan}");

    sign(&guests::guest("fragile"))?;
    refused(&folder, "does not stand variations of")?;
    // What it asks for beyond what is approved it does not get.
    let lenient = import(&folder, &["--accept-findings"])?;
    ensure!(lenient.contains("flow bookings: changed"), "{lenient}");
    Ok(())
}

#[test]
fn files_change_a_flow_that_requires_shadow_runs_only_with_one() -> anyhow::Result<()> {
    let site = Site::new(None)?;
    let strict = SETUP.replace(
        "mapping = \"lead.toml\"",
        "require_shadow = true\nmapping = \"lead.toml\"",
    );
    // The first release has nothing to be proven on.
    let folder = write(&site, "in", &strict)?;
    site.ligature(&["flow", "import", &folder], KEYS)?;
    let file = Path::new(&folder).join("lead.toml");
    let text = std::fs::read_to_string(&file)?;
    let other = text.replacen("version = \"1\"", "version = \"2\"", 1);
    std::fs::write(&file, other)?;
    let refused = site.ligature(&["flow", "import", &folder], &[]);
    let said = format!("{:#}", refused.err().context("it was imported")?);
    ensure!(
        said.contains("takes only releases that a shadow run has proven")
            && said.contains("ligature flow shadow start ADT^A04"),
        "{said}"
    );
    // Nothing but the release is held.
    std::fs::write(&file, text)?;
    let renamed = strict.replace("name = \"Registrations\"", "name = \"Arrivals\"");
    std::fs::write(Path::new(&folder).join("setup.toml"), renamed)?;
    let told = site.ligature(&["flow", "import", &folder], &[])?;
    ensure!(told.contains("\"Registrations\" -> \"Arrivals\""), "{told}");
    Ok(())
}
