//! The `wharf-runtime` program.

use std::{ffi::OsString, process::ExitCode};

use wharf_runtime::{
    cli::{self, Command},
    commands,
    error::Error,
    lifecycle::Store,
    log::{Level, Log},
    seal,
};

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let mut log = Log::default();
    match run(&arguments, &mut log) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            log.write(Level::Error, &error.to_string());
            // What peers answer: a failed `exec` is 255, so that it is not taken for the program's own code.
            let exec = arguments.iter().any(|argument| argument == "exec");
            ExitCode::from(if exec { 255 } else { 1 })
        }
    }
}

fn run(arguments: &[OsString], log: &mut Log) -> Result<u8, Error> {
    let invocation = cli::parse(arguments.get(1..).unwrap_or_default())?;
    let global = &invocation.global;
    *log = Log::open(global.log.as_deref(), global.log_format, global.debug)?;
    if matches!(
        invocation.command,
        Command::Create(_) | Command::Run(..) | Command::Exec(_)
    ) {
        seal::ensure(arguments)?;
    }
    commands::dispatch(invocation.command, &Store::new(invocation.global.root), log)
}
