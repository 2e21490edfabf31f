//! What docker 28 has and Wharf does not, so that it is refused by name and not as a typing error.

/// Docker's top-level commands.
const COMMANDS: &[&str] = &[
    "attach",
    "build",
    "builder",
    "buildx",
    "checkpoint",
    "commit",
    "compose",
    "config",
    "container",
    "context",
    "cp",
    "create",
    "diff",
    "events",
    "exec",
    "export",
    "history",
    "image",
    "images",
    "import",
    "info",
    "inspect",
    "kill",
    "load",
    "login",
    "logout",
    "logs",
    "manifest",
    "network",
    "node",
    "pause",
    "plugin",
    "port",
    "ps",
    "pull",
    "push",
    "rename",
    "restart",
    "rm",
    "rmi",
    "run",
    "save",
    "scout",
    "search",
    "secret",
    "service",
    "stack",
    "start",
    "stats",
    "stop",
    "swarm",
    "system",
    "tag",
    "top",
    "trust",
    "unpause",
    "update",
    "version",
    "volume",
    "wait",
];

/// Docker's commands within a group.
const GROUPED: &[(&str, &[&str])] = &[
    (
        "container",
        &[
            "attach", "commit", "cp", "create", "diff", "exec", "export", "inspect", "kill", "logs", "ls",
            "pause", "port", "prune", "rename", "restart", "rm", "run", "start", "stats", "stop", "top",
            "unpause", "update", "wait",
        ],
    ),
    (
        "image",
        &[
            "build", "history", "import", "inspect", "load", "ls", "prune", "pull", "push", "rm", "save",
            "tag",
        ],
    ),
];

/// Docker's flags by command, as far as some are not Wharf's.
const FLAGS: &[(&str, &[&str])] = &[
    (
        "",
        &[
            "context",
            "host",
            "log-level",
            "tls",
            "tlscacert",
            "tlscert",
            "tlskey",
            "tlsverify",
        ],
    ),
    ("images", &["tree"]),
    ("push", &["platform"]),
    ("rmi", &["platform"]),
    ("load", &["platform"]),
    ("save", &["platform"]),
    ("attach", &["detach-keys"]),
    ("exec", &["detach-keys", "privileged"]),
    ("logs", &["details"]),
    ("rm", &["link"]),
    ("start", &["checkpoint", "checkpoint-dir", "detach-keys"]),
    ("create", RUN),
    ("run", RUN),
];

const RUN: &[&str] = &[
    "annotation",
    "attach",
    "blkio-weight",
    "blkio-weight-device",
    "cgroup-parent",
    "cgroupns",
    "cidfile",
    "cpu-count",
    "cpu-percent",
    "cpu-period",
    "cpu-quota",
    "cpu-rt-period",
    "cpu-rt-runtime",
    "cpu-shares",
    "cpuset-cpus",
    "cpuset-mems",
    "detach-keys",
    "device",
    "device-cgroup-rule",
    "device-read-bps",
    "device-read-iops",
    "device-write-bps",
    "device-write-iops",
    "disable-content-trust",
    "dns",
    "dns-option",
    "dns-search",
    "domainname",
    "expose",
    "gpus",
    "group-add",
    "health-cmd",
    "health-interval",
    "health-retries",
    "health-start-interval",
    "health-start-period",
    "health-timeout",
    "init",
    "io-maxbandwidth",
    "io-maxiops",
    "ip",
    "ip6",
    "ipc",
    "isolation",
    "kernel-memory",
    "label-file",
    "link",
    "link-local-ip",
    "log-driver",
    "log-opt",
    "mac-address",
    "memory-reservation",
    "memory-swap",
    "memory-swappiness",
    "mount",
    "net-alias",
    "network-alias",
    "no-healthcheck",
    "oom-kill-disable",
    "oom-score-adj",
    "pid",
    "privileged",
    "restart",
    "runtime",
    "security-opt",
    "shm-size",
    "storage-opt",
    "sysctl",
    "tmpfs",
    "ulimit",
    "use-api-socket",
    "userns",
    "uts",
    "volume-driver",
    "volumes-from",
];

/// Docker's one-letter flags by command, where Wharf lacks the long one too.
const SHORT: &[(&str, &[(char, &str)])] = &[
    ("", &[('c', "context"), ('H', "host"), ('l', "log-level")]),
    ("create", &[('a', "attach"), ('c', "cpu-shares")]),
    ("run", &[('a', "attach"), ('c', "cpu-shares")]),
    ("rm", &[('l', "link")]),
];

/// Whether docker has a command of this name in this group (`""` is the top).
pub(super) fn has_command(group: &str, name: &str) -> bool {
    let commands = match GROUPED.iter().find(|(known, _)| *known == group) {
        Some((_, commands)) => commands,
        None if group.is_empty() => COMMANDS,
        None => return false,
    };
    commands.contains(&name)
}

/// Whether docker's command has this long flag.
pub(super) fn has_flag(command: &str, flag: &str) -> bool {
    FLAGS
        .iter()
        .any(|(known, flags)| *known == command && flags.contains(&flag))
}

/// The long name of docker's one-letter flag.
pub(super) fn long_of(command: &str, short: char) -> Option<&'static str> {
    let (_, flags) = SHORT.iter().find(|(known, _)| *known == command)?;
    flags
        .iter()
        .find(|(known, _)| *known == short)
        .map(|(_, long)| *long)
}
