//! What the tests share.

pub(crate) mod image;
pub(crate) mod machine;
pub(crate) mod programs;
pub(crate) mod registry;
pub(crate) mod server;
pub(crate) mod wharf;
