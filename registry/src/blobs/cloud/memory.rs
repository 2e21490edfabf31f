//! Room in memory for bytes on their way, shared by all uploads.
//!
//! Invariant: nobody waits for room while holding bytes that only more room could move. Who finds none sets down what
//! it holds first ([`Assembly::set_aside`](super::assembly::Assembly)), and who holds bytes of a client that sends
//! nothing does so when others want room. So uploads can be many and slow, and none stops another.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// In what units room is counted.
const UNIT_BYTES: u64 = 64 << 10;

/// After how long a holder more is asked to give way.
const ASK_AGAIN: Duration = Duration::from_millis(20);

/// All the room there is.
#[derive(Debug)]
pub(super) struct Memory {
    room: Arc<Semaphore>,
    units: u32,
    wanted: Notify,
}

/// The right to hold some bytes, until it is dropped.
#[derive(Debug, Default)]
pub(super) struct Held {
    permit: Option<OwnedSemaphorePermit>,
    bytes: u64,
}

impl Held {
    /// Tells whether `bytes` may be held by it.
    pub(super) fn covers(&self, bytes: u64) -> bool {
        bytes <= self.bytes
    }

    /// Makes one right of two.
    pub(super) fn add(&mut self, other: Self) {
        self.bytes += other.bytes;
        match (&mut self.permit, other.permit) {
            (Some(permit), Some(more)) => permit.merge(more),
            (permit @ None, more) => *permit = more,
            (Some(_), None) => {}
        }
    }
}

impl Memory {
    pub(super) fn new(bytes: u64) -> Self {
        let units = u32::try_from(bytes.div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX);
        Self {
            room: Arc::new(Semaphore::new(usize::try_from(units).unwrap_or(usize::MAX))),
            units,
            wanted: Notify::new(),
        }
    }

    /// Takes room for `bytes` if there is some and nobody waits for it.
    pub(super) fn try_hold(&self, bytes: u64) -> Option<Held> {
        let units = self.units_of(bytes);
        let permit = Arc::clone(&self.room).try_acquire_many_owned(units).ok()?;
        Some(held(permit, units))
    }

    /// Waits for room for `bytes`, in turn. The caller holds nothing that waits for it.
    pub(super) async fn hold(&self, bytes: u64) -> Held {
        let units = self.units_of(bytes);
        let mut acquired = pin!(Arc::clone(&self.room).acquire_many_owned(units));
        loop {
            self.wanted.notify_one();
            tokio::select! {
                permit = &mut acquired => return held(permit.expect("the semaphore is never closed"), units),
                () = tokio::time::sleep(ASK_AGAIN) => {}
            }
        }
    }

    /// Waits until somebody wants room. Of those who wait here, the one that came first is told.
    pub(super) async fn wanted(&self) {
        self.wanted.notified().await;
    }

    /// More than there is cannot be had: then all of it is meant.
    fn units_of(&self, bytes: u64) -> u32 {
        u32::try_from(bytes.div_ceil(UNIT_BYTES))
            .unwrap_or(u32::MAX)
            .min(self.units)
    }
}

fn held(permit: OwnedSemaphorePermit, units: u32) -> Held {
    Held {
        permit: Some(permit),
        bytes: u64::from(units) * UNIT_BYTES,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn room_is_given_back_and_waited_for() {
        let memory = Memory::new(3 * UNIT_BYTES);
        let mut first = memory.try_hold(UNIT_BYTES).unwrap();
        first.add(memory.try_hold(1).unwrap());
        assert!(first.covers(2 * UNIT_BYTES) && !first.covers(2 * UNIT_BYTES + 1));
        assert!(memory.try_hold(2 * UNIT_BYTES).is_none());
        let wanted = async {
            memory.wanted().await;
            drop(first);
        };
        let (second, ()) = tokio::join!(memory.hold(3 * UNIT_BYTES), wanted);
        assert!(memory.try_hold(1).is_none());
        drop(second);
        assert!(memory.try_hold(1).is_some());
    }

    #[tokio::test]
    async fn more_than_there_is_means_all_of_it() {
        let memory = Memory::new(2 * UNIT_BYTES);
        let all = memory.hold(u64::MAX).await;
        assert!(memory.try_hold(1).is_none());
        drop(all);
        assert!(memory.try_hold(2 * UNIT_BYTES).is_some());
    }
}
