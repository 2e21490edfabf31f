//! Where an entry goes: a descriptor of its parent, and its last name.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::{Error, shown};

/// The deepest folder of a layer.
const MAX_DEPTH: usize = 512;

/// A place in the layer's folder. Nothing need stand there.
pub(super) struct Place {
    /// The folder that it is in.
    pub(super) parent: Rc<OwnedFd>,
    /// Its last name.
    pub(super) name: Vec<u8>,
    /// Its whole path, cleaned: no leading slash, no `.`, no `..`.
    pub(super) path: Vec<u8>,
}

/// Finds places below a folder, and keeps the last parent open, since neighbours follow each other.
pub(super) struct Places<'a> {
    root: BorrowedFd<'a>,
    last: Option<(Vec<u8>, Rc<OwnedFd>)>,
}

impl<'a> Places<'a> {
    pub(super) fn new(root: BorrowedFd<'a>) -> Self {
        Places { root, last: None }
    }

    pub(super) fn root(&self) -> BorrowedFd<'a> {
        self.root
    }

    /// Drops the open parent, after a folder was removed.
    pub(super) fn forget(&mut self) {
        self.last = None;
    }

    /// The place of an entry's name; parents that the stream did not name are made. `None` is the root.
    pub(super) fn find(&mut self, path: &[u8]) -> Result<Option<Place>, Error> {
        let Some(clean) = Clean::parse(path, path)? else {
            return Ok(None);
        };
        let parent = self.parent(&clean.parent, path, true)?;
        Ok(Some(Place {
            parent,
            name: clean.name,
            path: clean.path,
        }))
    }

    /// The place of a hard link's target, which must stand there already and be no folder.
    pub(super) fn find_existing(&mut self, target: &[u8], entry: &[u8]) -> Result<Place, Error> {
        let Some(clean) = Clean::parse(target, entry)? else {
            return Err(Error::Escape {
                path: shown(entry),
                problem: "it links to the root",
            });
        };
        let parent = self.parent(&clean.parent, entry, false)?;
        Ok(Place {
            parent,
            name: clean.name,
            path: clean.path,
        })
    }

    fn parent(&mut self, path: &[u8], entry: &[u8], make: bool) -> Result<Rc<OwnedFd>, Error> {
        if let Some((known, folder)) = &self.last
            && known == path
        {
            return Ok(Rc::clone(folder));
        }
        let opened = match self.open(path) {
            Err(Errno::NOENT) if make => self.make_parents(path),
            other => other,
        };
        let folder = opened.map_err(|errno| match errno {
            Errno::LOOP | Errno::XDEV => Error::Escape {
                path: shown(entry),
                problem: "its parent is a symbolic link",
            },
            Errno::NOTDIR => Error::Escape {
                path: shown(entry),
                problem: "its parent is not a folder",
            },
            errno => Error::Io {
                doing: "open the parent of",
                path: shown(entry),
                source: errno.into(),
            },
        })?;
        let folder = Rc::new(folder);
        self.last = Some((path.to_vec(), Rc::clone(&folder)));
        Ok(folder)
    }

    /// Opens a folder by its cleaned path, through no symbolic link.
    pub(super) fn open(&self, path: &[u8]) -> Result<OwnedFd, Errno> {
        let path = if path.is_empty() { b"." } else { path };
        let how = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        loop {
            // EAGAIN: a rename elsewhere in the system raced with the check of "beneath".
            match rustix::fs::openat2(self.root, path, flags, Mode::empty(), how) {
                Err(Errno::AGAIN) => {}
                other => return other,
            }
        }
    }

    fn make_parents(&self, path: &[u8]) -> Result<OwnedFd, Errno> {
        let mut folder = self.open(b"")?;
        for name in path.split(|byte| *byte == b'/') {
            match rustix::fs::mkdirat(&folder, name, Mode::from_raw_mode(0o755)) {
                Ok(()) => rustix::fs::chmodat(&folder, name, Mode::from_raw_mode(0o755), AtFlags::empty())?,
                Err(Errno::EXIST) => {}
                Err(errno) => return Err(errno),
            }
            folder = open_folder(folder.as_fd(), name)?;
        }
        Ok(folder)
    }
}

/// Opens the folder `name` in `parent`; a symbolic link there is an error.
pub(super) fn open_folder(parent: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(parent, name, flags, Mode::empty())
}

/// A path without `.`, `..` and extra slashes, and its two parts.
struct Clean {
    parent: Vec<u8>,
    name: Vec<u8>,
    path: Vec<u8>,
}

impl Clean {
    /// `None` for the root.
    fn parse(path: &[u8], entry: &[u8]) -> Result<Option<Self>, Error> {
        let escape = |problem| {
            Err(Error::Escape {
                path: shown(entry),
                problem,
            })
        };
        let names = path
            .split(|byte| *byte == b'/')
            .filter(|name| !name.is_empty() && *name != b".");
        let names: Vec<&[u8]> = names.collect();
        if names.contains(&b"..".as_slice()) {
            return escape("its name has \"..\"");
        }
        if path.contains(&0) {
            return escape("its name has a zero byte");
        }
        if names.len() > MAX_DEPTH {
            return escape("it is nested too deep");
        }
        let Some((name, parents)) = names.split_last() else {
            return Ok(None);
        };
        Ok(Some(Clean {
            parent: parents.join(&b'/'),
            name: name.to_vec(),
            path: names.join(&b'/'),
        }))
    }
}

/// Removes the folder `name` of `parent` with all that is in it, following no link.
pub(super) fn remove_tree(parent: &OwnedFd, name: &[u8]) -> Result<(), Errno> {
    let folder = open_folder(parent.as_fd(), name)?;
    let mut names = Vec::new();
    for item in rustix::fs::Dir::read_from(&folder)? {
        let item = item?;
        if item.file_name() != c"." && item.file_name() != c".." {
            names.push((item.file_name().to_bytes().to_vec(), item.file_type()));
        }
    }
    for (name, kind) in names {
        match kind {
            FileType::Directory => remove_tree(&folder, &name)?,
            _ => rustix::fs::unlinkat(&folder, &*name, AtFlags::empty())?,
        }
    }
    rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR)
}
