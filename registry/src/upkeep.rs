//! What a server does unasked, once a minute: ending what has expired.

use std::sync::Arc;
use std::time::Duration;

use crate::app::App;

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
    match app.repo.end_expired_uploads().await {
        Ok(0) => {}
        Ok(count) => tracing::info!(count, "ended uploads that had expired"),
        Err(error) => tracing::warn!(
            error = &error as &dyn std::error::Error,
            "ending expired uploads failed"
        ),
    }
    match app.repo.remove_dead_objects().await {
        Ok(0) => {}
        Ok(count) => tracing::info!(count, "removed objects that nothing pointed at"),
        Err(error) => tracing::warn!(
            error = &error as &dyn std::error::Error,
            "removing dead objects failed"
        ),
    }
    if let Err(error) = app.auth.tokens.forget_dead_refresh_tokens().await {
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            "forgetting refresh tokens failed"
        );
    }
}
