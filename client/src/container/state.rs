//! What is known of one container: the one file in its folder.

use std::{collections::BTreeMap, path::PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Id;
use crate::network::{Lease, PublishRequest};

/// The form of the file that this program writes.
pub const VERSION: u32 = 1;

/// One container, as its file holds it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// The form of the file.
    pub version: u32,
    /// The container.
    pub id: Id,
    /// Its name, without docker's slash.
    pub name: String,
    /// When it was made.
    pub created: Timestamp,
    /// What it was made from.
    pub image: Image,
    /// What runs in it.
    pub process: Process,
    /// How it is held by this machine.
    pub host: Host,
    /// Where it is in its life.
    pub status: Status,
}

/// The image that a container was made from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Image {
    /// The reference, as it was typed.
    pub reference: String,
    /// The digest of the image's configuration.
    pub id: String,
    /// The ports that the image says it listens on, such as `80/tcp`.
    #[serde(default)]
    pub exposed_ports: Vec<String>,
}

/// What runs: the image's wishes, overridden by the user's.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Process {
    /// What comes before the command.
    #[serde(default)]
    pub entrypoint: Vec<String>,
    /// The command and its arguments.
    #[serde(default)]
    pub command: Vec<String>,
    /// `NAME=value`, image's and user's; neither PATH nor HOME is added here.
    #[serde(default)]
    pub env: Vec<String>,
    /// The folder it starts in.
    pub working_dir: String,
    /// `user[:group]`, names or numbers; empty is root.
    #[serde(default)]
    pub user: String,
    /// The host's name inside.
    pub hostname: String,
    /// Labels, image's and user's.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// It has a terminal.
    #[serde(default)]
    pub terminal: bool,
    /// Its standard input is held open.
    #[serde(default)]
    pub interactive: bool,
    /// Its output goes to the one who starts it.
    #[serde(default)]
    pub attached: bool,
    /// The signal that asks it to end; empty is SIGTERM.
    #[serde(default)]
    pub stop_signal: String,
    /// How long it may take to end, in seconds.
    #[serde(default)]
    pub stop_timeout_s: Option<u64>,
}

impl Process {
    /// Entry point and command: what is executed.
    pub fn arguments(&self) -> Vec<String> {
        self.entrypoint.iter().chain(&self.command).cloned().collect()
    }
}

/// Which network a container is on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NetworkMode {
    /// The default network, with address translation.
    #[default]
    Bridge,
    /// Loopback alone.
    None,
    /// The host's own.
    Host,
}

impl NetworkMode {
    /// The network's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bridge => "bridge",
            Self::None => "none",
            Self::Host => "host",
        }
    }
}

/// A folder or file of the host's that the container sees.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bind {
    /// On the host; absolute.
    pub source: PathBuf,
    /// In the container; absolute.
    pub target: PathBuf,
    /// It cannot be written through.
    #[serde(default)]
    pub read_only: bool,
    /// `private rprivate slave rslave`, or none.
    #[serde(default)]
    pub propagation: Option<String>,
}

/// How a container is held.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Host {
    /// Its network.
    #[serde(default)]
    pub network: NetworkMode,
    /// Ports to publish.
    #[serde(default)]
    pub publish: Vec<PublishRequest>,
    /// What the host lends.
    #[serde(default)]
    pub binds: Vec<Bind>,
    /// Capabilities above the default ones, with `CAP_`, or `ALL`.
    #[serde(default)]
    pub cap_add: Vec<String>,
    /// Default capabilities taken away, or `ALL`.
    #[serde(default)]
    pub cap_drop: Vec<String>,
    /// The root cannot be written.
    #[serde(default)]
    pub read_only: bool,
    /// It is removed when it ends.
    #[serde(default)]
    pub auto_remove: bool,
    /// Names with addresses for `/etc/hosts`.
    #[serde(default)]
    pub extra_hosts: Vec<(String, String)>,
    /// Limits.
    #[serde(default)]
    pub limits: Limits,
}

/// What a container may use at most.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Memory.
    #[serde(default)]
    pub memory_bytes: Option<i64>,
    /// Processors, in billionths.
    #[serde(default)]
    pub nano_cpus: Option<i64>,
    /// Processes and threads.
    #[serde(default)]
    pub pids: Option<i64>,
}

/// Where a container is in its life.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "lowercase")]
pub enum Status {
    /// It never ran.
    Created {
        /// Why the last try to start it failed.
        #[serde(default)]
        failure: Option<Failure>,
    },
    /// A shim looks after it; without one it is dead, whatever stands here.
    Running {
        /// Process 1 of the container, as the host counts.
        pid: i32,
        /// When it was started.
        started: Timestamp,
        /// Its address and ports.
        #[serde(default)]
        lease: Option<Lease>,
    },
    /// It ran.
    Exited {
        /// The program's code, or 128 and the signal.
        code: i32,
        /// When it was started.
        started: Timestamp,
        /// When it ended.
        finished: Timestamp,
        /// Why the last try to start it again failed.
        #[serde(default)]
        failure: Option<Failure>,
    },
}

/// Why a container could not be started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What the command exits with: 125, 126 or 127.
    pub code: i32,
    /// What the user reads.
    pub text: String,
}

impl From<crate::error::Error> for Failure {
    fn from(error: crate::error::Error) -> Self {
        let text = error.to_string();
        let text = text
            .strip_prefix(crate::error::ENGINE_PREFIX)
            .unwrap_or(&text)
            .to_owned();
        Self { code: 125, text }
    }
}

impl State {
    /// Whether its file says that it runs.
    pub fn is_running(&self) -> bool {
        matches!(self.status, Status::Running { .. })
    }

    /// Its address and published ports, while it runs on a network that has them.
    pub fn lease(&self) -> Option<&Lease> {
        match &self.status {
            Status::Running { lease, .. } => lease.as_ref(),
            _ => None,
        }
    }

    /// Notes why it could not be started, keeping what was known of an earlier run.
    pub fn fail(&mut self, reason: Failure) {
        match &mut self.status {
            Status::Created { failure } | Status::Exited { failure, .. } => *failure = Some(reason),
            Status::Running { started, .. } => {
                let (code, started) = (reason.code, *started);
                self.status = Status::Exited {
                    code,
                    started,
                    finished: started,
                    failure: Some(reason),
                };
            }
        }
    }
}
