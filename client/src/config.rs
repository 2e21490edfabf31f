//! What the user configured: `/etc/wharf/config.toml`, then `~/.config/wharf/config.toml`, then the
//! environment; each overrides what came before.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::error::{Error, Kind, Result};

/// The registry that a bare name means when nobody set another.
pub const DOCKER_HUB: &str = "docker.io";

/// The settings, read and merged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The registry that a name without a host means.
    pub default_registry: String,
    /// The OCI runtime's program, when not the one beside `wharf` or on PATH.
    pub runtime: Option<PathBuf>,
    registries: BTreeMap<String, Registry>,
}

/// What is set for one registry host.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Registry {
    /// Hosts to pull from first, in this order; the registry itself is asked last.
    #[serde(default)]
    pub mirrors: Vec<String>,
    /// The prefix put before every repository's name (`cache/` makes `app` into `cache/app`).
    #[serde(default)]
    pub rewrite_prefix: Option<String>,
    /// Plain HTTP is spoken, or a certificate nobody vouches for accepted.
    #[serde(default)]
    pub insecure: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct File {
    default_registry: Option<String>,
    runtime: Option<PathBuf>,
    #[serde(default)]
    registry: BTreeMap<String, Registry>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            default_registry: DOCKER_HUB.to_owned(),
            runtime: None,
            registries: BTreeMap::new(),
        }
    }
}

impl Settings {
    /// Reads the settings of this machine and user.
    ///
    /// # Errors
    /// A file that cannot be read or holds an unknown key; the error names it.
    pub fn load() -> Result<Self> {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let user = variable("XDG_CONFIG_HOME")
            .map(PathBuf::from)
            .or_else(|| variable("HOME").map(|home| Path::new(&home).join(".config")))
            .map(|folder| folder.join("wharf/config.toml"));
        let files = [Some(PathBuf::from("/etc/wharf/config.toml")), user];
        let mut settings = Self::default();
        for path in files.into_iter().flatten() {
            match std::fs::read_to_string(&path) {
                Ok(text) => settings.merge(&path, &text)?,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(Error::io(format!("read {}", path.display()), error)),
            }
        }
        if let Some(host) = variable("WHARF_DEFAULT_REGISTRY") {
            settings.default_registry = host;
        }
        if let Some(runtime) = variable("WHARF_RUNTIME") {
            settings.runtime = Some(PathBuf::from(runtime));
        }
        Ok(settings)
    }

    /// What is set for a registry host.
    pub fn registry(&self, host: &str) -> Registry {
        self.registries.get(host).cloned().unwrap_or_default()
    }

    fn merge(&mut self, path: &Path, text: &str) -> Result<()> {
        let file: File = toml::from_str(text).map_err(|cause| {
            Error::new(
                Kind::BadArguments,
                format!("the configuration file {} is wrong", path.display()),
            )
            .because(cause)
        })?;
        if let Some(host) = file.default_registry {
            self.default_registry = host;
        }
        if file.runtime.is_some() {
            self.runtime = file.runtime;
        }
        self.registries.extend(file.registry);
        Ok(())
    }
}

/// The folder of docker's client configuration: the flag, `DOCKER_CONFIG`, `~/.docker`.
pub fn docker_folder(flag: Option<String>) -> PathBuf {
    flag.or_else(|| std::env::var("DOCKER_CONFIG").ok())
        .filter(|folder| !folder.is_empty())
        .map_or_else(
            || Path::new(&std::env::var("HOME").unwrap_or_else(|_| "/".to_owned())).join(".docker"),
            PathBuf::from,
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_file_overrides_and_an_unknown_key_is_named() {
        let mut settings = Settings::default();
        let path = Path::new("config.toml");
        settings
            .merge(
                path,
                "default-registry = 'a.example'\n[registry.'docker.io']\nmirrors = ['m.example']\n",
            )
            .unwrap();
        settings.merge(path, "default-registry = 'b.example'\n").unwrap();
        assert_eq!(settings.default_registry, "b.example");
        assert_eq!(settings.registry("docker.io").mirrors, ["m.example"]);
        let error = settings.merge(path, "defaultregistry = 'x'\n").unwrap_err();
        assert!(error.to_string().contains("defaultregistry"), "{error}");
    }
}
