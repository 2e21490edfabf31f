//! Several replicas over one PostgreSQL and one S3, behind a plain round-robin proxy; and each of the two alone.
//!
//! The replicas are the real program, in processes of their own. What each test prints beside its result (`cargo nextest
//! run --no-capture`) is what it saw: where kills fell, what clients were answered, how long a right lived on.
#![cfg(unix)]
#![forbid(unsafe_code)]
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "tests: a failure is a failed test"
)]

mod faults;
mod kills;
mod ledger;
mod pusher;
mod rights;
mod rows;
mod singly;
mod starts;
mod stops;
mod sweep;
mod uploads;
