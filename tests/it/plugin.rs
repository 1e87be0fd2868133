//! A vendor's loop on the command line: from nothing to a component that a host takes, and what is said where it fails.

use std::path::Path;
use std::process::Command;

use anyhow::ensure;
use ligature_tests::{guests, ligature_binary};

mod eject;
mod languages;
mod newcomer;
mod pull;
mod ship;

/// Runs `ligature plugin` in a folder; gives the exit status and all that was said.
fn plugin(folder: &Path, args: &[&str]) -> anyhow::Result<(Option<i32>, String)> {
    let output = Command::new(ligature_binary())
        .arg("plugin")
        .args(args)
        .current_dir(folder)
        // What the other guests are made of is compiled there already.
        .env(
            "CARGO_TARGET_DIR",
            guests::root().join("tests/guests/target"),
        )
        .output()?;
    let said = [output.stdout, output.stderr].concat();
    Ok((output.status.code(), String::from_utf8(said)?))
}

#[test]
fn a_project_is_written_built_examined_and_tested() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let folder = folder.path();
    let ran = |args: &[&str], code: i32, parts: &[&str]| -> anyhow::Result<()> {
        let (status, said) = plugin(folder, args)?;
        ensure!(status == Some(code), "{args:?}: {status:?} {said}");
        for part in parts {
            ensure!(
                said.contains(part),
                "{args:?} does not say {part:?}: {said}"
            );
        }
        Ok(())
    };
    ran(&["new", "Visits", "--language", "rust"], 1, &["is no name"])?;
    ran(
        &["new", "visits", "--language", "rust"],
        0,
        &["visits is ready"],
    )?;
    ran(
        &["new", "visits", "--language", "rust"],
        1,
        &["is there already"],
    )?;
    // The versions of the other guests, so that nothing is fetched.
    let lock = guests::root().join("tests/guests/Cargo.lock");
    std::fs::copy(lock, folder.join("visits/Cargo.lock"))?;
    ran(&["build", "visits"], 0, &["visits.wasm", "digest"])?;
    let wishes = [
        "read PID-3 (Patient Identifier List)",
        "A host would take it.",
    ];
    ran(&["inspect", "visits/visits.wasm"], 0, &wishes)?;
    let message = "visits/cases/registration.hl7";
    let run = ["run", "visits/visits.wasm", "--message", message];
    ran(
        &run,
        0,
        &["\"mrn\": \"ZQ000001\"", "\"date\": \"1984-02-19\""],
    )?;
    let with_setting = [&run[..], &["--setting", "colour=red"]].concat();
    ran(&with_setting, 1, &["has no setting \"colour\""])?;

    let test = [
        "test",
        "visits/cases",
        "--component",
        "visits/visits.wasm",
        "--junit",
        "report.xml",
    ];
    ran(
        &test,
        0,
        &["ok      registration.hl7", "1 passed, 0 failed"],
    )?;
    let expected = folder.join("visits/cases/registration.expected.json");
    let text = std::fs::read_to_string(&expected)?;
    std::fs::write(&expected, text.replace("Odalys", "Odile"))?;
    ran(
        &test,
        1,
        &[
            "/lead/first-name: \"Odalys\" instead of \"Odile\"",
            "0 passed, 1 failed",
        ],
    )?;
    let report = std::fs::read_to_string(folder.join("report.xml"))?;
    ensure!(report.contains("failures=\"1\""), "{report}");
    ran(&[&test[..], &["--update"]].concat(), 0, &["1 passed"])?;
    ensure!(std::fs::read_to_string(&expected)? == text);

    std::fs::write(folder.join("core.wasm"), b"\0asm\x01\0\0\0")?;
    ran(
        &["inspect", "core.wasm"],
        1,
        &["a core module, not a component"],
    )?;
    ran(
        &["build", "."],
        1,
        &["is no project: it has no Cargo.toml, package.json, pyproject.toml"],
    )?;
    Ok(())
}
