//! System call names and their numbers on every architecture that a filter can have a block for.

use super::{architecture::Architecture, hash};

include!(concat!(env!("OUT_DIR"), "/syscalls.rs"));

/// The number of a call that an architecture does not have.
const ABSENT: u32 = u32::MAX;

/// One name with its numbers, as the build script wrote it.
#[derive(Debug)]
struct Entry {
    name: u16,
    length: u8,
    numbers: [u32; 5],
    multiplexed: Multiplexed,
    selector: u8,
}

/// The call through which 32-bit x86 reaches another one as well, the selector being its first argument.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Multiplexed {
    No,
    Socketcall,
    Ipc,
}

/// A system call known by name on at least one architecture.
#[derive(Clone, Copy, Debug)]
pub struct Call(&'static Entry);

impl Call {
    /// Finds the call of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let mut slot = hash::first_slot(name.as_bytes());
        loop {
            let index = usize::from(*SLOTS.get(slot)?).checked_sub(1)?;
            let call = Self(ENTRIES.get(index)?);
            if call.name() == name {
                return Some(call);
            }
            slot = hash::next_slot(slot);
        }
    }

    /// Every call of the table, in the order of the names.
    pub fn all() -> impl Iterator<Item = Self> {
        ENTRIES.iter().map(Self)
    }

    /// The call's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        let start = usize::from(self.0.name);
        NAMES
            .get(start..start + usize::from(self.0.length))
            .unwrap_or_default()
    }

    /// The call's number on an architecture, `None` where it does not exist or the architecture has no table.
    #[must_use]
    pub fn number(self, architecture: Architecture) -> Option<u32> {
        let column = match architecture {
            Architecture::X86_64 => 0,
            Architecture::X86 => 1,
            Architecture::X32 => 2,
            Architecture::Aarch64 => 3,
            Architecture::Arm => 4,
            _ => return None,
        };
        self.0
            .numbers
            .get(column)
            .copied()
            .filter(|&number| number != ABSENT)
    }

    /// How 32-bit x86 reaches the call besides its own number, and with which selector.
    pub(super) fn multiplexed(self) -> (Multiplexed, u32) {
        (self.0.multiplexed, u32::from(self.0.selector))
    }
}
