//! The `cvsync` binary: parse, dispatch, exit code 0, 1 or 2.

use std::process::ExitCode;

fn main() -> ExitCode {
    cvsync::cli::main()
}
