//! `ligature flow eject`: a Rust project that maps as a document does, to the byte of its rows.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, ensure};
use ligature::mapping::starter::STARTERS;
use ligature_tests::{guests, ligature_binary};

fn ligature(folder: &Path, args: &[&str]) -> anyhow::Result<String> {
    let output = Command::new(ligature_binary())
        .args(args)
        .current_dir(folder)
        .env(
            "CARGO_TARGET_DIR",
            guests::root().join("tests/guests/target"),
        )
        .output()?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    ensure!(output.status.success(), "{args:?}: {said}");
    Ok(said)
}

/// Writes the project of a starter, with the starter's own sample as its case.
fn eject(folder: &Path, name: &str) -> anyhow::Result<()> {
    let root = guests::root().join("examples/starters");
    let starter = STARTERS.iter().find(|starter| starter.name == name);
    let starter = starter.context("a starter")?;
    let sample = folder.join(format!("{name}-sample"));
    std::fs::write(&sample, starter.sample)?;
    let document = root.join(format!("{name}.toml")).display().to_string();
    let sample = sample.display().to_string();
    let said = ligature(folder, &["flow", "eject", &document, "--sample", &sample])?;
    ensure!(said.contains("is ready"), "{said}");
    // The versions of the workspace, so that nothing is fetched.
    let lock = guests::root().join("Cargo.lock");
    std::fs::copy(lock, folder.join(name).join("Cargo.lock"))?;
    Ok(())
}

#[test]
fn an_ejected_project_builds_and_gives_the_same_results() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let folder = folder.path();
    for name in ["adt-a01", "lead-to-adt-a08"] {
        eject(folder, name)?;
        ligature(folder, &["plugin", "build", name])?;
        let (cases, component) = (format!("{name}/cases"), format!("{name}/{name}.wasm"));
        let test = ["plugin", "test", &cases, "--component", &component];
        let said = ligature(folder, &test)?;
        ensure!(said.contains("1 passed, 0 failed"), "{said}");
        // What the document's own component makes of it is what the starter says of it.
        let again = ["flow", "eject", &component];
        let refused = ligature(folder, &again);
        ensure!(refused.is_err(), "it carries no document");
    }
    Ok(())
}

/// All starters in one program, which prints the rows that each project has as the bytes that the interpreter reads.
#[test]
fn the_rows_of_every_starter_are_those_of_its_document() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let folder = folder.path();
    let mut main = String::from("use ligature_mapper::encode;\n\n");
    let mut body = String::new();
    let all = folder.join("all/src");
    std::fs::create_dir_all(&all)?;
    for (number, starter) in STARTERS.iter().enumerate() {
        eject(folder, starter.name)?;
        let rows = folder.join(starter.name).join("src/rows.rs");
        std::fs::copy(rows, all.join(format!("rows{number}.rs")))?;
        writeln!(main, "mod rows{number};")?;
        writeln!(
            body,
            "    print(&encode(&rows{number}::program(), &rows{number}::manifest()));"
        )?;
    }
    let first = folder.join(STARTERS[0].name);
    let manifest = "[workspace]\n\n[package]\nname = \"all\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n\
        [dependencies]\nligature-mapper = { path = \"../FIRST/sdk/plugins/mapper\", features = [\"guest\"] }\n";
    let manifest = manifest.replace("FIRST", STARTERS[0].name);
    std::fs::write(folder.join("all/Cargo.toml"), manifest)?;
    std::fs::copy(first.join("Cargo.lock"), folder.join("all/Cargo.lock"))?;
    let print = "fn print(bytes: &[u8]) {\n    let text: String = bytes.iter().map(|byte| format!(\"{byte:02x}\")).collect();\n    \
        println!(\"{text}\");\n}\n";
    std::fs::write(
        all.join("main.rs"),
        format!("{main}\nfn main() {{\n{body}}}\n\n{print}"),
    )?;
    let output = Command::new(env!("CARGO"))
        .args(["run", "--quiet"])
        .current_dir(folder.join("all"))
        .env(
            "CARGO_TARGET_DIR",
            guests::root().join("tests/guests/target"),
        )
        .output()?;
    ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let printed = String::from_utf8(output.stdout)?;
    ensure!(printed.lines().count() == STARTERS.len());
    for (starter, line) in STARTERS.iter().zip(printed.lines()) {
        let program = starter.document().to_program();
        let expected: String = program.iter().map(|byte| format!("{byte:02x}")).collect();
        ensure!(line == expected, "{} has other rows", starter.name);
    }
    Ok(())
}
