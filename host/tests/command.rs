//! The command as a process.
//!
//! Cargo builds a package's binary for the sake of its integration tests only: this one makes `cargo test` build
//! `ligature` as the tests of the workspace need it (see `ligature_tests::ligature_binary`).

use std::process::Command;

#[test]
fn help_is_no_failure() {
    let status = Command::new(env!("CARGO_BIN_EXE_ligature"))
        .arg("--help")
        .status();
    assert!(status.is_ok_and(|status| status.success()));
}
