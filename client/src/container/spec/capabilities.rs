//! Capabilities: docker's default set, and what the user adds and drops.

use std::collections::HashSet;

use oci_spec::runtime::Capability;

/// Docker's default set.
const DEFAULT: &[Capability] = &[
    Capability::Chown,
    Capability::DacOverride,
    Capability::Fsetid,
    Capability::Fowner,
    Capability::Mknod,
    Capability::NetRaw,
    Capability::Setgid,
    Capability::Setuid,
    Capability::Setfcap,
    Capability::Setpcap,
    Capability::NetBindService,
    Capability::SysChroot,
    Capability::Kill,
    Capability::AuditWrite,
];

/// The name of a capability as the user may write it, with or without `CAP_`, in any case; `ALL` stays.
///
/// # Errors
/// A text that names none.
pub fn normalise(name: &str) -> Result<String, String> {
    let upper = name.to_ascii_uppercase();
    let bare = upper.strip_prefix("CAP_").unwrap_or(&upper);
    if bare == "ALL" {
        return Ok("ALL".to_owned());
    }
    let full = format!("CAP_{bare}");
    parse(&full)
        .map(|_| full)
        .ok_or_else(|| format!("invalid capability: \"{name}\": unknown capability"))
}

fn parse(full: &str) -> Option<Capability> {
    serde_json::from_value(serde_json::Value::String(full.to_owned())).ok()
}

/// The set that a container gets. Names are those that [`normalise`] made.
pub(super) fn granted(add: &[String], drop: &[String]) -> HashSet<Capability> {
    let is_all = |list: &[String]| list.iter().any(|name| name == "ALL");
    let mut granted: HashSet<Capability> = if is_all(add) {
        all().collect()
    } else if is_all(drop) {
        HashSet::new()
    } else {
        DEFAULT.iter().copied().collect()
    };
    for name in drop {
        if let Some(capability) = parse(name) {
            granted.remove(&capability);
        }
    }
    granted.extend(add.iter().filter_map(|name| parse(name)));
    granted
}

/// Every capability that this kernel has, up to its last.
fn all() -> impl Iterator<Item = Capability> {
    let last = std::fs::read_to_string("/proc/sys/kernel/cap_last_cap");
    let last: usize = last.ok().and_then(|text| text.trim().parse().ok()).unwrap_or(40);
    NAMES
        .iter()
        .take(last + 1)
        .filter_map(|name| parse(&format!("CAP_{name}")))
}

/// By the kernel's numbers, from 0.
const NAMES: &[&str] = &[
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_taken_in_every_form() {
        for name in ["net_admin", "NET_ADMIN", "CAP_NET_ADMIN", "cap_net_admin"] {
            assert_eq!(normalise(name).as_deref(), Ok("CAP_NET_ADMIN"));
        }
        assert_eq!(normalise("all").as_deref(), Ok("ALL"));
        assert!(normalise("FLY").is_err());
        assert!(NAMES.iter().all(|name| parse(&format!("CAP_{name}")).is_some()));
    }

    #[test]
    fn adding_and_dropping_all_goes_before_single_names() {
        let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        assert_eq!(granted(&[], &[]).len(), DEFAULT.len());
        let only = granted(&list(&["CAP_CHOWN"]), &list(&["ALL"]));
        assert_eq!(only, HashSet::from([Capability::Chown]));
        let most = granted(&list(&["ALL"]), &list(&["CAP_SYS_ADMIN"]));
        assert!(!most.contains(&Capability::SysAdmin) && most.contains(&Capability::NetAdmin));
        assert!(!granted(&[], &list(&["CAP_KILL"])).contains(&Capability::Kill));
    }
}
