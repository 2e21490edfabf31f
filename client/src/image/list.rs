//! The rows of `wharf images`: which images there are, under which names, filtered.

use jiff::Timestamp;

use super::catalog::{Catalog, Image, Reference};
use super::config::ImageConfig;
use super::name::Name;
use crate::config::Settings;
use crate::error::{Error, Kind, Result};

/// What stands where there is no name.
pub const NONE: &str = "<none>";

/// An image with its names.
#[derive(Debug, Clone)]
pub struct Listed {
    /// The image.
    pub image: Image,
    /// Its configuration, as far as it can be read.
    pub config: ImageConfig,
    /// The names that mean it.
    pub names: Vec<Name>,
}

/// One row of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The repository, as typed.
    pub repository: String,
    /// The tag.
    pub tag: String,
    /// The digest at the registry.
    pub digest: String,
}

impl Listed {
    /// When the image was made.
    pub fn created(&self) -> Option<Timestamp> {
        self.config.created.as_deref().and_then(|text| text.parse().ok())
    }

    /// Its rows: one a tag, or one a repository that has only digests, or one without a name.
    pub fn rows(&self, settings: &Settings) -> Vec<Row> {
        let mut rows = Vec::new();
        let digest_of = |repository: &str| {
            let mut digests = self
                .names
                .iter()
                .filter(|name| name.familiar_repository(settings) == repository);
            digests
                .find_map(|name| name.digest.as_ref())
                .map_or(NONE.to_owned(), ToString::to_string)
        };
        for name in self.names.iter().filter(|name| name.digest.is_none()) {
            let repository = name.familiar_repository(settings);
            let tag = name.tag.as_ref().map_or(NONE.to_owned(), ToString::to_string);
            let digest = digest_of(&repository);
            rows.push(Row {
                repository,
                tag,
                digest,
            });
        }
        for name in &self.names {
            let repository = name.familiar_repository(settings);
            if let Some(digest) = &name.digest
                && !rows.iter().any(|row: &Row| row.repository == repository)
            {
                rows.push(Row {
                    repository,
                    tag: NONE.to_owned(),
                    digest: digest.to_string(),
                });
            }
        }
        if rows.is_empty() {
            rows.push(Row {
                repository: NONE.to_owned(),
                tag: NONE.to_owned(),
                digest: NONE.to_owned(),
            });
        }
        rows
    }
}

/// Every image with its names, the newest first.
///
/// # Errors
/// What the file system says; what is damaged is left out.
pub fn all(catalog: &Catalog) -> Result<Vec<Listed>> {
    let references: Vec<Reference> = catalog.references()?;
    let mut listed: Vec<Listed> = catalog
        .images()?
        .into_iter()
        .map(|image| {
            let names = references
                .iter()
                .filter(|reference| reference.image == image.id)
                .filter_map(|reference| reference.parsed().ok())
                .collect();
            let config = catalog.config(&image).unwrap_or_default();
            Listed { image, config, names }
        })
        .collect();
    listed.sort_by_key(|listed| {
        let created = listed.created().map_or(0, Timestamp::as_second);
        (std::cmp::Reverse(created), listed.image.id.as_str().to_owned())
    });
    Ok(listed)
}

/// Keeps what all filters let through; filters of one key are alternatives but for `label`.
///
/// # Errors
/// An unknown filter, in docker's words; an image to compare with that does not exist.
pub fn filter(
    listed: Vec<Listed>,
    filters: &[String],
    catalog: &Catalog,
    settings: &Settings,
) -> Result<Vec<Listed>> {
    let mut kept = listed;
    let mut patterns = Vec::new();
    for filter in filters {
        let (key, value) = filter.split_once('=').ok_or_else(|| {
            Error::new(
                Kind::BadArguments,
                format!("invalid filter '{filter}': expected KEY=VALUE"),
            )
        })?;
        match key {
            "reference" => patterns.push(value.to_owned()),
            "dangling" => {
                let wanted = crate::cli::walk::boolean(value).ok_or_else(|| bad_filter(key, value))?;
                kept.retain(|listed| listed.names.iter().all(|name| name.tag.is_none()) == wanted);
            }
            "label" => {
                let (name, text) = value
                    .split_once('=')
                    .map_or((value, None), |(name, text)| (name, Some(text)));
                kept.retain(|listed| {
                    let labels = &listed.config.config.labels;
                    labels
                        .get(name)
                        .is_some_and(|found| text.is_none_or(|text| text == found))
                });
            }
            "before" | "since" => {
                let (image, _) = catalog.find(value, settings)?;
                let config = catalog.config(&image).unwrap_or_default();
                let edge = Listed {
                    image,
                    config,
                    names: Vec::new(),
                }
                .created();
                kept.retain(|listed| {
                    if key == "before" {
                        listed.created() < edge
                    } else {
                        listed.created() > edge
                    }
                });
            }
            _ => {
                return Err(Error::engine(
                    Kind::BadArguments,
                    format!("Invalid filter '{key}'"),
                ));
            }
        }
    }
    if !patterns.is_empty() {
        for listed in &mut kept {
            listed
                .names
                .retain(|name| patterns.iter().any(|pattern| fits(pattern, name, settings)));
        }
        kept.retain(|listed| !listed.names.is_empty());
    }
    Ok(kept)
}

fn bad_filter(key: &str, value: &str) -> Error {
    Error::engine(Kind::BadArguments, format!("invalid filter '{key}={value}'"))
}

/// Whether a pattern fits a name as typed, with its tag or without.
fn fits(pattern: &str, name: &Name, settings: &Settings) -> bool {
    glob(pattern, &name.familiar(settings)) || glob(pattern, &name.familiar_repository(settings))
}

/// `*` and `?` within a component, as Go's `path.Match` has them, and `[…]`.
fn glob(pattern: &str, text: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let text: Vec<char> = text.chars().collect();
    glob_from(&pattern, &text)
}

fn glob_from(pattern: &[char], text: &[char]) -> bool {
    match pattern.split_first() {
        None => text.is_empty(),
        Some(('*', rest)) => {
            let component = text.iter().take_while(|letter| **letter != '/').count();
            (0..=component).any(|count| text.get(count..).is_some_and(|text| glob_from(rest, text)))
        }
        Some(('[', rest)) => {
            let (Some(end), Some((letter, after))) =
                (rest.iter().position(|letter| *letter == ']'), text.split_first())
            else {
                return false;
            };
            let set = rest.get(..end).unwrap_or_default();
            let (negated, set) = match set.split_first() {
                Some(('^', set)) => (true, set),
                _ => (false, set),
            };
            let ranges = set
                .windows(3)
                .any(|window| matches!(window, [a, '-', b] if a <= letter && letter <= b));
            let within = ranges || set.contains(letter);
            within != negated && glob_from(rest.get(end + 1..).unwrap_or_default(), after)
        }
        Some((wanted, rest)) => match text.split_first() {
            Some((letter, after)) if letter == wanted || (*wanted == '?' && *letter != '/') => {
                glob_from(rest, after)
            }
            _ => false,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_stay_within_a_component() {
        assert!(
            glob("busybox:t*", "busybox:two") && glob("b?sybox", "busybox") && glob("team/*", "team/app")
        );
        assert!(!glob("*", "team/app") && !glob("busy", "busybox"));
        assert!(glob("v[0-9]", "v3") && !glob("v[^0-9]", "v3"));
    }
}
