//! What was asked and is not answered yet.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use tokio::sync::watch;

/// Requests under way, by a number.
#[derive(Debug, Clone)]
pub(super) struct InFlight {
    calls: Arc<Mutex<BTreeMap<u64, String>>>,
    /// Goes up with each that begins or ends.
    changes: Arc<watch::Sender<u64>>,
}

/// One request under way, until it is dropped.
#[derive(Debug)]
pub(super) struct Call {
    number: u64,
    among: InFlight,
}

impl Default for InFlight {
    fn default() -> Self {
        Self {
            calls: Arc::default(),
            changes: Arc::new(watch::Sender::new(0)),
        }
    }
}

impl InFlight {
    /// Notes one that begins.
    pub(super) fn begin(&self, what: String) -> Call {
        let mut number = 0;
        self.changes.send_modify(|changes| {
            *changes += 1;
            number = *changes;
            self.calls.lock().unwrap().insert(number, what);
        });
        Call {
            number,
            among: self.clone(),
        }
    }

    /// Returns all, the oldest first.
    pub(super) fn list(&self) -> Vec<String> {
        self.calls.lock().unwrap().values().cloned().collect()
    }

    /// Waits until one is under way that `wanted` accepts.
    pub(super) async fn wait_for(&self, wanted: impl Fn(&str) -> bool) {
        let mut changes = self.changes.subscribe();
        // The sender lives as long as this.
        let _ = changes
            .wait_for(|_| self.list().iter().any(|call| wanted(call)))
            .await;
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.among.changes.send_modify(|changes| {
            *changes += 1;
            self.among.calls.lock().unwrap().remove(&self.number);
        });
    }
}
