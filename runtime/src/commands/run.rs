//! `run`: create, start, wait and delete in one.

use super::create::Start;
use crate::{
    cli::{CreateOptions, RunOptions},
    error::Error,
    hooks,
    lifecycle::Store,
    log::{Level, Log},
    process::{self, hook_state},
    state::Status,
};

/// Runs the container; in the foreground the answer is the program's exit code.
pub(super) fn run(
    store: &Store,
    log: &mut Log,
    options: &CreateOptions,
    run: &RunOptions,
) -> Result<u8, Error> {
    let start = if run.detach { Start::Now } else { Start::Foreground };
    let caught = process::catch_signals()?;
    let made = super::create::make(store, log, options, start)?;
    if made.config.contains("\"poststart\"") {
        let spec = super::create::parse(&made.config)?;
        let state = hook_state(&made.record, Status::Running)?;
        let poststart = spec.hooks.iter().flat_map(|hooks| &hooks.poststart);
        for hook in poststart {
            if let Err(error) = hooks::run_all("poststart", std::slice::from_ref(hook), &state) {
                log.write(Level::Warning, &error.to_string());
            }
        }
    }
    if run.detach {
        return Ok(0);
    }
    // Others may look at the container, signal it and delete it while it runs.
    made.folder.unlock();
    let code = process::wait(&caught, &made.started)?;
    if !run.keep {
        match store.lock(&options.id) {
            // Someone else deleted it.
            Err(Error::Missing(_)) => {}
            other => super::delete::remove(&other?, &made.record, log)?,
        }
    }
    Ok(code)
}
