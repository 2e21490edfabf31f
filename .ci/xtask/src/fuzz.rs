//! `cargo x fuzz`: every parser of bytes that others send, for a while each.
//!
//! The targets are programs of `.ci/fuzz`. libFuzzer's instrumentation is a pass of the stable compiler, so no other
//! toolchain is needed. What a target fails on is kept in `fuzz/failures` of the target folder.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::suites::Tally;
use crate::workspace::Workspace;
use crate::{process, say};

/// How long a target runs where nobody says otherwise.
pub const EACH: Duration = Duration::from_secs(10);

/// What makes a program tell the engine where it has been.
const INSTRUMENTATION: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
     -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
     -Cllvm-args=-sanitizer-coverage-trace-compares";

/// How many lines of a target that failed are shown.
const SHOWN: usize = 60;

/// Builds the targets and runs each for `each`; only those named in `only`, if any is.
///
/// # Errors
/// They cannot be built, or a name is none of theirs.
pub fn run(workspace: &Workspace, each: Duration, only: &[String]) -> Result<Tally> {
    let folder = target_folder(workspace);
    let programs = build(workspace, &folder)?;
    let names = names(workspace)?;
    if let Some(unknown) = only.iter().find(|name| !names.contains(name)) {
        bail!(
            "no fuzz target is called {unknown}: there are {}",
            names.join(", ")
        );
    }
    let mut tally = Tally::default();
    for name in names.iter().filter(|name| only.is_empty() || only.contains(name)) {
        if fuzz(workspace, &folder, &programs.join(name), name, each)? {
            tally.passed += 1;
        } else {
            tally.failed += 1;
        }
    }
    Ok(tally)
}

fn target_folder(workspace: &Workspace) -> PathBuf {
    let target =
        env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace.root().join("target"), PathBuf::from);
    target.join("fuzz")
}

/// The targets, by the names of their files.
fn names(workspace: &Workspace) -> Result<Vec<String>> {
    let folder = workspace.root().join(".ci/fuzz/targets");
    let files = fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut names = Vec::new();
    for file in files {
        if let Some(name) = file?.path().file_stem().and_then(|name| name.to_str()) {
            names.push(name.to_owned());
        }
    }
    names.sort();
    Ok(names)
}

/// Returns the folder of the built targets. Naming the host keeps the instrumentation out of build scripts.
fn build(workspace: &Workspace, folder: &Path) -> Result<PathBuf> {
    let host = host()?;
    let mut command = process::cargo();
    command
        .current_dir(workspace.root())
        .env("RUSTFLAGS", INSTRUMENTATION)
        .args(["build", "--release", "--bins", "--locked"])
        .args([
            "--manifest-path",
            ".ci/fuzz/Cargo.toml",
            "--target",
            &host,
            "--target-dir",
        ])
        .arg(folder);
    process::run(&mut command)?;
    Ok(folder.join(host).join("release"))
}

fn host() -> Result<String> {
    let version = process::output(Command::new("rustc").arg("-vV"))?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).context("rustc names no host")
}

/// Runs one target; says whether nothing was found.
fn fuzz(workspace: &Workspace, folder: &Path, program: &Path, name: &str, each: Duration) -> Result<bool> {
    let made = |path: PathBuf| {
        fs::create_dir_all(&path)
            .map(|()| path.clone())
            .with_context(|| format!("cannot make {}", path.display()))
    };
    let corpus = made(folder.join("corpus").join(name))?;
    let failures = made(folder.join("failures"))?;
    let mut command = Command::new(program);
    command
        .current_dir(workspace.root())
        .arg(format!("-max_total_time={}", each.as_secs()))
        .arg(format!("-artifact_prefix={}/{name}-", failures.display()))
        // Seconds for one input, MiB, bytes: what no input may cost, and how long inputs grow.
        .args([
            "-timeout=20",
            "-rss_limit_mb=2048",
            "-max_len=4096",
            "-print_final_stats=1",
        ])
        .arg(corpus)
        .arg(workspace.root().join(".ci/fuzz/seeds").join(name))
        .stdin(Stdio::null());
    let ended = command
        .output()
        .with_context(|| format!("cannot run {}", program.display()))?;
    let told = String::from_utf8_lossy(&ended.stderr);
    if !ended.status.success() {
        let lines: Vec<&str> = told.lines().collect();
        for line in lines.iter().skip(lines.len().saturating_sub(SHOWN)) {
            say::line(line);
        }
        say::error(&format!("the fuzz target {name} ended with {}", ended.status));
        return Ok(false);
    }
    let inputs = told
        .lines()
        .find_map(|line| line.strip_prefix("stat::number_of_executed_units:"));
    say::line(&format!(
        "{name:<10} {} inputs, none of them bad",
        inputs.unwrap_or("?").trim()
    ));
    Ok(true)
}
