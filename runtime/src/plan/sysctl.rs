//! `linux.sysctl`: a key of an own namespace, one value, or a refusal.

use std::ffi::CString;

use super::{
    namespaces::{Namespaces, flag},
    text,
};
use crate::{error::Error, spec::Linux};

/// One parameter to write.
#[derive(Debug)]
pub(crate) struct SysctlPlan {
    /// As the bundle names it.
    pub(crate) key: String,
    /// Path below `/proc/sys`.
    pub(crate) path: CString,
    /// What is written.
    pub(crate) value: String,
    /// The kind of namespace it belongs to.
    pub(crate) flag: u64,
}

const OF_IPC: [&str; 9] = [
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.sem",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
    "kernel.shm_rmid_forced",
    "kernel.msg_next_id",
];

pub(super) fn from_linux(linux: &Linux<'_>, namespaces: &Namespaces) -> Result<Vec<SysctlPlan>, Error> {
    linux
        .sysctl
        .iter()
        .map(|(key, value)| from_pair(key, value, namespaces))
        .collect()
}

fn from_pair(key: &str, value: &str, namespaces: &Namespaces) -> Result<SysctlPlan, Error> {
    let field = || format!("linux.sysctl[{key:?}]");
    // `net.ipv4.conf.eth0/1.forwarding` and `net/ipv4/conf/eth0.1/forwarding` are the same key.
    let slashes_first = key
        .find(['.', '/'])
        .is_some_and(|place| key.as_bytes().get(place) == Some(&b'/'));
    let swap = |letter| match letter {
        '.' => '/',
        '/' => '.',
        other => other,
    };
    let path: String = if slashes_first {
        key.to_owned()
    } else {
        key.chars().map(swap).collect()
    };
    let allowed = |letter: char| letter.is_ascii_alphanumeric() || "_-./:@".contains(letter);
    if path
        .split('/')
        .any(|part| part.is_empty() || part == "." || part == "..")
        || !path.chars().all(allowed)
    {
        return Err(Error::refused(field(), "is no name of a kernel parameter"));
    }
    let dotted = path.replace('/', ".");
    let flag = if path.starts_with("net/") {
        flag::NETWORK
    } else if OF_IPC.contains(&dotted.as_str()) || path.starts_with("fs/mqueue/") {
        flag::IPC
    } else if dotted == "kernel.domainname" || dotted == "kernel.hostname" {
        flag::UTS
    } else {
        return Err(Error::refused(
            field(),
            "is not of a namespace: it would change the host",
        ));
    };
    if !namespaces.own(flag) {
        return Err(Error::refused(
            field(),
            "needs a namespace of its own, else it would change the host",
        ));
    }
    if value.len() > 4096 || value.chars().any(|letter| letter.is_control() && letter != '\t') {
        return Err(Error::refused(
            field(),
            "the value holds a control character or is too long",
        ));
    }
    Ok(SysctlPlan {
        key: key.to_owned(),
        path: text(field(), &path)?,
        value: value.to_owned(),
        flag,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Namespaces {
        Namespaces {
            new: flag::NETWORK | flag::IPC | flag::UTS,
            join: Vec::new(),
        }
    }

    #[test]
    fn both_spellings_of_a_key_are_one_path() {
        let dotted = from_pair("net.ipv4.conf.eth0/1.forwarding", "1", &all()).unwrap();
        let slashed = from_pair("net/ipv4/conf/eth0.1/forwarding", "1", &all()).unwrap();
        assert_eq!(dotted.path.as_c_str(), c"net/ipv4/conf/eth0.1/forwarding");
        assert_eq!(dotted.path, slashed.path);
    }

    #[test]
    fn cve_2022_0811_smuggled_keys_and_values_are_refused() {
        for (key, value) in [
            ("kernel.core_pattern", "|/bin/evil"),
            ("kernel.shm_rmid_forced", "1\n+kernel.core_pattern=|/bin/evil"),
            ("kernel.shm_rmid_forced+kernel.core_pattern", "1"),
            ("net/../kernel/core_pattern", "x"),
            ("net.ipv4..ip_forward", "x"),
            ("net//ipv4", "x"),
            ("", "x"),
        ] {
            assert!(from_pair(key, value, &all()).is_err(), "{key} = {value}");
        }
    }

    #[test]
    fn a_key_without_a_namespace_of_its_own_is_refused() {
        let refusal = from_pair("net.ipv4.ip_forward", "1", &Namespaces::default())
            .unwrap_err()
            .to_string();
        assert!(
            refusal.starts_with("linux.sysctl[\"net.ipv4.ip_forward\"]: needs a namespace"),
            "{refusal}"
        );
    }
}
