//! What a vendor does before a component leaves: the robustness run, a signature, a pack.

use anyhow::ensure;
use ligature_tests::guests;

use super::plugin;

#[test]
fn a_component_that_breaks_is_found_out_by_its_author() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let folder = folder.path();
    std::fs::write(folder.join("fragile.wasm"), guests::guest("fragile"))?;
    let (status, said) = plugin(folder, &["check", "fragile.wasm"])?;
    ensure!(status == Some(1), "{status:?} {said}");
    for part in [
        "FAILED  with nothing in PID-7 in line",
        "it stopped itself (a panic or a failed check)",
        "repeated a value of the message in the text of a refusal",
    ] {
        ensure!(said.contains(part), "{part:?} is not in {said}");
    }
    // The examples that vendors start from stand it, and so does a document's component.
    let honest = guests::example("rust-appointments");
    std::fs::write(folder.join("appointments.wasm"), honest)?;
    let message = guests::root().join("examples/plugins/cases/booked-video.hl7");
    let message = message.display().to_string();
    let check = ["check", "appointments.wasm", "--message", &message];
    let (status, said) = plugin(folder, &check)?;
    ensure!(status == Some(0) && said.contains(" 0 findings"), "{said}");
    let outbound = guests::guest("describes-badly-outbound");
    std::fs::write(folder.join("outbound.wasm"), outbound)?;
    let (status, said) = plugin(folder, &["check", "outbound.wasm", "--json"])?;
    ensure!(status == Some(0), "{said}");
    let report: serde_json::Value = serde_json::from_str(&said)?;
    ensure!(report["variations"].as_u64() > Some(5), "{report}");
    Ok(())
}

#[test]
fn a_component_is_signed_packed_and_taken_apart() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let folder = folder.path();
    let component = guests::example("rust-appointments");
    std::fs::write(folder.join("appointments.wasm"), &component)?;
    std::fs::write(folder.join("README.md"), "Appointments.\n")?;
    let ran = |args: &[&str], code: i32, part: &str| -> anyhow::Result<String> {
        let (status, said) = plugin(folder, args)?;
        ensure!(
            status == Some(code) && said.contains(part),
            "{args:?}: {status:?} {said}"
        );
        Ok(said)
    };
    let public = ran(&["key", "vendor.key"], 0, "ed25519:")?;
    let public = public.trim();
    ran(&["key", "vendor.key"], 1, "cannot make vendor.key")?;
    let other = ran(&["key", "other.key"], 0, "ed25519:")?;
    let secret = std::fs::read_to_string(folder.join("vendor.key"))?;
    ensure!(!secret.contains(public), "one file, one key");
    ran(
        &["sign", "appointments.wasm", "--key", "README.md"],
        1,
        "this is no signing key",
    )?;
    ran(
        &["sign", "appointments.wasm", "--key", "vendor.key"],
        0,
        "appointments.wasm.sig by ed25519:",
    )?;
    let verify = |key: &str, code, part: &str| {
        ran(&["verify", "appointments.wasm", "--key", key], code, part)
    };
    verify(public, 0, "is signed with")?;
    verify(other.trim(), 1, "which is none of those given")?;

    let pack = ["pack", "appointments.wasm", "--readme", "README.md"];
    ran(&pack, 0, "appointments.tar")?;
    ran(
        &["unpack", "appointments.tar", "--folder", "out"],
        0,
        "component.wasm",
    )?;
    ensure!(std::fs::read(folder.join("out/component.wasm"))? == component);
    ensure!(std::fs::read_to_string(folder.join("out/README.md"))? == "Appointments.\n");
    ran(
        &["verify", "out/component.wasm", "--key", public],
        0,
        "is signed with",
    )?;
    ran(
        &["unpack", "appointments.tar", "--folder", "out"],
        1,
        "is there already",
    )?;
    ran(&["unpack", "appointments.wasm"], 1, "the file is no pack")?;
    // Any tool can look into it.
    let listed = std::process::Command::new("tar")
        .args(["-tf", "appointments.tar"])
        .current_dir(folder)
        .output()?;
    ensure!(listed.status.success());
    ensure!(
        String::from_utf8_lossy(&listed.stdout)
            .lines()
            .collect::<Vec<_>>()
            == [
                "component.wasm",
                "component.wasm.sig",
                "manifest.json",
                "README.md"
            ]
    );

    // One bit more or less, and it is another component.
    let mut changed = component;
    let last = changed.len() - 1;
    changed[last] ^= 1;
    std::fs::write(folder.join("appointments.wasm"), changed)?;
    verify(public, 1, "the signature is not of this component")?;
    Ok(())
}
