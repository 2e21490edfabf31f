//! The least that a container of this kind takes: the system calls alone, by a program that knows everything
//! beforehand.

use std::{
    ffi::{CString, c_long},
    fs::{self, File},
    os::{fd::AsRawFd, unix::ffi::OsStrExt},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{CWD, FileType, Mode},
    mount::{MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_bind, mount_change, unmount},
    process::{WaitOptions, chdir, pivot_root, waitpid},
};

use crate::bundle::Bundles;

const NAMESPACES: i32 = libc::CLONE_NEWPID
    | libc::CLONE_NEWNS
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWNET;

/// `CLONE_INTO_CGROUP`, which the `libc` crate cuts to 32 bits.
const INTO_CGROUP: u64 = 0x2_0000_0000;

/// A start and an end, ready to be repeated.
pub(crate) struct Floor {
    root: PathBuf,
    hierarchy: PathBuf,
}

impl Floor {
    pub(crate) fn new(bundles: &Bundles) -> Result<Self, String> {
        let places = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"];
        let hierarchy = places
            .into_iter()
            .map(PathBuf::from)
            .find(|place| place.join("cgroup.controllers").exists());
        let hierarchy = hierarchy.ok_or("there is no cgroup v2")?;
        Ok(Self {
            root: bundles.root(),
            hierarchy,
        })
    }

    pub(crate) fn run(&self) {
        let cgroup = self
            .hierarchy
            .join(format!("wharf-bench-floor-{}", std::process::id()));
        fs::create_dir(&cgroup).unwrap();
        let folder = File::open(&cgroup).unwrap();
        match clone(&folder) {
            0 => {
                self.child();
                // SAFETY: ends the child at once, without running what belongs to the parent.
                unsafe { libc::_exit(1) }
            }
            child => {
                let pid = rustix::process::Pid::from_raw(child).unwrap();
                let (_, status) = waitpid(Some(pid), WaitOptions::empty()).unwrap().unwrap();
                assert_eq!(status.exit_status(), Some(0), "the bare system calls failed");
            }
        }
        fs::remove_dir(&cgroup).unwrap();
    }

    fn child(&self) {
        if self.enter().is_ok() {
            let program = CString::new("/bin/true").unwrap();
            let _ = nix::unistd::execv(&program, &[&program]);
        }
    }

    fn enter(&self) -> rustix::io::Result<()> {
        let root = self.root.as_path();
        let plain = MountFlags::NOSUID | MountFlags::NOEXEC | MountFlags::NODEV;
        mount_change(
            "/",
            MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC,
        )?;
        mount_bind(root, root)?;
        let at = |inner: &str| root.join(inner);
        mount("proc", at("proc"), "proc", plain, None)?;
        mount(
            "tmpfs",
            at("dev"),
            "tmpfs",
            MountFlags::NOSUID,
            Some(c"mode=755,size=65536k"),
        )?;
        for inner in ["dev/pts", "dev/mqueue", "dev/shm"] {
            rustix::fs::mkdir(at(inner), Mode::from_raw_mode(0o755))?;
        }
        mount(
            "devpts",
            at("dev/pts"),
            "devpts",
            plain,
            Some(c"newinstance,ptmxmode=0666,mode=0620"),
        )?;
        mount("sysfs", at("sys"), "sysfs", plain | MountFlags::RDONLY, None)?;
        mount(
            "cgroup2",
            at("sys/fs/cgroup"),
            "cgroup2",
            plain | MountFlags::RDONLY,
            None,
        )?;
        mount("mqueue", at("dev/mqueue"), "mqueue", plain, None)?;
        mount(
            "shm",
            at("dev/shm"),
            "tmpfs",
            plain,
            Some(c"mode=1777,size=67108864"),
        )?;
        for (name, minor) in [
            ("null", 3),
            ("zero", 5),
            ("full", 7),
            ("random", 8),
            ("urandom", 9),
        ] {
            device(&at("dev").join(name), 1, minor)?;
        }
        device(&at("dev/tty"), 5, 0)?;
        rustix::system::sethostname(b"bench")?;
        chdir(root)?;
        pivot_root(".", ".")?;
        unmount(".", UnmountFlags::DETACH)?;
        chdir("/")
    }
}

fn device(path: &Path, major: u32, minor: u32) -> rustix::io::Result<()> {
    let mode = Mode::from_raw_mode(0o666);
    rustix::fs::mknodat(
        CWD,
        path.as_os_str().as_bytes(),
        FileType::CharacterDevice,
        mode,
        rustix::fs::makedev(major, minor),
    )
}

/// Clones straight into the cgroup; answers 0 in the child.
fn clone(cgroup: &File) -> i32 {
    #[repr(C)]
    #[derive(Default)]
    struct Arguments {
        flags: u64,
        pidfd: u64,
        child_tid: u64,
        parent_tid: u64,
        exit_signal: u64,
        stack: u64,
        stack_size: u64,
        tls: u64,
        set_tid: u64,
        set_tid_size: u64,
        cgroup: u64,
    }
    let arguments = Arguments {
        flags: u64::try_from(NAMESPACES).unwrap() | INTO_CGROUP,
        exit_signal: u64::try_from(libc::SIGCHLD).unwrap(),
        cgroup: u64::try_from(cgroup.as_raw_fd()).unwrap(),
        ..Arguments::default()
    };
    // SAFETY: as fork: no stack is given, and this program has one thread.
    let answer: c_long =
        unsafe { libc::syscall(libc::SYS_clone3, &raw const arguments, size_of::<Arguments>()) };
    assert!(answer >= 0, "clone3: {}", std::io::Error::last_os_error());
    i32::try_from(answer).unwrap()
}
