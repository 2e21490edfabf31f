//! The store in a folder.

use std::path::Path;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use wharf_registry::blobs::Blobs;
use wharf_registry::blobs::disk::Disk;

use super::{Leftovers, ObjectStoreUnderTest, SignedUrls};

/// A folder with its store.
pub struct Folder {
    folder: tempfile::TempDir,
    disk: Option<Arc<Disk>>,
}

/// Makes a fresh folder.
pub async fn start() -> Folder {
    let folder = tempfile::tempdir().unwrap();
    let disk = Some(Arc::new(Disk::open(folder.path()).unwrap()));
    Folder { folder, disk }
}

impl ObjectStoreUnderTest for Folder {
    fn blobs(&self) -> Arc<dyn Blobs> {
        Arc::clone(self.disk.as_ref().unwrap()) as Arc<dyn Blobs>
    }

    fn switch_replica(&mut self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            // The folder is one server's at a time.
            let old = Arc::into_inner(self.disk.take().unwrap()).expect("the clause has dropped its store");
            drop(old);
            self.disk = Some(Arc::new(Disk::open(self.folder.path()).unwrap()));
        })
    }

    fn signed_urls(&self) -> SignedUrls {
        SignedUrls::None
    }

    fn leftovers(&self) -> BoxFuture<'_, Leftovers> {
        Box::pin(std::future::ready(Leftovers {
            objects: entries(&self.folder.path().join("blobs")),
            staged: entries(&self.folder.path().join("uploads")),
        }))
    }
}

fn entries(folder: &Path) -> usize {
    std::fs::read_dir(folder).unwrap().count()
}
