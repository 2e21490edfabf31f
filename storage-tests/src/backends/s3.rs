//! The store in a bucket, on a real S3 server over a folder.

use std::path::Path;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use hyper_util::rt::{TokioExecutor, TokioIo};
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use wharf_registry::blobs::Blobs;

use super::bucket::{ACCESS, Bucket, NAME, PREFIX};
use super::{Leftovers, ObjectStoreUnderTest, SignedUrls};
use crate::faults::Faults;

/// A bucket with its server and a store in it.
pub struct Server {
    folder: tempfile::TempDir,
    bucket: Bucket,
    serving: JoinHandle<()>,
    blobs: Arc<dyn Blobs>,
}

/// Starts a server with an empty bucket. Its client fails when something is listed.
pub async fn start() -> Server {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join(NAME)).unwrap();
    let service = {
        let mut builder = S3ServiceBuilder::new(s3s_fs::FileSystem::new(folder.path()).unwrap());
        builder.set_auth(SimpleAuth::from_single(ACCESS.0, ACCESS.1));
        builder.build()
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let serving = tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let service = service.clone();
            tokio::spawn(async move {
                let connection = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                // A client that goes away ends its connection with an error; that is its affair.
                let _ = connection.serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    let bucket = Bucket::at(&endpoint);
    let blobs = bucket.store(Faults::none());
    Server {
        folder,
        bucket,
        serving,
        blobs,
    }
}

impl Server {
    /// Returns a store over the same bucket whose calls fail as `faults` says.
    pub fn faulty(&self, faults: Faults) -> Arc<dyn Blobs> {
        self.bucket.store(faults)
    }

    /// Returns the bucket.
    pub fn bucket(&self) -> &Bucket {
        &self.bucket
    }
}

impl ObjectStoreUnderTest for Server {
    fn blobs(&self) -> Arc<dyn Blobs> {
        Arc::clone(&self.blobs)
    }

    fn switch_replica(&mut self) -> BoxFuture<'_, ()> {
        self.blobs = self.bucket.store(Faults::none());
        Box::pin(std::future::ready(()))
    }

    fn signed_urls(&self) -> SignedUrls {
        SignedUrls::End
    }

    fn leftovers(&self) -> BoxFuture<'_, Leftovers> {
        let bucket = self.folder.path().join(NAME).join(PREFIX);
        let parts = std::fs::read_dir(self.folder.path()).unwrap().filter(|entry| {
            let name = entry.as_ref().unwrap().file_name();
            name.to_string_lossy().contains("upload")
        });
        Box::pin(std::future::ready(Leftovers {
            objects: files(&bucket.join("blobs")),
            staged: files(&bucket.join("uploads")) + parts.count(),
        }))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// Counts the files under a folder.
fn files(folder: &Path) -> usize {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return 0;
    };
    entries
        .map(|entry| {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                files(&entry.path())
            } else {
                1
            }
        })
        .sum()
}
