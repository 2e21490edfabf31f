//! `save`: an archive that is an OCI layout and has docker's `manifest.json` too, so that docker, podman,
//! skopeo and wharf read it. Blobs are stored as they are in the store: digests never change.

use std::collections::BTreeMap;
use std::io::Write;

use serde_json::{Value, json};
use wharf_protocol::digest::Digest;
use wharf_protocol::media_type;

use crate::app::App;
use crate::error::{Error, Kind, Result};
use crate::image::catalog::{Blob, Catalog, Image};
use crate::image::content::Content;
use crate::image::name::Name;
use crate::image::tar::{Entry, Kind as EntryKind, Writer};

/// An image and the names under which it is saved.
struct Saved {
    image: Image,
    manifest: Blob,
    names: Vec<Name>,
}

/// Writes images and their names into an archive; an image by its repository alone is saved with all its
/// tags there.
///
/// # Errors
/// [`Kind::NotFound`] in docker's words before anything is written; else what the stream says.
pub fn save(app: &App, typed: &[String], out: impl Write) -> Result<()> {
    let store = app.store()?;
    let _hold = store.hold()?;
    let (catalog, content) = (Catalog::of(store), Content::of(store));
    let saved = select(app, &catalog, typed)?;
    let mut blobs: BTreeMap<String, Digest> = BTreeMap::new();
    for saved in &saved {
        let layers = saved.image.layers.iter().map(|layer| &layer.digest);
        for digest in layers.chain([&saved.image.id, &saved.manifest.digest]) {
            blobs.insert(path_of(digest), digest.clone());
        }
    }
    let mut archive = Archive {
        writer: Writer::new(out),
    };
    archive.folder("blobs")?;
    archive.folder("blobs/sha256")?;
    for (path, digest) in &blobs {
        let size = content.size(digest).ok_or_else(|| {
            Error::new(
                Kind::Damaged,
                format!("the blob {digest} is missing from the store"),
            )
        })?;
        archive.file(path, size, content.open(digest)?)?;
    }
    let index = json!({
        "schemaVersion": 2,
        "mediaType": media_type::OCI_INDEX,
        "manifests": saved.iter().flat_map(descriptors).collect::<Vec<_>>(),
    });
    let docker: Vec<Value> = saved.iter().map(|saved| docker_entry(app, saved)).collect();
    archive.json("index.json", &index)?;
    archive.json("manifest.json", &Value::Array(docker))?;
    archive.json("oci-layout", &json!({"imageLayoutVersion": "1.0.0"}))?;
    archive.writer.finish().map_err(failed)?;
    Ok(())
}

/// What is to be saved, each image once.
fn select(app: &App, catalog: &Catalog, typed: &[String]) -> Result<Vec<Saved>> {
    let mut saved: Vec<Saved> = Vec::new();
    for typed in typed {
        let mut names: Vec<Name> = Vec::new();
        let repository = Name::parse(typed, &app.settings)
            .ok()
            .filter(|name| name.tag.is_none() && name.digest.is_none());
        if let Some(repository) = repository {
            names = catalog
                .references()?
                .iter()
                .filter_map(|reference| reference.parsed().ok())
                .filter(|name| name.tag.is_some() && name.full_repository() == repository.full_repository())
                .collect();
        }
        if names.is_empty() {
            let (image, name) = catalog.find(typed, &app.settings).map_err(|error| {
                if error.kind() == Kind::NotFound {
                    super::super::catalog::no_such_image(typed)
                } else {
                    error
                }
            })?;
            let manifest = name
                .as_ref()
                .and_then(|name| catalog.reference(name).ok().flatten());
            let manifest = manifest.map_or(image.manifest.clone(), |reference| reference.manifest);
            add(
                &mut saved,
                image,
                manifest,
                name.filter(|name| name.tag.is_some()),
            );
            continue;
        }
        for name in names {
            let Some(reference) = catalog.reference(&name)? else {
                continue;
            };
            let Some(image) = catalog.image(&reference.image)? else {
                continue;
            };
            add(&mut saved, image, reference.manifest, Some(name));
        }
    }
    Ok(saved)
}

fn add(saved: &mut Vec<Saved>, image: Image, manifest: Blob, name: Option<Name>) {
    match saved.iter_mut().find(|known| known.image.id == image.id) {
        Some(known) => known.names.extend(name),
        None => saved.push(Saved {
            image,
            manifest,
            names: name.into_iter().collect(),
        }),
    }
}

fn path_of(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm(), digest.hex())
}

/// The entries of an image in the layout's index: one a name, with what containerd and skopeo call it.
fn descriptors(saved: &Saved) -> Vec<Value> {
    let descriptor = |annotations: Option<Value>| {
        let mut descriptor = json!({
            "mediaType": saved.manifest.media_type,
            "digest": saved.manifest.digest,
            "size": saved.manifest.size_bytes,
        });
        if let (Some(annotations), Some(members)) = (annotations, descriptor.as_object_mut()) {
            members.insert("annotations".to_owned(), annotations);
        }
        descriptor
    };
    if saved.names.is_empty() {
        return vec![descriptor(None)];
    }
    let annotations = |name: &Name| {
        json!({
            "io.containerd.image.name": name.to_string(),
            "org.opencontainers.image.ref.name": name.tag.as_ref().map(ToString::to_string),
        })
    };
    saved
        .names
        .iter()
        .map(|name| descriptor(Some(annotations(name))))
        .collect()
}

fn docker_entry(app: &App, saved: &Saved) -> Value {
    let names: Vec<String> = saved
        .names
        .iter()
        .map(|name| name.familiar(&app.settings))
        .collect();
    let layers: Vec<String> = saved
        .image
        .layers
        .iter()
        .map(|layer| path_of(&layer.digest))
        .collect();
    json!({
        "Config": path_of(&saved.image.id),
        "RepoTags": if names.is_empty() { Value::Null } else { json!(names) },
        "Layers": layers,
    })
}

struct Archive<W> {
    writer: Writer<W>,
}

impl<W: Write> Archive<W> {
    fn folder(&mut self, path: &str) -> Result<()> {
        self.writer
            .append(
                &Entry::new(format!("{path}/"), EntryKind::Directory),
                std::io::empty(),
            )
            .map_err(failed)
    }

    fn file(&mut self, path: &str, size: u64, data: impl std::io::Read) -> Result<()> {
        let mut entry = Entry::new(path, EntryKind::File);
        entry.size = size;
        self.writer.append(&entry, data).map_err(failed)
    }

    fn json(&mut self, path: &str, value: &Value) -> Result<()> {
        let text = value.to_string();
        let size = u64::try_from(text.len()).unwrap_or(u64::MAX);
        self.file(path, size, text.as_bytes())
    }
}

fn failed(error: std::io::Error) -> Error {
    if error.kind() == std::io::ErrorKind::BrokenPipe {
        return Error::new(Kind::ClosedPipe, "nobody reads the archive any more");
    }
    Error::io("write the archive", error)
}
