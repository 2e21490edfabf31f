//! `process`: what runs, as whom, with which rights. The same shape is `exec --process`.

use serde::{Deserialize, de::IgnoredAny};

use super::{Text, nullable};

/// The program and its surroundings.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Process<'a> {
    /// Whether it gets a pseudo-terminal.
    #[serde(default, deserialize_with = "nullable")]
    pub terminal: bool,
    /// Size of that terminal.
    #[serde(default)]
    pub console_size: Option<ConsoleSize>,
    /// Working directory, absolute, inside the container.
    #[serde(borrow, default)]
    pub cwd: Text<'a>,
    /// `NAME=value`.
    #[serde(borrow, default, deserialize_with = "nullable")]
    pub env: Vec<Text<'a>>,
    /// The program and its arguments.
    #[serde(borrow, default, deserialize_with = "nullable")]
    pub args: Vec<Text<'a>>,
    /// User and groups.
    #[serde(default, deserialize_with = "nullable")]
    pub user: User,
    /// The five sets.
    #[serde(borrow, default)]
    pub capabilities: Option<Capabilities<'a>>,
    /// Resource limits.
    #[serde(borrow, default, deserialize_with = "nullable")]
    pub rlimits: Vec<Rlimit<'a>>,
    /// Whether `execve` may never add rights.
    #[serde(default, deserialize_with = "nullable")]
    pub no_new_privileges: bool,
    /// −1000 to 1000.
    #[serde(default)]
    pub oom_score_adj: Option<i32>,
    /// AppArmor profile.
    #[serde(borrow, default)]
    pub apparmor_profile: Option<Text<'a>>,
    /// SELinux label.
    #[serde(borrow, default)]
    pub selinux_label: Option<Text<'a>>,
    /// Scheduling policy.
    #[serde(default)]
    pub scheduler: Option<IgnoredAny>,
    /// I/O priority.
    #[serde(default, rename = "ioPriority")]
    pub io_priority: Option<IgnoredAny>,
    /// Processors of a process that joins.
    #[serde(default, rename = "execCPUAffinity")]
    pub exec_cpu_affinity: Option<IgnoredAny>,
}

/// Rows and columns of a terminal.
#[derive(Clone, Copy, Debug, Deserialize)]
#[expect(missing_docs, reason = "the terminal's own words")]
pub struct ConsoleSize {
    pub height: u16,
    pub width: u16,
}

/// Numeric ids; names are the caller's to resolve.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct User {
    /// User id inside the container.
    #[serde(default, deserialize_with = "nullable")]
    pub uid: u32,
    /// Group id inside the container.
    #[serde(default, deserialize_with = "nullable")]
    pub gid: u32,
    /// File mode creation mask.
    #[serde(default)]
    pub umask: Option<u32>,
    /// Supplementary groups.
    #[serde(default, deserialize_with = "nullable")]
    pub additional_gids: Vec<u32>,
}

/// Capability names, `CAP_…`, a list a set.
#[derive(Debug, Default, Deserialize)]
#[expect(missing_docs, reason = "the kernel's own names")]
pub struct Capabilities<'a> {
    #[serde(borrow, default, deserialize_with = "nullable")]
    pub bounding: Vec<Text<'a>>,
    #[serde(borrow, default, deserialize_with = "nullable")]
    pub effective: Vec<Text<'a>>,
    #[serde(borrow, default, deserialize_with = "nullable")]
    pub inheritable: Vec<Text<'a>>,
    #[serde(borrow, default, deserialize_with = "nullable")]
    pub permitted: Vec<Text<'a>>,
    #[serde(borrow, default, deserialize_with = "nullable")]
    pub ambient: Vec<Text<'a>>,
}

/// One resource limit.
#[derive(Debug, Deserialize)]
pub struct Rlimit<'a> {
    /// `RLIMIT_…`.
    #[serde(borrow, rename = "type")]
    pub kind: Text<'a>,
    /// The limit enforced.
    pub soft: u64,
    /// The ceiling of it.
    pub hard: u64,
}
