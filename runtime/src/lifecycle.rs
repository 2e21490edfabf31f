//! The folder of containers: one folder a container; in it `state.json`, the first process, the gate.
//!
//! A container's folder is locked by `flock` while something changes it; readers take no lock. The gate is a
//! socket that the waiting first process listens on: it is there until the start, and a gate whose owner is
//! gone refuses connections, so that nothing can hang on it.

use std::{
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::DirBuilderExt,
    },
    path::{Path, PathBuf},
};

use rustix::{
    fs::{AtFlags, FlockOperation, Mode, OFlags, flock, open, openat, renameat, unlinkat},
    io::Errno,
    net::{AddressFamily, SocketFlags, SocketType, bind, connect, listen, socket_with},
};

use crate::{
    cgroups,
    error::{Doing, Error},
    id::ContainerId,
    pty::short_address,
    state::{FORMAT, Record, Status},
};

const STATE: &str = "state.json";
const PROCESS: &str = "process";
const CONFIG: &str = "config.json";
const GATE: &str = "gate";

/// The folder of all containers.
#[derive(Clone, Debug)]
pub struct Store {
    root: PathBuf,
}

/// One container's folder.
pub(crate) struct Folder {
    id: ContainerId,
    path: PathBuf,
    descriptor: OwnedFd,
}

impl Store {
    /// The store at `root`, or where this user's is.
    pub fn new(root: Option<PathBuf>) -> Self {
        let root = root.unwrap_or_else(|| match std::env::var_os("XDG_RUNTIME_DIR") {
            Some(folder) if !rustix::process::geteuid().is_root() && !folder.is_empty() => {
                Path::new(&folder).join("wharf-runtime")
            }
            _ => PathBuf::from("/run/wharf-runtime"),
        });
        Self { root }
    }

    /// Claims an id: makes its folder, locked. A folder left by a creation that was killed is taken over.
    pub(crate) fn claim(&self, id: &ContainerId) -> Result<Folder, Error> {
        let doing = |path: &Path| format!("make the folder {}", path.display());
        let mut builder = std::fs::DirBuilder::new();
        builder.mode(0o700);
        let path = self.root.join(id.as_str());
        let made = match builder.create(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                builder
                    .recursive(true)
                    .create(&self.root)
                    .doing(|| doing(&self.root))?;
                builder.recursive(false).create(&path)
            }
            other => other,
        };
        match made {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            other => other.doing(|| doing(&path))?,
        }
        let folder = Folder::open(id, path).map_err(|_gone| Error::Taken(id.to_string()))?;
        match flock(&folder.descriptor, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::AGAIN) => return Err(Error::Taken(id.to_string())),
            other => other.doing(|| format!("lock the folder of {id}"))?,
        }
        if folder.has(STATE) || !folder.is_linked() {
            return Err(Error::Taken(id.to_string()));
        }
        [GATE, PROCESS].iter().for_each(|name| folder.forget(name));
        Ok(folder)
    }

    /// Opens a container's folder, without a lock.
    pub(crate) fn find(&self, id: &ContainerId) -> Result<Folder, Error> {
        match Folder::open(id, self.root.join(id.as_str())) {
            Err(Errno::NOENT | Errno::NOTDIR) => Err(Error::Missing(id.to_string())),
            other => other.doing(|| format!("open the folder of {id}")),
        }
    }

    /// Opens a container's folder and waits for its lock.
    pub(crate) fn lock(&self, id: &ContainerId) -> Result<Folder, Error> {
        let folder = self.find(id)?;
        rustix::io::retry_on_intr(|| flock(&folder.descriptor, FlockOperation::LockExclusive))
            .doing(|| format!("lock the folder of {id}"))?;
        if folder.is_linked() {
            Ok(folder)
        } else {
            Err(Error::Missing(id.to_string()))
        }
    }

    /// All ids, sorted.
    pub(crate) fn ids(&self) -> Vec<ContainerId> {
        let entries = std::fs::read_dir(&self.root).into_iter().flatten().flatten();
        let mut ids: Vec<ContainerId> = entries
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .collect();
        ids.sort_by(|one, other| one.as_str().cmp(other.as_str()));
        ids
    }
}

impl Folder {
    fn open(id: &ContainerId, path: PathBuf) -> Result<Self, Errno> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let descriptor = open(&path, flags, Mode::empty())?;
        Ok(Self {
            id: id.clone(),
            path,
            descriptor,
        })
    }

    /// Lets others change the container.
    pub(crate) fn unlock(&self) {
        // A lock that cannot be given back ends with this process.
        let _ = flock(&self.descriptor, FlockOperation::Unlock);
    }

    fn has(&self, name: &str) -> bool {
        rustix::fs::statat(&self.descriptor, name, AtFlags::SYMLINK_NOFOLLOW).is_ok()
    }

    /// Whether the folder still has its name: not if someone removed it while its lock was awaited.
    fn is_linked(&self) -> bool {
        let by_name = rustix::fs::stat(&self.path);
        let here = rustix::fs::fstat(&self.descriptor);
        matches!((by_name, here), (Ok(name), Ok(here)) if (name.st_dev, name.st_ino) == (here.st_dev, here.st_ino))
    }

    fn forget(&self, name: &str) {
        // What is missing is already forgotten.
        let _ = unlinkat(&self.descriptor, name, AtFlags::empty());
    }

    fn write(&self, name: &str, content: &[u8]) -> Result<(), Errno> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = openat(&self.descriptor, name, flags, Mode::from_raw_mode(0o600))?;
        let mut rest = content;
        while !rest.is_empty() {
            let written = rustix::io::retry_on_intr(|| rustix::io::write(&file, rest))?;
            rest = rest.get(written..).unwrap_or_default();
        }
        Ok(())
    }

    /// Writes `state.json` whole: a reader sees the one before or this one.
    pub(crate) fn save(&self, record: &Record) -> Result<(), Error> {
        let doing = || format!("write the state of {}", self.id);
        let text =
            serde_json::to_vec(record).map_err(|error| Error::Other(format!("{}: {error}", doing())))?;
        self.write("state.json.new", &text).doing(doing)?;
        renameat(&self.descriptor, "state.json.new", &self.descriptor, STATE).doing(doing)
    }

    /// Writes which process is the first: its id and when it started. A reader that comes too early takes the
    /// container for one that is still being made.
    ///
    /// A file of its own, because replacing one makes some file systems write it to the disk there and then.
    pub(crate) fn save_process(&self, record: &Record) -> Result<(), Error> {
        let line = format!("{} {}\n", record.pid, record.start_time);
        self.write(PROCESS, line.as_bytes())
            .doing(|| format!("write the process of {}", self.id))
    }

    /// Keeps the bundle's `config.json`, which `exec` and hooks need as it was.
    pub(crate) fn keep_config(&self, config: &str) -> Result<(), Error> {
        self.write(CONFIG, config.as_bytes())
            .doing(|| format!("keep the config of {}", self.id))
    }

    /// The kept `config.json`.
    pub(crate) fn config(&self) -> Result<String, Error> {
        crate::files::read_text(self.path.join(CONFIG)).doing(|| format!("read the config of {}", self.id))
    }

    /// Reads `state.json`.
    pub(crate) fn load(&self) -> Result<Record, Error> {
        let bytes = match crate::files::read_text(self.path.join(STATE)) {
            Err(Errno::NOENT) => {
                return Err(Error::Missing(self.id.to_string()));
            }
            other => other.doing(|| format!("read the state of {}", self.id))?,
        };
        let malformed = |why: String| Error::Malformed {
            what: format!("the state of {}", self.id),
            why,
        };
        let mut record: Record =
            serde_json::from_str(&bytes).map_err(|error| malformed(error.to_string()))?;
        if record.format != FORMAT {
            return Err(malformed(format!("format {} is unknown", record.format)));
        }
        let line = crate::files::read_text(self.path.join(PROCESS)).unwrap_or_default();
        if let Some((pid, start_time)) = line.strip_suffix('\n').and_then(|line| line.split_once(' ')) {
            record.pid = pid
                .parse()
                .map_err(|_not_a_number| malformed("its process is no number".to_owned()))?;
            record.start_time = start_time
                .parse()
                .map_err(|_not_a_number| malformed("its start is no number".to_owned()))?;
        }
        Ok(record)
    }

    /// Where the container is in its life.
    pub(crate) fn status(&self, record: &Record) -> Status {
        if record.pid == 0 {
            return Status::Creating;
        }
        if record.alive().is_none() {
            return Status::Stopped;
        }
        if cgroups::is_frozen(&record.layout) {
            return Status::Paused;
        }
        if self.has(GATE) && self.is_gated() {
            Status::Created
        } else {
            Status::Running
        }
    }

    /// Makes the gate that the first process waits behind.
    pub(crate) fn make_gate(&self) -> Result<OwnedFd, Error> {
        let make = || -> Result<OwnedFd, Errno> {
            let gate = socket_with(
                AddressFamily::UNIX,
                SocketType::SEQPACKET,
                SocketFlags::CLOEXEC,
                None,
            )?;
            bind(&gate, &short_address(&self.descriptor, GATE)?)?;
            listen(&gate, 16)?;
            Ok(gate)
        };
        make().doing(|| format!("make the gate of {}", self.id))
    }

    /// Connects to the gate. Fails with `ECONNREFUSED` if its owner is gone.
    pub(crate) fn knock(&self) -> Result<OwnedFd, Errno> {
        self.connect(SocketFlags::CLOEXEC)
    }

    /// Whether someone waits behind the gate, however many have looked before.
    fn is_gated(&self) -> bool {
        matches!(
            self.connect(SocketFlags::CLOEXEC | SocketFlags::NONBLOCK),
            Ok(_) | Err(Errno::AGAIN)
        )
    }

    fn connect(&self, flags: SocketFlags) -> Result<OwnedFd, Errno> {
        let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
        connect(&socket, &short_address(&self.descriptor, GATE)?)?;
        Ok(socket)
    }

    /// Takes the gate away.
    pub(crate) fn remove_gate(&self) {
        self.forget(GATE);
    }

    /// Takes the folder away. What is missing is already removed.
    pub(crate) fn remove(&self) -> Result<(), Error> {
        [GATE, CONFIG, PROCESS, STATE]
            .iter()
            .for_each(|name| self.forget(name));
        match rustix::fs::rmdir(&self.path) {
            Ok(()) | Err(Errno::NOENT) => return Ok(()),
            Err(_) => {}
        }
        match std::fs::remove_dir_all(&self.path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            other => other.doing(|| format!("remove the folder {}", self.path.display())),
        }
    }
}

impl AsFd for Folder {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}
