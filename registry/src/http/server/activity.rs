//! What moves on a connection, and when it has stood still for too long.

use std::sync::Mutex;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::Limits;

/// What a connection is doing; shared by its socket, its requests and the watch over both.
#[derive(Debug)]
pub(super) struct Activity {
    state: Mutex<State>,
    /// Whether bytes that come while no request runs are the begin of a head. (HTTP/2 has frames of other kinds.)
    heads: bool,
    idle: Notify,
}

#[derive(Debug)]
struct State {
    /// Requests whose answers are not yet handed over whole.
    running: usize,
    /// When the present state of no request began, or a head's first byte came.
    since: Instant,
    /// Whether a part of a head has come.
    in_head: bool,
    /// Since when the client has taken no byte of what is to be written.
    write_stalled: Option<Instant>,
    /// Whether a request's body was left unread, so that its bytes may still be coming.
    unread: bool,
}

impl Activity {
    pub(super) fn new(heads: bool) -> Self {
        let state = State {
            running: 0,
            since: Instant::now(),
            in_head: false,
            write_stalled: None,
            unread: false,
        };
        Self {
            state: Mutex::new(state),
            heads,
            idle: Notify::new(),
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        // A panic while it was held cannot have left the few plain fields half changed.
        self.state
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Bytes came from the client.
    pub(super) fn has_read(&self) {
        let mut state = self.state();
        if self.heads && state.running == 0 && !state.in_head {
            state.in_head = true;
            state.since = Instant::now();
        }
    }

    /// The client took bytes (`true`), or the socket has no room for any.
    pub(super) fn has_written(&self, progress: bool) {
        let mut state = self.state();
        if progress {
            state.write_stalled = None;
        } else if state.write_stalled.is_none() {
            state.write_stalled = Some(Instant::now());
        }
    }

    /// A request's head is complete.
    pub(super) fn begin(&self) {
        let mut state = self.state();
        state.running += 1;
        state.in_head = false;
    }

    /// A request's answer is handed over whole, or given up.
    pub(super) fn end(&self) {
        let mut state = self.state();
        state.running = state.running.saturating_sub(1);
        if state.running == 0 {
            state.since = Instant::now();
            drop(state);
            self.idle.notify_waiters();
        }
    }

    /// A request's body was dropped before its end.
    pub(super) fn leave_unread(&self) {
        self.state().unread = true;
    }

    /// Whether the client may still be sending what nobody will read.
    pub(super) fn is_unread(&self) -> bool {
        self.state().unread
    }

    /// Completes once something has stood still for longer than its limit, with what it was.
    pub(super) async fn expired(&self, limits: &Limits) -> &'static str {
        loop {
            let next = match self.state().deadline(limits) {
                Ok(next) => next,
                Err(why) => return why,
            };
            tokio::time::sleep_until(next).await;
        }
    }

    /// Completes once no request runs and nothing waits to be written.
    pub(super) async fn unused(&self) {
        loop {
            let idle = self.idle.notified();
            {
                let state = self.state();
                if state.running == 0 && !state.in_head && state.write_stalled.is_none() {
                    break;
                }
            }
            // A head that is on its way has no event of its own; look again soon.
            let _ = tokio::time::timeout(Duration::from_millis(50), idle).await;
        }
        // hyper has handed the last bytes to the socket by its next turn; one more lets it.
        tokio::task::yield_now().await;
    }
}

impl State {
    /// Returns when to look again, or what has taken too long.
    fn deadline(&self, limits: &Limits) -> Result<Instant, &'static str> {
        let now = Instant::now();
        let mut next = now + limits.idle_timeout.min(limits.header_timeout);
        let mut check = |deadline: Instant, why: &'static str| {
            if deadline <= now {
                return Err(why);
            }
            next = next.min(deadline);
            Ok(())
        };
        if let Some(since) = self.write_stalled {
            check(since + limits.idle_timeout, "the client reads nothing")?;
        }
        if self.in_head {
            check(
                self.since + limits.header_timeout,
                "the request's head takes too long",
            )?;
        } else if self.running == 0 {
            check(self.since + limits.idle_timeout, "idle")?;
        }
        Ok(next)
    }
}
