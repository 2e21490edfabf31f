//! A layer's tar stream becomes a folder that overlayfs can stack.
//!
//! Everything below the folder is reached through descriptors: a parent is opened with `openat2`, beneath the
//! folder and through no symbolic link, and the entry is made in it by its last name. So nothing that a layer
//! says can touch a file outside, whatever links it makes first (CVE-2018-15664, CVE-2019-10152,
//! CVE-2022-23648). A layer that tries is refused; what it had unpacked until then lies in the folder, which
//! the caller throws away.
//!
//! Whiteouts (image-spec, "Layers", "Whiteouts") become what overlayfs takes for them: a character device 0:0
//! for a removed name, the attribute `opaque` on a folder whose lower content is hidden.

mod metadata;
mod place;

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::tar::{self, Entry, Kind, Reader};
use place::{Place, Places};

/// How user and group ids of a layer are stored.
pub trait IdMap {
    /// The owner to store for a uid of the layer; `None` when the map has no place for it.
    fn uid(&self, uid: u32) -> Option<u32>;
    /// The group to store for a gid of the layer; `None` when the map has no place for it.
    fn gid(&self, gid: u32) -> Option<u32>;
}

/// Ids are stored as the layer has them.
#[derive(Debug, Clone, Copy, Default)]
pub struct Identity;

impl IdMap for Identity {
    fn uid(&self, uid: u32) -> Option<u32> {
        Some(uid)
    }

    fn gid(&self, gid: u32) -> Option<u32> {
        Some(gid)
    }
}

/// Which attributes tell overlayfs what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OverlayAttributes {
    /// `trusted.overlay.*`, for root.
    Trusted,
    /// `user.overlay.*`, for a mount with `userxattr`.
    User,
}

impl OverlayAttributes {
    fn opaque(self) -> &'static str {
        match self {
            OverlayAttributes::Trusted => "trusted.overlay.opaque",
            OverlayAttributes::User => "user.overlay.opaque",
        }
    }
}

/// How a layer is unpacked, and what it may not exceed.
pub struct Options<'a> {
    /// How ids are stored.
    pub ids: &'a dyn IdMap,
    /// How an opaque folder is marked.
    pub overlay: OverlayAttributes,
    /// The most entries.
    pub max_entries: u64,
    /// The most bytes of all files together, holes not counted.
    pub max_bytes: u64,
    /// Devices are left out where the kernel lets us make none (in a user namespace).
    pub skip_devices: bool,
}

impl Default for Options<'_> {
    fn default() -> Self {
        Options {
            ids: &Identity,
            overlay: OverlayAttributes::Trusted,
            max_entries: 4_000_000,
            max_bytes: 1 << 40,
            skip_devices: false,
        }
    }
}

/// What a layer held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Summary {
    /// Entries of the stream.
    pub entries: u64,
    /// Bytes of its files' data.
    pub bytes: u64,
}

/// Why a layer is refused or could not be written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The stream is no tar stream that is taken.
    #[error(transparent)]
    Tar(#[from] tar::Error),
    /// A name or a link's target points outside, or its parent is a symbolic link.
    #[error("layer entry {path:?} leaves the layer: {problem}")]
    Escape {
        /// The entry's name.
        path: String,
        /// How it tries.
        problem: &'static str,
    },
    /// An owner that the id map has no place for.
    #[error("layer entry {path:?} belongs to {id}, which is not in this user's range of ids")]
    UnmappedId {
        /// The entry's name.
        path: String,
        /// The uid or gid.
        id: u32,
    },
    /// A limit of [`Options`].
    #[error("layer has more than {limit} {what}")]
    Limit {
        /// What there is too much of.
        what: &'static str,
        /// The limit.
        limit: u64,
    },
    /// The file system refused.
    #[error("{doing} {path:?}: {source}")]
    Io {
        /// What was tried.
        doing: &'static str,
        /// The entry's name.
        path: String,
        /// The system's error.
        source: io::Error,
    },
}

impl Error {
    fn io(doing: &'static str, path: &[u8]) -> impl FnOnce(Errno) -> Error {
        let path = shown(path);
        move |errno| Error::Io {
            doing,
            path,
            source: errno.into(),
        }
    }
}

/// A path as people are shown it.
fn shown(path: &[u8]) -> String {
    String::from_utf8_lossy(path).into_owned()
}

/// Unpacks `stream` into the empty folder `into` and reads the stream to its end.
///
/// Nothing is synced: the caller syncs the file system before it makes the layer visible.
///
/// # Errors
/// See [`Error`]; the folder then holds a part of the layer, to be removed.
pub fn unpack(stream: impl Read, into: BorrowedFd<'_>, options: &Options<'_>) -> Result<Summary, Error> {
    let mut unpacker = Unpacker {
        reader: Reader::new(stream),
        places: Places::new(into),
        options,
        summary: Summary::default(),
        folder_times: BTreeMap::new(),
        buffer: vec![0; 256 << 10],
    };
    while let Some(entry) = unpacker.reader.next()? {
        unpacker.summary.entries += 1;
        if unpacker.summary.entries > options.max_entries {
            return Err(Error::Limit {
                what: "entries",
                limit: options.max_entries,
            });
        }
        unpacker.entry(&entry)?;
    }
    unpacker.finish()
}

struct Unpacker<'a, R> {
    reader: Reader<R>,
    places: Places<'a>,
    options: &'a Options<'a>,
    summary: Summary,
    /// Folders get their times last, since making something in one changes them.
    folder_times: BTreeMap<Vec<u8>, (i64, u32)>,
    buffer: Vec<u8>,
}

impl<R: Read> Unpacker<'_, R> {
    fn entry(&mut self, entry: &Entry) -> Result<(), Error> {
        let Some(place) = self.places.find(&entry.path)? else {
            return self.root(entry);
        };
        if let Some(hidden) = place.name.strip_prefix(b".wh.") {
            let hidden = hidden.to_vec();
            return self.whiteout(entry, &place, &hidden);
        }
        let opaque = self.make_way(entry, &place)?;
        match entry.kind {
            Kind::Directory => self.folder(entry, &place, opaque),
            Kind::File => self.file(entry, &place),
            Kind::HardLink => self.hard_link(entry, &place),
            Kind::Symlink => self.symlink(entry, &place),
            Kind::Fifo | Kind::CharDevice | Kind::BlockDevice => self.device(entry, &place),
        }
    }

    /// The entry `./`: the folder's own owner, mode and times.
    fn root(&mut self, entry: &Entry) -> Result<(), Error> {
        if entry.kind != Kind::Directory {
            return Err(Error::Escape {
                path: shown(&entry.path),
                problem: "it replaces the root",
            });
        }
        let root = self.places.root();
        metadata::apply(root, entry, self.options)?;
        self.folder_times.insert(Vec::new(), entry.mtime);
        Ok(())
    }

    /// Removes what stands at `place` unless both it and the entry are folders. Says whether a whiteout stood
    /// there, behind which a new folder must not show what lies below it.
    fn make_way(&mut self, entry: &Entry, place: &Place) -> Result<bool, Error> {
        let stat = match rustix::fs::statat(&place.parent, &*place.name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => return Ok(false),
            Err(errno) => return Err(Error::io("look at", &entry.path)(errno)),
        };
        let there = FileType::from_raw_mode(stat.st_mode);
        if there == FileType::Directory {
            if entry.kind == Kind::Directory {
                return Ok(false);
            }
            self.places.forget();
            place::remove_tree(&place.parent, &place.name).map_err(Error::io("replace", &entry.path))?;
            self.folder_times.retain(|path, _| !path.starts_with(&place.path));
        } else {
            rustix::fs::unlinkat(&place.parent, &*place.name, AtFlags::empty())
                .map_err(Error::io("replace", &entry.path))?;
        }
        Ok(there == FileType::CharacterDevice && stat.st_rdev == 0)
    }

    fn folder(&mut self, entry: &Entry, place: &Place, opaque: bool) -> Result<(), Error> {
        match rustix::fs::mkdirat(&place.parent, &*place.name, Mode::from_raw_mode(0o700)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(Error::io("make folder", &entry.path)(errno)),
        }
        let folder = place::open_folder(place.parent.as_fd(), &place.name)
            .map_err(Error::io("open folder", &entry.path))?;
        if opaque {
            self.mark_opaque(folder.as_fd(), entry)?;
        }
        metadata::apply(folder.as_fd(), entry, self.options)?;
        self.folder_times.insert(place.path.clone(), entry.mtime);
        Ok(())
    }

    fn file(&mut self, entry: &Entry, place: &Place) -> Result<(), Error> {
        self.summary.bytes = self.summary.bytes.saturating_add(entry.stored_bytes());
        if self.summary.bytes > self.options.max_bytes {
            return Err(Error::Limit {
                what: "bytes",
                limit: self.options.max_bytes,
            });
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&place.parent, &*place.name, flags, Mode::from_raw_mode(0o600))
            .map_err(Error::io("create", &entry.path))?;
        match &entry.sparse {
            None => self.copy(&file, entry, 0, entry.size)?,
            Some(parts) => {
                rustix::fs::ftruncate(&file, entry.size).map_err(Error::io("extend", &entry.path))?;
                for (offset, length) in parts {
                    self.copy(&file, entry, *offset, *length)?;
                }
            }
        }
        metadata::apply(file.as_fd(), entry, self.options)?;
        metadata::set_times(file.as_fd(), entry.mtime).map_err(Error::io("set times of", &entry.path))
    }

    fn copy(&mut self, file: &OwnedFd, entry: &Entry, offset: u64, length: u64) -> Result<(), Error> {
        let (mut at, mut left) = (offset, length);
        while left > 0 {
            let wanted = usize::try_from(left).unwrap_or(usize::MAX).min(self.buffer.len());
            let read = self
                .reader
                .read(self.buffer.get_mut(..wanted).unwrap_or_default())?;
            if read == 0 {
                return Err(tar::Error::Truncated.into());
            }
            let mut rest = self.buffer.get(..read).unwrap_or_default();
            while !rest.is_empty() {
                let written = rustix::io::pwrite(file, rest, at).map_err(Error::io("write", &entry.path))?;
                rest = rest.get(written..).unwrap_or_default();
                at += written as u64;
            }
            left -= read as u64;
        }
        Ok(())
    }

    fn hard_link(&mut self, entry: &Entry, place: &Place) -> Result<(), Error> {
        let target = self.places.find_existing(&entry.link, &entry.path)?;
        rustix::fs::linkat(
            &target.parent,
            &*target.name,
            &place.parent,
            &*place.name,
            AtFlags::empty(),
        )
        .map_err(Error::io("link", &entry.path))
    }

    fn symlink(&mut self, entry: &Entry, place: &Place) -> Result<(), Error> {
        rustix::fs::symlinkat(&*entry.link, &place.parent, &*place.name)
            .map_err(Error::io("make link", &entry.path))?;
        metadata::apply_to_name(place, entry, self.options)
    }

    fn device(&mut self, entry: &Entry, place: &Place) -> Result<(), Error> {
        let kind = match entry.kind {
            Kind::CharDevice => FileType::CharacterDevice,
            Kind::BlockDevice => FileType::BlockDevice,
            _ => FileType::Fifo,
        };
        if kind != FileType::Fifo && self.options.skip_devices {
            return Ok(());
        }
        // To overlayfs a device 0:0 is a whiteout, which a layer says in its own way.
        if kind == FileType::CharacterDevice && entry.device == (0, 0) {
            return Err(Error::Escape {
                path: shown(&entry.path),
                problem: "it is a whiteout in disguise",
            });
        }
        let device = rustix::fs::makedev(entry.device.0, entry.device.1);
        rustix::fs::mknodat(
            &place.parent,
            &*place.name,
            kind,
            Mode::from_raw_mode(0o600),
            device,
        )
        .map_err(Error::io("make device", &entry.path))?;
        metadata::apply_to_name(place, entry, self.options)?;
        let mode = Mode::from_raw_mode(entry.mode);
        rustix::fs::chmodat(&place.parent, &*place.name, mode, AtFlags::empty())
            .map_err(Error::io("set mode of", &entry.path))
    }

    fn whiteout(&mut self, entry: &Entry, place: &Place, hidden: &[u8]) -> Result<(), Error> {
        match hidden {
            b".wh..opq" => return self.mark_opaque(place.parent.as_fd(), entry),
            // aufs's own bookkeeping.
            _ if hidden.starts_with(b".wh.") => return Ok(()),
            b"" | b"." | b".." => {
                return Err(Error::Escape {
                    path: shown(&entry.path),
                    problem: "it hides no name",
                });
            }
            _ => {}
        }
        match rustix::fs::mknodat(&place.parent, hidden, FileType::CharacterDevice, Mode::empty(), 0) {
            Ok(()) => Ok(()),
            // The layer itself has the name: only what lies below it is hidden.
            Err(Errno::EXIST) => match place::open_folder(place.parent.as_fd(), hidden) {
                Ok(folder) => self.mark_opaque(folder.as_fd(), entry),
                Err(_) => Ok(()),
            },
            Err(errno) => Err(Error::io("hide", &entry.path)(errno)),
        }
    }

    fn mark_opaque(&self, folder: BorrowedFd<'_>, entry: &Entry) -> Result<(), Error> {
        let name = self.options.overlay.opaque();
        rustix::fs::fsetxattr(folder, name, b"y", rustix::fs::XattrFlags::empty())
            .map_err(Error::io("mark as opaque", &entry.path))
    }

    fn finish(mut self) -> Result<Summary, Error> {
        let times = std::mem::take(&mut self.folder_times);
        for (path, mtime) in times.iter().rev() {
            let folder = self.places.open(path).map_err(Error::io("open folder", path))?;
            metadata::set_times(folder.as_fd(), *mtime).map_err(Error::io("set times of", path))?;
        }
        self.reader.drain()?;
        Ok(self.summary)
    }
}

#[cfg(test)]
mod tests;
