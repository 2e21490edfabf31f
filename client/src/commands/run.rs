//! `wharf run` and `wharf create`.

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::Args;

use super::wishes::WishFlags;
use crate::app::App;
use crate::container::attach::{Control, End, Signals, Wanted, attach, terminal_size};
use crate::container::create::{self, Source};
use crate::container::lifecycle::{Running, start};
use crate::container::{Containers, Lock, State};
use crate::error::{Error, Kind, Result};
use crate::image::catalog::Catalog;
use crate::image::name::Name;
use crate::image::{platform, pull};
use crate::output::progress::Progress;
use crate::shim::wire::{Hello, VERSION};

/// Flags of `wharf run`.
#[derive(Debug, Args)]
pub struct Run {
    /// Run container in background and print container ID
    #[arg(short, long)]
    detach: bool,
    /// Proxy received signals to the process (default true)
    #[arg(long, value_name = "bool", num_args = 0..=1, default_missing_value = "true", hide_default_value = true)]
    sig_proxy: Option<bool>,
    #[command(flatten)]
    wishes: WishFlags,
    image: String,
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
}

/// Flags of `wharf create`.
#[derive(Debug, Args)]
pub struct Create {
    #[command(flatten)]
    wishes: WishFlags,
    image: String,
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
}

impl Create {
    /// Makes a container and prints its id.
    ///
    /// # Errors
    /// As [`create::create`], and what a pull may say.
    pub async fn execute(self, app: &App) -> Result<ExitCode> {
        let made = make(app, self.wishes, &self.image, self.command, true).await;
        let (state, _lock) = made.map_err(|error| error.of_command("create"))?;
        app.output.line(state.id.as_str())?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Run {
    /// Makes a container, starts it and stays with it, or prints its id.
    ///
    /// # Errors
    /// As [`create::create`], [`start`] and [`attach`].
    pub async fn execute(self, app: &App) -> Result<ExitCode> {
        let (terminal, interactive, detach) = (self.wishes.tty, self.wishes.interactive, self.detach);
        if terminal && interactive && !detach && !std::io::stdin().is_terminal() {
            return Err(Error::new(Kind::BadArguments, "the input device is not a TTY"));
        }
        let signals = self.sig_proxy.unwrap_or(true) && !terminal;
        let made = make(app, self.wishes, &self.image, self.command, !detach).await;
        let (state, lock) = made.map_err(|error| error.of_command("run"))?;
        let hello = Hello {
            version: VERSION,
            output: !detach,
            input: interactive && !detach,
            size: if terminal { terminal_size() } else { None },
        };
        let containers = Containers::new(app.store()?);
        if detach {
            app.output.line(state.id.as_str())?;
            start(app, &containers, &state.id, lock, hello).map_err(|error| error.of_command("run"))?;
            return Ok(ExitCode::SUCCESS);
        }
        let caught = Signals::catch()?;
        let mut running =
            start(app, &containers, &state.id, lock, hello).map_err(|error| error.of_command("run"))?;
        let wanted = Wanted {
            input: interactive,
            terminal,
            signals,
        };
        stay(&mut running, wanted, &caught, &containers, &state)
    }
}

/// Stays with a running container until it ends or the user leaves.
pub(super) fn stay(
    running: &mut Running,
    wanted: Wanted,
    caught: &Signals,
    containers: &Containers<'_>,
    state: &State,
) -> Result<ExitCode> {
    let control = Control {
        containers,
        id: &state.id,
    };
    match attach(running, wanted, caught, &control)? {
        End::Exited(code) => Ok(ExitCode::from(u8::try_from(code & 0xff).unwrap_or(u8::MAX))),
        End::Detached => Ok(ExitCode::SUCCESS),
    }
}

async fn make(
    app: &App,
    flags: WishFlags,
    image: &str,
    command: Vec<String>,
    attached: bool,
) -> Result<(State, Lock)> {
    let policy = flags.pull.clone();
    let wanted = flags.platform.as_deref().map(platform::parse).transpose()?;
    let progress = if flags.quiet {
        Progress::silent()
    } else {
        Progress::to(&app.output)
    };
    let quiet = flags.quiet;
    let wishes = flags.into_wishes(command, attached)?;
    let store = app.store()?;
    let containers = Containers::new(store);
    containers.sweep();
    let found = Catalog::of(store).find(image, &app.settings);
    let missing = match (policy.as_str(), &found) {
        ("always", _) => true,
        ("missing", Err(error)) if error.kind() == Kind::NotFound => true,
        ("missing" | "never", _) => false,
        (other, _) => {
            return Err(Error::new(
                Kind::BadFlag,
                format!(
                    "invalid pull option: '{other}': must be one of \"always\", \"missing\" or \"never\""
                ),
            ));
        }
    };
    if missing {
        let name = Name::parse(image, &app.settings)?.or_latest();
        let familiar = name.familiar(&app.settings);
        if found.is_err() {
            app.output
                .note(&format!("Unable to find image '{familiar}' locally"));
        }
        let pulled = app
            .until_interrupted(pull::pull(app, &name, wanted.as_ref(), &progress))
            .await;
        progress.finish();
        let pulled = pulled?;
        if !quiet {
            app.output.note(&format!("Digest: {}", pulled.digest));
            let status = if pulled.newer {
                "Downloaded newer image for"
            } else {
                "Image is up to date for"
            };
            app.output.note(&format!("Status: {status} {familiar}"));
        }
    }
    // The image cannot go while a container is made of it.
    let _hold = store.hold()?;
    let (found, _) = if missing {
        Catalog::of(store).find(image, &app.settings)
    } else {
        found
    }?;
    let source = Source {
        reference: image.to_owned(),
        id: found.id.clone(),
        top: found.chain_ids.last().cloned(),
        config: Catalog::of(store).config(&found)?,
    };
    create::create(&containers, &source, wishes, app.now())
}
