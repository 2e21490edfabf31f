//! A request's body that must not come too slowly.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep};

use super::Limits;
use super::activity::Activity;
use super::watched::OneBody;

/// The client sent a request's body more slowly than the limit.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the request's body came more slowly than {rate_bytes} bytes a second over {window:?}")]
pub struct BodyTooSlow {
    /// The lowest rate that is allowed.
    pub rate_bytes: u64,
    /// Over how long it was judged.
    pub window: Duration,
}

/// The body, with a count of what came while it was waited for.
pub(super) struct RatedBody {
    body: Incoming,
    activity: Arc<Activity>,
    limit: BodyTooSlow,
    /// Bytes that came in this window.
    received: u64,
    /// Time spent waiting for them before `waiting_since`.
    waited: Duration,
    waiting_since: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
    ended: bool,
    _one: OneBody,
}

impl RatedBody {
    pub(super) fn new(body: Incoming, limits: &Limits, one: OneBody, activity: Arc<Activity>) -> Self {
        let limit = BodyTooSlow {
            rate_bytes: limits.body_rate_bytes,
            window: limits.body_rate_window,
        };
        Self {
            body,
            activity,
            limit,
            received: 0,
            waited: Duration::ZERO,
            waiting_since: None,
            timer: None,
            ended: false,
            _one: one,
        }
    }

    /// Judges the window that has just ended.
    fn judge(&mut self, now: Instant) -> Result<(), BodyTooSlow> {
        let least = self.limit.rate_bytes.saturating_mul(self.limit.window.as_secs());
        if self.received < least {
            return Err(self.limit);
        }
        self.received = 0;
        self.waited = Duration::ZERO;
        self.waiting_since = Some(now);
        Ok(())
    }

    fn poll_timer(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BodyTooSlow>> {
        let now = Instant::now();
        let since = *self.waiting_since.get_or_insert(now);
        let deadline = since + self.limit.window.saturating_sub(self.waited);
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        // Moving a timer costs a lock; one that is early is harmless, since the deadline is looked at again.
        if timer.is_elapsed() || timer.deadline() > deadline {
            timer.as_mut().reset(deadline);
        }
        ready!(timer.as_mut().poll(cx));
        let now = Instant::now();
        if now >= deadline {
            self.judge(now)?;
        }
        Poll::Ready(Ok(()))
    }
}

impl Body for RatedBody {
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        loop {
            let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) else {
                ready!(self.poll_timer(cx))?;
                continue;
            };
            self.ended = frame.is_none();
            if let Some(since) = self.waiting_since.take() {
                self.waited += since.elapsed();
            }
            if let Some(Ok(frame)) = &frame {
                let bytes = frame.data_ref().map_or(0, Bytes::len);
                self.received = self
                    .received
                    .saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
            }
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for RatedBody {
    fn drop(&mut self) {
        // A chunked body says so itself only of an end that was announced.
        if !self.ended && !self.body.is_end_stream() {
            self.activity.leave_unread();
        }
    }
}
