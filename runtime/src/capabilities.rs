//! Capability names and sets.

use std::fmt::Write;

use rustix::{
    io::Errno,
    thread::{
        CapabilitySet, CapabilitySets, capabilities as current, configure_capability_in_ambient_set,
        remove_capability_from_bounding_set, set_capabilities,
    },
};

use crate::spec::{Text, process::Capabilities};

/// Names by number.
pub(crate) const NAMES: [&str; 41] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];

/// The five sets, a bit a capability.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sets {
    pub(crate) bounding: u64,
    pub(crate) effective: u64,
    pub(crate) inheritable: u64,
    pub(crate) permitted: u64,
    pub(crate) ambient: u64,
}

/// Reads the sets. A name that this kernel does not have cannot be granted: the specification wants a
/// warning for it, not a failure.
pub(crate) fn parse(field: &str, sets: &Capabilities<'_>, warnings: &mut Vec<String>) -> Sets {
    let mut read = |name: &str, list: &[Text<'_>]| {
        let mut bits = 0;
        for capability in list {
            match NAMES.iter().position(|known| *known == &**capability) {
                Some(number) => bits |= 1_u64 << number,
                None => {
                    let mut warning = String::new();
                    // Writing to a String cannot fail.
                    let _ = write!(
                        warning,
                        "{field}.{name}: {:?} is no capability of this kernel",
                        &**capability
                    );
                    warnings.push(warning);
                }
            }
        }
        bits
    };
    Sets {
        bounding: read("bounding", &sets.bounding),
        effective: read("effective", &sets.effective),
        inheritable: read("inheritable", &sets.inheritable),
        permitted: read("permitted", &sets.permitted),
        ambient: read("ambient", &sets.ambient),
    }
}

fn each(bits: u64) -> impl Iterator<Item = CapabilitySet> {
    (0..NAMES.len())
        .map(|number| 1 << number)
        .filter(move |bit| bits & bit != 0)
        .map(CapabilitySet::from_bits_retain)
}

/// Takes what is not in `bounding` out of the bounding set. Needs CAP_SETPCAP unless nothing goes.
pub(crate) fn bound(bounding: u64) -> Result<(), Errno> {
    for capability in each(!bounding) {
        match remove_capability_from_bounding_set(capability) {
            // A capability newer than the kernel.
            Err(Errno::INVAL) | Ok(()) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// Sets the effective, permitted and inheritable sets to what of `sets` this process may have, with `extra`
/// on top of the first two, and then the ambient set.
pub(crate) fn apply(sets: &Sets, extra: u64) -> Result<(), Errno> {
    let may = current(None)?.permitted.bits();
    let permitted = (sets.permitted | extra) & may;
    let inheritable = sets.inheritable & may;
    set_capabilities(
        None,
        CapabilitySets {
            effective: CapabilitySet::from_bits_retain((sets.effective | extra) & permitted),
            permitted: CapabilitySet::from_bits_retain(permitted),
            inheritable: CapabilitySet::from_bits_retain(inheritable),
        },
    )?;
    for capability in each(sets.ambient & permitted & inheritable) {
        configure_capability_in_ambient_set(capability, true)?;
    }
    Ok(())
}

/// Gives back `extra` after [`apply`].
pub(crate) fn drop_extra(sets: &Sets, extra: u64) -> Result<(), Errno> {
    let extra = extra & !sets.permitted;
    if extra == 0 {
        return Ok(());
    }
    let mut now = current(None)?;
    now.effective.remove(CapabilitySet::from_bits_retain(extra));
    now.permitted.remove(CapabilitySet::from_bits_retain(extra));
    set_capabilities(None, now)
}
