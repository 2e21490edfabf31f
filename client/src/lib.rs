//! The `wharf` command line: logs in to registries, pulls, pushes and searches images, keeps them
//! unpacked, and runs containers from them, with docker's words and without a daemon.
//!
//! How a command flows: [`main`](../wharf/index.html) first hands hidden entry points (a container's
//! shim) to [`reexec`], before any thread exists; [`cli`] turns the arguments into a typed command;
//! the command, a file in [`commands`], calls operations and prints what they return through
//! [`output`], the only module that prints. Operations live in [`remote`] (talking to a registry),
//! [`image`] (content, layers, references) and the container modules; they take typed values from
//! [`app::App`], which is wired once. [`store`] names every path below `WHARF_ROOT` and `WHARF_RUN`;
//! [`config`] reads what the user set. An [`error::Error`] has a kind, a cause and hints, and one
//! place turns its kind into an exit code.
//!
//! Invariant: this crate links neither the registry nor the runtime; it runs the latter by the OCI
//! command line. Invariant: it never forks; it re-executes itself or runs a program.
#![forbid(unsafe_code)]

pub mod app;
pub mod cli;
pub mod commands;
pub mod config;
pub mod container;
pub mod error;
pub mod image;
pub mod network;
pub mod output;
pub mod reexec;
pub mod remote;
pub mod shim;
pub mod store;

/// The version of this program.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The commit it was built from, where the build knew it.
pub const BUILD: &str = match option_env!("WHARF_BUILD") {
    Some(build) => build,
    None => "unknown",
};

/// The machine's architecture in OCI's words.
pub const ARCHITECTURE: &str = if cfg!(target_arch = "x86_64") {
    "amd64"
} else if cfg!(target_arch = "aarch64") {
    "arm64"
} else {
    std::env::consts::ARCH
};
