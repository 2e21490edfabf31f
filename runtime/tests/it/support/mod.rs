//! What the tests stand on.

mod bundle;

pub(crate) use bundle::{Bundle, wait_for_end};
