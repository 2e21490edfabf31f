//! The disk is full, and then it is not.

use std::path::Path;

use reqwest::StatusCode;
use storage_tests::content::content;

use super::push::{Ledger, Registry, Stopped};
use super::server::{Place, Server};

/// Fills the disk, leaving `free` bytes.
fn fill(server: &Server, disk: &Path, free: u64) {
    let path = format!("{}{}/filler", server.root().display(), disk.display());
    let filler = std::fs::File::create(path).unwrap();
    let mut bytes = 0;
    let piece = vec![1; 64 * 1024];
    while std::os::unix::fs::FileExt::write_all_at(&filler, &piece, bytes).is_ok() {
        bytes += piece.len() as u64;
    }
    filler.set_len(bytes.saturating_sub(free)).unwrap();
}

fn make_room(server: &Server, disk: &Path) {
    std::fs::remove_file(format!("{}{}/filler", server.root().display(), disk.display())).unwrap();
}

fn is_full(outcome: &Result<(), Stopped>) -> bool {
    matches!(outcome, Err(Stopped::Refused(StatusCode::INSUFFICIENT_STORAGE)))
}

/// Only the storage of blobs is full: a push is refused with 507, by either way; what was there is read; once there is
/// space the same push goes through, without a restart.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_storage_is_507_and_heals() {
    let place =
        Place::mounting(r#"mkdir -p "$DISK/blobs-only"; mount -t tmpfs -o size=8m none "$DISK/blobs-only""#);
    let storage = place.disk().join("blobs-only");
    let place = place.flags(["--storage".to_owned(), format!("file:{}", storage.display())]);
    let server = place.start();
    let (registry, ledger) = (Registry::of(&server), Ledger::default());
    ledger.push_image(&registry, 1).await.unwrap();
    fill(&server, &storage, 512 * 1024);
    let large = content(2, 3 << 20);
    let (whole, pieces) = (
        registry.put_blob(&large).await,
        registry.put_blob_in_pieces(&large).await,
    );
    assert!(is_full(&whole), "{whole:?}");
    assert!(is_full(&pieces), "{pieces:?}");
    ledger.verify(&registry).await;
    assert_eq!(registry.blob(&large).await, None);
    // What was refused holds no space: a small one still fits.
    ledger.push_image(&registry, 3).await.unwrap();
    make_room(&server, &storage);
    registry.put_blob(&large).await.unwrap();
    assert!(registry.blob(&large).await.unwrap() == large);
    registry.put_blob_in_pieces(&content(4, 2 << 20)).await.unwrap();
    ledger.verify(&registry).await;
}

/// Blobs and database share the full disk: reads go on, pushes are 507, and it heals without a restart.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_with_the_database_on_it_is_507_and_heals() {
    let place = Place::mounting(r#"mount -t tmpfs -o size=16m none "$DISK""#);
    let disk = place.disk();
    let server = place.start();
    let (registry, ledger) = (Registry::of(&server), Ledger::default());
    ledger.push_image(&registry, 1).await.unwrap();
    fill(&server, &disk, 0);
    let mut refused = 0;
    for seed in 100..130 {
        match ledger.push_image(&registry, seed).await {
            Ok(()) => {}
            Err(Stopped::Refused(StatusCode::INSUFFICIENT_STORAGE)) => refused += 1,
            Err(other) => panic!("{other:?}: {}", server.log()),
        }
    }
    assert!(refused > 20, "{refused} pushes were refused");
    ledger.verify(&registry).await;
    make_room(&server, &disk);
    ledger.push_image(&registry, 200).await.unwrap();
    ledger.verify(&registry).await;
}
