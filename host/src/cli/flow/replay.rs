//! `ligature flow replay`: stored messages through releases again, without any effect.
//!
//! Prints names of fields and what became of them; values only where they are asked for. Start at [`run`].

use std::collections::BTreeMap;
use std::io::Write;
use std::process::ExitCode;

use anyhow::ensure;
use serde_json::Value;

use super::way::Way;
use crate::cli::interface::OnSite;
use crate::pipeline::replay::verify::Asked;

/// Runs one delivery again, or verifies that all of a time come to what was recorded of them.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples: ligature flow replay 0199….0 --config /etc/ligature.toml\n          \
                  ligature flow replay 0199….0 --release 5e3a… --values --config /etc/ligature.toml\n          \
                  ligature flow replay --verify --since 2026-01-31 --config /etc/ligature.toml"
)]
pub struct Replay {
    /// The delivery's id.
    #[arg(required_unless_present = "verify")]
    delivery: Option<String>,
    /// The digest of a release of its flow; the one that it was carried out with if left out.
    #[arg(long, conflicts_with = "verify")]
    release: Option<String>,
    /// Shows values, to whoever may see patient data.
    #[arg(long, conflicts_with = "verify")]
    values: bool,
    /// Runs every delivery of a time again and reports those that come to something else; exit code 1 if any does.
    #[arg(long, conflicts_with = "delivery")]
    verify: bool,
    /// Verifies one flow.
    #[arg(long, requires = "verify")]
    flow: Option<String>,
    /// The account; needed where there are several.
    #[arg(long, requires = "verify")]
    account: Option<String>,
    /// Messages that came since a day or a time, in UTC; the last 24 hours if left out.
    #[arg(long, value_name = "TIME", requires = "verify")]
    since: Option<String>,
    /// And until then.
    #[arg(long, value_name = "TIME", requires = "verify")]
    until: Option<String>,
    /// Prints JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    site: OnSite,
}

pub(super) async fn run(args: &Replay, out: &mut (dyn Write + Send)) -> anyhow::Result<ExitCode> {
    let way = Box::pin(Way::find(&args.site)).await?;
    let done = match &args.delivery {
        Some(delivery) => Box::pin(one(args, delivery, &way, out)).await,
        None => Box::pin(all(args, &way, out)).await,
    };
    way.close().await;
    done
}

async fn one(
    args: &Replay,
    delivery: &str,
    way: &Way,
    out: &mut (dyn Write + Send),
) -> anyhow::Result<ExitCode> {
    let replay = way
        .replay(delivery, args.release.as_deref(), args.values)
        .await?;
    if args.json {
        writeln!(out, "{}", serde_json::to_string_pretty(&replay)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (release, outcome) = (text(&replay["release"]), text(&replay["outcome"]));
    writeln!(out, "release {release}: {outcome}, {} fuel", replay["fuel"])?;
    let recorded = &replay["recorded"];
    match recorded.is_null() {
        true => writeln!(out, "nothing was recorded")?,
        false => writeln!(
            out,
            "recorded {} with release {}: {}",
            text(&recorded["at"]),
            text(&recorded["release"]),
            text(&recorded["outcome"]),
        )?,
    }
    for field in replay["fields"].as_array().into_iter().flatten() {
        let (name, change) = (text(&field["field"]), text(&field["change"]));
        write!(out, "  {name}  {change}")?;
        if args.values {
            let shown = |value: &Value| match value.is_null() {
                true => "nothing".to_owned(),
                false => value.to_string(),
            };
            write!(
                out,
                "  {} -> {}",
                shown(&field["was"]),
                shown(&field["now"])
            )?;
        }
        writeln!(out)?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn all(args: &Replay, way: &Way, out: &mut (dyn Write + Send)) -> anyhow::Result<ExitCode> {
    let time = |text: &Option<String>| text.as_deref().map(super::load::time).transpose();
    let asked = Asked {
        account: args.account.clone(),
        flow: args.flow.clone(),
        from: time(&args.since)?,
        to: time(&args.until)?,
        limit: None,
    };
    let (mut checked, mut different) = (0, 0);
    let mut not_compared: BTreeMap<String, u64> = BTreeMap::new();
    let mut mismatches = Vec::new();
    let mut after: Option<String> = None;
    loop {
        let part = Box::pin(way.verify(&asked, after.as_deref())).await?;
        let number = |name: &str| part[name].as_u64().unwrap_or(0);
        checked += number("checked");
        different += number("different");
        for (why, count) in part["not_compared"].as_object().into_iter().flatten() {
            *not_compared.entry(why.clone()).or_default() += count.as_u64().unwrap_or(0);
        }
        mismatches.extend(part["mismatches"].as_array().into_iter().flatten().cloned());
        let next = part["next"].as_str().map(str::to_owned);
        ensure!(
            next.is_none() || next != after,
            "the host gives the same part again"
        );
        match next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    if args.json {
        let report = serde_json::json!({
            "checked": checked, "different": different, "not_compared": not_compared, "mismatches": mismatches,
        });
        writeln!(out, "{}", serde_json::to_string_pretty(&report)?)?;
    } else {
        for mismatch in &mismatches {
            let text = |name: &str| mismatch[name].as_str().unwrap_or_default().to_owned();
            let fields = mismatch["fields"].as_array().into_iter().flatten();
            let fields: Vec<_> = fields.filter_map(Value::as_str).collect();
            writeln!(
                out,
                "{}  release {}: recorded {}, now {}: {}",
                text("delivery"),
                text("release"),
                text("recorded"),
                text("outcome"),
                fields.join(", "),
            )?;
        }
        write!(out, "{checked} run again, {different} different")?;
        for (why, count) in &not_compared {
            write!(out, ", {count} not compared ({why})")?;
        }
        writeln!(out)?;
    }
    Ok(match different {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}
