//! The registry: an OCI Distribution server that issues its own tokens.
//!
//! A request flows one way through these modules:
//!
//! ```text
//! http::server ─► http::operation ─► auth ─► repo ─► blobs      (bytes)
//!   connection      pure parse        who     rules ─► metadata  (rows)
//!                                                └──► http::error, http::<resource>: the answer
//! ```
//!
//! - [`http`] knows the wire: it parses a request into an `Operation` without any I/O and turns results and errors
//!   into answers. It decides nothing about rights or content.
//! - [`auth`] decides who calls and what they may do. It alone can make an `Authorized<Operation>`.
//! - [`repo`] holds the rules of pushing, pulling and deleting. It knows neither HTTP nor SQL nor where bytes lie.
//! - [`app`] wires everything once; [`cli`] and [`config`] say how. [`metrics`] holds what is counted.
//!
//! What this crate must not know: the client, the runtime, and how a manifest would look if it were written anew
//! (its digest is over the bytes received, so they are kept and never rebuilt).
#![forbid(unsafe_code)]

pub mod app;
pub mod auth;
pub mod blobs;
pub mod cli;
pub mod clock;
pub mod commands;
pub mod config;
pub mod http;
pub mod metadata;
pub mod metrics;
pub mod operation;
pub(crate) mod outgoing;
pub mod random;
pub mod repo;
pub mod search;
pub mod upkeep;
