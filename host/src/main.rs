//! The `ligature` command: see [`ligature::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    ligature::cli::main()
}
