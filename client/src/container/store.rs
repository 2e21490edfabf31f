//! Containers on disk: one folder each, one file of state in it, a link that claims the name.
//!
//! ```text
//! WHARF_ROOT/containers/ID/state.json   replaced whole, never changed
//! WHARF_ROOT/containers/ID/             flock: held by the shim for as long as it looks after the container,
//!                                       else by the command that changes it
//! WHARF_ROOT/containers/.new-ID         on its way in: its name may be claimed already
//! WHARF_ROOT/containers/.old-ID         on its way out
//! WHARF_ROOT/names/NAME -> ID           made exclusively
//! WHARF_RUN/containers/ID/              the bundle and the shim's socket
//! ```
//!
//! Readers take no lock. A kill at any point leaves a folder in one of these forms; [`Containers::sweep`]
//! finishes what was begun.

use std::{
    fs, io,
    os::fd::OwnedFd,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    str::FromStr,
};

use rustix::fs::{FlockOperation, Mode, OFlags, flock};
use rustix::io::Errno;
use wharf_protocol::digest::Digest;

use super::{Id, State, state::VERSION};
use crate::{
    error::{Error, Kind, Result},
    image::snapshot::Snapshots,
    store::Store,
};

const STATE: &str = "state.json";

/// Whether a change must outlive a power cut. Every change outlives the death of its writer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// It is synced.
    Synced,
    /// It concerns this boot, or a container that does not outlive it.
    ThisBoot,
}

/// One folder of the store.
#[derive(Debug, Clone)]
pub enum Entry {
    /// A container.
    Whole(Box<State>),
    /// A folder whose state cannot be read.
    Damaged {
        /// The container.
        id: Id,
        /// The name that leads to it, if one does.
        name: Option<String>,
        /// Why it cannot be read.
        cause: String,
    },
}

impl Entry {
    /// The container's id.
    pub fn id(&self) -> &Id {
        match self {
            Self::Whole(state) => &state.id,
            Self::Damaged { id, .. } => id,
        }
    }

    /// The state, or an error that says how to go on.
    ///
    /// # Errors
    /// [`Kind::Damaged`].
    pub fn into_state(self) -> Result<State> {
        match self {
            Self::Whole(state) => Ok(*state),
            Self::Damaged { id, cause, .. } => Err(Error::engine(
                Kind::Damaged,
                format!("container {} is damaged: {cause}", id.short()),
            )
            .hint(format!("It can only be removed: wharf rm -f {}", id.short()))),
        }
    }
}

/// The right to change one container; given back when it is dropped.
#[derive(Debug)]
pub struct Lock {
    folder: OwnedFd,
}

impl Lock {
    /// The locked folder: whoever holds it, holds the lock.
    pub fn into_fd(self) -> OwnedFd {
        self.folder
    }

    /// Takes over the lock that another process took and handed on.
    pub fn from_fd(folder: OwnedFd) -> Self {
        Self { folder }
    }
}

/// The containers of one store.
#[derive(Debug, Clone)]
pub struct Containers<'a> {
    store: &'a Store,
}

impl<'a> Containers<'a> {
    /// The containers of this store.
    pub fn new(store: &'a Store) -> Self {
        Self { store }
    }

    /// The store.
    pub fn store(&self) -> &'a Store {
        self.store
    }

    /// The folder of a container.
    pub fn folder(&self, id: &Id) -> PathBuf {
        self.store.containers().join(id.as_str())
    }

    /// The folder of a running container's bundle and socket.
    pub fn run_folder(&self, id: &Id) -> PathBuf {
        self.store.run().join("containers").join(id.as_str())
    }

    /// The file that a container's output is kept in.
    pub fn log_file(&self, id: &Id) -> PathBuf {
        self.folder(id).join(format!("{id}-json.log"))
    }

    fn name_link(&self, name: &str) -> PathBuf {
        self.store.root().join("names").join(name)
    }

    fn beside(&self, prefix: &str, id: &Id) -> PathBuf {
        self.store.containers().join(format!("{prefix}{id}"))
    }

    /// Makes a container on top of an image's topmost layer, whole and locked, or nothing: its name is
    /// claimed, then its folder appears.
    ///
    /// # Errors
    /// [`Kind::Conflict`] for a name that another container has.
    pub fn create(
        &self,
        state: &State,
        top: Option<&Digest>,
        image: &Digest,
        durability: Durability,
    ) -> Result<Lock> {
        let new = self.beside(".new-", &state.id);
        make_folder(&new)?;
        let lock = lock_folder(&new, FlockOperation::LockExclusive)?.ok_or_else(|| busy(&state.id))?;
        let published = (|| {
            write_state(&new, state, durability)?;
            self.claim_name(&state.name, &state.id)?;
            Snapshots::of(self.store).prepare(state.id.as_str(), top, Some(image))?;
            rename(&new, &self.folder(&state.id))?;
            sync_folder(&self.store.containers(), durability)
        })();
        if let Err(error) = published {
            // The error says what failed; the next command sweeps what could not be removed.
            drop(self.free_name(&state.name, &state.id));
            drop(self.finish_removal(&state.id, &new));
            return Err(error);
        }
        Ok(lock)
    }

    fn claim_name(&self, name: &str, id: &Id) -> Result<()> {
        let link = self.name_link(name);
        loop {
            match std::os::unix::fs::symlink(id.as_str(), &link) {
                Ok(()) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    make_folder(&self.store.root().join("names"))?;
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    if let Some(holder) = self.holder_or_free(name)? {
                        return Err(Error::engine(
                            Kind::Conflict,
                            format!(
                                "Conflict. The container name \"/{name}\" is already in use by container \
                                 \"{holder}\". You have to remove (or rename) that container to be able to reuse \
                                 that name."
                            ),
                        ));
                    }
                }
                Err(error) => return Err(Error::io(format!("claim the name {}", link.display()), error)),
            }
        }
    }

    /// Who has the name; frees it when nobody does any more.
    fn holder_or_free(&self, name: &str) -> Result<Option<Id>> {
        // Only under this lock is a name taken away from a holder, so that it is not taken from the next one.
        let names = self.store.root().join("names");
        let _lock = lock_folder(&names, FlockOperation::LockExclusive)?;
        match self.named(name) {
            Some(id) if self.is_held(&id) => Ok(Some(id)),
            _ => remove_file(&self.name_link(name)).map(|()| None),
        }
    }

    /// Whether the container exists, or somebody is about to make it. The order matters: it moves from the first to the second.
    fn is_held(&self, id: &Id) -> bool {
        is_locked(&self.beside(".new-", id)) || self.folder(id).exists()
    }

    fn named(&self, name: &str) -> Option<Id> {
        let target = fs::read_link(self.name_link(name)).ok()?;
        Id::from_str(target.to_str()?).ok()
    }

    fn free_name(&self, name: &str, id: &Id) -> Result<()> {
        if self.named(name).as_ref() == Some(id) {
            remove_file(&self.name_link(name))
        } else {
            Ok(())
        }
    }

    /// Every container, in no order.
    ///
    /// # Errors
    /// A folder of containers that cannot be read; one that is damaged is an entry.
    pub fn all(&self) -> Result<Vec<Entry>> {
        let folder = self.store.containers();
        let unreadable = |error| Error::io(format!("read {}", folder.display()), error);
        let mut entries = Vec::new();
        for entry in fs::read_dir(&folder).map_err(unreadable)? {
            let name = entry.map_err(unreadable)?.file_name();
            if let Some(id) = name.to_str().and_then(|name| name.parse().ok()) {
                entries.extend(self.read(&id));
            }
        }
        Ok(entries)
    }

    /// Reads one container; none if it is gone.
    pub fn read(&self, id: &Id) -> Option<Entry> {
        match read_state(&self.folder(id)) {
            Ok(state) if state.id == *id => Some(Entry::Whole(Box::new(state))),
            Ok(_) => Some(self.damaged(id, "its state is another container's".to_owned())),
            Err(_) if !self.folder(id).exists() => None,
            Err(cause) => Some(self.damaged(id, cause)),
        }
    }

    fn damaged(&self, id: &Id, cause: String) -> Entry {
        let names = fs::read_dir(self.store.root().join("names"));
        let mut names = names
            .into_iter()
            .flatten()
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let name = names.find(|name| self.named(name).as_ref() == Some(id));
        Entry::Damaged {
            id: id.clone(),
            name,
            cause,
        }
    }

    /// Finds a container by its id, its name, or the beginning of an id that no other has.
    ///
    /// # Errors
    /// [`Kind::NotFound`], in docker's words.
    pub fn find(&self, word: &str) -> Result<Entry> {
        let name = word.strip_prefix('/').unwrap_or(word);
        let by_id = word.parse::<Id>().ok();
        let by_name = if super::id::is_valid_name(name) {
            self.named(name)
        } else {
            None
        };
        if let Some(entry) = by_id.or(by_name).and_then(|id| self.read(&id)) {
            return Ok(entry);
        }
        let mut found = Vec::new();
        if !word.is_empty() {
            found = self.all()?;
            found.retain(|entry| entry.id().as_str().starts_with(word));
        }
        match (found.pop(), found.is_empty()) {
            (Some(entry), true) => Ok(entry),
            (Some(_), false) => Err(Error::engine(
                Kind::BadArguments,
                format!("multiple IDs found with provided prefix: {word}"),
            )),
            (None, _) => Err(Error::engine(
                Kind::NotFound,
                format!("No such container: {word}"),
            )),
        }
    }

    /// Whether a shim, or a command, has the container in its hands.
    pub fn is_locked(&self, id: &Id) -> bool {
        is_locked(&self.folder(id))
    }

    /// Takes the container into this process's hands; none while another has it, or when it is gone.
    ///
    /// # Errors
    /// A folder that cannot be opened or locked.
    pub fn try_lock(&self, id: &Id) -> Result<Option<Lock>> {
        lock_folder(&self.folder(id), FlockOperation::NonBlockingLockExclusive)
    }

    /// Replaces the state of a container that this process has locked.
    ///
    /// # Errors
    /// Whatever the file system says; the old state stands then.
    pub fn save(&self, state: &State, durability: Durability) -> Result<()> {
        write_state(&self.folder(&state.id), state, durability)
    }

    /// Removes a container with all that it has; what is missing is already removed.
    ///
    /// # Errors
    /// What could not be removed; [`sweep`](Self::sweep) tries again.
    pub fn remove(&self, id: &Id, name: Option<&str>, _lock: Lock) -> Result<()> {
        let old = self.beside(".old-", id);
        match fs::rename(self.folder(id), &old) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(Error::io(format!("remove {}", self.folder(id).display()), error));
            }
            _ => {}
        }
        if let Some(name) = name {
            self.free_name(name, id)?;
        }
        self.finish_removal(id, &old)
    }

    fn finish_removal(&self, id: &Id, folder: &Path) -> Result<()> {
        Snapshots::of(self.store).remove(id.as_str())?;
        remove_tree(&self.run_folder(id))?;
        remove_tree(folder)
    }

    /// Finishes what killed commands began: folders on their way in or out, snapshots without a container.
    /// Goes on past errors: what cannot be swept now is in nobody's way.
    pub fn sweep(&self) {
        let entries = fs::read_dir(self.store.containers());
        for entry in entries.into_iter().flatten().flatten() {
            let name = entry.file_name();
            let name = name.to_str().unwrap_or_default();
            let id = name.strip_prefix(".new-").or_else(|| name.strip_prefix(".old-"));
            if let Some(id) = id.and_then(|id| Id::from_str(id).ok()) {
                self.sweep_one(&entry.path(), &id);
            }
        }
    }

    fn sweep_one(&self, folder: &Path, id: &Id) {
        let lock = lock_folder(folder, FlockOperation::NonBlockingLockExclusive);
        if let Ok(Some(_lock)) = lock {
            if let Ok(state) = read_state(folder) {
                drop(self.free_name(&state.name, id));
            }
            drop(self.finish_removal(id, folder));
        }
    }
}

fn busy(id: &Id) -> Error {
    Error::engine(
        Kind::Conflict,
        format!("container {id} is in use by another command"),
    )
}

fn make_folder(path: &Path) -> Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|error| Error::io(format!("make the folder {}", path.display()), error))
}

fn rename(from: &Path, to: &Path) -> Result<()> {
    fs::rename(from, to).map_err(|error| Error::io(format!("make {}", to.display()), error))
}

fn remove_file(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Error::io(format!("remove {}", path.display()), error))
        }
        _ => Ok(()),
    }
}

fn remove_tree(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Error::io(format!("remove {}", path.display()), error))
        }
        _ => Ok(()),
    }
}

fn sync_folder(path: &Path, durability: Durability) -> Result<()> {
    if durability == Durability::ThisBoot {
        return Ok(());
    }
    fs::File::open(path)
        .and_then(|folder| folder.sync_all())
        .map_err(|error| Error::io(format!("sync {}", path.display()), error))
}

fn write_state(folder: &Path, state: &State, durability: Durability) -> Result<()> {
    let path = folder.join(STATE);
    let failed = |error: io::Error| Error::io(format!("write {}", path.display()), error);
    let temporary = folder.join(".state.json");
    let bytes = serde_json::to_vec(state).map_err(|error| failed(error.into()))?;
    fs::write(&temporary, bytes).map_err(failed)?;
    if durability == Durability::Synced {
        fs::File::open(&temporary)
            .and_then(|file| file.sync_all())
            .map_err(failed)?;
    }
    fs::rename(&temporary, &path).map_err(failed)?;
    sync_folder(folder, durability)
}

fn read_state(folder: &Path) -> Result<State, String> {
    let path = folder.join(STATE);
    let bytes = fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let state: State =
        serde_json::from_slice(&bytes).map_err(|error| format!("{}: {error}", path.display()))?;
    if state.version > VERSION {
        return Err(format!("{} was written by a newer wharf", path.display()));
    }
    Ok(state)
}

/// Locks a folder; none when it is missing, or locked and not to be waited for.
fn lock_folder(path: &Path, operation: FlockOperation) -> Result<Option<Lock>> {
    let failed = |error: Errno| Error::io(format!("lock {}", path.display()), io::Error::from(error));
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let folder = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(folder) => folder,
        Err(Errno::NOENT) => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    match flock(&folder, operation) {
        Ok(()) => Ok(Some(Lock { folder })),
        Err(Errno::WOULDBLOCK) => Ok(None),
        Err(error) => Err(failed(error)),
    }
}

fn is_locked(path: &Path) -> bool {
    let lock = lock_folder(path, FlockOperation::NonBlockingLockShared);
    path.exists() && matches!(lock, Ok(None))
}
