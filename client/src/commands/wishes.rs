//! The flags that `run` and `create` share, and what they wish.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Args;

use crate::container::create::Wishes;
use crate::container::state::{Host, Limits, NetworkMode};
use crate::container::{bind, env, signal, spec};
use crate::error::{Error, Kind, Result};
use crate::network::Binding;

/// The least memory that a container may be limited to, in bytes.
const MEMORY_BYTES_MIN: i64 = 6 << 20;

/// Flags of `wharf run` and `wharf create`.
#[derive(Debug, Args)]
pub(super) struct WishFlags {
    /// Add a custom host-to-IP mapping (host:ip)
    #[arg(long, value_name = "list")]
    add_host: Vec<String>,
    /// Add Linux capabilities
    #[arg(long, value_name = "list")]
    cap_add: Vec<String>,
    /// Drop Linux capabilities
    #[arg(long, value_name = "list")]
    cap_drop: Vec<String>,
    /// Number of CPUs
    #[arg(long, value_name = "decimal")]
    cpus: Option<String>,
    /// Overwrite the default ENTRYPOINT of the image
    #[arg(long, value_name = "string")]
    entrypoint: Option<String>,
    /// Set environment variables
    #[arg(short, long, value_name = "list")]
    env: Vec<String>,
    /// Read in a file of environment variables
    #[arg(long, value_name = "list")]
    env_file: Vec<PathBuf>,
    /// Container host name
    #[arg(short = 'h', long, value_name = "string")]
    hostname: Option<String>,
    /// Keep STDIN open even if not attached
    #[arg(short, long)]
    pub(super) interactive: bool,
    /// Set meta data on a container
    #[arg(short, long, value_name = "list")]
    label: Vec<String>,
    /// Memory limit
    #[arg(short, long, value_name = "bytes")]
    memory: Option<String>,
    /// Assign a name to the container
    #[arg(long, value_name = "string")]
    name: Option<String>,
    /// Connect a container to a network
    #[arg(long, value_name = "network", alias = "net")]
    network: Option<String>,
    /// Tune container pids limit (set -1 for unlimited)
    #[arg(long, value_name = "int", allow_hyphen_values = true)]
    pids_limit: Option<i64>,
    /// Set platform if server is multi-platform capable
    #[arg(long, value_name = "string")]
    pub(super) platform: Option<String>,
    /// Publish a container's port(s) to the host
    #[arg(short, long, value_name = "list")]
    publish: Vec<String>,
    /// Publish all exposed ports to random ports
    #[arg(short = 'P', long)]
    publish_all: bool,
    /// Pull image before running ("always", "missing", "never")
    #[arg(long, value_name = "string", default_value = "missing")]
    pub(super) pull: String,
    /// Suppress the pull output
    #[arg(short, long)]
    pub(super) quiet: bool,
    /// Mount the container's root filesystem as read only
    #[arg(long)]
    read_only: bool,
    /// Automatically remove the container and its associated anonymous volumes when it exits
    #[arg(long)]
    rm: bool,
    /// Signal to stop the container
    #[arg(long, value_name = "string")]
    stop_signal: Option<String>,
    /// Timeout (in seconds) to stop a container
    #[arg(long, value_name = "int")]
    stop_timeout: Option<u64>,
    /// Allocate a pseudo-TTY
    #[arg(short, long)]
    pub(super) tty: bool,
    /// Username or UID (format: <name|uid>[:<group|gid>])
    #[arg(short, long, value_name = "string")]
    user: Option<String>,
    /// Bind mount a volume
    #[arg(short, long, value_name = "list")]
    volume: Vec<String>,
    /// Working directory inside the container
    #[arg(short, long, value_name = "string")]
    workdir: Option<String>,
}

impl WishFlags {
    /// What the flags wish for; `command` is what stands behind the image.
    ///
    /// # Errors
    /// Docker's words for values that cannot be.
    pub(super) fn into_wishes(self, command: Vec<String>, attached: bool) -> Result<Wishes> {
        let own = |name: &str| std::env::var(name).ok();
        let mut variables = Vec::new();
        for path in &self.env_file {
            variables.extend(env::file(path, own)?);
        }
        for text in &self.env {
            variables.push(env::variable(text, own)?);
        }
        if let Some(text) = &self.stop_signal {
            signal::parse(text)?;
        }
        let host = self.host()?;
        Ok(Wishes {
            name: self.name,
            entrypoint: self.entrypoint,
            command,
            env: variables,
            working_dir: self.workdir,
            user: self.user,
            hostname: self.hostname,
            labels: labels(&self.label),
            terminal: self.tty,
            interactive: self.interactive,
            attached,
            stop_signal: self.stop_signal,
            stop_timeout_s: self.stop_timeout,
            publish_all: self.publish_all,
            host,
        })
    }

    fn host(&self) -> Result<Host> {
        let mut publish = Vec::new();
        for text in &self.publish {
            let Binding(requests) = text.parse().map_err(|error: crate::network::PortError| {
                let kind = match error {
                    crate::network::PortError::Protocol(_) => Kind::Unsupported,
                    _ => Kind::BadFlag,
                };
                Error::new(kind, error.to_string())
            })?;
            publish.extend(requests);
        }
        let here = std::env::current_dir().map_err(|error| Error::io("find the current folder", error))?;
        let binds = self
            .volume
            .iter()
            .map(|text| bind::parse(text, &here))
            .collect::<Result<Vec<_>>>()?;
        bind::refuse_duplicates(&binds)?;
        let capabilities = |names: &[String]| {
            let normalised = names.iter().map(|name| spec::normalise_capability(name));
            normalised
                .collect::<Result<Vec<_>, _>>()
                .map_err(|text| Error::engine(Kind::BadArguments, text))
        };
        Ok(Host {
            network: network(self.network.as_deref())?,
            publish,
            binds,
            cap_add: capabilities(&self.cap_add)?,
            cap_drop: capabilities(&self.cap_drop)?,
            read_only: self.read_only,
            auto_remove: self.rm,
            extra_hosts: self
                .add_host
                .iter()
                .map(|text| extra_host(text))
                .collect::<Result<_>>()?,
            limits: self.limits()?,
        })
    }

    fn limits(&self) -> Result<Limits> {
        let invalid = |flag: &str, value: &str| {
            Error::new(
                Kind::BadFlag,
                format!("invalid argument \"{value}\" for \"{flag}\" flag: invalid value"),
            )
        };
        let memory = self
            .memory
            .as_ref()
            .map(|text| env::bytes(text).ok_or_else(|| invalid("-m, --memory", text)));
        let memory_bytes = memory.transpose()?.filter(|bytes| *bytes > 0);
        if memory_bytes.is_some_and(|bytes| bytes < MEMORY_BYTES_MIN) {
            return Err(Error::engine(
                Kind::BadArguments,
                "Minimum memory limit allowed is 6MB",
            ));
        }
        let cpus = self
            .cpus
            .as_ref()
            .map(|text| env::nano_cpus(text).ok_or_else(|| invalid("--cpus", text)));
        Ok(Limits {
            memory_bytes,
            nano_cpus: cpus.transpose()?,
            pids: self.pids_limit.filter(|limit| *limit != 0),
        })
    }
}

fn labels(texts: &[String]) -> BTreeMap<String, String> {
    let pair = |text: &String| {
        let (key, value) = text.split_once('=').unwrap_or((text, ""));
        (key.to_owned(), value.to_owned())
    };
    texts.iter().map(pair).collect()
}

fn network(name: Option<&str>) -> Result<NetworkMode> {
    match name.unwrap_or("default") {
        "default" | "bridge" => Ok(NetworkMode::Bridge),
        "none" => Ok(NetworkMode::None),
        "host" => Ok(NetworkMode::Host),
        other if other.starts_with("container:") => Err(Error::new(
            Kind::Unsupported,
            format!("--network {other}: joining another container's network is not supported yet"),
        )),
        other => Err(Error::engine(
            Kind::NotFound,
            format!("network {other} not found"),
        )),
    }
}

fn extra_host(text: &str) -> Result<(String, String)> {
    let bad = || {
        Error::new(
            Kind::BadFlag,
            format!(
                "invalid argument \"{text}\" for \"--add-host\" flag: bad format for add-host: \"{text}\""
            ),
        )
    };
    let (name, address) = text
        .split_once('=')
        .or_else(|| text.split_once(':'))
        .ok_or_else(bad)?;
    let address = address.trim_start_matches('[').trim_end_matches(']');
    if name.is_empty() || address.parse::<std::net::IpAddr>().is_err() {
        return Err(bad());
    }
    Ok((name.to_owned(), address.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_hosts_and_labels_are_read() {
        assert_eq!(network(None).unwrap(), NetworkMode::Bridge);
        assert_eq!(network(Some("nosuch")).unwrap_err().kind(), Kind::NotFound);
        assert_eq!(
            network(Some("container:x")).unwrap_err().kind(),
            Kind::Unsupported
        );
        assert_eq!(
            extra_host("db:10.0.0.9").unwrap(),
            ("db".to_owned(), "10.0.0.9".to_owned())
        );
        assert_eq!(extra_host("db=[::1]").unwrap().1, "::1");
        assert!(extra_host("db").is_err() && extra_host("db:nowhere").is_err());
        assert_eq!(labels(&["a=b=c".to_owned(), "d".to_owned()]).len(), 2);
    }
}
