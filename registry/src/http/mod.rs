//! The wire: connections, requests parsed into operations, answers.

pub mod server;
