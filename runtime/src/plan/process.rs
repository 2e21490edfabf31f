//! `process`, for `create` and for `exec`.

use std::ffi::{CString, OsStr};

use rustix::process::Resource;

use super::{mounts::inside, text};
use crate::{
    capabilities::{self, Sets},
    error::Error,
    spec::{Linux, Process, process::ConsoleSize},
};

/// A program, ready to be run.
#[derive(Debug)]
pub(crate) struct ProcessPlan {
    pub(crate) args: Vec<CString>,
    pub(crate) env: Vec<CString>,
    /// Absolute, cleaned.
    pub(crate) cwd: CString,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) groups: Vec<u32>,
    pub(crate) umask: u32,
    /// `None` if the bundle names none at all.
    pub(crate) capabilities: Option<Sets>,
    pub(crate) rlimits: Vec<RlimitPlan>,
    pub(crate) oom_score_adj: Option<i32>,
    pub(crate) no_new_privileges: bool,
    pub(crate) terminal: bool,
    pub(crate) console_size: Option<ConsoleSize>,
}

/// One resource limit.
#[derive(Debug)]
pub(crate) struct RlimitPlan {
    pub(crate) resource: Resource,
    pub(crate) name: String,
    pub(crate) soft: u64,
    pub(crate) hard: u64,
}

impl ProcessPlan {
    /// Hands on the sockets that a service manager opened for this process, as its variable says how many.
    pub(crate) fn hand_on_sockets(&mut self, variable: Option<&OsStr>) -> Result<u32, Error> {
        let Some(text) = variable.filter(|text| !text.is_empty()) else {
            return Ok(0);
        };
        // More descriptors than a process may have open is a mistake.
        let count = text
            .to_str()
            .and_then(|text| text.parse().ok())
            .filter(|count| *count <= 1 << 20);
        let count: u32 =
            count.ok_or_else(|| Error::Usage(format!("LISTEN_FDS: {text:?} is no number of sockets")))?;
        self.env
            .retain(|variable| !variable.to_bytes().starts_with(b"LISTEN_"));
        self.env.extend([
            super::text("LISTEN_FDS", &format!("LISTEN_FDS={count}"))?,
            c"LISTEN_PID=1".to_owned(),
        ]);
        Ok(count)
    }
}

/// Makes the plan of a process; `field` is its path in the file it comes from.
pub(crate) fn from_process(
    field: &str,
    process: &Process<'_>,
    warnings: &mut Vec<String>,
) -> Result<ProcessPlan, Error> {
    refuse_unbuilt(field, process)?;
    if process.args.is_empty() {
        return Err(Error::refused(format!("{field}.args"), "is empty"));
    }
    let user = &process.user;
    if user.uid == u32::MAX || user.gid == u32::MAX || user.additional_gids.contains(&u32::MAX) {
        return Err(Error::refused(format!("{field}.user"), "4294967295 is no id"));
    }
    if let Some(adjustment) = process
        .oom_score_adj
        .filter(|score| !(-1000..=1000).contains(score))
    {
        return Err(Error::refused(
            format!("{field}.oomScoreAdj"),
            format!("{adjustment} is not in -1000..=1000"),
        ));
    }
    if let Some(umask) = user.umask.filter(|umask| *umask > 0o777) {
        return Err(Error::refused(
            format!("{field}.user.umask"),
            format!("{umask:o} is more than 777"),
        ));
    }
    let capabilities = process.capabilities.as_ref();
    Ok(ProcessPlan {
        args: strings(&format!("{field}.args"), &process.args)?,
        env: environment(field, process)?,
        cwd: cwd(field, process)?,
        uid: user.uid,
        gid: user.gid,
        groups: user.additional_gids.clone(),
        umask: user.umask.unwrap_or(0o022),
        capabilities: capabilities
            .map(|sets| capabilities::parse(&format!("{field}.capabilities"), sets, warnings)),
        rlimits: rlimits(field, process)?,
        oom_score_adj: process.oom_score_adj,
        no_new_privileges: process.no_new_privileges,
        terminal: process.terminal,
        console_size: process.console_size.filter(|_| process.terminal),
    })
}

fn refuse_unbuilt(field: &str, process: &Process<'_>) -> Result<(), Error> {
    let named =
        |label: &Option<crate::spec::Text<'_>>| label.as_deref().is_some_and(|label| !label.is_empty());
    let unbuilt = [
        ("apparmorProfile", named(&process.apparmor_profile)),
        ("selinuxLabel", named(&process.selinux_label)),
        ("scheduler", process.scheduler.is_some()),
        ("ioPriority", process.io_priority.is_some()),
        ("execCPUAffinity", process.exec_cpu_affinity.is_some()),
    ];
    match unbuilt.iter().find(|(_, asked)| *asked) {
        Some((name, _)) => Err(Error::refused(format!("{field}.{name}"), "not supported yet")),
        None => Ok(()),
    }
}

fn strings(field: &str, list: &[crate::spec::Text<'_>]) -> Result<Vec<CString>, Error> {
    list.iter()
        .enumerate()
        .map(|(index, value)| text(format!("{field}[{index}]"), value))
        .collect()
}

fn environment(field: &str, process: &Process<'_>) -> Result<Vec<CString>, Error> {
    for (index, variable) in process.env.iter().enumerate() {
        if variable.find('=').is_none_or(|place| place == 0) {
            let why = format!("{:?} is not NAME=value", &**variable);
            return Err(Error::refused(format!("{field}.env[{index}]"), why));
        }
    }
    strings(&format!("{field}.env"), &process.env)
}

fn cwd(field: &str, process: &Process<'_>) -> Result<CString, Error> {
    if !process.cwd.starts_with('/') {
        let why = format!("{:?} is not an absolute path", &*process.cwd);
        return Err(Error::refused(format!("{field}.cwd"), why));
    }
    let inside = inside(&format!("{field}.cwd"), &process.cwd)?;
    let path = if inside.as_bytes() == b"." {
        "/".to_owned()
    } else {
        format!("/{}", inside.to_string_lossy())
    };
    text(format!("{field}.cwd"), &path)
}

fn rlimits(field: &str, process: &Process<'_>) -> Result<Vec<RlimitPlan>, Error> {
    let mut limits: Vec<RlimitPlan> = Vec::with_capacity(process.rlimits.len());
    for (index, limit) in process.rlimits.iter().enumerate() {
        let name = &*limit.kind;
        let kind = || format!("{field}.rlimits[{index}].type");
        let resource =
            rlimit(name).ok_or_else(|| Error::refused(kind(), format!("unknown limit {name:?}")))?;
        if limits.iter().any(|earlier| earlier.name == name) {
            return Err(Error::refused(kind(), format!("{name:?} is named twice")));
        }
        if limit.soft > limit.hard {
            let why = format!(
                "the soft limit {} is above the hard one {}",
                limit.soft, limit.hard
            );
            return Err(Error::refused(format!("{field}.rlimits[{index}]"), why));
        }
        limits.push(RlimitPlan {
            resource,
            name: name.to_owned(),
            soft: limit.soft,
            hard: limit.hard,
        });
    }
    Ok(limits)
}

fn rlimit(name: &str) -> Option<Resource> {
    Some(match name {
        "RLIMIT_CPU" => Resource::Cpu,
        "RLIMIT_FSIZE" => Resource::Fsize,
        "RLIMIT_DATA" => Resource::Data,
        "RLIMIT_STACK" => Resource::Stack,
        "RLIMIT_CORE" => Resource::Core,
        "RLIMIT_RSS" => Resource::Rss,
        "RLIMIT_NPROC" => Resource::Nproc,
        "RLIMIT_NOFILE" => Resource::Nofile,
        "RLIMIT_MEMLOCK" => Resource::Memlock,
        "RLIMIT_AS" => Resource::As,
        "RLIMIT_LOCKS" => Resource::Locks,
        "RLIMIT_SIGPENDING" => Resource::Sigpending,
        "RLIMIT_MSGQUEUE" => Resource::Msgqueue,
        "RLIMIT_NICE" => Resource::Nice,
        "RLIMIT_RTPRIO" => Resource::Rtprio,
        "RLIMIT_RTTIME" => Resource::Rttime,
        _ => return None,
    })
}

pub(super) fn personality(linux: &Linux<'_>) -> Result<Option<u64>, Error> {
    let Some(personality) = &linux.personality else {
        return Ok(None);
    };
    if !personality.flags.is_empty() {
        return Err(Error::refused("linux.personality.flags", "none is known"));
    }
    match &*personality.domain {
        "LINUX" => Ok(Some(0)),
        "LINUX32" => Ok(Some(8)),
        other => Err(Error::refused(
            "linux.personality.domain",
            format!("unknown domain {other:?}"),
        )),
    }
}
