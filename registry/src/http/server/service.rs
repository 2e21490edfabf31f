//! Between hyper and the router: limits that need a whole head, and a count of what runs.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use tower::ServiceExt as _;

use super::activity::Activity;
use super::rate::RatedBody;
use super::{Answer, Limits, Peer};

/// Answers the requests of one connection.
pub(super) struct Requests {
    router: Router,
    peer: Peer,
    limits: Limits,
    activity: Arc<Activity>,
}

impl Requests {
    pub(super) fn new(router: Router, peer: Peer, limits: &Limits, activity: Arc<Activity>) -> Self {
        Self {
            router,
            peer,
            limits: limits.clone(),
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
            let mut refused = Response::new(Tracked {
                body: Body::empty(),
                running,
            });
            *refused.status_mut() = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
            return Box::pin(std::future::ready(Ok(refused)));
        }
        let (mut head, body) = request.into_parts();
        head.extensions.insert(self.peer);
        let body = if http_body::Body::is_end_stream(&body) {
            Body::empty()
        } else {
            Body::new(RatedBody::new(body, &self.limits, Arc::clone(&self.activity)))
        };
        let answer = self.router.clone().oneshot(Request::from_parts(head, body));
        Box::pin(async move { Ok(answer.await?.map(|body| Tracked { body, running })) })
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
pub(super) struct Tracked {
    body: Body,
    #[expect(dead_code, reason = "held for its Drop")]
    running: Running,
}

impl http_body::Body for Tracked {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
