//! `ligature plugin new`: a project that builds and passes its tests as it is, without any package of ours.
//!
//! The contract, and for Rust the SDK, are in this binary and go into the project.

use std::io::Write;
use std::path::Path;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};

use super::build::Language;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// What the plugin is called: small letters, digits and hyphens.
    name: String,
    #[arg(long, value_enum)]
    language: Language,
    /// The folder that is made; NAME if left out.
    #[arg(long)]
    folder: Option<PathBuf>,
}

/// A file by its place in a project.
type File = (&'static str, &'static str);

macro_rules! files {
    ($root:literal, $($name:literal),+ $(,)?) => {
        &[$(($name, include_str!(concat!("../../../../", $root, $name)))),+]
    };
}

/// The contract.
const WIT: &[File] = files!("wit/", "README.md", "mapping.wit");

/// The SDK; its manifest is made by [`manifest`].
const SDK: &[File] = files!(
    "guest-sdk/",
    "README.md",
    "src/bindings.rs",
    "src/change.rs",
    "src/compose.rs",
    "src/dtm.rs",
    "src/export.rs",
    "src/host.rs",
    "src/lib.rs",
    "src/lsq.rs",
    "src/manifest.rs",
    "src/message.rs",
    "src/testing.rs",
    "src/write.rs",
);

/// The interpreter of mapping documents, as source; its manifest is made by [`manifest`].
const MAPPER: &[File] = files!(
    "plugins/mapper/",
    "src/arena.rs",
    "src/evaluate.rs",
    "src/evaluate/condition.rs",
    "src/evaluate/contents.rs",
    "src/evaluate/source.rs",
    "src/export.rs",
    "src/export/inbound.rs",
    "src/export/outbound.rs",
    "src/export/program.rs",
    "src/lib.rs",
    "src/number.rs",
    "src/program.rs",
    "src/step.rs",
    "src/step/calendar.rs",
    "src/step/code.rs",
    "src/step/table.rs",
    "src/step/text.rs",
    "src/text.rs",
    "src/value.rs",
);

/// Where versions of dependencies stand.
const WORKSPACE: &str = include_str!("../../../../Cargo.toml");

const CASES: &[File] = &[
    (
        "cases/registration.hl7",
        include_str!("../../../templates/plugin/registration.hl7"),
    ),
    (
        "cases/registration.expected.json",
        include_str!("../../../templates/plugin/registration.expected.json"),
    ),
];

const RUST: &[File] = &[
    (
        "Cargo.toml",
        include_str!("../../../templates/plugin/rust/manifest.toml"),
    ),
    (
        "src/lib.rs",
        include_str!("../../../templates/plugin/rust/lib.rs"),
    ),
    (
        "README.md",
        include_str!("../../../templates/plugin/rust/README.md"),
    ),
    (".gitignore", "/target\n/*.wasm\n"),
];

const JAVASCRIPT: &[File] = &[
    (
        "package.json",
        include_str!("../../../templates/plugin/javascript/package.json"),
    ),
    (
        "build.js",
        include_str!("../../../templates/plugin/javascript/build.js"),
    ),
    (
        "mapping.js",
        include_str!("../../../templates/plugin/javascript/mapping.js"),
    ),
    (
        "README.md",
        include_str!("../../../templates/plugin/javascript/README.md"),
    ),
    (".gitignore", "/dist\n/node_modules\n/*.wasm\n"),
];

const PYTHON: &[File] = &[
    (
        "pyproject.toml",
        include_str!("../../../templates/plugin/python/pyproject.toml"),
    ),
    (
        "mapping.py",
        include_str!("../../../templates/plugin/python/mapping.py"),
    ),
    (
        "README.md",
        include_str!("../../../templates/plugin/python/README.md"),
    ),
    (".gitignore", "/.venv\n/dist\n/*.wasm\n__pycache__\n"),
];

pub(super) fn run(args: &Args, out: &mut (dyn Write + Send)) -> anyhow::Result<ExitCode> {
    let name = args.name.as_str();
    let is_name = name.starts_with(|c: char| c.is_ascii_lowercase())
        && name
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
        && !name.ends_with('-');
    if !is_name {
        bail!(
            "{name:?} is no name for a plugin: small letters, digits and hyphens, a letter first"
        );
    }
    let folder = args.folder.clone().unwrap_or_else(|| name.into());
    if folder.exists() {
        bail!("{} is there already", folder.display());
    }
    let (own, contract) = match args.language {
        Language::Rust => (RUST, "sdk/wit"),
        Language::Javascript => (JAVASCRIPT, "wit"),
        Language::Python => (PYTHON, "wit"),
    };
    for (place, text) in own.iter().chain(CASES) {
        write(&folder.join(place), &text.replace("PLUGIN-NAME", name))?;
    }
    write_all(&folder.join(contract), WIT)?;
    if args.language == Language::Rust {
        sdk(&folder)?;
    }
    let shown = folder.display();
    writeln!(out, "{shown} is ready; its README.md says how it goes on:")?;
    writeln!(out, "  ligature plugin build {shown}")?;
    writeln!(out, "  ligature plugin test {shown}/cases")?;
    Ok(ExitCode::SUCCESS)
}

/// Writes the SDK into a project in Rust.
fn sdk(project: &Path) -> anyhow::Result<()> {
    let sdk = project.join("sdk/guest-sdk");
    let made = manifest("ligature-guest", &["wit-bindgen"])?;
    write(&sdk.join("Cargo.toml"), &toml::to_string(&made)?)?;
    write_all(&sdk, SDK)
}

/// Writes SDK, contract and interpreter into a project in Rust.
pub(super) fn sdk_with_mapper(project: &Path) -> anyhow::Result<()> {
    sdk(project)?;
    write_all(&project.join("sdk/wit"), WIT)?;
    let mapper = project.join("sdk/plugins/mapper");
    let mut made = manifest(
        "ligature-mapper",
        &["postcard", "regex-lite", "serde", "sha2"],
    )?;
    let guest = toml::toml! {
        path = "../../guest-sdk"
        optional = true
    };
    let features = toml::toml! {
        guest = ["dep:ligature-guest"]
        inbound = ["guest"]
        outbound = ["guest"]
    };
    if let Some(toml::Value::Table(dependencies)) = made.get_mut("dependencies") {
        dependencies.insert("ligature-guest".into(), guest.into());
    }
    made.insert("features".into(), features.into());
    write(&mapper.join("Cargo.toml"), &toml::to_string(&made)?)?;
    write_all(&mapper, MAPPER)
}

fn write_all(folder: &Path, files: &[File]) -> anyhow::Result<()> {
    for (place, text) in files {
        write(&folder.join(place), text)?;
    }
    Ok(())
}

pub(super) fn write(file: &Path, text: &str) -> anyhow::Result<()> {
    let folder = file.parent().unwrap_or(file);
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    std::fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
}

/// The manifest of one of our crates outside this workspace.
fn manifest(name: &str, needs: &[&str]) -> anyhow::Result<toml::Table> {
    let workspace: toml::Table = WORKSPACE.parse()?;
    let of = |path: &[&str]| {
        path.iter()
            .try_fold(&toml::Value::Table(workspace.clone()), |value, name| {
                value.get(name)
            })
            .cloned()
    };
    let edition = of(&["workspace", "package", "edition"]).context("no edition")?;
    let mut package = toml::Table::new();
    package.insert("name".into(), name.into());
    package.insert("version".into(), env!("CARGO_PKG_VERSION").into());
    package.insert("edition".into(), edition);
    package.insert("publish".into(), false.into());
    let mut dependencies = toml::Table::new();
    for need in needs {
        let version = of(&["workspace", "dependencies", need]);
        let version = version.with_context(|| format!("the workspace names no {need}"))?;
        dependencies.insert((*need).to_owned(), version);
    }
    Ok(toml::Table::from_iter([
        ("package".to_owned(), package.into()),
        ("dependencies".to_owned(), dependencies.into()),
    ]))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_file_of_the_sdk_and_the_contract_goes_along() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let listed = |files: &[File]| -> BTreeSet<String> {
            files.iter().map(|(name, _)| (*name).to_owned()).collect()
        };
        let there = |folder: &str| -> BTreeSet<String> {
            let entries = std::fs::read_dir(root.join(folder)).unwrap();
            entries
                .map(Result::unwrap)
                // What was released before is for the tests.
                .filter(|entry| entry.path().is_file())
                .map(|entry| entry.file_name().to_string_lossy().into_owned())
                .collect()
        };
        let sources: BTreeSet<_> = there("guest-sdk/src")
            .into_iter()
            .map(|name| format!("src/{name}"))
            .chain(["README.md".to_owned()])
            .collect();
        assert_eq!(listed(SDK), sources);
        assert_eq!(listed(WIT), there("wit"));
        let mapper: BTreeSet<_> = ["", "/evaluate", "/export", "/step"]
            .into_iter()
            .flat_map(|part| {
                let files = there(&format!("plugins/mapper/src{part}")).into_iter();
                files.map(move |name| format!("src{part}/{name}"))
            })
            .collect();
        assert_eq!(listed(MAPPER), mapper);
    }

    #[test]
    fn the_sdk_stands_on_its_own() {
        let manifest = manifest("ligature-guest", &["wit-bindgen"]).unwrap();
        assert_eq!(manifest["package"]["name"].as_str(), Some("ligature-guest"));
        assert!(manifest["dependencies"].get("wit-bindgen").is_some());
        assert!(!manifest.to_string().contains("workspace"));
    }
}
