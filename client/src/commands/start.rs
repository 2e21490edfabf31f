//! `wharf start`, `wharf attach`, `wharf wait` and `wharf port`.

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::Args;

use super::run::stay;
use super::stop::each;
use crate::app::App;
use crate::container::attach::{Signals, Wanted, terminal_size};
use crate::container::lifecycle::{self, Hands, Running, take};
use crate::container::{Containers, State, Status};
use crate::error::{Error, Kind, Result};
use crate::shim::wire::{Frame, Hello, VERSION};

/// Flags of `wharf start`.
#[derive(Debug, Args)]
pub struct Start {
    /// Attach STDOUT/STDERR and forward signals
    #[arg(short, long)]
    attach: bool,
    /// Attach container's STDIN
    #[arg(short, long)]
    interactive: bool,
    containers: Vec<String>,
}

/// Flags of `wharf attach`.
#[derive(Debug, Args)]
pub struct Attach {
    /// Do not attach STDIN
    #[arg(long)]
    no_stdin: bool,
    /// Proxy all received signals to the process (default true)
    #[arg(long, value_name = "bool", num_args = 0..=1, default_missing_value = "true", hide_default_value = true)]
    sig_proxy: Option<bool>,
    container: String,
}

/// Flags of `wharf wait`.
#[derive(Debug, Args)]
pub struct Wait {
    containers: Vec<String>,
}

/// Flags of `wharf port`.
#[derive(Debug, Args)]
pub struct Port {
    container: String,
    port: Option<String>,
}

impl Start {
    /// Starts containers that were made or have ended; stays with one when asked to.
    ///
    /// # Errors
    /// All that failed, a line each.
    pub fn execute(self, app: &App) -> Result<ExitCode> {
        if !self.attach && !self.interactive {
            return each(app, &self.containers, |word| {
                start_one(app, word, Hello::default()).map(drop)
            });
        }
        let [word] = self.containers.as_slice() else {
            return Err(Error::new(
                Kind::BadArguments,
                "you cannot start and attach multiple containers at once",
            ));
        };
        let containers = Containers::new(app.store()?);
        let state = lifecycle::find(app, &containers, word)?.into_state()?;
        let terminal = state.process.terminal;
        let input = self.interactive && state.process.interactive;
        let size = if terminal { terminal_size() } else { None };
        let caught = Signals::catch()?;
        let hello = Hello {
            output: true,
            input,
            size,
            ..Hello::default()
        };
        let (state, running) = start_one(app, word, hello)?;
        let mut running = running.ok_or_else(|| {
            Error::new(
                Kind::Conflict,
                format!("container {} runs already: use wharf attach", state.id.short()),
            )
        })?;
        let wanted = Wanted {
            input,
            terminal,
            signals: !terminal,
        };
        stay(&mut running, wanted, &caught, &containers, &state)
    }
}

/// Starts a container; no connection when it runs already.
fn start_one(app: &App, word: &str, hello: Hello) -> Result<(State, Option<Running>)> {
    let containers = Containers::new(app.store()?);
    let state = lifecycle::find(app, &containers, word)?.into_state()?;
    let lock = match take(&containers, &state.id)? {
        Hands::Ours(lock) => lock,
        Hands::Shim(_) => return Ok((state, None)),
        Hands::Gone => {
            return Err(Error::engine(
                Kind::NotFound,
                format!("No such container: {word}"),
            ));
        }
    };
    let hello = Hello {
        version: VERSION,
        ..hello
    };
    let running = lifecycle::start(app, &containers, &state.id, lock, hello)?;
    Ok((state, Some(running)))
}

impl Attach {
    /// Attaches to a running container.
    ///
    /// # Errors
    /// A container that does not exist or run.
    pub fn execute(self, app: &App) -> Result<ExitCode> {
        let containers = Containers::new(app.store()?);
        let state = lifecycle::find(app, &containers, &self.container)?.into_state()?;
        let terminal = state.process.terminal;
        let input = state.process.interactive && !self.no_stdin;
        if terminal && input && !std::io::stdin().is_terminal() {
            return Err(Error::new(Kind::BadArguments, "the input device is not a TTY"));
        }
        let caught = Signals::catch()?;
        let mut running = Running::connect(&containers, &state.id)?.ok_or_else(|| {
            Error::new(
                Kind::Conflict,
                "You cannot attach to a stopped container, start it first",
            )
        })?;
        let size = if terminal { terminal_size() } else { None };
        running.send(&Frame::Hello(Hello {
            version: VERSION,
            output: true,
            input,
            size,
        }));
        let wanted = Wanted {
            input,
            terminal,
            signals: self.sig_proxy.unwrap_or(true) && !terminal,
        };
        stay(&mut running, wanted, &caught, &containers, &state)
    }
}

impl Wait {
    /// Waits for containers to end and prints their exit codes.
    ///
    /// # Errors
    /// All that failed, a line each.
    pub fn execute(self, app: &App) -> Result<ExitCode> {
        let containers = Containers::new(app.store()?);
        let mut failed: Vec<Error> = Vec::new();
        for word in &self.containers {
            match wait_for(app, &containers, word) {
                Ok(code) => app.output.line(&code.to_string())?,
                Err(error) => failed.push(error),
            }
        }
        let texts: Vec<String> = failed.iter().map(ToString::to_string).collect();
        match failed.first() {
            Some(first) => Err(Error::new(first.kind(), texts.join("\n"))),
            None => Ok(ExitCode::SUCCESS),
        }
    }
}

fn wait_for(app: &App, containers: &Containers<'_>, word: &str) -> Result<i32> {
    let state = lifecycle::find(app, containers, word)?.into_state()?;
    if let Hands::Shim(mut running) = take(containers, &state.id)? {
        return running.wait(None).map(Option::unwrap_or_default);
    }
    // It may have ended between the two looks.
    let state = containers.find(state.id.as_str())?.into_state()?;
    match state.status {
        Status::Exited { code, .. } => Ok(code),
        _ => Ok(0),
    }
}

impl Port {
    /// Prints where a container's ports are published.
    ///
    /// # Errors
    /// A container that does not exist, a port that is not published.
    pub fn execute(self, app: &App) -> Result<ExitCode> {
        let containers = Containers::new(app.store()?);
        let state = lifecycle::find(app, &containers, &self.container)?.into_state()?;
        let mut ports = state.lease().map_or_else(Vec::new, |lease| lease.ports.clone());
        ports.sort_by_key(|port| (port.container_port, port.host.is_ipv6()));
        let Some(wanted) = self.port else {
            for port in ports {
                app.output
                    .line(&format!("{}/tcp -> {}", port.container_port, port.host))?;
            }
            return Ok(ExitCode::SUCCESS);
        };
        let (number, protocol) = wanted.split_once('/').unwrap_or((&wanted, "tcp"));
        let number: u16 = number.parse().map_err(|_bad: std::num::ParseIntError| {
            Error::new(Kind::BadArguments, format!("invalid port: {wanted}"))
        })?;
        ports.retain(|port| port.container_port == number && protocol == "tcp");
        if ports.is_empty() {
            let text = format!(
                "no public port '{number}/{protocol}' published for {}",
                self.container
            );
            return Err(Error::new(Kind::NotFound, text));
        }
        for port in ports {
            app.output.line(&port.host.to_string())?;
        }
        Ok(ExitCode::SUCCESS)
    }
}
