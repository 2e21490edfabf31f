//! Tests of `wharf` as a user runs it.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

mod containers;
mod crash_points;
mod golden;
mod help;
mod hostile_registry;
mod images;
mod pulls;
mod real_registry;
mod support;
mod trust;
