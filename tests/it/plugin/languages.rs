//! JavaScript and Python: a new project works as it is, and the example in three languages gives the same results.

use std::path::{Path, PathBuf};

use anyhow::ensure;
use ligature_tests::{guests, plugins};

use super::plugin;

/// Runs `plugin test` over `cases` and expects that all pass.
fn passes(cases: &Path, component: &Path, count: usize) -> anyhow::Result<()> {
    let compiled = plugins::compiled()?;
    let args = [
        "test",
        &cases.display().to_string(),
        "--component",
        &component.display().to_string(),
        "--compiled",
        &compiled.display().to_string(),
    ];
    let (status, said) = plugin(cases, &args)?;
    ensure!(status == Some(0), "{status:?} {said}");
    ensure!(
        said.contains(&format!("{count} passed, 0 failed")),
        "{said}"
    );
    Ok(())
}

fn a_new_project(language: &str) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let folder = folder.path();
    let (status, said) = plugin(folder, &["new", "visits", "--language", language])?;
    ensure!(status == Some(0), "{said}");
    let component = plugins::built(&folder.join("visits"))?;
    let shown = component.display().to_string();
    passes(&folder.join("visits/cases"), &component, 1)?;
    let (status, said) = plugin(
        folder,
        &[
            "inspect",
            &shown,
            "--json",
            "--compiled",
            &plugins::compiled()?.display().to_string(),
        ],
    )?;
    ensure!(status == Some(0), "{said}");
    let outline: serde_json::Value = serde_json::from_str(&said)?;
    let imports = outline["imports"].as_array().into_iter().flatten();
    for import in imports.filter_map(|import| import.as_str()) {
        ensure!(
            import.starts_with("ligature:mapping/"),
            "it imports {import}"
        );
    }
    Ok(())
}

#[test]
fn a_new_javascript_project_builds_and_passes_its_tests() -> anyhow::Result<()> {
    a_new_project("javascript")
}

#[test]
fn a_new_python_project_builds_and_passes_its_tests() -> anyhow::Result<()> {
    a_new_project("python")
}

fn examples() -> PathBuf {
    guests::root().join("examples/plugins")
}

#[test]
fn the_example_gives_the_same_in_rust() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let component = folder.path().join("component.wasm");
    std::fs::write(&component, guests::example("rust-appointments"))?;
    passes(&examples().join("cases"), &component, 8)
}

#[test]
fn the_example_gives_the_same_in_javascript() -> anyhow::Result<()> {
    let component = plugins::built(&examples().join("javascript-appointments"))?;
    passes(&examples().join("cases"), &component, 8)
}

#[test]
fn the_example_gives_the_same_in_python() -> anyhow::Result<()> {
    let component = plugins::built(&examples().join("python-appointments"))?;
    passes(&examples().join("cases"), &component, 8)
}

#[test]
fn what_is_missing_to_build_is_named() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let check = |language: &str, said: &str| -> anyhow::Result<()> {
        plugin(folder.path(), &["new", language, "--language", language])?;
        let output = std::process::Command::new(ligature_tests::ligature_binary())
            .args(["plugin", "build", language])
            .current_dir(folder.path())
            .env("PATH", folder.path())
            .output()?;
        let text = String::from_utf8(output.stderr)?;
        ensure!(!output.status.success() && text.contains(said), "{text}");
        Ok(())
    };
    check("rust", "cargo is needed: see https://rustup.rs")?;
    check("javascript", "npm is needed, of Node.js 20 or newer")?;
    check("python", "pip install componentize-py==")
}
