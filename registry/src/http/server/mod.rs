//! Connections: accepting them, limits on them, ending them.
//!
//! Each connection is a task: the socket ([`transport`], or TLS over it) under hyper's HTTP/1.1 or HTTP/2, driven
//! beside a watch ([`activity`]) that ends it when nothing moves. What answers requests is a router that knows nothing
//! of all this; a handler sends a file by answering with a [`FileBody`], and on a plain HTTP/1.1 connection the kernel
//! then moves the bytes.
//!
//! HTTP/2 is spoken where TLS agreed on it (ALPN) and nowhere else, so no connection's first bytes need guessing.
//!
//! What this module must not know: what is being served.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use bytes::{BufMut as _, Bytes, BytesMut};
use http::{Response, StatusCode, header};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

mod activity;
mod file_body;
mod gathered;
mod rate;
mod room;
mod service;
#[cfg(test)]
mod tests;
mod tls;
mod transport;
mod watched;

pub use file_body::FileBody;
pub use rate::BodyTooSlow;
pub use tls::{Tls, TlsError};

use crate::metrics::{Present, Traffic};
use activity::Activity;
use room::Room;
use service::Requests;
use transport::{Plain, WIRE, Wire};
use watched::{Bodies, Bounds, Watched};

/// What a connection may cost.
#[derive(Debug, Clone)]
pub struct Limits {
    /// How many connections are open at once. One more takes the place of the one that has been without a request for
    /// longest; while there is none, it waits.
    pub connections: usize,
    /// How long a TLS handshake, or a request's head from its first byte on, may take.
    pub header_timeout: Duration,
    /// How long a connection may be open without a request, and an answer wait for a client that reads nothing.
    pub idle_timeout: Duration,
    /// How large a request's line and headers may be together; more is answered with `head_refusal`.
    pub header_bytes: usize,
    /// The answer to a head that is too large.
    pub head_refusal: Response<Bytes>,
    /// How many bytes a second of a request's body must come, and of an answer's be taken, on average over
    /// `body_rate_window`.
    pub body_rate_bytes: u64,
    /// Over how long a body's rate is judged. Only time spent waiting for the client counts.
    pub body_rate_window: Duration,
    /// How long requests that run when the server is told to stop may go on.
    pub drain_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 4096,
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(60),
            header_bytes: 32 * 1024,
            head_refusal: head_refusal(),
            body_rate_bytes: 1024,
            body_rate_window: Duration::from_secs(60),
            drain_timeout: Duration::from_secs(30),
        }
    }
}

/// An answer that says no more than its status.
fn head_refusal() -> Response<Bytes> {
    let mut refusal = Response::new(Bytes::new());
    *refusal.status_mut() = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
    refusal
}

/// Who is at the other end of a request's connection. Every request carries one in its extensions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// The address that connected.
    pub address: SocketAddr,
    /// Whether it speaks TLS.
    pub tls: bool,
}

/// Serves `router` on `listener` until `shutdown` completes, then lets running requests end.
///
/// Returns once every connection is closed, at the latest `limits.drain_timeout` after `shutdown`.
pub async fn serve(
    listener: TcpListener,
    tls: Option<Tls>,
    limits: Limits,
    traffic: Traffic,
    router: Router,
    shutdown: impl Future<Output = ()>,
) {
    let mut shutdown = pin!(shutdown);
    let (stop, stopping) = watch::channel(false);
    let room = Arc::new(Room::new(limits.connections));
    let reloading = tls.clone().map(|tls| tokio::spawn(tls.reload_when_changed()));
    let shared = Arc::new(Shared {
        bounds: Bounds {
            head_bytes: limits.header_bytes,
            head_refusal: last_answer(&limits.head_refusal),
            bodies: Bodies::default(),
            received: traffic.received.clone(),
            sent: traffic.sent.clone(),
        },
        tls,
        limits,
        traffic,
        stopping,
    });
    loop {
        let accepted = async {
            let (stream, address) = accept(&listener).await;
            let activity = Arc::new(Activity::new(true));
            let place = room.enter(Arc::clone(&activity)).await;
            (stream, address, activity, place)
        };
        let (stream, address, activity, place) = tokio::select! {
            accepted = accepted => accepted,
            () = &mut shutdown => break,
        };
        let (shared, router) = (Arc::clone(&shared), router.clone());
        tokio::spawn(async move {
            shared.connection(stream, address, activity, router).await;
            drop(place);
        });
    }
    drop(listener);
    stop.send_replace(true);
    let drained = tokio::time::timeout(shared.limits.drain_timeout, room.empty());
    if drained.await.is_err() {
        tracing::warn!(
            "requests were still running after {:?}; they are cut",
            shared.limits.drain_timeout
        );
    }
    if let Some(reloading) = reloading {
        reloading.abort();
    }
}

/// Writes an answer out as the last one of an HTTP/1.1 connection.
fn last_answer(answer: &Response<Bytes>) -> Bytes {
    let status = answer.status();
    let mut text = BytesMut::new();
    text.put_slice(b"HTTP/1.1 ");
    text.put_slice(status.as_str().as_bytes());
    text.put_u8(b' ');
    text.put_slice(status.canonical_reason().unwrap_or_default().as_bytes());
    let length = answer.body().len().to_string();
    let own = [
        (header::CONNECTION.as_str(), b"close".as_slice()),
        (header::CONTENT_LENGTH.as_str(), length.as_bytes()),
    ];
    let given = answer
        .headers()
        .iter()
        .filter(|(name, _)| *name != header::CONTENT_LENGTH)
        .map(|(name, value)| (name.as_str(), value.as_bytes()));
    for (name, value) in given.chain(own) {
        text.put_slice(b"\r\n");
        text.put_slice(name.as_bytes());
        text.put_slice(b": ");
        text.put_slice(value);
    }
    text.put_slice(b"\r\n\r\n");
    text.put_slice(answer.body());
    text.freeze()
}

/// Accepts the next connection, however long the system is out of descriptors.
async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            // The client gave up before it was accepted: no trouble of ours.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                tracing::warn!(%error, "accepting a connection failed");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// What all connections share.
struct Shared {
    tls: Option<Tls>,
    limits: Limits,
    bounds: Bounds,
    traffic: Traffic,
    stopping: watch::Receiver<bool>,
}

impl Shared {
    /// Serves one connection to its end.
    async fn connection(
        &self,
        stream: TcpStream,
        address: SocketAddr,
        activity: Arc<Activity>,
        router: Router,
    ) {
        // Answers are written whole; waiting for more of them only delays.
        let _ = stream.set_nodelay(true);
        self.traffic.accepted.inc();
        let _open = Present::new(&self.traffic.open);
        let peer = Peer {
            address,
            tls: self.tls.is_some(),
        };
        let requests = Requests::new(
            router,
            peer,
            &self.limits,
            self.bounds.bodies.clone(),
            Arc::clone(&activity),
        );
        let watched = Arc::clone(&activity);
        let Some(tls) = &self.tls else {
            let wire = Wire::default();
            let io = Watched::new(Plain::new(stream, wire.clone()), watched, self.bounds.clone());
            return WIRE.scope(wire, self.http1(io, requests, activity)).await;
        };
        // A handshake is to its connection what a head is to a request.
        activity.has_read(0);
        let handshake = tokio::select! {
            handshake = tls.accept(stream) => handshake,
            why = activity.expired(&self.limits) => {
                return self.log_timeout(why);
            }
        };
        let stream = match handshake {
            Ok(stream) => stream,
            Err(error) => return tracing::debug!(%address, %error, "the TLS handshake failed"),
        };
        activity.start_over(stream.get_ref().1.alpn_protocol() == Some(tls::H2));
        let io = Watched::new(stream, watched, self.bounds.clone());
        if activity.is_http2() {
            self.http2(io, requests, activity).await
        } else {
            self.http1(io, requests, activity).await
        }
    }

    fn log_timeout(&self, why: &'static str) {
        self.traffic.timed_out.inc();
        tracing::debug!(why, "closing a connection");
    }

    async fn http1<T>(&self, io: Watched<T>, requests: Requests, activity: Arc<Activity>)
    where
        T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    {
        // Invariant: neither `pipeline_flush(true)` nor `writev(false)`. Both copy bodies into hyper's own buffer, and
        // the zeros that stand for a file's bytes (see `transport`) would go out as they are.
        let connection = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(None)
            .max_buf_size(READ_BUFFER_BYTES.max(self.limits.header_bytes))
            .serve_connection(TokioIo::new(io), requests);
        let mut connection = pin!(connection);
        let mut stopping = self.stopping.clone();
        tokio::select! {
            ended = connection.as_mut() => return log_end(ended),
            why = activity.expired(&self.limits) => return self.log_timeout(why),
            _ = stopping.wait_for(|stop| *stop) => {}
        }
        connection.as_mut().graceful_shutdown();
        tokio::select! {
            ended = connection => log_end(ended),
            why = activity.expired(&self.limits) => self.log_timeout(why),
            () = activity.unused() => {}
        }
    }

    async fn http2<T>(&self, io: Watched<T>, requests: Requests, activity: Arc<Activity>)
    where
        T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    {
        let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .max_concurrent_streams(100)
            // Counts more than HTTP/1.1 would write, and refuses without a word; up to here the refusal is ours.
            .max_header_list_size(
                u32::try_from(self.limits.header_bytes.saturating_mul(2)).unwrap_or(u32::MAX),
            )
            // What a client may send before it is read, and how much of an answer waits for the client, a stream.
            .initial_stream_window_size(512 * 1024)
            .initial_connection_window_size(1024 * 1024)
            .max_send_buf_size(256 * 1024)
            .serve_connection(TokioIo::new(io), requests);
        let mut connection = pin!(connection);
        let mut stopping = self.stopping.clone();
        tokio::select! {
            ended = connection.as_mut() => return log_end(ended),
            why = activity.expired(&self.limits) => return self.log_timeout(why),
            _ = stopping.wait_for(|stop| *stop) => {}
        }
        connection.as_mut().graceful_shutdown();
        tokio::select! {
            ended = connection => log_end(ended),
            why = activity.expired(&self.limits) => self.log_timeout(why),
        }
    }
}

/// How much of a body hyper reads at once, at most. A connection holds so much only while a body flows.
const READ_BUFFER_BYTES: usize = 256 * 1024;

fn log_end(ended: Result<(), hyper::Error>) {
    if let Err(error) = ended {
        tracing::debug!(error = &error as &dyn std::error::Error, "a connection broke");
    }
}

/// The answer's type that a router gives.
type Answer = Result<http::Response<service::Tracked>, Infallible>;
