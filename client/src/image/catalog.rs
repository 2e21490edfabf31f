//! Which images exist, and which name means which.
//!
//! `images/<id>.json` is an image; `references/<digest of the name>.json` a name. Each is one file,
//! replaced durably, so a tag moves at once or not at all. Readers take no lock.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use wharf_protocol::digest::{Algorithm, Digest};

use super::config::{ImageConfig, MAX_CONFIG_BYTES};
use super::content::Content;
use super::name::Name;
use crate::config::Settings;
use crate::error::{Error, Kind, Result};
use crate::store::Store;

/// A blob that the store holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blob {
    /// Its media type, as the manifest says it.
    pub media_type: String,
    /// Its digest.
    pub digest: Digest,
    /// Its size.
    pub size_bytes: u64,
}

/// What is known of an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// The digest of its configuration.
    pub id: Digest,
    /// The manifest that it came with.
    pub manifest: Blob,
    /// The compressed layers, the lowest first.
    pub layers: Vec<Blob>,
    /// Their chain ids, the lowest first.
    pub chain_ids: Vec<Digest>,
    /// Bytes of all files of all layers.
    pub size_bytes: u64,
}

/// What a name means.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reference {
    /// The whole name, host included.
    pub name: String,
    /// The image.
    pub image: Digest,
    /// The image's manifest under this name.
    pub manifest: Blob,
    /// What the registry's tag points at: that manifest, or an index that names it.
    pub target: Digest,
    /// When the name was given.
    pub tagged_at: Timestamp,
}

/// The images of a store.
#[derive(Debug, Clone)]
pub struct Catalog {
    images: PathBuf,
    references: PathBuf,
    content: Content,
}

impl Reference {
    /// The name, parsed.
    ///
    /// # Errors
    /// A record that was changed by hand.
    pub fn parsed(&self) -> Result<Name> {
        // The name holds its host, so no setting can change what it means.
        Name::parse(&self.name, &Settings::default())
    }
}

impl Catalog {
    /// The images of this store.
    pub fn of(store: &Store) -> Self {
        Self {
            images: store.path("images"),
            references: store.path("references"),
            content: Content::of(store),
        }
    }

    /// Every image that can be read.
    ///
    /// # Errors
    /// What the file system says.
    pub fn images(&self) -> Result<Vec<Image>> {
        read_all(&self.images)
    }

    /// Every name, in the order of names.
    ///
    /// # Errors
    /// What the file system says.
    pub fn references(&self) -> Result<Vec<Reference>> {
        let mut references: Vec<Reference> = read_all(&self.references)?;
        references.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(references)
    }

    /// An image by its id.
    ///
    /// # Errors
    /// A record that is there and cannot be read.
    pub fn image(&self, id: &Digest) -> Result<Option<Image>> {
        read_one(&self.image_path(id))
    }

    /// What a name means.
    ///
    /// # Errors
    /// A record that is there and cannot be read.
    pub fn reference(&self, name: &Name) -> Result<Option<Reference>> {
        read_one(&self.reference_path(name))
    }

    /// The configuration of an image.
    ///
    /// # Errors
    /// [`Kind::Damaged`] when it is missing or changed.
    pub fn config(&self, image: &Image) -> Result<ImageConfig> {
        ImageConfig::parse(&self.content.read(&image.id, MAX_CONFIG_BYTES)?)
    }

    /// Finds an image by what a user typed: its id, a name, or the first digits of its id. Returns the
    /// name too, when it was one.
    ///
    /// # Errors
    /// [`Kind::NotFound`] in docker's words, or a malformed name.
    pub fn find(&self, typed: &str, settings: &Settings) -> Result<(Image, Option<Name>)> {
        if let Ok(id) = typed.parse::<Digest>() {
            return self
                .image(&id)?
                .map(|image| (image, None))
                .ok_or_else(|| no_such_image(typed));
        }
        let name = Name::parse(typed, settings).map(Name::or_latest);
        if let Ok(name) = &name
            && let Some(reference) = self.reference(name)?
            && let Some(image) = self.image(&reference.image)?
        {
            return Ok((image, Some(name.clone())));
        }
        if let Some(image) = self.by_first_digits(typed)? {
            return Ok((image, None));
        }
        match name {
            Ok(name) => Err(no_such_image(&name.familiar(settings))),
            Err(_) if is_hex(typed) => Err(no_such_image(typed)),
            Err(error) => Err(error),
        }
    }

    fn by_first_digits(&self, typed: &str) -> Result<Option<Image>> {
        let digits = typed.strip_prefix("sha256:").unwrap_or(typed);
        if !is_hex(digits) {
            return Ok(None);
        }
        let mut found = None;
        for name in file_names(&self.images)? {
            let Some(hex) = name.strip_suffix(".json").filter(|hex| hex.starts_with(digits)) else {
                continue;
            };
            if found.replace(hex.to_owned()).is_some() {
                return Err(Error::engine(
                    Kind::BadArguments,
                    format!("Multiple IDs found with provided prefix: {digits}"),
                ));
            }
        }
        match found {
            Some(hex) => read_one(&self.images.join(format!("{hex}.json"))),
            None => Ok(None),
        }
    }

    /// Lets an image exist. Everything that it names must be durable.
    ///
    /// # Errors
    /// What the file system says.
    pub fn put_image(&self, image: &Image) -> Result<()> {
        put(&self.image_path(&image.id), image)
    }

    /// Lets a name mean an image that exists, whatever it meant before.
    ///
    /// # Errors
    /// What the file system says.
    pub fn put_reference(&self, name: &Name, reference: &Reference) -> Result<()> {
        put(&self.reference_path(name), reference)
    }

    /// Forgets a name; one that is unknown is forgotten already.
    ///
    /// # Errors
    /// What the file system says.
    pub fn remove_reference(&self, name: &Name) -> Result<()> {
        remove(&self.reference_path(name))
    }

    /// Forgets an image.
    ///
    /// # Errors
    /// What the file system says.
    pub fn remove_image(&self, id: &Digest) -> Result<()> {
        remove(&self.image_path(id))
    }

    fn image_path(&self, id: &Digest) -> PathBuf {
        self.images.join(format!("{}.json", id.hex()))
    }

    fn reference_path(&self, name: &Name) -> PathBuf {
        // A name may be longer than a file's name may be.
        let digest = Digest::of(Algorithm::Sha256, name.to_string().as_bytes());
        self.references.join(format!("{}.json", digest.hex()))
    }
}

/// Docker's word for an image that is not here.
pub(crate) fn no_such_image(name: &str) -> Error {
    Error::engine(Kind::NotFound, format!("No such image: {name}"))
}

fn is_hex(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 64
        && text
            .bytes()
            .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

fn put(path: &Path, value: &impl Serialize) -> Result<()> {
    let json = serde_json::to_vec(value).map_err(|error| Error::io("describe an image", error))?;
    crate::store::write_durably(path, &json)
}

fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Error::io(format!("remove {}", path.display()), error))
        }
        _ => Ok(()),
    }
}

fn read_one<T: serde::de::DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    match fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|cause| {
            Error::new(Kind::Damaged, format!("{} is damaged", path.display())).because(cause)
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io(format!("read {}", path.display()), error)),
    }
}

/// Reads every record of a folder; one that is damaged or going away is left out, so that listing works
/// on a damaged store.
fn read_all<T: serde::de::DeserializeOwned>(folder: &Path) -> Result<Vec<T>> {
    let names = file_names(folder)?;
    Ok(names
        .iter()
        .filter_map(|name| read_one(&folder.join(name)).ok().flatten())
        .collect())
}

fn file_names(folder: &Path) -> Result<Vec<String>> {
    let entries =
        fs::read_dir(folder).map_err(|error| Error::io(format!("list {}", folder.display()), error))?;
    Ok(entries
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| !name.starts_with('.'))
        .collect())
}
