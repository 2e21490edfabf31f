//! Where things are: `WHARF_ROOT` (images, containers) and `WHARF_RUN` (what a reboot may take).
//!
//! ```text
//! WHARF_ROOT/                 0700
//!   store-version             the layout's number, written once
//!   lock                      flock: shared while images are made, exclusive while unused content goes
//!   content/<algorithm>/<hex> blobs as they came from a registry, by digest
//!   ingest/                   blobs that are still arriving; a pull goes on from them
//!   layers/<chain id>/        unpacked layers (see `image::snapshot`)
//!   images/ references/       what is known of an image, and which name means which image
//!   snapshots/<key>/          what containers write
//!   containers/<id>/          one folder a container
//! WHARF_RUN/                  0700
//! ```

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::error::{Error, Kind, Result};

/// The layout that this program reads and writes.
const VERSION: u32 = 1;

/// The folders of the store, made and checked.
#[derive(Debug, Clone)]
pub struct Store {
    root: PathBuf,
    run: PathBuf,
}

/// A lock on the store; the kernel drops it with its holder.
#[derive(Debug)]
pub struct Lock {
    _file: fs::File,
}

impl Store {
    /// Opens the store that the environment names, making its folders (0700) the first time.
    ///
    /// # Errors
    /// A folder that cannot be made, that others may enter and that is not ours, or a layout newer than
    /// this program.
    pub fn open() -> Result<Self> {
        let (root, run) = folders(|name| std::env::var_os(name).map(PathBuf::from), is_root());
        Self::open_at(root, run)
    }

    /// Opens the store at these two folders.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open_at(root: PathBuf, run: PathBuf) -> Result<Self> {
        private_folder(&root)?;
        private_folder(&run)?;
        let store = Self { root, run };
        store.check_version()?;
        for folder in [
            "content",
            "ingest",
            "layers",
            "images",
            "references",
            "snapshots",
            "containers",
        ] {
            private_folder(&store.root.join(folder))?;
        }
        Ok(store)
    }

    /// The folder that lasts.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The folder that a reboot may empty.
    pub fn run(&self) -> &Path {
        &self.run
    }

    /// One folder a container, named by its id.
    pub fn containers(&self) -> PathBuf {
        self.root.join("containers")
    }

    /// Holds the store against the removal of unused content while images or containers are made.
    /// Blocks while somebody removes.
    ///
    /// # Errors
    /// What the file system says.
    pub fn hold(&self) -> Result<Lock> {
        self.lock(rustix::fs::FlockOperation::LockShared)
    }

    /// Takes the store alone, to remove what nothing uses; `None` while others hold it.
    ///
    /// # Errors
    /// What the file system says.
    pub fn alone(&self) -> Result<Option<Lock>> {
        match self.lock(rustix::fs::FlockOperation::NonBlockingLockExclusive) {
            Err(error) if error.kind() == Kind::Conflict => Ok(None),
            other => other.map(Some),
        }
    }

    fn lock(&self, operation: rustix::fs::FlockOperation) -> Result<Lock> {
        let path = self.root.join("lock");
        let failed = |error: io::Error| Error::io(format!("lock {}", path.display()), error);
        let file = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(failed)?;
        match rustix::fs::flock(&file, operation) {
            Ok(()) => Ok(Lock { _file: file }),
            Err(rustix::io::Errno::WOULDBLOCK) => {
                Err(Error::new(Kind::Conflict, "another wharf is using the store"))
            }
            Err(error) => Err(failed(error.into())),
        }
    }

    /// A path below the root.
    pub fn path(&self, below: &str) -> PathBuf {
        self.root.join(below)
    }

    fn check_version(&self) -> Result<()> {
        let path = self.root.join("store-version");
        match fs::read_to_string(&path) {
            Ok(text) => match text.trim().parse::<u32>() {
                Ok(VERSION) => Ok(()),
                Ok(other) => Err(Error::new(
                    Kind::Unsupported,
                    format!(
                        "the store at {} has layout {other}; this wharf knows {VERSION}",
                        self.root.display()
                    ),
                )
                .hint("Use the wharf that wrote it, or another WHARF_ROOT.")),
                Err(cause) => {
                    Err(Error::new(Kind::Damaged, format!("{} is damaged", path.display())).because(cause))
                }
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                write_durably(&path, format!("{VERSION}\n").as_bytes())
            }
            Err(error) => Err(Error::io(format!("read {}", path.display()), error)),
        }
    }
}

/// Removes the temporary files that crashes left in a folder of records or blobs. Only for a caller that
/// holds the store's exclusive lock.
pub(crate) fn sweep_temporaries(folder: &Path) -> Result<()> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(Error::io(format!("list {}", folder.display()), error)),
    };
    for entry in entries.flatten() {
        if entry.file_name().as_encoded_bytes().starts_with(b".") && entry.path().is_file() {
            fs::remove_file(entry.path())
                .map_err(|error| Error::io(format!("remove {}", entry.path().display()), error))?;
        }
    }
    Ok(())
}

/// Where the two folders are, from the environment and from who we are.
fn folders(variable: impl Fn(&str) -> Option<PathBuf>, root: bool) -> (PathBuf, PathBuf) {
    let home = || variable("HOME").unwrap_or_else(|| PathBuf::from("/"));
    let data = variable("WHARF_ROOT").unwrap_or_else(|| {
        if root {
            PathBuf::from("/var/lib/wharf")
        } else {
            variable("XDG_DATA_HOME")
                .unwrap_or_else(|| home().join(".local/share"))
                .join("wharf")
        }
    });
    let run = variable("WHARF_RUN").unwrap_or_else(|| {
        if root {
            PathBuf::from("/run/wharf")
        } else {
            variable("XDG_RUNTIME_DIR").map_or_else(|| data.join("run"), |runtime| runtime.join("wharf"))
        }
    });
    (data, run)
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Makes a folder that only its owner may enter, or takes the right to enter from others if it is ours.
fn private_folder(path: &Path) -> Result<()> {
    let failed = |cause: io::Error| {
        Error::io(format!("use the folder {}", path.display()), cause)
            .hint("Set WHARF_ROOT and WHARF_RUN to folders that you may write.")
    };
    match fs::DirBuilder::new().recursive(false).mode(0o700).create(path) {
        Ok(()) => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(path)
                .map_err(failed)?;
        }
        Err(error) => return Err(failed(error)),
    }
    let metadata = fs::metadata(path).map_err(failed)?;
    if metadata.mode() & 0o077 != 0 {
        fs::set_permissions(path, fs::Permissions::from_mode(0o700)).map_err(failed)?;
    }
    Ok(())
}

/// Writes a file so that a crash leaves either the old one or the new one, whole: a temporary name in
/// the same folder, fsync, rename, fsync of the folder.
///
/// # Errors
/// Whatever the file system says; the temporary file is removed.
pub(crate) fn write_durably(path: &Path, bytes: &[u8]) -> Result<()> {
    let failed = |cause: io::Error| Error::io(format!("write {}", path.display()), cause);
    let folder = path.parent().unwrap_or(Path::new("/"));
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temporary = folder.join(format!(".{name}.{}", crate::app::random_hex::<8>()));
    let written = (|| {
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        fs::File::open(folder)?.sync_all()
    })();
    written.map_err(|error| {
        // What cannot be removed either is swept with the folder's other temporary files.
        drop(fs::remove_file(&temporary));
        failed(error)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_follow_the_environment_and_the_user() {
        let none = |_: &str| None;
        assert_eq!(folders(none, true).0, Path::new("/var/lib/wharf"));
        let home = |name: &str| (name == "HOME").then(|| PathBuf::from("/home/u"));
        assert_eq!(folders(home, false).0, Path::new("/home/u/.local/share/wharf"));
        let set = |name: &str| (name == "WHARF_ROOT").then(|| PathBuf::from("/data"));
        assert_eq!(folders(set, true).0, Path::new("/data"));
    }

    #[test]
    fn a_new_store_is_private_and_a_newer_layout_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let (root, run) = (folder.path().join("root"), folder.path().join("run"));
        Store::open_at(root.clone(), run.clone()).unwrap();
        assert_eq!(fs::metadata(&root).unwrap().mode() & 0o777, 0o700);
        fs::write(root.join("store-version"), "99\n").unwrap();
        let error = Store::open_at(root, run).unwrap_err();
        assert_eq!(error.kind(), Kind::Unsupported);
    }
}
