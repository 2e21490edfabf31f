//! An OCI container runtime: one static binary, one thread, no async.
//!
//! What a caller asks for flows through the modules in this order: [`spec`] reads `config.json`.
//!
//! Invariant: this crate knows nothing of images, registries or the `wharf` client.

pub mod seccomp;
pub mod spec;
