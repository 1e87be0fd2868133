//! (b) Mapping: 20, 60 and 200 rows of a 2 KB registration in a fresh instance, beside the same mapping as a plain Rust function.

use std::sync::Arc;
use std::time::Duration;

use ligature::flow::Release;
use ligature::hl7::Message;
use ligature::mapping::document::Document;
use ligature::mapping::native::{Facts, Native};
use ligature::mapping::{Config, Input, Runtime, generate};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::load::{Times, registration};

const RUNS: usize = 5_000;
const PREVIEWS: usize = 100;

pub(crate) async fn run() -> anyhow::Result<Value> {
    let mut figures = measured(&document(1), 20)?;
    figures["rows_60"] = measured(&document(3), 60)?;
    figures["rows_200"] = measured(&document(10), 200)?;
    let patterns = document(3).replace(
        "path = \"PID-11.5\"",
        "path = \"PID-11.5\"\nsteps = [{ extract = \"([0-9]{5})(-[0-9]{4})?\", group = 1 }]",
    );
    figures["rows_60_with_3_patterns"] = measured(&patterns, 60)?;
    Ok(figures)
}

fn measured(text: &str, rows: usize) -> anyhow::Result<Value> {
    let artefacts = tempfile::tempdir()?;
    let document = Document::parse(text).map_err(|faults| anyhow::anyhow!("{faults:?}"))?;
    let started = Instant::now();
    let bytes = generate::component(&document)?;
    let generated = started.elapsed();
    let runtime = Arc::new(Runtime::new(
        Config {
            // The machine may be busy with something else.
            deadline: Duration::from_secs(5),
            ..Config::new(artefacts.path().to_owned())
        },
        |_| [0; 32],
    )?);
    let started = Instant::now();
    let component = runtime.load(&bytes)?;
    let compiled = started.elapsed();
    let started = Instant::now();
    runtime.load(&bytes)?;
    let loaded = started.elapsed();

    let message = Arc::new(Message::parse(registration(1).as_bytes())?);
    let release = Arc::new(Release {
        flow: "bench".into(),
        component: component.digest.clone(),
        grants: component.manifest.grants(),
        bindings: Default::default(),
        settings: Default::default(),
        tables: Default::default(),
    });
    let input = || Input {
        message: message.clone(),
        release: release.clone(),
        tables: Default::default(),
        event: "ADT^A04".into(),
        received_at_ms: 0,
        time_zone: "UTC".into(),
        default_country_code: None,
        channel: "bench".into(),
    };
    let mut fresh = Vec::with_capacity(RUNS);
    let mut plain = Vec::with_capacity(RUNS);
    let program = document.to_program();
    for _ in 0..RUNS {
        let run = runtime.run(component.clone(), input());
        run.outcome
            .map_err(|failure| anyhow::anyhow!(failure.sentence()))?;
        fresh.push(run.duration);
        let started = Instant::now();
        evaluate(&program, &message)?;
        plain.push(started.elapsed());
    }
    // What the mapping screen does between a key and its results: the document is read anew, and its program run.
    let mut previews = Vec::with_capacity(PREVIEWS);
    for _ in 0..PREVIEWS {
        let started = Instant::now();
        let document = Document::parse(text).map_err(|faults| anyhow::anyhow!("{faults:?}"))?;
        evaluate(&document.to_program(), &message)?;
        previews.push(started.elapsed());
    }
    let previews = Times::new(previews);
    let (fresh, plain) = (Times::new(fresh), Times::new(plain));
    let ratio = fresh.quantile(0.5).as_secs_f64() / plain.quantile(0.5).as_secs_f64();
    eprintln!(
        "  {rows} rows: fresh p50 {:?}, plain Rust p50 {:?}",
        fresh.quantile(0.5),
        plain.quantile(0.5)
    );
    Ok(json!({
        "rows": rows,
        "fresh_instance": fresh.json_us(),
        "plain_rust": plain.json_us(),
        "ratio_to_plain": (ratio * 10.0).round() / 10.0,
        "generate_ms": generated.as_millis(),
        "preview": previews.json_us(),
        "compile_ms": compiled.as_millis(),
        "load_kept_artefact_ms": loaded.as_secs_f64() * 1e3,
        "component_bytes": bytes.len(),
    }))
}

/// Runs a program on a message as plain Rust.
fn evaluate(program: &[u8], message: &Message) -> anyhow::Result<()> {
    let program =
        ligature_mapper::decode(program).map_err(|_| anyhow::anyhow!("the program decodes"))?;
    let facts = Facts::default();
    let native = Native::new(&program, message, &facts)?;
    let contents = ligature_mapper::Contents::read(&program, &native)
        .map_err(|_| anyhow::anyhow!("paths are read"))?;
    let evaluated = ligature_mapper::evaluate(&program, &contents, &native);
    std::hint::black_box(evaluated.is_ok());
    Ok(())
}

/// Twenty rows of the kinds that a registration flow has, so many times.
fn document(times: usize) -> String {
    let mut text = String::from(
        "format = 1\nname = \"bench\"\nversion = \"1\"\nsummary = \"Twenty rows.\"\nevents = [\"ADT^A04\"]\n",
    );
    let rows = [
        (
            "mx_MRN",
            "first = [\"PID-3[.5='MR'].1\", \"PID-3.1\"]\nrequired = true",
        ),
        (
            "FirstName",
            "path = \"PID-5.2\"\nsteps = [\"trim\", \"title\"]",
        ),
        (
            "LastName",
            "path = \"PID-5.1\"\nsteps = [\"trim\", \"title\"]",
        ),
        ("mx_Middle", "path = \"PID-5.3\""),
        ("mx_Date_of_Birth", "path = \"PID-7\"\nsteps = [\"date\"]"),
        (
            "mx_Gender",
            "path = \"PID-8\"\nsteps = [\"upper\", { map = { F = \"Female\", M = \"Male\" }, default = \"Other\" }]",
        ),
        (
            "Phone",
            "first = [\"PID-13[.2='PRN'].12\", \"PID-13.1\", { concat = [\"PID-13.6\", \"PID-13.7\"] }]",
        ),
        ("mx_Street1", "path = \"PID-11.1\"\nsteps = [\"trim\"]"),
        (
            "mx_City",
            "path = \"PID-11.3\"\nsteps = [\"trim\", \"title\"]",
        ),
        ("mx_State", "path = \"PID-11.4\""),
        ("mx_Zip", "path = \"PID-11.5\""),
        ("mx_Country", "path = \"PID-11.6\""),
        ("mx_Account", "path = \"PID-18.1\""),
        ("mx_Marital", "path = \"PID-16.1\""),
        (
            "mx_Class",
            "path = \"PV1-2\"\nsteps = [{ map = { O = \"Outpatient\", I = \"Inpatient\" }, default = \"Other\" }]",
        ),
        (
            "mx_Doctor",
            "concat = [\"PV1-7.3\", \"PV1-7.2\"]\nseparator = \" \"",
        ),
        ("mx_Visit", "path = \"PV1-19.1\""),
        (
            "mx_Kin",
            "concat = [\"NK1-2.2\", \"NK1-2.1\"]\nseparator = \" \"",
        ),
        ("mx_Kin_Phone", "path = \"NK1-5.7\""),
        ("mx_Plan", "path = \"IN1-4.1\""),
    ];
    for time in 0..times {
        let number = if time == 0 {
            String::new()
        } else {
            time.to_string()
        };
        for (target, rest) in rows {
            text.push_str(&format!(
                "\n[[lead]]\ntarget = \"{target}{number}\"\n{rest}\n"
            ));
        }
    }
    text
}
