//! `ligature flow eject`: a Rust project that maps as a mapping document does.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};

use super::{Bench, Compiled, cases, project, read};
use crate::flow::change::Change;
use crate::mapping::document::Document;
use crate::mapping::robust::{Sample, Trial};
use crate::mapping::{eject, generate};

/// Writes a Rust project that maps as a mapping document does, with cases and what the document's component makes of them.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples: ligature flow eject flows/registrations.toml\n          \
                  ligature flow eject flows/registrations.toml --sample a04.hl7 --sample a04-without-phone.hl7"
)]
pub struct Args {
    /// The document, or a component that was generated of it.
    document: PathBuf,
    /// The folder that is made; the document's own name if left out.
    #[arg(long)]
    folder: Option<PathBuf>,
    /// A file with one HL7 message, or of a mapping to the EHR with one change, that becomes a case; left out, one is made up
    /// that has something in every field that the document reads.
    #[arg(long = "sample", value_name = "FILE")]
    samples: Vec<PathBuf>,
}

/// Runs the subcommand.
pub(in crate::cli) async fn run(
    args: &Args,
    out: &mut (dyn Write + Send),
) -> anyhow::Result<ExitCode> {
    let document = document(&read(&args.document)?)?;
    let name = name(&args.document);
    let folder = args.folder.clone().unwrap_or_else(|| name.clone().into());
    if folder.exists() {
        bail!("{} is there already", folder.display());
    }
    let component = generate::component(&document)?;
    let bench = Bench::open(&Compiled::default())?;
    let loaded = bench.load(&component).await?;
    let mut cases = Vec::new();
    for file in &args.samples {
        let stem = file.file_stem().unwrap_or(file.as_os_str());
        let stem = stem.to_string_lossy().replace('.', "-");
        cases.push((stem, text(file)?));
    }
    if cases.is_empty() {
        let sample = match Trial::usual(&loaded).sample {
            Sample::Message(bytes) => String::from_utf8(bytes)?,
            Sample::Change(change) => changed(&change)?,
        };
        cases.push(("sample".into(), sample));
    }
    let kind = match document.direction {
        crate::flow::Direction::EhrToLeadSquared => cases::MESSAGE,
        crate::flow::Direction::LeadSquaredToEhr => cases::CHANGE,
    };
    let own = [
        (
            "Cargo.toml",
            include_str!("../../../templates/eject/manifest.toml"),
        ),
        (
            "README.md",
            include_str!("../../../templates/eject/README.md"),
        ),
        (".gitignore", "/target\n/*.wasm\n"),
    ];
    for (place, text) in own {
        project::write(&folder.join(place), &text.replace("PLUGIN-NAME", &name))?;
    }
    for (place, text) in eject::sources(&document)? {
        project::write(&folder.join(place), &text)?;
    }
    project::write(&folder.join("mapping.toml"), &document.to_text())?;
    project::sdk_with_mapper(&folder)?;
    let golden = folder.join("cases");
    for (stem, text) in &cases {
        project::write(&golden.join(format!("{stem}{kind}")), text)?;
    }
    cases::update(&bench, &loaded, &golden).await?;
    let shown = folder.display();
    writeln!(out, "{shown} is ready; its README.md says how it goes on:")?;
    writeln!(out, "  ligature plugin test {shown}/cases")?;
    Ok(ExitCode::SUCCESS)
}

/// The document of a file, or of a component that carries it.
fn document(bytes: &[u8]) -> anyhow::Result<Document> {
    if bytes.starts_with(b"\0asm") {
        let carried = generate::document_of(bytes);
        return carried.context("the component was not generated of a mapping document");
    }
    let text = std::str::from_utf8(bytes).context("the document is not UTF-8")?;
    Document::parse(text).map_err(|faults| {
        let faults: Vec<_> = faults.iter().map(ToString::to_string).collect();
        anyhow::anyhow!(
            "the mapping document has faults:\n  {}",
            faults.join("\n  ")
        )
    })
}

/// What a project of this document is called: the file's name, as a crate may be called.
fn name(document: &Path) -> String {
    let stem = document.file_stem().unwrap_or_default().to_string_lossy();
    let letters = stem.chars().map(|c| match c.to_ascii_lowercase() {
        c @ ('a'..='z' | '0'..='9') => c,
        _ => '-',
    });
    let name: String = letters.collect();
    let name = name.trim_matches('-');
    match name.starts_with(|c: char| c.is_ascii_lowercase()) {
        true => name.to_owned(),
        false => format!("mapping-{name}"),
    }
}

fn text(file: &Path) -> anyhow::Result<String> {
    String::from_utf8(read(file)?).with_context(|| format!("{} is no text", file.display()))
}

fn changed(change: &Change) -> anyhow::Result<String> {
    Ok(format!("{}\n", serde_json::to_string_pretty(change)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_project_is_called_as_a_crate_may_be() {
        let check = |file: &str, expected: &str| assert_eq!(name(Path::new(file)), expected);
        check("flows/ADT%5EA04.toml", "adt-5ea04");
        check("lead.toml", "lead");
        check("4.toml", "mapping-4");
    }
}
