//! The `picolm` program on an operating system.

use std::process::ExitCode;

fn main() -> ExitCode {
    picolm_cli::desktop::main()
}
