//! Where a system call's name lies in the open-addressed table: shared by the build script, which fills the
//! table, and by the lookup.

/// Slots of the table: a power of two, about twice the names of all architectures.
pub(crate) const SLOTS: usize = 1024;

/// The slot that a name is looked for in first (FNV-1a).
pub(crate) fn first_slot(name: &[u8]) -> usize {
    let mut hash: usize = 0x811c_9dc5;
    for &byte in name {
        hash = (hash ^ usize::from(byte)).wrapping_mul(0x0100_0193);
    }
    (hash ^ (hash >> 15)) & (SLOTS - 1)
}

/// The slot after one that another name holds.
pub(crate) fn next_slot(slot: usize) -> usize {
    (slot + 1) & (SLOTS - 1)
}
