//! What `cargo x` is asked to do. Pure.

#[cfg(test)]
mod tests;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::fuzz;
use crate::walk::Walk;

/// The text of `cargo x help`.
pub const USAGE: &str = "\
Usage: cargo x COMMAND

  try                     builds Wharf and walks through it, from login to a served page
  walk --programs DIR --cache DIR
                          the same walk with other programs; DIR keeps what it makes once
  test [-- ARGUMENTS]     installs what the tests need, then runs every suite; ARGUMENTS go to nextest
  fuzz [--seconds N] [TARGET …]
                          runs the fuzz targets of .ci/fuzz, or those named, for N seconds each
  dist                    builds the three release programs into target/dist
  image [--programs DIR]  writes the registry's OCI archive into target/dist
  guest [--programs DIR]  the walk in a virtual machine with systemd and version 2 control groups
  deny                    checks licences, sources and duplicates of all dependencies
  tidy                    checks what no lint can: sizes, dependencies, the promises of SECURITY.md
  help                    prints this";

/// The hidden command that a walk runs itself by, once it stands apart.
pub const WALKING: &str = "walking";

/// One command with its arguments.
#[derive(Debug, PartialEq, Eq)]
pub enum Request {
    /// Prints the usage.
    Help,
    /// Builds the release programs.
    Dist,
    /// Builds the release programs and walks through them.
    Try,
    /// Walks through the programs in a folder.
    Walk(Walk),
    /// The walk itself, inside the namespaces that [`Request::Walk`] makes.
    Walking(Walk),
    /// Writes the registry's image, of the programs in `programs` or else of freshly built ones.
    Image {
        /// A folder that holds `wharf-registry`.
        programs: Option<PathBuf>,
    },
    /// Walks in a virtual machine, with the programs in `programs` or else freshly built ones.
    Guest {
        /// A folder that holds the three programs.
        programs: Option<PathBuf>,
    },
    /// Runs the test suites.
    Test {
        /// Arguments that nextest is given as they are.
        nextest: Vec<String>,
    },
    /// Runs fuzz targets.
    Fuzz {
        /// How long each of them.
        each: Duration,
        /// Which ones; all if none is named.
        only: Vec<String>,
    },
    /// Checks the sources.
    Tidy,
    /// Checks the dependencies.
    Deny,
}

/// A command line that names no command, an unknown one, or an argument that the command lacks.
#[derive(Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Nothing was asked.
    NoCommand,
    /// There is no such command.
    UnknownCommand(String),
    /// The command does not take this argument.
    UnknownArgument {
        /// The command that was asked.
        command: &'static str,
        /// The argument, as typed.
        argument: String,
    },
    /// A flag stands last and needs a value.
    MissingValue(&'static str),
    /// A flag's value is no number.
    NoNumber(&'static str),
    /// The command does nothing without this flag.
    MissingFlag {
        /// The command that was asked.
        command: &'static str,
        /// What it needs.
        flag: &'static str,
    },
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoCommand => write!(f, "no command given\n\n{USAGE}"),
            Self::UnknownCommand(name) => write!(f, "no command is called {name:?}\n\n{USAGE}"),
            Self::UnknownArgument { command, argument } => {
                write!(f, "cargo x {command} takes no {argument:?}\n\n{USAGE}")
            }
            Self::MissingFlag { command, flag } => write!(f, "cargo x {command} needs {flag}\n\n{USAGE}"),
            Self::NoNumber(flag) => write!(f, "{flag} needs a whole number\n\n{USAGE}"),
            Self::MissingValue(flag) => write!(f, "{flag} needs a value\n\n{USAGE}"),
        }
    }
}

/// Reads a command line, without the program's name.
pub fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Request, Refusal> {
    let command = arguments.next().ok_or(Refusal::NoCommand)?;
    match command.as_str() {
        "help" | "--help" | "-h" => Ok(Request::Help),
        "dist" => alone("dist", arguments, Request::Dist),
        "deny" => alone("deny", arguments, Request::Deny),
        "tidy" => alone("tidy", arguments, Request::Tidy),
        "try" => alone("try", arguments, Request::Try),
        "guest" => {
            let [programs] = paths("guest", ["--programs"], arguments)?;
            Ok(Request::Guest { programs })
        }
        "walk" => walk("walk", arguments).map(Request::Walk),
        WALKING => walk(WALKING, arguments).map(Request::Walking),
        "image" => {
            let [programs] = paths("image", ["--programs"], arguments)?;
            Ok(Request::Image { programs })
        }
        "test" => test(arguments),
        "fuzz" => fuzz(arguments),
        _ => Err(Refusal::UnknownCommand(command)),
    }
}

fn alone(
    command: &'static str,
    mut arguments: impl Iterator<Item = String>,
    request: Request,
) -> Result<Request, Refusal> {
    match arguments.next() {
        None => Ok(request),
        Some(argument) => Err(Refusal::UnknownArgument { command, argument }),
    }
}

fn walk(command: &'static str, arguments: impl Iterator<Item = String>) -> Result<Walk, Refusal> {
    let [programs, cache] = paths(command, ["--programs", "--cache"], arguments)?;
    let missing = |flag| Refusal::MissingFlag { command, flag };
    Ok(Walk {
        programs: programs.ok_or(missing("--programs"))?,
        cache: cache.ok_or(missing("--cache"))?,
    })
}

/// The paths that a command is given, by their flags.
fn paths<const N: usize>(
    command: &'static str,
    flags: [&'static str; N],
    mut arguments: impl Iterator<Item = String>,
) -> Result<[Option<PathBuf>; N], Refusal> {
    let mut values = [const { None }; N];
    while let Some(argument) = arguments.next() {
        let known = flags
            .iter()
            .zip(values.iter_mut())
            .find(|(flag, _)| **flag == argument);
        let Some((flag, value)) = known else {
            return Err(Refusal::UnknownArgument { command, argument });
        };
        *value = Some(PathBuf::from(
            arguments.next().ok_or(Refusal::MissingValue(flag))?,
        ));
    }
    Ok(values)
}

fn test(mut arguments: impl Iterator<Item = String>) -> Result<Request, Refusal> {
    match arguments.next() {
        None => Ok(Request::Test { nextest: Vec::new() }),
        Some(dashes) if dashes == "--" => Ok(Request::Test {
            nextest: arguments.collect(),
        }),
        Some(argument) => Err(Refusal::UnknownArgument {
            command: "test",
            argument,
        }),
    }
}

fn fuzz(mut arguments: impl Iterator<Item = String>) -> Result<Request, Refusal> {
    let (mut each, mut only) = (fuzz::EACH, Vec::new());
    while let Some(argument) = arguments.next() {
        if argument == "--seconds" {
            let seconds = arguments.next().ok_or(Refusal::MissingValue("--seconds"))?;
            each = Duration::from_secs(seconds.parse().map_err(|_not| Refusal::NoNumber("--seconds"))?);
        } else if argument.starts_with('-') {
            let command = "fuzz";
            return Err(Refusal::UnknownArgument { command, argument });
        } else {
            only.push(argument);
        }
    }
    Ok(Request::Fuzz { each, only })
}
