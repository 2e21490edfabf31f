//! Hooks: other people's programs, the container's state on their stdin.

use std::{
    io::Write,
    os::unix::process::{CommandExt, ExitStatusExt},
    process::{Command, Stdio},
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    process::{Pid, PidfdFlags, pidfd_open},
};

use crate::{
    error::{Doing, Error},
    process::message::{During, Failure, Phase},
    spec::Hook,
};

/// Runs hooks in the runtime's own namespaces, in order; the first failure ends it.
pub(crate) fn run_all(kind: &str, hooks: &[Hook<'_>], state: &str) -> Result<(), Error> {
    for (index, hook) in hooks.iter().enumerate() {
        let doing = || format!("hooks.{kind}[{index}]: run {:?}", &*hook.path);
        match run(hook, state) {
            Ok(Ended::Well) => {}
            Ok(Ended::Badly(how)) => return Err(Error::Other(format!("{}: {how}", doing()))),
            Err(error) => return Err(error).doing(doing),
        }
    }
    Ok(())
}

/// Runs hooks in the child, whose only words are numbers.
pub(crate) fn run_in_child(hooks: &[Hook<'_>], state: &str, phase: Phase) -> Result<(), Failure> {
    for (index, hook) in hooks.iter().enumerate() {
        let step = u16::try_from(index).unwrap_or(u16::MAX);
        match run(hook, state) {
            Ok(Ended::Well) => {}
            Ok(Ended::Badly(_)) => return Err(Errno::CANCELED).at(phase, step),
            Err(error) => return Err(Errno::from_io_error(&error).unwrap_or(Errno::IO)).at(phase, step),
        }
    }
    Ok(())
}

enum Ended {
    Well,
    Badly(String),
}

fn run(hook: &Hook<'_>, state: &str) -> std::io::Result<Ended> {
    let mut command = Command::new(&*hook.path);
    let mut args = hook.args.iter();
    if let Some(name) = args.next() {
        command.arg0(&**name);
    }
    command.args(args.map(|arg| &**arg)).env_clear();
    command.envs(hook.env.iter().filter_map(|variable| variable.split_once('=')));
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        // A hook need not read its state; Rust's start-up has SIGPIPE ignored in the parent.
        let _ = stdin.write_all(state.as_bytes());
    }
    if let Some(seconds) = hook.timeout {
        let pid = i32::try_from(child.id())
            .ok()
            .and_then(Pid::from_raw)
            .ok_or(Errno::SRCH)?;
        let pidfd = pidfd_open(pid, PidfdFlags::empty())?;
        let limit = Timespec {
            tv_sec: seconds,
            tv_nsec: 0,
        };
        let mut watched = [PollFd::new(&pidfd, PollFlags::IN)];
        if rustix::io::retry_on_intr(|| poll(&mut watched, Some(&limit)))? == 0 {
            child.kill()?;
            child.wait()?;
            return Ok(Ended::Badly(format!(
                "killed after {:?}",
                Duration::from_secs(seconds.unsigned_abs())
            )));
        }
    }
    let status = child.wait()?;
    Ok(match (status.success(), status.signal()) {
        (true, _) => Ended::Well,
        (false, Some(signal)) => Ended::Badly(format!("ended by signal {signal}")),
        (false, None) => Ended::Badly(format!("exit status {}", status.code().unwrap_or(-1))),
    })
}
