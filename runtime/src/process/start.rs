//! The parent's side of a container's creation.

use std::{
    os::fd::{AsFd, OwnedFd},
    path::PathBuf,
};

use rustix::{
    net::{AddressFamily, SocketFlags, SocketType, socketpair},
    process::{DumpableBehavior, Pid, prlimit, set_dumpable_behavior},
    thread::{LinkNameSpaceType, move_into_link_name_space},
};

use super::{
    init::{self, Init},
    message::{Message, Stage, go_on, hear},
    program::{Runnable, rlimit},
    relay::{self, Relay, Relayed},
    words,
};
use crate::{
    cgroups::Entrance,
    console::Console,
    error::{Doing, Error},
    hooks,
    lifecycle::Folder,
    plan::{KINDS, Plan, flag, map_text},
    rootfs,
    state::{Record, Status, process_stat},
    sys::{self, Side},
};

/// What the command line adds to the plan.
#[derive(Debug, Default)]
pub(crate) struct Options {
    /// Where the master of the terminal goes.
    pub(crate) console_socket: Option<PathBuf>,
    /// How many descriptors above the standard three the program inherits.
    pub(crate) preserved: u32,
    /// Do without `pivot_root`.
    pub(crate) no_pivot: bool,
    /// Keep the caller's session keyring.
    pub(crate) no_new_keyring: bool,
    /// Whether the master may come to this process, for want of a socket.
    pub(crate) foreground: bool,
    /// Whether the program waits for `start`.
    pub(crate) gated: bool,
}

/// A first process that is ready, or running if there is no gate.
pub(crate) struct Started {
    pub(crate) pid: Pid,
    pub(crate) pidfd: OwnedFd,
    /// The master of its terminal, if it came to this process.
    pub(crate) master: Option<OwnedFd>,
}

/// Makes the container's first process and brings it to the gate, or past it.
///
/// On failure the process is gone; the folder and the cgroups are the caller's to remove.
pub(crate) fn start(
    plan: &Plan<'_>,
    options: &Options,
    folder: &Folder,
    record: &mut Record,
) -> Result<Started, Error> {
    let entrance = Entrance::open(&record.layout)?;
    let joins = open_namespaces(plan)?;
    refuse_host_parameters(plan)?;
    let socket = options.console_socket.as_deref();
    let console = Console::open(socket, plan.process.terminal, options.foreground)?;
    let gate = if options.gated {
        Some(folder.make_gate()?)
    } else {
        None
    };
    let keyring = (!options.no_new_keyring)
        .then(|| std::ffi::CString::new(format!("_ses.{}", plan.id)).ok())
        .flatten();
    let (ours, theirs) = socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )
    .doing(|| "make a socket pair")?;
    // Nothing of the container may look into the child while it still has the runtime's memory and descriptors.
    set_dumpable_behavior(DumpableBehavior::NotDumpable).doing(|| "become undumpable")?;
    prepare_time_and_pids(plan, &joins)?;
    let (side, in_user_namespace) = make_child(plan, &entrance, &joins)?;
    match side {
        Side::Child => init::run(&Init {
            plan,
            layout: &record.layout,
            entrance: &entrance,
            socket: theirs.as_fd(),
            joins: &joins,
            in_user_namespace,
            gate: gate.as_ref().map(AsFd::as_fd),
            console: console.child_end(),
            how: how(plan, options),
            keyring: keyring.as_deref(),
            record,
            pause: needs_pause(plan),
            runnable: Runnable {
                process: &plan.process,
                capabilities: plan.process.capabilities.unwrap_or_default(),
                seccomp: plan.seccomp.as_ref(),
                personality: plan.personality,
                preserved: options.preserved,
                kept: gate.iter().chain([&theirs]).map(AsFd::as_fd).collect(),
                limits_set: limits_by_parent(plan),
            },
        }),
        Side::Parent { pid, pidfd } => {
            drop(theirs);
            let supervised = supervise(plan, pid, &ours, folder, record, options.gated);
            match supervised.and_then(|()| console.master()) {
                Ok(master) => Ok(Started { pid, pidfd, master }),
                Err(error) => {
                    // It may have ended by itself; either way it is waited for.
                    let _ = sys::pidfd_send_signal(&pidfd, libc::SIGKILL);
                    let _ = super::exit_code(&pidfd);
                    Err(error)
                }
            }
        }
    }
}

/// The clone; answers too whether the child is in a joined user namespace already.
fn make_child(
    plan: &Plan<'_>,
    entrance: &Entrance,
    joins: &[(u16, u64, OwnedFd)],
) -> Result<(Side, bool), Error> {
    // A time namespace is made before, for its offsets; a cgroup namespace after, for its root.
    let new = plan.namespaces.new & !(flag::CGROUP | flag::TIME);
    let cgroup = entrance.v2.as_ref().map(AsFd::as_fd);
    let user = joins.iter().find(|(_, kind, _)| *kind == flag::USER && new != 0);
    let Some((index, _, namespace)) = user else {
        let side = sys::clone3(new, cgroup).doing(|| "linux.namespaces: make the container's process")?;
        return Ok((side, false));
    };
    match relay::clone3(&Relay {
        user: (*index, namespace),
        new,
        cgroup,
    })? {
        Relayed::Side(side) => Ok((side, true)),
        Relayed::Failed(failure) => Err(words::of_init(plan, failure)),
    }
}

/// The file system that namespaces are files of.
const NSFS_MAGIC: u32 = 0x6e73_6673;

/// Opens the namespaces to join. Those of pids are joined by the parent.
fn open_namespaces(plan: &Plan<'_>) -> Result<Vec<(u16, u64, OwnedFd)>, Error> {
    use rustix::fs::{Mode, OFlags, open};
    let each = plan.namespaces.join.iter().map(|join| {
        let doing = || format!("linux.namespaces[{}].path: open {:?}", join.index, join.path);
        let descriptor = open(&join.path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).doing(doing)?;
        let kind = rustix::fs::fstatfs(&descriptor).doing(doing)?.f_type;
        if u32::try_from(kind) != Ok(NSFS_MAGIC) {
            let field = format!("linux.namespaces[{}].path", join.index);
            return Err(Error::refused(field, format!("{:?} is no namespace", join.path)));
        }
        Ok((join.index, join.flag, descriptor))
    });
    let opened: Vec<_> = each.collect::<Result<_, Error>>()?;
    Ok(opened)
}

/// Refuses parameters of a namespace that is joined by path and is the runtime's own.
fn refuse_host_parameters(plan: &Plan<'_>) -> Result<(), Error> {
    for sysctl in &plan.sysctl {
        let Some(join) = plan.namespaces.joined(sysctl.flag) else {
            continue;
        };
        let name = KINDS
            .iter()
            .find(|(_, _, flag)| *flag == sysctl.flag)
            .map_or("net", |(_, name, _)| *name);
        let theirs = rustix::fs::stat(&join.path).doing(|| format!("look at {:?}", join.path))?;
        let ours = rustix::fs::stat(format!("/proc/self/ns/{name}")).doing(|| "look at an own namespace")?;
        if (theirs.st_dev, theirs.st_ino) == (ours.st_dev, ours.st_ino) {
            let field = format!("linux.sysctl[{:?}]", sysctl.key);
            return Err(Error::refused(field, "the namespace joined is the host's"));
        }
    }
    Ok(())
}

/// What only takes hold of children: a joined pid namespace, and a new time namespace, whose offsets must be
/// written while nobody is in it.
fn prepare_time_and_pids(plan: &Plan<'_>, joins: &[(u16, u64, OwnedFd)]) -> Result<(), Error> {
    if let Some((index, _, namespace)) = joins.iter().find(|(_, kind, _)| *kind == flag::PID) {
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::ProcessID))
            .doing(|| format!("linux.namespaces[{index}].path: join the pid namespace"))?;
    }
    if plan.namespaces.makes(flag::TIME) {
        sys::unshare(0x80).doing(|| "linux.namespaces: make a time namespace")?;
        if !plan.time_offsets.is_empty() {
            std::fs::write("/proc/self/timens_offsets", &plan.time_offsets)
                .doing(|| "linux.timeOffsets: set")?;
        }
    }
    Ok(())
}

fn how(plan: &Plan<'_>, options: &Options) -> rootfs::How {
    match (plan.namespaces.has_mount(), options.no_pivot) {
        (false, _) => rootfs::How::Chroot,
        (true, true) => rootfs::How::Move,
        (true, false) => rootfs::How::Pivot,
    }
}

/// In a user namespace the child may not raise limits; the parent sets them.
fn limits_by_parent(plan: &Plan<'_>) -> bool {
    plan.namespaces.own(flag::USER) && !plan.process.rlimits.is_empty()
}

/// In a user namespace the child may not lower its score either.
fn score_by_parent(plan: &Plan<'_>) -> bool {
    plan.namespaces.own(flag::USER) && plan.process.oom_score_adj.is_some()
}

fn needs_pause(plan: &Plan<'_>) -> bool {
    let hooked = plan
        .hooks
        .is_some_and(|hooks| !hooks.prestart.is_empty() || !hooks.create_runtime.is_empty());
    hooked || limits_by_parent(plan) || score_by_parent(plan)
}

/// The state as hooks read it.
pub(crate) fn hook_state(record: &Record, status: Status) -> Result<String, Error> {
    serde_json::to_string(&record.show(status))
        .map_err(|error| Error::Other(format!("the state for hooks: {error}")))
}

/// Brings the child from the clone to the point where it is ready.
fn supervise(
    plan: &Plan<'_>,
    pid: Pid,
    socket: &OwnedFd,
    folder: &Folder,
    record: &mut Record,
    gated: bool,
) -> Result<(), Error> {
    let number = pid.as_raw_nonzero().get();
    if plan.namespaces.makes(flag::USER) {
        for (file, field, map) in [
            ("uid_map", "uidMappings", plan.uid_mappings),
            ("gid_map", "gidMappings", plan.gid_mappings),
        ] {
            std::fs::write(format!("/proc/{number}/{file}"), map_text(map))
                .doing(|| format!("linux.{field}: map"))?;
        }
        go_on(socket).doing(|| "linux.uidMappings: tell the process")?;
    }
    let (_, start_time) = process_stat(number)
        .ok_or_else(|| Error::Other("the container's process ended before it was ready".to_owned()))?;
    (record.pid, record.start_time) = (number, start_time);
    folder.save_process(record)?;
    listen(plan, pid, socket, record, gated)
}

/// Hears the child out. Each point comes once, in order; the pause only if it was asked for.
fn listen(plan: &Plan<'_>, pid: Pid, socket: &OwnedFd, record: &Record, gated: bool) -> Result<(), Error> {
    let mut paused = !needs_pause(plan);
    let mut ready = false;
    loop {
        match hear(socket).doing(|| "hear the container's process")? {
            Some(Message::Failed(failure)) => return Err(words::of_init(plan, failure)),
            Some(Message::Reached(Stage::Namespaces)) if !paused => {
                paused = true;
                attend(plan, pid, record)?;
                go_on(socket).doing(|| "let the container's process go on")?;
            }
            Some(Message::Reached(Stage::Ready)) if paused && !ready => {
                ready = true;
                if gated {
                    return Ok(());
                }
            }
            // Without a gate the socket closes when the program has begun.
            None if ready => return Ok(()),
            None => {
                return Err(Error::Other(
                    "the container's process ended before it was ready".to_owned(),
                ));
            }
            Some(Message::Reached(stage)) => {
                return Err(Error::Other(format!(
                    "the container's process said {stage:?} out of turn"
                )));
            }
        }
    }
}

/// What the parent does while the child waits before the change of the root.
fn attend(plan: &Plan<'_>, pid: Pid, record: &Record) -> Result<(), Error> {
    if limits_by_parent(plan) {
        for (index, limit) in plan.process.rlimits.iter().enumerate() {
            prlimit(Some(pid), limit.resource, rlimit(limit.soft, limit.hard))
                .map(drop)
                .doing(|| format!("process.rlimits[{index}]: set {}", limit.name))?;
        }
    }
    if let Some(score) = plan.process.oom_score_adj.filter(|_| score_by_parent(plan)) {
        std::fs::write(
            format!("/proc/{}/oom_score_adj", pid.as_raw_nonzero()),
            score.to_string(),
        )
        .doing(|| format!("process.oomScoreAdj: set {score}"))?;
    }
    let Some(hooks) = plan.hooks else { return Ok(()) };
    let state = hook_state(record, Status::Creating)?;
    hooks::run_all("prestart", &hooks.prestart, &state)?;
    hooks::run_all("createRuntime", &hooks.create_runtime, &state)
}

impl Options {
    /// Refuses descriptors to inherit that are not open.
    pub(crate) fn check_preserved(&self) -> Result<(), Error> {
        for number in 3..3 + self.preserved {
            if rustix::fs::stat(format!("/proc/self/fd/{number}")).is_err() {
                return Err(Error::Usage(format!(
                    "--preserve-fds: descriptor {number} is not open"
                )));
            }
        }
        Ok(())
    }
}
