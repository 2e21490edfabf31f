//! The last part of both kinds of child: from root inside the container to the user's program.

use std::{
    ffi::{CStr, CString},
    os::fd::BorrowedFd,
};

use rustix::{
    fs::{Access, AtFlags, CWD, FileType, Gid, Mode, OFlags, Uid, accessat, fchown, fstat, openat, statat},
    io::Errno,
    process::{Rlimit, chdir, setrlimit, umask},
    thread::{
        set_keep_capabilities, set_no_new_privs, set_thread_groups, set_thread_res_gid, set_thread_res_uid,
    },
};

use super::message::{During, Failure, Phase};
use crate::{
    capabilities::{self, Sets},
    plan::ProcessPlan,
    seccomp::Program,
    sys, user,
};

const CAP_SYS_ADMIN: u64 = 1 << 21;

/// What runs, and with what.
pub(crate) struct Runnable<'a> {
    pub(crate) process: &'a ProcessPlan,
    /// The sets, if the process names none, of the container.
    pub(crate) capabilities: Sets,
    pub(crate) seccomp: Option<&'a Program>,
    pub(crate) personality: Option<u64>,
    /// How many descriptors above the standard three the program inherits.
    pub(crate) preserved: u32,
    /// Descriptors that are needed until the program starts.
    pub(crate) kept: Vec<BorrowedFd<'a>>,
    /// Whether the parent has set the limits.
    pub(crate) limits_set: bool,
}

/// A program found, by a process that may run it.
pub(crate) struct Found {
    path: CString,
    env: Vec<CString>,
    extra: u64,
}

/// Becomes the user with the rights the plan gives, in its folder, and looks the program up.
///
/// First of all it closes what leads back to the host.
pub(crate) fn become_user(runnable: &Runnable<'_>) -> Result<Found, Failure> {
    let process = runnable.process;
    if let Some(domain) = runnable.personality {
        sys::personality(domain).during(Phase::Personality)?;
    }
    sys::close_all_but(3 + runnable.preserved, &runnable.kept).during(Phase::Descriptors)?;
    umask(Mode::from_raw_mode(process.umask));
    if !runnable.limits_set {
        set_limits(process)?;
    }
    own_streams(process.uid);
    capabilities::bound(runnable.capabilities.bounding).during(Phase::BoundingSet)?;
    set_keep_capabilities(true).during(Phase::Capabilities)?;
    // As root first, since the user may lack the way there; as the user if only that one has it.
    let entered = chdir(&process.cwd);
    switch_ids(process)?;
    set_keep_capabilities(false).during(Phase::Capabilities)?;
    // Without no_new_privs a filter needs CAP_SYS_ADMIN; it is given back right after.
    let extra = if runnable.seccomp.is_some() && !process.no_new_privileges {
        CAP_SYS_ADMIN
    } else {
        0
    };
    capabilities::apply(&runnable.capabilities, extra).during(Phase::Capabilities)?;
    match entered {
        Ok(()) => {}
        Err(Errno::ACCESS | Errno::PERM) => chdir(&process.cwd).during(Phase::Cwd)?,
        Err(errno) => return Err(errno).during(Phase::Cwd),
    }
    check_cwd()?;
    if process.no_new_privileges {
        set_no_new_privs(true).during(Phase::NoNewPrivileges)?;
    }
    let env = environment(process);
    let path = look_up(process, &env)?;
    Ok(Found { path, env, extra })
}

/// Becomes the program. Comes back only with the reason why not.
pub(crate) fn execute(runnable: &Runnable<'_>, found: &Found) -> Failure {
    let failed = |phase, errno| Failure {
        phase,
        step: 0,
        errno,
    };
    for number in 3..3 + runnable.preserved {
        // These were left open by the caller for the program.
        if let Err(errno) = sys::keep_across_exec(number) {
            return failed(Phase::Descriptors, errno);
        }
    }
    sys::reset_signals();
    if let Some(program) = runnable.seccomp {
        if let Err(errno) = sys::install_seccomp(&program.instructions, program.flags) {
            return failed(Phase::Seccomp, errno);
        }
        if let Err(errno) = capabilities::drop_extra(&runnable.capabilities, found.extra) {
            return failed(Phase::Capabilities, errno);
        }
    }
    match nix::unistd::execve(&found.path, &runnable.process.args, &found.env) {
        Ok(never) => match never {},
        Err(errno) => failed(Phase::Execute, Errno::from_raw_os_error(errno as i32)),
    }
}

/// Sets the OOM score of this process, while the host's `/proc` is still in reach.
pub(crate) fn set_oom_score(process: &ProcessPlan) -> Result<(), Failure> {
    let Some(score) = process.oom_score_adj else {
        return Ok(());
    };
    let flags = OFlags::WRONLY | OFlags::CLOEXEC;
    let file = openat(CWD, c"/proc/self/oom_score_adj", flags, Mode::empty()).during(Phase::OomScore)?;
    rustix::io::write(&file, score.to_string().as_bytes())
        .map(drop)
        .during(Phase::OomScore)
}

/// Sets the resource limits of this process.
pub(crate) fn set_limits(process: &ProcessPlan) -> Result<(), Failure> {
    for (index, limit) in process.rlimits.iter().enumerate() {
        let step = u16::try_from(index).unwrap_or(u16::MAX);
        setrlimit(limit.resource, rlimit(limit.soft, limit.hard)).at(Phase::Rlimit, step)?;
    }
    Ok(())
}

/// A limit in the kernel's form: the largest number is none.
pub(crate) fn rlimit(soft: u64, hard: u64) -> Rlimit {
    let finite = |value: u64| (value != u64::MAX).then_some(value);
    Rlimit {
        current: finite(soft),
        maximum: finite(hard),
    }
}

fn switch_ids(process: &ProcessPlan) -> Result<(), Failure> {
    let groups: Vec<Gid> = process.groups.iter().map(|gid| Gid::from_raw(*gid)).collect();
    match set_thread_groups(&groups) {
        // A user namespace that forbids it, and nothing was asked for.
        Err(Errno::PERM) if groups.is_empty() => {}
        other => other.during(Phase::Groups)?,
    }
    let (uid, gid) = (Uid::from_raw(process.uid), Gid::from_raw(process.gid));
    set_thread_res_gid(gid, gid, gid).during(Phase::Gid)?;
    set_thread_res_uid(uid, uid, uid).during(Phase::Uid)
}

/// Gives the standard streams to the user, so that it can open `/dev/stdout` again.
fn own_streams(uid: u32) {
    let streams: [BorrowedFd<'_>; 3] = [
        rustix::stdio::stdin(),
        rustix::stdio::stdout(),
        rustix::stdio::stderr(),
    ];
    for stream in streams {
        let Ok(found) = fstat(stream) else { continue };
        let kind = FileType::from_raw_mode(found.st_mode);
        if found.st_uid == uid
            || !matches!(
                kind,
                FileType::Fifo | FileType::CharacterDevice | FileType::Socket
            )
        {
            continue;
        }
        // The host's /dev/null is everyone's.
        if kind == FileType::CharacterDevice && rustix::fs::major(found.st_rdev) == 1 {
            continue;
        }
        // A stream that cannot be given away (another user namespace's, a read-only one) still works.
        let _ = fchown(stream, Some(Uid::from_raw(uid)), None);
    }
}

/// Refuses a working directory that a leaked descriptor led out of the root.
fn check_cwd() -> Result<(), Failure> {
    let cwd = rustix::process::getcwd(Vec::new()).during(Phase::CwdOutside)?;
    // The kernel writes "(unreachable)" before a path outside the root.
    let inside = cwd.as_bytes().first() == Some(&b'/');
    (if inside { Ok(()) } else { Err(Errno::NOENT) }).during(Phase::CwdOutside)
}

fn value<'a>(env: &'a [CString], name: &[u8]) -> Option<&'a [u8]> {
    // The last one counts, as for getenv after setenv.
    env.iter()
        .rev()
        .find_map(|variable| variable.to_bytes().strip_prefix(name)?.strip_prefix(b"="))
}

fn environment(process: &ProcessPlan) -> Vec<CString> {
    let mut env = process.env.clone();
    if value(&env, b"HOME").is_none_or(<[u8]>::is_empty) {
        let mut home = b"HOME=".to_vec();
        home.extend(user::home(process.uid));
        env.retain(|variable| !variable.to_bytes().starts_with(b"HOME="));
        // `home` holds no NUL.
        env.extend(CString::new(home));
    }
    env
}

fn look_up(process: &ProcessPlan, env: &[CString]) -> Result<CString, Failure> {
    let name = process.args.first().ok_or(Errno::INVAL).during(Phase::LookUp)?;
    if name.to_bytes().contains(&b'/') {
        executable(name).during(Phase::LookUp)?;
        return Ok(name.clone());
    }
    let path = value(env, b"PATH").unwrap_or_default();
    for folder in path.split(|byte| *byte == b':') {
        let folder = if folder.is_empty() { b"." } else { folder };
        let candidate = [folder, b"/", name.to_bytes()].concat();
        if let Ok(candidate) = CString::new(candidate)
            && executable(&candidate).is_ok()
        {
            return Ok(candidate);
        }
    }
    Err(Errno::NOENT).during(Phase::NotInPath)
}

fn executable(path: &CStr) -> Result<(), Errno> {
    let found = statat(CWD, path, AtFlags::empty())?;
    if FileType::from_raw_mode(found.st_mode) == FileType::Directory {
        return Err(Errno::ACCESS);
    }
    accessat(CWD, path, Access::EXEC_OK, AtFlags::EACCESS)
}
