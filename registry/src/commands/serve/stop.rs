//! What tells the server to stop, and what it does until it does.

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::Error;
use crate::app::App;

/// The signals that stop the server.
pub(super) struct Stop {
    terminate: Signal,
    interrupt: Signal,
}

impl Stop {
    /// Begins to listen; a signal that comes before [`wait`](Self::wait) is not lost.
    pub(super) fn listen() -> Result<Self, Error> {
        let listen = |kind| {
            signal(kind).map_err(|source| Error::System {
                doing: "waiting for signals",
                source,
            })
        };
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
        })
    }

    /// Completes when the server is to take no more connections: `stop_delay` after a signal, or at a second one.
    ///
    /// Until then the app says that it is not ready, and load balancers turn away from it before a connection is
    /// refused.
    pub(super) async fn wait(mut self, app: &App) {
        self.signal().await;
        app.begin_to_stop();
        let delay = app.config.stop_delay;
        if !delay.is_zero() {
            tracing::info!(?delay, "not ready any more; a second signal ends this at once");
            tokio::select! {
                () = tokio::time::sleep(delay) => {}
                () = self.signal() => {}
            }
        }
    }

    async fn signal(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => tracing::info!("SIGTERM: stopping"),
            _ = self.interrupt.recv() => tracing::info!("SIGINT: stopping"),
        }
    }
}
