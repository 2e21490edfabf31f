//! The system calls that a container may make when its user says nothing.
//!
//! [`table`] holds the decisions that depend on a call's name alone; this file those that look at arguments.
//! The result is written into the bundle, so that any OCI runtime carries it out; nothing here knows how.
//!
//! Beyond docker 28, sockets of AF_ALG (the kernel's crypto) and AF_VSOCK (the hypervisor's side) cannot be made
//! by any road: not with garbage in the upper half of the address family, of which the kernel looks at the lower
//! alone, and not by 32-bit x86's `socketcall`, whose arguments a filter cannot see. Programs of that kind, and
//! only they, find that call missing.

mod table;
#[cfg(test)]
mod tests;

use oci_spec::runtime::{
    Arch, Capabilities, Capability, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg,
    LinuxSeccompArgBuilder, LinuxSeccompOperator, LinuxSyscall,
};

use table::{ROWS, When};

const EPERM: u32 = 1;
const ENOSYS: u32 = 38;

const AF_ALG: u64 = 38;
const AF_NFC: u64 = 39;
const AF_VSOCK: u64 = 40;
/// The newest address family, `AF_MCTP`. One that a later kernel adds is unknown in containers, as a later
/// system call is, until it is decided on here.
const NEWEST_FAMILY: u64 = 45;

/// The flags of `clone` that make a namespace.
const NEW_NAMESPACES: u64 = 0x7e02_0000;

/// The execution domains that change nothing but `uname`'s answers: Linux, Linux on 32 bits, both with the old
/// version numbers, and the question which one it is.
const PERSONALITIES: [u64; 5] = [0x0, 0x8, 0x2_0000, 0x2_0008, 0xffff_ffff];

/// The filter of a container that holds these capabilities (its bounding set), on a machine of that architecture
/// in OCI's words.
#[must_use]
pub fn default_profile(capabilities: &Capabilities, architecture: &str) -> LinuxSeccomp {
    let mut syscalls = vec![allow(named_calls(capabilities, architecture), None)];
    syscalls.extend(socket());
    for domain in PERSONALITIES {
        syscalls.push(allow_call(
            "personality",
            compare(LinuxSeccompOperator::ScmpCmpEq, domain),
        ));
    }
    if !capabilities.contains(&Capability::SysAdmin) {
        syscalls.extend(clone_without_namespaces(architecture));
    }
    let mut profile = LinuxSeccomp::default();
    profile
        .set_default_action(LinuxSeccompAction::ScmpActErrno)
        .set_default_errno_ret(Some(EPERM))
        .set_architectures(Some(architectures(architecture)))
        .set_syscalls(Some(syscalls));
    profile
}

fn named_calls(capabilities: &Capabilities, architecture: &str) -> Vec<String> {
    let rows = ROWS.iter().filter(|row| match row.when {
        When::Always => true,
        When::Holds(capability) => capabilities.contains(&capability),
        When::On(architectures) => architectures.contains(&architecture),
    });
    let mut calls: Vec<String> = rows
        .flat_map(|row| row.calls)
        .map(|&call| call.to_owned())
        .collect();
    calls.sort_unstable();
    calls.dedup();
    calls
}

/// Every address family but two. Comparisons are of 64 bits and the kernel's is of 32: only what is equal in all
/// of them is let through.
fn socket() -> Vec<LinuxSyscall> {
    // Of `socketcall` nothing is left but "no such call": libseccomp takes no narrower rule beside those for
    // `socket`, and a refusal like the default's is no rule to it, so that those would let it through.
    let mut rules = vec![
        refuse("socketcall", ENOSYS),
        allow_call("socket", compare(LinuxSeccompOperator::ScmpCmpLt, AF_ALG)),
        allow_call("socket", compare(LinuxSeccompOperator::ScmpCmpEq, AF_NFC)),
    ];
    for family in AF_VSOCK + 1..=NEWEST_FAMILY {
        rules.push(allow_call(
            "socket",
            compare(LinuxSeccompOperator::ScmpCmpEq, family),
        ));
    }
    rules
}

/// `clone` without new namespaces; `clone3`, whose flags lie in memory, does not exist, so that callers fall back.
fn clone_without_namespaces(architecture: &str) -> Vec<LinuxSyscall> {
    let argument = if architecture == "s390x" { 1 } else { 0 };
    let none = condition(argument, LinuxSeccompOperator::ScmpCmpMaskedEq, NEW_NAMESPACES);
    vec![allow_call("clone", none), refuse("clone3", ENOSYS)]
}

/// The architectures whose programs the machine can run.
fn architectures(architecture: &str) -> Vec<Arch> {
    match architecture {
        "amd64" => vec![Arch::ScmpArchX86_64, Arch::ScmpArchX86, Arch::ScmpArchX32],
        "arm64" => vec![Arch::ScmpArchAarch64, Arch::ScmpArchArm],
        "riscv64" => vec![Arch::ScmpArchRiscv64],
        "ppc64le" => vec![Arch::ScmpArchPpc64le],
        "s390x" => vec![Arch::ScmpArchS390x, Arch::ScmpArchS390],
        _ => vec![],
    }
}

fn allow_call(name: &str, condition: LinuxSeccompArg) -> LinuxSyscall {
    allow(vec![name.to_owned()], Some(condition))
}

fn allow(names: Vec<String>, condition: Option<LinuxSeccompArg>) -> LinuxSyscall {
    let mut rule = LinuxSyscall::default();
    rule.set_names(names)
        .set_action(LinuxSeccompAction::ScmpActAllow)
        .set_args(condition.map(|one| vec![one]));
    rule
}

fn refuse(name: &str, errno: u32) -> LinuxSyscall {
    let mut rule = allow(vec![name.to_owned()], None);
    rule.set_action(LinuxSeccompAction::ScmpActErrno)
        .set_errno_ret(Some(errno));
    rule
}

/// A condition on the first argument.
fn compare(operator: LinuxSeccompOperator, value: u64) -> LinuxSeccompArg {
    condition(0, operator, value)
}

/// A condition on an argument; masked with `value`, it must be zero.
fn condition(index: usize, operator: LinuxSeccompOperator, value: u64) -> LinuxSeccompArg {
    let condition = LinuxSeccompArgBuilder::default()
        .index(index)
        .op(operator)
        .value(value)
        .value_two(0_u64);
    condition.build().expect("every field is given")
}
