//! Above the socket, below hyper: what moves is told to the connection's [`Activity`], and what hyper would do badly
//! with a client that misbehaves is done here.
//!
//! - The more bodies are under way, the smaller are the pieces in which they are read.
//! - A request's head is read in small pieces, and refused once it is larger than the limit. hyper would go on to the
//!   size of its buffer, which is chosen for bodies, and then answer without saying why.
//! - A connection is not reset under a client that is still sending a body nobody reads: it would lose the answer that
//!   says why.

use std::future::Future as _;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use super::activity::Activity;
use crate::metrics::Counter;

/// How much of a head is read at once: less than makes hyper's buffer grow.
const HEAD_PIECE_BYTES: usize = 4096;

/// How much all bodies together are read at once, as far as the least piece allows. hyper's buffer grows to what a read
/// gives, and keeps that as long as its connection is open.
const BODIES_BYTES: usize = 4 * 1024 * 1024;
const LEAST_PIECE_BYTES: usize = 4096;

/// How long a client that still sends may go on before it is cut.
const LINGER: Duration = Duration::from_secs(2);

/// What begins and ends the answer that hyper makes itself where a head has more fields than it counts.
const OWN_REFUSAL: (&[u8], &[u8]) = (b"HTTP/1.1 431 ", b"\r\n\r\n");

/// A transport that watches what moves on it.
#[derive(Debug)]
pub(super) struct Watched<T> {
    io: T,
    activity: Arc<Activity>,
    bounds: Bounds,
    closing: Closing,
}

/// What all connections share.
#[derive(Debug, Clone)]
pub(super) struct Bounds {
    /// How large a head may be.
    pub(super) head_bytes: usize,
    /// The whole answer to one that is larger.
    pub(super) head_refusal: Bytes,
    /// How many bodies are under way.
    pub(super) bodies: Bodies,
    /// Bytes that came, and bytes that went.
    pub(super) received: Counter,
    pub(super) sent: Counter,
}

/// A count of bodies under way over all connections.
#[derive(Debug, Clone, Default)]
pub(super) struct Bodies(Arc<AtomicUsize>);

/// One of them, until dropped.
#[derive(Debug)]
pub(super) struct OneBody(Bodies);

impl Bodies {
    pub(super) fn one(&self) -> OneBody {
        self.0.fetch_add(1, Ordering::Relaxed);
        OneBody(self.clone())
    }

    /// Returns how much of a body is read at once: the more of them there are, the less.
    fn piece_bytes(&self) -> usize {
        let bodies = self.0.load(Ordering::Relaxed).max(1);
        (BODIES_BYTES / bodies).clamp(LEAST_PIECE_BYTES, super::READ_BUFFER_BYTES)
    }
}

impl Drop for OneBody {
    fn drop(&mut self) {
        let Self(bodies) = self;
        bodies.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[derive(Debug)]
enum Closing {
    /// Not yet.
    No,
    /// The refusal of a head goes out.
    Refusing(Bytes),
    /// Nothing more goes out; what still comes is thrown away.
    Lingering(Pin<Box<Sleep>>),
    Done,
}

impl<T> Watched<T> {
    pub(super) fn new(io: T, activity: Arc<Activity>, bounds: Bounds) -> Self {
        Self {
            io,
            activity,
            bounds,
            closing: Closing::No,
        }
    }

    fn note_write(&self, outcome: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match &outcome {
            Poll::Ready(Ok(bytes)) => {
                self.activity.has_written(Some(*bytes));
                count(&self.bounds.sent, *bytes);
            }
            Poll::Ready(Err(_)) => {}
            Poll::Pending => self.activity.has_written(None),
        }
        outcome
    }

    /// Whether hyper is about to refuse a head in its own words.
    fn is_own_refusal(&self, bytes: &[u8]) -> bool {
        let (start, end) = OWN_REFUSAL;
        bytes.starts_with(start) && bytes.ends_with(end) && self.activity.is_in_head()
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> Watched<T> {
    /// Sends the refusal of a head, then waits until the client has read it or goes on sending for too long.
    fn poll_refuse(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if matches!(self.closing, Closing::No) {
            self.closing = Closing::Refusing(self.bounds.head_refusal.clone());
        }
        while let Closing::Refusing(left) = &mut self.closing {
            if left.is_empty() {
                ready!(Pin::new(&mut self.io).poll_shutdown(cx))?;
                self.closing = linger();
                break;
            }
            let sent = ready!(Pin::new(&mut self.io).poll_write(cx, left))?;
            let _ = left.split_to(sent);
            count(&self.bounds.sent, sent);
        }
        self.poll_linger(cx)
    }

    /// Throws away what the client still sends, until it ends, or for some time.
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut scratch = [0; 16 * 1024];
        while let Closing::Lingering(until) = &mut self.closing {
            let mut buf = ReadBuf::new(&mut scratch);
            if until.as_mut().poll(cx).is_pending()
                && let Ok(()) = ready!(Pin::new(&mut self.io).poll_read(cx, &mut buf))
                && !buf.filled().is_empty()
            {
                count(&self.bounds.received, buf.filled().len());
                continue;
            }
            self.closing = Closing::Done;
        }
        Poll::Ready(Ok(()))
    }
}

fn count(counter: &Counter, bytes: usize) {
    counter.inc_by(u64::try_from(bytes).unwrap_or(u64::MAX));
}

fn linger() -> Closing {
    Closing::Lingering(Box::pin(tokio::time::sleep(LINGER)))
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncRead for Watched<T> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !matches!(this.closing, Closing::No) {
            return this.poll_refuse(cx);
        }
        let before = buf.filled().len();
        let most = match this.activity.head_room(this.bounds.head_bytes) {
            Some(0) => return this.poll_refuse(cx),
            Some(room) => HEAD_PIECE_BYTES.min(room),
            None => this.bounds.bodies.piece_bytes(),
        };
        let outcome = if most < buf.remaining() {
            let mut piece = ReadBuf::new(buf.initialize_unfilled_to(most));
            let outcome = Pin::new(&mut this.io).poll_read(cx, &mut piece);
            let bytes = piece.filled().len();
            buf.advance(bytes);
            outcome
        } else {
            Pin::new(&mut this.io).poll_read(cx, buf)
        };
        let bytes = buf.filled().len() - before;
        if bytes > 0 {
            this.activity.has_read(bytes);
            count(&this.bounds.received, bytes);
        }
        outcome
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Watched<T> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.is_own_refusal(buf) {
            ready!(this.poll_refuse(cx))?;
            return Poll::Ready(Ok(buf.len()));
        }
        let outcome = Pin::new(&mut this.io).poll_write(cx, buf);
        this.note_write(outcome)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if let Some(first) = slices.first().filter(|first| this.is_own_refusal(first)) {
            ready!(this.poll_refuse(cx))?;
            return Poll::Ready(Ok(first.len()));
        }
        let outcome = Pin::new(&mut this.io).poll_write_vectored(cx, slices);
        this.note_write(outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if matches!(this.closing, Closing::No) {
            ready!(Pin::new(&mut this.io).poll_shutdown(cx))?;
            if !this.activity.is_unread() {
                return Poll::Ready(Ok(()));
            }
            this.closing = linger();
        }
        this.poll_linger(cx)
    }
}
