//! `wharf login`.

use std::io::{BufRead, IsTerminal, Read};
use std::process::ExitCode;

use clap::Args;
use rustix::termios::{LocalModes, OptionalActions};

use crate::app::App;
use crate::config::DOCKER_HUB;
use crate::error::{Error, Kind, Result};
use crate::remote::credentials::{Credentials, Login as Identity};
use crate::remote::{Registry, RemoteError};

/// The longest password that is read.
const MAX_PASSWORD_BYTES: u64 = 64 << 10;

/// Flags of `wharf login`.
#[derive(Debug, Args)]
pub struct Login {
    /// Password or Personal Access Token (PAT)
    #[arg(short, long, value_name = "string")]
    password: Option<String>,
    /// Take the Password or Personal Access Token (PAT) from stdin
    #[arg(long)]
    password_stdin: bool,
    /// Username
    #[arg(short, long, value_name = "string")]
    username: Option<String>,
    server: Option<String>,
}

impl Login {
    /// Checks a login with the registry and keeps it.
    ///
    /// # Errors
    /// [`Kind::Denied`] for a wrong login, [`Kind::BadArguments`] for flags that do not go together.
    pub async fn execute(self, app: &App) -> Result<ExitCode> {
        let host = host_of(self.server.as_deref(), app);
        let bad = |text: &str| Err(Error::new(Kind::BadArguments, text));
        if self.password.is_some() {
            app.output
                .note("WARNING! Using --password via the CLI is insecure. Use --password-stdin.");
            if self.password_stdin {
                return bad("conflicting options: cannot specify both --password and --password-stdin");
            }
        }
        let password = if self.password_stdin {
            if self.username.as_deref().unwrap_or_default().is_empty() {
                return bad("the --password-stdin option requires --username to be set");
            }
            let mut text = String::new();
            std::io::stdin()
                .take(MAX_PASSWORD_BYTES)
                .read_to_string(&mut text)
                .map_err(|error| Error::io("read the password from stdin", error))?;
            Some(text.trim_end_matches(['\n', '\r']).to_owned())
        } else {
            self.password
        };
        match (self.username, password) {
            (Some(user), Some(password)) => {
                if user.is_empty() || password.is_empty() {
                    return bad("username and password must not be empty");
                }
                check_and_keep(app, &host, user, password).await?;
            }
            (None, None) if with_what_is_known(app, &host).await? => {}
            (user, _) => interactive(app, &host, user).await?,
        }
        app.output.line("Login Succeeded")?;
        Ok(ExitCode::SUCCESS)
    }
}

/// The host of what a user typed: an address's host, or nothing for the default registry.
pub(crate) fn host_of(server: Option<&str>, app: &App) -> String {
    let typed = server.unwrap_or(&app.settings.default_registry);
    let typed = typed.trim_start_matches("https://").trim_start_matches("http://");
    let host = typed.split('/').next().unwrap_or(typed);
    if host == "index.docker.io" {
        DOCKER_HUB.to_owned()
    } else {
        host.to_owned()
    }
}

/// Tries the login that is kept already.
async fn with_what_is_known(app: &App, host: &str) -> Result<bool> {
    let Some(login) = Credentials::load(&app.docker_config)?.get(host)? else {
        return Ok(false);
    };
    app.output.note(&format!(
        "Authenticating with existing credentials... [Username: {}]",
        login.user()
    ));
    let registry = Registry::new(host, Some(login), &app.settings)?;
    match registry.log_in().await {
        Ok(_) => Ok(true),
        Err(error) => {
            app.output
                .note(&format!("Login did not succeed, error: {}", Error::from(error)));
            Ok(false)
        }
    }
}

/// Asks a person for a name and a password, then logs in.
pub(crate) async fn interactive(app: &App, host: &str, user: Option<String>) -> Result<()> {
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        return Err(Error::new(
            Kind::BadArguments,
            "Error: Cannot perform an interactive login from a non TTY device",
        ));
    }
    let read = || {
        let mut line = String::new();
        stdin
            .lock()
            .read_line(&mut line)
            .map_err(|error| Error::io("read from the terminal", error))?;
        Ok::<String, Error>(line.trim_end_matches(['\n', '\r']).to_owned())
    };
    let user = match user {
        Some(user) => user,
        None => {
            app.output.note_bytes(b"Username: ");
            read()?
        }
    };
    app.output.note_bytes(b"Password: ");
    let failed = |error: rustix::io::Errno| {
        Error::io("hide the password on the terminal", std::io::Error::from(error))
    };
    let before = rustix::termios::tcgetattr(&stdin).map_err(failed)?;
    let mut hidden = before.clone();
    hidden.local_modes.remove(LocalModes::ECHO);
    rustix::termios::tcsetattr(&stdin, OptionalActions::Now, &hidden).map_err(failed)?;
    let password = read();
    rustix::termios::tcsetattr(&stdin, OptionalActions::Now, &before).map_err(failed)?;
    app.output.note("");
    let password = password?;
    if user.is_empty() || password.is_empty() {
        return Err(Error::new(
            Kind::BadArguments,
            "Error: Non-null Username and Password Required",
        ));
    }
    check_and_keep(app, host, user, password).await
}

/// Logs in and keeps what proved to be right: the registry's refresh token where it gives one, else the
/// password.
async fn check_and_keep(app: &App, host: &str, user: String, password: String) -> Result<()> {
    let login = Identity::Password {
        user: user.clone(),
        password,
    };
    let registry = Registry::new(host, Some(login.clone()), &app.settings)?;
    let refresh_token = registry.log_in().await.map_err(|error| match error {
        RemoteError::Unauthorized { message } => {
            Error::engine(Kind::Denied, format!("Get \"https://{host}/v2/\": {message}"))
        }
        other => other.into(),
    })?;
    let login = refresh_token.map_or(login, |refresh_token| Identity::Token { user, refresh_token });
    let mut credentials = Credentials::load(&app.docker_config)?;
    let known = credentials.get(host).ok().flatten() == Some(login.clone());
    let unencrypted = credentials.put(host, &login)?;
    if unencrypted && !known {
        app.output.note(&format!(
            "\nWARNING! Your credentials are stored unencrypted in '{}'.\nConfigure a credential helper to remove this warning. See\nhttps://docs.docker.com/go/credential-store/\n",
            credentials.path().display()
        ));
    }
    Ok(())
}
