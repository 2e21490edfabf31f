//! What can go wrong, as the user reads it: a kind, a text, a cause, hints; and the one place where
//! a kind becomes an exit code.

use std::error::Error as StdError;
use std::fmt;

/// The result of a command or of an operation.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What stands before a text that docker's engine would report.
pub(crate) const ENGINE_PREFIX: &str = "Error response from daemon: ";

type Cause = Box<dyn StdError + Send + Sync>;

/// What kind of failure it is: whose fault, and so which exit code and whether to try again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A flag that does not exist, lacks its value or has a wrong one: the user's.
    BadFlag,
    /// A wrong number of arguments, an unknown command, a malformed name: the user's.
    BadArguments,
    /// A template of `--format` that cannot be read.
    BadTemplate,
    /// Something named does not exist.
    NotFound,
    /// A name is taken, or a thing is still in use.
    Conflict,
    /// A login is missing, wrong or too weak.
    Denied,
    /// The registry answered something that it must not, or failed: the registry's.
    Registry,
    /// The registry could not be reached, or asks to be left alone for a while: try again later.
    Unreachable,
    /// Bytes that were read do not have the digest or the form that they must have.
    Damaged,
    /// Docker has it and Wharf does not yet.
    Unsupported,
    /// This machine refused: a full disk, a missing right, a missing program.
    System,
    /// A container could not be made or started.
    CannotStart,
    /// A container's program exists and cannot be executed.
    CannotInvoke,
    /// A container's program does not exist.
    NoSuchProgram,
    /// ^C.
    Interrupted,
    /// Whoever read our output stopped reading.
    ClosedPipe,
}

/// A failure that ends a command.
#[derive(Debug)]
pub struct Error {
    kind: Kind,
    text: String,
    cause: Option<Cause>,
    hints: Vec<String>,
    engine: bool,
    command: Option<String>,
}

impl Error {
    /// Makes an error of what was tried and why it failed.
    pub fn new(kind: Kind, text: impl Into<String>) -> Self {
        Self {
            kind,
            text: text.into(),
            cause: None,
            hints: Vec::new(),
            engine: false,
            command: None,
        }
    }

    /// Makes an error that docker's engine would report, and so is printed in the same words as there:
    /// scripts look for them.
    pub fn engine(kind: Kind, text: impl Into<String>) -> Self {
        Self {
            engine: true,
            ..Self::new(kind, text)
        }
    }

    /// Makes an error of a failed system call: what was being done, on what.
    pub fn io(doing: impl fmt::Display, cause: impl Into<Cause>) -> Self {
        Self::new(Kind::System, doing.to_string()).because(cause)
    }

    /// The same error as another kind.
    #[must_use]
    pub fn of_kind(self, kind: Kind) -> Self {
        Self { kind, ..self }
    }

    /// Adds the error that led to this one.
    #[must_use]
    pub fn because(mut self, cause: impl Into<Cause>) -> Self {
        self.cause = Some(cause.into());
        self
    }

    /// Adds a way out, printed on a line of its own.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// Says which command failed (`run`, `container create`): docker then names itself before the
    /// text and the command's help after it, and the exit code of a failure to start is 125.
    #[must_use]
    pub fn of_command(mut self, command: impl Into<String>) -> Self {
        self.command = Some(command.into());
        self
    }

    /// What kind of failure it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The text alone, without prefix, cause and hints.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The exit code: the one place that knows.
    pub fn exit_code(&self) -> u8 {
        match self.kind {
            Kind::BadFlag | Kind::CannotStart => 125,
            Kind::BadTemplate => 64,
            Kind::CannotInvoke => 126,
            Kind::NoSuchProgram => 127,
            Kind::Interrupted => 130,
            Kind::ClosedPipe => 0,
            Kind::BadArguments
            | Kind::NotFound
            | Kind::Conflict
            | Kind::Denied
            | Kind::Registry
            | Kind::Unreachable
            | Kind::Damaged
            | Kind::Unsupported
            | Kind::System => {
                if self.command.is_some() {
                    125
                } else {
                    1
                }
            }
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.command.is_some() {
            f.write_str("wharf: ")?;
        }
        if self.engine {
            f.write_str(ENGINE_PREFIX)?;
        }
        f.write_str(&self.text)?;
        let mut cause = self
            .cause
            .as_ref()
            .map(|cause| &**cause as &(dyn StdError + 'static));
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        for hint in &self.hints {
            write!(f, "\n{hint}")?;
        }
        if let Some(command) = &self.command {
            write!(f, "\n\nRun 'wharf {command} --help' for more information")?;
        }
        Ok(())
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.cause
            .as_ref()
            .map(|cause| &**cause as &(dyn StdError + 'static))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_of_a_command_names_the_program_and_the_help() {
        let error = Error::engine(Kind::NotFound, "No such image: nope:latest").of_command("run");
        assert_eq!(error.exit_code(), 125);
        assert_eq!(
            error.to_string(),
            "wharf: Error response from daemon: No such image: nope:latest\n\nRun 'wharf run --help' for more information"
        );
    }

    #[test]
    fn causes_follow_the_text_and_hints_stand_on_their_own_line() {
        let error = Error::io("write /x", std::io::Error::other("disk full")).hint("free some space");
        assert_eq!(error.to_string(), "write /x: disk full\nfree some space");
        assert_eq!(error.exit_code(), 1);
    }
}
