//! Waiting for a child, handing it the signals that this process gets.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::sys::{
    signal::{SigSet, Signal},
    signalfd::{SfdFlags, SignalFd},
};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{PidfdFlags, WaitId, WaitIdOptions, pidfd_open, waitid},
};

use super::Started;
use crate::{
    console,
    error::{Doing, Error},
    state::Record,
    sys,
};

/// Waits for a child and answers as a shell would: its exit code, or 128 and the signal that ended it.
pub(crate) fn exit_code(pidfd: &OwnedFd) -> Result<u8, Error> {
    let ended = rustix::io::retry_on_intr(|| waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED))
        .doing(|| "wait for the container's process")?;
    let code = ended.and_then(|ended| {
        let signal = ended.terminating_signal().map(|signal| 128 + signal);
        ended.exit_status().or(signal)
    });
    Ok(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(255))
}

/// Waits until a container's first process has ended, whoever's child it is; answers whether it has.
pub(crate) fn await_end(record: &Record) -> bool {
    let pidfd = record
        .alive()
        .and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
    let (Some(pidfd), Some(_)) = (pidfd, record.alive()) else {
        return true;
    };
    let limit = Timespec {
        tv_sec: 10,
        tv_nsec: 0,
    };
    let mut watched = [PollFd::new(&pidfd, PollFlags::IN)];
    rustix::io::retry_on_intr(|| poll(&mut watched, Some(&limit))).is_ok_and(|ended| ended > 0)
}

/// The signals of this process, held back from its clone on, so that none is lost or ends it before the child.
pub(crate) struct Caught(SignalFd);

/// Holds back every signal that is to be handed on.
pub(crate) fn catch_signals() -> Result<Caught, Error> {
    let mut signals = SigSet::all();
    for own in [
        Signal::SIGCHLD,
        Signal::SIGPIPE,
        Signal::SIGURG,
        Signal::SIGTTIN,
        Signal::SIGTTOU,
        Signal::SIGTSTP,
    ] {
        signals.remove(own);
    }
    let doing = |errno: nix::errno::Errno| Error::System {
        doing: "catch signals".to_owned(),
        errno: rustix::io::Errno::from_raw_os_error(errno as i32),
    };
    signals.thread_block().map_err(doing)?;
    let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
    SignalFd::with_flags(&signals, flags).map(Caught).map_err(doing)
}

impl Caught {
    /// The signals that came since the last look.
    pub(crate) fn take(&self) -> Vec<i32> {
        let mut taken = Vec::new();
        while let Ok(Some(signal)) = self.0.read_signal() {
            taken.extend(i32::try_from(signal.ssi_signo));
        }
        taken
    }
}

impl AsFd for Caught {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Waits for a process that was started in the foreground, joined to its terminal if it has one.
pub(crate) fn wait(caught: &Caught, started: &Started) -> Result<u8, Error> {
    match &started.master {
        Some(master) => console::attach(master, caught, &started.pidfd),
        None => forward_and_wait(caught, &started.pidfd),
    }
}

/// Waits for a child and sends it every signal that this process gets meanwhile.
fn forward_and_wait(caught: &Caught, pidfd: &OwnedFd) -> Result<u8, Error> {
    loop {
        let mut watched = [
            PollFd::new(pidfd, PollFlags::IN),
            PollFd::new(caught, PollFlags::IN),
        ];
        rustix::io::retry_on_intr(|| poll(&mut watched, None))
            .doing(|| "wait for the container's process")?;
        let [child, _] = &watched;
        if !child.revents().is_empty() {
            return exit_code(pidfd);
        }
        for signal in caught.take() {
            // It may have ended at this moment; then the next round sees it.
            let _ = sys::pidfd_send_signal(pidfd, signal);
        }
    }
}
