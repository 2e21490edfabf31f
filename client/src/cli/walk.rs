//! Reads raw arguments the way docker does: which command, which of its flags, how many arguments.
//!
//! What comes out is what clap reads the same way: every flag on its own, its value attached, and `--`
//! before the first argument that is not a flag.

use clap::Command;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::{docker, words};
use crate::error::{Error, Kind, Result};

/// What the user asks for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Request {
    /// The help of the program (empty path), of a group, or of a command.
    Help {
        /// The words that lead there.
        path: Vec<String>,
        /// It was asked for by `-h`.
        deprecated: bool,
    },
    /// `--version`.
    Version,
    /// A command.
    Run {
        /// The words that lead to it.
        path: Vec<String>,
        /// What clap is to parse, the program's name first.
        arguments: Vec<String>,
    },
}

/// One flag as it will be handed to clap.
struct Flag {
    long: String,
    text: String,
}

/// What stood among the flags of one level.
struct Level<'a> {
    flags: Vec<Flag>,
    rest: Vec<&'a str>,
    help: Option<bool>,
}

/// Reads the arguments after the program's name.
pub(crate) fn walk(tree: &Command, raw: &[&str]) -> Result<Request> {
    let top = read_flags(tree, "", raw, true)?;
    let mut arguments = vec!["wharf".to_owned()];
    if top.flags.iter().any(|flag| flag.long == "version") {
        return Ok(Request::Version);
    }
    arguments.extend(top.flags.into_iter().map(|flag| flag.text));
    let (mut at, mut path, mut rest) = (tree, Vec::new(), top.rest.as_slice());
    let mut asked = top.help;
    if let Some(("help", topic)) = rest.split_first().map(|(word, topic)| (*word, topic)) {
        (asked, rest) = (Some(false), topic);
    }
    while at.has_subcommands() {
        let Some((word, after)) = rest.split_first() else {
            return Ok(Request::Help {
                path,
                deprecated: asked == Some(true),
            });
        };
        if matches!(*word, "--help" | "-h") {
            return Ok(Request::Help {
                path,
                deprecated: *word == "-h",
            });
        }
        at = at
            .find_subcommand(word)
            .ok_or_else(|| unknown_command(&path.join(" "), word, asked.is_some()))?;
        path.push(at.get_name().to_owned());
        arguments.push(at.get_name().to_owned());
        rest = after;
    }
    if let Some(deprecated) = asked {
        return Ok(Request::Help { path, deprecated });
    }
    let command = path.join(" ");
    let takes = words::of(&command).map_or(words::Arguments::AtLeast(0), |words| words.arguments);
    let level = read_flags(at, &command, rest, matches!(takes, words::Arguments::Program(_)))?;
    if let Some(deprecated) = level.help {
        return Ok(Request::Help { path, deprecated });
    }
    if let Some((refusal, announce)) = takes.refuse(level.rest.len()) {
        return Err(Error::new(
            Kind::BadArguments,
            format!("wharf: 'wharf {command}' {refusal}{}", usage(&command, announce)),
        ));
    }
    arguments.extend(level.flags.into_iter().map(|flag| flag.text));
    arguments.push("--".to_owned());
    arguments.extend(level.rest.into_iter().map(str::to_owned));
    Ok(Request::Run { path, arguments })
}

/// Reads the flags of one level; with `first_ends` the first argument that is none ends them.
fn read_flags<'a>(at: &Command, command: &str, raw: &[&'a str], first_ends: bool) -> Result<Level<'a>> {
    let mut level = Level {
        flags: Vec::new(),
        rest: Vec::new(),
        help: None,
    };
    let mut words = raw.iter().copied();
    while let Some(word) = words.next() {
        if word == "--" {
            level.rest.extend(words);
            break;
        }
        if let Some(long) = word.strip_prefix("--") {
            let (name, value) = long
                .split_once('=')
                .map_or((long, None), |(name, value)| (name, Some(value)));
            read_long(at, command, name, value, &mut words, &mut level)?;
        } else if word.len() > 1 && word.starts_with('-') {
            read_cluster(at, command, word, &mut words, &mut level)?;
        } else {
            level.rest.push(word);
            if first_ends {
                level.rest.extend(words);
                break;
            }
        }
        if level.help.is_some() {
            break;
        }
    }
    Ok(level)
}

fn read_long<'a>(
    at: &Command,
    command: &str,
    name: &str,
    value: Option<&str>,
    words: &mut impl Iterator<Item = &'a str>,
    level: &mut Level<'_>,
) -> Result<()> {
    if name == "help" {
        level.help = Some(false);
        return Ok(());
    }
    let Some(flag) = at.get_arguments().find(|flag| {
        flag.get_long() == Some(name)
            || flag
                .get_all_aliases()
                .is_some_and(|aliases| aliases.contains(&name))
    }) else {
        return Err(if docker::has_flag(flags_of(command), name) {
            unsupported_flag(command, &format!("--{name}"))
        } else {
            refuse(command, &format!("unknown flag: --{name}"))
        });
    };
    let value = match (value, takes_value(flag)) {
        (None, true) => Some(
            words
                .next()
                .ok_or_else(|| refuse(command, &format!("flag needs an argument: --{name}")))?,
        ),
        (value, _) => value,
    };
    push(command, flag, value, level)
}

fn read_cluster<'a>(
    at: &Command,
    command: &str,
    word: &str,
    words: &mut impl Iterator<Item = &'a str>,
    level: &mut Level<'_>,
) -> Result<()> {
    let mut letters = word.chars();
    letters.next();
    while let Some(letter) = letters.next() {
        let Some(flag) = at.get_arguments().find(|flag| flag.get_short() == Some(letter)) else {
            if letter == 'h' {
                level.help = Some(true);
                return Ok(());
            }
            return Err(match docker::long_of(flags_of(command), letter) {
                Some(long) if !has_long(at, long) => {
                    unsupported_flag(command, &format!("-{letter}, --{long}"))
                }
                _ => refuse(command, &format!("unknown shorthand flag: '{letter}' in {word}")),
            });
        };
        let attached = letters.as_str();
        if takes_value(flag) {
            let value = match attached.strip_prefix('=').unwrap_or(attached) {
                "" if attached.is_empty() => words.next().ok_or_else(|| {
                    refuse(command, &format!("flag needs an argument: '{letter}' in {word}"))
                })?,
                value => value,
            };
            return push(command, flag, Some(value), level);
        }
        if let Some(value) = attached.strip_prefix('=') {
            return push(command, flag, Some(value), level);
        }
        push(command, flag, None, level)?;
    }
    Ok(())
}

/// Adds a flag; a boolean one that is set to false takes back what was said before.
fn push(command: &str, flag: &clap::Arg, value: Option<&str>, level: &mut Level<'_>) -> Result<()> {
    let long = flag.get_long().unwrap_or_default().to_owned();
    if matches!(flag.get_action(), clap::ArgAction::SetTrue) {
        let set = match value {
            None => true,
            Some(value) => boolean(value).ok_or_else(|| {
                let reason = format!("strconv.ParseBool: parsing \"{value}\": invalid syntax");
                bad_argument(command, flag, value, &reason)
            })?,
        };
        level.flags.retain(|known| known.long != long);
        if set {
            level.flags.push(Flag {
                text: format!("--{long}"),
                long,
            });
        }
        return Ok(());
    }
    let text = match value {
        Some(value) => format!("--{long}={value}"),
        None => format!("--{long}"),
    };
    level.flags.push(Flag { long, text });
    Ok(())
}

/// The words that Go takes for true and false.
pub(crate) fn boolean(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// The value of `--disable-content-trust`: there are no signatures to check, so only `true` can be kept to.
pub(crate) fn no_content_trust(text: &str) -> std::result::Result<bool, String> {
    match boolean(text) {
        Some(true) => Ok(true),
        Some(false) => Err("wharf checks no signatures yet".to_owned()),
        None => Err(format!("strconv.ParseBool: parsing \"{text}\": invalid syntax")),
    }
}

fn takes_value(flag: &clap::Arg) -> bool {
    flag.get_action().takes_values() && !flag.is_require_equals_set()
}

fn has_long(at: &Command, long: &str) -> bool {
    at.get_arguments().any(|flag| flag.get_long() == Some(long))
}

/// The name under which [`docker`] lists a command's flags: the one at the top.
fn flags_of(command: &str) -> &str {
    let Some(words) = words::of(command) else {
        return command;
    };
    words.paths.first().copied().unwrap_or(command)
}

/// Turns clap's refusal of a value into docker's words.
pub(crate) fn bad_value(tree: &Command, path: &[String], error: &clap::Error) -> Error {
    let command = path.join(" ");
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => text.clone(),
        _ => String::new(),
    };
    if matches!(error.kind(), ErrorKind::ValueValidation | ErrorKind::InvalidValue) {
        let (named, value) = (text(ContextKind::InvalidArg), text(ContextKind::InvalidValue));
        let name = named
            .trim_start_matches('-')
            .split([' ', '='])
            .next()
            .unwrap_or_default();
        let at = path.iter().try_fold(tree, |at, word| at.find_subcommand(word));
        let flag = at.and_then(|at| at.get_arguments().find(|flag| flag.get_long() == Some(name)));
        let reason = std::error::Error::source(error).map_or_else(
            || format!("one of {}", allowed(error)),
            std::string::ToString::to_string,
        );
        if let Some(flag) = flag {
            return bad_argument(&command, flag, &value, &reason);
        }
    }
    let first = error.to_string();
    let first = first
        .lines()
        .next()
        .unwrap_or_default()
        .trim_start_matches("error: ");
    refuse(&command, first)
}

fn allowed(error: &clap::Error) -> String {
    match error.get(ContextKind::ValidValue) {
        Some(ContextValue::Strings(values)) => values.join(", "),
        _ => "another value".to_owned(),
    }
}

fn bad_argument(command: &str, flag: &clap::Arg, value: &str, reason: &str) -> Error {
    let long = flag.get_long().unwrap_or_default();
    let name = flag
        .get_short()
        .map_or_else(|| format!("--{long}"), |short| format!("-{short}, --{long}"));
    refuse(
        command,
        &format!("invalid argument \"{value}\" for \"{name}\" flag: {reason}"),
    )
}

fn refuse(command: &str, text: &str) -> Error {
    Error::new(Kind::BadFlag, format!("{text}{}", usage(command, "Run")))
}

fn unsupported_flag(command: &str, flag: &str) -> Error {
    Error::new(
        Kind::BadFlag,
        format!(
            "the flag {flag} of docker is not supported by wharf yet{}",
            usage(command, "Run")
        ),
    )
}

fn unknown_command(group: &str, name: &str, topic: bool) -> Error {
    if docker::has_command(group, name) {
        return Error::new(
            Kind::Unsupported,
            format!(
                "wharf: '{}' is a command of docker that wharf does not have yet\n\nRun 'wharf --help' for more information",
                join(group, name)
            ),
        );
    }
    if topic {
        return Error::new(
            Kind::BadArguments,
            format!("unknown help topic: {}", join(group, name)),
        );
    }
    let (usage, at) = if group.is_empty() {
        (String::new(), "wharf".to_owned())
    } else {
        (format!("\n\nUsage:  wharf {group}"), format!("wharf {group}"))
    };
    Error::new(
        Kind::BadArguments,
        format!(
            "wharf: unknown command: wharf {}{usage}\n\nRun '{at} --help' for more information",
            join(group, name)
        ),
    )
}

fn join(group: &str, name: &str) -> String {
    if group.is_empty() {
        name.to_owned()
    } else {
        format!("{group} {name}")
    }
}

/// The two paragraphs that end docker's complaints about a command line.
fn usage(command: &str, announce: &str) -> String {
    match words::of(command) {
        Some(words) => {
            let line = format!("wharf {command} {}", words.usage);
            format!(
                "\n\nUsage:  {}\n\n{announce} 'wharf {command} --help' for more information",
                line.trim_end()
            )
        }
        None => "\n\nUsage:  wharf [OPTIONS] COMMAND [ARG...]\n\nRun 'wharf --help' for more information"
            .to_owned(),
    }
}
