//! Asking for a password.

use std::io::{BufRead as _, IsTerminal as _, Read as _, Write as _};
use std::os::fd::AsFd;

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

use super::Error;

/// More than any password that is taken: what is longer is cut, and then refused for its length.
const READ_BYTES: u64 = 4096;

/// Reads the first line of stdin.
pub(super) fn from_stdin() -> Result<String, Error> {
    let mut line = String::new();
    let read = std::io::stdin().lock().take(READ_BYTES).read_line(&mut line);
    read.map_err(|source| Error::System {
        doing: "reading the password from stdin",
        source,
    })?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

/// Asks twice on the terminal, without showing what is typed.
pub(super) fn from_terminal(user: &str) -> Result<String, Error> {
    if !std::io::stdin().is_terminal() {
        return Err(Error::NoTerminal);
    }
    let first = ask(&format!("Password for {user}: "))?;
    let second = ask("The same again: ")?;
    if first == second {
        Ok(first)
    } else {
        Err(Error::PasswordsDiffer)
    }
}

fn ask(prompt: &str) -> Result<String, Error> {
    let mut stderr = std::io::stderr();
    let _ = write!(stderr, "{prompt}");
    let _ = stderr.flush();
    let silence = Silence::begin()?;
    let password = from_stdin();
    drop(silence);
    let _ = writeln!(stderr);
    password
}

/// Keeps the terminal from showing what is typed, until dropped.
struct Silence(Termios);

impl Silence {
    fn begin() -> Result<Self, Error> {
        let failed = |error: rustix::io::Errno| Error::System {
            doing: "keeping the terminal from showing the password",
            source: error.into(),
        };
        let stdin = std::io::stdin();
        let before = tcgetattr(stdin.as_fd()).map_err(failed)?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        tcsetattr(stdin.as_fd(), OptionalActions::Flush, &silent).map_err(failed)?;
        Ok(Self(before))
    }
}

impl Drop for Silence {
    fn drop(&mut self) {
        // The terminal may be gone by now.
        let _ = tcsetattr(std::io::stdin().as_fd(), OptionalActions::Flush, &self.0);
    }
}
