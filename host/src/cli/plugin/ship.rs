//! `ligature plugin key`, `sign`, `verify`, `pack` and `unpack`: how a component leaves its vendor.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail, ensure};

use super::{Bench, Compiled, read};
use crate::flow::Digest;
use crate::mapping::gate;
use crate::mapping::pack::Pack;
use crate::mapping::signature::{Signature, SigningKey};

#[derive(Debug, clap::Args)]
pub struct KeyArgs {
    /// The file that the secret key goes to; keep it where only the vendor's builds can read it.
    file: PathBuf,
}

#[derive(Debug, clap::Args)]
pub struct SignArgs {
    /// The component.
    component: PathBuf,
    /// The file with the secret key.
    #[arg(long)]
    key: PathBuf,
}

#[derive(Debug, clap::Args)]
pub struct VerifyArgs {
    /// The component.
    component: PathBuf,
    /// Its signature; COMPONENT.sig if left out.
    #[arg(long)]
    signature: Option<PathBuf>,
    /// The public key that it must be signed with; repeat it for several.
    #[arg(long = "key", required = true)]
    keys: Vec<String>,
}

#[derive(Debug, clap::Args)]
pub struct PackArgs {
    /// The component; its signature goes along if it lies beside it as COMPONENT.sig.
    component: PathBuf,
    /// A text for people.
    #[arg(long)]
    readme: Option<PathBuf>,
    /// The file that is written; the component's name with .tar if left out.
    #[arg(long, short)]
    output: Option<PathBuf>,
    #[command(flatten)]
    compiled: Compiled,
}

#[derive(Debug, clap::Args)]
pub struct UnpackArgs {
    /// The file.
    pack: PathBuf,
    /// Where its contents go; nothing there is overwritten.
    #[arg(long, default_value = ".")]
    folder: PathBuf,
}

pub(super) fn key(args: &KeyArgs, out: &mut (dyn Write + Send)) -> anyhow::Result<ExitCode> {
    let key = SigningKey::generate()?;
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&args.file)
        .with_context(|| format!("cannot make {}", args.file.display()))?;
    writeln!(file, "{}", key.to_secret())?;
    writeln!(out, "{}", key.public())?;
    Ok(ExitCode::SUCCESS)
}

pub(super) fn sign(args: &SignArgs, out: &mut (dyn Write + Send)) -> anyhow::Result<ExitCode> {
    let key: SigningKey = text(&args.key)?
        .parse()
        .with_context(|| args.key.display().to_string())?;
    let bytes = read(&args.component)?;
    gate::check(&bytes)?;
    let signature = key.sign(&Digest::of(&bytes));
    let file = beside(&args.component);
    std::fs::write(&file, format!("{signature}\n"))
        .with_context(|| format!("cannot write {}", file.display()))?;
    writeln!(out, "{} by {}", file.display(), signature.key())?;
    Ok(ExitCode::SUCCESS)
}

pub(super) fn verify(args: &VerifyArgs, out: &mut (dyn Write + Send)) -> anyhow::Result<ExitCode> {
    let bytes = read(&args.component)?;
    let file = match &args.signature {
        Some(file) => file.clone(),
        None => beside(&args.component),
    };
    let signature: Signature = text(&file)?
        .parse()
        .with_context(|| file.display().to_string())?;
    signature.verify(&Digest::of(&bytes))?;
    let key = signature.key();
    if !args.keys.contains(&key) {
        bail!("the component is signed with {key}, which is none of those given");
    }
    writeln!(out, "{} is signed with {key}", args.component.display())?;
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn pack(
    args: &PackArgs,
    out: &mut (dyn Write + Send),
) -> anyhow::Result<ExitCode> {
    let bytes = read(&args.component)?;
    let component = Bench::open(&args.compiled)?.load(&bytes).await?;
    let signature = beside(&args.component);
    let signature = match signature.exists() {
        true => {
            let signed = text(&signature)?;
            let parsed: Signature = signed.parse()?;
            parsed.verify(&component.digest)?;
            Some(signed)
        }
        false => None,
    };
    let readme = args.readme.as_deref().map(text).transpose()?;
    let pack = Pack {
        component: bytes,
        signature,
        manifest: Some(serde_json::to_string_pretty(&component.manifest)?),
        readme,
    };
    let file = match &args.output {
        Some(file) => file.clone(),
        None => args.component.with_extension("tar"),
    };
    let packed = pack.to_bytes();
    std::fs::write(&file, &packed).with_context(|| format!("cannot write {}", file.display()))?;
    let signed = match pack.signature {
        Some(_) => "signed",
        None => "not signed",
    };
    writeln!(out, "{} {} bytes, {signed}", file.display(), packed.len())?;
    Ok(ExitCode::SUCCESS)
}

pub(super) fn unpack(args: &UnpackArgs, out: &mut (dyn Write + Send)) -> anyhow::Result<ExitCode> {
    let pack = Pack::parse(&read(&args.pack)?)?;
    std::fs::create_dir_all(&args.folder)
        .with_context(|| format!("cannot make {}", args.folder.display()))?;
    for (name, _) in pack.files() {
        let file = args.folder.join(name);
        ensure!(!file.exists(), "{} is there already", file.display());
    }
    for (name, bytes) in pack.files() {
        let file = args.folder.join(name);
        std::fs::write(&file, bytes).with_context(|| format!("cannot write {}", file.display()))?;
        writeln!(out, "{} {} bytes", file.display(), bytes.len())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Where the signature of a component lies.
pub(super) fn beside(component: &Path) -> PathBuf {
    let mut name = component.as_os_str().to_owned();
    name.push(".sig");
    name.into()
}

pub(super) fn text(file: &Path) -> anyhow::Result<String> {
    String::from_utf8(read(file)?).with_context(|| format!("{} is no text", file.display()))
}
