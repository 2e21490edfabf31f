//! The options of a mount: which are attributes, which are propagation, which the file system's own.

use std::ffi::CString;

use super::text;
use crate::{error::Error, spec::Mount, sys::MountAttr};

const RDONLY: u64 = libc::MOUNT_ATTR_RDONLY;
const NOSUID: u64 = libc::MOUNT_ATTR_NOSUID;
const NODEV: u64 = libc::MOUNT_ATTR_NODEV;
const NOEXEC: u64 = libc::MOUNT_ATTR_NOEXEC;
const ATIME: u64 = libc::MOUNT_ATTR__ATIME;
const NOATIME: u64 = libc::MOUNT_ATTR_NOATIME;
const STRICTATIME: u64 = libc::MOUNT_ATTR_STRICTATIME;
const NODIRATIME: u64 = libc::MOUNT_ATTR_NODIRATIME;
const NOSYMFOLLOW: u64 = libc::MOUNT_ATTR_NOSYMFOLLOW;

/// Attributes by name: what is set, what is cleared first. Each has a recursive form with `r` before it.
const ATTRIBUTES: [(&str, u64, u64); 18] = [
    ("ro", RDONLY, 0),
    ("rw", 0, RDONLY),
    ("nosuid", NOSUID, 0),
    ("suid", 0, NOSUID),
    ("nodev", NODEV, 0),
    ("dev", 0, NODEV),
    ("noexec", NOEXEC, 0),
    ("exec", 0, NOEXEC),
    ("nodiratime", NODIRATIME, 0),
    ("diratime", 0, NODIRATIME),
    ("noatime", NOATIME, ATIME),
    ("atime", 0, ATIME),
    ("strictatime", STRICTATIME, ATIME),
    ("nostrictatime", 0, ATIME),
    ("relatime", 0, ATIME),
    ("norelatime", STRICTATIME, ATIME),
    ("nosymfollow", NOSYMFOLLOW, 0),
    ("symfollow", 0, NOSYMFOLLOW),
];

/// Options of the superblock that are set as flags, and those that are their absence.
const SUPERBLOCK: [&str; 8] = [
    "sync",
    "async",
    "dirsync",
    "lazytime",
    "nolazytime",
    "mand",
    "iversion",
    "acl",
];
const DEFAULTS: [&str; 11] = [
    "defaults",
    "nomand",
    "noiversion",
    "loud",
    "silent",
    "noacl",
    "nofail",
    "auto",
    "noauto",
    "bind",
    "rbind",
];

/// A mount's options, sorted.
#[derive(Debug, Default)]
pub(super) struct Options {
    /// Whether it is a bind mount, and whether with all below.
    pub(super) bind: Option<bool>,
    /// For the mount alone.
    pub(super) attr: MountAttr,
    /// For it and all below.
    pub(super) recursive: MountAttr,
    /// `MS_…` and whether for all below.
    pub(super) propagation: Option<(u64, bool)>,
    /// For the file system.
    pub(super) data: Vec<(CString, Option<CString>)>,
    /// Whether the file system itself is read-only.
    pub(super) superblock_readonly: bool,
    /// Whether what the image has there is copied into the new file system.
    pub(super) copy_up: bool,
}

/// Every option that is understood here, for `features`.
pub(crate) fn known() -> Vec<String> {
    let plain = ATTRIBUTES.iter().map(|(name, _, _)| (*name).to_owned());
    let recursive = ATTRIBUTES.iter().map(|(name, _, _)| format!("r{name}"));
    let propagation = [
        "shared",
        "slave",
        "private",
        "unbindable",
        "rshared",
        "rslave",
        "rprivate",
        "runbindable",
    ];
    let others = SUPERBLOCK
        .iter()
        .chain(&DEFAULTS)
        .chain(&propagation)
        .chain(&["tmpcopyup"]);
    let mut all: Vec<String> = plain
        .chain(recursive)
        .chain(others.map(|name| (*name).to_owned()))
        .collect();
    all.sort();
    all
}

/// The propagation that a word names, and whether it holds for all below.
pub(super) fn propagation(word: &str) -> Option<(u64, bool)> {
    let (recursive, kind) = match word {
        "rshared" | "rslave" | "rprivate" | "runbindable" => (true, word.split_at(1).1),
        _ => (false, word),
    };
    let flag = match kind {
        "shared" => libc::MS_SHARED,
        "slave" => libc::MS_SLAVE,
        "private" => libc::MS_PRIVATE,
        "unbindable" => libc::MS_UNBINDABLE,
        _ => return None,
    };
    Some((flag, recursive))
}

/// Sorts a mount's options.
pub(super) fn sort(field: &str, mount: &Mount<'_>) -> Result<Options, Error> {
    let mut options = Options::default();
    for option in &mount.options {
        let option: &str = option;
        match option {
            "bind" => options.bind = Some(options.bind.unwrap_or(false)),
            "rbind" => options.bind = Some(true),
            "tmpcopyup" => options.copy_up = true,
            "remount" | "idmap" | "ridmap" | "copy-symlink" => {
                return Err(Error::refused(
                    format!("{field}.options"),
                    format!("{option:?} is not supported yet"),
                ));
            }
            "" => {}
            _ if attribute(&mut options, option) || DEFAULTS.contains(&option) => {}
            _ if SUPERBLOCK.contains(&option) => options.data.push((text(field, option)?, None)),
            _ => match (propagation(option), option.split_once('=')) {
                (Some(found), _) => options.propagation = Some(found),
                (None, Some((key, value))) => {
                    options.data.push((text(field, key)?, Some(text(field, value)?)))
                }
                (None, None) => options.data.push((text(field, option)?, None)),
            },
        }
    }
    options.superblock_readonly = options.attr.set & RDONLY != 0;
    Ok(options)
}

fn attribute(options: &mut Options, option: &str) -> bool {
    let find = |name: &str| ATTRIBUTES.iter().find(|(known, _, _)| *known == name);
    // A plain name first: `relatime` is one, not the recursive form of `elatime`.
    let (target, found) = match find(option) {
        Some(found) => (&mut options.attr, found),
        None => match option.strip_prefix('r').and_then(find) {
            Some(found) => (&mut options.recursive, found),
            None => return false,
        },
    };
    let (_, set, clear) = *found;
    // The access time bits are one field: choosing a value needs all of them cleared first.
    target.set = (target.set & !clear) | set;
    target.clear = (target.clear & !set) | (clear & !(set & !ATIME));
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted(options: &[&str]) -> Options {
        let mount = Mount {
            destination: "/x".into(),
            kind: None,
            source: None,
            options: options.iter().map(|option| (*option).into()).collect(),
            uid_mappings: None,
            gid_mappings: None,
        };
        sort("mounts[0]", &mount).unwrap()
    }

    #[test]
    fn a_later_word_takes_back_an_earlier_one() {
        assert_eq!(
            sorted(&["ro", "rw"]).attr,
            MountAttr {
                set: 0,
                clear: RDONLY,
                propagation: 0
            }
        );
        assert_eq!(
            sorted(&["suid", "nosuid"]).attr,
            MountAttr {
                set: NOSUID,
                clear: 0,
                propagation: 0
            }
        );
    }

    #[test]
    fn relatime_is_not_a_recursive_form_and_rro_is() {
        assert_eq!(sorted(&["relatime"]).attr.clear, ATIME);
        assert!(sorted(&["relatime"]).recursive.is_empty());
        assert_eq!(sorted(&["rro"]).recursive.set, RDONLY);
        assert_eq!(
            sorted(&["rnoatime"]).recursive,
            MountAttr {
                set: NOATIME,
                clear: ATIME,
                propagation: 0
            }
        );
    }

    #[test]
    fn what_is_no_flag_goes_to_the_file_system() {
        let options = sorted(&["size=64k", "newinstance", "rslave", "rbind"]);
        assert_eq!(options.data.len(), 2);
        assert_eq!(options.propagation, Some((libc::MS_SLAVE, true)));
        assert_eq!(options.bind, Some(true));
    }

    #[test]
    fn an_unbuilt_option_is_refused_by_name() {
        let mut mount = Mount {
            destination: "/x".into(),
            kind: None,
            source: None,
            options: vec!["idmap".into()],
            uid_mappings: None,
            gid_mappings: None,
        };
        let refusal = sort("mounts[4]", &mount).unwrap_err().to_string();
        assert_eq!(refusal, "mounts[4].options: \"idmap\" is not supported yet");
        mount.options.clear();
        assert!(sort("mounts[4]", &mount).is_ok());
    }
}
