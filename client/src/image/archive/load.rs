//! `load`: reads an archive in one pass, whatever order its files have, then puts the images together.
//!
//! A file's path in the archive is a name to look up and never a path on disk.

use std::collections::BTreeMap;
use std::io::Read;

use serde::Deserialize;
use wharf_protocol::digest::Digest;
use wharf_protocol::manifest::{Manifest, ManifestLimits};
use wharf_protocol::media_type::ManifestKind;

use super::{Spooled, assemble, make_manifest, name_image, spool};
use crate::app::App;
use crate::error::{Error, Kind, Result};
use crate::image::catalog::Image;
use crate::image::config::MAX_CONFIG_BYTES;
use crate::image::content::Content;
use crate::image::layer;
use crate::image::name::Name;
use crate::image::platform;
use crate::image::tar::{Entry, Kind as EntryKind, Reader};

/// The most files that an archive may have.
const MAX_ENTRIES: usize = 100_000;
/// The largest document that is kept in memory.
const MAX_DOCUMENT_BYTES: u64 = 8 << 20;

/// One image that was loaded, and its names.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The image.
    pub image: Image,
    /// The names that the archive gave it.
    pub names: Vec<Name>,
}

/// What was found in the archive.
#[derive(Default)]
struct Found {
    documents: BTreeMap<String, Vec<u8>>,
    layers: BTreeMap<String, Spooled>,
    links: BTreeMap<String, String>,
}

/// An entry of docker's `manifest.json`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerEntry {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    #[serde(default)]
    layers: Vec<String>,
}

/// Loads every image of an archive.
///
/// # Errors
/// [`Kind::Damaged`] for what is no such archive or does not fit together.
pub fn load(app: &App, stream: &mut dyn Read) -> Result<Vec<Loaded>> {
    let store = app.store()?;
    let _hold = store.hold()?;
    let content = Content::of(store);
    let found = read_archive(&content, stream)?;
    let docker: Vec<DockerEntry> = match found.documents.get("manifest.json") {
        Some(bytes) => serde_json::from_slice(bytes).map_err(|cause| {
            Error::new(Kind::Damaged, "the archive's manifest.json is not valid").because(cause)
        })?,
        None => Vec::new(),
    };
    let mut loaded = Vec::new();
    if let Some(index) = found.documents.get("index.json") {
        for (manifest, annotated) in manifests_of(&content, index)? {
            let image = assemble(store, &manifest)?;
            let tags = docker
                .iter()
                .filter(|entry| entry.config.contains(image.id.hex()));
            let tags = tags.flat_map(|entry| entry.repo_tags.iter().flatten());
            let mut names: Vec<Name> = tags
                .filter_map(|tag| Name::parse(tag, &app.settings).ok())
                .collect();
            if names.is_empty() {
                names.extend(annotated.and_then(|name| Name::parse(&name, &app.settings).ok()));
            }
            add(&mut loaded, image, names);
        }
    } else {
        for entry in &docker {
            let manifest = legacy_manifest(&content, &found, entry)?;
            let image = assemble(store, &manifest)?;
            let tags = entry.repo_tags.iter().flatten();
            add(
                &mut loaded,
                image,
                tags.filter_map(|tag| Name::parse(tag, &app.settings).ok())
                    .collect(),
            );
        }
    }
    if loaded.is_empty() {
        return Err(Error::new(
            Kind::Damaged,
            "this is no image archive: it has neither index.json nor manifest.json",
        )
        .hint("A file system's archive is made into an image by: wharf import"));
    }
    for loaded in &loaded {
        for name in &loaded.names {
            name_image(app, name, &loaded.image)?;
        }
    }
    Ok(loaded)
}

fn add(loaded: &mut Vec<Loaded>, image: Image, names: Vec<Name>) {
    let names = names.into_iter().map(Name::or_latest);
    match loaded.iter_mut().find(|known| known.image.id == image.id) {
        Some(known) => {
            for name in names {
                if !known.names.contains(&name) {
                    known.names.push(name);
                }
            }
        }
        None => loaded.push(Loaded {
            image,
            names: names.collect(),
        }),
    }
}

/// Reads the archive: blobs go into the store by their digest, layers of the older form are compressed
/// into it, documents are kept in memory.
fn read_archive(content: &Content, stream: &mut dyn Read) -> Result<Found> {
    let mut plain = layer::inflating(stream)?;
    let mut reader = Reader::new(&mut plain);
    let mut found = Found::default();
    let mut count = 0_usize;
    let damaged = |cause| Error::new(Kind::Damaged, "the archive cannot be read").because(cause);
    while let Some(entry) = reader.next().map_err(|error| damaged(Box::new(error)))? {
        count += 1;
        if count > MAX_ENTRIES {
            return Err(Error::new(
                Kind::Damaged,
                format!("the archive has more than {MAX_ENTRIES} files"),
            ));
        }
        let path = String::from_utf8_lossy(&entry.path)
            .trim_start_matches("./")
            .to_owned();
        match entry.kind {
            EntryKind::File => read_file(content, &mut reader, &entry, path, &mut found)?,
            EntryKind::Symlink | EntryKind::HardLink => {
                found
                    .links
                    .insert(path, String::from_utf8_lossy(&entry.link).into_owned());
            }
            _ => {}
        }
    }
    Ok(found)
}

fn read_file<R: Read>(
    content: &Content,
    reader: &mut Reader<R>,
    entry: &Entry,
    path: String,
    found: &mut Found,
) -> Result<()> {
    let mut data = Data(reader);
    let blob = path
        .strip_prefix("blobs/")
        .and_then(|rest| rest.replacen('/', ":", 1).parse::<Digest>().ok());
    if let Some(digest) = blob {
        let Some(mut ingest) = content.ingest(&digest)? else {
            return Ok(());
        };
        ingest.restart()?;
        let mut buffer = vec![0_u8; super::PIECE_BYTES];
        loop {
            let count = data
                .read(&mut buffer)
                .map_err(|error| Error::io("read the archive", error))?;
            if count == 0 {
                return ingest.finish();
            }
            ingest.append(buffer.get(..count).unwrap_or_default())?;
        }
    }
    if path.ends_with("layer.tar") || path.ends_with(".tar") || path.ends_with(".tar.gz") {
        let layer = spool(content, &mut data)?;
        found.layers.insert(path, layer);
    } else if entry.size <= MAX_DOCUMENT_BYTES {
        let mut bytes = Vec::new();
        data.read_to_end(&mut bytes)
            .map_err(|error| Error::io("read the archive", error))?;
        found.documents.insert(path, bytes);
    }
    Ok(())
}

/// The current entry's data, as a stream.
struct Data<'a, R>(&'a mut Reader<R>);

impl<R: Read> Read for Data<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.0.read(buffer).map_err(std::io::Error::other)
    }
}

/// The manifests that the layout's index names, for this machine, each with the name it is annotated with.
fn manifests_of(content: &Content, index: &[u8]) -> Result<Vec<(Digest, Option<String>)>> {
    let index = parse(index)?;
    let mut manifests = Vec::new();
    for descriptor in index.manifests() {
        let annotation = |key: &str| descriptor.annotations.get(key).cloned();
        let name = annotation("io.containerd.image.name").or_else(|| {
            // A tag alone names nothing.
            annotation("org.opencontainers.image.ref.name").filter(|name| name.contains(['/', ':']))
        });
        let mut digest = descriptor.digest.clone();
        if descriptor.media_type.manifest_kind() == ManifestKind::Index {
            let inner = parse(&content.read(&digest, MAX_DOCUMENT_BYTES)?)?;
            let wanted = platform::this_machine();
            let chosen = platform::choose(inner.manifests(), &wanted).ok_or_else(|| {
                Error::new(
                    Kind::Unsupported,
                    format!(
                        "no image of the archive's index {digest} is for {}",
                        platform::shown(&wanted)
                    ),
                )
            })?;
            digest = chosen.digest.clone();
        }
        manifests.push((digest, name));
    }
    Ok(manifests)
}

fn parse(bytes: &[u8]) -> Result<Manifest> {
    // An index.json may leave its media type out.
    let kind = wharf_protocol::media_type::OCI_INDEX.parse().ok();
    Manifest::parse(bytes.to_vec().into(), kind.as_ref(), &ManifestLimits::default())
        .map_err(|cause| Error::new(Kind::Damaged, "the archive's index is not valid").because(cause))
}

/// Makes a manifest of an image in docker's older form: a configuration and uncompressed layers.
fn legacy_manifest(content: &Content, found: &Found, entry: &DockerEntry) -> Result<Digest> {
    let lacks = |path: &str| {
        Error::new(
            Kind::Damaged,
            format!("the archive lacks {path:?}, which its manifest names"),
        )
    };
    let config = match found.documents.get(&entry.config) {
        Some(bytes) => bytes.clone(),
        None => {
            let blob = entry
                .config
                .strip_prefix("blobs/")
                .and_then(|rest| rest.replacen('/', ":", 1).parse().ok());
            content.read(&blob.ok_or_else(|| lacks(&entry.config))?, MAX_CONFIG_BYTES)?
        }
    };
    let mut layers = Vec::with_capacity(entry.layers.len());
    for path in &entry.layers {
        let target = found.links.get(path).map(|link| resolve(path, link));
        let layer = found
            .layers
            .get(path)
            .or_else(|| found.layers.get(target.as_deref().unwrap_or_default()));
        layers.push(layer.ok_or_else(|| lacks(path))?.blob.clone());
    }
    make_manifest(content, &config, &layers)
}

/// A link's target as a path of the archive: `a/layer.tar` → `../b/layer.tar` is `b/layer.tar`.
fn resolve(path: &str, link: &str) -> String {
    let mut parts: Vec<&str> = path.split('/').collect();
    parts.pop();
    for part in link.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            other => parts.push(other),
        }
    }
    parts.join("/")
}
