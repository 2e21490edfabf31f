//! The decisions, call by call: what a container may ask of the kernel, and what that depends on.
//!
//! What is not listed is refused. The line is drawn where docker 28 draws it, so that an image that works
//! there works here: a call is listed unless it reaches past the container (modules, clocks, swap, keys,
//! `kexec`), makes or joins namespaces, or has a history of holes that outweighs its use (`io_uring`,
//! `userfaultfd`, `bpf`).

use oci_spec::runtime::Capability;

/// What a row's calls depend on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum When {
    /// Nothing.
    Always,
    /// A capability in the container's bounding set, whose holder could not use it otherwise.
    Holds(Capability),
    /// A machine, in OCI's words for architectures.
    On(&'static [&'static str]),
}

/// Calls that share a decision.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) when: When,
    pub(super) calls: &'static [&'static str],
}

const fn always(calls: &'static [&'static str]) -> Row {
    Row {
        when: When::Always,
        calls,
    }
}

const fn holds(capability: Capability, calls: &'static [&'static str]) -> Row {
    Row {
        when: When::Holds(capability),
        calls,
    }
}

const fn on(architectures: &'static [&'static str], calls: &'static [&'static str]) -> Row {
    Row {
        when: When::On(architectures),
        calls,
    }
}

/// Every call that may be let through whatever its arguments.
#[rustfmt::skip]
pub(super) static ROWS: &[Row] = &[
    // Reading, writing, moving bytes.
    always(&[
        "read", "readv", "pread64", "preadv", "preadv2", "readahead", "write", "writev", "pwrite64", "pwritev",
        "pwritev2", "lseek", "_llseek", "sendfile", "sendfile64", "splice", "tee", "vmsplice", "copy_file_range",
        "fsync", "fdatasync", "sync", "syncfs", "sync_file_range", "fadvise64", "fadvise64_64", "fallocate",
        "truncate", "truncate64", "ftruncate", "ftruncate64",
    ]),
    // Descriptors.
    always(&[
        "open", "openat", "openat2", "creat", "close", "close_range", "dup", "dup2", "dup3", "fcntl", "fcntl64",
        "ioctl", "flock", "pipe", "pipe2", "eventfd", "eventfd2", "memfd_create", "memfd_secret",
        "name_to_handle_at",
    ]),
    // Names, metadata, links.
    always(&[
        "stat", "stat64", "fstat", "fstat64", "lstat", "lstat64", "newfstatat", "fstatat64", "statx", "access",
        "faccessat", "faccessat2", "chmod", "fchmod", "fchmodat", "fchmodat2", "chown", "chown32", "fchown",
        "fchown32", "fchownat", "lchown", "lchown32", "utime", "utimes", "futimesat", "utimensat",
        "utimensat_time64", "umask", "link", "linkat", "symlink", "symlinkat", "readlink", "readlinkat", "unlink",
        "unlinkat", "rename", "renameat", "renameat2", "mkdir", "mkdirat", "rmdir", "mknod", "mknodat",
        "getdents", "getdents64", "getcwd", "chdir", "fchdir", "statfs", "statfs64", "fstatfs", "fstatfs64",
        "cachestat", "statmount", "listmount",
    ]),
    // Extended attributes.
    always(&[
        "getxattr", "lgetxattr", "fgetxattr", "getxattrat", "setxattr", "lsetxattr", "fsetxattr", "setxattrat",
        "listxattr", "llistxattr", "flistxattr", "listxattrat", "removexattr", "lremovexattr", "fremovexattr",
        "removexattrat",
    ]),
    // Watching files.
    always(&["inotify_init", "inotify_init1", "inotify_add_watch", "inotify_rm_watch", "fanotify_mark"]),
    // Waiting for descriptors; asynchronous I/O of the old kind.
    always(&[
        "poll", "ppoll", "ppoll_time64", "select", "_newselect", "pselect6", "pselect6_time64", "epoll_create",
        "epoll_create1", "epoll_ctl", "epoll_ctl_old", "epoll_wait", "epoll_wait_old", "epoll_pwait",
        "epoll_pwait2", "io_setup", "io_destroy", "io_submit", "io_cancel", "io_getevents", "io_pgetevents",
        "io_pgetevents_time64",
    ]),
    // Sockets, once they are made: `socket` itself depends on the address family.
    always(&[
        "socketpair", "bind", "listen", "accept", "accept4", "connect", "shutdown", "getsockname", "getpeername",
        "getsockopt", "setsockopt", "send", "sendto", "sendmsg", "sendmmsg", "recv", "recvfrom", "recvmsg",
        "recvmmsg", "recvmmsg_time64",
    ]),
    // Memory.
    always(&[
        "brk", "mmap", "mmap2", "munmap", "mremap", "mprotect", "madvise", "mincore", "msync", "mlock", "mlock2",
        "mlockall", "munlock", "munlockall", "remap_file_pages", "membarrier", "mseal", "map_shadow_stack",
        "pkey_alloc", "pkey_free", "pkey_mprotect",
    ]),
    // Processes and threads: `clone` and `clone3` depend on their flags.
    always(&[
        "fork", "vfork", "execve", "execveat", "exit", "exit_group", "wait4", "waitid", "waitpid", "getpid",
        "getppid", "gettid", "getpgid", "getpgrp", "setpgid", "getsid", "setsid", "pidfd_open",
        "pidfd_send_signal", "process_mrelease", "prctl", "rseq", "restart_syscall", "set_tid_address",
        "get_robust_list", "set_robust_list", "get_thread_area", "set_thread_area", "seccomp",
        "landlock_create_ruleset", "landlock_add_rule", "landlock_restrict_self", "uretprobe",
        "process_vm_readv", "process_vm_writev", "ptrace",
    ]),
    // Signals.
    always(&[
        "kill", "tkill", "tgkill", "pause", "rt_sigaction", "rt_sigpending", "rt_sigprocmask", "rt_sigqueueinfo",
        "rt_sigreturn", "rt_sigsuspend", "rt_sigtimedwait", "rt_sigtimedwait_time64", "rt_tgsigqueueinfo",
        "sigaltstack", "signalfd", "signalfd4", "sigprocmask", "sigreturn",
    ]),
    // Users, groups, capabilities: the kernel judges them by the caller's capabilities.
    always(&[
        "getuid", "getuid32", "geteuid", "geteuid32", "getgid", "getgid32", "getegid", "getegid32", "getresuid",
        "getresuid32", "getresgid", "getresgid32", "getgroups", "getgroups32", "setuid", "setuid32", "setgid",
        "setgid32", "setreuid", "setreuid32", "setregid", "setregid32", "setresuid", "setresuid32", "setresgid",
        "setresgid32", "setfsuid", "setfsuid32", "setfsgid", "setfsgid32", "setgroups", "setgroups32", "capget",
        "capset",
    ]),
    // Scheduling and limits.
    always(&[
        "sched_yield", "sched_getaffinity", "sched_setaffinity", "sched_getattr", "sched_setattr",
        "sched_getparam", "sched_setparam", "sched_getscheduler", "sched_setscheduler", "sched_get_priority_max",
        "sched_get_priority_min", "sched_rr_get_interval", "sched_rr_get_interval_time64", "getcpu",
        "getpriority", "setpriority", "ioprio_get", "ioprio_set", "getrlimit", "ugetrlimit", "setrlimit",
        "prlimit64", "getrusage", "times",
    ]),
    // Time: the clock is adjusted through the same calls that read how far it is adjusted.
    always(&[
        "time", "gettimeofday", "clock_gettime", "clock_gettime64", "clock_getres", "clock_getres_time64",
        "clock_adjtime", "clock_adjtime64", "adjtimex", "nanosleep", "clock_nanosleep",
        "clock_nanosleep_time64", "alarm", "getitimer", "setitimer", "timer_create", "timer_delete",
        "timer_getoverrun", "timer_gettime", "timer_gettime64", "timer_settime", "timer_settime64",
        "timerfd_create", "timerfd_gettime", "timerfd_gettime64", "timerfd_settime", "timerfd_settime64",
    ]),
    // Locks, and messages between processes, which stay inside the IPC namespace.
    always(&[
        "futex", "futex_time64", "futex_waitv", "futex_wait", "futex_wake", "futex_requeue", "ipc", "semget",
        "semctl", "semop", "semtimedop", "semtimedop_time64", "shmget", "shmat", "shmdt", "shmctl", "msgget",
        "msgctl", "msgsnd", "msgrcv", "mq_open", "mq_unlink", "mq_getsetattr", "mq_notify", "mq_timedsend",
        "mq_timedsend_time64", "mq_timedreceive", "mq_timedreceive_time64",
    ]),
    // The machine.
    always(&["uname", "sysinfo", "getrandom"]),
    // One architecture's own.
    on(&["amd64"], &["arch_prctl", "modify_ldt"]),
    on(&["arm64"], &[
        "arm_fadvise64_64", "arm_sync_file_range", "sync_file_range2", "breakpoint", "cacheflush", "set_tls",
    ]),
    on(&["riscv64"], &["riscv_flush_icache", "riscv_hwprobe"]),
    on(&["ppc64le"], &["sync_file_range2", "swapcontext"]),
    on(&["s390x"], &["s390_pci_mmio_read", "s390_pci_mmio_write", "s390_runtime_instr"]),
    // What a capability is for.
    holds(Capability::SysAdmin, &[
        "clone", "clone3", "unshare", "setns", "mount", "umount", "umount2", "mount_setattr", "move_mount",
        "open_tree", "fsopen", "fsconfig", "fsmount", "fspick", "sethostname", "setdomainname", "quotactl",
        "quotactl_fd", "fanotify_init", "lookup_dcookie", "bpf", "perf_event_open", "syslog",
        "lsm_get_self_attr", "lsm_set_self_attr", "lsm_list_modules",
    ]),
    holds(Capability::Bpf, &["bpf"]),
    holds(Capability::Perfmon, &["perf_event_open"]),
    holds(Capability::Syslog, &["syslog"]),
    holds(Capability::DacReadSearch, &["open_by_handle_at"]),
    holds(Capability::SysBoot, &["reboot"]),
    holds(Capability::SysChroot, &["chroot"]),
    holds(Capability::SysModule, &["init_module", "finit_module", "delete_module"]),
    holds(Capability::SysNice, &["get_mempolicy", "set_mempolicy", "set_mempolicy_home_node", "mbind"]),
    holds(Capability::SysPacct, &["acct"]),
    holds(Capability::SysPtrace, &["kcmp", "pidfd_getfd", "process_madvise"]),
    holds(Capability::SysRawio, &["ioperm", "iopl"]),
    holds(Capability::SysTime, &["settimeofday", "stime", "clock_settime", "clock_settime64"]),
    holds(Capability::SysTtyConfig, &["vhangup"]),
];
