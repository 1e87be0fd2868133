//! Rules of the house that no compiler checks: this reads the source.
//!
//! Every rule is one test, and what it finds is one line each: where, what, and what to do instead.
//! Reading Rust is in `tidy/source.rs`; [`EDGES`] is the table "who may know whom" of the design.

mod source;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use ligature_tests::workspace_root;

use self::source::Source;

/// A room and the rooms that it may use, in the order of `lib.rs`.
const EDGES: &[(&str, &[&str])] = &[
    ("hl7", &[]),
    ("mllp", &[]),
    ("meter", &[]),
    ("doctor", &["hl7", "mllp"]),
    ("flow", &["hl7"]),
    ("vault", &[]),
    ("store", &["flow", "hl7", "vault"]),
    ("mapping", &["flow", "hl7"]),
    ("leadsquared", &["meter"]),
    ("sync", &["flow", "leadsquared"]),
    ("notify", &[]),
    ("openid", &[]),
    (
        "pipeline",
        &[
            "flow",
            "hl7",
            "leadsquared",
            "mapping",
            "meter",
            "mllp",
            "notify",
            "store",
            "sync",
            "vault",
        ],
    ),
    ("access", &["openid", "store"]),
    (
        "web",
        &[
            "access", "doctor", "flow", "hl7", "mapping", "meter", "openid", "pipeline", "store",
        ],
    ),
    ("simulator", &[]),
    ("config", &["flow", "openid", "vault"]),
    ("serve", EVERY),
    ("cli", EVERY),
];

/// For the two that put the parts together; nobody uses those.
const EVERY: &[&str] = &[
    "access",
    "config",
    "doctor",
    "flow",
    "hl7",
    "leadsquared",
    "mapping",
    "mllp",
    "notify",
    "openid",
    "pipeline",
    "serve",
    "simulator",
    "store",
    "sync",
    "vault",
    "web",
];

/// A library and the rooms that may name it.
const LIBRARIES: &[(&str, &[&str])] = &[
    ("wasmtime", &["mapping"]),
    ("ligature_mapper", &["mapping"]),
    ("sqlx", &["store"]),
    (
        "reqwest",
        &["cli", "leadsquared", "notify", "openid", "simulator"],
    ),
    ("lettre", &["notify"]),
    ("axum", &["simulator", "web"]),
    ("hyper", &["web"]),
    ("askama", &["simulator", "web"]),
];

/// Rooms and files that compute and do nothing else.
const PURE: &[&str] = &["hl7", "vault", "flow", "sync", "mllp/frame"];

/// What a computation has no use for.
const IMPURE_WORDS: &[&str] = &[
    "async",
    "await",
    "tokio",
    "sqlx",
    "reqwest",
    "axum",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
];

const MOST_LINES: usize = 600;

#[test]
fn rooms_use_only_the_rooms_that_they_may() {
    let mut found = Vec::new();
    for source in host() {
        let room = source.room();
        let Some((_, allowed)) = EDGES.iter().find(|(name, _)| *name == room) else {
            if !["lib", "main"].contains(&room.as_str()) {
                found.push(format!("{source}: `{room}` is a new room: add it to EDGES in tests/it/tidy.rs and to the design"));
            }
            continue;
        };
        for (line, name) in source.uses_of_the_crate() {
            if name != room && !allowed.contains(&name.as_str()) {
                found.push(format!(
                    "{source}:{line}: `{room}` may not know `{name}`: pass in what it needs, or move the code to `pipeline` or `serve`"
                ));
            }
        }
    }
    nothing(found);
}

#[test]
fn libraries_stay_in_their_rooms() {
    let mut found = Vec::new();
    for source in host() {
        for (library, rooms) in LIBRARIES {
            if rooms.contains(&source.room().as_str()) {
                continue;
            }
            for line in source.lines_with_path(library) {
                found.push(format!(
                    "{source}:{line}: `{library}` is known to {rooms:?} only: use a type or function of that room"
                ));
            }
        }
    }
    nothing(found);
}

#[test]
fn pure_rooms_compute_and_do_nothing_else() {
    let mut found = Vec::new();
    for source in host() {
        let path = source.in_host();
        let is_pure =
            |room: &&str| path == format!("{room}.rs") || path.starts_with(&format!("{room}/"));
        let Some(room) = PURE.iter().find(|room| is_pure(room)) else {
            continue;
        };
        for word in IMPURE_WORDS {
            for line in source.lines_with_word(word) {
                found.push(format!(
                    "{source}:{line}: `{word}` in `{room}`, which is pure: let the caller do it and pass in what came of it"
                ));
            }
        }
    }
    nothing(found);
}

#[test]
fn sql_stands_in_the_store_only() {
    let mut found = Vec::new();
    for source in host().into_iter().filter(|source| source.room() != "store") {
        for (line, text) in source.literals() {
            if is_sql(&text) {
                found.push(format!(
                    "{source}:{line}: SQL: make it a function of `store`"
                ));
            }
        }
    }
    nothing(found);
}

/// A statement, not a sentence that begins with one of its words.
fn is_sql(text: &str) -> bool {
    let text = text.to_lowercase();
    let words: Vec<&str> = text.split_whitespace().collect();
    match words.as_slice() {
        ["select", .., "from", _] | ["select", _, "from", ..] => true,
        ["select", rest @ ..] => {
            rest.contains(&"from") && rest.iter().any(|word| word.starts_with('$'))
        }
        ["insert", "into", ..] | ["delete", "from", ..] => true,
        ["update", _, "set", ..] => true,
        ["create" | "alter" | "drop", "table" | "index", ..] => true,
        ["pragma", ..] => true,
        _ => false,
    }
}

#[test]
fn no_file_is_longer_than_a_reader_bears() {
    let mut found = Vec::new();
    for path in files(workspace_root(), &["rs", "html", "css", "js", "md"]) {
        let lines = read(&path).lines().count();
        if lines > MOST_LINES {
            let path = shown(&path);
            found.push(format!(
                "{path}: {lines} lines, {MOST_LINES} at most: split it by topic"
            ));
        }
    }
    nothing(found);
}

#[test]
fn both_databases_have_the_same_migrations() {
    let migrations = workspace_root().join("host/migrations");
    let names = |folder: &str| -> BTreeSet<String> {
        let files =
            fs::read_dir(migrations.join(folder)).expect("the folder of migrations is there");
        let name = |file: std::io::Result<fs::DirEntry>| file.ok()?.file_name().into_string().ok();
        files.filter_map(name).collect()
    };
    let (sqlite, postgres) = (names("sqlite"), names("postgres"));
    assert!(!sqlite.is_empty());
    let difference = sqlite.symmetric_difference(&postgres);
    let line = |name: &String| {
        format!(
            "host/migrations: {name} is in one folder only: write it for the other database, too, even if it is empty"
        )
    };
    nothing(difference.map(line).collect());
}

#[test]
fn modules_are_named_after_their_files() {
    let files = files(workspace_root(), &["rs"]).into_iter();
    let named = files.filter(|path| path.ends_with("mod.rs"));
    let line = |path: PathBuf| format!("{}: call it after its folder, one level up", shown(&path));
    nothing(named.map(line).collect());
}

#[test]
fn files_say_what_they_are_for() {
    let files = files(workspace_root(), &["rs"]).into_iter();
    let silent = files.filter(|path| !read(path).starts_with("//!"));
    let line = |path: PathBuf| {
        format!(
            "{}: begin with `//!`: what it is for, what it must not know, where to start",
            shown(&path)
        )
    };
    nothing(silent.map(line).collect());
}

/// Test data must be made up, and be seen to be: nothing in it may be somebody's.
///
/// Mail addresses use the domains that RFC 2606 keeps for examples, telephone numbers the range 555-01xx that North
/// America keeps for fiction, social security numbers the ten that are kept for advertisements.
#[test]
fn fixtures_belong_to_nobody() {
    let mut found = Vec::new();
    for path in files(
        workspace_root(),
        &["rs", "hl7", "toml", "json", "md", "html", "txt", "snap"],
    ) {
        let text = read(&path);
        let path = shown(&path);
        for (index, line) in text.lines().enumerate() {
            let place = format!("{path}:{}", index + 1);
            for domain in mail_domains(line) {
                found.push(format!(
                    "{place}: mail address at {domain}: use one at example.org"
                ));
            }
            if has_social_security_number(line) {
                found.push(format!(
                    "{place}: looks like a social security number: leave it out, or use 987-65-4320"
                ));
            }
        }
        if path.ends_with(".hl7") {
            for number in telephone_numbers(&text) {
                found.push(format!(
                    "{path}: telephone number {number}: use one in 555-0100 to 555-0199"
                ));
            }
        }
    }
    nothing(found);
}

/// Domains of mail addresses in `line` that could be somebody's.
fn mail_domains(line: &str) -> Vec<String> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let mut domains = Vec::new();
    for (at, _) in line.match_indices('@') {
        let before = line[..at].chars().next_back();
        let domain: String = line[at + 1..].chars().take_while(|c| is_part(*c)).collect();
        let domain = domain.trim_end_matches('.').to_lowercase();
        // `wasmtime@48.0` is a version, `postgres@localhost` a place in a URL.
        let ends_in_letters = domain
            .rsplit('.')
            .next()
            .is_some_and(|end| end.chars().all(|c| c.is_ascii_alphabetic()));
        if !before.is_some_and(is_part) || !domain.contains('.') || !ends_in_letters {
            continue;
        }
        let examples = ["example.com", "example.net", "example.org"];
        let is_example = examples
            .iter()
            .any(|example| domain == *example || domain.ends_with(&format!(".{example}")));
        let is_reserved = [".example", ".invalid", ".test"]
            .iter()
            .any(|end| domain.ends_with(end));
        if !is_example && !is_reserved {
            domains.push(domain);
        }
    }
    domains
}

/// Three digits, two digits, four digits, with hyphens.
fn has_social_security_number(line: &str) -> bool {
    let runs = line.split(|c: char| !c.is_ascii_digit() && c != '-');
    runs.into_iter().any(|run| {
        let lengths: Vec<usize> = run.split('-').map(str::len).collect();
        // No number begins with 000, and 999-99-9999 is what people type where they have none.
        let is_nobodys = ["987-65-432", "000-", "999-99-9999"];
        lengths == [3, 2, 4] && !is_nobodys.iter().any(|start| run.starts_with(start))
    })
}

/// Telephone numbers of persons in a message that could be somebody's.
fn telephone_numbers(text: &str) -> Vec<String> {
    let fields = |line: &str| -> Vec<String> {
        let positions: &[usize] = match line.get(..4) {
            Some("PID|") => &[13, 14, 40],
            Some("NK1|") => &[5, 6, 7],
            Some("GT1|") => &[6, 7],
            Some("IN1|") => &[7],
            _ => &[],
        };
        let all: Vec<&str> = line.split('|').collect();
        let field = |position: &usize| all.get(*position).map(|field| (*field).to_owned());
        positions.iter().filter_map(field).collect()
    };
    let lines = text.split(['\r', '\n']);
    let repetitions = lines.flat_map(fields).flat_map(|field| {
        let repetitions = field.split('~').map(str::to_owned);
        repetitions.collect::<Vec<_>>()
    });
    let is_real = |repetition: &String| {
        let digits: String = repetition.chars().filter(char::is_ascii_digit).collect();
        digits.len() >= 7 && !repetition.contains('@') && !digits.contains("55501")
    };
    repetitions.filter(is_real).collect()
}

fn nothing(mut found: Vec<String>) {
    found.sort();
    found.dedup();
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

/// The host's source.
fn host() -> Vec<Source> {
    let folder = workspace_root().join("host/src");
    let sources: Vec<Source> = files(&folder, &["rs"])
        .iter()
        .map(|path| Source::read(path))
        .collect();
    assert!(sources.len() > 10, "the source is not where it was");
    sources
}

/// Files below `folder` with one of the endings, without what is made or comes from elsewhere.
fn files(folder: &Path, endings: &[&str]) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder of the project can be read") {
        let path = entry.expect("an entry can be read").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with('.') || name == "target" || name == "node_modules" {
            continue;
        }
        let ending = path.extension().unwrap_or_default().to_string_lossy();
        if path.is_dir() {
            files.extend(self::files(&path, endings));
        } else if endings.contains(&ending.as_ref()) && !name.ends_with(".min.js") {
            files.push(path);
        }
    }
    files.sort();
    files
}

fn read(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).expect("a file of the project can be read"))
        .into_owned()
}

fn shown(path: &Path) -> String {
    path.strip_prefix(workspace_root())
        .unwrap_or(path)
        .display()
        .to_string()
}
