//! Harness of the integration tests and benches: a host as an operator has it, and peers that speak the wire.

pub mod mllp;
pub mod site;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, ensure};

/// The folder of the workspace.
pub fn workspace_root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap_or(Path::new("."))
}

/// The `ligature` binary of the same build, beside this test's own folder; built if it is not there.
///
/// # Panics
/// If it cannot be built.
pub fn ligature_binary() -> PathBuf {
    static BUILT: Mutex<Option<PathBuf>> = Mutex::new(None);
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    built
        .get_or_insert_with(|| build().expect("the ligature binary is built"))
        .clone()
}

fn build() -> anyhow::Result<PathBuf> {
    let test = std::env::current_exe()?;
    let deps = test.parent().context("a test lies in a folder")?;
    let profile = if deps.ends_with("deps") {
        deps.parent().context("deps lies in a folder")?
    } else {
        deps
    };
    // The same selection as the tests, so that no dependency is built twice; up to date is a fraction of a second.
    let status = Command::new(env!("CARGO"))
        .args([
            "build",
            "--release",
            "--workspace",
            "--quiet",
            "--target-dir",
        ])
        .arg(
            profile
                .parent()
                .context("a profile lies in a target folder")?,
        )
        .current_dir(workspace_root())
        .status()?;
    ensure!(status.success(), "cargo build ended with {status}");
    Ok(profile.join("ligature"))
}

/// Whether this runs where nothing may be left out.
#[expect(
    clippy::disallowed_methods,
    reason = "the harness is no part of the host"
)]
pub fn in_ci() -> bool {
    std::env::var("CI").is_ok_and(|value| !value.is_empty() && value != "false")
}

/// Says something past the test runner's capture, which takes what is printed but not what is written to the file.
pub fn say(text: &str) {
    use std::io::Write;
    if let Ok(mut terminal) = std::fs::File::options().append(true).open("/dev/stderr") {
        let _ = writeln!(terminal, "{text}");
    }
}

/// A Python environment with `packages`, kept in the target folder; its path.
///
/// # Errors
/// What `python3 -m venv` or pip said.
pub fn python_with(packages: &[&str]) -> anyhow::Result<PathBuf> {
    static MADE: Mutex<()> = Mutex::new(());
    let _one_at_a_time = MADE.lock().unwrap_or_else(PoisonError::into_inner);
    let name: String = packages
        .join("-")
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
        .collect();
    let binary = ligature_binary();
    let folder = binary
        .parent()
        .context("a binary lies in a folder")?
        .join("python")
        .join(name);
    if folder.join("complete").exists() {
        return Ok(folder);
    }
    let run = |command: &mut Command| -> anyhow::Result<()> {
        let output = command.output()?;
        ensure!(
            output.status.success(),
            "{command:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(())
    };
    run(Command::new("python3")
        .args(["-m", "venv", "--clear"])
        .arg(&folder))?;
    run(Command::new(folder.join("bin/pip"))
        .args(["install", "--quiet", "--disable-pip-version-check"])
        .args(packages))?;
    std::fs::write(folder.join("complete"), "")?;
    Ok(folder)
}
