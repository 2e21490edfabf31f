//! References: what follows `/manifests/` on the wire, and what a person types for an image.

use std::fmt;
use std::str::FromStr;

use crate::digest::{Digest, DigestError};
use crate::name::{NameError, RepositoryName, Tag, TagError};

/// A manifest within a repository: by tag, or by digest.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Reference {
    /// A name that can be moved.
    Tag(Tag),
    /// The content itself.
    Digest(Digest),
}

/// Why a text is not a [`Reference`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// It has a colon, so it must be a digest, and is none.
    #[error(transparent)]
    Digest(#[from] DigestError),
    /// It has no colon, so it must be a tag, and is none.
    #[error(transparent)]
    Tag(#[from] TagError),
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        // A tag has no colon and a digest always has one.
        if text.contains(':') {
            Ok(Reference::Digest(text.parse()?))
        } else {
            Ok(Reference::Tag(text.parse()?))
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reference::Tag(tag) => tag.fmt(f),
            Reference::Digest(digest) => digest.fmt(f),
        }
    }
}

/// An image as a person types it: `[HOST[:PORT]/]NAME[:TAG][@DIGEST]`.
///
/// What was left out stays left out: the default registry, `library/` and `latest` are the caller's to add.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ImageReference {
    /// The registry's host and port, when the first component names one.
    pub host: Option<String>,
    /// The repository, without the host.
    pub repository: RepositoryName,
    /// The tag, when one was given.
    pub tag: Option<Tag>,
    /// The digest, when one was given; it decides, whatever the tag says.
    pub digest: Option<Digest>,
}

/// Why a text is not an [`ImageReference`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImageReferenceError {
    /// Its repository is wrong.
    #[error(transparent)]
    Name(#[from] NameError),
    /// Its tag is wrong.
    #[error(transparent)]
    Tag(#[from] TagError),
    /// Its digest is wrong.
    #[error(transparent)]
    Digest(#[from] DigestError),
    /// Its host is not letters, digits, dots and dashes with an optional port.
    #[error("{host:?} is not a registry's host: expected a name or address and an optional port")]
    Host {
        /// The first component as typed.
        host: String,
    },
}

impl FromStr for ImageReference {
    type Err = ImageReferenceError;

    fn from_str(text: &str) -> Result<Self, ImageReferenceError> {
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest.parse()?)),
            None => (text, None),
        };
        let (host, rest) = match rest.split_once('/') {
            Some((first, rest)) if is_host(first) => (Some(check_host(first)?), rest),
            _ => (None, rest),
        };
        // The host's port is gone, so a colon after the last slash can only begin the tag.
        let (name, tag) = match rest.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, Some(tag.parse()?)),
            _ => (rest, None),
        };
        Ok(ImageReference {
            host,
            repository: name.parse()?,
            tag,
            digest,
        })
    }
}

/// A first component is a host where it could not be part of a name: docker's own rule.
fn is_host(first: &str) -> bool {
    first.contains(['.', ':']) || first == "localhost" || first.bytes().any(|b| b.is_ascii_uppercase())
}

fn check_host(text: &str) -> Result<String, ImageReferenceError> {
    let wrong = || ImageReferenceError::Host {
        host: text.to_owned(),
    };
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (address, port) = rest.split_once(']').ok_or_else(wrong)?;
            address.parse::<std::net::Ipv6Addr>().ok().ok_or_else(wrong)?;
            (
                None,
                port.strip_prefix(':')
                    .or(if port.is_empty() { None } else { Some("?") }),
            )
        }
        None => match text.split_once(':') {
            Some((host, port)) => (Some(host), Some(port)),
            None => (Some(text), None),
        },
    };
    let label = |l: &str| {
        !l.is_empty()
            && !l.starts_with('-')
            && !l.ends_with('-')
            && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    let host_is_good = host.is_none_or(|host| host.split('.').all(label));
    let port_is_good = port.is_none_or(|p| p.bytes().all(|b| b.is_ascii_digit()) && p.parse::<u16>().is_ok());
    if host_is_good && port_is_good {
        Ok(text.to_owned())
    } else {
        Err(wrong())
    }
}

impl ImageReference {
    /// What to ask the repository for: the digest, else the tag, else `latest`.
    #[must_use]
    pub fn reference(&self) -> Reference {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => Reference::Digest(digest.clone()),
            (None, Some(tag)) => Reference::Tag(tag.clone()),
            (None, None) => Reference::Tag(Tag::latest()),
        }
    }
}

impl fmt::Display for ImageReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(host) = &self.host {
            write!(f, "{host}/")?;
        }
        self.repository.fmt(f)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parts(text: &str) -> (Option<String>, String, Option<String>) {
        let image: ImageReference = text.parse().unwrap();
        assert_eq!(image.to_string(), text);
        (
            image.host,
            image.repository.to_string(),
            image.tag.map(|t| t.to_string()),
        )
    }

    #[test]
    fn the_first_component_is_a_host_only_where_it_looks_like_one() {
        assert_eq!(parts("busybox"), (None, "busybox".into(), None));
        assert_eq!(parts("team/app:1"), (None, "team/app".into(), Some("1".into())));
        assert_eq!(
            parts("localhost/app"),
            (Some("localhost".into()), "app".into(), None)
        );
        assert_eq!(
            parts("127.0.0.1:5000/a/b:x"),
            (Some("127.0.0.1:5000".into()), "a/b".into(), Some("x".into()))
        );
        assert_eq!(
            parts("[::1]:5000/a"),
            (Some("[::1]:5000".into()), "a".into(), None)
        );
        assert_eq!(
            parts("r.example/app"),
            (Some("r.example".into()), "app".into(), None)
        );
    }

    #[test]
    fn a_digest_decides_over_a_tag() {
        let digest = Digest::of(crate::Algorithm::Sha256, b"x");
        let image: ImageReference = format!("app:1@{digest}").parse().unwrap();
        assert_eq!(image.reference(), Reference::Digest(digest));
        assert_eq!(image.tag.unwrap().as_str(), "1");
    }

    #[test]
    fn wrong_parts_are_named() {
        assert!(matches!(
            "App".parse::<ImageReference>(),
            Err(ImageReferenceError::Name(NameError::Uppercase))
        ));
        assert!(matches!(
            "app:".parse::<ImageReference>(),
            Err(ImageReferenceError::Tag(_))
        ));
        assert!(matches!(
            "app@sha256:1".parse::<ImageReference>(),
            Err(ImageReferenceError::Digest(_))
        ));
        for host in ["a..b/c", "h:99999/c", "h:/c/d", "-x.y/c", "[::1/c", "[::1]x/c"] {
            let parsed = host.parse::<ImageReference>();
            assert!(parsed.is_err(), "{host}: {parsed:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_taken_is_shown_as_typed(text in "[a-zA-Z0-9._:/@\\[\\]-]{0,60}") {
            if let Ok(image) = text.parse::<ImageReference>() {
                prop_assert_eq!(image.to_string(), text);
            }
        }
    }
}
