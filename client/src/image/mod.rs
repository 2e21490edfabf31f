//! Images: content by digest, layers unpacked by chain id, and what is known of each image.
//!
//! [`name`] is what a user types, resolved; [`content`] keeps blobs as they came; [`snapshot`] keeps
//! unpacked layers and what containers write on top; [`catalog`] says which images exist and which name
//! means which; [`config`] is an image's own configuration. [`tar`] reads and writes layers' streams,
//! [`unpack`] makes folders of them.
//!
//! Invariant: an image's record exists only while every blob and layer that it names does; it is written
//! after them and removed before them.

pub mod archive;
pub mod catalog;
pub mod config;
pub mod content;
pub mod inspect;
pub mod layer;
pub mod list;
pub mod name;
pub mod platform;
pub mod pull;
pub mod push;
pub mod remove;
pub mod snapshot;
pub mod tar;
pub mod unpack;
