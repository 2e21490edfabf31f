//! The child's failures in words: `field: what was tried`, from the plan.

use super::message::{Failure, Phase};
use crate::{
    error::Error,
    plan::{MountKind, MountPlan, Plan, ProcessPlan},
};

/// The failure of a container's first process as an error.
pub(crate) fn of_init(plan: &Plan<'_>, failure: Failure) -> Error {
    let step = failure.step;
    let doing = match failure.phase {
        Phase::AwaitMaps | Phase::BecomeRoot => {
            "linux.uidMappings: become root of the user namespace".to_owned()
        }
        Phase::JoinNamespace => join(plan, step),
        Phase::JoinCgroup => "linux.cgroupsPath: join the cgroup".to_owned(),
        Phase::NewCgroupNamespace => "linux.namespaces: make a cgroup namespace".to_owned(),
        Phase::Propagation => "linux.rootfsPropagation: change the propagation of the mounts".to_owned(),
        Phase::RootOpen | Phase::RootAttach => format!("root.path: mount {:?}", plan.rootfs),
        Phase::MountSource
        | Phase::MountDestination
        | Phase::MountRefused
        | Phase::MountCreate
        | Phase::MountOption
        | Phase::MountAttributes
        | Phase::MountAttach
        | Phase::MountCopyUp => mount(plan, failure.phase, step),
        Phase::DeviceDestination | Phase::DeviceCreate => device(plan, step),
        Phase::DevSymlinks => "make the links in /dev".to_owned(),
        Phase::MaskSource => "linux.maskedPaths: open the host's /dev/null".to_owned(),
        Phase::Mask => in_list("linux.maskedPaths", "mask", &plan.masked, step),
        Phase::ReadonlyPath => in_list("linux.readonlyPaths", "make read-only", &plan.readonly, step),
        Phase::Loopback => "linux.namespaces: bring the loopback device of the new network up".to_owned(),
        Phase::Hostname => format!("hostname: set {:?}", plan.hostname.unwrap_or_default()),
        Phase::Domainname => format!("domainname: set {:?}", plan.domainname.unwrap_or_default()),
        Phase::SysctlOpen | Phase::SysctlWrite => match plan.sysctl.get(usize::from(step)) {
            Some(sysctl) => format!("linux.sysctl[{:?}]: write {:?}", sysctl.key, sysctl.value),
            None => "linux.sysctl: write".to_owned(),
        },
        Phase::AwaitRuntimeHooks => "hooks.createRuntime: wait for them".to_owned(),
        Phase::CreateContainerHook => hook(plan, "createContainer", step),
        Phase::StartContainerHook => hook(plan, "startContainer", step),
        Phase::Pivot => format!("root.path: change the root to {:?}", plan.rootfs),
        Phase::RootReadonly => "root.readonly: make the root read-only".to_owned(),
        Phase::Personality => "linux.personality: set the execution domain".to_owned(),
        Phase::Gate => "wait for the start".to_owned(),
        Phase::Seccomp => "linux.seccomp: install the filter".to_owned(),
        _ => return of_process("process", &plan.process, failure),
    };
    Error::System {
        doing,
        errno: failure.errno,
    }
}

/// The failure of a process that joins, or of the part that both kinds have in common.
pub(crate) fn of_process(field: &str, process: &ProcessPlan, failure: Failure) -> Error {
    let program = process
        .args
        .first()
        .map(|arg| arg.to_string_lossy().into_owned())
        .unwrap_or_default();
    let doing = match failure.phase {
        Phase::JoinNamespace => "join the container's namespaces".to_owned(),
        Phase::JoinCgroup => "join the container's cgroup".to_owned(),
        Phase::BecomeRoot => "become root of the container's user namespace".to_owned(),
        Phase::Pivot => "enter the container's root".to_owned(),
        Phase::Session => "start a session".to_owned(),
        Phase::Keyring => "start a session keyring".to_owned(),
        Phase::OomScore => {
            format!(
                "{field}.oomScoreAdj: set {}",
                process.oom_score_adj.unwrap_or_default()
            )
        }
        Phase::Console => format!("{field}.terminal: make the terminal"),
        Phase::ConsoleSend => format!("{field}.terminal: send the terminal to the console socket"),
        Phase::Descriptors => "mark the descriptors close-on-exec".to_owned(),
        Phase::Umask => format!("{field}.user.umask: set"),
        Phase::Rlimit => match process.rlimits.get(usize::from(failure.step)) {
            Some(limit) => {
                let (name, soft, hard) = (&limit.name, limit.soft, limit.hard);
                format!(
                    "{field}.rlimits[{}]: set {name} to {soft}, at most {hard}",
                    failure.step
                )
            }
            None => format!("{field}.rlimits: set"),
        },
        Phase::Cwd => format!("{field}.cwd: enter {:?}", process.cwd),
        Phase::CwdOutside => format!(
            "{field}.cwd: {:?} is outside of the container's root",
            process.cwd
        ),
        Phase::Groups => format!("{field}.user.additionalGids: set"),
        Phase::Gid => format!("{field}.user.gid: become {}", process.gid),
        Phase::Uid => format!("{field}.user.uid: become {}", process.uid),
        Phase::BoundingSet => format!("{field}.capabilities.bounding: drop the others"),
        Phase::Capabilities => format!("{field}.capabilities: set"),
        Phase::NoNewPrivileges => format!("{field}.noNewPrivileges: set"),
        Phase::NotInPath => {
            return Error::Other(format!(
                "{field}.args: exec: {program:?}: executable file not found in $PATH"
            ));
        }
        Phase::LookUp => format!("{field}.args: exec: {program:?}: stat {program}"),
        Phase::Seccomp => "linux.seccomp: install the filter".to_owned(),
        _ => format!("{field}.args: exec: {program:?}"),
    };
    Error::System {
        doing,
        errno: failure.errno,
    }
}

fn join(plan: &Plan<'_>, step: u16) -> String {
    match plan.namespaces.join.iter().find(|join| join.index == step) {
        Some(join) => format!("linux.namespaces[{step}].path: join {:?}", join.path),
        None => "linux.namespaces: make them".to_owned(),
    }
}

fn mount(plan: &Plan<'_>, phase: Phase, step: u16) -> String {
    let Some(mount) = plan.mounts.iter().find(|mount| mount.index == step) else {
        return "mounts".to_owned();
    };
    let destination = format!("/{}", mount.destination.to_string_lossy());
    let what = kind(mount);
    match phase {
        Phase::MountSource => format!("mounts[{step}].source: open {what}"),
        Phase::MountDestination => {
            format!("mounts[{step}].destination: open {destination:?} inside the root")
        }
        Phase::MountRefused => format!("mounts[{step}].source: {what} cannot cover /proc"),
        Phase::MountOption => format!("mounts[{step}].options: configure {what}"),
        Phase::MountAttributes => format!("mounts[{step}].options: set the attributes of {destination:?}"),
        Phase::MountCopyUp => format!("mounts[{step}].options: copy {destination:?} into the tmpfs"),
        Phase::MountAttach => format!("mounts[{step}]: mount {what} at {destination:?}"),
        _ => format!("mounts[{step}].type: make {what} for {destination:?}"),
    }
}

fn kind(mount: &MountPlan) -> String {
    match &mount.kind {
        MountKind::Bind { source, .. } => format!("{source:?}"),
        MountKind::New(fs) | MountKind::Cgroup(fs) => format!("a {}", fs.kind.to_string_lossy()),
    }
}

fn device(plan: &Plan<'_>, step: u16) -> String {
    match plan.devices.get(usize::from(step)) {
        Some(device) => {
            let field = device
                .index
                .map_or(String::new(), |index| format!("linux.devices[{index}]: "));
            format!("{field}make the device \"/{}\"", device.path.to_string_lossy())
        }
        None => "linux.devices: make them".to_owned(),
    }
}

fn in_list(field: &str, tried: &str, list: &[std::ffi::CString], step: u16) -> String {
    match list.get(usize::from(step)) {
        Some(path) => format!("{field}[{step}]: {tried} \"/{}\"", path.to_string_lossy()),
        None => format!("{field}: {tried}"),
    }
}

fn hook(plan: &Plan<'_>, kind: &str, step: u16) -> String {
    let list = plan.hooks.map(|hooks| match kind {
        "createContainer" => &hooks.create_container,
        _ => &hooks.start_container,
    });
    let path = list
        .and_then(|list| list.get(usize::from(step)))
        .map(|hook| &*hook.path);
    format!("hooks.{kind}[{step}]: run {:?}", path.unwrap_or_default())
}
