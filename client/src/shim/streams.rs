//! The container's standard streams, as this side holds them: three pipes, or a terminal.

use std::{
    fs::File,
    io::{self, Read, Write},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    os::unix::net::{UnixListener, UnixStream},
    path::{Path, PathBuf},
    process::Stdio,
};

use rustix::{
    net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg},
    pipe::{PipeFlags, pipe_with},
    termios::{Winsize, tcsetwinsize},
};

use super::log::Stream;
use crate::container::StreamsForRuntime as ForRuntime;

/// Read at once from the container.
pub(crate) const READ_BYTES: usize = 32 * 1024;

/// This side of the streams.
#[derive(Debug, Default)]
pub(crate) struct Streams {
    /// Where the container reads from, while somebody may still write.
    pub(crate) input: Option<File>,
    /// What the container writes, until it has ended.
    pub(crate) outputs: Vec<(Stream, File)>,
    /// The terminal, if it is one.
    terminal: Option<OwnedFd>,
}

/// Pipes for a container without a terminal; with `interactive` its input is one, else it is empty.
pub(crate) fn pipes(interactive: bool) -> io::Result<(Streams, ForRuntime)> {
    let (output, stdout) = pipe_with(PipeFlags::CLOEXEC)?;
    let (error_output, stderr) = pipe_with(PipeFlags::CLOEXEC)?;
    let (stdin, input) = if interactive {
        let (stdin, input) = pipe_with(PipeFlags::CLOEXEC)?;
        (Stdio::from(stdin), Some(nonblocking(input)?))
    } else {
        (Stdio::null(), None)
    };
    let outputs = vec![
        (Stream::Stdout, nonblocking(output)?),
        (Stream::Stderr, nonblocking(error_output)?),
    ];
    let ours = Streams {
        input,
        outputs,
        terminal: None,
    };
    Ok((
        ours,
        ForRuntime {
            stdin,
            stdout: stdout.into(),
            stderr: stderr.into(),
        },
    ))
}

/// Where the runtime sends the container's terminal to.
#[derive(Debug)]
pub(crate) struct Console {
    listener: UnixListener,
    path: PathBuf,
    folder: OwnedFd,
}

impl Console {
    /// Listens in `folder`, whatever the length of its path: a socket's may have 107 bytes.
    pub(crate) fn listen(folder: &Path) -> io::Result<Self> {
        let folder = open_folder(folder)?;
        let path = through_descriptor(&folder, std::process::id(), "console.sock");
        remove_stale(&path)?;
        Ok(Self {
            listener: UnixListener::bind(&path)?,
            path,
            folder,
        })
    }

    /// The socket, as another process may name it.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Takes the terminal that the runtime has sent; the runtime has ended, so it is there or never comes.
    pub(crate) fn receive(self, size: Option<(u16, u16)>) -> io::Result<Streams> {
        self.listener.set_nonblocking(true)?;
        let (connection, _) = self.listener.accept()?;
        let master = receive_descriptor(&connection)?;
        std::fs::remove_file(&self.path)?;
        drop(self.folder);
        if let Some((rows, columns)) = size {
            resize(&master, rows, columns)?;
        }
        let input = File::from(rustix::io::fcntl_dupfd_cloexec(&master, 3)?);
        let output = nonblocking(rustix::io::fcntl_dupfd_cloexec(&master, 3)?)?;
        Ok(Streams {
            input: Some(input),
            outputs: vec![(Stream::Stdout, output)],
            terminal: Some(master),
        })
    }
}

/// Opens a folder so that it can be named through its descriptor.
pub(crate) fn open_folder(folder: &Path) -> io::Result<OwnedFd> {
    let flags = rustix::fs::OFlags::PATH | rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::CLOEXEC;
    Ok(rustix::fs::open(folder, flags, rustix::fs::Mode::empty())?)
}

/// A short path for a file in an opened folder of process `pid`.
pub(crate) fn through_descriptor(folder: &OwnedFd, pid: u32, name: &str) -> PathBuf {
    use std::os::fd::AsRawFd;
    PathBuf::from(format!("/proc/{pid}/fd/{}/{name}", folder.as_raw_fd()))
}

/// A socket of an earlier life may be in the way.
pub(crate) fn remove_stale(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn receive_descriptor(connection: &UnixStream) -> io::Result<OwnedFd> {
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut name = [0; 4096];
    let mut parts = [io::IoSliceMut::new(&mut name)];
    recvmsg(connection, &mut parts, &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
    let descriptors = ancillary.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
        _ => None,
    });
    descriptors
        .flatten()
        .next()
        .ok_or_else(|| io::Error::other("the runtime sent no terminal"))
}

fn nonblocking(descriptor: OwnedFd) -> io::Result<File> {
    rustix::io::ioctl_fionbio(&descriptor, true)?;
    Ok(File::from(descriptor))
}

fn resize(terminal: impl AsFd, rows: u16, columns: u16) -> io::Result<()> {
    let size = Winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    Ok(tcsetwinsize(terminal, size)?)
}

impl Streams {
    /// Gives the terminal another size; without a terminal there is none.
    pub(crate) fn resize(&self, rows: u16, columns: u16) {
        if let Some(terminal) = &self.terminal {
            // A size that the terminal refuses leaves the old one.
            drop(resize(terminal, rows, columns));
        }
    }

    /// Whether it is a terminal.
    pub(crate) fn is_terminal(&self) -> bool {
        self.terminal.is_some()
    }

    /// Where input goes, to wait until it takes more.
    pub(crate) fn input_fd(&self) -> Option<BorrowedFd<'_>> {
        self.input.as_ref().map(AsFd::as_fd)
    }

    /// Writes what fits; zero bytes when none do now. Nobody reading any more ends the input.
    pub(crate) fn write_input(&mut self, bytes: &[u8]) -> usize {
        let Some(input) = &mut self.input else {
            return bytes.len();
        };
        match input.write(bytes) {
            Ok(length) => length,
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
                ) =>
            {
                0
            }
            Err(_nobody_reads) => {
                self.input = None;
                bytes.len()
            }
        }
    }

    /// Lets the container see the end of its input. A terminal has none.
    pub(crate) fn end_input(&mut self) {
        if !self.is_terminal() {
            self.input = None;
        }
    }

    /// Reads what the output `at` has now: bytes, or none at its end, after which it is gone.
    pub(crate) fn read_output(&mut self, at: usize, buffer: &mut [u8]) -> Option<(Stream, usize)> {
        let (stream, file) = self.outputs.get_mut(at)?;
        let stream = *stream;
        match file.read(buffer) {
            Ok(length @ 1..) => Some((stream, length)),
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
                ) =>
            {
                None
            }
            // A terminal whose other side is closed answers EIO.
            Ok(_) | Err(_) => {
                self.outputs.remove(at);
                None
            }
        }
    }
}
