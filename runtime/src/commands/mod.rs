//! One file a command: what it does with a container, in the order of its life.

mod create;
mod delete;
mod exec;
mod features;
mod kill;
mod list;
mod pause;
mod ps;
mod run;
mod spec;
mod start;
mod state;
mod update;

use std::{io::Write, os::unix::fs::OpenOptionsExt, path::Path};

use rustix::process::Pid;

use crate::{
    cli::Command,
    error::{Doing, Error},
    lifecycle::Store,
    log::Log,
    state::SPEC_VERSION,
};

/// Carries out a command; answers the exit code.
///
/// # Errors
/// What is told to the caller.
pub fn dispatch(command: Command, store: &Store, log: &mut Log) -> Result<u8, Error> {
    match command {
        Command::Create(options) => create::create(store, log, &options),
        Command::Run(options, run) => run::run(store, log, &options, &run),
        Command::Start(id) => start::start(store, log, &id),
        Command::State(id) => state::state(store, &id),
        Command::Kill { id, signal, all } => kill::kill(store, &id, &signal, all),
        Command::Delete { ids, force } => delete::delete(store, log, &ids, force),
        Command::Exec(options) => exec::exec(store, log, &options),
        Command::List { json, quiet } => list::list(store, json, quiet),
        Command::Ps { id, json, arguments } => ps::ps(store, &id, json, &arguments),
        Command::Pause(id) => pause::pause(store, &id),
        Command::Resume(id) => pause::resume(store, &id),
        Command::Update(options) => update::update(store, &options),
        Command::Features => features::features(),
        Command::Spec { bundle } => spec::spec(bundle.as_deref()),
        Command::Version => version(),
        Command::Help => print(HELP),
    }
}

const HELP: &str = "\
wharf-runtime: runs OCI bundles

usage: wharf-runtime [--root DIR] [--log FILE] [--log-format text|json] [--debug] COMMAND

  create   --bundle DIR [--console-socket PATH] [--pid-file PATH] [--preserve-fds N] [--no-pivot] [--no-new-keyring] ID
  start    ID
  run      as create [--detach] [--keep] ID
  state    ID
  kill     [--all] ID [SIGNAL]
  delete   [--force] ID...
  exec     [--process FILE] [--tty] [--console-socket PATH] [--detach] [--pid-file PATH] [--cwd DIR] [--env N=V]
           [--user UID[:GID]] [--additional-gids GID] [--cap CAP] [--no-new-privs] [--preserve-fds N] ID [PROGRAM...]
  list     [--format table|json] [--quiet]
  ps       [--format table|json] ID
  pause    ID
  resume   ID
  update   --resources FILE|- ID, or [--memory N] [--memory-swap N] [--memory-reservation N] [--cpu-share N]
           [--cpu-quota N] [--cpu-period N] [--cpuset-cpus L] [--cpuset-mems L] [--pids-limit N] [--blkio-weight N] ID
  features
  spec     [--bundle DIR]
";

fn version() -> Result<u8, Error> {
    let own = env!("CARGO_PKG_VERSION");
    // Callers parse the first line as runc's.
    print(&format!(
        "runc version 1.2.0-wharf\nwharf-runtime version {own}\nspec: {SPEC_VERSION}\n"
    ))
}

/// Writes to stdout. A reader that has gone away is no error.
fn print(text: &str) -> Result<u8, Error> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(error).doing(|| "write to stdout")
        }
        _ => Ok(0),
    }
}

/// Writes a process's id where the caller asked for it: digits alone, whole, under its name at once.
fn write_pid_file(path: &Path, pid: Pid) -> Result<(), Error> {
    let doing = || format!("--pid-file: write {}", path.display());
    let name = path
        .file_name()
        .ok_or_else(|| Error::Usage("--pid-file: names no file".to_owned()))?;
    let temporary = path.with_file_name(format!(".{}", name.to_string_lossy()));
    let mut file = std::fs::OpenOptions::new();
    let mut file = file
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o644)
        .open(&temporary)
        .doing(doing)?;
    file.write_all(pid.as_raw_nonzero().to_string().as_bytes())
        .doing(doing)?;
    rustix::fs::rename(&temporary, path).doing(doing)
}
