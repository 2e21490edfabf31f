//! The wire: connections, requests parsed into operations, answers.

pub mod operation;
pub mod server;
