//! The `wharf` program: hidden entry points first, then the command line.

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<std::ffi::OsString> = std::env::args_os().collect();
    match wharf::reexec::dispatch(&arguments) {
        Some(code) => code,
        None => wharf::cli::main(&arguments),
    }
}
