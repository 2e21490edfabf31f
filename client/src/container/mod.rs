//! Containers: what is known of one, and what is made of an image and a user's wishes.

pub mod seccomp;
