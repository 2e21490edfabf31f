//! Real stores, each with a `start` that gives a fresh one.

pub mod bucket;
pub mod delayed;
pub mod disk;
pub mod moto;
pub mod postgres;
pub mod proxy;
pub mod rows;
pub mod s3;
pub mod sqlite;
pub mod troubled;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::future::BoxFuture;
use wharf_registry::blobs::{Blobs, Key};
use wharf_registry::clock::Timestamp;

/// A fresh object store under test.
pub trait ObjectStoreUnderTest: Send {
    /// Returns the store.
    fn blobs(&self) -> Arc<dyn Blobs>;

    /// Continues with another process's view of the same store: everything in memory is new.
    fn switch_replica(&mut self) -> BoxFuture<'_, ()>;

    /// Returns what there is to URLs that the store signs.
    fn signed_urls(&self) -> SignedUrls;

    /// Returns how many objects and unfinished uploads the store holds, looked at from behind.
    fn leftovers(&self) -> BoxFuture<'_, Leftovers>;
}

/// What becomes of a URL that a store has signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignedUrls {
    /// The store signs none.
    None,
    /// They give the bytes, and nothing once they have ended.
    End,
    /// They give the bytes; the server looks at no signature.
    Unchecked,
}

/// What lies in a store.
#[derive(Debug, PartialEq, Eq)]
pub struct Leftovers {
    /// Objects.
    pub objects: usize,
    /// Anything of uploads that are not finished.
    pub staged: usize,
}

/// Makes a key that no other call makes.
pub fn key() -> Key {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    Key::new(
        Timestamp::from_millis(1_700_000_000_000),
        NEXT.fetch_add(1, Ordering::Relaxed).into(),
    )
}
