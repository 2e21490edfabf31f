//! The container's first process, from the clone to the program.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::{
    io::Errno,
    process::{Gid, Signal, Uid, set_parent_process_death_signal, setsid},
    thread::{LinkNameSpaceType, move_into_link_name_space, set_thread_res_gid, set_thread_res_uid},
};

use super::{
    message::{During, Failure, Message, Phase, Stage, await_go_on, peer_is_gone, tell},
    program::{self, Runnable},
};
use crate::{
    cgroups::{Entrance, Layout},
    handover, hooks,
    plan::{Plan, flag},
    pty, rootfs,
    spec::Hook,
    state::{Record, Status},
    sys, sysctl,
};

/// What the parent prepared for the child.
pub(crate) struct Init<'a> {
    pub(crate) plan: &'a Plan<'a>,
    pub(crate) layout: &'a Layout,
    pub(crate) entrance: &'a Entrance,
    /// To the parent.
    pub(crate) socket: BorrowedFd<'a>,
    /// Namespaces to join: place in the bundle's list, kind, descriptor.
    pub(crate) joins: &'a [(u16, u64, OwnedFd)],
    /// Whether the user namespace among them is joined already.
    pub(crate) in_user_namespace: bool,
    /// Where the start is awaited; without one it is not.
    pub(crate) gate: Option<BorrowedFd<'a>>,
    pub(crate) console: Option<BorrowedFd<'a>>,
    pub(crate) how: rootfs::How,
    pub(crate) keyring: Option<&'a std::ffi::CStr>,
    /// What hooks are told of.
    pub(crate) record: &'a Record,
    /// Whether the parent is to be asked between the mounts and the change of the root.
    pub(crate) pause: bool,
    pub(crate) runnable: Runnable<'a>,
}

/// Runs the child. It ends as the program, or with a message to whoever waits.
pub(crate) fn run(init: &Init<'_>) -> ! {
    // Nobody is left to be told once the gate is open, except who opened it.
    // A creation that is killed takes its half-made container with it, also one that was killed before this.
    let _ = set_parent_process_death_signal(Some(Signal::KILL));
    if close_others(init).is_err() || peer_is_gone(init.socket) {
        sys::exit_now(1);
    }
    let found = match prepare(init) {
        Err(failure) => {
            tell(init.socket, Message::Failed(failure));
            sys::exit_now(1)
        }
        Ok(found) => found,
    };
    // Up to here this process is part of a command; from here on it is a container that outlives it.
    let _ = set_parent_process_death_signal(None);
    let Some(gate) = init.gate else {
        tell(init.socket, Message::Reached(Stage::Ready));
        tell(init.socket, Message::Failed(finish(init, &found)));
        sys::exit_now(1)
    };
    tell(init.socket, Message::Reached(Stage::Ready));
    let Ok(starter) = await_start(gate) else {
        sys::exit_now(1)
    };
    tell(&starter, Message::Failed(finish(init, &found)));
    sys::exit_now(1)
}

/// Closes what the parent alone needs: its lock, its log, its end of the pair.
fn close_others(init: &Init<'_>) -> Result<(), Errno> {
    let mut kept = vec![init.socket];
    kept.extend(init.gate);
    kept.extend(init.console);
    kept.extend(init.entrance.tasks.iter().map(AsFd::as_fd));
    kept.extend(init.joins.iter().map(|(_, _, namespace)| namespace.as_fd()));
    sys::close_all_but(3 + init.runnable.preserved, &kept)
}

/// All that can be done before the start.
fn prepare(init: &Init<'_>) -> Result<program::Found, Failure> {
    let plan = init.plan;
    let user_namespace = plan.namespaces.own(flag::USER);
    init.entrance.join_v1().during(Phase::JoinCgroup)?;
    if plan.namespaces.makes(flag::USER) {
        let mapped = await_go_on(init.socket).during(Phase::AwaitMaps)?;
        (if mapped { Ok(()) } else { Err(Errno::PIPE) }).during(Phase::AwaitMaps)?;
        become_root().during(Phase::BecomeRoot)?;
    }
    if init.in_user_namespace {
        become_root().during(Phase::BecomeRoot)?;
    }
    let user = |kind: u64| kind == flag::USER && init.in_user_namespace;
    for (index, kind, namespace) in init.joins.iter().filter(|(_, kind, _)| !user(*kind)) {
        join(*kind, namespace).at(Phase::JoinNamespace, *index)?;
        if *kind == flag::USER {
            become_root().during(Phase::BecomeRoot)?;
        }
    }
    if plan.namespaces.makes(flag::CGROUP) {
        sys::unshare(libc::CLONE_NEWCGROUP).during(Phase::NewCgroupNamespace)?;
    }
    if plan.namespaces.makes(flag::NETWORK) {
        sys::bring_loopback_up().during(Phase::Loopback)?;
    }
    setsid().during(Phase::Session)?;
    if let Some(name) = init.keyring {
        match sys::join_session_keyring(name) {
            // A kernel without keys has none to leak.
            Ok(()) | Err(Errno::NOSYS) => {}
            Err(errno) => return Err(errno).during(Phase::Keyring),
        }
    }
    if !user_namespace {
        program::set_oom_score(&plan.process)?;
    }
    enter_root(init, user_namespace)?;
    program::become_user(&init.runnable)
}

/// Everything about the file system, the names and the parameters.
fn enter_root(init: &Init<'_>, user_namespace: bool) -> Result<(), Failure> {
    let plan = init.plan;
    let mut devpts = None;
    let root = if plan.namespaces.has_mount() {
        let root = rootfs::attach_root(plan)?;
        devpts = rootfs::mount_all(plan, root.as_fd(), init.layout)?.devpts;
        if !plan.devices.is_empty() {
            rootfs::make_devices(plan, root.as_fd(), user_namespace)?;
            rootfs::make_links(root.as_fd(), devpts.is_some())?;
        }
        root
    } else {
        rootfs::open_root(plan)?
    };
    if let Some(name) = plan.hostname {
        rustix::system::sethostname(name.as_bytes()).during(Phase::Hostname)?;
    }
    if let Some(name) = plan.domainname {
        rustix::system::setdomainname(name.as_bytes()).during(Phase::Domainname)?;
    }
    sysctl::write_all(&plan.sysctl)?;
    let terminal = terminal(init, root.as_fd(), devpts)?;
    rootfs::hide_all(plan, root.as_fd())?;
    if init.pause {
        tell(init.socket, Message::Reached(Stage::Namespaces));
        let allowed = await_go_on(init.socket).during(Phase::AwaitRuntimeHooks)?;
        (if allowed { Ok(()) } else { Err(Errno::CANCELED) }).during(Phase::AwaitRuntimeHooks)?;
    }
    if let Some(hooks) = plan.hooks {
        run_hooks(
            init,
            &hooks.create_container,
            Status::Creating,
            Phase::CreateContainerHook,
        )?;
    }
    let cwd = plan
        .process
        .cwd
        .to_bytes()
        .strip_prefix(b"/")
        .filter(|cwd| !cwd.is_empty());
    if let Some(cwd) = cwd.and_then(|cwd| std::ffi::CString::new(cwd).ok()) {
        // A folder that cannot be made shows, as missing, when it is entered.
        let _ = rootfs::create_dirs(root.as_fd(), &cwd, false);
    }
    rootfs::change(root.as_fd(), init.how).during(Phase::Pivot)?;
    if plan.namespaces.has_mount() {
        rootfs::finish_propagation(plan, &root)?;
    }
    if plan.root_readonly {
        rootfs::make_readonly(&root)?;
    }
    if let Some(terminal) = terminal {
        pty::take(&terminal.slave).during(Phase::Console)?;
    }
    Ok(())
}

/// The terminal, if there is to be one: shown as `/dev/console`, its master sent to the caller.
fn terminal(
    init: &Init<'_>,
    root: BorrowedFd<'_>,
    devpts: Option<OwnedFd>,
) -> Result<Option<pty::Pty>, Failure> {
    let Some(socket) = init.console.filter(|_| init.plan.process.terminal) else {
        return Ok(None);
    };
    let devpts = match devpts {
        Some(devpts) => devpts,
        None => pty::host_devpts().during(Phase::Console)?,
    };
    let terminal = pty::open(devpts.as_fd(), init.plan.process.console_size).during(Phase::Console)?;
    if init.plan.namespaces.has_mount() && !init.plan.devices.is_empty() {
        pty::mount_console(&terminal, devpts.as_fd(), root).during(Phase::Console)?;
    }
    handover::send(socket, &terminal.master, b"/dev/ptmx").during(Phase::ConsoleSend)?;
    Ok(Some(terminal))
}

/// Joins a namespace.
fn join(kind: u64, namespace: &OwnedFd) -> Result<(), Errno> {
    let kind = match kind {
        flag::USER => LinkNameSpaceType::User,
        flag::MOUNT => LinkNameSpaceType::Mount,
        flag::CGROUP => LinkNameSpaceType::ControlGroup,
        flag::UTS => LinkNameSpaceType::HostNameAndNISDomainName,
        flag::IPC => LinkNameSpaceType::InterProcessCommunication,
        flag::NETWORK => LinkNameSpaceType::Network,
        flag::TIME => LinkNameSpaceType::Time,
        _ => LinkNameSpaceType::ProcessID,
    };
    move_into_link_name_space(namespace.as_fd(), Some(kind))
}

/// Becomes root of the user namespace that this process is in.
pub(super) fn become_root() -> Result<(), Errno> {
    let (uid, gid) = (Uid::ROOT, Gid::ROOT);
    set_thread_res_gid(gid, gid, gid)?;
    set_thread_res_uid(uid, uid, uid)
}

/// Waits until `start` says go. A connection that ends without a word was only a look.
fn await_start(gate: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    loop {
        match rustix::net::accept_with(gate, rustix::net::SocketFlags::CLOEXEC) {
            Ok(starter) if await_go_on(&starter).unwrap_or(false) => return Ok(starter),
            Ok(_) | Err(Errno::INTR | Errno::CONNABORTED) => {}
            Err(errno) => return Err(errno),
        }
    }
}

/// From the start to the program.
fn finish(init: &Init<'_>, found: &program::Found) -> Failure {
    let hooks = init
        .plan
        .hooks
        .map(|hooks| hooks.start_container.as_slice())
        .unwrap_or_default();
    match run_hooks(init, hooks, Status::Created, Phase::StartContainerHook) {
        Err(failure) => failure,
        Ok(()) => program::execute(&init.runnable, found),
    }
}

/// Runs hooks in here. The process id they read is the one that is seen from here.
fn run_hooks(init: &Init<'_>, list: &[Hook<'_>], status: Status, phase: Phase) -> Result<(), Failure> {
    if list.is_empty() {
        return Ok(());
    }
    let mut shown = init.record.show(status);
    shown.pid = Some(rustix::process::getpid().as_raw_nonzero().get());
    let state = serde_json::to_string(&shown)
        .map_err(|_unwritable| Errno::INVAL)
        .during(phase)?;
    hooks::run_in_child(list, &state, phase)
}
