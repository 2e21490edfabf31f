//! The bundle's `config.json`: what docker would ask of the runtime, from a container's state and its
//! mounted root.

mod capabilities;
mod files;
mod user;

use std::{
    fs, io,
    os::fd::AsFd,
    path::{Path, PathBuf},
};

use oci_spec::runtime::{
    Box as ConsoleSize, BoxBuilder, Capabilities, Linux, LinuxCapabilities, LinuxCpu, LinuxDeviceCgroup,
    LinuxDeviceType, LinuxMemory, LinuxNamespace, LinuxNamespaceType, LinuxPids, LinuxResources, Mount,
    Process as SpecProcess, Root, Spec, User as SpecUser,
};
use rustix::fs::{AtFlags, Mode, OFlags, mkdirat};

pub use capabilities::normalise as normalise_capability;
pub(crate) use user::open_inside;
pub use user::{User, UserError, resolve as resolve_user};

use super::{
    State, seccomp,
    state::{Host, Limits, NetworkMode, Process},
};
use crate::{
    error::{Error, Kind, Result},
    network::Lease,
};

const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const CPU_PERIOD_US: u64 = 100_000;

const MASKED: &[&str] = &[
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
];

const READ_ONLY: &[&str] = &[
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
];

/// Where the parts of a bundle are.
#[derive(Debug, Clone)]
pub struct Places<'a> {
    /// The container's folder: the files for `/etc` are made here.
    pub folder: &'a Path,
    /// The mounted root.
    pub root: &'a Path,
}

/// Makes the files that the container finds in `/etc`, its working folder, and the `config.json`.
///
/// # Errors
/// A user that the image does not know, a working folder that cannot be made.
pub fn build(
    state: &State,
    places: &Places<'_>,
    lease: Option<&Lease>,
    size: Option<(u16, u16)>,
) -> Result<Spec> {
    let root = fs::File::open(places.root)
        .map_err(|error| Error::io(format!("open {}", places.root.display()), error))?;
    let user = resolve_user(root.as_fd(), &state.process.user)
        .map_err(|error| Error::engine(Kind::CannotStart, error.to_string()))?;
    write_files(state, places.folder, lease)?;
    make_working_folder(&root, &state.process.working_dir, &user)?;
    let mut program = process(&state.process, &state.host, &user);
    let bounding = capabilities::granted(&state.host.cap_add, &state.host.cap_drop);
    program.set_console_size(size.and_then(console_size));
    let mut spec = Spec::default();
    spec.set_version("1.0.2".to_owned());
    let mut root = Root::default();
    root.set_path(places.root.to_owned())
        .set_readonly(Some(state.host.read_only));
    let hostname = match state.host.network {
        NetworkMode::Host if state.process.hostname.is_empty() => host_name(),
        _ => state.process.hostname.clone(),
    };
    spec.set_root(Some(root))
        .set_hostname(Some(hostname))
        .set_process(Some(program))
        .set_mounts(Some(mounts(state, places.folder)?))
        .set_linux(Some(linux(state, &bounding)));
    Ok(spec)
}

fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

fn console_size((rows, columns): (u16, u16)) -> Option<ConsoleSize> {
    BoxBuilder::default().height(rows).width(columns).build().ok()
}

/// The process section: the container's own program, or one that joins it.
pub fn process(process: &Process, host: &Host, user: &User) -> SpecProcess {
    let mut who = SpecUser::default();
    who.set_uid(user.uid)
        .set_gid(user.gid)
        .set_additional_gids(Some(user.groups.clone()));
    let granted = capabilities::granted(&host.cap_add, &host.cap_drop);
    let mut capabilities = LinuxCapabilities::default();
    // Docker: what execve would take from a user who is not root is not given first.
    let effective = if user.uid == 0 {
        granted.clone()
    } else {
        Default::default()
    };
    capabilities
        .set_bounding(Some(granted))
        .set_effective(Some(effective.clone()))
        .set_permitted(Some(effective))
        .set_inheritable(Some(Default::default()))
        .set_ambient(Some(Default::default()));
    let mut spec = SpecProcess::default();
    spec.set_terminal(Some(process.terminal))
        .set_user(who)
        .set_args(Some(process.arguments()))
        .set_env(Some(environment(process, &user.home)))
        .set_cwd(PathBuf::from(working_dir(&process.working_dir)))
        .set_capabilities(Some(capabilities))
        .set_rlimits(None)
        .set_no_new_privileges(Some(false));
    spec
}

fn working_dir(path: &str) -> &str {
    if path.is_empty() { "/" } else { path }
}

/// PATH, HOSTNAME and TERM, then the container's own, then HOME; a later one of a name replaces an earlier.
fn environment(process: &Process, home: &str) -> Vec<String> {
    let mut all = vec![PATH.to_owned(), format!("HOSTNAME={}", process.hostname)];
    if process.terminal {
        all.push("TERM=xterm".to_owned());
    }
    for variable in &process.env {
        set_variable(&mut all, variable);
    }
    if !all.iter().any(|variable| variable.starts_with("HOME=")) {
        all.push(format!("HOME={home}"));
    }
    all
}

/// Sets `NAME=value` in a list of them, in the place of the one of that name.
pub fn set_variable(list: &mut Vec<String>, variable: &str) {
    let name = variable.split('=').next().unwrap_or_default();
    let same = |other: &String| other.split('=').next() == Some(name);
    match list.iter_mut().find(|other| same(other)) {
        Some(other) => variable.clone_into(other),
        None => list.push(variable.to_owned()),
    }
}

fn write_files(state: &State, folder: &Path, lease: Option<&Lease>) -> Result<()> {
    let own = lease.map(|lease| lease.address);
    let shares_host = state.host.network == NetworkMode::Host;
    let name = &state.process.hostname;
    let servers =
        files::resolv_conf(shares_host).map_err(|error| Error::io("read /etc/resolv.conf", error))?;
    let texts = [
        ("hosts", files::hosts(name, own, &state.host.extra_hosts)),
        ("hostname", format!("{name}\n")),
        ("resolv.conf", servers),
    ];
    for (file, text) in texts {
        let path = folder.join(file);
        write_readable(&path, &text)
            .map_err(|error| Error::io(format!("write {}", path.display()), error))?;
    }
    Ok(())
}

/// Everyone in the container may read it, whatever the umask here.
fn write_readable(path: &Path, text: &str) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::write(path, text)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o644))
}

/// Makes the working folder where the image does not have it. It belongs to the user then.
fn make_working_folder(root: &fs::File, path: &str, user: &User) -> Result<()> {
    let failed = |error: io::Error| {
        Error::engine(
            Kind::CannotStart,
            format!("cannot make the working directory {path} in the container"),
        )
        .because(error)
    };
    let mut below = String::new();
    for part in path.split('/').filter(|part| !part.is_empty() && *part != ".") {
        let parent = open_inside(
            root,
            if below.is_empty() { "." } else { &below },
            OFlags::PATH | OFlags::DIRECTORY,
        )
        .map_err(failed)?;
        below = format!("{below}/{part}");
        match open_inside(root, &below, OFlags::PATH | OFlags::DIRECTORY) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                mkdirat(&parent, part, Mode::from_raw_mode(0o755)).map_err(|error| failed(error.into()))?;
                let (uid, gid) = (
                    rustix::fs::Uid::from_raw(user.uid),
                    rustix::fs::Gid::from_raw(user.gid),
                );
                rustix::fs::chownat(&parent, part, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
                    .map_err(|error| failed(error.into()))?;
            }
            Ok(_) => {}
            Err(error) => return Err(failed(error)),
        }
    }
    Ok(())
}

fn mounts(state: &State, folder: &Path) -> Result<Vec<Mount>> {
    let mut mounts: Vec<Mount> = [
        ("/proc", "proc", "proc", &["nosuid", "noexec", "nodev"][..]),
        (
            "/dev",
            "tmpfs",
            "tmpfs",
            &["nosuid", "strictatime", "mode=755", "size=65536k"],
        ),
        (
            "/dev/pts",
            "devpts",
            "devpts",
            &[
                "nosuid",
                "noexec",
                "newinstance",
                "ptmxmode=0666",
                "mode=0620",
                "gid=5",
            ],
        ),
        ("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", "ro"]),
        (
            "/sys/fs/cgroup",
            "cgroup",
            "cgroup",
            &["ro", "nosuid", "noexec", "nodev"],
        ),
        ("/dev/mqueue", "mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
        (
            "/dev/shm",
            "tmpfs",
            "shm",
            &["nosuid", "noexec", "nodev", "mode=1777", "size=67108864"],
        ),
    ]
    .into_iter()
    .map(|(target, kind, source, options)| mount(Path::new(target), kind, Path::new(source), options))
    .collect();
    for file in ["resolv.conf", "hostname", "hosts"] {
        let target = Path::new("/etc").join(file);
        if state.host.binds.iter().all(|bind| bind.target != target) {
            mounts.push(mount(&target, "bind", &folder.join(file), &["rbind", "rprivate"]));
        }
    }
    // A mount inside another one's folder comes after it.
    let mut binds: Vec<_> = state.host.binds.iter().collect();
    binds.sort_by_key(|bind| bind.target.components().count());
    for bind in binds {
        // Docker: a folder that is not there is made, for `-v` alone.
        if fs::symlink_metadata(&bind.source).is_err() {
            fs::create_dir_all(&bind.source).map_err(|error| {
                Error::engine(
                    Kind::CannotStart,
                    format!(
                        "error while creating mount source path '{}'",
                        bind.source.display()
                    ),
                )
                .because(error)
            })?;
        }
        let access = if bind.read_only { "ro" } else { "rw" };
        let propagation = bind.propagation.as_deref().unwrap_or("rprivate");
        mounts.push(mount(
            &bind.target,
            "bind",
            &bind.source,
            &["rbind", access, propagation],
        ));
    }
    Ok(mounts)
}

fn mount(target: &Path, kind: &str, source: &Path, options: &[&str]) -> Mount {
    let mut mount = Mount::default();
    mount
        .set_destination(target.to_owned())
        .set_typ(Some(kind.to_owned()))
        .set_source(Some(source.to_owned()))
        .set_options(Some(options.iter().map(|option| (*option).to_owned()).collect()));
    mount
}

fn linux(state: &State, bounding: &Capabilities) -> Linux {
    use LinuxNamespaceType::{Cgroup, Ipc, Mount, Network, Pid, Uts};
    let shares_host = state.host.network == NetworkMode::Host;
    let namespaces = [Mount, Uts, Ipc, Pid, Cgroup, Network]
        .into_iter()
        .filter(|kind| !(shares_host && *kind == Network))
        .map(|kind| {
            let mut namespace = LinuxNamespace::default();
            namespace.set_typ(kind);
            namespace
        })
        .collect();
    let texts = |list: &[&str]| Some(list.iter().map(|text| (*text).to_owned()).collect());
    let mut linux = Linux::default();
    linux
        .set_namespaces(Some(namespaces))
        .set_cgroups_path(Some(PathBuf::from(format!("/wharf-{}", state.id))))
        .set_masked_paths(texts(MASKED))
        .set_readonly_paths(texts(READ_ONLY))
        .set_devices(None)
        .set_seccomp(Some(seccomp::default_profile(bounding, crate::ARCHITECTURE)))
        .set_resources(Some(resources(&state.host.limits)));
    if !shares_host {
        let sysctls = [
            ("net.ipv4.ip_unprivileged_port_start", "0"),
            ("net.ipv4.ping_group_range", "0 2147483647"),
        ];
        linux.set_sysctl(Some(
            sysctls
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .into(),
        ));
    }
    linux
}

/// Docker's list of devices that a container may use, and the user's limits.
fn resources(limits: &Limits) -> LinuxResources {
    use LinuxDeviceType::{A, B, C};
    let device = |allow, kind, major: Option<i64>, minor: Option<i64>, access: &str| {
        let mut rule = LinuxDeviceCgroup::default();
        rule.set_allow(allow)
            .set_typ(Some(kind))
            .set_major(major)
            .set_minor(minor)
            .set_access(Some(access.to_owned()));
        rule
    };
    let mut devices = vec![
        device(false, A, None, None, "rwm"),
        device(true, C, None, None, "m"),
        device(true, B, None, None, "m"),
    ];
    for (major, minor) in [(1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 1), (5, 2)] {
        devices.push(device(true, C, Some(major), Some(minor), "rwm"));
    }
    devices.push(device(true, C, Some(136), None, "rwm"));
    let mut resources = LinuxResources::default();
    resources.set_devices(Some(devices));
    if let Some(bytes) = limits.memory_bytes {
        let mut memory = LinuxMemory::default();
        // Docker: as much swap again.
        memory
            .set_limit(Some(bytes))
            .set_swap(Some(bytes.saturating_mul(2)));
        resources.set_memory(Some(memory));
    }
    if let Some(nano) = limits.nano_cpus {
        let mut cpu = LinuxCpu::default();
        let quota = nano / (1_000_000_000 / i64::try_from(CPU_PERIOD_US).unwrap_or(i64::MAX));
        cpu.set_period(Some(CPU_PERIOD_US)).set_quota(Some(quota));
        resources.set_cpu(Some(cpu));
    }
    if let Some(limit) = limits.pids {
        let mut pids = LinuxPids::default();
        pids.set_limit(limit);
        resources.set_pids(Some(pids));
    }
    resources
}
