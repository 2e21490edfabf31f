//! What can go wrong, in the words that the caller reads.
//!
//! These texts are an interface: callers look in them for `does not exist`, `container not running`,
//! `executable file not found in $PATH` and the kernel's own words, which always stand last.

use rustix::io::Errno;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The command line is wrong.
    #[error("{0}")]
    Usage(String),
    /// `config.json` asks for what is wrong or not built.
    #[error("{field}: {why}")]
    Refused {
        /// Path of the field, as `process.rlimits[2].type`.
        field: String,
        /// What is wrong with it.
        why: String,
    },
    /// A system call failed.
    #[error("{doing}: {}", kernel_text(*errno))]
    System {
        /// The field, if one is to blame, and what was tried.
        doing: String,
        /// The kernel's answer.
        errno: Errno,
    },
    /// No container of that id.
    #[error("container {0:?} does not exist")]
    Missing(String),
    /// There is one already.
    #[error("container with id {0:?} already exists")]
    Taken(String),
    /// The container is not in the state that the command needs.
    #[error("{0}")]
    State(String),
    /// A file that cannot be read as what it should be.
    #[error("{what}: {why}")]
    Malformed {
        /// The file.
        what: String,
        /// The parser's words.
        why: String,
    },
    /// Something else, complete in itself.
    #[error("{0}")]
    Other(String),
}

impl Error {
    /// A refusal of one field.
    pub fn refused(field: impl Into<String>, why: impl Into<String>) -> Self {
        Self::Refused {
            field: field.into(),
            why: why.into(),
        }
    }
}

/// Adds what was tried to a system call's error.
pub(crate) trait Doing<T> {
    /// `doing` is the field, if one is to blame, and what was tried.
    fn doing<S: Into<String>>(self, doing: impl FnOnce() -> S) -> Result<T, Error>;
}

impl<T> Doing<T> for Result<T, Errno> {
    fn doing<S: Into<String>>(self, doing: impl FnOnce() -> S) -> Result<T, Error> {
        self.map_err(|errno| Error::System {
            doing: doing().into(),
            errno,
        })
    }
}

impl<T> Doing<T> for std::io::Result<T> {
    fn doing<S: Into<String>>(self, doing: impl FnOnce() -> S) -> Result<T, Error> {
        self.map_err(|error| match Errno::from_io_error(&error) {
            Some(errno) => Error::System {
                doing: doing().into(),
                errno,
            },
            None => Error::Other(format!("{}: {error}", doing().into())),
        })
    }
}

/// The kernel's text for an error, with a small first letter, as Go programs print it.
pub(crate) fn kernel_text(errno: Errno) -> String {
    let text = std::io::Error::from_raw_os_error(errno.raw_os_error()).to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut letters = text.chars();
    letters
        .next()
        .map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect())
}
