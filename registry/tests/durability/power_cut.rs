//! The power goes while many push.
//!
//! The disk is an ext4 image. `EXT4_IOC_SHUTDOWN` without a flush of the journal stops it dead: what was not on the
//! disk by then will never be. The next mount replays the journal, as after a real cut.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::push::{Ledger, Registry};
use super::server::Place;

const CUTS: u64 = 12;
const PUSHERS: u64 = 6;

/// Asks ext4 to stop dead: `_IOR('X', 125, __u32)` with `EXT4_GOING_FLAGS_NOLOGFLUSH`.
const SHUTDOWN: &str = "
import fcntl, os, struct, sys
folder = os.open(sys.argv[1], os.O_RDONLY)
fcntl.ioctl(folder, 0x8004587d, struct.pack('I', 2))
";

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_survives_a_power_cut() {
    let place = Place::mounting(r#"mount -o loop "$IMAGE" "$DISK""#);
    let image = place.folder().join("image");
    std::fs::File::create(&image).unwrap().set_len(1 << 30).unwrap();
    let made = Command::new("mkfs.ext4").arg("-q").arg(&image).status().unwrap();
    assert!(made.success(), "mkfs.ext4 failed");
    let (ledger, next) = (Arc::new(Ledger::default()), Arc::new(AtomicU64::new(1)));
    for cut in 0..CUTS {
        let server = place.start();
        let registry = Registry::of(&server);
        ledger.verify(&registry).await;
        let before = ledger.acknowledged();
        let pushers: Vec<_> = (0..PUSHERS)
            .map(|_| {
                let (ledger, next, registry) = (Arc::clone(&ledger), Arc::clone(&next), registry.clone());
                tokio::spawn(async move {
                    while ledger
                        .push_image(&registry, next.fetch_add(1, Ordering::Relaxed))
                        .await
                        .is_ok()
                    {}
                })
            })
            .collect();
        // The cut comes at another point of the pushes each time.
        let wanted = before + 3 + (cut * 5 % 11) as usize;
        let enough = async {
            while ledger.acknowledged() < wanted {
                tokio::time::sleep(Duration::from_micros(300 + cut * 37)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), enough)
            .await
            .expect("pushes go through");
        let disk = format!("{}{}", server.root().display(), place.disk().display());
        let shut = Command::new("python3")
            .args(["-c", SHUTDOWN, &disk])
            .status()
            .unwrap();
        assert!(shut.success(), "the file system was not shut down");
        for pusher in pushers {
            tokio::time::timeout(Duration::from_secs(60), pusher)
                .await
                .expect("pushes end")
                .unwrap();
        }
        server.kill();
    }
    let server = place.start();
    ledger.verify(&Registry::of(&server)).await;
    assert!(ledger.acknowledged() >= CUTS as usize * 3);
}
