//! `ligature plugin build`: a project becomes a component, with the tools of its language.
//!
//! Rust needs cargo and the target `wasm32-unknown-unknown`; the component itself is made here. JavaScript needs Node.js,
//! and `componentize-js` is installed into the project; Python needs `componentize-py`, in the project's `.venv` or
//! anywhere on the path. What is missing is said with the command that installs it.

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
    Javascript,
    Python,
}

impl Language {
    const ALL: [Self; 3] = [Self::Rust, Self::Javascript, Self::Python];

    /// The file that every project of the language has.
    fn mark(self) -> &'static str {
        match self {
            Self::Rust => "Cargo.toml",
            Self::Javascript => "package.json",
            Self::Python => "pyproject.toml",
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
        Some(Language::Javascript) => javascript(project),
        Some(Language::Python) => python(project),
        None => bail!(
            "{} is no project: it has no {}",
            project.display(),
            Language::ALL.map(Language::mark).join(", ")
        ),
    }
}

/// Where the tools of JavaScript and Python put the component.
const MADE: &str = "dist/component.wasm";

fn javascript(project: &Path) -> anyhow::Result<PathBuf> {
    let missing = "npm is needed, of Node.js 20 or newer: see https://nodejs.org";
    if !project.join("node_modules").exists() {
        let mut install = Command::new("npm");
        install.args(["install", "--no-audit", "--no-fund"]);
        run_tool(&mut install, project, missing)?;
    }
    let mut build = Command::new("npm");
    build.args(["run", "--silent", "build"]);
    run_tool(&mut build, project, missing)?;
    named(project, &project.join(MADE))
}

fn python(project: &Path) -> anyhow::Result<PathBuf> {
    let own = project.join(".venv/bin/componentize-py");
    let tool = match own.exists() {
        true => std::path::absolute(own)?,
        false => "componentize-py".into(),
    };
    let built = project.join(MADE);
    let folder = built.parent().unwrap_or(project);
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let asked = Asked::of(project)?;
    let mut command = Command::new(tool);
    command
        .args(["--quiet", "--wit-path", &asked.wit, "--world", &asked.world])
        .args(["componentize", "--stub-wasi", &asked.module, "-o", MADE]);
    let missing = "componentize-py is needed; in the project: \
                   python3 -m venv .venv && .venv/bin/pip install componentize-py==0.25.1";
    run_tool(&mut command, project, missing)?;
    named(project, &built)
}

/// `[tool.ligature]` of a Python project; npm's `build` says the same for a JavaScript one.
#[derive(serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Asked {
    /// The module that holds the mapping.
    module: String,
    world: String,
    /// The folder of the contract.
    wit: String,
}

impl Default for Asked {
    fn default() -> Self {
        Self {
            module: "mapping".into(),
            world: "inbound-mapping".into(),
            wit: "wit".into(),
        }
    }
}

impl Asked {
    fn of(project: &Path) -> anyhow::Result<Self> {
        let file = project.join(Language::Python.mark());
        let text = String::from_utf8(read(&file)?)?;
        let mut table: toml::Table = text
            .parse()
            .with_context(|| format!("{} cannot be read", file.display()))?;
        let tool = table.get_mut("tool").and_then(toml::Value::as_table_mut);
        match tool.and_then(|tools| tools.remove("ligature")) {
            Some(asked) => asked
                .try_into()
                .with_context(|| format!("[tool.ligature] of {}", file.display())),
            None => Ok(Self::default()),
        }
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

fn run_tool(command: &mut Command, project: &Path, missing: &str) -> anyhow::Result<()> {
    let status = command.current_dir(project).stdout(Stdio::null()).status();
    let status = status.with_context(|| missing.to_owned())?;
    if !status.success() {
        bail!("the project does not build: {command:?} ended with {status}");
    }
    Ok(())
}

/// Puts what a tool made beside the project's other files, under the project's name.
fn named(project: &Path, built: &Path) -> anyhow::Result<PathBuf> {
    let whole = std::path::absolute(project)?;
    let name = whole
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let file = project.join(format!("{name}.wasm"));
    std::fs::copy(built, &file)
        .with_context(|| format!("the build made no {}", built.display()))?;
    Ok(file)
}
