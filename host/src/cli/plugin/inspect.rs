//! `ligature plugin inspect`: a component in plain words, or why a host would not take it.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::json;

use super::{Bench, Compiled, read, short};
use crate::flow::Digest;
use crate::mapping::gate;
use crate::pipeline::activate;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The component.
    component: PathBuf,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    compiled: Compiled,
}

pub(super) async fn run(args: &Args, out: &mut (dyn Write + Send)) -> anyhow::Result<ExitCode> {
    let bytes = read(&args.component)?;
    let digest = Digest::of(&bytes);
    let outline = gate::outline(&bytes);
    let loaded = match &outline {
        Ok(_) => Bench::open(&args.compiled)?.load(&bytes).await,
        Err(_) => Err(anyhow::anyhow!("")),
    };
    let refused = match (&outline, &loaded) {
        (Err(rejected), _) => Some(rejected.to_string()),
        (Ok(_), Err(fault)) => Some(format!("{fault:#}")),
        (Ok(_), Ok(_)) => None,
    };
    let manifest = loaded.as_ref().ok().map(|component| &component.manifest);
    if args.json {
        let outline = outline.as_ref().ok();
        let shown = json!({
            "digest": digest,
            "size_bytes": bytes.len(),
            "imports": outline.map(|outline| &outline.imports),
            "exports": outline.map(|outline| &outline.exports),
            "producers": outline.map(|outline| &outline.producers),
            "manifest": manifest,
            "refused": refused,
        });
        writeln!(out, "{}", serde_json::to_string_pretty(&shown)?)?;
    } else {
        writeln!(out, "{}", args.component.display())?;
        writeln!(out, "  digest     {digest} ({})", short(&digest))?;
        writeln!(out, "  size       {} bytes", bytes.len())?;
        if let Ok(outline) = &outline {
            writeln!(out, "  made by    {}", list(&outline.producers))?;
            writeln!(out, "  imports    {}", list(&outline.imports))?;
            writeln!(out, "  exports    {}", list(&outline.exports))?;
        }
        if let (Some(manifest), Ok(component)) = (manifest, &loaded) {
            writeln!(out, "  name       {} {}", manifest.name, manifest.version)?;
            writeln!(out, "  vendor     {}", manifest.vendor)?;
            writeln!(out, "  summary    {}", manifest.summary)?;
            writeln!(out, "  maps       {}", gate::words(component.direction()))?;
            let events = match manifest.events.is_empty() {
                true => "any".to_owned(),
                false => list(&manifest.events),
            };
            writeln!(out, "  events     {events}")?;
            writeln!(out, "  asks to")?;
            for wish in activate::wishes(&manifest.grants()) {
                writeln!(out, "    {wish}")?;
            }
            for table in &manifest.tables {
                writeln!(out, "    look codes up in {} ({})", table.name, table.label)?;
            }
            for setting in &manifest.settings {
                let need = if setting.required {
                    "needed"
                } else {
                    "optional"
                };
                writeln!(
                    out,
                    "    be told {} ({}, {need})",
                    setting.name, setting.label
                )?;
            }
        }
        match &refused {
            Some(why) => writeln!(out, "\nA host would not take it: {why}")?,
            None => writeln!(out, "\nA host would take it.")?,
        }
    }
    Ok(match refused {
        Some(_) => ExitCode::FAILURE,
        None => ExitCode::SUCCESS,
    })
}

fn list(words: &[String]) -> String {
    match words.is_empty() {
        true => "none".into(),
        false => words.join(", "),
    }
}
