//! `ligature flow bisect`: since which release a field gets what it gets of a stored message, and what that release changed.
//!
//! Prints no values. Start at [`run`].

use std::io::Write;
use std::process::ExitCode;

use serde_json::Value;

use super::way::Way;
use crate::cli::interface::OnSite;

/// Finds the release that changed what a field gets of a stored message: a component, a setting, a code table.
///
/// Releases are halved, not walked through: of 64 six are run.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples: ligature flow bisect 0199….0 lead.mx_City --config /etc/ligature.toml\n          \
                  ligature flow bisect 0199….0 lead.mx_City --release 5e3a… --config /etc/ligature.toml"
)]
pub struct Bisect {
    /// The delivery's id.
    delivery: String,
    /// The field, as a replay names it.
    field: String,
    /// The release whose value is wondered at; the one that the delivery was carried out with if left out.
    #[arg(long)]
    release: Option<String>,
    /// Prints JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    site: OnSite,
}

pub(super) async fn run(args: &Bisect, out: &mut (dyn Write + Send)) -> anyhow::Result<ExitCode> {
    let way = Box::pin(Way::find(&args.site)).await?;
    let release = args.release.as_deref();
    let bisecting = way.bisect(&args.delivery, &args.field, release);
    let found = Box::pin(bisecting).await;
    way.close().await;
    print(out, &found?, args.json)?;
    Ok(ExitCode::SUCCESS)
}

fn print(out: &mut (dyn Write + Send), found: &Value, as_json: bool) -> anyhow::Result<()> {
    if as_json {
        writeln!(out, "{}", serde_json::to_string_pretty(found)?)?;
        return Ok(());
    }
    let text = |name: &str| found[name].as_str().unwrap_or_default();
    let (field, since, at) = (text("field"), text("since"), text("at"));
    match found["before"].as_str() {
        None => writeln!(
            out,
            "{field} was never otherwise: since the first release {since}, {at}"
        )?,
        Some(before) => {
            writeln!(out, "{field} since release {since}, in force from {at}")?;
            writeln!(out, "  the one before it is {before}; it changed")?;
            for change in found["changes"].as_array().into_iter().flatten() {
                writeln!(out, "  {}", change.as_str().unwrap_or_default())?;
            }
        }
    }
    let (runs, releases) = (&found["runs"], &found["releases"]);
    writeln!(out, "{runs} runs, {releases} releases in question")?;
    Ok(())
}
