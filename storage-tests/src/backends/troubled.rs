//! The S3 server behind a gate that does to every third request what networks and clouds do: what is promised holds
//! all the same.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use hyper::Method;
use wharf_registry::blobs::Blobs;

use super::bucket::Bucket;
use super::{Leftovers, ObjectStoreUnderTest, SignedUrls, s3};
use crate::faults::Faults;
use crate::gate::{Fault, Gate};

/// A server with its gate, and a store behind it.
pub struct Troubled {
    server: s3::Server,
    bucket: Bucket,
    _gate: Gate,
    blobs: Arc<dyn Blobs>,
}

/// Starts a server and a gate before it.
pub async fn start() -> Troubled {
    let server = s3::start().await;
    let gate = Gate::before(server.bucket().endpoint()).await;
    gate.follow(trouble);
    let bucket = Bucket::at(&gate.endpoint());
    Troubled {
        blobs: bucket.store(Faults::none()),
        bucket,
        server,
        _gate: gate,
    }
}

/// One trouble after another. The answer that a multipart upload was begun is never lost: nobody could end that one.
fn trouble(number: usize, method: &Method, target: &str) -> Option<Fault> {
    let signed_url = target.contains("X-Amz-Signature");
    let begins = *method == Method::POST && target.contains("uploads");
    if !number.is_multiple_of(3) || signed_url {
        return None;
    }
    Some(match number / 3 % 6 {
        0 => Fault::Answer(503, "SlowDown"),
        1 if !begins => Fault::Lost,
        2 => Fault::Answer(500, "InternalError"),
        3 => Fault::Slow(Duration::from_millis(20)),
        4 if *method == Method::GET => Fault::Cut(1000),
        5 => Fault::Answer(429, "TooManyRequests"),
        _ => return None,
    })
}

impl ObjectStoreUnderTest for Troubled {
    fn blobs(&self) -> Arc<dyn Blobs> {
        Arc::clone(&self.blobs)
    }

    fn switch_replica(&mut self) -> BoxFuture<'_, ()> {
        self.blobs = self.bucket.store(Faults::none());
        Box::pin(std::future::ready(()))
    }

    fn signed_urls(&self) -> SignedUrls {
        self.server.signed_urls()
    }

    fn leftovers(&self) -> BoxFuture<'_, Leftovers> {
        self.server.leftovers()
    }
}
