//! A user at a container's standard streams: bytes both ways, signals, the window's size, ^P^Q.

use std::{
    fs::File,
    io::{self, IsTerminal, Read, Write},
    os::fd::{AsFd, OwnedFd},
};

use nix::sys::{
    signal::{SigSet, SigmaskHow, Signal, sigprocmask},
    signalfd::{SfdFlags, SignalFd},
};
use rustix::{
    event::{PollFd, PollFlags, poll},
    termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr},
};

use super::{Containers, Id, lifecycle::Running};
use crate::{
    error::{Error, Kind, Result},
    shim::wire::Frame,
};

const CONTROL_P: u8 = 0x10;
const CONTROL_Q: u8 = 0x11;
const READ_BYTES: usize = 16 * 1024;

/// How a user's time at a container ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The container ended with this code.
    Exited(i32),
    /// The user left; the container goes on.
    Detached,
}

/// What the user wants to be attached to.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    /// Standard input.
    pub input: bool,
    /// The container has a terminal.
    pub terminal: bool,
    /// Signals are passed on.
    pub signals: bool,
}

/// The user's terminal without its own line editing; as it was when this is dropped.
pub(super) struct RawTerminal {
    terminal: OwnedFd,
    before: Termios,
}

impl RawTerminal {
    /// None when standard input is no terminal.
    pub(super) fn enter() -> io::Result<Option<Self>> {
        let stdin = io::stdin();
        if !stdin.is_terminal() {
            return Ok(None);
        }
        let terminal = stdin.as_fd().try_clone_to_owned()?;
        let before = tcgetattr(&terminal)?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(&terminal, OptionalActions::Now, &raw)?;
        Ok(Some(Self { terminal, before }))
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        // A terminal that is gone need not be restored.
        let _ = tcsetattr(&self.terminal, OptionalActions::Now, &self.before);
    }
}

/// The size of the terminal that this process's output goes to: rows, columns.
pub fn terminal_size() -> Option<(u16, u16)> {
    let stdout = io::stdout();
    let size = tcgetwinsize(stdout.as_fd())
        .or_else(|_| tcgetwinsize(io::stdin().as_fd()))
        .ok()?;
    (size.ws_row > 0 && size.ws_col > 0).then_some((size.ws_row, size.ws_col))
}

/// Signals as bytes, caught before the container starts so that none is lost or ends this process.
#[derive(Debug)]
pub struct Signals {
    fd: SignalFd,
    before: SigSet,
}

impl Signals {
    /// Catches those that are passed on to containers, and the one that tells of another window size.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn catch() -> Result<Self> {
        let mask: SigSet = Signal::iterator()
            .filter(|signal| {
                !matches!(
                    signal,
                    Signal::SIGKILL | Signal::SIGSTOP | Signal::SIGCHLD | Signal::SIGURG
                )
            })
            .filter(|signal| {
                !matches!(
                    signal,
                    Signal::SIGPIPE | Signal::SIGSEGV | Signal::SIGBUS | Signal::SIGFPE
                )
            })
            .filter(|signal| {
                !matches!(
                    signal,
                    Signal::SIGILL | Signal::SIGTRAP | Signal::SIGABRT | Signal::SIGSYS
                )
            })
            .filter(|signal| !matches!(signal, Signal::SIGTSTP | Signal::SIGTTIN | Signal::SIGTTOU))
            .collect();
        Self::catch_these(mask)
    }

    /// Catches only the one that tells of another window size.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn catch_resizes() -> Result<Self> {
        Self::catch_these([Signal::SIGWINCH].into_iter().collect())
    }

    fn catch_these(mask: SigSet) -> Result<Self> {
        let failed = |error: nix::Error| Error::io("catch signals", io::Error::from(error));
        let mut before = SigSet::empty();
        sigprocmask(SigmaskHow::SIG_BLOCK, Some(&mask), Some(&mut before)).map_err(failed)?;
        let fd =
            SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK).map_err(failed)?;
        Ok(Self { fd, before })
    }

    /// The next one that has come.
    pub(super) fn next(&self) -> Option<Signal> {
        let signal = self.fd.read_signal().ok().flatten()?;
        Signal::try_from(i32::try_from(signal.ssi_signo).ok()?).ok()
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        // A set that was in force can be put in force again.
        let _ = sigprocmask(SigmaskHow::SIG_SETMASK, Some(&self.before), None);
    }
}

/// Passes bytes and signals between the user and a running container until one of them ends it.
///
/// # Errors
/// A terminal that cannot be used, an output that cannot be written: [`Kind::ClosedPipe`] when nobody
/// reads it any more. The container goes on then.
pub fn attach(
    running: &mut Running,
    wanted: Wanted,
    signals: &Signals,
    control: &Control<'_>,
) -> Result<End> {
    let raw = if wanted.terminal && wanted.input {
        RawTerminal::enter().map_err(|error| Error::io("use the terminal", error))?
    } else {
        None
    };
    let mut user = User {
        detach: if wanted.terminal {
            Detach::on_terminal()
        } else {
            Detach::default()
        },
        input: wanted.input,
    };
    let end = (|| {
        loop {
            while let Some(frame) = running
                .reader
                .next_frame()
                .map_err(|error| Error::io("listen to the container's shim", error))?
            {
                if let Some(end) = show(frame)? {
                    return Ok(end);
                }
            }
            let ready = user.wait(running, signals)?;
            if ready.signals {
                pass_signals_on(signals, wanted, control);
            }
            if ready.input && user.take_input(running)? {
                return Ok(End::Detached);
            }
            if ready.shim {
                match running.next_word()? {
                    Some(frame) => {
                        if let Some(end) = show(frame)? {
                            return Ok(end);
                        }
                    }
                    None => return Err(Error::new(Kind::System, "the container's shim has died")),
                }
            }
        }
    })();
    drop(raw);
    if matches!(end, Ok(End::Exited(_))) {
        running.wait_for_shim();
    }
    end
}

fn pass_signals_on(signals: &Signals, wanted: Wanted, control: &Control<'_>) {
    while let Some(signal) = signals.next() {
        if signal == Signal::SIGWINCH {
            if let (true, Some((rows, columns))) = (wanted.terminal, terminal_size()) {
                control.send(&Frame::Resize(rows, columns));
            }
        } else if let (true, Ok(number)) = (wanted.signals, u8::try_from(signal as i32)) {
            control.send(&Frame::Signal(number));
        }
    }
}

/// The way for what must not wait behind input that the container does not read.
#[derive(Debug)]
pub struct Control<'a> {
    /// The containers of the store.
    pub containers: &'a Containers<'a>,
    /// The container.
    pub id: &'a Id,
}

impl Control<'_> {
    fn send(&self, frame: &Frame) {
        // A container that has ended needs neither signal nor size.
        if let Ok(Some(running)) = Running::connect(self.containers, self.id) {
            running.send(frame);
        }
    }
}

struct Ready {
    signals: bool,
    input: bool,
    shim: bool,
}

struct User {
    detach: Detach,
    /// More may come from standard input.
    input: bool,
}

impl User {
    fn wait(&self, running: &Running, signals: &Signals) -> Result<Ready> {
        let stdin = io::stdin();
        let mut polled = vec![
            PollFd::new(&running.stream, PollFlags::IN),
            PollFd::new(signals, PollFlags::IN),
        ];
        if self.input {
            polled.push(PollFd::new(&stdin, PollFlags::IN));
        }
        match poll(&mut polled, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(Error::io("wait for the container", io::Error::from(error))),
        }
        let is_ready = |at: usize| polled.get(at).is_some_and(|polled| !polled.revents().is_empty());
        Ok(Ready {
            shim: is_ready(0),
            signals: is_ready(1),
            input: is_ready(2),
        })
    }

    /// Passes on what the user typed; true when that was the wish to leave.
    fn take_input(&mut self, running: &Running) -> Result<bool> {
        let mut buffer = [0; READ_BYTES];
        let stdin = io::stdin()
            .as_fd()
            .try_clone_to_owned()
            .map_err(|error| Error::io("read from stdin", error))?;
        let length = match File::from(stdin).read(&mut buffer) {
            Ok(length) => length,
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock
                ) =>
            {
                return Ok(false);
            }
            // A terminal that is gone gives no more input.
            Err(_) => 0,
        };
        if length == 0 {
            self.input = false;
            running.send(&Frame::EndOfInput);
            return Ok(false);
        }
        let (bytes, leave) = self.detach.filter(buffer.get(..length).unwrap_or_default());
        if !bytes.is_empty() {
            running.send(&Frame::Input(bytes));
        }
        Ok(leave)
    }
}

/// Finds ^P^Q in what is typed.
#[derive(Default)]
pub(super) struct Detach {
    keys_apply: bool,
    after_p: bool,
}

impl Detach {
    /// For what a user types on a terminal.
    pub(super) fn on_terminal() -> Self {
        Self {
            keys_apply: true,
            after_p: false,
        }
    }

    /// What is left to pass on, and whether the user leaves.
    pub(super) fn filter(&mut self, typed: &[u8]) -> (Vec<u8>, bool) {
        if !self.keys_apply {
            return (typed.to_vec(), false);
        }
        let mut passed = Vec::with_capacity(typed.len() + 1);
        for byte in typed {
            match (self.after_p, *byte) {
                (true, CONTROL_Q) => return (passed, true),
                (true, CONTROL_P) => passed.push(CONTROL_P),
                (true, other) => {
                    self.after_p = false;
                    passed.extend([CONTROL_P, other]);
                }
                (false, CONTROL_P) => self.after_p = true,
                (false, other) => passed.push(other),
            }
        }
        (passed, false)
    }
}

/// Shows what the container wrote; how it ended, when that is what the shim said.
fn show(frame: Frame) -> Result<Option<End>> {
    let written = match frame {
        Frame::Output(bytes) => write(io::stdout().lock(), &bytes),
        Frame::ErrorOutput(bytes) => write(io::stderr().lock(), &bytes),
        Frame::Exited(exited) => {
            for problem in exited.problems {
                // Nobody reading it does not change how the container ended.
                drop(write(
                    io::stderr().lock(),
                    format!("wharf: {problem}\n").as_bytes(),
                ));
            }
            return Ok(Some(End::Exited(exited.code)));
        }
        _ => Ok(()),
    };
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
            Err(Error::new(Kind::ClosedPipe, "nobody reads the output any more"))
        }
        other => other
            .map(|()| None)
            .map_err(|error| Error::io("write the container's output", error)),
    }
}

pub(super) fn write(mut stream: impl Write, bytes: &[u8]) -> io::Result<()> {
    stream.write_all(bytes)?;
    stream.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_p_control_q_leaves_and_control_p_alone_is_passed_on_late() {
        let mut detach = Detach {
            keys_apply: true,
            after_p: false,
        };
        assert_eq!(detach.filter(b"ab\x10"), (b"ab".to_vec(), false));
        assert_eq!(detach.filter(b"c"), (b"\x10c".to_vec(), false));
        assert_eq!(detach.filter(b"\x10\x10"), (b"\x10".to_vec(), false));
        assert_eq!(detach.filter(b"\x11rest"), (Vec::new(), true));
        let mut none = Detach::default();
        assert_eq!(none.filter(b"\x10\x11"), (b"\x10\x11".to_vec(), false));
    }
}
