//! The hidden entry points: what this program does when it runs itself again.
//!
//! They are looked up before any thread or async runtime exists, so that they may enter namespaces
//! and change what belongs to the whole process.

use std::ffi::OsString;
use std::process::ExitCode;

/// One hidden entry point: its first argument, and what it runs with the arguments after that.
type EntryPoint = (&'static str, fn(&[OsString]) -> ExitCode);

/// Every hidden entry point. Their names start with two underscores, which no command's does.
const ENTRY_POINTS: &[EntryPoint] = &[(crate::shim::ENTRY_POINT, crate::shim::main)];

/// Runs the hidden entry point that the program's arguments name, or returns `None` for a command
/// that a user typed.
pub fn dispatch(arguments: &[OsString]) -> Option<ExitCode> {
    let (name, rest) = arguments.get(1..)?.split_first()?;
    let (_, entry_point) = ENTRY_POINTS.iter().find(|(entry, _)| name == entry)?;
    Some(entry_point(rest))
}
