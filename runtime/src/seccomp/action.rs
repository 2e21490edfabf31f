//! What the kernel is told to do with a call.

use super::SeccompError;
use crate::spec::{LinuxSeccomp, seccomp::SeccompAction};

const KILL_PROCESS: u32 = 0x8000_0000;
const KILL_THREAD: u32 = 0x0000_0000;
const TRAP: u32 = 0x0003_0000;
const ERRNO: u32 = 0x0005_0000;
const USER_NOTIF: u32 = 0x7fc0_0000;
const TRACE: u32 = 0x7ff0_0000;
const LOG: u32 = 0x7ffc_0000;
const ALLOW: u32 = 0x7fff_0000;
/// The part of a verdict that names the action.
const ACTION_MASK: u32 = 0xffff_0000;

const EPERM: u32 = 1;
const ENOSYS: u32 = 38;
/// The largest error number the kernel returns from a system call.
const MAX_ERRNO: u32 = 4095;

/// The value that a filter returns for a call.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Verdict(pub(super) u32);

impl Verdict {
    pub(super) const KILL_PROCESS: Self = Self(KILL_PROCESS);
    pub(super) const NO_SUCH_CALL: Self = Self(ERRNO | ENOSYS);

    /// The verdict of an action, with the error number where it takes one.
    pub(super) fn new(
        action: SeccompAction,
        errno: Option<u32>,
        field: &dyn Fn() -> String,
    ) -> Result<Self, SeccompError> {
        let (value, limit) = match action {
            SeccompAction::Errno => (ERRNO, MAX_ERRNO),
            SeccompAction::Trace => (TRACE, u32::from(u16::MAX)),
            SeccompAction::KillThread => (KILL_THREAD, 0),
            SeccompAction::KillProcess => (KILL_PROCESS, 0),
            SeccompAction::Trap => (TRAP, 0),
            SeccompAction::Notify => (USER_NOTIF, 0),
            SeccompAction::Log => (LOG, 0),
            SeccompAction::Allow => (ALLOW, 0),
        };
        if limit == 0 {
            return match errno {
                None => Ok(Self(value)),
                Some(_) => Err(SeccompError::refused(
                    field(),
                    "this action takes no error number",
                )),
            };
        }
        let errno = errno.unwrap_or(EPERM);
        if errno > limit {
            return Err(SeccompError::refused(
                field(),
                "the error number is above what the kernel can return",
            ));
        }
        Ok(Self(value | errno))
    }

    /// Whether the call goes on (LOG: with a line in the kernel's log).
    pub(super) fn lets_through(self) -> bool {
        self.0 == ALLOW || self.0 == LOG
    }

    /// Whether a default of this kind leaves the future to the kernel. A tracer is expected to answer for
    /// calls newer than itself.
    pub(super) fn is_permissive_default(self) -> bool {
        self.lets_through() || self.0 & ACTION_MASK == TRACE
    }

    pub(super) fn notifies(self) -> bool {
        self.0 == USER_NOTIF
    }
}

/// The verdict on calls that no rule matches.
pub(super) fn default_verdict(profile: &LinuxSeccomp<'_>) -> Result<Verdict, SeccompError> {
    let verdict = Verdict::new(profile.default_action, profile.default_errno_ret, &|| {
        "defaultErrnoRet".to_owned()
    })?;
    if verdict.notifies() {
        // Not even the listener's own descriptor could be handed over.
        return Err(SeccompError::refused(
            "defaultAction".to_owned(),
            "SCMP_ACT_NOTIFY cannot be the default",
        ));
    }
    Ok(verdict)
}
