//! `ligature plugin test`: messages with the results that are expected of them.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, bail};
use serde_json::Value;

use super::{Bench, Compiled, Flow, Subject, build, read};
use crate::mapping::Component;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The folder of cases.
    folder: PathBuf,
    /// The component; left out, the project that the folder is in is built.
    #[arg(long)]
    component: Option<PathBuf>,
    /// Writes what comes out as what is expected.
    #[arg(long)]
    update: bool,
    #[arg(
        long,
        value_name = "FILE",
        help = "Writes the results as JUnit XML, for CI"
    )]
    junit: Option<PathBuf>,
    #[command(flatten)]
    compiled: Compiled,
}

/// What became of one case.
struct Outcome {
    name: String,
    /// Nothing, or why it failed.
    failed: Option<String>,
}

pub(super) const MESSAGE: &str = ".hl7";
pub(super) const CHANGE: &str = ".change.json";
/// What holds for every case.
const COMMON: &str = "case.toml";

pub(super) async fn run(args: &Args, out: &mut (dyn Write + Send)) -> anyhow::Result<ExitCode> {
    let component = match &args.component {
        Some(file) => read(file)?,
        None => {
            let whole = std::path::absolute(&args.folder)?;
            let project = whole.ancestors().find(|folder| build::is_project(folder));
            let project = project
                .context("the folder is in no project: name the component with --component FILE")?;
            read(&build::component(project)?)?
        }
    };
    let names = names(&args.folder)?;
    if names.is_empty() {
        bail!(
            "{} holds no case: put a message NAME{MESSAGE} or a change NAME{CHANGE} there",
            args.folder.display()
        );
    }
    let bench = Bench::open(&args.compiled)?;
    let component = bench.load(&component).await?;
    let mut outcomes = Vec::new();
    for name in names {
        let case = case(&bench, &component, &args.folder, args.update, &name);
        let case = Box::pin(case).await;
        let failed = match case {
            Ok(failed) => failed,
            Err(fault) => Some(format!("{fault:#}")),
        };
        match &failed {
            None => writeln!(out, "ok      {name}")?,
            Some(why) => writeln!(out, "FAILED  {name}\n{}", indented(why))?,
        }
        outcomes.push(Outcome { name, failed });
    }
    let failures = outcomes.iter().filter(|case| case.failed.is_some()).count();
    writeln!(
        out,
        "{} passed, {failures} failed",
        outcomes.len() - failures
    )?;
    if let Some(file) = &args.junit {
        std::fs::write(file, junit(&component.manifest.name, &outcomes))
            .with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(match failures {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}

/// Writes what a component makes of the cases of a folder as what is expected of them.
pub(super) async fn update(
    bench: &Bench,
    component: &Arc<Component>,
    folder: &Path,
) -> anyhow::Result<()> {
    for name in names(folder)? {
        Box::pin(case(bench, component, folder, true, &name)).await?;
    }
    Ok(())
}

/// The files of a folder that are cases, sorted.
fn names(folder: &Path) -> anyhow::Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    let entries = std::fs::read_dir(folder);
    for entry in entries.with_context(|| format!("cannot read {}", folder.display()))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name.ends_with(MESSAGE) || name.ends_with(CHANGE) {
            names.insert(name);
        }
    }
    Ok(names)
}

/// Runs one case; gives why it failed.
async fn case(
    bench: &Bench,
    component: &Arc<Component>,
    folder: &Path,
    updates: bool,
    name: &str,
) -> anyhow::Result<Option<String>> {
    let bytes = read(&folder.join(name))?;
    let (stem, subject) = match name.strip_suffix(CHANGE) {
        Some(stem) => (stem, Subject::change(&bytes)?),
        None => (
            name.strip_suffix(MESSAGE).unwrap_or(name),
            Subject::message(&bytes)?,
        ),
    };
    let flow = flow(folder, stem)?;
    let first = bench.run(component, &flow, folder, subject).await?.value;
    let expected = folder.join(format!("{stem}.expected.json"));
    if updates {
        let text = format!("{}\n", serde_json::to_string_pretty(&first)?);
        std::fs::write(&expected, text)
            .with_context(|| format!("cannot write {}", expected.display()))?;
        return Ok(None);
    }
    if !expected.exists() {
        return Ok(Some(format!(
            "{} is not there: write it, or run with --update and look at it",
            expected.display()
        )));
    }
    let wanted: Value = serde_json::from_slice(&read(&expected)?)
        .with_context(|| format!("{} is no JSON", expected.display()))?;
    let mut differences = Vec::new();
    compare("", &wanted, &first, &mut differences);
    Ok((!differences.is_empty()).then(|| differences.join("\n")))
}

/// What stands in `case.toml`, and over it what stands in the case's own file.
fn flow(folder: &Path, stem: &str) -> anyhow::Result<Flow> {
    let mut whole = toml::Table::new();
    for name in [COMMON.to_owned(), format!("{stem}.toml")] {
        let file = folder.join(&name);
        if !file.exists() {
            continue;
        }
        let text = String::from_utf8(read(&file)?)?;
        let own: toml::Table = text.parse().with_context(|| format!("in {name}"))?;
        for (key, value) in own {
            match (whole.get_mut(&key), value) {
                (Some(toml::Value::Table(known)), toml::Value::Table(more)) => known.extend(more),
                (_, value) => drop(whole.insert(key, value)),
            }
        }
    }
    whole
        .try_into()
        .with_context(|| format!("the settings of case {stem}"))
}

/// Says at which places two results differ.
fn compare(at: &str, wanted: &Value, got: &Value, differences: &mut Vec<String>) {
    match (wanted, got) {
        (Value::Object(wanted), Value::Object(got)) => {
            for name in wanted.keys().chain(got.keys()).collect::<BTreeSet<_>>() {
                let (one, other) = (wanted.get(name), got.get(name));
                let at = format!("{at}/{name}");
                match (one, other) {
                    (Some(one), Some(other)) => compare(&at, one, other, differences),
                    (Some(one), None) => {
                        differences.push(format!("{at}: nothing instead of {one}"))
                    }
                    (None, Some(other)) => {
                        differences.push(format!("{at}: {other}, which is not expected"))
                    }
                    (None, None) => {}
                }
            }
        }
        (Value::Array(wanted), Value::Array(got)) if wanted.len() == got.len() => {
            for (number, (one, other)) in wanted.iter().zip(got).enumerate() {
                compare(&format!("{at}/{number}"), one, other, differences);
            }
        }
        (wanted, got) if wanted == got => {}
        (wanted, got) => differences.push(format!("{at}: {got} instead of {wanted}")),
    }
}

fn indented(text: &str) -> String {
    let lines: Vec<_> = text.lines().map(|line| format!("        {line}")).collect();
    lines.join("\n")
}

/// The form that CI servers read.
fn junit(suite: &str, outcomes: &[Outcome]) -> String {
    let failures = outcomes.iter().filter(|case| case.failed.is_some()).count();
    let suite = escaped(suite);
    let mut text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuite name=\"{suite}\" tests=\"{}\" failures=\"{failures}\">\n",
        outcomes.len()
    );
    for case in outcomes {
        let name = escaped(&case.name);
        text += &match &case.failed {
            None => format!("  <testcase classname=\"{suite}\" name=\"{name}\"/>\n"),
            Some(why) => format!(
                "  <testcase classname=\"{suite}\" name=\"{name}\">\n    <failure>{}</failure>\n  </testcase>\n",
                escaped(why)
            ),
        };
    }
    text + "</testsuite>\n"
}

/// Text for XML; what XML cannot hold becomes a question mark.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\n' | '\t' => escaped.push(c),
            c if c.is_control() => escaped.push('?'),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn differences_are_told_with_their_place() {
        let check = |wanted: Value, got: Value, expected: &[&str]| {
            let mut differences = Vec::new();
            compare("", &wanted, &got, &mut differences);
            assert_eq!(differences, expected);
        };
        let one = json!({ "lead": { "mrn": "1", "born": { "date": "1984-02-19" } } });
        check(one.clone(), one.clone(), &[]);
        check(
            one,
            json!({ "lead": { "mrn": "2", "name": "x" } }),
            &[
                "/lead/born: nothing instead of {\"date\":\"1984-02-19\"}",
                "/lead/mrn: \"2\" instead of \"1\"",
                "/lead/name: \"x\", which is not expected",
            ],
        );
        check(json!([1, 2]), json!([1, 3]), &["/1: 3 instead of 2"]);
        check(json!([1]), json!([1, 3]), &[": [1,3] instead of [1]"]);
    }

    #[test]
    fn results_are_written_for_ci() {
        let outcomes = [
            Outcome {
                name: "a.hl7".into(),
                failed: None,
            },
            Outcome {
                name: "b.hl7".into(),
                failed: Some("/lead: <1> & \u{1}".into()),
            },
        ];
        insta::assert_snapshot!(junit("visits", &outcomes), @r#"
        <?xml version="1.0" encoding="UTF-8"?>
        <testsuite name="visits" tests="2" failures="1">
          <testcase classname="visits" name="a.hl7"/>
          <testcase classname="visits" name="b.hl7">
            <failure>/lead: &lt;1&gt; &amp; ?</failure>
          </testcase>
        </testsuite>
        "#);
    }
}
