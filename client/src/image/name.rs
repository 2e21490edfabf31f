//! An image's name: as a user types it, with what was left out filled in.

use std::fmt;

use wharf_protocol::digest::Digest;
use wharf_protocol::name::{NameError, RepositoryName, Tag};
use wharf_protocol::reference::{ImageReference, ImageReferenceError, Reference};

use crate::config::{DOCKER_HUB, Settings};
use crate::error::{Error, Kind, Result};

/// A name whose registry and repository are known.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Name {
    /// The registry's host and port.
    pub host: String,
    /// The repository as the registry knows it.
    pub repository: RepositoryName,
    /// The tag, when one was given.
    pub tag: Option<Tag>,
    /// The digest, when one was given; it decides.
    pub digest: Option<Digest>,
}

impl Name {
    /// Reads what a user typed; a name without a host is the default registry's.
    ///
    /// # Errors
    /// Docker's words for a malformed name.
    pub fn parse(text: &str, settings: &Settings) -> Result<Self> {
        if text.len() == 64
            && text
                .bytes()
                .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
        {
            return Err(malformed(format!(
                "invalid repository name ({text}), cannot specify 64-byte hexadecimal strings"
            )));
        }
        let typed: ImageReference = text.parse().map_err(|error| refuse(text, &error, settings))?;
        let host = match typed.host {
            Some(host) if host == "index.docker.io" => DOCKER_HUB.to_owned(),
            Some(host) => host,
            None => settings.default_registry.clone(),
        };
        let repository = if host == DOCKER_HUB && !typed.repository.as_str().contains('/') {
            format!("library/{}", typed.repository)
                .parse()
                .map_err(|error: NameError| refuse(text, &error.into(), settings))?
        } else {
            typed.repository
        };
        Ok(Self {
            host,
            repository,
            tag: typed.tag,
            digest: typed.digest,
        })
    }

    /// The same name with `latest` where it has neither tag nor digest.
    #[must_use]
    pub fn or_latest(mut self) -> Self {
        if self.tag.is_none() && self.digest.is_none() {
            self.tag = Some(Tag::latest());
        }
        self
    }

    /// The same repository at this tag.
    #[must_use]
    pub fn at_tag(&self, tag: Tag) -> Self {
        Self {
            tag: Some(tag),
            digest: None,
            ..self.clone()
        }
    }

    /// The same repository at this digest.
    #[must_use]
    pub fn at_digest(&self, digest: Digest) -> Self {
        Self {
            tag: None,
            digest: Some(digest),
            ..self.clone()
        }
    }

    /// What to ask the registry for.
    pub fn reference(&self) -> Reference {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => Reference::Digest(digest.clone()),
            (None, Some(tag)) => Reference::Tag(tag.clone()),
            (None, None) => Reference::Tag(Tag::latest()),
        }
    }

    /// The repository as a user types it: without the default registry's host and docker.io's `library/`.
    pub fn familiar_repository(&self, settings: &Settings) -> String {
        let repository = self.repository.as_str();
        if self.host != settings.default_registry {
            return format!("{}/{repository}", self.host);
        }
        match repository.strip_prefix("library/") {
            Some(word) if self.host == DOCKER_HUB && !word.contains('/') => word.to_owned(),
            _ => repository.to_owned(),
        }
    }

    /// The whole name as a user types it.
    pub fn familiar(&self, settings: &Settings) -> String {
        format!("{}{}", self.familiar_repository(settings), self.suffix())
    }

    /// The host and the repository.
    pub fn full_repository(&self) -> String {
        format!("{}/{}", self.host, self.repository)
    }

    fn suffix(&self) -> String {
        let tag = self.tag.as_ref().map(|tag| format!(":{tag}")).unwrap_or_default();
        let digest = self
            .digest
            .as_ref()
            .map(|digest| format!("@{digest}"))
            .unwrap_or_default();
        tag + &digest
    }
}

/// The whole name, host included.
impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}{}", self.host, self.repository, self.suffix())
    }
}

fn malformed(text: String) -> Error {
    Error::new(Kind::BadArguments, text)
}

fn refuse(text: &str, error: &ImageReferenceError, settings: &Settings) -> Error {
    if matches!(error, ImageReferenceError::Name(NameError::Uppercase)) {
        let name = text.split_once('@').map_or(text, |(name, _)| name);
        let name = match name.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => name,
            _ => name,
        };
        let library = if settings.default_registry == DOCKER_HUB && !name.contains('/') {
            "library/"
        } else {
            ""
        };
        return malformed(format!(
            "invalid reference format: repository name ({library}{name}) must be lowercase"
        ));
    }
    malformed("invalid reference format".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Name {
        Name::parse(text, &Settings::default()).unwrap()
    }

    #[test]
    fn a_bare_word_is_the_hubs_library() {
        let name = parse("busybox").or_latest();
        assert_eq!(name.to_string(), "docker.io/library/busybox:latest");
        assert_eq!(name.familiar(&Settings::default()), "busybox:latest");
        assert_eq!(parse("docker.io/library/busybox"), parse("busybox"));
        assert_eq!(parse("index.docker.io/team/app"), parse("team/app"));
    }

    #[test]
    fn a_bare_name_is_the_default_registrys() {
        let mut settings = Settings::default();
        settings.default_registry = "reg.example:5000".to_owned();
        let name = Name::parse("busybox", &settings).unwrap();
        assert_eq!(name.to_string(), "reg.example:5000/busybox");
        assert_eq!(name.familiar(&settings), "busybox");
        let hub = Name::parse("docker.io/busybox", &settings).unwrap();
        assert_eq!(hub.familiar(&settings), "docker.io/library/busybox");
    }

    #[test]
    fn malformed_names_are_refused_in_dockers_words() {
        let refused = |text: &str| Name::parse(text, &Settings::default()).unwrap_err().to_string();
        assert_eq!(
            refused("Bad"),
            "invalid reference format: repository name (library/Bad) must be lowercase"
        );
        assert_eq!(refused(""), "invalid reference format");
        assert_eq!(refused("a:b:c"), "invalid reference format");
        assert!(refused(&"a".repeat(64)).starts_with("invalid repository name"));
    }
}
