//! Runs programs and says which one failed.

use std::ffi::OsStr;
use std::io::Write;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::say;

/// Shows a program and runs it to its end.
pub fn run(command: &mut Command) -> Result<()> {
    say::running(command);
    quietly(command)
}

/// Runs a program to its end without showing it.
pub fn quietly(command: &mut Command) -> Result<()> {
    let status = command
        .status()
        .with_context(|| format!("cannot run {}", say::shown(command)))?;
    if !status.success() {
        bail!("{} ended with {status}", say::shown(command));
    }
    Ok(())
}

/// Runs a program and returns what it wrote to its stdout; its stderr is passed through.
pub fn output(command: &mut Command) -> Result<String> {
    command.stderr(Stdio::inherit());
    let output = command
        .output()
        .with_context(|| format!("cannot run {}", say::shown(command)))?;
    if !output.status.success() {
        bail!("{} ended with {}", say::shown(command), output.status);
    }
    String::from_utf8(output.stdout)
        .with_context(|| format!("{} printed bytes that are not UTF-8", say::shown(command)))
}

/// Runs a program with `input` as its stdin and returns what it wrote to its stdout.
pub fn fed(command: &mut Command, input: &str) -> Result<String> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command
        .spawn()
        .with_context(|| format!("cannot run {}", say::shown(command)))?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin
            .write_all(input.as_bytes())
            .with_context(|| format!("{} took no input", say::shown(command)))?;
    }
    let output = child.wait_with_output()?;
    if !output.status.success() {
        bail!("{} ended with {}", say::shown(command), output.status);
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The cargo that runs this program, without the marks that it left in the environment: they name
/// this package, and a build script that looks at them would run again for nothing.
#[must_use]
pub fn cargo() -> Command {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        if marks_a_package(&name) {
            command.env_remove(name);
        }
    }
    command
}

fn marks_a_package(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") || name == "CARGO_PRIMARY_PACKAGE"
}

/// Says whether a program of this name stands on `PATH`.
#[must_use]
pub fn on_path(name: &str) -> bool {
    std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|folder| folder.join(name).is_file()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_names_the_program_and_how_it_ended() {
        let error = quietly(Command::new("sh").args(["-c", "exit 3"]))
            .unwrap_err()
            .to_string();
        assert!(error.contains("sh -c 'exit 3'") && error.contains("3"), "{error}");
    }

    #[test]
    fn a_missing_program_is_named() {
        let error = quietly(&mut Command::new("wharf-no-such-program")).unwrap_err();
        assert!(format!("{error:#}").contains("wharf-no-such-program"));
    }

    #[test]
    fn input_reaches_the_program() {
        assert_eq!(fed(&mut Command::new("cat"), "word").unwrap(), "word");
    }

    #[test]
    fn the_marks_of_this_package_are_told_from_settings() {
        assert!(marks_a_package(OsStr::new("CARGO_PKG_NAME")));
        assert!(marks_a_package(OsStr::new("CARGO_MANIFEST_DIR")));
        assert!(!marks_a_package(OsStr::new("CARGO_TARGET_DIR")));
        assert!(!marks_a_package(OsStr::new("CARGO_HOME")));
    }

    #[test]
    fn programs_on_path_are_found() {
        assert!(on_path("sh"));
        assert!(!on_path("wharf-no-such-program"));
    }
}
