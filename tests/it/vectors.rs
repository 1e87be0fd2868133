//! Conformance vectors: an input and what is to come of it, as data.
//!
//! Those of public test suites are in `shared/vectors` beside the repository, where there is one: they are run against
//! and never copied; cases marked `recommended: false` are dialects that we do not follow. The project's own are in
//! `tests/vectors`. One runner knows every kind ([`check`]); a kind that it does not know fails.

mod kinds;
mod wire;

use std::collections::BTreeMap;
use std::path::{Path as File, PathBuf};

use ligature_tests::{in_ci, say, workspace_root};
use serde_json::Value;

/// Cases of other suites that are about what this project does not do, and why.
const LEFT_OUT: &[(&str, &str)] = &[(
    "groups",
    "segments are walked in order; no room builds a tree of segment groups, and no path leads into one",
)];

#[test]
fn vectors_of_other_suites() {
    let folder = workspace_root().join("../shared/vectors");
    if !folder.is_dir() {
        assert!(!in_ci(), "{} is missing", folder.display());
        say(&format!("not run: no vectors at {}", folder.display()));
        return;
    }
    let counts = run(&folder, LEFT_OUT);
    assert!(counts.values().sum::<usize>() > 500, "{counts:?}");
    assert!(
        counts.keys().any(|name| name == "framing: mllp-decode"),
        "{counts:?}"
    );
}

#[test]
fn vectors_of_our_own() {
    let counts = run(&workspace_root().join("tests/vectors"), &[]);
    assert!(counts.values().sum::<usize>() >= 300, "{counts:?}");
}

/// Runs every case of the JSON files in `folder`; how many passed, by file and kind.
fn run(folder: &File, left_out: &[(&str, &str)]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    let mut failed = Vec::new();
    for file in json_files(folder) {
        let bytes = std::fs::read(&file).unwrap();
        let cases: Vec<Value> = serde_json::from_slice(&bytes).unwrap();
        let topic = file
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let mut ids = std::collections::BTreeSet::new();
        for case in &cases {
            let (kind, id) = (text(&case["kind"]), text(&case["id"]));
            let follows = case["recommended"] != Value::Bool(false);
            if !follows || left_out.iter().any(|(left_out, _)| *left_out == kind) {
                continue;
            }
            // Two cases of one name could not be told apart in what this test says.
            if !ids.insert((kind, id)) {
                failed.push(format!("{topic}: {kind} {id}: there are two of this name"));
            }
            let ended = std::panic::catch_unwind(|| kinds::check(case));
            match ended.unwrap_or_else(|_| Err("panicked".into())) {
                Ok(()) => *counts.entry(format!("{topic}: {kind}")).or_default() += 1,
                Err(difference) => failed.push(format!("{topic}: {kind} {id}: {difference}")),
            }
        }
    }
    assert!(
        failed.is_empty(),
        "{} differ, {counts:?} pass:\n{}",
        failed.len(),
        failed.join("\n")
    );
    counts
}

fn json_files(folder: &File) -> Vec<PathBuf> {
    let entries = folder
        .read_dir()
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = entries
        .filter(|file| {
            file.extension()
                .is_some_and(|extension| extension == "json")
        })
        .collect();
    files.sort();
    files
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
