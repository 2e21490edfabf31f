//! `linux`, but for `linux.resources` and `linux.seccomp`.

use std::collections::BTreeMap;

use serde::{Deserialize, de::IgnoredAny};

use super::{LinuxSeccomp, Text, nullable, resources::Resources};

/// What only Linux has.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Linux<'a> {
    /// Namespaces, new or joined.
    #[serde(borrow, default, deserialize_with = "nullable")]
    pub namespaces: Vec<Namespace<'a>>,
    /// User ids of a new user namespace.
    #[serde(default, deserialize_with = "nullable")]
    pub uid_mappings: Vec<IdMapping>,
    /// Group ids of a new user namespace.
    #[serde(default, deserialize_with = "nullable")]
    pub gid_mappings: Vec<IdMapping>,
    /// Offsets of a new time namespace, by clock.
    #[serde(borrow, default, deserialize_with = "nullable")]
    pub time_offsets: BTreeMap<Text<'a>, TimeOffset>,
    /// Device nodes beside the default ones.
    #[serde(borrow, default, deserialize_with = "nullable")]
    pub devices: Vec<Device<'a>>,
    /// Network devices moved into the container.
    #[serde(borrow, default, deserialize_with = "nullable")]
    pub net_devices: BTreeMap<Text<'a>, IgnoredAny>,
    /// Where the container's cgroup is.
    #[serde(borrow, default)]
    pub cgroups_path: Option<Text<'a>>,
    /// Limits.
    #[serde(borrow, default)]
    pub resources: Option<Resources<'a>>,
    /// Kernel parameters, dotted names.
    #[serde(borrow, default, deserialize_with = "nullable")]
    pub sysctl: BTreeMap<Text<'a>, Text<'a>>,
    /// System call filter.
    #[serde(borrow, default)]
    pub seccomp: Option<LinuxSeccomp<'a>>,
    /// How mounts made outside reach the container, and back.
    #[serde(borrow, default)]
    pub rootfs_propagation: Option<Text<'a>>,
    /// Paths that read as nothing.
    #[serde(borrow, default, deserialize_with = "nullable")]
    pub masked_paths: Vec<Text<'a>>,
    /// Paths that cannot be written.
    #[serde(borrow, default, deserialize_with = "nullable")]
    pub readonly_paths: Vec<Text<'a>>,
    /// SELinux label of mounts.
    #[serde(borrow, default)]
    pub mount_label: Option<Text<'a>>,
    /// Cache and bandwidth classes.
    #[serde(default)]
    pub intel_rdt: Option<IgnoredAny>,
    /// Execution domain.
    #[serde(borrow, default)]
    pub personality: Option<Personality<'a>>,
    /// NUMA policy.
    #[serde(default)]
    pub memory_policy: Option<IgnoredAny>,
}

/// One namespace.
#[derive(Debug, Deserialize)]
pub struct Namespace<'a> {
    /// `pid network mount ipc uts user cgroup time`.
    #[serde(borrow, rename = "type")]
    pub kind: Text<'a>,
    /// Joined if given, made if not.
    #[serde(borrow, default)]
    pub path: Option<Text<'a>>,
}

/// One range of ids.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the specification's own words")]
pub struct IdMapping {
    #[serde(rename = "containerID")]
    pub container_id: u32,
    #[serde(rename = "hostID")]
    pub host_id: u32,
    pub size: u32,
}

/// What is added to a clock.
#[derive(Clone, Copy, Debug, Deserialize)]
#[expect(missing_docs, reason = "the specification's own words")]
pub struct TimeOffset {
    #[serde(default, deserialize_with = "nullable")]
    pub secs: i64,
    #[serde(default, deserialize_with = "nullable")]
    pub nanosecs: u32,
}

/// One device node.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Device<'a> {
    /// `c u b p`.
    #[serde(borrow, rename = "type")]
    pub kind: Text<'a>,
    /// Absolute path inside the container.
    #[serde(borrow)]
    pub path: Text<'a>,
    /// Major number.
    #[serde(default, deserialize_with = "nullable")]
    pub major: i64,
    /// Minor number.
    #[serde(default, deserialize_with = "nullable")]
    pub minor: i64,
    /// Permission bits.
    #[serde(default)]
    pub file_mode: Option<u32>,
    /// Owner.
    #[serde(default)]
    pub uid: Option<u32>,
    /// Group.
    #[serde(default)]
    pub gid: Option<u32>,
}

/// Execution domain.
#[derive(Debug, Deserialize)]
pub struct Personality<'a> {
    /// `LINUX` or `LINUX32`.
    #[serde(borrow)]
    pub domain: Text<'a>,
    /// None is known to the specification.
    #[serde(borrow, default, deserialize_with = "nullable")]
    pub flags: Vec<Text<'a>>,
}
