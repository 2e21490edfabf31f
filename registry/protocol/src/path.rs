//! The paths below `/v2/` (distribution-spec, "Endpoints"): read on one side of the wire, built on the other.

use std::borrow::Cow;

use crate::digest::{Digest, DigestError};
use crate::name::{NameError, RepositoryName};
use crate::reference::{Reference, ReferenceError};

/// A path below `/v2/`, without its query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Path {
    /// `/v2/`
    Base,
    /// `/v2/_catalog`
    Catalog,
    /// `/v2/_oci/ext/discover`
    Discover,
    /// `/v2/<name>/tags/list`
    Tags {
        /// The repository.
        name: RepositoryName,
    },
    /// `/v2/<name>/manifests/<reference>`
    Manifest {
        /// The repository.
        name: RepositoryName,
        /// Tag or digest.
        reference: Reference,
    },
    /// `/v2/<name>/blobs/<digest>`
    Blob {
        /// The repository.
        name: RepositoryName,
        /// The blob.
        digest: Digest,
    },
    /// `/v2/<name>/blobs/uploads/`
    Uploads {
        /// The repository.
        name: RepositoryName,
    },
    /// `/v2/<name>/blobs/uploads/<id>`
    Upload {
        /// The repository.
        name: RepositoryName,
        /// The session, as the server named it in `Location`.
        id: String,
    },
    /// `/v2/<name>/referrers/<digest>`
    Referrers {
        /// The repository.
        name: RepositoryName,
        /// The subject.
        digest: Digest,
    },
}

/// Why a path is none of [`Path`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// It is not below `/v2/`, or has no form that the specification names.
    #[error("no such path")]
    Unknown,
    /// The repository's name is wrong.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The digest is wrong, or of an unsupported algorithm.
    #[error(transparent)]
    Digest(#[from] DigestError),
    /// What follows `/manifests/` is neither a tag nor a digest.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
}

impl Path {
    /// Reads a request's path (percent-encoded as it arrived, no query).
    ///
    /// # Errors
    /// A path that has the form of an endpoint but a wrong name, digest or reference says which; anything
    /// else is [`PathError::Unknown`].
    pub fn parse(path: &str) -> Result<Path, PathError> {
        let path = decode(path).ok_or(PathError::Unknown)?;
        let rest = match path.strip_prefix("/v2") {
            Some("" | "/") => return Ok(Path::Base),
            Some(rest) => rest.strip_prefix('/').ok_or(PathError::Unknown)?,
            None => return Err(PathError::Unknown),
        };
        match rest {
            "_catalog" | "_catalog/" => return Ok(Path::Catalog),
            "_oci/ext/discover" => return Ok(Path::Discover),
            _ if rest.starts_with('_') => return Err(PathError::Unknown),
            _ => {}
        }
        Self::parse_in_repository(rest)
    }

    /// The forms are told apart from the right, since a name may hold any number of slashes and the words
    /// `blobs`, `tags` and `manifests` too.
    fn parse_in_repository(rest: &str) -> Result<Path, PathError> {
        if let Some(name) = rest.strip_suffix("/tags/list") {
            return Ok(Path::Tags { name: name.parse()? });
        }
        if let Some(name) = rest
            .strip_suffix("/blobs/uploads/")
            .or_else(|| rest.strip_suffix("/blobs/uploads"))
        {
            return Ok(Path::Uploads { name: name.parse()? });
        }
        let (head, last) = rest.rsplit_once('/').ok_or(PathError::Unknown)?;
        if let Some(name) = head.strip_suffix("/blobs/uploads") {
            return Ok(Path::Upload {
                name: name.parse()?,
                id: last.to_owned(),
            });
        }
        if let Some(name) = head.strip_suffix("/manifests") {
            return Ok(Path::Manifest {
                name: name.parse()?,
                reference: last.parse()?,
            });
        }
        if let Some(name) = head.strip_suffix("/blobs") {
            return Ok(Path::Blob {
                name: name.parse()?,
                digest: last.parse()?,
            });
        }
        if let Some(name) = head.strip_suffix("/referrers") {
            return Ok(Path::Referrers {
                name: name.parse()?,
                digest: last.parse()?,
            });
        }
        Err(PathError::Unknown)
    }

    /// The path as a client asks for it. Nothing in it needs percent-encoding but an upload's id, which a
    /// client never makes up.
    #[must_use]
    pub fn build(&self) -> String {
        match self {
            Path::Base => "/v2/".to_owned(),
            Path::Catalog => "/v2/_catalog".to_owned(),
            Path::Discover => "/v2/_oci/ext/discover".to_owned(),
            Path::Tags { name } => format!("/v2/{name}/tags/list"),
            Path::Manifest { name, reference } => format!("/v2/{name}/manifests/{reference}"),
            Path::Blob { name, digest } => format!("/v2/{name}/blobs/{digest}"),
            Path::Uploads { name } => format!("/v2/{name}/blobs/uploads/"),
            Path::Upload { name, id } => format!("/v2/{name}/blobs/uploads/{id}"),
            Path::Referrers { name, digest } => format!("/v2/{name}/referrers/{digest}"),
        }
    }

    /// The repository that the path lies in.
    #[must_use]
    pub fn repository(&self) -> Option<&RepositoryName> {
        match self {
            Path::Base | Path::Catalog | Path::Discover => None,
            Path::Tags { name }
            | Path::Manifest { name, .. }
            | Path::Blob { name, .. }
            | Path::Uploads { name }
            | Path::Upload { name, .. }
            | Path::Referrers { name, .. } => Some(name),
        }
    }
}

/// Undoes percent-encoding (RFC 3986, section 2.1), once; `None` for a broken escape, a control character
/// or bytes that are not UTF-8.
#[must_use]
pub fn decode(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains('%') {
        return Some(Cow::Borrowed(text));
    }
    let mut bytes = text.bytes();
    let mut plain = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let high = char::from(bytes.next()?).to_digit(16)?;
            let low = char::from(bytes.next()?).to_digit(16)?;
            plain.push(u8::try_from(high * 16 + low).ok()?);
        } else {
            plain.push(byte);
        }
    }
    let plain = String::from_utf8(plain).ok()?;
    if plain.chars().any(char::is_control) {
        None
    } else {
        Some(Cow::Owned(plain))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Algorithm;
    use proptest::prelude::*;

    #[test]
    fn every_form_is_read_back_as_built() {
        let digest = Digest::of(Algorithm::Sha256, b"x");
        for name in ["a", "a/b/c", "blobs/uploads", "tags/list", "a/manifests/b"] {
            let name: RepositoryName = name.parse().unwrap();
            for path in [
                Path::Tags { name: name.clone() },
                Path::Manifest {
                    name: name.clone(),
                    reference: Reference::Digest(digest.clone()),
                },
                Path::Manifest {
                    name: name.clone(),
                    reference: "v1".parse().unwrap(),
                },
                Path::Blob {
                    name: name.clone(),
                    digest: digest.clone(),
                },
                Path::Uploads { name: name.clone() },
                Path::Upload {
                    name: name.clone(),
                    id: "0b0e".into(),
                },
                Path::Referrers {
                    name: name.clone(),
                    digest: digest.clone(),
                },
            ] {
                assert_eq!(Path::parse(&path.build()), Ok(path));
            }
        }
        for path in [Path::Base, Path::Catalog, Path::Discover] {
            assert_eq!(Path::parse(&path.build()), Ok(path));
        }
    }

    #[test]
    fn wrong_parts_are_told_from_wrong_paths() {
        assert!(matches!(
            Path::parse("/v2/A/tags/list"),
            Err(PathError::Name(NameError::Uppercase))
        ));
        assert!(matches!(
            Path::parse("/v2/a/blobs/x"),
            Err(PathError::Digest(DigestError::Malformed))
        ));
        assert!(matches!(
            Path::parse("/v2/a/manifests/.x"),
            Err(PathError::Reference(_))
        ));
        for path in [
            "",
            "/",
            "/v1/",
            "/v2x",
            "/v2/a",
            "/v2/a/b/c",
            "/v2/_x",
            "/v2/a/manifests",
            "/v2/%zz/tags/list",
        ] {
            assert_eq!(Path::parse(path), Err(PathError::Unknown), "{path}");
        }
    }

    #[test]
    fn escapes_are_undone_once() {
        let digest = Digest::of(Algorithm::Sha256, b"x");
        let escaped = format!("/v2/a%2Fb/blobs/{}", digest.as_str().replace(':', "%3A"));
        assert_eq!(
            Path::parse(&escaped),
            Ok(Path::Blob {
                name: "a/b".parse().unwrap(),
                digest
            })
        );
        assert!(matches!(
            Path::parse("/v2/a%252Fb/tags/list"),
            Err(PathError::Name(_))
        ));
        assert_eq!(Path::parse("/v2/a/tags/list%00"), Err(PathError::Unknown));
    }

    proptest! {
        #[test]
        fn no_path_panics(path in "(/v2/)?[a-zA-Z0-9%/:._-]{0,80}") {
            if let Ok(parsed) = Path::parse(&path) {
                prop_assert_eq!(Path::parse(&parsed.build()).ok().and_then(|p| p.repository().cloned()),
                                parsed.repository().cloned());
            }
        }
    }
}
