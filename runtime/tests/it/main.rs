//! The runtime as its callers see it: the real program on the real kernel, as root.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

mod cve;
mod sandbox;
