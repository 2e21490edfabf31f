//! Removing images: names first, then the image, then what nothing uses any more.

use std::collections::HashSet;

use wharf_protocol::digest::Digest;

use super::catalog::{Catalog, Image, Reference};
use super::content::Content;
use super::name::Name;
use super::snapshot::{Snapshot, Snapshots};
use crate::app::App;
use crate::error::{Error, Kind, Result};
use crate::output::units::short_id;
use crate::store::Store;

/// One thing that was removed, in the order of removal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Removed {
    /// A name means nothing any more.
    Untagged(String),
    /// An image or a layer is gone.
    Deleted(Digest),
}

/// Removes what a user typed: a name, and the image when it was its last; or an image by its id.
/// `is_running` says whether the container of an id runs.
///
/// # Errors
/// [`Kind::NotFound`], [`Kind::Conflict`] in docker's words; nothing is removed then.
pub fn remove(
    app: &App,
    typed: &str,
    force: bool,
    is_running: &dyn Fn(&str) -> bool,
) -> Result<Vec<Removed>> {
    let store = app.store()?;
    let catalog = Catalog::of(store);
    let (image, name) = match catalog.find(typed, &app.settings) {
        Ok(found) => found,
        Err(error) => return remove_damaged(app, &catalog, typed, error),
    };
    let mut names = names_of(&catalog, &image)?;
    let users: Vec<Snapshot> = Snapshots::of(store)
        .list()?
        .into_iter()
        .filter(|user| user.image.as_ref() == Some(&image.id))
        .collect();
    let mut removed = Vec::new();
    match name {
        Some(name) => {
            if let Some(user) = users.first().filter(|_| !force && is_single(&names)) {
                return Err(Error::engine(
                    Kind::Conflict,
                    format!(
                        "conflict: unable to remove repository reference \"{typed}\" (must force) - container {} is using its referenced image {}",
                        short_id(&user.key),
                        image.id.short()
                    ),
                ));
            }
            untag_with_digests(app, &catalog, &name, &mut names, &mut removed)?;
            if !names.is_empty() {
                return Ok(removed);
            }
            // A stopped container keeps its files; its image's record may go once that was forced.
            check_users(&image, &users, is_running, true)?;
        }
        None => {
            if !force && !names.is_empty() && !is_single(&names) {
                return Err(conflict(
                    &image,
                    "must be forced",
                    "image is referenced in multiple repositories",
                ));
            }
            check_users(&image, &users, is_running, force)?;
            for name in names.clone() {
                untag(app, &catalog, &name, &mut names, &mut removed)?;
            }
        }
    }
    catalog.remove_image(&image.id)?;
    removed.push(Removed::Deleted(image.id.clone()));
    removed.extend(collect(store, Some(&image))?.into_iter().map(Removed::Deleted));
    Ok(removed)
}

/// Takes a name away, and the digests of its repository when it was the last tag there.
fn untag_with_digests(
    app: &App,
    catalog: &Catalog,
    name: &Name,
    names: &mut Vec<Name>,
    removed: &mut Vec<Removed>,
) -> Result<()> {
    untag(app, catalog, name, names, removed)?;
    let same: Vec<Name> = names
        .iter()
        .filter(|left| left.full_repository() == name.full_repository())
        .cloned()
        .collect();
    if name.digest.is_none() && same.iter().all(|left| left.digest.is_some()) {
        for name in same {
            untag(app, catalog, &name, names, removed)?;
        }
    }
    Ok(())
}

/// Removes what can be named and not be read: a name of a missing image.
fn remove_damaged(app: &App, catalog: &Catalog, typed: &str, error: Error) -> Result<Vec<Removed>> {
    let Ok(name) = Name::parse(typed, &app.settings).map(Name::or_latest) else {
        return Err(error);
    };
    let known = catalog.reference(&name);
    if matches!(known, Ok(None)) {
        return Err(error);
    }
    catalog.remove_reference(&name)?;
    if let Ok(Some(Reference { image, .. })) = known {
        catalog.remove_image(&image)?;
    }
    collect(app.store()?, None)?;
    Ok(vec![Removed::Untagged(name.familiar(&app.settings))])
}

fn names_of(catalog: &Catalog, image: &Image) -> Result<Vec<Name>> {
    Ok(catalog
        .references()?
        .iter()
        .filter(|reference| reference.image == image.id)
        .filter_map(|reference| reference.parsed().ok())
        .collect())
}

/// Whether these are one name: one, or one tag and digests of the same repository.
fn is_single(names: &[Name]) -> bool {
    let tags: Vec<&Name> = names.iter().filter(|name| name.digest.is_none()).collect();
    match tags.as_slice() {
        [] => names.len() <= 1,
        [tag] => names
            .iter()
            .all(|name| name.full_repository() == tag.full_repository()),
        _ => false,
    }
}

fn untag(
    app: &App,
    catalog: &Catalog,
    name: &Name,
    names: &mut Vec<Name>,
    removed: &mut Vec<Removed>,
) -> Result<()> {
    catalog.remove_reference(name)?;
    names.retain(|left| left != name);
    removed.push(Removed::Untagged(name.familiar(&app.settings)));
    Ok(())
}

fn check_users(
    image: &Image,
    users: &[Snapshot],
    is_running: &dyn Fn(&str) -> bool,
    force: bool,
) -> Result<()> {
    if let Some(user) = users.iter().find(|user| is_running(&user.key)) {
        let why = format!("image is being used by running container {}", short_id(&user.key));
        return Err(conflict(image, "cannot be forced", &why));
    }
    match users.first() {
        Some(user) if !force => {
            let why = format!("image is being used by stopped container {}", short_id(&user.key));
            Err(conflict(image, "must be forced", &why))
        }
        _ => Ok(()),
    }
}

fn conflict(image: &Image, way: &str, why: &str) -> Error {
    Error::engine(
        Kind::Conflict,
        format!("conflict: unable to delete {} ({way}) - {why}", image.id.short()),
    )
}

/// Removes blobs and layers that no image and no container uses; returns the layers of `image` that went,
/// the topmost first. While another wharf makes images nothing goes, and a later removal takes it.
///
/// # Errors
/// What the file system says.
pub fn collect(store: &Store, image: Option<&Image>) -> Result<Vec<Digest>> {
    let Some(_alone) = store.alone()? else {
        return Ok(Vec::new());
    };
    let (catalog, content, snapshots) = (Catalog::of(store), Content::of(store), Snapshots::of(store));
    let (mut blobs, mut layers) = (HashSet::new(), HashSet::new());
    for image in catalog.images()? {
        blobs.extend([image.id, image.manifest.digest]);
        blobs.extend(image.layers.into_iter().map(|layer| layer.digest));
        layers.extend(image.chain_ids);
    }
    for reference in catalog.references()? {
        blobs.extend([reference.manifest.digest, reference.target]);
    }
    for snapshot in snapshots.list()? {
        layers.extend(snapshot.below);
        // A container can still be inspected and committed when its image's names are gone.
        blobs.extend(snapshot.image);
    }
    let mut removed = Vec::new();
    let unused: Vec<Digest> = snapshots
        .layers()?
        .into_iter()
        .filter(|layer| !layers.contains(layer))
        .collect();
    for layer in &unused {
        snapshots.remove_layer(layer)?;
    }
    if let Some(image) = image {
        removed.extend(
            image
                .chain_ids
                .iter()
                .rev()
                .filter(|layer| unused.contains(layer))
                .cloned(),
        );
    }
    for blob in content.list()? {
        if !blobs.contains(&blob) {
            content.remove(&blob)?;
        }
    }
    snapshots.sweep()?;
    for folder in ["content/sha256", "content/sha512", "images", "references"] {
        crate::store::sweep_temporaries(&store.path(folder))?;
    }
    Ok(removed)
}
