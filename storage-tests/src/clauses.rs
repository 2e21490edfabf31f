//! The clauses, a file a contract; `metadata` is a folder, a file a part of it.

pub mod blobs;
pub mod issues;
pub mod metadata;
pub mod objects;
pub mod races;
pub mod upload_ends;
