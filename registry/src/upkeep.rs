//! What a server does unasked, once a minute: ending what has expired.

use std::sync::Arc;
use std::time::Duration;

use crate::app::App;
use crate::metrics::{Sweep, UploadEvent};

const EVERY: Duration = Duration::from_secs(60);

/// Ends expired uploads, removes objects that nothing points at, and forgets expired refresh tokens, until aborted.
///
/// Each step can be repeated, by any replica, and what fails is tried again the next time.
pub async fn run(app: Arc<App>) {
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        once(&app).await;
    }
}

async fn once(app: &App) {
    let uploads = app.repo.end_expired_uploads().await;
    let uploads = told(app, uploads, "ending expired uploads");
    if let Some(count) = uploads.filter(|count| *count > 0) {
        tracing::info!(count, "ended uploads that had expired");
        app.metrics.uploads.add(UploadEvent::Expired, count);
    }
    let objects = app.repo.remove_dead_objects().await;
    let objects = told(app, objects, "removing dead objects");
    if let Some(count) = objects.filter(|count| *count > 0) {
        tracing::info!(count, "removed objects that nothing pointed at");
        app.metrics.objects_removed.inc_by(count);
    }
    let tokens = app.auth.tokens.forget_dead_refresh_tokens().await;
    let tokens = told(app, tokens.map(|()| 0), "forgetting refresh tokens");
    let done = uploads.and(objects).and(tokens).is_some();
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
