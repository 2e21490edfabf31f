//! Containers, on the real kernel.

mod crash;
mod life;
mod network;
mod terminal;
