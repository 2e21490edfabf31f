//! The words that both sides of an OCI registry's wire share, and nothing else.
//!
//! The registry and the client are written against the same documents: the OCI distribution and image
//! specifications and Docker's token documents. What those documents name is a type here, and a value of
//! such a type is always well formed: a [`Digest`], a [`RepositoryName`] or a [`Tag`] cannot hold anything
//! that the wire does not allow, so nothing that takes one checks it again.
//!
//! Text comes in through [`std::str::FromStr`] or a `parse` function and goes out through
//! [`std::fmt::Display`]. A [`Manifest`] is the exact bytes that arrived plus what was read from them; there
//! is no way to write one out from its parsed form, since its digest is over the bytes.
//!
//! This crate must not know of sockets, files, clocks, async code, databases or policies.

#![forbid(unsafe_code)]

pub mod digest;
pub mod error;
pub mod manifest;
pub mod media_type;
pub mod name;
pub mod path;
pub mod range;
pub mod reference;
pub mod scope;

pub use digest::{Algorithm, Digest, DigestError, Hasher};
pub use error::{ErrorBody, ErrorCode};
pub use manifest::{Descriptor, Manifest, ManifestError, ManifestLimits, Platform};
pub use media_type::{ManifestKind, MediaType};
pub use name::{NameError, RepositoryName, Tag, TagError};
pub use path::{Path, PathError};
pub use range::{ByteRange, ContentRange, ResolvedRange, Selection};
pub use reference::{ImageReference, Reference};
pub use scope::{Action, Actions, Scope};
