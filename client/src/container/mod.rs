//! Containers: what is kept of them, how they are made, what runs in them.
//!
//! A container is a folder with one file of state ([`state`], [`store`]). [`create`] turns an image and
//! the user's wishes into it; the [`shim`](crate::shim) starts it from there: [`spec`] makes the bundle,
//! [`runtime`] runs the OCI runtime. What commands do to containers is in [`exec`], [`logs`], [`list`],
//! [`inspect`], [`attach`] and [`lifecycle`].
//!
//! Invariant: whoever changes a container holds its lock, and readers need none.

pub mod attach;
pub mod bind;
pub mod create;
pub mod env;
pub mod exec;
mod id;
pub mod inspect;
pub mod lifecycle;
pub mod list;
pub mod logs;
mod runtime;
pub mod seccomp;
pub mod signal;
pub mod spec;
pub mod state;
mod store;

pub use id::{Id, NotAnId, is_valid_name, made_up_name};
pub use runtime::{Bundle, Runtime, RuntimeError, Streams as StreamsForRuntime, find as find_runtime};
pub use state::{Failure, State, Status};
pub use store::{Containers, Durability, Entry, Lock};

/// Identifies this boot of the machine.
pub fn boot_id() -> String {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    text.trim().to_owned()
}
