//! Memory for bodies that must be whole before anything is done with them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// In what units the memory is counted.
const UNIT_BYTES: usize = 4096;

/// How long a body waits in all for room that others hold, with what came of it in memory.
const PATIENCE: Duration = Duration::from_secs(5);

/// A bound on all of them together. A body holds what has come of it, not what it announces; one that finds no room for
/// long is refused, so that those which wait for each other do not wait for ever.
#[derive(Debug)]
pub struct Buffers {
    room: Arc<Semaphore>,
}

/// What one body holds; given back when dropped.
#[derive(Debug, Default)]
pub(super) struct Held {
    units: Option<OwnedSemaphorePermit>,
    bytes: usize,
    waited: Duration,
}

/// There was no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Exhausted;

impl Buffers {
    /// Makes room for so many bytes.
    pub fn new(limit_bytes: usize) -> Self {
        Self {
            room: Arc::new(Semaphore::new(limit_bytes / UNIT_BYTES)),
        }
    }

    /// Lets a body hold `bytes` in all.
    pub(super) async fn grow(&self, held: &mut Held, bytes: usize) -> Result<(), Exhausted> {
        let more =
            bytes.div_ceil(UNIT_BYTES) - held.bytes.div_ceil(UNIT_BYTES).min(bytes.div_ceil(UNIT_BYTES));
        let more = u32::try_from(more).map_err(|_larger_than_any| Exhausted)?;
        if more > 0 {
            let units = Arc::clone(&self.room).acquire_many_owned(more);
            let began = Instant::now();
            let units = tokio::time::timeout(PATIENCE.saturating_sub(held.waited), units).await;
            held.waited += began.elapsed();
            let units = match units {
                Ok(Ok(units)) => units,
                Ok(Err(_)) | Err(_) => return Err(Exhausted),
            };
            match &mut held.units {
                Some(all) => all.merge(units),
                none => *none = Some(units),
            }
        }
        held.bytes = bytes;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn bodies_share_the_room_and_give_it_back() {
        let buffers = Buffers::new(3 * UNIT_BYTES);
        let (mut one, mut two) = (Held::default(), Held::default());
        assert_eq!(buffers.grow(&mut one, 1).await, Ok(()));
        assert_eq!(buffers.grow(&mut one, UNIT_BYTES).await, Ok(()));
        assert_eq!(buffers.grow(&mut two, 2 * UNIT_BYTES).await, Ok(()));
        assert_eq!(buffers.grow(&mut one, UNIT_BYTES + 1).await, Err(Exhausted));
        drop(two);
        assert_eq!(buffers.grow(&mut one, 3 * UNIT_BYTES).await, Ok(()));
        drop(one);
        assert_eq!(buffers.room.available_permits(), 3);
    }
}
