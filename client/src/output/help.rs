//! Lays out help as docker does: usage, what the command is for, its options in two columns.

use std::fmt::Write;

use clap::{Arg, Command};

use crate::cli::words;

/// The columns that help is folded to.
const COLUMNS: usize = 79;

/// The help of the program (no path), of a group or of a command.
pub(crate) fn page(tree: &Command, path: &[String]) -> String {
    match path.iter().try_fold(tree, |at, word| at.find_subcommand(word)) {
        Some(group) if group.has_subcommands() && !path.is_empty() => of_group(group),
        Some(command) if !path.is_empty() => of_command(command, &path.join(" ")),
        _ => of_program(tree),
    }
}

fn of_program(tree: &Command) -> String {
    let mut text =
        "Usage:  wharf [OPTIONS] COMMAND\n\nA self-sufficient runtime for containers\n\nCommon Commands:\n"
            .to_owned();
    let width = 12;
    let short = |name: &str| words::of(name).map_or("", |words| words.short);
    let known = |name: &str| tree.get_subcommands().any(|command| command.get_name() == name);
    for name in words::COMMON.iter().filter(|name| known(name)) {
        list(&mut text, name, short(name), width);
    }
    text.push_str("\nManagement Commands:\n");
    for (name, about) in words::GROUPS.iter().filter(|(name, _)| known(name)) {
        list(&mut text, name, about, width);
    }
    text.push_str("\nCommands:\n");
    let mut others: Vec<&str> = tree
        .get_subcommands()
        .filter(|command| !command.has_subcommands())
        .map(Command::get_name)
        .filter(|name| !words::COMMON.contains(name))
        .collect();
    others.sort_unstable();
    for name in others {
        list(&mut text, name, short(name), width);
    }
    text.push_str("\nGlobal Options:\n");
    text.push_str(&options(tree));
    text.push_str("\nRun 'wharf COMMAND --help' for more information on a command.\n");
    text
}

fn of_group(group: &Command) -> String {
    let name = group.get_name();
    let about = words::GROUPS
        .iter()
        .find(|(known, _)| *known == name)
        .map_or("", |(_, about)| *about);
    let mut text = format!("Usage:  wharf {name} COMMAND\n\n{about}\n\nCommands:\n");
    let mut commands: Vec<&str> = group.get_subcommands().map(Command::get_name).collect();
    commands.sort_unstable();
    for command in commands {
        let short = words::of(&format!("{name} {command}")).map_or("", |words| words.short);
        list(&mut text, command, short, 12);
    }
    let _infallible = write!(
        text,
        "\nRun 'wharf {name} COMMAND --help' for more information on a command.\n"
    );
    text
}

fn of_command(command: &Command, path: &str) -> String {
    let Some(words) = words::of(path) else {
        return String::new();
    };
    let usage = format!("Usage:  wharf {path} {}", words.usage);
    let mut text = format!("{}\n\n{}\n", usage.trim_end(), words.about);
    if !words.aliases.is_empty() {
        let _infallible = write!(text, "\nAliases:\n  {}\n", words.aliases);
    }
    let options = options(command);
    if !options.is_empty() {
        let _infallible = write!(text, "\nOptions:\n{options}");
    }
    text
}

fn list(text: &mut String, name: &str, about: &str, width: usize) {
    let _infallible = writeln!(text, "  {name:<width$}{about}");
}

/// The options of a command, by name, in two columns.
fn options(command: &Command) -> String {
    let mut flags: Vec<&Arg> = command
        .get_arguments()
        .filter(|flag| flag.get_long().is_some() && !flag.is_hide_set())
        .collect();
    flags.sort_by_key(|flag| flag.get_long().unwrap_or_default());
    let lines: Vec<(String, String)> = flags.iter().map(|flag| (left(flag), right(flag))).collect();
    let widest = lines.iter().map(|(left, _)| left.len()).max().unwrap_or(0) + 3;
    let mut text = String::new();
    for (left, right) in &lines {
        let _infallible = writeln!(
            text,
            "{left:<width$}{}",
            fold(right, widest, COLUMNS),
            width = if widest == 0 { 0 } else { widest }
        );
    }
    text
}

fn left(flag: &Arg) -> String {
    let long = flag.get_long().unwrap_or_default();
    let mut left = match flag.get_short() {
        Some(short) => format!("  -{short}, --{long}"),
        None => format!("      --{long}"),
    };
    if flag.get_action().takes_values() && !flag.is_require_equals_set() {
        let name = flag
            .get_value_names()
            .and_then(|names| names.first())
            .map_or("string", |name| name.as_str());
        let _infallible = write!(left, " {name}");
    }
    left
}

fn right(flag: &Arg) -> String {
    let mut right = flag.get_help().map(ToString::to_string).unwrap_or_default();
    if let Some(default) = flag.get_default_values().first().and_then(|value| value.to_str()) {
        let quoted = flag
            .get_value_names()
            .and_then(|names| names.first())
            .is_some_and(|name| name == "string");
        if quoted {
            let _infallible = write!(right, " (default \"{default}\")");
        } else if !default.is_empty() {
            let _infallible = write!(right, " (default {default})");
        }
    }
    right
}

/// Folds a text that starts at column `indent`: a line ends at the last blank before the last five
/// columns, so that a few letters more may stand on the final one.
fn fold(text: &str, indent: usize, columns: usize) -> String {
    const SLOP: usize = 5;
    let width = columns.saturating_sub(indent).saturating_sub(SLOP).max(19);
    let margin = format!("\n{:indent$}", "");
    let mut folded = String::new();
    let mut rest = text;
    loop {
        let (line, after) = first_line(rest, width, SLOP);
        folded.push_str(&line.replace('\n', &margin));
        match after {
            Some(after) if !after.is_empty() => {
                folded.push_str(&margin);
                rest = after;
            }
            _ => return folded,
        }
    }
}

fn first_line(text: &str, width: usize, slop: usize) -> (&str, Option<&str>) {
    if width + slop > text.len() {
        return (text, None);
    }
    let head = text.get(..width).unwrap_or(text);
    let blank = head.rfind([' ', '\t', '\n']).filter(|at| *at > 0);
    let newline = head.rfind('\n').filter(|at| *at > 0);
    let cut = match (newline, blank) {
        (Some(newline), Some(blank)) if newline < blank => newline,
        (_, Some(blank)) => blank,
        (_, None) => return (text, None),
    };
    (text.get(..cut).unwrap_or_default(), text.get(cut + 1..))
}
