//! From `config.json` to what will be done: pure, and the place of every refusal.
//!
//! A [`Plan`] holds nothing that still has to be judged: paths are C strings, names are numbers, and what
//! the runtime does not carry out has been refused with the field's path.

mod mounts;
mod namespaces;
mod options;
mod process;
mod sysctl;

use std::{
    collections::BTreeMap,
    ffi::CString,
    path::{Path, PathBuf},
};

pub(crate) use mounts::{DevicePlan, MountKind, MountPlan, NewFs};
pub(crate) use namespaces::{KINDS, Namespaces, flag, map_text};
pub(crate) use options::known as mount_options;
pub(crate) use process::{ProcessPlan, from_process};
pub(crate) use sysctl::SysctlPlan;

use crate::{
    error::Error,
    id::ContainerId,
    spec::{Hooks, Spec, Text, linux::IdMapping, resources::Resources, seccomp::SeccompAction},
};

/// All that a container's creation needs to know.
pub struct Plan<'a> {
    pub(crate) id: ContainerId,
    pub(crate) bundle: PathBuf,
    pub(crate) rootfs: CString,
    pub(crate) root_readonly: bool,
    pub(crate) namespaces: Namespaces,
    pub(crate) uid_mappings: &'a [IdMapping],
    pub(crate) gid_mappings: &'a [IdMapping],
    pub(crate) time_offsets: String,
    pub(crate) hostname: Option<&'a str>,
    pub(crate) domainname: Option<&'a str>,
    pub(crate) propagation: Option<u64>,
    pub(crate) mounts: Vec<MountPlan>,
    pub(crate) devices: Vec<DevicePlan>,
    pub(crate) masked: Vec<CString>,
    pub(crate) readonly: Vec<CString>,
    pub(crate) sysctl: Vec<SysctlPlan>,
    pub(crate) process: ProcessPlan,
    pub(crate) seccomp: Option<crate::seccomp::Program>,
    pub(crate) personality: Option<u64>,
    pub(crate) cgroups_path: Option<&'a str>,
    pub(crate) resources: Option<&'a Resources<'a>>,
    pub(crate) hooks: Option<&'a Hooks<'a>>,
    pub(crate) annotations: &'a BTreeMap<Text<'a>, Text<'a>>,
    pub(crate) warnings: Vec<String>,
}

/// Makes the plan for the container `id` of `bundle`.
///
/// # Errors
/// [`Error::Refused`] names the field.
pub fn plan<'a>(spec: &'a Spec<'a>, id: ContainerId, bundle: &Path) -> Result<Plan<'a>, Error> {
    check_version(&spec.oci_version)?;
    let linux = spec
        .linux
        .as_ref()
        .ok_or_else(|| Error::refused("linux", "missing: only Linux is known here"))?;
    let process = spec
        .process
        .as_ref()
        .ok_or_else(|| Error::refused("process", "missing"))?;
    let root = spec
        .root
        .as_ref()
        .ok_or_else(|| Error::refused("root", "missing"))?;
    refuse_unbuilt(spec)?;
    let mut warnings = Vec::new();
    let namespaces = namespaces::from_linux(linux)?;
    namespaces::check_names(spec, &namespaces)?;
    let mounts = mounts::from_spec(spec, bundle)?;
    let untouched = mounts.is_empty() && linux.masked_paths.is_empty() && linux.readonly_paths.is_empty();
    if !namespaces.has_mount() && !untouched {
        return Err(Error::refused(
            "mounts",
            "need a mount namespace in linux.namespaces",
        ));
    }
    let rootfs = bundle.join(&*root.path);
    Ok(Plan {
        rootfs: text_path("root.path", &rootfs)?,
        root_readonly: root.readonly,
        uid_mappings: &linux.uid_mappings,
        gid_mappings: &linux.gid_mappings,
        time_offsets: namespaces::time_offsets(linux, &namespaces)?,
        hostname: spec.hostname.as_deref().filter(|name| !name.is_empty()),
        domainname: spec.domainname.as_deref().filter(|name| !name.is_empty()),
        propagation: mounts::root_propagation(linux)?,
        devices: mounts::devices(spec, linux)?,
        masked: mounts::inside_all("linux.maskedPaths", &linux.masked_paths)?,
        readonly: mounts::inside_all("linux.readonlyPaths", &linux.readonly_paths)?,
        sysctl: sysctl::from_linux(linux, &namespaces)?,
        process: from_process("process", process, &mut warnings)?,
        seccomp: compile_seccomp(linux)?,
        personality: process::personality(linux)?,
        cgroups_path: linux.cgroups_path.as_deref().filter(|path| !path.is_empty()),
        resources: linux.resources.as_ref(),
        hooks: checked_hooks(spec)?,
        annotations: &spec.annotations,
        id,
        bundle: bundle.to_owned(),
        namespaces,
        mounts,
        warnings,
    })
}

/// Compiles `linux.seccomp`, if there is one.
pub(crate) fn compile_seccomp(
    linux: &crate::spec::Linux<'_>,
) -> Result<Option<crate::seccomp::Program>, Error> {
    let Some(profile) = &linux.seccomp else {
        return Ok(None);
    };
    let notifies = profile
        .syscalls
        .iter()
        .any(|rule| rule.action == SeccompAction::Notify);
    if notifies || profile.default_action == SeccompAction::Notify || profile.listener_path.is_some() {
        return Err(Error::refused(
            "linux.seccomp",
            "SCMP_ACT_NOTIFY and listenerPath are not supported yet",
        ));
    }
    crate::seccomp::compile(profile)
        .map(Some)
        .map_err(|error| Error::Other(error.to_string()))
}

fn check_version(version: &str) -> Result<(), Error> {
    let mut parts = version.split('.');
    let known = parts.next() == Some("1") && parts.next().is_some_and(|minor| minor.parse::<u32>().is_ok());
    if known {
        Ok(())
    } else {
        Err(Error::refused(
            "ociVersion",
            format!("{version:?} is not a version 1.x"),
        ))
    }
}

/// Refuses what is read but not carried out.
fn refuse_unbuilt(spec: &Spec<'_>) -> Result<(), Error> {
    let Some(linux) = &spec.linux else { return Ok(()) };
    let unbuilt = [
        ("linux.netDevices", !linux.net_devices.is_empty()),
        ("linux.intelRdt", linux.intel_rdt.is_some()),
        ("linux.memoryPolicy", linux.memory_policy.is_some()),
        (
            "linux.mountLabel",
            linux
                .mount_label
                .as_deref()
                .is_some_and(|label| !label.is_empty()),
        ),
    ];
    match unbuilt.iter().find(|(_, asked)| *asked) {
        Some((field, _)) => Err(Error::refused(*field, "not supported yet")),
        None => Ok(()),
    }
}

fn checked_hooks<'a>(spec: &'a Spec<'a>) -> Result<Option<&'a Hooks<'a>>, Error> {
    let Some(hooks) = &spec.hooks else { return Ok(None) };
    let kinds = [
        ("prestart", &hooks.prestart),
        ("createRuntime", &hooks.create_runtime),
        ("createContainer", &hooks.create_container),
        ("startContainer", &hooks.start_container),
        ("poststart", &hooks.poststart),
        ("poststop", &hooks.poststop),
    ];
    for (kind, list) in kinds {
        for (index, hook) in list.iter().enumerate() {
            if !hook.path.starts_with('/') {
                let why = format!("{:?} is not an absolute path", &*hook.path);
                return Err(Error::refused(format!("hooks.{kind}[{index}].path"), why));
            }
            if hook.timeout.is_some_and(|timeout| timeout <= 0) {
                return Err(Error::refused(
                    format!("hooks.{kind}[{index}].timeout"),
                    "must be above zero",
                ));
            }
        }
    }
    Ok(Some(hooks))
}

/// A C string of a field's text.
pub(crate) fn text(field: impl Into<String>, value: &str) -> Result<CString, Error> {
    CString::new(value).map_err(|_nul| Error::refused(field, "holds a NUL byte"))
}

fn text_path(field: &str, path: &Path) -> Result<CString, Error> {
    CString::new(path.as_os_str().as_encoded_bytes())
        .map_err(|_nul| Error::refused(field, "holds a NUL byte"))
}

#[cfg(test)]
mod tests;
