//! Components built from source for the tests: `tests/guests` and the example plugins.
//!
//! Everything is built once in a run, into one target folder.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use ligature::mapping::generate;

/// The component of a crate in `tests/guests`.
///
/// # Panics
///
/// The crate does not build; `rustup target add wasm32-unknown-unknown` is the usual cure.
pub fn guest(name: &str) -> Vec<u8> {
    static BUILT: OnceLock<()> = OnceLock::new();
    BUILT.get_or_init(|| build(&root().join("tests/guests")));
    component(name)
}

/// The component of a crate in `examples/plugins`.
///
/// # Panics
///
/// The crate does not build.
pub fn example(name: &str) -> Vec<u8> {
    build(&root().join("examples/plugins").join(name));
    component(name)
}

/// The two core modules that `plugins/mapper/build` makes now: inbound, outbound.
///
/// # Panics
///
/// They do not build.
pub fn mappers() -> [Vec<u8>; 2] {
    let folder = target().join("mapper-rebuilt");
    std::fs::create_dir_all(&folder).expect("the target folder can be written");
    let mut build = Command::new(root().join("plugins/mapper/build"));
    run(build.arg(&folder).env("CARGO_TARGET_DIR", target()));
    ["mapper-inbound.wasm", "mapper-outbound.wasm"]
        .map(|file| std::fs::read(folder.join(file)).expect("the build wrote it"))
}

/// The repository.
pub fn root() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().expect("tests is a folder of it").into()
}

fn target() -> PathBuf {
    root().join("tests/guests/target")
}

fn build(workspace: &Path) {
    let mut cargo = Command::new(env!("CARGO"));
    run(cargo
        .args(["build", "--quiet", "--locked"])
        .args(["--target", "wasm32-unknown-unknown", "--profile", "guest"])
        .arg("--manifest-path")
        .arg(workspace.join("Cargo.toml"))
        .arg("--target-dir")
        .arg(target()));
}

fn run(command: &mut Command) {
    let output = command.output().expect("the build starts");
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

fn component(name: &str) -> Vec<u8> {
    let file = name.replace('-', "_") + ".wasm";
    let built = target().join("wasm32-unknown-unknown/guest").join(file);
    let core = std::fs::read(built).expect("the build wrote it");
    generate::from_core_module(&core).expect("the SDK says what it exports")
}
