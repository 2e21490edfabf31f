//! What a profile says of one call, found by reading all of it.

use super::{
    super::{Architecture, Call},
    interpreter::Data,
};
use crate::spec::{
    LinuxSeccomp,
    seccomp::{LinuxSeccompArg, LinuxSyscall, SeccompAction, SeccompOperator},
};

pub(super) const X86_64: u32 = 0xc000_003e;
pub(super) const X86: u32 = 0x4000_0003;
pub(super) const AARCH64: u32 = 0xc000_00b7;
pub(super) const ARM: u32 = 0x4000_0028;

const KILL_PROCESS: u32 = 0x8000_0000;
const ENOSYS: u32 = 0x0005_0026;

pub(super) fn verdict(action: SeccompAction, errno: Option<u32>) -> u32 {
    match action {
        SeccompAction::KillThread => 0,
        SeccompAction::KillProcess => KILL_PROCESS,
        SeccompAction::Trap => 0x0003_0000,
        SeccompAction::Errno => 0x0005_0000 | errno.unwrap_or(1),
        SeccompAction::Trace => 0x7ff0_0000 | errno.unwrap_or(1),
        SeccompAction::Allow => 0x7fff_0000,
        SeccompAction::Log => 0x7ffc_0000,
        SeccompAction::Notify => 0x7fc0_0000,
    }
}

/// The filter's answer to a call on a machine of that architecture.
pub(super) fn evaluate(profile: &LinuxSeccomp<'_>, native: Architecture, data: &Data) -> u32 {
    let Some(architecture) = architecture_of(profile, native, data) else {
        return KILL_PROCESS;
    };
    let default = verdict(profile.default_action, profile.default_errno_ret);
    let mut conditional = None;
    for (found, holds) in matches(profile, architecture, data) {
        match holds {
            _ if found == default => {}
            Holds::Always => return found,
            Holds::Now => conditional = conditional.or(Some(found)),
            Holds::Not => {}
        }
    }
    conditional.unwrap_or_else(|| fallback(profile, architecture, data.number, default))
}

#[derive(Clone, Copy)]
enum Holds {
    Always,
    Now,
    Not,
}

fn architecture_of(profile: &LinuxSeccomp<'_>, native: Architecture, data: &Data) -> Option<Architecture> {
    let is_x32 = data.number >= 0x4000_0000;
    let listed = |name: &str| profile.architectures.iter().any(|listed| &**listed == name);
    match (native, data.architecture) {
        (Architecture::X86_64, X86_64) if is_x32 && listed("SCMP_ARCH_X32") => Some(Architecture::X32),
        (Architecture::X86_64, X86_64) if !is_x32 || data.number == u32::MAX => Some(Architecture::X86_64),
        (Architecture::X86_64, X86) if listed("SCMP_ARCH_X86") => Some(Architecture::X86),
        (Architecture::Aarch64, AARCH64) => Some(Architecture::Aarch64),
        (Architecture::Aarch64, ARM) if listed("SCMP_ARCH_ARM") => Some(Architecture::Arm),
        _ => None,
    }
}

fn matches(profile: &LinuxSeccomp<'_>, architecture: Architecture, data: &Data) -> Vec<(u32, Holds)> {
    let mut found = Vec::new();
    for rule in &profile.syscalls {
        let names_it =
            |name: &str| Call::named(name).and_then(|call| call.number(architecture)) == Some(data.number);
        if rule.names.iter().any(|name| names_it(name)) {
            found.push((
                verdict(rule.action, rule.errno_ret),
                holds(rule, architecture, data),
            ));
        }
    }
    if architecture == Architecture::X86 {
        found.extend(profile.syscalls.iter().flat_map(|rule| multiplexed(rule, data)));
    }
    found
}

/// `socketcall` is 102 on 32-bit x86, `ipc` 117.
fn multiplexed(rule: &LinuxSyscall<'_>, data: &Data) -> Vec<(u32, Holds)> {
    const SOCKETS: [&str; 21] = [
        "",
        "socket",
        "bind",
        "connect",
        "listen",
        "accept",
        "getsockname",
        "getpeername",
        "socketpair",
        "send",
        "recv",
        "sendto",
        "recvfrom",
        "shutdown",
        "setsockopt",
        "getsockopt",
        "sendmsg",
        "recvmsg",
        "accept4",
        "recvmmsg",
        "sendmmsg",
    ];
    const QUEUES: [&str; 25] = [
        "",
        "semop",
        "semget",
        "semctl",
        "semtimedop",
        "",
        "",
        "",
        "",
        "",
        "",
        "msgsnd",
        "msgrcv",
        "msgget",
        "msgctl",
        "",
        "",
        "",
        "",
        "",
        "",
        "shmat",
        "shmdt",
        "shmget",
        "shmctl",
    ];
    let selector = data.arguments[0] as u32 as usize;
    let name = match data.number {
        102 => SOCKETS.get(selector),
        117 => QUEUES.get(selector & 0xffff),
        _ => None,
    };
    let found = verdict(rule.action, rule.errno_ret);
    let unseen = matches!(rule.action, SeccompAction::Allow | SeccompAction::Log) && !rule.args.is_empty();
    let uses = rule
        .names
        .iter()
        .filter(|named| !named.is_empty() && name == Some(&&***named));
    uses.filter(|_| !unseen).map(|_| (found, Holds::Now)).collect()
}

fn holds(rule: &LinuxSyscall<'_>, architecture: Architecture, data: &Data) -> Holds {
    if rule.args.is_empty() {
        return Holds::Always;
    }
    let wide = !matches!(architecture, Architecture::X86 | Architecture::Arm);
    let repeated = rule.args.iter().enumerate().any(|(position, condition)| {
        rule.args[..position]
            .iter()
            .any(|earlier| earlier.index == condition.index)
    });
    let mut each = rule.args.iter().map(|condition| compare(condition, wide, data));
    let all = if repeated {
        each.any(|holds| holds)
    } else {
        each.all(|holds| holds)
    };
    if all { Holds::Now } else { Holds::Not }
}

fn compare(condition: &LinuxSeccompArg, wide: bool, data: &Data) -> bool {
    let cut = |value: u64| if wide { value } else { value & 0xffff_ffff };
    let argument = cut(data.arguments[condition.index as usize]);
    let (value, second) = (cut(condition.value), cut(condition.value_two));
    match condition.op {
        SeccompOperator::NotEqual => argument != value,
        SeccompOperator::LessThan => argument < value,
        SeccompOperator::LessEqual => argument <= value,
        SeccompOperator::EqualTo => argument == value,
        SeccompOperator::GreaterEqual => argument >= value,
        SeccompOperator::GreaterThan => argument > value,
        SeccompOperator::MaskedEqual => argument & value == second & value,
    }
}

/// Numbers newer than all the profile names are unknown to it.
fn fallback(profile: &LinuxSeccomp<'_>, architecture: Architecture, number: u32, default: u32) -> u32 {
    let permissive = matches!(
        profile.default_action,
        SeccompAction::Allow | SeccompAction::Log | SeccompAction::Trace
    );
    if permissive || profile.default_errno_ret == Some(38) {
        return default;
    }
    let names = profile.syscalls.iter().flat_map(|rule| &rule.names);
    let numbers: Vec<u32> = names
        .filter_map(|name| Call::named(name)?.number(architecture))
        .collect();
    if numbers.contains(&number) {
        return default;
    }
    let mut newest = numbers
        .into_iter()
        .filter(|&number| architecture != Architecture::Arm || number < 0x000f_0000)
        .max();
    if architecture == Architecture::X86 {
        let multiplexers = profile.syscalls.iter().flat_map(|rule| {
            let reaches = |number: u32, selector: u64| {
                let data = Data {
                    number,
                    architecture: X86,
                    arguments: [selector, 0, 0, 0, 0, 0],
                };
                !multiplexed(rule, &data).is_empty()
            };
            let socket = (1..=20).any(|selector| reaches(102, selector)).then_some(102);
            let queue = (1..=24).any(|selector| reaches(117, selector)).then_some(117);
            [socket, queue]
        });
        newest = newest.max(multiplexers.flatten().max());
    }
    if newest.is_some_and(|newest| number > newest) {
        ENOSYS
    } else {
        default
    }
}
