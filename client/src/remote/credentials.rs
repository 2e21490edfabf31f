//! Docker's logins: `config.json` with `auths`, `credsStore`, `credHelpers` and `identitytoken`, shared
//! with docker, helm and others.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::config::DOCKER_HUB;
use crate::error::{Error, Kind, Result};

/// The name under which docker keeps the hub's login.
const HUB_KEY: &str = "https://index.docker.io/v1/";

/// What stands where a helper keeps a refresh token instead of a password.
const TOKEN_USER: &str = "<token>";

/// How somebody proves who they are to one registry.
#[derive(Clone, PartialEq, Eq)]
pub enum Login {
    /// A name and a password.
    Password {
        /// The name.
        user: String,
        /// The password.
        password: String,
    },
    /// A refresh token, which stands for both.
    Token {
        /// The name that it was made for, as far as known.
        user: String,
        /// The token.
        refresh_token: String,
    },
}

/// Says who, never what the secret is.
impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Login")
            .field("user", &self.user())
            .finish_non_exhaustive()
    }
}

impl Login {
    /// Who.
    pub fn user(&self) -> &str {
        match self {
            Self::Password { user, .. } | Self::Token { user, .. } => user,
        }
    }
}

/// The logins of one user, in one folder.
#[derive(Debug)]
pub struct Credentials {
    path: PathBuf,
    document: Map<String, Value>,
}

/// What a credential helper answers and is told.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Helped {
    username: String,
    secret: String,
}

impl Credentials {
    /// Reads the logins; a missing file is one without logins.
    ///
    /// # Errors
    /// A file that cannot be read or is not JSON.
    pub fn load(folder: &Path) -> Result<Self> {
        let path = folder.join("config.json");
        let document = match std::fs::read(&path) {
            Ok(bytes) if bytes.iter().all(u8::is_ascii_whitespace) => Map::new(),
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|cause| {
                Error::new(
                    Kind::Damaged,
                    format!("the configuration file {} is not valid", path.display()),
                )
                .because(cause)
            })?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Map::new(),
            Err(error) => return Err(Error::io(format!("read {}", path.display()), error)),
        };
        Ok(Self { path, document })
    }

    /// The file that they are in.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The login for a registry's host, if there is one.
    ///
    /// # Errors
    /// A helper that is missing or fails.
    pub fn get(&self, host: &str) -> Result<Option<Login>> {
        let key = key_of(host);
        if let Some(helper) = self.helper(host) {
            return ask_helper(helper, key);
        }
        let auths = self.document.get("auths").and_then(Value::as_object);
        let Some(entry) = auths.and_then(|auths| find(auths, host)) else {
            return Ok(None);
        };
        Ok(read_entry(entry))
    }

    /// Keeps a login. Returns whether it lies in the file unencrypted.
    ///
    /// # Errors
    /// A helper that fails, a file that cannot be written.
    pub fn put(&mut self, host: &str, login: &Login) -> Result<bool> {
        let key = key_of(host).to_owned();
        if let Some(helper) = self.helper(host) {
            let (user, secret) = match login {
                Login::Password { user, password } => (user.as_str(), password),
                Login::Token { refresh_token, .. } => (TOKEN_USER, refresh_token),
            };
            let told = json!({"ServerURL": key, "Username": user, "Secret": secret}).to_string();
            run_helper(helper, "store", &told)?;
            self.auths().insert(key, json!({}));
            self.save()?;
            return Ok(false);
        }
        let entry = match login {
            Login::Password { user, password } => {
                json!({"auth": STANDARD.encode(format!("{user}:{password}"))})
            }
            Login::Token { user, refresh_token } => {
                json!({"auth": STANDARD.encode(format!("{user}:")), "identitytoken": refresh_token})
            }
        };
        self.auths().insert(key, entry);
        self.save()?;
        Ok(true)
    }

    /// Forgets a login. Returns whether there was one.
    ///
    /// # Errors
    /// As [`Credentials::put`].
    pub fn remove(&mut self, host: &str) -> Result<bool> {
        let key = key_of(host).to_owned();
        let mut known = false;
        if let Some(helper) = self.helper(host) {
            known = ask_helper(helper, &key)?.is_some();
            if known {
                run_helper(helper, "erase", &key)?;
            }
        }
        let stale: Vec<String> = self
            .auths()
            .keys()
            .filter(|stored| host_of(stored) == host_of(&key))
            .cloned()
            .collect();
        for stored in &stale {
            self.auths().remove(stored);
        }
        if !stale.is_empty() {
            self.save()?;
        }
        Ok(known || !stale.is_empty())
    }

    fn helper(&self, host: &str) -> Option<&str> {
        let per_host = self.document.get("credHelpers").and_then(Value::as_object);
        per_host
            .and_then(|helpers| find(helpers, host))
            .or_else(|| self.document.get("credsStore"))
            .and_then(Value::as_str)
            .filter(|name| !name.is_empty())
    }

    fn auths(&mut self) -> &mut Map<String, Value> {
        let auths = self.document.entry("auths").or_insert_with(|| json!({}));
        if !auths.is_object() {
            *auths = json!({});
        }
        #[expect(clippy::expect_used, reason = "made an object two lines above")]
        auths.as_object_mut().expect("auths is an object")
    }

    fn save(&self) -> Result<()> {
        // The file may be a link into somebody's dotfiles.
        let path = std::fs::canonicalize(&self.path).unwrap_or_else(|_| self.path.clone());
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)
                .map_err(|error| Error::io(format!("make {}", folder.display()), error))?;
        }
        let mut text = Vec::new();
        let mut writer = serde_json::Serializer::with_formatter(
            &mut text,
            serde_json::ser::PrettyFormatter::with_indent(b"\t"),
        );
        serde::Serialize::serialize(&self.document, &mut writer)
            .map_err(|error| Error::io("describe the logins", error))?;
        crate::store::write_durably(&path, &text)
    }
}

/// The name under which docker keeps a host's login.
pub(crate) fn key_of(host: &str) -> &str {
    if matches!(host, DOCKER_HUB | "index.docker.io" | "registry-1.docker.io") {
        HUB_KEY
    } else {
        host
    }
}

/// The host in a key, which older tools wrote as an address.
fn host_of(key: &str) -> &str {
    let key = key.trim_start_matches("https://").trim_start_matches("http://");
    key.split('/').next().unwrap_or(key)
}

fn find<'a>(entries: &'a Map<String, Value>, host: &str) -> Option<&'a Value> {
    let key = key_of(host);
    entries.get(key).or_else(|| entries.get(host)).or_else(|| {
        entries
            .iter()
            .find(|(stored, _)| host_of(stored) == host_of(key))
            .map(|(_, entry)| entry)
    })
}

fn read_entry(entry: &Value) -> Option<Login> {
    let text = |name: &str| {
        entry
            .get(name)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let decoded = STANDARD
        .decode(text("auth"))
        .ok()
        .and_then(|bytes| String::from_utf8(bytes).ok());
    let (user, password) = match decoded.as_deref().and_then(|pair| pair.split_once(':')) {
        // Older writers end the password with zeros.
        Some((user, password)) => (user.to_owned(), password.trim_end_matches('\0').to_owned()),
        None => (text("username"), text("password")),
    };
    let refresh_token = text("identitytoken");
    if !refresh_token.is_empty() {
        return Some(Login::Token { user, refresh_token });
    }
    (!user.is_empty() || !password.is_empty()).then_some(Login::Password { user, password })
}

fn ask_helper(helper: &str, key: &str) -> Result<Option<Login>> {
    let answer = match run_helper(helper, "get", key) {
        Ok(answer) => answer,
        Err(error) if error.kind() == Kind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let Helped { username, secret } = serde_json::from_str(&answer).map_err(|cause| {
        Error::new(
            Kind::System,
            format!("docker-credential-{helper} answered no login"),
        )
        .because(cause)
    })?;
    Ok(Some(if username == TOKEN_USER {
        Login::Token {
            user: String::new(),
            refresh_token: secret,
        }
    } else {
        Login::Password {
            user: username,
            password: secret,
        }
    }))
}

/// Runs `docker-credential-NAME ACTION` with this on its stdin; what it does not know is [`Kind::NotFound`].
fn run_helper(helper: &str, action: &str, input: &str) -> Result<String> {
    let program = format!("docker-credential-{helper}");
    let failed = |cause: std::io::Error| {
        Error::io(format!("run {program} {action}"), cause)
            .hint("The configuration's credsStore or credHelpers names it; install it or remove the name.")
    };
    if helper.contains('/') {
        return Err(Error::new(
            Kind::BadArguments,
            format!("{helper:?} is not a credential helper's name"),
        ));
    }
    let mut child = Command::new(&program)
        .arg(action)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .map_err(failed)?;
    if let Some(mut stdin) = child.stdin.take() {
        // A helper that does not read what it is told says why by its exit code.
        drop(stdin.write_all(input.as_bytes()));
    }
    let output = child.wait_with_output().map_err(failed)?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if output.status.success() {
        return Ok(text);
    }
    let kind = if text.contains("credentials not found") {
        Kind::NotFound
    } else {
        Kind::System
    };
    Err(Error::new(kind, format!("{program} {action} failed: {text}")))
}

#[cfg(test)]
mod tests;
