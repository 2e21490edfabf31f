//! `cargo x try`: the way from a bare machine to a served page, each step as a user types it.
//!
//! The walk runs in network, mount and process namespaces of its own: whatever becomes of it, the
//! machine keeps no bridge, no mount and no process of it.

mod steps;

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use crate::workspace::Workspace;
use crate::{cli, dist, install, process, roots, say};
use steps::Step;

/// What a walk needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Walk {
    /// A folder that holds the three programs.
    pub programs: PathBuf,
    /// A folder that keeps the roots of real programs, and the walk's own folder while it lasts.
    pub cache: PathBuf,
}

/// Installs what is missing, builds, and walks; leaves packages and `target/`.
pub fn build_and_walk(workspace: &Workspace) -> Result<()> {
    install::packages(install::FOR_TRY)?;
    let programs = dist::build(workspace)?;
    apart(&Walk {
        programs,
        cache: workspace.root().join("target/try"),
    })
}

/// Makes the roots, then walks in namespaces of its own.
pub fn apart(walk: &Walk) -> Result<()> {
    ensure!(
        process::output(Command::new("id").arg("-u"))?.trim() == "0",
        "running containers needs root here: sudo --preserve-env=PATH cargo x try"
    );
    for name in dist::PROGRAMS {
        ensure!(
            walk.programs.join(name).is_file(),
            "{} holds no {name}",
            walk.programs.display()
        );
    }
    say::step("file systems of real programs, from Debian's packages");
    for root in [&roots::NGINX, &roots::PYTHON] {
        root.tarball(&walk.cache)?;
    }
    let itself = std::env::current_exe().context("cannot find this program")?;
    let mut command = Command::new("unshare");
    command.args(["--net", "--mount", "--propagation", "private", "--pid", "--fork"]);
    command.args(["--kill-child", "--mount-proc", "--"]);
    // The shell is process 1 there: it reaps what is orphaned.
    command
        .args(["sh", "-c", r#""$@"; exit $?"#, "sh"])
        .arg(itself)
        .arg(cli::WALKING);
    command
        .arg("--programs")
        .arg(&walk.programs)
        .arg("--cache")
        .arg(&walk.cache);
    let outcome = process::quietly(&mut command);
    let own = own_folder(&walk.cache);
    let removed = fs::remove_dir_all(&own);
    outcome.context("the walk did not reach its end")?;
    removed.with_context(|| format!("cannot remove {}", own.display()))
}

/// The walk itself. Expects to stand apart.
pub fn here(walk: &Walk) -> Result<()> {
    let own = own_folder(&walk.cache);
    if own.exists() {
        fs::remove_dir_all(&own).with_context(|| format!("cannot remove {}", own.display()))?;
    }
    fs::create_dir_all(&own).with_context(|| format!("cannot make {}", own.display()))?;
    process::quietly(Command::new("ip").args(["link", "set", "lo", "up"]))?;
    let mut trail = Trail {
        walk: walk.clone(),
        own,
    };
    say::step("a registry on embedded defaults");
    let registry = trail.serve()?;
    let outcome = steps::all(&walk.cache)?
        .iter()
        .try_for_each(|step| trail.take(step));
    let stopped = trail.stop(registry);
    outcome?;
    stopped?;
    say::line("\nThat was the whole way: from a bare machine to a registry, and a page from a container.");
    Ok(())
}

fn own_folder(cache: &Path) -> PathBuf {
    cache.join("walk")
}

/// Where the walk is, and what its commands see.
struct Trail {
    walk: Walk,
    own: PathBuf,
}

impl Trail {
    /// A shell line as a user types it, in the walk's folder and with its variables.
    fn shell(&self, line: &str) -> Result<Command> {
        let mut command = Command::new("sh");
        command
            .args(["-euc", line])
            .current_dir(&self.own)
            .stdin(Stdio::null());
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy();
            if name.starts_with("WHARF_") || name.starts_with("XDG_") || name.starts_with("DOCKER_") {
                command.env_remove(&*name);
            }
        }
        command
            .env("PATH", install::path_with(&self.walk.programs)?)
            .env("HOME", &self.own);
        for (name, folder) in steps::VARIABLES {
            command.env(name, self.own.join(folder));
        }
        Ok(command)
    }

    /// Starts the registry and waits for its one line.
    fn serve(&self) -> Result<Child> {
        say::typed(&steps::exports());
        say::typed(steps::SERVE);
        let log = File::create(self.own.join("registry.log")).context("cannot make registry.log")?;
        let mut command = self.shell(&format!("exec {}", steps::SERVE.trim_end_matches(steps::BEHIND)))?;
        let mut registry = command
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .context("cannot start the registry")?;
        let mut line = String::new();
        let stdout = registry.stdout.take().context("the registry has no stdout")?;
        BufReader::new(stdout)
            .read_line(&mut line)
            .context("cannot read what the registry says")?;
        if !line.starts_with("listening on ") {
            registry.wait().context("the registry was lost")?;
            bail!("the registry did not start:\n{}", self.log());
        }
        say::line(line.trim_end());
        Ok(registry)
    }

    /// Shows and runs one step; what it prints must hold what the step is for.
    fn take(&mut self, step: &Step) -> Result<()> {
        if let Some(why) = step.why {
            say::step(why);
        }
        say::typed(&step.line);
        let printed = self.run(&step.line)?;
        for wanted in &step.prints {
            ensure!(
                printed.contains(wanted),
                "`{}` was to print {wanted:?}; {}",
                step.line,
                self.trouble()
            );
        }
        Ok(())
    }

    fn run(&self, line: &str) -> Result<String> {
        let (reader, writer) = std::io::pipe().context("cannot make a pipe")?;
        let mut command = self.shell(line)?;
        command
            .stdout(writer.try_clone().context("cannot copy a pipe")?)
            .stderr(writer);
        let mut child = command.spawn().with_context(|| format!("cannot run {line}"))?;
        drop(command);
        let mut printed = String::new();
        for text in BufReader::new(reader).split(b'\n') {
            let text = text.with_context(|| format!("cannot read what `{line}` prints"))?;
            let text = String::from_utf8_lossy(&text);
            say::line(&text);
            printed.push_str(&text);
            printed.push('\n');
        }
        let status = child.wait().with_context(|| format!("`{line}` was lost"))?;
        ensure!(
            status.success(),
            "`{line}` ended with {status}; {}",
            self.trouble()
        );
        Ok(printed)
    }

    fn stop(&self, mut registry: Child) -> Result<()> {
        say::step("the registry ends when it is asked to");
        say::typed("kill %1");
        process::quietly(Command::new("kill").arg(registry.id().to_string()))?;
        let status = registry.wait().context("the registry was lost")?;
        ensure!(
            status.success(),
            "the registry ended with {status}; {}",
            self.trouble()
        );
        Ok(())
    }

    fn trouble(&self) -> String {
        format!("the registry's log:\n{}", self.log())
    }

    /// The last lines of the registry's log.
    fn log(&self) -> String {
        let text = fs::read_to_string(self.own.join("registry.log")).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines
            .iter()
            .skip(lines.len().saturating_sub(20))
            .copied()
            .collect::<Vec<_>>()
            .join("\n")
    }
}
