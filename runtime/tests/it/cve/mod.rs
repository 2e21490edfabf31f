//! Past mistakes of container runtimes, each attacked anew.
//!
//! A test that could pass because its attack is broken first shows that the attack works on something that makes
//! the mistake: a plain `chroot`, a plain `mount`, a process that joins without care.

mod descriptors;
mod executable;
mod joining;
mod mounts;
mod rights;
