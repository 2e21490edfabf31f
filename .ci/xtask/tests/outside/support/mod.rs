//! What the tests stand on.

pub(crate) mod images;
pub(crate) mod programs;
pub(crate) mod registry;
