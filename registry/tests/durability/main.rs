//! What was acknowledged survives: a power cut, a kill at every point of a push, a full disk, a disk that fails.
//!
//! The server is the real program. Its storage lies in a mount namespace of its own, so that nothing is mounted on
//! the machine and everything is gone with the process. Needs root, `unshare`, `mkfs.ext4` and `python3`.
#![cfg(target_os = "linux")]
#![forbid(unsafe_code)]
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "tests: a failure is a failed test"
)]

mod crash_points;
mod full_disk;
mod postgres_crash;
mod power_cut;
mod push;
mod server;
mod sync_error;
mod tracer;
