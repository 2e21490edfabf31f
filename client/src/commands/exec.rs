//! `wharf exec`.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use crate::app::App;
use crate::container::exec::{self, Outcome, Wishes};
use crate::container::{Containers, env, lifecycle};
use crate::error::{Error, Kind, Result};

/// Flags of `wharf exec`.
#[derive(Debug, Args)]
pub struct Exec {
    /// Detached mode: run command in the background
    #[arg(short, long)]
    detach: bool,
    /// Set environment variables
    #[arg(short, long, value_name = "list")]
    env: Vec<String>,
    /// Read in a file of environment variables
    #[arg(long, value_name = "list")]
    env_file: Vec<PathBuf>,
    /// Keep STDIN open even if not attached
    #[arg(short, long)]
    interactive: bool,
    /// Allocate a pseudo-TTY
    #[arg(short, long)]
    tty: bool,
    /// Username or UID (format: "<name|uid>[:<group|gid>]")
    #[arg(short, long, value_name = "string")]
    user: Option<String>,
    /// Working directory inside the container
    #[arg(short, long, value_name = "string")]
    workdir: Option<String>,
    container: String,
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
}

impl Exec {
    /// Runs a program in a running container and exits as it does.
    ///
    /// # Errors
    /// A container that does not exist or run.
    pub fn execute(self, app: &App) -> Result<ExitCode> {
        if self.tty && self.interactive && !self.detach && !std::io::stdin().is_terminal() {
            return Err(Error::new(Kind::BadArguments, "the input device is not a TTY"));
        }
        let own = |name: &str| std::env::var(name).ok();
        let mut variables = Vec::new();
        for path in &self.env_file {
            variables.extend(env::file(path, own)?);
        }
        for text in &self.env {
            variables.push(env::variable(text, own)?);
        }
        let containers = Containers::new(app.store()?);
        let state = lifecycle::find(app, &containers, &self.container)?.into_state()?;
        let wishes = Wishes {
            command: self.command,
            env: variables,
            working_dir: self.workdir,
            user: self.user,
            terminal: self.tty,
            interactive: self.interactive,
            detached: self.detach,
        };
        match exec::exec(&containers, &lifecycle::runtime(app)?, &state, wishes)? {
            Outcome::Exited(code) => Ok(ExitCode::from(u8::try_from(code & 0xff).unwrap_or(u8::MAX))),
            Outcome::Detached => Ok(ExitCode::SUCCESS),
            Outcome::NotRun(reason) => {
                app.output.line(&reason)?;
                Ok(ExitCode::from(126))
            }
        }
    }
}
