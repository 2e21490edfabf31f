//! The clauses, a file a contract.

pub mod blobs;
