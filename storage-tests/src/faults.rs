//! A client of a real bucket that fails where a test says.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::signer::{Method, Signer, Url};
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult, MultipartId, MultipartUpload,
    ObjectMeta, ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

/// Where to fail.
#[derive(Debug, Clone, Copy)]
pub struct Faults {
    call: Option<(usize, When)>,
    cut_reads_after_bytes: Option<usize>,
}

/// Whether a failing call has had its effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// It never reached the store.
    Before,
    /// The store did it, and its answer was lost.
    After,
}

impl Faults {
    /// Fails nowhere, but where something is listed.
    pub fn none() -> Self {
        Self {
            call: None,
            cut_reads_after_bytes: None,
        }
    }

    /// Fails the `n`-th call, counted from 1, and all after it.
    pub fn from_call(n: usize, when: When) -> Self {
        Self {
            call: Some((n, when)),
            ..Self::none()
        }
    }

    /// Breaks off each read after so many bytes.
    pub fn cut_reads_after(bytes: usize) -> Self {
        Self {
            cut_reads_after_bytes: Some(bytes),
            ..Self::none()
        }
    }
}

/// A bucket with faults.
#[derive(Debug)]
pub struct Faulty<T> {
    bucket: T,
    faults: Faults,
    calls: Arc<AtomicUsize>,
}

impl<T> Faulty<T> {
    /// Puts faults before a bucket.
    pub fn new(bucket: T, faults: Faults) -> Self {
        Self {
            bucket,
            faults,
            calls: Arc::default(),
        }
    }

    async fn call<R>(&self, call: impl Future<Output = Result<R>>) -> Result<R> {
        let number = self.calls.fetch_add(1, Ordering::Relaxed) + 1;
        match self.faults.call {
            Some((n, When::Before)) if number >= n => Err(injected()),
            Some((n, When::After)) if number == n => {
                call.await?;
                Err(injected())
            }
            Some((n, When::After)) if number > n => Err(injected()),
            _ => call.await,
        }
    }
}

fn injected() -> Error {
    Error::Generic {
        store: "faulty",
        source: "an injected fault".into(),
    }
}

fn listed() -> Error {
    Error::Generic {
        store: "faulty",
        source: "nothing may be listed".into(),
    }
}

impl<T: fmt::Display> fmt::Display for Faulty<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "faulty {}", self.bucket)
    }
}

#[async_trait]
impl<T: ObjectStore> ObjectStore for Faulty<T> {
    async fn put_opts(&self, path: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.call(self.bucket.put_opts(path, payload, options)).await
    }

    async fn put_multipart_opts(
        &self,
        path: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.call(self.bucket.put_multipart_opts(path, options)).await
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
        let mut got = self.call(self.bucket.get_opts(path, options)).await?;
        if let Some(mut left) = self.faults.cut_reads_after_bytes {
            let GetResultPayload::Stream(stream) = got.payload;
            let cut = stream.map(move |piece| {
                let piece = piece?;
                left = left.checked_sub(piece.len()).ok_or_else(injected)?;
                Ok(piece)
            });
            got.payload = GetResultPayload::Stream(cut.boxed());
        }
        Ok(got)
    }

    fn delete_stream(&self, paths: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let number = self.calls.fetch_add(1, Ordering::Relaxed) + 1;
        match self.faults.call {
            Some((n, _)) if number >= n => futures_util::stream::iter([Err(injected())]).boxed(),
            _ => self.bucket.delete_stream(paths),
        }
    }

    fn list(&self, _prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        futures_util::stream::iter([Err(listed())]).boxed()
    }

    async fn list_with_delimiter(&self, _prefix: Option<&Path>) -> Result<ListResult> {
        Err(listed())
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.call(self.bucket.copy_opts(from, to, options)).await
    }
}

#[async_trait]
impl<T: MultipartStore> MultipartStore for Faulty<T> {
    async fn create_multipart(&self, path: &Path) -> Result<MultipartId> {
        self.call(self.bucket.create_multipart(path)).await
    }

    async fn put_part(
        &self,
        path: &Path,
        id: &MultipartId,
        index: usize,
        data: PutPayload,
    ) -> Result<PartId> {
        self.call(self.bucket.put_part(path, id, index, data)).await
    }

    async fn complete_multipart(
        &self,
        path: &Path,
        id: &MultipartId,
        parts: Vec<PartId>,
    ) -> Result<PutResult> {
        self.call(self.bucket.complete_multipart(path, id, parts)).await
    }

    async fn abort_multipart(&self, path: &Path, id: &MultipartId) -> Result<()> {
        self.call(self.bucket.abort_multipart(path, id)).await
    }
}

#[async_trait]
impl<T: Signer> Signer for Faulty<T> {
    async fn signed_url(&self, method: Method, path: &Path, lifetime: Duration) -> Result<Url> {
        self.call(self.bucket.signed_url(method, path, lifetime)).await
    }
}
