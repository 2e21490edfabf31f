//! Where settings come from: flags over environment over file over defaults.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::{ConfigError, Given};
use crate::cli::{Places, Serve};

/// What each variable of the environment begins with that is meant for us.
const PREFIX: &str = "WHARF_REGISTRY_";

/// The settings as given, taken one by one; what is left at the end is unknown.
#[derive(Debug, Default)]
pub(super) struct Layers {
    file: Given,
    environment: Given,
    flags: Given,
    known: BTreeSet<String>,
    pub(super) problems: Vec<String>,
    pub(super) warnings: Vec<String>,
    pub(super) shown: Vec<(String, String, String)>,
}

impl Layers {
    /// Collects what each layer says, without judging the values.
    pub(super) fn read(
        places: &Places,
        serve: &Serve,
        environment: impl Iterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let mut layers = Self::default();
        for (name, value) in environment {
            if let Some(rest) = name.strip_prefix(PREFIX) {
                let key = rest.to_ascii_lowercase().replace("__", ".");
                layers.environment.insert(key, (value, name.clone()));
            }
        }
        for (flag, value) in [
            ("data-dir", &places.data_dir),
            ("database", &places.database),
            ("storage", &places.storage),
            ("listen", &serve.listen),
            ("tls-cert", &serve.tls_cert),
            ("tls-key", &serve.tls_key),
            ("admin-password-file", &serve.admin_password_file),
        ] {
            if let Some(value) = value {
                layers
                    .flags
                    .insert(flag.replace('-', "_"), (value.clone(), format!("--{flag}")));
            }
        }
        let from_environment = layers.environment.remove("config");
        let file = places
            .config
            .clone()
            .or_else(|| from_environment.map(|(path, _)| PathBuf::from(path)));
        if let Some(path) = file {
            layers.file = read_file(&path)?;
        }
        Ok(layers)
    }

    /// Takes one setting and parses it; a bad one becomes a problem.
    pub(super) fn take<T>(
        &mut self,
        key: &str,
        default: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        self.known.insert(key.to_owned());
        let given = [&self.flags, &self.environment, &self.file]
            .into_iter()
            .find_map(|layer| layer.get(key));
        let (text, source) = given.map_or((default, "default"), |(text, source)| (text, source));
        match parse(text.trim()) {
            Ok(value) => {
                self.shown
                    .push((key.to_owned(), without_password(text), source.to_owned()));
                Some(value)
            }
            Err(fix) => {
                let text = without_password(text);
                self.problems
                    .push(format!("{key}: {text:?} (from {source}): {fix}"));
                None
            }
        }
    }

    /// Warns of settings that were given and taken, but that have no effect beside another one.
    pub(super) fn warn_unused(&mut self, prefix: &str, why: &str) {
        let given = self.shown.iter();
        let given = given.filter(|(key, _, source)| key.starts_with(prefix) && source != "default");
        self.warnings
            .extend(given.map(|(key, _, source)| format!("{key} (from {source}) is not used: {why}")));
    }

    /// Joins two settings that are only good together.
    pub(super) fn pair(
        &mut self,
        first: &str,
        one: Option<Option<PathBuf>>,
        second: &str,
        two: Option<Option<PathBuf>>,
    ) -> Option<Option<(PathBuf, PathBuf)>> {
        match (one?, two?) {
            (Some(one), Some(two)) => Some(Some((one, two))),
            (None, None) => Some(None),
            (Some(_), None) => {
                self.problems
                    .push(format!("{second}: not set, but {first} is: set both or neither"));
                None
            }
            (None, Some(_)) => {
                self.problems
                    .push(format!("{first}: not set, but {second} is: set both or neither"));
                None
            }
        }
    }

    /// Reports what no setting took: an error in the file, a warning in the environment, where others (Kubernetes)
    /// put variables that only look like ours.
    pub(super) fn finish(&mut self) {
        for (key, (_, source)) in &self.file {
            if !self.known.contains(key) {
                let near = nearest(key, &self.known).map(|near| format!(", did you mean {near}?"));
                self.problems.push(format!(
                    "{key}: unknown setting (from {source}){}",
                    near.unwrap_or_default()
                ));
            }
        }
        for (key, (_, name)) in &self.environment {
            if !self.known.contains(key) {
                self.warnings
                    .push(format!("the variable {name} names no setting and is not used"));
            }
        }
    }
}

/// Reads the file into dotted names; `-` and `_` are the same in a name.
fn read_file(path: &Path) -> Result<Given, ConfigError> {
    let shown = path.display();
    let one = |problem: String| ConfigError {
        problems: vec![problem],
    };
    let text = std::fs::read_to_string(path).map_err(|error| {
        one(format!(
            "config: reading {shown}: {error}: give --config a TOML file that can be read"
        ))
    })?;
    let table: toml::Table = text
        .parse()
        .map_err(|error| one(format!("config: {shown} is not TOML: {}", one_line(&error))))?;
    let mut given = Given::new();
    flatten("", &table, &shown.to_string(), &mut given)?;
    Ok(given)
}

fn flatten(prefix: &str, table: &toml::Table, file: &str, given: &mut Given) -> Result<(), ConfigError> {
    for (name, value) in table {
        let key = format!("{prefix}{}", name.replace('-', "_"));
        if let toml::Value::Table(inner) = value {
            flatten(&format!("{key}."), inner, file, given)?;
            continue;
        }
        let Some(text) = scalar(value) else {
            let problem =
                format!("{key}: (from {file}): must be text, a number, true, false, or a list of those");
            return Err(ConfigError {
                problems: vec![problem],
            });
        };
        given.insert(key, (text, file.to_owned()));
    }
    Ok(())
}

/// Writes a TOML value as a flag or a variable would hold it; a list is joined by commas.
fn scalar(value: &toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Float(number) => Some(number.to_string()),
        toml::Value::Boolean(switch) => Some(switch.to_string()),
        // A list of tables is read by the setting itself, as TOML.
        toml::Value::Array(values) if values.iter().all(toml::Value::is_table) && !values.is_empty() => {
            Some(value.to_string())
        }
        toml::Value::Array(values) => values
            .iter()
            .map(scalar)
            .collect::<Option<Vec<_>>>()
            .map(|texts| texts.join(",")),
        toml::Value::Datetime(_) | toml::Value::Table(_) => None,
    }
}

/// Blanks the password of a URL, `scheme://user:password@host`.
fn without_password(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else {
        return text.to_owned();
    };
    let Some((login, host)) = rest.rsplit_once('@') else {
        return text.to_owned();
    };
    let user = login.split(':').next().unwrap_or_default();
    format!("{scheme}://{user}:***@{host}")
}

/// Joins an error of several lines into one.
fn one_line(error: &toml::de::Error) -> String {
    error
        .to_string()
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

/// Finds the known name that shares the longest beginning or the last word with `key`.
fn nearest<'a>(key: &str, known: &'a BTreeSet<String>) -> Option<&'a String> {
    let common = |a: &str, b: &str| a.bytes().zip(b.bytes()).take_while(|(a, b)| a == b).count();
    known
        .iter()
        .map(|name| (common(name, key), name))
        .filter(|(same, _)| *same >= 3)
        .max()
        .map(|(_, name)| name)
}
