//! Containers, on the real kernel.

mod life;
mod network;
mod terminal;
