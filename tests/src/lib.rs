//! Harness of the integration tests and benches: a host as an operator has it, and peers that speak the wire.

pub mod archive;
pub mod bridge;
pub mod browser;
pub mod clinic;
mod cluster;
pub mod guests;
pub mod interface;
pub mod mllp;
pub mod office;
pub mod pki;
pub mod plugins;
pub mod postbox;
pub mod properties;
pub mod registry;
pub mod site;
pub mod visitor;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, ensure};

pub use cluster::postgres;

/// The folder of the workspace.
pub fn workspace_root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap_or(Path::new("."))
}

/// The `ligature` binary of the same build, brought up to date when first asked for.
///
/// A test of another package has no `CARGO_BIN_EXE_ligature`. The binary is built as `cargo test --workspace` builds
/// it: any other selection of packages and targets unites features differently and would build every dependency anew.
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
    // TARGET/release/deps/it-0123456789abcdef, or TARGET/release/bench
    let executable = std::env::current_exe()?;
    let profile = executable
        .ancestors()
        .find(|folder| folder.ends_with("release"))
        .context("the tests run in the release profile only: cargo test --release --workspace")?;
    let target = profile.parent().context("no target folder")?;
    let mut cargo = Command::new(env!("CARGO"));
    // What cargo tells this test about its own package would make build scripts run again.
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
            cargo.env_remove(name.as_ref());
        }
    }
    let status = cargo
        .args(["test", "--quiet", "--release", "--workspace", "--no-run"])
        .args(["--test", "command", "--target-dir"])
        .arg(target)
        .current_dir(workspace_root())
        .status()
        .context("starting cargo")?;
    ensure!(status.success(), "building the ligature binary failed");
    Ok(profile.join("ligature"))
}

/// The HTTP client of the tests.
pub fn http() -> &'static reqwest::Client {
    static CLIENT: std::sync::OnceLock<reqwest::Client> = std::sync::OnceLock::new();
    CLIENT.get_or_init(|| {
        // reqwest asks for a provider even where no TLS is spoken; the host may have installed the same one before.
        let _ = rustls::crypto::ring::default_provider().install_default();
        reqwest::Client::new()
    })
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
    installed("python", packages, |folder| {
        run(Command::new("python3")
            .args(["-m", "venv", "--clear"])
            .arg(folder))?;
        run(Command::new(folder.join("bin/pip"))
            .args(["install", "--quiet", "--disable-pip-version-check"])
            .args(packages))
    })
}

/// Modules of Node.js at the versions of `packages`, kept in the target folder; the path to put into `NODE_PATH`.
///
/// # Errors
/// What npm said, or that Node.js 20 or newer is missing.
pub fn node_with(packages: &[&str]) -> anyhow::Result<PathBuf> {
    let version = Command::new("node").arg("--version").output();
    let version = version.context("Node.js 20 or newer is needed: apt-get install nodejs npm")?;
    let version = String::from_utf8_lossy(&version.stdout).trim().to_owned();
    let major = version.trim_start_matches('v').split('.').next();
    let major: u32 = major.and_then(|major| major.parse().ok()).unwrap_or(0);
    ensure!(
        major >= 20,
        "Node.js 20 or newer is needed, this is {version}"
    );
    let folder = installed("node", packages, |folder| {
        // Scripts of packages are none of our business.
        run(Command::new("npm")
            .args(["install", "--no-audit", "--no-fund", "--ignore-scripts"])
            .arg("--prefix")
            .arg(folder)
            .args(packages))
    })?;
    Ok(folder.join("node_modules"))
}

/// A folder of the target folder into which `install` has put `packages`, once for all runs.
fn installed(
    kind: &str,
    packages: &[&str],
    install: impl FnOnce(&Path) -> anyhow::Result<()>,
) -> anyhow::Result<PathBuf> {
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
        .join(kind)
        .join(name);
    if !folder.join("complete").exists() {
        std::fs::create_dir_all(&folder)?;
        install(&folder)?;
        std::fs::write(folder.join("complete"), "")?;
    }
    Ok(folder)
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    let output = command
        .output()
        .with_context(|| format!("starting {}", command.get_program().display()))?;
    ensure!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}
