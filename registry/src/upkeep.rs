//! What a server does unasked, once a minute: ending what has expired.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::app::App;
use crate::clock::Timestamp;
use crate::metrics::{Sweep, UploadEvent};

const EVERY: Duration = Duration::from_secs(60);

/// By how much the clock may leave the time that passes, from one sweep to the next, before it counts as having been set.
const LEAP: Duration = Duration::from_secs(300);

/// How long nothing is ended after the clock was set: long enough for someone to see it and set it right.
const SETTLE: Duration = Duration::from_secs(3600);

/// Ends expired uploads, removes objects that nothing points at, and forgets expired refresh tokens, until aborted.
///
/// Each step can be repeated, by any replica, and what fails is tried again the next time.
pub async fn run(app: Arc<App>) {
    let mut upkeep = Upkeep::new(app);
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        upkeep.sweep().await;
    }
}

/// What is done once a minute.
#[derive(Debug)]
pub struct Upkeep {
    app: Arc<App>,
    started: Instant,
    steadiness: Steadiness,
}

impl Upkeep {
    /// Begins with the clock as it stands.
    pub fn new(app: Arc<App>) -> Self {
        let steadiness = Steadiness::new(app.clock.now());
        Self {
            app,
            started: Instant::now(),
            steadiness,
        }
    }

    /// Does it now, unless the clock was set a short while ago: what seems to have expired by a wrong clock is kept.
    pub async fn sweep(&mut self) {
        let now = self.app.clock.now();
        if self.steadiness.is_steady(now, self.started.elapsed()) {
            once(&self.app).await;
        } else {
            tracing::warn!("the clock was set: for up to an hour nothing that has expired is removed");
        }
    }
}

/// Compares the clock with the time that passes.
#[derive(Debug)]
struct Steadiness {
    clock: Timestamp,
    passed: Duration,
    /// From what passed time on it counts as steady again.
    settled: Duration,
}

impl Steadiness {
    fn new(clock: Timestamp) -> Self {
        Self {
            clock,
            passed: Duration::ZERO,
            settled: Duration::ZERO,
        }
    }

    /// Whether the clock has gone as fast as time for a while; `passed` is the time since the beginning.
    fn is_steady(&mut self, clock: Timestamp, passed: Duration) -> bool {
        let expected = self.clock.plus(passed.saturating_sub(self.passed));
        if clock > expected.plus(LEAP) || clock < expected.minus(LEAP) {
            self.settled = passed.saturating_add(SETTLE);
        }
        (self.clock, self.passed) = (clock, passed);
        passed >= self.settled
    }
}

async fn once(app: &App) {
    let uploads = app.repo.end_expired_uploads().await;
    let uploads = told(app, uploads, "ending expired uploads");
    if let Some(count) = uploads.filter(|count| *count > 0) {
        tracing::info!(count, "ended uploads that had expired");
        app.metrics.uploads.add(UploadEvent::Expired, count);
    }
    let leftovers = app.repo.discard_leftovers().await;
    let leftovers = told(app, leftovers, "throwing away what ended uploads left");
    let objects = app.repo.remove_dead_objects().await;
    let objects = told(app, objects, "removing dead objects");
    if let Some(count) = objects.filter(|count| *count > 0) {
        tracing::info!(count, "removed objects that nothing pointed at");
        app.metrics.objects_removed.inc_by(count);
    }
    let tokens = app.auth.tokens.forget_dead_refresh_tokens().await;
    let tokens = told(app, tokens.map(|()| 0), "forgetting refresh tokens");
    let done = uploads.and(leftovers).and(objects).and(tokens).is_some();
    app.metrics
        .sweeps
        .inc(if done { Sweep::Done } else { Sweep::Failed });
}

/// Returns how many there were, or tells why it is not known.
fn told<E: std::error::Error + 'static>(
    app: &App,
    outcome: Result<usize, E>,
    doing: &'static str,
) -> Option<u64> {
    match outcome {
        Ok(count) => Some(u64::try_from(count).unwrap_or(u64::MAX)),
        Err(error) => {
            app.metrics.database_failed(&error);
            tracing::warn!(error = &error as &dyn std::error::Error, "{doing} failed");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn a_clock_that_was_set_stops_sweeps_for_an_hour_either_way() {
        for leap in [25 * 60 * 60_000, -60 * 60_000] {
            let begin = Timestamp::from_millis(1_700_000_000_000);
            let mut steadiness = Steadiness::new(begin);
            assert!(steadiness.is_steady(begin.plus(MINUTE), MINUTE));
            let set = Timestamp::from_millis(begin.plus(2 * MINUTE).as_millis() + leap);
            assert!(!steadiness.is_steady(set, 2 * MINUTE));
            assert!(!steadiness.is_steady(set.plus(59 * MINUTE), 61 * MINUTE));
            assert!(steadiness.is_steady(set.plus(60 * MINUTE), 62 * MINUTE));
        }
    }

    #[test]
    fn a_late_sweep_and_a_small_correction_stop_nothing() {
        let begin = Timestamp::from_millis(1_700_000_000_000);
        let mut steadiness = Steadiness::new(begin);
        assert!(steadiness.is_steady(begin.plus(90 * MINUTE), 90 * MINUTE));
        assert!(steadiness.is_steady(begin.plus(92 * MINUTE), 91 * MINUTE));
    }
}
