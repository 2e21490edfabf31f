//! Unpacked layers, and what is written on top of them.
//!
//! A layer is `layers/<chain id>/` with its files in `fs/` and what is known of it in `layer.json`. A
//! snapshot is `snapshots/<key>/`: active ones (a container's files, a layer that is being unpacked) have
//! `fs/` and `work/` to be written to, views have not. An active snapshot becomes a layer by one rename,
//! after its files are durable; nothing else makes a layer, and an active snapshot is never a parent.
//! Nothing here mounts: [`Snapshots::mounts`] says what is to be mounted.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use wharf_protocol::digest::Digest;

use crate::error::{Error, Kind, Result};
use crate::store::Store;

/// The most layers that one image may have; overlayfs takes 500.
pub(crate) const MAX_LAYERS: usize = 400;

/// The layers and snapshots of a store.
#[derive(Debug, Clone)]
pub struct Snapshots {
    layers: PathBuf,
    snapshots: PathBuf,
}

/// What is known of a layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layer {
    /// The digest of it and all below it.
    pub chain_id: Digest,
    /// The digest of its uncompressed archive.
    pub diff_id: Digest,
    /// The chain id of the layer below.
    pub parent: Option<Digest>,
    /// Bytes of all its files.
    pub size_bytes: u64,
}

/// What is known of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// The name that its maker gave it: a container's id.
    pub key: String,
    /// The image that it stands on, which is then in use.
    pub image: Option<Digest>,
    /// The chain ids below it, the topmost first.
    pub below: Vec<Digest>,
    /// It can be written to.
    pub active: bool,
}

/// What to mount so that a snapshot can be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mount {
    /// An overlay.
    Overlay {
        /// The folders below, the topmost first.
        lower: Vec<PathBuf>,
        /// The folder that is written to, and the work folder that it needs; a view has none.
        upper: Option<(PathBuf, PathBuf)>,
    },
    /// A bind mount of one folder.
    Bind {
        /// The folder.
        source: PathBuf,
        /// It must not be written to.
        read_only: bool,
    },
}

impl Mount {
    /// The options of an overlay as `mount(2)` takes them; `None` for a bind mount. More than 4,095 bytes
    /// of them need `fsconfig(2)` with one `lowerdir+` a folder.
    pub fn overlay_options(&self) -> Option<String> {
        let Self::Overlay { lower, upper } = self else {
            return None;
        };
        let escape = |path: &PathBuf| {
            path.display()
                .to_string()
                .replace('\\', "\\\\")
                .replace(':', "\\:")
        };
        let mut options = format!(
            "lowerdir={}",
            lower.iter().map(escape).collect::<Vec<_>>().join(":")
        );
        if let Some((upper, work)) = upper {
            options.push_str(&format!(
                ",upperdir={},workdir={}",
                upper.display(),
                work.display()
            ));
        }
        Some(options)
    }
}

impl Snapshots {
    /// The layers and snapshots of this store.
    pub fn of(store: &Store) -> Self {
        Self {
            layers: store.path("layers"),
            snapshots: store.path("snapshots"),
        }
    }

    /// What is known of a layer, if it is here.
    ///
    /// # Errors
    /// A layer that is here and cannot be read.
    pub fn layer(&self, chain_id: &Digest) -> Result<Option<Layer>> {
        read_json(&self.layers.join(chain_id.hex()).join("layer.json"))
    }

    /// The files of a layer.
    pub fn layer_files(&self, chain_id: &Digest) -> PathBuf {
        self.layers.join(chain_id.hex()).join("fs")
    }

    /// Every layer that is here.
    ///
    /// # Errors
    /// What the file system says.
    pub fn layers(&self) -> Result<Vec<Digest>> {
        Ok(names(&self.layers)?
            .iter()
            .filter_map(|name| format!("sha256:{name}").parse().ok())
            .collect())
    }

    /// Makes an active snapshot on top of a layer (`None`: on nothing), to be written to.
    ///
    /// # Errors
    /// [`Kind::Conflict`] when the key is taken, [`Kind::Damaged`] when a layer below is absent.
    pub fn prepare(&self, key: &str, parent: Option<&Digest>, image: Option<&Digest>) -> Result<Mount> {
        self.make(key, parent, image, true)
    }

    /// Makes a snapshot that cannot be written to.
    ///
    /// # Errors
    /// As [`Snapshots::prepare`].
    pub fn view(&self, key: &str, parent: Option<&Digest>, image: Option<&Digest>) -> Result<Mount> {
        self.make(key, parent, image, false)
    }

    fn make(
        &self,
        key: &str,
        parent: Option<&Digest>,
        image: Option<&Digest>,
        active: bool,
    ) -> Result<Mount> {
        let below = self.chain(parent)?;
        let folder = self.snapshots.join(checked(key)?);
        let failed = |error: io::Error| Error::io(format!("make {}", folder.display()), error);
        match fs::DirBuilder::new().mode(0o700).create(&folder) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                return Err(Error::new(
                    Kind::Conflict,
                    format!("the snapshot {key} exists already"),
                ));
            }
            other => other.map_err(failed)?,
        }
        fs::DirBuilder::new()
            .mode(0o755)
            .create(folder.join("fs"))
            .map_err(failed)?;
        fs::DirBuilder::new()
            .mode(0o700)
            .create(folder.join("work"))
            .map_err(failed)?;
        let snapshot = Snapshot {
            key: key.to_owned(),
            image: image.cloned(),
            below,
            active,
        };
        // No fsync: a snapshot that a power cut takes is that of a container that it has ended.
        let json = serde_json::to_vec(&snapshot).map_err(|error| Error::io("describe a snapshot", error))?;
        let temporary = folder.join(".snapshot.json");
        fs::write(&temporary, json)
            .and_then(|()| fs::rename(&temporary, folder.join("snapshot.json")))
            .map_err(failed)?;
        Ok(self.mount_of(&snapshot))
    }

    /// The chain ids from this layer down, the topmost first.
    fn chain(&self, top: Option<&Digest>) -> Result<Vec<Digest>> {
        let mut chain = Vec::new();
        let mut next = top.cloned();
        while let Some(chain_id) = next {
            let layer = self.layer(&chain_id)?.ok_or_else(|| {
                Error::new(
                    Kind::Damaged,
                    format!("the layer {chain_id} is missing from the store"),
                )
                .hint("Remove the image and pull it again.")
            })?;
            if chain.len() >= MAX_LAYERS {
                return Err(Error::new(
                    Kind::Damaged,
                    format!("more than {MAX_LAYERS} layers on each other"),
                ));
            }
            chain.push(chain_id);
            next = layer.parent;
        }
        Ok(chain)
    }

    /// What is known of a snapshot, if it is here and whole.
    ///
    /// # Errors
    /// One that is here and cannot be read.
    pub fn snapshot(&self, key: &str) -> Result<Option<Snapshot>> {
        read_json(&self.snapshots.join(checked(key)?).join("snapshot.json"))
    }

    /// Every snapshot that can be read.
    ///
    /// # Errors
    /// What the file system says.
    pub fn list(&self) -> Result<Vec<Snapshot>> {
        let keys = names(&self.snapshots)?;
        // One that is half made or half removed says nothing.
        Ok(keys
            .iter()
            .filter_map(|key| self.snapshot(key).ok().flatten())
            .collect())
    }

    /// What to mount for a snapshot.
    ///
    /// # Errors
    /// [`Kind::NotFound`] when there is none of this key.
    pub fn mounts(&self, key: &str) -> Result<Mount> {
        let snapshot = self
            .snapshot(key)?
            .ok_or_else(|| Error::new(Kind::NotFound, format!("there is no snapshot {key}")))?;
        Ok(self.mount_of(&snapshot))
    }

    fn mount_of(&self, snapshot: &Snapshot) -> Mount {
        let folder = self.snapshots.join(&snapshot.key);
        let lower: Vec<PathBuf> = snapshot.below.iter().map(|id| self.layer_files(id)).collect();
        match (lower.as_slice(), snapshot.active) {
            ([], active) => Mount::Bind {
                source: folder.join("fs"),
                read_only: !active,
            },
            ([only], false) => Mount::Bind {
                source: only.clone(),
                read_only: true,
            },
            (_, true) => Mount::Overlay {
                lower,
                upper: Some((folder.join("fs"), folder.join("work"))),
            },
            (_, false) => Mount::Overlay { lower, upper: None },
        }
    }

    /// The files of an active snapshot: where a layer is unpacked into.
    pub fn files(&self, key: &str) -> PathBuf {
        self.snapshots.join(key).join("fs")
    }

    /// Makes the files of this file system durable: before the commits of layers that were unpacked.
    ///
    /// # Errors
    /// What the kernel says: an error of an earlier write, a full disk.
    pub fn sync(&self) -> Result<()> {
        let failed = |error: io::Error| Error::io(format!("sync {}", self.layers.display()), error);
        let folder = File::open(&self.layers).map_err(failed)?;
        rustix::fs::syncfs(&folder).map_err(|error| failed(error.into()))
    }

    /// Makes the folder that a layer is unpacked into. Dropped before [`Snapshots::commit_synced`] it is
    /// removed.
    ///
    /// # Errors
    /// What the file system says.
    pub fn stage(&self, chain_id: &Digest) -> Result<Staged> {
        let key = format!(
            "{UNPACKING}{}-{}",
            chain_id.short(),
            crate::app::random_hex::<8>()
        );
        self.prepare(&key, None, None)?;
        Ok(Staged {
            snapshots: self.clone(),
            key: Some(key),
        })
    }

    /// Writes down what is known of a staged layer, before the sync.
    pub(crate) fn describe(&self, staged: &Staged, layer: &Layer) -> Result<()> {
        let folder = self.snapshots.join(staged.key());
        let json = serde_json::to_vec(layer).map_err(|error| Error::io("describe a layer", error))?;
        // What it needed to be written to is no part of a layer.
        drop(fs::remove_dir_all(folder.join("work")));
        drop(fs::remove_file(folder.join("snapshot.json")));
        fs::write(folder.join("layer.json"), json)
            .map_err(|error| Error::io(format!("write in {}", folder.display()), error))
    }

    /// Turns a staged layer, described and synced, into one that exists. One that exists already, made by
    /// somebody else meanwhile, is kept instead.
    pub(crate) fn commit_synced(&self, mut staged: Staged, layer: &Layer) -> Result<()> {
        let from = self.snapshots.join(staged.key());
        let to = self.layers.join(layer.chain_id.hex());
        let taken = |error: &io::Error| {
            matches!(
                error.kind(),
                io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists
            )
        };
        let mut renamed = fs::rename(&from, &to);
        if renamed.as_ref().is_err_and(taken) {
            if matches!(self.layer(&layer.chain_id), Ok(Some(_))) {
                return Ok(());
            }
            // What is there is damaged: nothing can stand on it that works.
            self.remove_layer(&layer.chain_id)?;
            renamed = fs::rename(&from, &to);
        }
        renamed.map_err(|error| Error::io(format!("make the layer {}", to.display()), error))?;
        staged.key = None;
        Ok(())
    }

    /// Makes the names of layers durable.
    pub(crate) fn sync_folder(&self) -> Result<()> {
        File::open(&self.layers)
            .and_then(|folder| folder.sync_all())
            .map_err(|error| Error::io(format!("sync {}", self.layers.display()), error))
    }

    /// Turns an active snapshot into a layer: makes its files durable, then lets it exist by one rename.
    /// One that exists already, made by somebody else meanwhile, is kept instead. A crash leaves either
    /// the snapshot or the layer.
    ///
    /// # Errors
    /// What the file system says.
    pub fn commit(&self, key: &str, layer: &Layer) -> Result<()> {
        let key = Some(checked(key)?.to_owned());
        self.commit_staged(
            Staged {
                snapshots: self.clone(),
                key,
            },
            layer,
        )
    }

    /// The same for a layer that was staged.
    pub(crate) fn commit_staged(&self, staged: Staged, layer: &Layer) -> Result<()> {
        self.describe(&staged, layer)?;
        self.sync()?;
        self.commit_synced(staged, layer)?;
        self.sync_folder()
    }

    /// Removes a snapshot; what is absent is removed already.
    ///
    /// # Errors
    /// What the file system says; what could be removed is.
    pub fn remove(&self, key: &str) -> Result<()> {
        self.remove_folder(self.snapshots.join(checked(key)?))
    }

    /// Removes a layer; what is absent is removed already. A crash leaves it whole or gone, or waste that
    /// [`Snapshots::sweep`] takes.
    ///
    /// # Errors
    /// What the file system says.
    pub fn remove_layer(&self, chain_id: &Digest) -> Result<()> {
        self.remove_folder(self.layers.join(chain_id.hex()))
    }

    fn remove_folder(&self, folder: PathBuf) -> Result<()> {
        let failed = |error: io::Error| Error::io(format!("remove {}", folder.display()), error);
        let waste = self
            .layers
            .join(format!(".waste-{}", crate::app::random_hex::<8>()));
        match fs::rename(&folder, &waste) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other.map_err(failed)?,
        }
        fs::remove_dir_all(&waste).map_err(failed)
    }

    /// Removes what crashes left: waste, and layers that were being unpacked. Only for a caller that
    /// holds the store's exclusive lock.
    ///
    /// # Errors
    /// What the file system says.
    pub fn sweep(&self) -> Result<()> {
        for name in names(&self.layers)?
            .iter()
            .filter(|name| name.starts_with(".waste-"))
        {
            let waste = self.layers.join(name);
            fs::remove_dir_all(&waste)
                .map_err(|error| Error::io(format!("remove {}", waste.display()), error))?;
        }
        for key in names(&self.snapshots)?
            .iter()
            .filter(|key| key.starts_with(UNPACKING))
        {
            self.remove(key)?;
        }
        Ok(())
    }
}

/// The folder of a layer that is being unpacked.
#[derive(Debug)]
pub struct Staged {
    snapshots: Snapshots,
    key: Option<String>,
}

impl Staged {
    fn key(&self) -> &str {
        self.key.as_deref().unwrap_or_default()
    }

    /// Opens the folder that its files go to.
    ///
    /// # Errors
    /// What the file system says.
    pub fn open_files(&self) -> Result<File> {
        let path = self.snapshots.files(self.key());
        File::open(&path).map_err(|error| Error::io(format!("open {}", path.display()), error))
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if let Some(key) = self.key.take() {
            // What cannot be removed now is swept when nobody else is at work.
            drop(self.snapshots.remove(&key));
        }
    }
}

/// What the keys of snapshots that become layers begin with.
pub(crate) const UNPACKING: &str = "layer-";

/// A key is one name of a folder.
fn checked(key: &str) -> Result<&str> {
    let good = !key.is_empty()
        && !key.starts_with('.')
        && key
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    if good {
        Ok(key)
    } else {
        Err(Error::new(
            Kind::BadArguments,
            format!("{key:?} is not a snapshot's key"),
        ))
    }
}

fn names(folder: &PathBuf) -> Result<Vec<String>> {
    let failed = |error: io::Error| Error::io(format!("list {}", folder.display()), error);
    Ok(fs::read_dir(folder)
        .map_err(failed)?
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect())
}

fn read_json<T: serde::de::DeserializeOwned>(path: &PathBuf) -> Result<Option<T>> {
    match fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|cause| {
            Error::new(Kind::Damaged, format!("{} is damaged", path.display())).because(cause)
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io(format!("read {}", path.display()), error)),
    }
}

#[cfg(test)]
mod tests;
