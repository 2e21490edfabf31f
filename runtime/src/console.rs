//! Where the master of a container's terminal goes: to the caller's socket, or to the terminal that a command
//! in the foreground was started from.

use std::{
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    fs::{OFlags, fcntl_getfl, fcntl_setfl},
    io::Errno,
    net::{AddressFamily, SocketFlags, SocketType, socketpair},
    stdio::{stdin, stdout},
    termios::{OptionalActions, Termios, isatty, tcgetattr, tcgetwinsize, tcsetattr, tcsetwinsize},
};

use crate::{
    error::{Doing, Error},
    handover,
    process::{Caught, exit_code},
    pty,
    spec::process::ConsoleSize,
    sys,
};

/// Where the master goes.
pub(crate) enum Console {
    /// There is no terminal.
    Absent,
    /// Over the caller's socket.
    Caller(OwnedFd),
    /// To this process, over a pair of its own.
    Own {
        /// This process's end.
        ours: OwnedFd,
        /// The child's end.
        theirs: OwnedFd,
    },
}

impl Console {
    /// Prepares the way: a socket that is named must be there, and one must be named unless `foreground`.
    pub(crate) fn open(socket: Option<&Path>, terminal: bool, foreground: bool) -> Result<Self, Error> {
        match (socket, terminal) {
            (Some(path), true) => pty::connect_socket(path)
                .doing(|| format!("--console-socket: connect to {}", path.display()))
                .map(Self::Caller),
            (None, true) if foreground => {
                let (ours, theirs) = socketpair(
                    AddressFamily::UNIX,
                    SocketType::STREAM,
                    SocketFlags::CLOEXEC,
                    None,
                )
                .doing(|| "make a socket pair")?;
                Ok(Self::Own { ours, theirs })
            }
            (None, true) => Err(Error::refused("process.terminal", "needs --console-socket")),
            (Some(_), false) => Err(Error::Usage("--console-socket needs process.terminal".to_owned())),
            (None, false) => Ok(Self::Absent),
        }
    }

    /// What the child sends the master over.
    pub(crate) fn child_end(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Self::Absent => None,
            Self::Caller(socket) => Some(socket.as_fd()),
            Self::Own { theirs, .. } => Some(theirs.as_fd()),
        }
    }

    /// The master, if it comes to this process; the child has sent it already.
    pub(crate) fn master(self) -> Result<Option<OwnedFd>, Error> {
        let Self::Own { ours, theirs } = self else {
            return Ok(None);
        };
        drop(theirs);
        handover::receive(ours.as_fd())
            .map(Some)
            .doing(|| "receive the terminal")
    }
}

/// The size of the terminal that this process was started from.
pub(crate) fn own_size() -> Option<ConsoleSize> {
    let size = tcgetwinsize(stdin()).ok()?;
    Some(ConsoleSize {
        height: size.ws_row,
        width: size.ws_col,
    })
}

/// The caller's terminal in raw mode, and as it was when this goes.
struct Raw(Termios);

impl Raw {
    fn enter() -> Option<Self> {
        let before = tcgetattr(stdin()).ok()?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(stdin(), OptionalActions::Now, &raw).ok()?;
        Some(Self(before))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // A terminal that has gone away needs nothing back.
        let _ = tcsetattr(stdin(), OptionalActions::Now, &self.0);
    }
}

/// Joins this process's streams to the container's terminal until the child ends; answers its exit code.
pub(crate) fn attach(master: &OwnedFd, caught: &Caught, pidfd: &OwnedFd) -> Result<u8, Error> {
    let raw = isatty(stdin()).then(Raw::enter).flatten();
    if raw.is_some() {
        resize(master);
    }
    let doing = || "join the terminals";
    let flags = fcntl_getfl(master).doing(doing)?;
    fcntl_setfl(master, flags | OFlags::NONBLOCK).doing(doing)?;
    let mut typed: Vec<u8> = Vec::new();
    let mut open = true;
    loop {
        // What was typed and not taken yet comes before what will be typed.
        let keyboard = if open && typed.is_empty() {
            PollFlags::IN
        } else {
            PollFlags::empty()
        };
        let wanted = if typed.is_empty() {
            PollFlags::IN
        } else {
            PollFlags::IN | PollFlags::OUT
        };
        let mut watched = [
            PollFd::new(pidfd, PollFlags::IN),
            PollFd::new(caught, PollFlags::IN),
            PollFd::new(master, wanted),
            PollFd::from_borrowed_fd(stdin(), keyboard),
        ];
        rustix::io::retry_on_intr(|| poll(&mut watched, None)).doing(doing)?;
        let [child, _, screen, keyboard] = watched.each_ref().map(PollFd::revents);
        for signal in caught.take() {
            if signal == libc::SIGWINCH && raw.is_some() {
                resize(master);
            } else {
                // It may have ended at this moment; then this loop ends too.
                let _ = sys::pidfd_send_signal(pidfd, signal);
            }
        }
        if screen.contains(PollFlags::OUT) {
            let taken = rustix::io::write(master, &typed).unwrap_or(0);
            typed.drain(..taken);
        }
        if keyboard.intersects(PollFlags::IN | PollFlags::HUP) && typed.is_empty() {
            open = read_keys(&mut typed);
        }
        if screen.intersects(PollFlags::IN | PollFlags::HUP) {
            show(master).doing(doing)?;
        }
        if !child.is_empty() {
            show(master).doing(doing)?;
            return exit_code(pidfd);
        }
    }
}

/// Takes what was typed; false at the end of it.
fn read_keys(typed: &mut Vec<u8>) -> bool {
    typed.reserve(4096);
    !matches!(
        rustix::io::read(stdin(), rustix::buffer::spare_capacity(typed)),
        Ok(0) | Err(Errno::IO)
    )
}

/// Shows all that the terminal has at this moment.
fn show(master: &OwnedFd) -> Result<(), Errno> {
    let mut bytes = [0; 8192];
    loop {
        match rustix::io::read(master, &mut bytes) {
            // Without a holder of the other end a terminal answers EIO.
            Ok(0) | Err(Errno::AGAIN | Errno::IO) => return Ok(()),
            Ok(length) => {
                let mut rest = bytes.get(..length).unwrap_or_default();
                while !rest.is_empty() {
                    let written = rustix::io::retry_on_intr(|| rustix::io::write(stdout(), rest))?;
                    rest = rest.get(written..).unwrap_or_default();
                }
            }
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

/// Gives the container's terminal the size of this process's.
fn resize(master: &OwnedFd) {
    if let Ok(size) = tcgetwinsize(stdin()) {
        // A size is a courtesy.
        let _ = tcsetwinsize(master, size);
    }
}
