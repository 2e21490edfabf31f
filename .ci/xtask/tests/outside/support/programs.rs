//! Running programs and reading what they said.

use std::io::{Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The workspace's root.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()
        .unwrap()
}

/// A program from the pinned tools.
pub(crate) fn tool(name: &str) -> Command {
    assert!(
        xtask::process::on_path(name),
        "no {name} on PATH: `cargo x test` installs it and puts it there"
    );
    Command::new(name)
}

/// Runs a program that must end well and returns its stdout.
pub(crate) fn said(command: &mut Command) -> String {
    let output = output(command);
    assert!(output.status.success(), "{}", told(command, &output));
    String::from_utf8(output.stdout).unwrap()
}

/// As [`said`], of a program that reads `stdin`.
pub(crate) fn said_after(command: &mut Command, stdin: &str) -> String {
    // What stands in a file can be read by a program that never does, or does late.
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(stdin.as_bytes()).unwrap();
    file.rewind().unwrap();
    said(command.stdin(file))
}

/// Runs a program that must fail and returns its stderr.
pub(crate) fn refused(command: &mut Command) -> String {
    let output = output(command);
    assert!(
        !output.status.success(),
        "it was to fail: {}",
        told(command, &output)
    );
    String::from_utf8(output.stderr).unwrap()
}

/// Runs a program to its end.
pub(crate) fn output(command: &mut Command) -> Output {
    command
        .output()
        .unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"))
}

fn told(command: &Command, output: &Output) -> String {
    format!(
        "{} ended with {}\n--- stdout\n{}\n--- stderr\n{}",
        xtask::say::shown(command),
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// A program of ours, as built for the tests.
pub(crate) fn ours(name: &str) -> PathBuf {
    let program = programs().join(name);
    assert!(
        program.is_file(),
        "no {}: `cargo build --workspace` makes it",
        program.display()
    );
    program
}

/// The folder of our programs: the one above this test's own `deps`.
pub(crate) fn programs() -> PathBuf {
    std::env::current_exe()
        .unwrap()
        .ancestors()
        .nth(2)
        .unwrap()
        .to_owned()
}
