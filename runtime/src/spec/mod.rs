//! `config.json` as the runtime specification words it, read once into borrowed text.
//!
//! Nothing is judged here: a field that the runtime does not carry out is still read, so that
//! [`crate::plan`] can refuse it by name. Properties the specification does not know are ignored.

pub mod linux;
pub mod process;
pub mod resources;
pub mod seccomp;
pub mod text;

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, de::IgnoredAny};

pub use linux::Linux;
pub use process::Process;
pub use seccomp::LinuxSeccomp;
pub use text::Text;

/// Reads `null` as the type's default, because other people's encoders write `null` for an empty list.
pub(crate) fn nullable<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

/// The whole of `config.json`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Spec<'a> {
    /// Version of the specification the bundle was written for.
    #[serde(borrow)]
    pub oci_version: Text<'a>,
    /// Where the root file system is.
    #[serde(borrow, default)]
    pub root: Option<Root<'a>>,
    /// Mounts in the order in which they are made.
    #[serde(borrow, default, deserialize_with = "nullable")]
    pub mounts: Vec<Mount<'a>>,
    /// The program to run.
    #[serde(borrow, default)]
    pub process: Option<Process<'a>>,
    /// Host name of a new UTS namespace.
    #[serde(borrow, default)]
    pub hostname: Option<Text<'a>>,
    /// Domain name of a new UTS namespace.
    #[serde(borrow, default)]
    pub domainname: Option<Text<'a>>,
    /// Programs run at set moments of the container's life.
    #[serde(borrow, default)]
    pub hooks: Option<Hooks<'a>>,
    /// What callers attached to the container; handed on in the state, never obeyed.
    #[serde(borrow, default, deserialize_with = "nullable")]
    pub annotations: BTreeMap<Text<'a>, Text<'a>>,
    /// The Linux part.
    #[serde(borrow, default)]
    pub linux: Option<Linux<'a>>,
}

/// The root file system.
#[derive(Debug, Deserialize)]
pub struct Root<'a> {
    /// Absolute, or relative to the bundle.
    #[serde(borrow)]
    pub path: Text<'a>,
    /// Whether it is mounted read-only.
    #[serde(default, deserialize_with = "nullable")]
    pub readonly: bool,
}

/// One mount.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Mount<'a> {
    /// Absolute path inside the container.
    #[serde(borrow)]
    pub destination: Text<'a>,
    /// File system type; absent or anything at all for a bind mount.
    #[serde(borrow, default, rename = "type")]
    pub kind: Option<Text<'a>>,
    /// Device, or what is bound; relative to the bundle if relative.
    #[serde(borrow, default)]
    pub source: Option<Text<'a>>,
    /// Mount flags, propagation and the file system's own options, mixed.
    #[serde(borrow, default, deserialize_with = "nullable")]
    pub options: Vec<Text<'a>>,
    /// Id mapping of this mount.
    #[serde(default)]
    pub uid_mappings: Option<Vec<IgnoredAny>>,
    /// Id mapping of this mount.
    #[serde(default)]
    pub gid_mappings: Option<Vec<IgnoredAny>>,
}

/// The six kinds of hook.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Hooks<'a> {
    /// Deprecated: as `createRuntime`, run before it.
    #[serde(borrow, default, deserialize_with = "nullable")]
    pub prestart: Vec<Hook<'a>>,
    /// In the runtime's namespaces, after the container's exist, before the root is changed.
    #[serde(borrow, default, deserialize_with = "nullable")]
    pub create_runtime: Vec<Hook<'a>>,
    /// In the container's namespaces, before the root is changed.
    #[serde(borrow, default, deserialize_with = "nullable")]
    pub create_container: Vec<Hook<'a>>,
    /// Inside the container, just before the program.
    #[serde(borrow, default, deserialize_with = "nullable")]
    pub start_container: Vec<Hook<'a>>,
    /// In the runtime's namespaces, after the program was started.
    #[serde(borrow, default, deserialize_with = "nullable")]
    pub poststart: Vec<Hook<'a>>,
    /// In the runtime's namespaces, after the container was deleted.
    #[serde(borrow, default, deserialize_with = "nullable")]
    pub poststop: Vec<Hook<'a>>,
}

/// One hook; the container's state is on its stdin.
#[derive(Debug, Deserialize)]
pub struct Hook<'a> {
    /// Absolute path of the program.
    #[serde(borrow)]
    pub path: Text<'a>,
    /// Arguments, with the program's name first.
    #[serde(borrow, default, deserialize_with = "nullable")]
    pub args: Vec<Text<'a>>,
    /// Environment, `NAME=value`.
    #[serde(borrow, default, deserialize_with = "nullable")]
    pub env: Vec<Text<'a>>,
    /// Seconds after which it is killed; above zero.
    #[serde(default)]
    pub timeout: Option<i64>,
}
