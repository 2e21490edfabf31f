use std::collections::BTreeMap;

use serde_json::Value;

use super::*;

/// What a profile says of a call, as far as its name goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Says {
    Allowed,
    Refused(u32),
    DependsOnArguments,
}

const DOCKERS_DEFAULT: [Capability; 14] = [
    Capability::AuditWrite,
    Capability::Chown,
    Capability::DacOverride,
    Capability::Fowner,
    Capability::Fsetid,
    Capability::Kill,
    Capability::Mknod,
    Capability::NetBindService,
    Capability::NetRaw,
    Capability::Setfcap,
    Capability::Setgid,
    Capability::Setpcap,
    Capability::Setuid,
    Capability::SysChroot,
];

const GATES: [Capability; 13] = [
    Capability::SysAdmin,
    Capability::Bpf,
    Capability::Perfmon,
    Capability::Syslog,
    Capability::DacReadSearch,
    Capability::SysBoot,
    Capability::SysModule,
    Capability::SysNice,
    Capability::SysPacct,
    Capability::SysPtrace,
    Capability::SysRawio,
    Capability::SysTime,
    Capability::SysTtyConfig,
];

/// Decides every call that the rules name: one without conditions goes before all that have some, then the
/// first one counts.
fn decide(rules: &[LinuxSyscall], default: u32) -> BTreeMap<String, Says> {
    let mut says: BTreeMap<String, Says> = BTreeMap::new();
    for rule in rules {
        let this = match rule.action() {
            _ if rule.args().as_ref().is_some_and(|args| !args.is_empty()) => Says::DependsOnArguments,
            LinuxSeccompAction::ScmpActAllow => Says::Allowed,
            LinuxSeccompAction::ScmpActErrno => Says::Refused(rule.errno_ret().unwrap_or(default)),
            other => panic!("{other} is in no profile"),
        };
        for name in rule.names() {
            match says.get(name) {
                Some(Says::Allowed | Says::Refused(_)) => {}
                Some(Says::DependsOnArguments) if this == Says::DependsOnArguments => {}
                _ => {
                    says.insert(name.clone(), this);
                }
            }
        }
    }
    says
}

fn ours(capabilities: &Capabilities) -> BTreeMap<String, Says> {
    decide(
        default_profile(capabilities, "amd64")
            .syscalls()
            .as_ref()
            .unwrap(),
        EPERM,
    )
}

/// What podman writes into a bundle from the profile that its package installs.
fn podmans(capabilities: &Capabilities) -> BTreeMap<String, Says> {
    let path = "/usr/share/containers/seccomp.json";
    let text = std::fs::read(path)
        .unwrap_or_else(|error| panic!("{path}: {error}: install golang-github-containers-common"));
    let file: Value = serde_json::from_slice(&text).unwrap();
    let held: Vec<String> = capabilities.iter().map(|one| format!("CAP_{one}")).collect();
    let names_one = |filter: &Value, key: &str, have: &dyn Fn(&str) -> bool| {
        let list = filter[key].as_array();
        list.map(|list| list.iter().any(|entry| have(entry.as_str().unwrap())))
    };
    let applies = |entry: &&Value| {
        let holds = |name: &str| held.iter().any(|one| one == name);
        let here = |name: &str| name == "amd64";
        names_one(&entry["includes"], "caps", &holds) != Some(false)
            && names_one(&entry["includes"], "arches", &here) != Some(false)
            && names_one(&entry["excludes"], "caps", &holds) != Some(true)
    };
    let entries = file["syscalls"].as_array().unwrap().iter().filter(applies);
    let rules: Vec<LinuxSyscall> = entries
        .map(|entry| serde_json::from_value(entry.clone()).unwrap())
        .collect();
    decide(&rules, 38)
}

/// Why each difference from podman's profile is there. Every one is docker 28's choice but for the socket rows.
const DIFFERENCES: &[(&str, &[&str])] = &[
    (
        "calls of kernels newer than podman's profile",
        &[
            "cachestat",
            "fchmodat2",
            "futex_requeue",
            "futex_wait",
            "futex_waitv",
            "futex_wake",
            "getxattrat",
            "listmount",
            "listxattrat",
            "map_shadow_stack",
            "mseal",
            "removexattrat",
            "setxattrat",
            "statmount",
            "uretprobe",
            "set_mempolicy_home_node",
            "quotactl_fd",
            "lsm_get_self_attr",
            "lsm_set_self_attr",
            "lsm_list_modules",
        ],
    ),
    (
        "asynchronous I/O with a signal mask, as harmless as without",
        &["io_pgetevents", "io_pgetevents_time64"],
    ),
    (
        "moves pages between a pipe and memory, no more than splice does",
        &["vmsplice"],
    ),
    (
        "mounting and namespaces need CAP_SYS_ADMIN; podman leaves both to the kernel's own check",
        &[
            "clone",
            "clone3",
            "unshare",
            "setns",
            "mount",
            "umount",
            "umount2",
            "mount_setattr",
            "move_mount",
            "open_tree",
            "fsopen",
            "fsconfig",
            "fsmount",
            "fspick",
            "pivot_root",
        ],
    ),
    ("the kernel's log needs CAP_SYSLOG or CAP_SYS_ADMIN", &["syslog"]),
    (
        "memory policy needs CAP_SYS_NICE",
        &["get_mempolicy", "set_mempolicy", "mbind"],
    ),
    ("keys are not namespaced", &["keyctl"]),
    (
        "descriptors of other processes need CAP_SYS_PTRACE",
        &["pidfd_getfd"],
    ),
    ("restarting the machine needs CAP_SYS_BOOT", &["reboot"]),
    (
        "a capability of its own since Linux 5.8: CAP_BPF, CAP_PERFMON",
        &["bpf", "perf_event_open"],
    ),
    (
        "obsolete, of no architecture here, or no system call",
        &[
            "readdir",
            "sigaction",
            "signal",
            "sigpending",
            "sigsuspend",
            "syscall",
            "timerfd",
            "query_module",
        ],
    ),
    (
        "the address family decides, by any road: AF_ALG and AF_VSOCK are refused",
        &["socket", "socketcall"],
    ),
];

#[test]
fn every_difference_from_podmans_profile_is_listed_with_its_reason() {
    let all: Vec<Capability> = GATES.into_iter().chain(DOCKERS_DEFAULT).collect();
    let mut sets: Vec<Capabilities> = vec![
        Capabilities::new(),
        DOCKERS_DEFAULT.into_iter().collect(),
        all.iter().copied().collect(),
    ];
    sets.extend(all.iter().map(|&one| Capabilities::from([one])));
    let mut differing: Vec<String> = Vec::new();
    for capabilities in &sets {
        let (ours, theirs) = (ours(capabilities), podmans(capabilities));
        for name in ours.keys().chain(theirs.keys()) {
            // What podman names to be refused is refused here for not being named.
            let allows = |says: Option<&Says>| match says {
                Some(&Says::Allowed) => Some(true),
                Some(Says::DependsOnArguments) => None,
                Some(Says::Refused(_)) | None => Some(false),
            };
            if allows(ours.get(name)) != allows(theirs.get(name)) {
                differing.push(name.clone());
            }
        }
    }
    differing.sort();
    differing.dedup();
    let mut listed: Vec<&str> = DIFFERENCES
        .iter()
        .flat_map(|(_, names)| *names)
        .copied()
        .collect();
    listed.sort_unstable();
    assert_eq!(differing, listed);
}

#[test]
fn each_gate_opens_for_its_capability_alone() {
    let closed = ours(&Capabilities::new());
    for row in ROWS {
        let When::Holds(capability) = row.when else {
            continue;
        };
        let open = ours(&Capabilities::from([capability]));
        for &call in row.calls {
            assert_eq!(open.get(call), Some(&Says::Allowed), "{call} with {capability}");
            let without = closed.get(call);
            assert!(
                without != Some(&Says::Allowed),
                "{call} without {capability}: {without:?}"
            );
        }
    }
}

#[test]
fn no_call_stands_in_two_rows_of_one_kind() {
    let mut seen = BTreeMap::new();
    for row in ROWS {
        for call in row.calls {
            let key = format!("{:?} {call}", row.when);
            assert!(seen.insert(key, ()).is_none(), "{call} twice");
        }
    }
}

#[test]
fn calls_of_another_architecture_are_not_named() {
    let names = |architecture| named_calls(&Capabilities::new(), architecture);
    assert!(names("amd64").contains(&"arch_prctl".to_owned()));
    assert!(!names("arm64").contains(&"arch_prctl".to_owned()));
    assert!(names("arm64").contains(&"set_tls".to_owned()));
}

#[test]
fn address_families_are_let_through_by_equality_alone() {
    let lets_through = |family: u64| {
        socket()
            .iter()
            .filter(|rule| rule.names().contains(&"socket".to_owned()))
            .any(|rule| {
                rule.args()
                    .as_ref()
                    .unwrap()
                    .iter()
                    .all(|condition| match condition.op() {
                        LinuxSeccompOperator::ScmpCmpLt => family < condition.value(),
                        LinuxSeccompOperator::ScmpCmpEq => family == condition.value(),
                        other => panic!("{other} lets through what the kernel reads as another family"),
                    })
            })
    };
    for family in 0..=45 {
        assert_eq!(lets_through(family), family != 38 && family != 40, "{family}");
    }
    for family in [46, 38 | 1 << 32, 40 | 1 << 32, 2 | 1 << 32, u64::MAX] {
        assert!(!lets_through(family), "{family:#x}");
    }
}

/// The runtime is measured with this profile, and cannot know this crate.
#[test]
fn the_profile_that_the_runtime_is_measured_with_is_this_one() {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../runtime/benches/default-profile.json"
    );
    let profile = default_profile(&DOCKERS_DEFAULT.into_iter().collect(), "amd64");
    let json = serde_json::to_string_pretty(&profile).unwrap() + "\n";
    if std::env::var_os("INSTA_UPDATE").is_some_and(|update| update == "always") {
        std::fs::write(path, &json).unwrap();
    }
    assert_eq!(
        std::fs::read_to_string(path).unwrap(),
        json,
        "run this test with INSTA_UPDATE=always"
    );
}
