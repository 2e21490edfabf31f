//! What moves on a connection, and when it has stood still, or moved too slowly, for too long.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::Limits;

/// From how many bytes on a write is an answer's. HTTP/2's own frames (PING, SETTINGS) are smaller.
const ANSWER_BYTES: usize = 1024;

/// What a connection is doing; shared by its socket, its requests and the watch over both.
#[derive(Debug)]
pub(super) struct Activity {
    state: Mutex<State>,
    /// Whether bytes that come while no request runs are the begin of a head. (HTTP/2 has frames of other kinds.)
    heads: AtomicBool,
    idle: Notify,
    leave: Notify,
}

#[derive(Debug)]
struct State {
    /// Requests whose answers are not yet handed over whole.
    running: usize,
    /// When the present state of no request began, or a head's first byte came.
    since: Instant,
    /// Whether a part of a head has come, and how many bytes.
    in_head: bool,
    head_bytes: usize,
    /// Whether a request's body was left unread, so that its bytes may still be coming.
    unread: bool,
    /// Whether the connection was asked to make room for another.
    leaving: bool,
    taking: Taking,
}

/// How the client takes what is to be sent to it.
#[derive(Debug, Default)]
struct Taking {
    /// Whether the socket has no room.
    full: bool,
    /// HTTP/2 bodies that have handed over a piece and were not asked for more: their streams have no room.
    untaken: usize,
    /// Since when one of these is so without a pause.
    waiting_since: Option<Instant>,
    /// Since when, of that, no byte was taken.
    still_since: Option<Instant>,
    /// How long the client was waited for before, in this window, and how many bytes it took.
    waited: Duration,
    taken: u64,
}

impl Activity {
    pub(super) fn new(heads: bool) -> Self {
        let state = State {
            running: 0,
            since: Instant::now(),
            in_head: false,
            head_bytes: 0,
            unread: false,
            leaving: false,
            taking: Taking::default(),
        };
        Self {
            state: Mutex::new(state),
            heads: AtomicBool::new(heads),
            idle: Notify::new(),
            leave: Notify::new(),
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        // A panic while it was held cannot have left the few plain fields half changed.
        self.state
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// The connection is set up and begins to carry requests, by HTTP/2 or HTTP/1.1.
    pub(super) fn start_over(&self, http2: bool) {
        self.heads.store(!http2, Ordering::Relaxed);
        let mut state = self.state();
        state.in_head = false;
        state.head_bytes = 0;
        state.since = Instant::now();
    }

    pub(super) fn is_http2(&self) -> bool {
        !self.heads.load(Ordering::Relaxed)
    }

    /// How many more bytes of a head may come; `None` while what comes is no head.
    pub(super) fn head_room(&self, limit_bytes: usize) -> Option<usize> {
        let state = self.state();
        let head = !self.is_http2() && state.running == 0 && !state.unread;
        head.then(|| limit_bytes.saturating_sub(state.head_bytes))
    }

    /// Bytes came from the client.
    pub(super) fn has_read(&self, bytes: usize) {
        let mut state = self.state();
        if self.is_http2() || state.running > 0 {
            return;
        }
        state.head_bytes = state.head_bytes.saturating_add(bytes);
        if !state.in_head {
            state.in_head = true;
            state.since = Instant::now();
        }
    }

    /// Whether a head has come in part, and no request since.
    pub(super) fn is_in_head(&self) -> bool {
        let state = self.state();
        state.in_head && state.running == 0
    }

    /// The client took bytes, or (`None`) the socket has no room for any.
    pub(super) fn has_written(&self, bytes: Option<usize>) {
        let now = Instant::now();
        let mut state = self.state();
        if bytes.is_some_and(|bytes| state.taking.full || bytes >= ANSWER_BYTES) && !state.in_head {
            // The end of an answer may be on its way when its request is long over.
            state.since = now;
        }
        state.taking.full = bytes.is_none();
        if let Some(bytes) = bytes {
            state.taking.still_since = None;
            let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
            state.taking.taken = state.taking.taken.saturating_add(bytes);
        }
        state.taking.note(now);
    }

    /// A stream of HTTP/2 has a piece of its answer that waits for the client (`true`), or has room again.
    pub(super) fn stream_waits(&self, waits: bool) {
        let mut state = self.state();
        let untaken = state.taking.untaken;
        state.taking.untaken = if waits {
            untaken + 1
        } else {
            untaken.saturating_sub(1)
        };
        state.taking.note(Instant::now());
    }

    /// A request's head is complete.
    pub(super) fn begin(&self) {
        let mut state = self.state();
        state.running += 1;
        state.in_head = false;
        state.head_bytes = 0;
        state.unread = false;
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

    /// Since when no request has run, if none does.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        let state = self.state();
        (state.running == 0 && !state.leaving).then_some(state.since)
    }

    /// Asks the connection to make room for another, unless a request has come meanwhile.
    pub(super) fn ask_to_leave(&self) {
        let mut state = self.state();
        if state.running == 0 {
            state.leaving = true;
            self.leave.notify_one();
        }
    }

    /// Completes once something has stood still for longer than its limit, or the connection must make room, with what
    /// it was.
    pub(super) async fn expired(&self, limits: &Limits) -> &'static str {
        loop {
            let next = match self.state().deadline(limits) {
                Ok(next) => next,
                Err(why) => return why,
            };
            tokio::select! {
                () = tokio::time::sleep_until(next) => {}
                () = self.leave.notified() => return "another connection needs its place",
            }
        }
    }

    /// Completes once no request runs and nothing waits to be written.
    pub(super) async fn unused(&self) {
        loop {
            let idle = self.idle.notified();
            {
                let state = self.state();
                if state.running == 0 && !state.in_head && !state.taking.full {
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

impl Taking {
    /// Notes whether the client is being waited for.
    fn note(&mut self, now: Instant) {
        let waiting = self.full || self.untaken > 0;
        match (waiting, self.waiting_since) {
            (true, None) => self.waiting_since = Some(now),
            (false, Some(since)) => {
                self.waited += now - since;
                self.waiting_since = None;
            }
            (true, Some(_)) | (false, None) => {}
        }
        self.still_since = waiting.then(|| self.still_since.unwrap_or(now));
    }

    /// Returns when to look again, or what has taken too long. As for a request's body, only the time counts in which
    /// the client was waited for.
    fn deadline(&mut self, now: Instant, limits: &Limits) -> Result<Option<Instant>, &'static str> {
        let (Some(since), Some(still)) = (self.waiting_since, self.still_since) else {
            return Ok(None);
        };
        let still = still + limits.idle_timeout;
        if still <= now {
            return Err("the client reads nothing");
        }
        let window = since + limits.body_rate_window.saturating_sub(self.waited);
        if window > now {
            return Ok(Some(still.min(window)));
        }
        let least = limits
            .body_rate_bytes
            .saturating_mul(limits.body_rate_window.as_secs());
        if self.taken < least {
            return Err("the client reads too slowly");
        }
        self.taken = 0;
        self.waited = Duration::ZERO;
        self.waiting_since = Some(now);
        Ok(Some(still.min(now + limits.body_rate_window)))
    }
}

impl State {
    /// Returns when to look again, or what has taken too long.
    fn deadline(&mut self, limits: &Limits) -> Result<Instant, &'static str> {
        let now = Instant::now();
        let mut next = now + limits.idle_timeout.min(limits.header_timeout);
        let taking = self.taking.deadline(now, limits)?;
        next = next.min(taking.unwrap_or(next));
        let mut check = |deadline: Instant, why: &'static str| {
            if deadline <= now {
                return Err(why);
            }
            next = next.min(deadline);
            Ok(())
        };
        if self.in_head {
            check(
                self.since + limits.header_timeout,
                "the request's head takes too long",
            )?;
        } else if self.running == 0 && taking.is_none() {
            check(self.since + limits.idle_timeout, "idle")?;
        }
        Ok(next)
    }
}
