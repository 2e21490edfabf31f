//! Talking to any registry that speaks the OCI distribution protocol.
//!
//! [`Registry`] is one registry and what was learnt of it: whether it speaks TLS, its challenge, its
//! tokens. [`transport`] sends a request: redirects, retries and back-off are ours; [`auth`] answers
//! challenges and is the only place where a login leaves the machine; [`credentials`] reads and writes
//! docker's logins. [`manifests`], [`blobs`], [`uploads`] and [`search`] are what one can ask for.
//!
//! Invariant: an `Authorization` header goes to the registry's own origin and to no other; a login goes
//! to a realm only as [`auth::may_send`] allows.

mod answer;
pub mod auth;
pub mod blobs;
mod clients;
pub mod credentials;
pub mod error;
pub mod manifests;
pub mod search;
mod tls;
pub mod transport;
pub mod uploads;

pub use error::RemoteError;
pub use transport::Registry;
