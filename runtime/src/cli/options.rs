//! Which options there are, and how they are read.

use std::path::PathBuf;

use crate::error::Error;

/// An option that is known: long name, short name, whether a value follows.
pub(super) type Known = (&'static str, Option<char>, bool);

pub(super) const GLOBAL: &[Known] = &[
    ("root", None, true),
    ("log", None, true),
    ("log-format", None, true),
    ("debug", None, false),
    ("systemd-cgroup", None, false),
    ("rootless", None, true),
    ("version", Some('v'), false),
    ("help", Some('h'), false),
];

const CREATE: &[Known] = &[
    ("bundle", Some('b'), true),
    ("console-socket", None, true),
    ("pid-file", None, true),
    ("preserve-fds", None, true),
    ("no-pivot", None, false),
    ("no-new-keyring", None, false),
    ("detach", Some('d'), false),
    ("keep", None, false),
    ("no-subreaper", None, false),
];

const EXEC: &[Known] = &[
    ("process", Some('p'), true),
    ("console-socket", None, true),
    ("pid-file", None, true),
    ("tty", Some('t'), false),
    ("detach", Some('d'), false),
    ("cwd", None, true),
    ("env", Some('e'), true),
    ("user", Some('u'), true),
    ("additional-gids", Some('g'), true),
    ("cap", Some('c'), true),
    ("no-new-privs", None, false),
    ("preserve-fds", None, true),
    ("ignore-paused", None, false),
    ("process-label", None, true),
    ("apparmor", None, true),
    ("cgroup", None, true),
];

const UPDATE: &[Known] = &[
    ("resources", Some('r'), true),
    ("memory", None, true),
    ("memory-swap", None, true),
    ("memory-reservation", None, true),
    ("cpu-share", None, true),
    ("cpu-quota", None, true),
    ("cpu-period", None, true),
    ("cpu-burst", None, true),
    ("cpu-idle", None, true),
    ("cpu-rt-runtime", None, true),
    ("cpu-rt-period", None, true),
    ("cpuset-cpus", None, true),
    ("cpuset-mems", None, true),
    ("pids-limit", None, true),
    ("blkio-weight", None, true),
];

/// The options of a command.
pub(super) fn options_of(name: &str) -> Result<&'static [Known], Error> {
    Ok(match name {
        "create" | "run" => CREATE,
        "exec" => EXEC,
        "kill" => &[("all", Some('a'), false)],
        "delete" => &[("force", Some('f'), false)],
        "list" | "ps" => &[("format", Some('f'), true), ("quiet", Some('q'), false)],
        "update" => UPDATE,
        "spec" => &[("bundle", Some('b'), true), ("rootless", None, false)],
        "start" | "state" | "pause" | "resume" | "features" | "help" | "version" => &[],
        "events" | "checkpoint" | "restore" => {
            return Err(Error::Usage(format!("{name}: this command is not supported yet")));
        }
        _ => return Err(Error::Usage(format!("no such command: {name:?}"))),
    })
}

/// Where options end.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    AtFirstWord,
    AfterFirstWord,
    Never,
}

/// Options as they were given.
#[derive(Debug, Default)]
pub(super) struct Options(pub(super) Vec<(&'static str, String)>);

impl Options {
    pub(super) fn read(
        arguments: &[String],
        known: &[Known],
        stop: Stop,
    ) -> Result<(Self, Vec<String>), Error> {
        let mut options = Self::default();
        let mut words = Vec::new();
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            let dashed = argument.strip_prefix("--").or_else(|| argument.strip_prefix('-'));
            let Some(option) = dashed.filter(|option| !option.is_empty()) else {
                if argument != "--" {
                    words.push(argument.clone());
                }
                if argument == "--" || stop == Stop::AtFirstWord || stop == Stop::AfterFirstWord {
                    words.extend(rest.cloned());
                    break;
                }
                continue;
            };
            let (name, value) = match option.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (option, None),
            };
            let mut letters = name.chars();
            let letter = letters.next().filter(|_| letters.next().is_none());
            let found = known
                .iter()
                .find(|(long, short, _)| *long == name || (letter.is_some() && *short == letter));
            let (long, takes_value) = match found {
                Some((long, _, takes_value)) => (*long, *takes_value),
                None if name == "help" || name == "h" => ("help", false),
                None => {
                    return Err(Error::Usage(format!(
                        "flag provided but not defined: {argument:?}"
                    )));
                }
            };
            let value = match (takes_value, value) {
                (_, Some(value)) => value,
                (false, None) => "true".to_owned(),
                (true, None) => {
                    let next = rest.next().cloned();
                    next.ok_or_else(|| Error::Usage(format!("flag needs an argument: --{long}")))?
                }
            };
            if !takes_value && !matches!(value.as_str(), "true" | "false") {
                return Err(Error::Usage(format!(
                    "--{long}: {value:?} is neither true nor false"
                )));
            }
            options.0.push((long, value));
        }
        Ok((options, words))
    }

    pub(super) fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0
            .iter()
            .filter(move |(known, _)| *known == name)
            .map(|(_, value)| value.as_str())
    }

    pub(super) fn value(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .rev()
            .find(|(known, _)| *known == name)
            .map(|(_, value)| value.as_str())
    }

    pub(super) fn switch(&self, name: &str) -> bool {
        self.value(name) == Some("true")
    }

    pub(super) fn path(&self, name: &str) -> Option<PathBuf> {
        self.value(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    }

    pub(super) fn number(&self, name: &str) -> Result<u32, Error> {
        let Some(value) = self.value(name) else {
            return Ok(0);
        };
        // More descriptors than a process may have open is a mistake.
        let number = value.parse().ok().filter(|number| *number <= 1 << 20);
        number.ok_or_else(|| Error::Usage(format!("--{name}: {value:?} is no number of descriptors")))
    }

    pub(super) fn json(&self, name: &str) -> Result<bool, Error> {
        match self.value("format") {
            None | Some("table") => Ok(false),
            Some("json") => Ok(true),
            Some(other) => Err(Error::Usage(format!(
                "{name}: --format: {other:?} is neither table nor json"
            ))),
        }
    }
}
