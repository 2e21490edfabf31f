//! The command line: runc's words and forms, read by hand so that a start costs nothing.
//!
//! `--opt value`, `--opt=value`, one dash or two, short forms; a switch may be `--opt=false`. Options stand
//! before or after the id, except for `exec`, where what follows the id is the program's.

mod options;

use std::{ffi::OsString, path::PathBuf};

use options::{GLOBAL, Options, Stop, options_of};

use crate::{error::Error, id::ContainerId, log::Format};

/// What the program was asked to do.
#[derive(Debug)]
pub struct Invocation {
    /// Options before the command.
    pub global: Global,
    /// The command.
    pub command: Command,
}

/// Options before the command.
#[derive(Debug, Default)]
pub struct Global {
    /// Where containers are kept.
    pub root: Option<PathBuf>,
    /// Where errors are written.
    pub log: Option<PathBuf>,
    /// How.
    pub log_format: Format,
    /// Whether steps are logged too.
    pub debug: bool,
}

/// A command with its options.
#[derive(Debug)]
#[expect(missing_docs, reason = "the commands' own words")]
pub enum Command {
    Create(CreateOptions),
    Run(CreateOptions, RunOptions),
    Start(ContainerId),
    State(ContainerId),
    Kill {
        id: ContainerId,
        signal: String,
        all: bool,
    },
    Delete {
        ids: Vec<ContainerId>,
        force: bool,
    },
    Exec(Box<ExecOptions>),
    List {
        json: bool,
        quiet: bool,
    },
    Ps {
        id: ContainerId,
        json: bool,
        arguments: Vec<String>,
    },
    Pause(ContainerId),
    Resume(ContainerId),
    Update(Box<UpdateOptions>),
    Features,
    Spec {
        bundle: Option<PathBuf>,
    },
    Version,
    Help,
}

/// Options of `create`, and of `run`.
#[derive(Debug)]
pub struct CreateOptions {
    /// The container's id.
    pub id: ContainerId,
    /// Where the bundle is.
    pub bundle: PathBuf,
    /// Where the terminal's master goes.
    pub console_socket: Option<PathBuf>,
    /// Where the first process's id is written.
    pub pid_file: Option<PathBuf>,
    /// Descriptors above the standard three that the program inherits.
    pub preserve_fds: u32,
    /// Do without `pivot_root`.
    pub no_pivot: bool,
    /// Keep the session keyring.
    pub no_new_keyring: bool,
}

/// Options of `run` alone.
#[derive(Debug)]
pub struct RunOptions {
    /// Do not wait for the program.
    pub detach: bool,
    /// Keep the container when it has ended.
    pub keep: bool,
}

/// Options of `update`.
#[derive(Debug)]
pub struct UpdateOptions {
    /// The container's id.
    pub id: ContainerId,
    /// A file in the form of `linux.resources`; `-` is stdin. The others are for want of it.
    pub resources: Option<PathBuf>,
    /// Limits by the name of their option, as they were given.
    pub limits: Vec<(&'static str, String)>,
}

/// Options of `exec`.
#[derive(Debug)]
pub struct ExecOptions {
    /// The container's id.
    pub id: ContainerId,
    /// A file with the process.
    pub process: Option<PathBuf>,
    /// Where the terminal's master goes.
    pub console_socket: Option<PathBuf>,
    /// Where the process's id is written.
    pub pid_file: Option<PathBuf>,
    /// Whether it gets a terminal.
    pub tty: bool,
    /// Do not wait for the program.
    pub detach: bool,
    /// Working directory.
    pub cwd: Option<String>,
    /// `NAME=value`, added.
    pub env: Vec<String>,
    /// `uid[:gid]`.
    pub user: Option<String>,
    /// Supplementary groups.
    pub additional_gids: Vec<u32>,
    /// Capabilities, added.
    pub capabilities: Vec<String>,
    /// Whether `execve` may never add rights.
    pub no_new_privileges: bool,
    /// Descriptors above the standard three that the program inherits.
    pub preserve_fds: u32,
    /// Whether it may join a frozen container, where it waits.
    pub ignore_paused: bool,
    /// The program and its arguments.
    pub arguments: Vec<String>,
}

/// Reads the command line, without the program's name.
///
/// # Errors
/// [`Error::Usage`] names what is wrong.
pub fn parse(arguments: &[OsString]) -> Result<Invocation, Error> {
    let texts = arguments.iter().map(|argument| {
        let text = argument.to_str();
        text.map(str::to_owned)
            .ok_or_else(|| Error::Usage(format!("{argument:?} is not text")))
    });
    let texts: Vec<String> = texts.collect::<Result<_, _>>()?;
    let (options, rest) = Options::read(&texts, GLOBAL, Stop::AtFirstWord)?;
    let format = match options.value("log-format") {
        None | Some("text") => Format::Text,
        Some("json") => Format::Json,
        Some(other) => {
            return Err(Error::Usage(format!(
                "--log-format: {other:?} is neither text nor json"
            )));
        }
    };
    if options.switch("systemd-cgroup") {
        return Err(Error::Usage(
            "--systemd-cgroup: the systemd driver is not supported yet".to_owned(),
        ));
    }
    if let Some(other) = options
        .value("rootless")
        .filter(|value| !matches!(*value, "auto" | "false"))
    {
        return Err(Error::Usage(format!(
            "--rootless: {other:?} is not supported yet, auto and false are"
        )));
    }
    let global = Global {
        root: options.path("root"),
        log: options
            .path("log")
            .filter(|path| !path.as_os_str().is_empty() && path.as_os_str() != "/dev/stderr"),
        log_format: format,
        debug: options.switch("debug"),
    };
    let command = match rest.split_first() {
        _ if options.switch("version") => Command::Version,
        _ if options.switch("help") => Command::Help,
        None => Command::Help,
        Some((name, rest)) => command(name, rest)?,
    };
    Ok(Invocation { global, command })
}

fn command(name: &str, rest: &[String]) -> Result<Command, Error> {
    let known = options_of(name)?;
    let stop = if matches!(name, "exec" | "ps") {
        Stop::AfterFirstWord
    } else {
        Stop::Never
    };
    let (options, words) = Options::read(rest, known, stop)?;
    if options.switch("help") {
        return Ok(Command::Help);
    }
    let most = match name {
        "exec" | "delete" | "ps" => usize::MAX,
        "kill" => 2,
        "list" | "features" | "spec" | "help" | "version" => 0,
        _ => 1,
    };
    if let Some(extra) = words.get(most) {
        return Err(Error::Usage(format!(
            "{name}: {extra:?} is one argument too many"
        )));
    }
    resolve(name, &options, &words)
}

/// The command, its words counted.
fn resolve(name: &str, options: &Options, words: &[String]) -> Result<Command, Error> {
    let first = || {
        words
            .first()
            .ok_or_else(|| Error::Usage(format!("{name}: a container id is missing")))
    };
    let id = || first()?.parse::<ContainerId>();
    Ok(match name {
        "create" => Command::Create(create(name, options, id()?)?),
        "run" => {
            let run = RunOptions {
                detach: options.switch("detach"),
                keep: options.switch("keep"),
            };
            Command::Run(create(name, options, id()?)?, run)
        }
        "start" => Command::Start(id()?),
        "state" => Command::State(id()?),
        "kill" => {
            let signal = words.get(1).cloned().unwrap_or_else(|| "SIGTERM".to_owned());
            Command::Kill {
                id: id()?,
                signal,
                all: options.switch("all"),
            }
        }
        "delete" => {
            first()?;
            let ids = words.iter().map(|word| word.parse()).collect::<Result<_, _>>()?;
            Command::Delete {
                ids,
                force: options.switch("force"),
            }
        }
        "exec" => Command::Exec(Box::new(exec(options, id()?, words)?)),
        "list" => Command::List {
            json: options.json(name)?,
            quiet: options.switch("quiet"),
        },
        "ps" => {
            let arguments = words.iter().skip(1).cloned().collect();
            Command::Ps {
                id: id()?,
                json: options.json(name)?,
                arguments,
            }
        }
        "pause" => Command::Pause(id()?),
        "resume" => Command::Resume(id()?),
        "update" => Command::Update(Box::new(update(options, id()?))),
        "features" => Command::Features,
        "spec" if options.switch("rootless") => {
            return Err(Error::Usage("spec: --rootless is not supported yet".to_owned()));
        }
        "spec" => Command::Spec {
            bundle: options.path("bundle"),
        },
        "version" => Command::Version,
        _ => Command::Help,
    })
}

fn create(name: &str, options: &Options, id: ContainerId) -> Result<CreateOptions, Error> {
    if name == "create" && (options.switch("detach") || options.switch("keep")) {
        return Err(Error::Usage(
            "create: --detach and --keep are options of run".to_owned(),
        ));
    }
    Ok(CreateOptions {
        id,
        bundle: options.path("bundle").unwrap_or_else(|| PathBuf::from(".")),
        console_socket: options.path("console-socket"),
        pid_file: options.path("pid-file"),
        preserve_fds: options.number("preserve-fds")?,
        no_pivot: options.switch("no-pivot"),
        no_new_keyring: options.switch("no-new-keyring"),
    })
}

fn update(options: &Options, id: ContainerId) -> UpdateOptions {
    let limits = options
        .0
        .iter()
        .filter(|(name, _)| *name != "resources")
        .cloned()
        .collect();
    UpdateOptions {
        id,
        resources: options.path("resources"),
        limits,
    }
}

fn exec(options: &Options, id: ContainerId, words: &[String]) -> Result<ExecOptions, Error> {
    for unbuilt in ["process-label", "apparmor", "cgroup"] {
        if options.value(unbuilt).is_some_and(|value| !value.is_empty()) {
            return Err(Error::Usage(format!("exec: --{unbuilt} is not supported yet")));
        }
    }
    let gids = options.values("additional-gids").map(|gid| {
        gid.parse()
            .map_err(|_not_a_number| Error::Usage(format!("exec: --additional-gids: {gid:?} is no group id")))
    });
    Ok(ExecOptions {
        id,
        process: options.path("process"),
        console_socket: options.path("console-socket"),
        pid_file: options.path("pid-file"),
        tty: options.switch("tty"),
        detach: options.switch("detach"),
        cwd: options.value("cwd").map(str::to_owned),
        env: options.values("env").map(str::to_owned).collect(),
        user: options.value("user").map(str::to_owned),
        additional_gids: gids.collect::<Result<_, _>>()?,
        capabilities: options.values("cap").map(str::to_owned).collect(),
        no_new_privileges: options.switch("no-new-privs"),
        preserve_fds: options.number("preserve-fds")?,
        ignore_paused: options.switch("ignore-paused"),
        arguments: words.iter().skip(1).cloned().collect(),
    })
}

#[cfg(test)]
mod tests;
