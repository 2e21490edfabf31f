//! A bucket of an S3 server, as the registry sees it: what the backends with such a server share.

use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3, AmazonS3Builder};
use wharf_registry::blobs::Blobs;
use wharf_registry::blobs::cloud::{Cloud, Patience, PatientConnector, Plan};

use crate::faults::{Faults, Faulty};

/// The keys of the servers' one user.
pub const ACCESS: (&str, &str) = ("access", "secret");

/// The bucket's name.
pub const NAME: &str = "bucket";

/// Where in the bucket a store keeps its objects.
pub const PREFIX: &str = "some/prefix";

/// Long enough for a busy machine.
const PATIENCE: Patience = Patience {
    answer: Duration::from_secs(60),
    bytes_per_s: 128 << 10,
    repeat_for: Duration::from_secs(10),
};

/// A bucket.
#[derive(Debug, Clone)]
pub struct Bucket {
    endpoint: String,
    client: AmazonS3,
}

impl Bucket {
    /// Names the bucket of the server at `endpoint`; its client is as patient as the machine may be busy.
    pub fn at(endpoint: &str) -> Self {
        Self::with_patience(endpoint, PATIENCE)
    }

    /// As [`at`](Self::at), with another patience.
    pub fn with_patience(endpoint: &str, patience: Patience) -> Self {
        let connector = PatientConnector(patience);
        let client = AmazonS3Builder::new()
            .with_retry(connector.retry())
            .with_http_connector(connector)
            .with_endpoint(endpoint)
            .with_allow_http(true)
            .with_bucket_name(NAME)
            .with_region("eu-central-1")
            .with_access_key_id(ACCESS.0)
            .with_secret_access_key(ACCESS.1)
            .build()
            .unwrap();
        Self {
            endpoint: endpoint.to_owned(),
            client,
        }
    }

    /// Returns where the server is.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Returns a client of the bucket.
    pub fn client(&self) -> &AmazonS3 {
        &self.client
    }

    /// Makes a store that knows nothing yet, whose calls of the bucket fail as `faults` says.
    pub fn store(&self, faults: Faults) -> Arc<dyn Blobs> {
        Arc::new(Cloud::new(
            Arc::new(Faulty::new(self.client.clone(), faults)),
            PREFIX.into(),
        ))
    }

    /// Makes a store with parts of other sizes and another amount of memory for bytes on their way.
    pub fn sized_store(&self, plan: Plan, memory_bytes: u64) -> Arc<dyn Blobs> {
        let client = Faulty::new(self.client.clone(), Faults::none());
        Arc::new(Cloud::sized(Arc::new(client), PREFIX.into(), plan, memory_bytes))
    }
}
