//! `ligature plugin build`: a project becomes a component, with the tools of its language.
//!
//! Rust needs cargo and the target `wasm32-unknown-unknown`; the component itself is made here. What is missing is said
//! with the command that installs it.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, bail};
use serde_json::Value;

use super::{read, short};
use crate::flow::Digest;
use crate::mapping::{gate, generate};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The folder of the project.
    #[arg(default_value = ".")]
    project: PathBuf,
    /// Where the component goes; NAME.wasm in the project if left out.
    #[arg(long, short)]
    output: Option<PathBuf>,
}

/// The languages of projects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Language {
    Rust,
}

impl Language {
    const ALL: [Self; 1] = [Self::Rust];

    /// The file that every project of the language has.
    fn mark(self) -> &'static str {
        match self {
            Self::Rust => "Cargo.toml",
        }
    }

    fn of(folder: &Path) -> Option<Self> {
        let mut all = Self::ALL.into_iter();
        all.find(|language| folder.join(language.mark()).is_file())
    }
}

pub(super) fn run(args: &Args, out: &mut (dyn Write + Send)) -> anyhow::Result<ExitCode> {
    let built = component(&args.project)?;
    let file = match &args.output {
        Some(output) => {
            std::fs::copy(&built, output)
                .with_context(|| format!("cannot write {}", output.display()))?;
            output.clone()
        }
        None => built,
    };
    let bytes = read(&file)?;
    gate::check(&bytes)?;
    let digest = Digest::of(&bytes);
    writeln!(
        out,
        "{} {} bytes, digest {}",
        file.display(),
        bytes.len(),
        short(&digest)
    )?;
    Ok(ExitCode::SUCCESS)
}

/// Whether a folder holds a project of one of the languages.
pub(super) fn is_project(folder: &Path) -> bool {
    Language::of(folder).is_some()
}

/// Builds the project in a folder; gives where the component is.
pub(super) fn component(project: &Path) -> anyhow::Result<PathBuf> {
    match Language::of(project) {
        Some(Language::Rust) => rust(project),
        None => bail!(
            "{} is no project: it has no {}",
            project.display(),
            Language::ALL.map(Language::mark).join(", ")
        ),
    }
}

fn rust(project: &Path) -> anyhow::Result<PathBuf> {
    let mut cargo = Command::new("cargo");
    cargo
        .args(["build", "--release", "--target", "wasm32-unknown-unknown"])
        .args(["--message-format", "json-render-diagnostics"])
        .current_dir(project)
        .stderr(Stdio::inherit());
    let output = cargo.output();
    let output = output.context("cargo is needed: see https://rustup.rs")?;
    if !output.status.success() {
        bail!(
            "the project does not build; if the target is missing: rustup target add wasm32-unknown-unknown"
        );
    }
    let lines = output.stdout.split(|byte| *byte == b'\n');
    let core = lines.filter_map(module).next_back().context(
        "the build made no WebAssembly: Cargo.toml needs [lib] crate-type = [\"cdylib\", \"rlib\"]",
    )?;
    let bytes = generate::from_core_module(&read(&core)?)
        .context("the module exports no mapping: use the export macro of the SDK")?;
    let name = core.file_stem().unwrap_or_default().to_string_lossy();
    let file = project.join(format!("{}.wasm", name.replace('_', "-")));
    std::fs::write(&file, bytes).with_context(|| format!("cannot write {}", file.display()))?;
    Ok(file)
}

/// The module of a line in which cargo tells of one (the Cargo Book, "Artifact messages").
fn module(line: &[u8]) -> Option<PathBuf> {
    let told: Value = serde_json::from_slice(line).ok()?;
    let is_ours = told["reason"] == "compiler-artifact"
        && told["target"]["kind"]
            .as_array()?
            .iter()
            .any(|kind| kind == "cdylib");
    let files = told["filenames"].as_array().filter(|_| is_ours)?;
    let files = files.iter().filter_map(Value::as_str);
    files
        .map(PathBuf::from)
        .find(|file| file.extension().is_some_and(|it| it == "wasm"))
}
