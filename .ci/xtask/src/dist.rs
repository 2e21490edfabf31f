//! `cargo x dist`: the three release programs in `target/dist`.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::workspace::Workspace;
use crate::{process, say};

/// The programs, by the names that they are installed under.
pub const PROGRAMS: [&str; 3] = ["wharf-registry", "wharf", "wharf-runtime"];

/// Builds the release programs and puts them into [`Workspace::dist`], which it returns.
///
/// Each program is copied beside its place and renamed onto it: one that is running stays whole.
pub fn build(workspace: &Workspace) -> Result<PathBuf> {
    say::step("building the registry and the client");
    let mut built = cargo_build(
        workspace,
        &["--release", "-p", "wharf-registry", "-p", "wharf"],
        None,
    )?;
    say::step("building the runtime, static");
    let triple = host_triple()?;
    let arguments = ["--profile", "runtime", "-p", "wharf-runtime", "--target", &triple];
    built.extend(cargo_build(
        workspace,
        &arguments,
        // Nothing to relocate: the runtime starts anew for each command.
        Some("-C target-feature=+crt-static -C relocation-model=static"),
    )?);

    let dist = workspace.dist();
    std::fs::create_dir_all(&dist).with_context(|| format!("cannot make {}", dist.display()))?;
    for name in PROGRAMS {
        let program = built
            .iter()
            .find(|path| path.file_name().is_some_and(|file| file == name))
            .with_context(|| format!("cargo built no program {name}"))?;
        put(program, &dist, name)?;
        say::line(&dist.join(name).display().to_string());
    }
    Ok(dist)
}

/// Builds and returns the paths of the programs that cargo says it made.
fn cargo_build(workspace: &Workspace, arguments: &[&str], rustflags: Option<&str>) -> Result<Vec<PathBuf>> {
    let mut command = process::cargo();
    command
        .current_dir(workspace.root())
        .args([
            "build",
            "--locked",
            "--bins",
            "--message-format",
            "json-render-diagnostics",
        ])
        .args(arguments)
        .stdin(Stdio::null());
    if let Some(flags) = rustflags {
        command
            .env("RUSTFLAGS", flags)
            .env_remove("CARGO_ENCODED_RUSTFLAGS");
    }
    say::running(&command);
    Ok(executables(&process::output(&mut command)?))
}

/// The `executable` of each artefact in cargo's JSON messages.
fn executables(messages: &str) -> Vec<PathBuf> {
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter_map(|message| message.get("executable")?.as_str().map(PathBuf::from))
        .collect()
}

/// The triple of the machine, which is named so that flags reach no build script.
fn host_triple() -> Result<String> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let version = process::output(std::process::Command::new(rustc).arg("-vV"))?;
    match version.lines().find_map(|line| line.strip_prefix("host: ")) {
        Some(triple) => Ok(triple.to_owned()),
        None => bail!("rustc -vV names no host"),
    }
}

fn put(program: &Path, folder: &Path, name: &str) -> Result<()> {
    let staged = folder.join(format!(".{name}.{}", std::process::id()));
    std::fs::copy(program, &staged)
        .and_then(|_| std::fs::rename(&staged, folder.join(name)))
        .with_context(|| format!("cannot put {} into {}", program.display(), folder.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn executables_are_read_from_cargos_messages() {
        let messages = concat!(
            r#"{"reason":"compiler-artifact","target":{"name":"wharf"},"executable":null}"#,
            "\nnot json\n",
            r#"{"reason":"compiler-artifact","executable":"/t/release/wharf"}"#,
            "\n",
            r#"{"reason":"build-finished","success":true}"#,
        );
        assert_eq!(executables(messages), [PathBuf::from("/t/release/wharf")]);
    }

    #[test]
    fn a_program_is_replaced_whole_and_stays_executable() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("wharf"), "old").unwrap();
        put(Path::new("/bin/true"), folder.path(), "wharf").unwrap();
        assert!(
            std::process::Command::new(folder.path().join("wharf"))
                .status()
                .unwrap()
                .success()
        );
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn the_host_triple_is_a_triple() {
        assert!(host_triple().unwrap().split('-').count() >= 3);
    }
}
