//! `ligature plugin pull`: a component comes from a registry, with its signature beside it, ready for the upload.
//!
//! It is written only if a host would take it and nothing is wrong with its signature; whose signature a host trusts is
//! the account's to say.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail, ensure};

use super::registry::reference::Reference;
use super::registry::{Fetched, Reach, Registry};
use super::ship::beside;
use crate::flow::Digest;
use crate::mapping::gate;
use crate::mapping::signature::Signature;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The component: REGISTRY/REPOSITORY:TAG, or REGISTRY/REPOSITORY@sha256:… for one that cannot become another.
    reference: String,
    /// The file that is written, its signature beside it; the last part of the repository's name with .wasm if left
    /// out. Nothing is overwritten.
    #[arg(long, short)]
    output: Option<PathBuf>,
    /// A public key that it must be signed with; repeat it for several.
    #[arg(long = "key")]
    keys: Vec<String>,
    #[command(flatten)]
    reach: Reach,
}

pub(super) async fn run(args: &Args, out: &mut (dyn Write + Send)) -> anyhow::Result<ExitCode> {
    let reference: Reference = args
        .reference
        .parse()
        .with_context(|| args.reference.clone())?;
    let file = match &args.output {
        Some(file) => file.clone(),
        None => PathBuf::from(format!("{}.wasm", reference.name())),
    };
    let signature = beside(&file);
    // Another component's signature must not come to lie beside this one.
    for file in [&file, &signature] {
        ensure!(
            !file.exists(),
            "{} is there already: remove it, or name another --output",
            file.display()
        );
    }
    let mut registry = Registry::new(reference.clone(), &args.reach)?;
    let patience = Duration::from_secs(args.reach.timeout);
    let fetched = tokio::time::timeout(patience, Box::pin(registry.component())).await;
    let fetched = fetched.with_context(|| {
        format!(
            "{reference} did not come within {} seconds: try again, or give it more with --timeout",
            args.reach.timeout
        )
    })??;
    let Fetched {
        component, pinned, ..
    } = &fetched;
    gate::check(component).with_context(|| format!("a host would not take {reference}"))?;
    let digest = Digest::of(component);
    let signed = signed(&fetched, &digest, &args.keys)?;
    write(&file, component)?;
    writeln!(
        out,
        "{} {} bytes, digest {digest}\n  of {pinned}",
        file.display(),
        component.len()
    )?;
    match signed {
        Some(signed) => {
            write(&signature, format!("{signed}\n").as_bytes())?;
            writeln!(out, "  signed by {}", signed.key())?;
        }
        None => writeln!(out, "  not signed")?,
    }
    writeln!(
        out,
        "next: ligature plugin upload {} --account ID",
        file.display()
    )?;
    Ok(ExitCode::SUCCESS)
}

/// The signature that came along, if it is one of this component and of one of the keys that were named.
fn signed(
    fetched: &Fetched,
    digest: &Digest,
    keys: &[String],
) -> anyhow::Result<Option<Signature>> {
    let Some(text) = &fetched.signature else {
        ensure!(
            keys.is_empty(),
            "{} is not signed: ask its vendor for one that is",
            fetched.pinned
        );
        return Ok(None);
    };
    let signature: Signature = text.parse()?;
    signature.verify(digest)?;
    let key = signature.key();
    if !keys.is_empty() && !keys.contains(&key) {
        bail!(
            "{} is signed with {key}, which is none of those given",
            fetched.pinned
        );
    }
    Ok(Some(signature))
}

fn write(file: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let made = OpenOptions::new().write(true).create_new(true).open(file);
    let written = made.and_then(|mut made| made.write_all(bytes));
    written.with_context(|| format!("cannot write {}", file.display()))
}
