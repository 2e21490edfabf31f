//! An OCI container runtime: one static binary, one thread, no async.
//!
//! What a caller asks for flows through the modules in this order. [`cli`] reads the command line,
//! [`commands`] carries one command out, [`spec`] reads `config.json`, [`plan`](mod@plan) judges it whole and
//! refuses what is wrong or not built, `lifecycle` claims the container's folder, `cgroups` makes and limits
//! its cgroup, and `process` makes the first process. The child works through the plan (`rootfs`, `sysctl`,
//! `pty`, `capabilities`, [`seccomp`]) and ends as the user's program; it speaks to its parent in messages of
//! eight bytes, and the parent, which holds the plan, has the words.
//!
//! Invariant: this crate knows nothing of images, registries or the `wharf` client.
//! Invariant: every unsafe line is in `sys`.
//! Invariant: the child never trusts a path of the image: it is opened once, below the root, by descriptor.

mod capabilities;
mod cgroups;
pub mod cli;
mod clock;
pub mod commands;
mod console;
pub mod error;
mod files;
mod handover;
mod hooks;
pub mod id;
pub mod lifecycle;
pub mod log;
pub mod plan;
mod process;
mod pty;
mod rootfs;
pub mod seal;
pub mod seccomp;
mod signal;
pub mod spec;
pub mod state;
mod sys;
mod sysctl;
mod user;
