//! What the child tells the parent: eight bytes a message, never a string.
//!
//! The parent holds the plan, and with it the words: [`Phase`] and a place in a list are enough to say which
//! field failed at what.

use std::os::fd::AsFd;

use rustix::io::Errno;

/// Makes the phases and the list of them of one list.
macro_rules! phases {
    ($($phase:ident,)+) => {
        /// What the child was doing, in the order in which it does it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub(crate) enum Phase {
            $($phase,)+
        }

        const PHASES: [Phase; [$(Phase::$phase,)+].len()] = [$(Phase::$phase,)+];
    };
}

phases! {
    AwaitMaps,
    BecomeRoot,
    JoinNamespace,
    JoinCgroup,
    NewCgroupNamespace,
    Loopback,
    Session,
    Keyring,
    OomScore,
    Propagation,
    RootOpen,
    RootAttach,
    MountSource,
    MountDestination,
    MountRefused,
    MountCreate,
    MountOption,
    MountAttributes,
    MountAttach,
    MountCopyUp,
    DeviceDestination,
    DeviceCreate,
    DevSymlinks,
    MaskSource,
    Mask,
    ReadonlyPath,
    Hostname,
    Domainname,
    SysctlOpen,
    SysctlWrite,
    AwaitRuntimeHooks,
    CreateContainerHook,
    Pivot,
    RootReadonly,
    Console,
    ConsoleSend,
    Personality,
    Descriptors,
    Umask,
    Rlimit,
    Cwd,
    CwdOutside,
    Groups,
    Gid,
    Uid,
    BoundingSet,
    Capabilities,
    NoNewPrivileges,
    LookUp,
    NotInPath,
    Gate,
    StartContainerHook,
    Seccomp,
    Execute,
}

/// A failed step of the child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// What it was doing.
    pub(crate) phase: Phase,
    /// Place in the list that the phase works through.
    pub(crate) step: u16,
    /// The kernel's answer.
    pub(crate) errno: Errno,
}

/// Marks a failed system call with what it was for.
pub(crate) trait During<T> {
    /// In a phase without a list.
    fn during(self, phase: Phase) -> Result<T, Failure>;
    /// At a place in the phase's list.
    fn at(self, phase: Phase, step: u16) -> Result<T, Failure>;
}

impl<T> During<T> for Result<T, Errno> {
    fn during(self, phase: Phase) -> Result<T, Failure> {
        self.at(phase, 0)
    }

    fn at(self, phase: Phase, step: u16) -> Result<T, Failure> {
        self.map_err(|errno| Failure { phase, step, errno })
    }
}

/// A point that the child has reached, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// All namespaces exist and all mounts are made; the root is not changed yet. Awaits an answer.
    Namespaces,
    /// Nothing is left but to await the start.
    Ready,
}

/// One message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Message {
    /// A point reached.
    Reached(Stage),
    /// The end.
    Failed(Failure),
}

const REACHED: u16 = 0xFFFF;

impl Message {
    fn encode(self) -> [u8; 8] {
        let (tag, step, errno) = match self {
            Self::Reached(stage) => (REACHED, u16::from(stage == Stage::Ready), 0),
            Self::Failed(Failure { phase, step, errno }) => {
                let place = PHASES.iter().position(|known| *known == phase).unwrap_or(0);
                (u16::try_from(place).unwrap_or(0), step, errno.raw_os_error())
            }
        };
        let ([a, b], [c, d], [e, f, g, h]) = (tag.to_ne_bytes(), step.to_ne_bytes(), errno.to_ne_bytes());
        [a, b, c, d, e, f, g, h]
    }

    fn decode([a, b, c, d, e, f, g, h]: [u8; 8]) -> Option<Self> {
        let step = u16::from_ne_bytes([c, d]);
        match u16::from_ne_bytes([a, b]) {
            REACHED if step == 0 => Some(Self::Reached(Stage::Namespaces)),
            REACHED if step == 1 => Some(Self::Reached(Stage::Ready)),
            tag => {
                let phase = *PHASES.get(usize::from(tag))?;
                let errno = Errno::from_raw_os_error(i32::from_ne_bytes([e, f, g, h]).clamp(1, 4095));
                Some(Self::Failed(Failure { phase, step, errno }))
            }
        }
    }
}

/// Sends one message. A peer that is gone is no error: then nobody is left to hear.
pub(crate) fn tell(socket: impl AsFd, message: Message) {
    // Nothing can be done about a failure here: whoever listened has ended.
    let _ = rustix::net::send(socket, &message.encode(), rustix::net::SendFlags::NOSIGNAL);
}

/// Receives one message; `None` when the peer's end is closed.
pub(crate) fn hear(socket: impl AsFd) -> Result<Option<Message>, Errno> {
    let mut bytes = [0; 8];
    let length = rustix::io::retry_on_intr(|| {
        let (length, _) = rustix::net::recv(socket.as_fd(), &mut bytes, rustix::net::RecvFlags::empty())?;
        Ok(length)
    });
    match length {
        Ok(0) | Err(Errno::CONNRESET) => Ok(None),
        Ok(8) => Message::decode(bytes).map(Some).ok_or(Errno::BADMSG),
        Ok(_) => Err(Errno::BADMSG),
        Err(errno) => Err(errno),
    }
}

/// Lets the other side go on.
pub(crate) fn go_on(socket: impl AsFd) -> Result<(), Errno> {
    rustix::net::send(socket, &[1], rustix::net::SendFlags::NOSIGNAL).map(drop)
}

/// Waits until the other side lets this one go on; false if it has ended instead.
pub(crate) fn await_go_on(socket: impl AsFd) -> Result<bool, Errno> {
    let mut byte = [0; 1];
    let length = rustix::io::retry_on_intr(|| {
        let (length, _) = rustix::net::recv(socket.as_fd(), &mut byte, rustix::net::RecvFlags::empty())?;
        Ok(length)
    });
    match length {
        Ok(length) => Ok(length == 1),
        Err(Errno::CONNRESET) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// Whether the other side has ended, without waiting for anything from it.
pub(crate) fn peer_is_gone(socket: impl AsFd) -> bool {
    let flags = rustix::net::RecvFlags::PEEK | rustix::net::RecvFlags::DONTWAIT;
    let mut byte = [0; 1];
    matches!(rustix::net::recv(socket, &mut byte, flags), Ok((0, _)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_message_survives_the_wire() {
        for phase in PHASES {
            let message = Message::Failed(Failure {
                phase,
                step: 513,
                errno: Errno::NOENT,
            });
            assert_eq!(Message::decode(message.encode()), Some(message));
        }
        for stage in [Stage::Namespaces, Stage::Ready] {
            assert_eq!(
                Message::decode(Message::Reached(stage).encode()),
                Some(Message::Reached(stage))
            );
        }
    }

    #[test]
    fn cve_2021_43784_a_message_is_eight_bytes_and_garbage_is_none() {
        assert_eq!(Message::decode([0xFE; 8]), None);
        assert_eq!(Message::decode([0xFF; 8]), None);
        let (ours, theirs) = std::os::unix::net::UnixDatagram::pair().unwrap();
        rustix::net::send(&theirs, &[1; 9], rustix::net::SendFlags::empty()).unwrap();
        assert_ne!(hear(&ours).ok().flatten(), Some(Message::Reached(Stage::Ready)));
    }

    #[test]
    fn the_phases_are_listed_in_their_order() {
        assert!(PHASES.windows(2).all(|pair| pair[0] < pair[1]));
    }
}
