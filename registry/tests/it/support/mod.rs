//! What the tests stand on.

pub(crate) mod content;
pub(crate) mod server;
