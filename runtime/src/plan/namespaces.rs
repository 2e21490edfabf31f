//! `linux.namespaces`, id mappings and time offsets.

use std::{ffi::CString, fmt::Write};

use super::text;
use crate::{
    error::Error,
    spec::{Linux, Spec, linux::IdMapping},
};

/// `CLONE_NEW…` bits, as `clone3` takes them.
pub(crate) mod flag {
    pub(crate) const TIME: u64 = 0x80;
    pub(crate) const MOUNT: u64 = 0x2_0000;
    pub(crate) const CGROUP: u64 = 0x200_0000;
    pub(crate) const UTS: u64 = 0x400_0000;
    pub(crate) const IPC: u64 = 0x800_0000;
    pub(crate) const USER: u64 = 0x1000_0000;
    pub(crate) const PID: u64 = 0x2000_0000;
    pub(crate) const NETWORK: u64 = 0x4000_0000;
}

/// The kinds, with the name in `/proc/PID/ns`.
pub(crate) const KINDS: [(&str, &str, u64); 8] = [
    ("user", "user", flag::USER),
    ("mount", "mnt", flag::MOUNT),
    ("cgroup", "cgroup", flag::CGROUP),
    ("uts", "uts", flag::UTS),
    ("ipc", "ipc", flag::IPC),
    ("network", "net", flag::NETWORK),
    ("pid", "pid", flag::PID),
    ("time", "time", flag::TIME),
];

/// Namespaces to make and to join.
#[derive(Debug, Default)]
pub(crate) struct Namespaces {
    /// Flags of those to make.
    pub(crate) new: u64,
    /// Those to join, user first, as `setns` needs them.
    pub(crate) join: Vec<Join>,
}

/// A namespace to join.
#[derive(Debug)]
pub(crate) struct Join {
    /// Place in `linux.namespaces`.
    pub(crate) index: u16,
    /// Its kind.
    pub(crate) flag: u64,
    /// Where it is.
    pub(crate) path: CString,
}

impl Namespaces {
    /// Whether the container is in another namespace of that kind than the runtime, as far as the plan tells.
    pub(crate) fn own(&self, flag: u64) -> bool {
        self.new & flag != 0 || self.join.iter().any(|join| join.flag == flag)
    }

    /// Whether there is a mount namespace to mount in.
    pub(crate) fn has_mount(&self) -> bool {
        self.own(flag::MOUNT)
    }

    /// Whether a new one of that kind is made.
    pub(crate) fn makes(&self, flag: u64) -> bool {
        self.new & flag != 0
    }

    /// The joined one of that kind.
    pub(crate) fn joined(&self, flag: u64) -> Option<&Join> {
        self.join.iter().find(|join| join.flag == flag)
    }
}

pub(super) fn from_linux(linux: &Linux<'_>) -> Result<Namespaces, Error> {
    let mut namespaces = Namespaces::default();
    let mut seen = 0;
    for (index, namespace) in linux.namespaces.iter().enumerate() {
        let field = format!("linux.namespaces[{index}]");
        let kind = &*namespace.kind;
        let known = KINDS.iter().find(|(name, _, _)| *name == kind);
        let flag = known.map(|(_, _, flag)| *flag);
        let flag = flag
            .ok_or_else(|| Error::refused(format!("{field}.type"), format!("unknown namespace {kind:?}")))?;
        if seen & flag != 0 {
            return Err(Error::refused(
                format!("{field}.type"),
                format!("{kind:?} is named twice"),
            ));
        }
        seen |= flag;
        match namespace.path.as_deref().filter(|path| !path.is_empty()) {
            None => namespaces.new |= flag,
            Some(path) if !path.starts_with('/') => {
                return Err(Error::refused(
                    format!("{field}.path"),
                    format!("{path:?} is not an absolute path"),
                ));
            }
            Some(path) => {
                let index =
                    u16::try_from(index).map_err(|_many| Error::refused("linux.namespaces", "too many"))?;
                namespaces.join.push(Join {
                    index,
                    flag,
                    path: text(format!("{field}.path"), path)?,
                });
            }
        }
    }
    namespaces
        .join
        .sort_by_key(|join| KINDS.iter().position(|(_, _, flag)| *flag == join.flag));
    check_maps(linux, &namespaces)?;
    Ok(namespaces)
}

fn check_maps(linux: &Linux<'_>, namespaces: &Namespaces) -> Result<(), Error> {
    let mapped = !linux.uid_mappings.is_empty() || !linux.gid_mappings.is_empty();
    if mapped && !namespaces.own(flag::USER) {
        return Err(Error::refused(
            "linux.uidMappings",
            "need a user namespace in linux.namespaces",
        ));
    }
    if namespaces.makes(flag::USER) {
        for (field, map) in [
            ("linux.uidMappings", &linux.uid_mappings),
            ("linux.gidMappings", &linux.gid_mappings),
        ] {
            if map.is_empty() {
                return Err(Error::refused(
                    field,
                    "a new user namespace needs at least one range",
                ));
            }
            // The kernel takes 340 ranges; more is a mistake or an attack.
            if map.len() > 340 {
                return Err(Error::refused(field, "more than 340 ranges"));
            }
        }
    }
    Ok(())
}

/// Refuses host and domain names without a namespace of their own.
pub(super) fn check_names(spec: &Spec<'_>, namespaces: &Namespaces) -> Result<(), Error> {
    for (field, name) in [("hostname", &spec.hostname), ("domainname", &spec.domainname)] {
        let Some(name) = name.as_deref().filter(|name| !name.is_empty()) else {
            continue;
        };
        if !namespaces.own(flag::UTS) {
            return Err(Error::refused(field, "needs a uts namespace in linux.namespaces"));
        }
        if name.len() > 64 || name.contains('\0') {
            return Err(Error::refused(field, "must be at most 64 bytes"));
        }
    }
    Ok(())
}

/// The text for `/proc/self/timens_offsets`, empty if there is nothing to write.
pub(super) fn time_offsets(linux: &Linux<'_>, namespaces: &Namespaces) -> Result<String, Error> {
    let mut lines = String::new();
    for (clock, offset) in &linux.time_offsets {
        if !matches!(&**clock, "monotonic" | "boottime") {
            return Err(Error::refused(
                "linux.timeOffsets",
                format!("unknown clock {:?}", &**clock),
            ));
        }
        if !namespaces.makes(flag::TIME) {
            return Err(Error::refused(
                "linux.timeOffsets",
                "need a new time namespace in linux.namespaces",
            ));
        }
        writeln!(lines, "{} {} {}", &**clock, offset.secs, offset.nanosecs)
            .map_err(|_unwritable| Error::refused("linux.timeOffsets", "cannot be written"))?;
    }
    Ok(lines)
}

/// The text for `uid_map` or `gid_map`.
pub(crate) fn map_text(mappings: &[IdMapping]) -> String {
    mappings.iter().fold(String::new(), |mut lines, map| {
        lines.push_str(&format!("{} {} {}\n", map.container_id, map.host_id, map.size));
        lines
    })
}
