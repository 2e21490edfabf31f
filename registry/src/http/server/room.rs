//! Places for connections.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::activity::Activity;

/// How long a connection that was asked to leave may take before the next is asked as well.
const PATIENCE: Duration = Duration::from_secs(1);

/// As many places as there may be connections at once.
///
/// A connection without a request holds its place only until another needs it: the one that has been so for longest
/// gives way. Whoever opens connections and sends nothing, or heads that never end, keeps nobody out.
#[derive(Debug)]
pub(super) struct Room {
    places: Arc<Semaphore>,
    all: u32,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    next: u64,
    connections: HashMap<u64, Arc<Activity>>,
}

/// A connection's place, given back when dropped.
#[derive(Debug)]
pub(super) struct Place {
    room: Arc<Room>,
    number: u64,
    _permit: Option<OwnedSemaphorePermit>,
}

impl Room {
    pub(super) fn new(connections: usize) -> Self {
        Self {
            places: Arc::new(Semaphore::new(connections)),
            all: u32::try_from(connections).unwrap_or(u32::MAX),
            taken: Mutex::default(),
        }
    }

    /// Waits for a place.
    pub(super) async fn enter(self: &Arc<Self>, activity: Arc<Activity>) -> Place {
        let permit = self.permit().await;
        let mut taken = self.taken();
        let number = taken.next;
        taken.next += 1;
        taken.connections.insert(number, activity);
        drop(taken);
        Place {
            room: Arc::clone(self),
            number,
            _permit: permit,
        }
    }

    async fn permit(&self) -> Option<OwnedSemaphorePermit> {
        if let Ok(permit) = Arc::clone(&self.places).try_acquire_owned() {
            return Some(permit);
        }
        loop {
            self.ask_the_longest_idle();
            let permit = Arc::clone(&self.places).acquire_owned();
            if let Ok(permit) = tokio::time::timeout(PATIENCE, permit).await {
                // The semaphore is never closed.
                return permit.ok();
            }
        }
    }

    fn ask_the_longest_idle(&self) {
        let taken = self.taken();
        let idle = taken
            .connections
            .values()
            .filter_map(|activity| Some((activity.idle_since()?, activity)));
        if let Some((_, longest)) = idle.min_by_key(|(since, _)| *since) {
            longest.ask_to_leave();
        }
    }

    /// Waits until every place is free.
    pub(super) async fn empty(&self) {
        let _ = self.places.acquire_many(self.all).await;
    }

    fn taken(&self) -> std::sync::MutexGuard<'_, Taken> {
        // A panic while it was held cannot have left the map half changed.
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.room.taken().connections.remove(&self.number);
    }
}
