//! Processes: the container's first one and those that join it, from the parent's side.

mod init;
mod join;
pub(crate) mod message;
mod program;
mod relay;
mod start;
mod wait;
mod words;

pub(crate) use join::{Joining, join};
pub(crate) use message::{Message, go_on, hear};
pub(crate) use start::{Options, Started, hook_state, start};
pub(crate) use wait::{Caught, await_end, catch_signals, exit_code, wait};
pub(crate) use words::of_init;
