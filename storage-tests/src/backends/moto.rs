//! The store in a bucket, on another S3 server: moto's, which refuses parts that S3 would refuse, and tells which
//! multipart uploads are open.

use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use futures_util::TryStreamExt as _;
use futures_util::future::BoxFuture;
use object_store::ObjectStore as _;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use wharf_registry::blobs::Blobs;

use super::bucket::{Bucket, NAME, PREFIX};
use super::{Leftovers, ObjectStoreUnderTest, SignedUrls};
use crate::faults::Faults;

/// A server with one bucket and a store in it.
pub struct Moto {
    bucket: Bucket,
    blobs: Arc<dyn Blobs>,
    _process: Child,
}

/// Starts a server with an empty bucket, which refuses what S3 does.
pub async fn start() -> Moto {
    serve_parts_of(5 << 20).await
}

/// Starts a server that takes parts of any size.
pub async fn start_with_small_parts() -> Moto {
    serve_parts_of(1).await
}

async fn serve_parts_of(least_bytes: u64) -> Moto {
    let (process, endpoint) = serve(least_bytes).await;
    let made = reqwest::Client::new().put(format!("{endpoint}/{NAME}")).send();
    assert_eq!(made.await.unwrap().status(), 200);
    let bucket = Bucket::at(&endpoint);
    let blobs = bucket.store(Faults::none());
    Moto {
        bucket,
        blobs,
        _process: process,
    }
}

/// Starts the process, which ends with this one however it ends.
async fn serve(least_part_bytes: u64) -> (Child, String) {
    let mut process = Command::new("setpriv")
        .args(["--pdeathsig", "KILL", "moto_server", "-H", "127.0.0.1", "-p", "0"])
        .env("S3_UPLOAD_PART_MIN_SIZE", least_part_bytes.to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
    let said = async {
        while let Some(line) = lines.next_line().await.unwrap() {
            if let Some((_, endpoint)) = line.split_once("Running on ") {
                return endpoint.trim().to_owned();
            }
        }
        panic!("moto_server did not start: `cargo x test` installs it");
    };
    let endpoint = tokio::time::timeout(Duration::from_secs(120), said)
        .await
        .unwrap();
    // It writes a line a request, and would wait for somebody to read it.
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    (process, endpoint)
}

impl Moto {
    /// Returns the bucket.
    pub fn bucket(&self) -> &Bucket {
        &self.bucket
    }

    /// Returns how many multipart uploads the server says are open (S3's `ListMultipartUploads`).
    async fn open_uploads(&self) -> usize {
        let url = format!("{}/{NAME}?uploads", self.bucket.endpoint());
        let listed = reqwest::get(url).await.unwrap().text().await.unwrap();
        assert!(listed.contains("ListMultipartUploadsResult"), "{listed}");
        listed.matches("<UploadId>").count()
    }

    async fn objects(&self, folder: &str) -> usize {
        let prefix = format!("{PREFIX}/{folder}").into();
        let listed = self.bucket.client().list(Some(&prefix)).try_collect::<Vec<_>>();
        listed.await.unwrap().len()
    }
}

impl ObjectStoreUnderTest for Moto {
    fn blobs(&self) -> Arc<dyn Blobs> {
        Arc::clone(&self.blobs)
    }

    fn switch_replica(&mut self) -> BoxFuture<'_, ()> {
        self.blobs = self.bucket.store(Faults::none());
        Box::pin(std::future::ready(()))
    }

    fn signed_urls(&self) -> SignedUrls {
        SignedUrls::Unchecked
    }

    fn leftovers(&self) -> BoxFuture<'_, Leftovers> {
        Box::pin(async {
            Leftovers {
                objects: self.objects("blobs").await,
                staged: self.objects("uploads").await + self.open_uploads().await,
            }
        })
    }
}
