//! `linux.seccomp`.

use serde::Deserialize;

use super::{Text, nullable};

/// The system call filter.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LinuxSeccomp<'a> {
    /// What happens to a call that no rule names.
    pub default_action: SeccompAction,
    /// The errno of a default action that has one.
    #[serde(default)]
    pub default_errno_ret: Option<u32>,
    /// `SCMP_ARCH_…`; empty stands for the native one.
    #[serde(borrow, default, deserialize_with = "nullable")]
    pub architectures: Vec<Text<'a>>,
    /// `SECCOMP_FILTER_FLAG_…`; an empty list is not the same as none.
    #[serde(borrow, default)]
    pub flags: Option<Vec<Text<'a>>>,
    /// Unix socket that gets the descriptor of `SCMP_ACT_NOTIFY`.
    #[serde(borrow, default)]
    pub listener_path: Option<Text<'a>>,
    /// Opaque text sent with that descriptor.
    #[serde(borrow, default)]
    pub listener_metadata: Option<Text<'a>>,
    /// The rules.
    #[serde(borrow, default, deserialize_with = "nullable")]
    pub syscalls: Vec<LinuxSyscall<'a>>,
}

/// What the kernel does with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[expect(missing_docs, reason = "the kernel's own names")]
pub enum SeccompAction {
    #[serde(rename = "SCMP_ACT_KILL", alias = "SCMP_ACT_KILL_THREAD")]
    KillThread,
    #[serde(rename = "SCMP_ACT_KILL_PROCESS")]
    KillProcess,
    #[serde(rename = "SCMP_ACT_TRAP")]
    Trap,
    #[serde(rename = "SCMP_ACT_ERRNO")]
    Errno,
    #[serde(rename = "SCMP_ACT_TRACE")]
    Trace,
    #[serde(rename = "SCMP_ACT_ALLOW")]
    Allow,
    #[serde(rename = "SCMP_ACT_LOG")]
    Log,
    #[serde(rename = "SCMP_ACT_NOTIFY")]
    Notify,
}

/// One rule: some calls, an action, conditions on the arguments.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LinuxSyscall<'a> {
    /// Names of system calls; one that is unknown on an architecture is skipped there.
    #[serde(borrow)]
    pub names: Vec<Text<'a>>,
    /// What happens.
    pub action: SeccompAction,
    /// The errno (or trace message) of an action that has one.
    #[serde(default)]
    pub errno_ret: Option<u32>,
    /// Conditions; empty matches every call.
    #[serde(default, deserialize_with = "nullable")]
    pub args: Vec<LinuxSeccompArg>,
}

/// One condition on one argument.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LinuxSeccompArg {
    /// Which argument, 0 to 5.
    pub index: u32,
    /// Compared with, or the mask of a masked comparison.
    pub value: u64,
    /// The second operand of a masked comparison.
    #[serde(default, deserialize_with = "nullable")]
    pub value_two: u64,
    /// The comparison.
    pub op: SeccompOperator,
}

/// A comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[expect(missing_docs, reason = "the comparison's own names")]
pub enum SeccompOperator {
    #[serde(rename = "SCMP_CMP_NE")]
    NotEqual,
    #[serde(rename = "SCMP_CMP_LT")]
    LessThan,
    #[serde(rename = "SCMP_CMP_LE")]
    LessEqual,
    #[serde(rename = "SCMP_CMP_EQ")]
    EqualTo,
    #[serde(rename = "SCMP_CMP_GE")]
    GreaterEqual,
    #[serde(rename = "SCMP_CMP_GT")]
    GreaterThan,
    #[serde(rename = "SCMP_CMP_MASKED_EQ")]
    MaskedEqual,
}
