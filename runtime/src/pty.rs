//! The container's terminal: made from a devpts by descriptor, its master sent to the caller.

use std::{
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
};

use rustix::{
    fs::{CWD, Mode, OFlags, fstatfs, openat},
    io::Errno,
    net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with},
    pty::{OpenptFlags, ioctl_tiocgptpeer, ptsname, unlockpt},
    termios::{Winsize, tcsetwinsize},
};

use crate::{
    rootfs::{attach, clone_tree, empty_file, open_inside},
    spec::process::ConsoleSize,
};

const DEVPTS_SUPER_MAGIC: u32 = 0x1cd1;

/// A new terminal.
pub(crate) struct Pty {
    /// The caller's end.
    pub(crate) master: OwnedFd,
    /// The container's end.
    pub(crate) slave: OwnedFd,
}

/// Opens a terminal of the devpts that `devpts` is the root of. Nothing is reached by a path of the image.
pub(crate) fn open(devpts: BorrowedFd<'_>, size: Option<ConsoleSize>) -> Result<Pty, Errno> {
    if u32::try_from(fstatfs(devpts)?.f_type) != Ok(DEVPTS_SUPER_MAGIC) {
        return Err(Errno::NODEV);
    }
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let master = openat(devpts, c"ptmx", flags, Mode::empty())?;
    unlockpt(&master)?;
    let slave = ioctl_tiocgptpeer(
        &master,
        OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC,
    )?;
    if let Some(ConsoleSize { height, width }) = size.filter(|size| size.height > 0 && size.width > 0) {
        tcsetwinsize(
            &master,
            Winsize {
                ws_row: height,
                ws_col: width,
                ws_xpixel: 0,
                ws_ypixel: 0,
            },
        )?;
    }
    Ok(Pty { master, slave })
}

/// The devpts of a root that is entered already.
pub(crate) fn devpts_inside(root: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    open_inside(root, c"dev/pts", OFlags::PATH | OFlags::DIRECTORY, true)
}

/// The host's devpts, for a bundle that mounts none.
pub(crate) fn host_devpts() -> Result<OwnedFd, Errno> {
    openat(
        CWD,
        c"/dev/pts",
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )
}

/// Mounts the slave at `/dev/console`.
pub(crate) fn mount_console(pty: &Pty, devpts: BorrowedFd<'_>, root: BorrowedFd<'_>) -> Result<(), Errno> {
    let name = ptsname(&pty.master, Vec::new())?;
    let number = name
        .to_bytes()
        .rsplit(|byte| *byte == b'/')
        .next()
        .ok_or(Errno::NODEV)?;
    let slave = openat(
        devpts,
        number,
        OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    let dev = open_inside(root, c"dev", OFlags::PATH | OFlags::DIRECTORY, true)?;
    let place = empty_file(dev.as_fd(), c"console")?;
    attach(clone_tree(slave.as_fd(), false)?.as_fd(), place.as_fd())
}

/// Makes the slave the controlling terminal and the three standard streams. The caller leads a session.
pub(crate) fn take(slave: &OwnedFd) -> Result<(), Errno> {
    rustix::process::ioctl_tiocsctty(slave)?;
    rustix::stdio::dup2_stdin(slave)?;
    rustix::stdio::dup2_stdout(slave)?;
    rustix::stdio::dup2_stderr(slave)
}

/// Connects to the caller's console socket.
pub(crate) fn connect_socket(path: &Path) -> Result<OwnedFd, Errno> {
    let socket = socket_with(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        None,
    )?;
    match SocketAddrUnix::new(path) {
        Ok(address) => connect(&socket, &address)?,
        // A path may be longer than a socket's address: its folder's descriptor is a short way to it.
        Err(_) => {
            let folder = path
                .parent()
                .filter(|folder| !folder.as_os_str().is_empty())
                .unwrap_or(Path::new("."));
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let folder = openat(CWD, folder, flags, Mode::empty())?;
            connect(
                &socket,
                &short_address(&folder, path.file_name().ok_or(Errno::INVAL)?)?,
            )?;
        }
    }
    Ok(socket)
}

/// The address of a socket in a folder, short whatever the folder's path is.
pub(crate) fn short_address(folder: &OwnedFd, name: impl AsRef<Path>) -> Result<SocketAddrUnix, Errno> {
    use std::os::fd::AsRawFd;
    SocketAddrUnix::new(
        Path::new("/proc/self/fd")
            .join(folder.as_raw_fd().to_string())
            .join(name),
    )
}
