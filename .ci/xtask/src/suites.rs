//! `cargo x test`: every suite, and the one line that sums them.

mod minutes;
mod tally;

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, ErrorKind};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

pub use tally::Tally;

use crate::workspace::Workspace;
use crate::{fuzz, install, process, say};

/// The suite of all tests but the documents' own.
const NEXTEST: &str = "nextest";
/// Where nextest writes its report, as `.config/nextest.toml` says.
const REPORT: &str = "target/nextest/default/junit.xml";

/// What one suite came to.
struct Outcome {
    name: &'static str,
    tally: Tally,
    took: Duration,
}

/// Installs what the tests need, runs all suites and prints their sum as the last line. `false`:
/// something failed.
pub fn command(workspace: &Workspace, nextest: &[String]) -> Result<bool> {
    install::packages(install::FOR_TESTS)?;
    let path = install::path_with(&install::tools(workspace)?)?;
    let report = workspace.root().join(REPORT);
    remove_if_there(&report)?;
    let mut outcomes = vec![suite(
        NEXTEST,
        nextest_command(workspace, nextest, &path),
        tally::nextest,
    )?];
    // Arguments choose among nextest's tests: whoever gives some wants those alone.
    if nextest.is_empty() {
        outcomes.push(suite("doctests", doctest_command(workspace), tally::doctests)?);
        outcomes.push(fuzzing(workspace));
    }
    say::step("minutes a suite");
    for Outcome { name, tally, took } in &outcomes {
        say::line(&format!(
            "{name:<10} {:>5.1} min   {tally}",
            took.as_secs_f64() / 60.0
        ));
        if *name == NEXTEST {
            // Without a report nothing was run, which the tally tells.
            let report = std::fs::read_to_string(&report).unwrap_or_default();
            for program in minutes::read(&report) {
                say::line(&program.to_string());
            }
        }
    }
    let total: Tally = outcomes.into_iter().map(|outcome| outcome.tally).sum();
    say::line(&total.to_string());
    Ok(total.is_success())
}

fn remove_if_there(file: &Path) -> Result<()> {
    match std::fs::remove_file(file) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", file.display()))
        }
        _ => Ok(()),
    }
}

fn nextest_command(workspace: &Workspace, arguments: &[String], path: &OsStr) -> Command {
    let mut command = process::cargo();
    command
        .current_dir(workspace.root())
        .env("PATH", path)
        .args(["nextest", "run", "--no-fail-fast"]);
    if !arguments
        .iter()
        .any(|argument| argument == "-p" || argument == "--package")
    {
        command.arg("--workspace");
    }
    command.args(arguments);
    command
}

fn doctest_command(workspace: &Workspace) -> Command {
    let mut command = process::cargo();
    command
        .current_dir(workspace.root())
        .args(["test", "--doc", "--workspace", "--no-fail-fast"]);
    command
}

/// Runs the fuzz targets. Targets that cannot be built count as one failure.
fn fuzzing(workspace: &Workspace) -> Outcome {
    say::step("fuzz");
    let began = Instant::now();
    let tally = fuzz::run(workspace, fuzz::EACH, &[]).unwrap_or_else(|error| {
        say::error(&format!("{error:#}"));
        Tally { passed: 0, failed: 1 }
    });
    Outcome {
        name: "fuzz",
        tally,
        took: began.elapsed(),
    }
}

/// Runs one suite, passing its lines through. A suite that failed without saying which test did
/// counts as one failure: nothing passes by not being counted.
fn suite(name: &'static str, mut command: Command, read: fn(&str) -> Option<Tally>) -> Result<Outcome> {
    say::step(name);
    say::running(&command);
    let began = Instant::now();
    // Both runners sum up on one of the two streams; joined here, in the order written.
    let (reader, writer) = std::io::pipe().context("cannot make a pipe")?;
    let errors = writer.try_clone().context("cannot copy a pipe")?;
    command.stdin(Stdio::null()).stdout(writer).stderr(errors);
    let mut child = command
        .spawn()
        .with_context(|| format!("cannot run {}", say::shown(&command)))?;
    drop(command);
    let mut tally = Tally::default();
    for line in BufReader::new(reader).split(b'\n') {
        let line = line.with_context(|| format!("cannot read what {name} prints"))?;
        let line = String::from_utf8_lossy(&line);
        say::line(&line);
        tally += read(&line).unwrap_or_default();
    }
    let status = child.wait().with_context(|| format!("{name} was lost"))?;
    if !status.success() && tally.failed == 0 {
        say::error(&format!("{name} ended with {status} and named no failed test"));
        tally.failed = 1;
    }
    Ok(Outcome {
        name,
        tally,
        took: began.elapsed(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_suite_that_fails_without_a_count_is_one_failure() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo it does not compile >&2; exit 101"]);
        let outcome = suite("broken", command, tally::doctests).unwrap();
        assert_eq!(outcome.tally, Tally { passed: 0, failed: 1 });
    }

    #[test]
    fn lines_of_both_streams_are_counted() {
        let mut command = Command::new("sh");
        let line = "test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out";
        command.args(["-c", &format!("echo '{line}'; echo '{line}' >&2")]);
        let outcome = suite("two", command, tally::doctests).unwrap();
        assert_eq!(outcome.tally, Tally { passed: 4, failed: 0 });
    }
}
