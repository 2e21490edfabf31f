//! `mounts`, `linux.devices`, and the paths inside the root.

use std::{
    ffi::CString,
    path::{Component, Path},
};

use super::{options, text, text_path};
use crate::{
    error::Error,
    spec::{Linux, Mount, Spec, Text, linux::Device},
    sys::MountAttr,
};

/// One mount, ready to be made.
#[derive(Debug)]
pub(crate) struct MountPlan {
    /// Place in `mounts`.
    pub(crate) index: u16,
    /// Path below the root, without a leading slash; `.` is the root itself.
    pub(crate) destination: CString,
    /// Whether no part of the destination may be a symbolic link.
    pub(crate) strict: bool,
    /// What is mounted.
    pub(crate) kind: MountKind,
    /// Attributes of the mount.
    pub(crate) attr: MountAttr,
    /// Attributes of it and all below.
    pub(crate) recursive: MountAttr,
    /// Propagation, and whether for all below.
    pub(crate) propagation: Option<(u64, bool)>,
}

/// What is mounted.
#[derive(Debug)]
pub(crate) enum MountKind {
    /// A path of the host.
    Bind {
        /// Absolute.
        source: CString,
        /// With all below.
        recursive: bool,
        /// Whether only a procfs may stand there.
        procfs_only: bool,
    },
    /// A new file system.
    New(NewFs),
    /// The container's own view of the cgroup hierarchies.
    Cgroup(NewFs),
}

/// A file system to make.
#[derive(Debug)]
pub(crate) struct NewFs {
    /// `proc`, `tmpfs` …
    pub(crate) kind: CString,
    /// What `/proc/mounts` shows as its device.
    pub(crate) source: Option<CString>,
    /// Options, with or without a value.
    pub(crate) data: Vec<(CString, Option<CString>)>,
    /// Whether the file system itself is read-only.
    pub(crate) readonly: bool,
    /// Whether what the root has there is copied into it.
    pub(crate) copy_up: bool,
}

/// One device node.
#[derive(Debug)]
pub(crate) struct DevicePlan {
    /// Place in `linux.devices`, or `None` for a default one.
    pub(crate) index: Option<u16>,
    /// Path below the root.
    pub(crate) path: CString,
    /// `S_IFCHR`, `S_IFBLK` or `S_IFIFO`.
    pub(crate) kind: rustix::fs::FileType,
    /// Major and minor number.
    pub(crate) number: (u32, u32),
    /// Permission bits.
    pub(crate) mode: u32,
    /// Owner.
    pub(crate) uid: u32,
    /// Group.
    pub(crate) gid: u32,
}

/// Files of `/proc` that may be covered by a bind mount: those that tools fake, none that grants anything.
const COVERABLE: [&str; 12] = [
    "proc/cpuinfo",
    "proc/diskstats",
    "proc/meminfo",
    "proc/stat",
    "proc/swaps",
    "proc/uptime",
    "proc/loadavg",
    "proc/slabinfo",
    "proc/net/dev",
    "proc/sys/kernel/ns_last_pid",
    "proc/sys/crypto/fips_enabled",
    "proc/sys/fs/binfmt_misc",
];

pub(super) fn from_spec(spec: &Spec<'_>, bundle: &Path) -> Result<Vec<MountPlan>, Error> {
    spec.mounts
        .iter()
        .enumerate()
        .map(|(index, mount)| from_mount(index, mount, bundle))
        .collect()
}

fn from_mount(index: usize, mount: &Mount<'_>, bundle: &Path) -> Result<MountPlan, Error> {
    let field = format!("mounts[{index}]");
    let index = u16::try_from(index).map_err(|_many| Error::refused("mounts", "more than 65535"))?;
    if mount.uid_mappings.is_some() || mount.gid_mappings.is_some() {
        return Err(Error::refused(
            format!("{field}.uidMappings"),
            "not supported yet",
        ));
    }
    let options = options::sort(&field, mount)?;
    let destination = inside(&format!("{field}.destination"), &mount.destination)?;
    let kind = mount.kind.as_deref().unwrap_or_default();
    let bind = options.bind.or((kind == "bind").then_some(false));
    let name = destination.to_str().unwrap_or_default();
    if name == "." {
        return Err(Error::refused(
            format!("{field}.destination"),
            "is the root itself, which root.path names",
        ));
    }
    let below_proc = name == "proc" || name.starts_with("proc/");
    if below_proc && name != "proc" && !COVERABLE.contains(&name) {
        let why = format!(
            "{:?} is inside /proc, where only harmless files may be covered",
            &*mount.destination
        );
        return Err(Error::refused(format!("{field}.destination"), why));
    }
    if name == "proc" && bind.is_none() && kind != "proc" {
        return Err(Error::refused(
            format!("{field}.type"),
            format!("{kind:?} cannot stand at /proc"),
        ));
    }
    let strict = matches!(name, "dev" | "proc" | "sys") || matches!(kind, "proc" | "sysfs");
    let kind = if let Some(recursive) = bind {
        if let Some((key, _)) = options.data.first() {
            let why = format!("{:?} is no option of a bind mount", key.to_string_lossy());
            return Err(Error::refused(format!("{field}.options"), why));
        }
        let source = mount.source.as_deref().filter(|source| !source.is_empty());
        let source =
            source.ok_or_else(|| Error::refused(format!("{field}.source"), "missing for a bind mount"))?;
        let source = text_path(&format!("{field}.source"), &bundle.join(source))?;
        MountKind::Bind {
            source,
            recursive,
            procfs_only: name == "proc",
        }
    } else {
        new_fs(
            &field,
            kind,
            mount,
            options.data,
            options.superblock_readonly,
            options.copy_up,
        )?
    };
    Ok(MountPlan {
        index,
        destination,
        strict,
        kind,
        attr: options.attr,
        recursive: options.recursive,
        propagation: options.propagation,
    })
}

fn new_fs(
    field: &str,
    kind: &str,
    mount: &Mount<'_>,
    data: Vec<(CString, Option<CString>)>,
    readonly: bool,
    copy_up: bool,
) -> Result<MountKind, Error> {
    if kind.is_empty() {
        return Err(Error::refused(
            format!("{field}.type"),
            "missing, and it is no bind mount",
        ));
    }
    if copy_up && kind != "tmpfs" {
        return Err(Error::refused(
            format!("{field}.options"),
            "\"tmpcopyup\" is for tmpfs alone",
        ));
    }
    let source = mount.source.as_deref().filter(|source| !source.is_empty());
    let source = source
        .map(|source| text(format!("{field}.source"), source))
        .transpose()?;
    let mut fs = NewFs {
        kind: text(format!("{field}.type"), kind)?,
        source,
        data,
        readonly,
        copy_up,
    };
    if kind == "overlay" {
        split_lower_layers(&mut fs)?;
    }
    for (key, value) in &fs.data {
        // The kernel takes 255 bytes of a value.
        if value.as_ref().is_some_and(|value| value.as_bytes().len() > 255) {
            let why = format!(
                "the value of {:?} is longer than 255 bytes",
                key.to_string_lossy()
            );
            return Err(Error::refused(format!("{field}.options"), why));
        }
    }
    Ok(if kind == "cgroup" || kind == "cgroup2" {
        MountKind::Cgroup(fs)
    } else {
        MountKind::New(fs)
    })
}

/// Gives an overlay's lower layers one by one, since one value may be 255 bytes at most.
fn split_lower_layers(fs: &mut NewFs) -> Result<(), Error> {
    let Some(place) = fs.data.iter().position(|(key, _)| key.as_bytes() == b"lowerdir") else {
        return Ok(());
    };
    let (_, value) = fs.data.remove(place);
    let value = value.unwrap_or_default();
    let value = value
        .to_str()
        .map_err(|_not_text| Error::refused("mounts", "lowerdir is not text"))?;
    if value.len() <= 255 || value.contains('\\') {
        fs.data
            .insert(place, (c"lowerdir".to_owned(), Some(text("mounts", value)?)));
        return Ok(());
    }
    for (offset, layer) in value.split(':').enumerate() {
        fs.data.insert(
            place + offset,
            (c"lowerdir+".to_owned(), Some(text("mounts", layer)?)),
        );
    }
    Ok(())
}

/// A path inside the root, cleaned by its text alone: no leading slash, no `.` or `..`; the root is `.`.
pub(crate) fn inside(field: &str, path: &str) -> Result<CString, Error> {
    let mut parts: Vec<&str> = Vec::new();
    for part in Path::new(path).components() {
        match part {
            Component::ParentDir => {
                parts.pop();
            }
            Component::Normal(name) => parts.extend(name.to_str()),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    if path.is_empty() {
        return Err(Error::refused(field, "is empty"));
    }
    let clean = if parts.is_empty() {
        ".".to_owned()
    } else {
        parts.join("/")
    };
    text(field, &clean)
}

pub(super) fn inside_all(field: &str, paths: &[Text<'_>]) -> Result<Vec<CString>, Error> {
    let each = paths.iter().enumerate();
    each.map(|(index, path)| {
        let field = format!("{field}[{index}]");
        if path.starts_with('/') {
            inside(&field, path)
        } else {
            Err(Error::refused(field, "is not an absolute path"))
        }
    })
    .collect()
}

pub(super) fn root_propagation(linux: &Linux<'_>) -> Result<Option<u64>, Error> {
    let Some(word) = linux
        .rootfs_propagation
        .as_deref()
        .filter(|word| !word.is_empty())
    else {
        return Ok(None);
    };
    let (flag, _) = options::propagation(word)
        .ok_or_else(|| Error::refused("linux.rootfsPropagation", format!("unknown propagation {word:?}")))?;
    Ok(Some(flag))
}

/// The default devices and those of `linux.devices`; none of the former where `/dev` is the host's.
pub(super) fn devices(spec: &Spec<'_>, linux: &Linux<'_>) -> Result<Vec<DevicePlan>, Error> {
    let bound = spec.mounts.iter().any(|mount| {
        let bind = mount.kind.as_deref() == Some("bind")
            || mount.options.iter().any(|o| matches!(&**o, "bind" | "rbind"));
        bind && inside("", &mount.destination).is_ok_and(|path| path.as_bytes() == b"dev")
    });
    if bound {
        return Ok(Vec::new());
    }
    let defaults = [
        (c"dev/null", (1, 3)),
        (c"dev/zero", (1, 5)),
        (c"dev/full", (1, 7)),
        (c"dev/random", (1, 8)),
        (c"dev/urandom", (1, 9)),
        (c"dev/tty", (5, 0)),
    ];
    let mut devices = Vec::with_capacity(defaults.len() + linux.devices.len());
    for (index, device) in linux.devices.iter().enumerate() {
        devices.push(from_device(index, device)?);
    }
    for (path, number) in defaults {
        if devices.iter().all(|device| device.path.as_c_str() != path) {
            let kind = rustix::fs::FileType::CharacterDevice;
            devices.push(DevicePlan {
                index: None,
                path: path.to_owned(),
                kind,
                number,
                mode: 0o666,
                uid: 0,
                gid: 0,
            });
        }
    }
    Ok(devices)
}

fn from_device(index: usize, device: &Device<'_>) -> Result<DevicePlan, Error> {
    let field = format!("linux.devices[{index}]");
    let kind = match &*device.kind {
        "c" | "u" => rustix::fs::FileType::CharacterDevice,
        "b" => rustix::fs::FileType::BlockDevice,
        "p" => rustix::fs::FileType::Fifo,
        other => {
            return Err(Error::refused(
                format!("{field}.type"),
                format!("unknown kind of device {other:?}"),
            ));
        }
    };
    let number = |name: &str, value: i64| {
        u32::try_from(value).map_err(|_range| {
            Error::refused(format!("{field}.{name}"), format!("{value} is no device number"))
        })
    };
    if !device.path.starts_with('/') {
        return Err(Error::refused(format!("{field}.path"), "is not an absolute path"));
    }
    Ok(DevicePlan {
        index: u16::try_from(index).ok(),
        path: inside(&format!("{field}.path"), &device.path)?,
        kind,
        number: (number("major", device.major)?, number("minor", device.minor)?),
        mode: device.file_mode.unwrap_or(0o666) & 0o7777,
        uid: device.uid.unwrap_or(0),
        gid: device.gid.unwrap_or(0),
    })
}
