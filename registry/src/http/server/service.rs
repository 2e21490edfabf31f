//! Between hyper and the router: limits that need a whole head, and a count of what runs and of what waits.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, header};
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use tower::ServiceExt as _;

use super::activity::Activity;
use super::gathered::Gathered;
use super::rate::RatedBody;
use super::watched::Bodies;
use super::{Answer, Limits, Peer};

/// Answers the requests of one connection.
pub(super) struct Requests {
    router: Router,
    peer: Peer,
    limits: Limits,
    bodies: Bodies,
    activity: Arc<Activity>,
}

impl Requests {
    pub(super) fn new(
        router: Router,
        peer: Peer,
        limits: &Limits,
        bodies: Bodies,
        activity: Arc<Activity>,
    ) -> Self {
        Self {
            router,
            peer,
            limits: limits.clone(),
            bodies,
            activity,
        }
    }
}

impl hyper::service::Service<Request<Incoming>> for Requests {
    type Response = Response<Tracked>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Answer> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let running = Running::new(Arc::clone(&self.activity));
        if head_bytes(&request) > self.limits.header_bytes {
            let refused = self.limits.head_refusal.clone();
            let refused = refused.map(|body| Tracked::new(Body::from(body), running));
            return Box::pin(std::future::ready(Ok(refused)));
        }
        let (mut head, body) = request.into_parts();
        head.extensions.insert(self.peer);
        let body = if http_body::Body::is_end_stream(&body) {
            Body::empty()
        } else {
            let rated = RatedBody::new(body, &self.limits, self.bodies.one(), Arc::clone(&self.activity));
            Body::new(Gathered::new(rated))
        };
        let answer = self.router.clone().oneshot(Request::from_parts(head, body));
        let activity = Arc::clone(&self.activity);
        Box::pin(async move {
            let mut answer = answer.await?;
            // The rest of a body that nobody reads ends the connection (RFC 9112, 9.6); a client that is told sends no
            // further request into it.
            if activity.is_unread() && !activity.is_http2() {
                let close = HeaderValue::from_static("close");
                answer.headers_mut().insert(header::CONNECTION, close);
            }
            Ok(answer.map(|body| Tracked::new(body, running)))
        })
    }
}

/// Returns how many bytes a request's line and headers have, as HTTP/1.1 writes them.
fn head_bytes(request: &Request<Incoming>) -> usize {
    let uri = request.uri();
    let target = uri.path_and_query().map_or(1, |target| target.as_str().len())
        + uri.authority().map_or(0, |authority| authority.as_str().len());
    request.method().as_str().len() + target + " HTTP/1.1\r\n \r\n".len() + headers_bytes(request.headers())
}

fn headers_bytes(headers: &HeaderMap) -> usize {
    headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + ": \r\n".len())
        .sum()
}

/// Counts a request as running for as long as it lives.
struct Running(Arc<Activity>);

impl Running {
    fn new(activity: Arc<Activity>) -> Self {
        activity.begin();
        Self(activity)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// An answer's body; its request runs until it is gone.
///
/// HTTP/2 asks for a piece only when the client has room for its beginning. So from one piece handed over until the next
/// is asked for, the client is being waited for. (HTTP/1.1's waiting is seen on the socket.)
pub(super) struct Tracked {
    body: Body,
    running: Running,
    handed: bool,
}

impl Tracked {
    fn new(body: Body, running: Running) -> Self {
        Self {
            body,
            running,
            handed: false,
        }
    }

    fn wait_for_client(&mut self, waits: bool) {
        let activity = &self.running.0;
        if activity.is_http2() && self.handed != waits {
            self.handed = waits;
            activity.stream_waits(waits);
        }
    }
}

impl Drop for Tracked {
    fn drop(&mut self) {
        self.wait_for_client(false);
    }
}

impl http_body::Body for Tracked {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        self.wait_for_client(false);
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        if matches!(frame, Poll::Ready(Some(Ok(_)))) {
            self.wait_for_client(true);
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
