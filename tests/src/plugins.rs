//! Projects of vendors in JavaScript and Python, built with `ligature plugin build` and the tools that they name.
//!
//! Tools and components are kept in the target folder: a component is built again when a file of its project, the
//! contract or the build itself has changed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, ensure};
use ligature::flow::Digest;

use crate::{guests, installed, ligature_binary, python_with, run};

/// The component of a project, built if it is not there yet.
///
/// # Errors
///
/// What a tool said, or that it could not be installed.
pub fn built(project: &Path) -> anyhow::Result<PathBuf> {
    // Side by side they would be no faster: each tool uses all cores.
    static BUILDING: Mutex<()> = Mutex::new(());
    let _one_at_a_time = BUILDING.lock().unwrap_or_else(PoisonError::into_inner);
    let root = guests::root();
    let mut files = BTreeMap::new();
    read(project, Path::new("examples/plugins/project"), &mut files)?;
    read(&root.join("wit"), Path::new("wit"), &mut files)?;
    let build = std::fs::read(root.join("host/src/cli/plugin/build.rs"))?;
    let mut all = build;
    for (name, bytes) in &files {
        all.extend(format!("\n{} {}\n", name.display(), bytes.len()).bytes());
        all.extend(bytes);
    }
    let folder = kept()?.join(Digest::of(&all).as_str());
    let component = folder.join("component.wasm");
    if component.exists() {
        return Ok(component);
    }
    for (name, bytes) in &files {
        let file = folder.join(name);
        std::fs::create_dir_all(file.parent().unwrap_or(&folder))?;
        std::fs::write(file, bytes)?;
    }
    let project = folder.join("examples/plugins/project");
    link_tools(&project)?;
    let unfinished = folder.join("unfinished.wasm");
    let mut command = Command::new(ligature_binary());
    command.args(["plugin", "build"]).arg(&project);
    run(command.arg("--output").arg(&unfinished))?;
    std::fs::rename(unfinished, &component)?;
    Ok(component)
}

/// Where compiled components of the tests are kept.
///
/// # Errors
///
/// There is no target folder.
pub fn compiled() -> anyhow::Result<PathBuf> {
    Ok(kept()?.join("compiled"))
}

fn kept() -> anyhow::Result<PathBuf> {
    let binary = ligature_binary();
    let profile = binary.parent().context("a binary lies in a folder")?;
    Ok(profile.join("plugins"))
}

/// The files of a project, without what a build leaves there.
fn read(folder: &Path, name: &Path, files: &mut BTreeMap<PathBuf, Vec<u8>>) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let own = entry.file_name().to_string_lossy().into_owned();
        let is_made = ["dist", "node_modules", "target", "__pycache__"].contains(&own.as_str());
        if is_made || own.starts_with('.') || own.ends_with(".wasm") {
            continue;
        }
        if entry.file_type()?.is_dir() {
            read(&entry.path(), &name.join(own), files)?;
        } else {
            files.insert(name.join(own), std::fs::read(entry.path())?);
        }
    }
    Ok(())
}

/// Puts the tools that a project names where `plugin build` looks for them first.
///
/// # Errors
///
/// They could not be installed.
pub fn link_tools(project: &Path) -> anyhow::Result<()> {
    if let Ok(package) = std::fs::read(project.join("package.json")) {
        let package: serde_json::Value = serde_json::from_slice(&package)?;
        link(&modules(&package)?, &project.join("node_modules"))?;
    }
    if let Ok(manifest) = std::fs::read_to_string(project.join("pyproject.toml")) {
        let manifest: toml::Table = manifest.parse()?;
        let groups = manifest.get("dependency-groups");
        let dev = groups.and_then(|groups| groups.get("dev")?.as_array());
        let dev = dev.context("pyproject.toml names no tools")?.iter();
        let dev: Vec<_> = dev.filter_map(toml::Value::as_str).collect();
        link(&python_with(&dev)?, &project.join(".venv"))?;
    }
    Ok(())
}

fn link(original: &Path, link: &Path) -> anyhow::Result<()> {
    if std::fs::symlink_metadata(link).is_ok() {
        std::fs::remove_file(link)?;
    }
    std::os::unix::fs::symlink(original, link)?;
    Ok(())
}

/// What `npm install` makes of the tools of a package.
fn modules(package: &serde_json::Value) -> anyhow::Result<PathBuf> {
    let mut names = Vec::new();
    for part in ["devDependencies", "overrides"] {
        let part = package[part].as_object().into_iter().flatten();
        names.extend(part.map(|(name, version)| format!("{name}@{version}")));
    }
    ensure!(!names.is_empty(), "package.json names no tools");
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let folder = installed("node", &names, |folder| {
        let only = serde_json::json!({
            "private": true,
            "devDependencies": package["devDependencies"],
            "overrides": package["overrides"],
        });
        std::fs::write(folder.join("package.json"), only.to_string())?;
        let mut install = Command::new("npm");
        install.args(["install", "--no-audit", "--no-fund", "--ignore-scripts"]);
        run(install.current_dir(folder))
    })?;
    Ok(folder.join("node_modules"))
}
