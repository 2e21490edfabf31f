//! Slow clients, clients that vanish, clients that ask for too much, many at once: what each of them sees, that others
//! go on being served, that nothing is lost, and what it costs in memory and descriptors.
//!
//! The server is the real program; its memory and its descriptors are read from `/proc`.
#![cfg(target_os = "linux")]
#![forbid(unsafe_code)]
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests: a failed expectation must fail the test"
)]

mod certificates;
mod clock;
mod gauge;
mod lists;
mod many_uploads;
mod memory;
mod raw;
mod slow;
mod vanished;

#[path = "../it/support/mod.rs"]
#[expect(dead_code, reason = "the other tests use the rest")]
mod support;
