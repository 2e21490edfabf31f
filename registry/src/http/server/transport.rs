//! The socket below hyper, and how a file's bytes get past hyper without being copied.
//!
//! hyper writes what a body gives it: slices of memory. A [`FileBody`](super::FileBody) gives slices of [`ZEROS`],
//! which stand for bytes of a file, and notes in the connection's [`Wire`] which ones. hyper passes the slices on by
//! reference (vectored writes), so here they are recognised by their address and `sendfile` is called instead.
//!
//! Invariant: the placeholders in hyper's queue and the wire's segments are the same, in the same order, with the same
//! lengths left. Each write verifies it and fails, closing the connection, where it does not hold.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;

/// Stands for bytes of a file. The kernel gives such a block no memory until it is touched, which it never is.
pub(super) static ZEROS: LazyLock<Box<[u8]>> = LazyLock::new(|| vec![0; 1024 * 1024].into_boxed_slice());

tokio::task_local! {
    /// The wire of the plain HTTP/1.1 connection whose task is running.
    pub(super) static WIRE: Wire;
}

/// What of which files a connection is to send, in order.
#[derive(Debug, Clone, Default)]
pub(super) struct Wire(Arc<Mutex<VecDeque<Segment>>>);

#[derive(Debug)]
struct Segment {
    file: Arc<File>,
    offset: u64,
    left: usize,
}

impl Wire {
    /// Notes that the next placeholder, of `bytes`, stands for the file's bytes from `offset` on.
    pub(super) fn push(&self, file: Arc<File>, offset: u64, bytes: usize) {
        self.segments().push_back(Segment {
            file,
            offset,
            left: bytes,
        });
    }

    fn segments(&self) -> std::sync::MutexGuard<'_, VecDeque<Segment>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends the first segment's bytes, which `placeholder` stands for, as far as the socket takes them.
    fn send(&self, socket: &TcpStream, placeholder: &[u8]) -> io::Result<usize> {
        let mut segments = self.segments();
        let Some(segment) = segments
            .front_mut()
            .filter(|segment| segment.left == placeholder.len())
        else {
            return Err(io::Error::other(
                "the answer's placeholders and files do not agree",
            ));
        };
        let sent = socket.try_io(Interest::WRITABLE, || {
            let mut offset = segment.offset;
            Ok(rustix::fs::sendfile(
                socket,
                &segment.file,
                Some(&mut offset),
                segment.left,
            )?)
        })?;
        if sent == 0 {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the file is shorter than its row says",
            ));
        }
        segment.offset += u64::try_from(sent).map_err(io::Error::other)?;
        segment.left -= sent;
        if segment.left == 0 {
            segments.pop_front();
        }
        Ok(sent)
    }
}

/// Whether the slice is (the rest of) a placeholder: it lies in `ZEROS` and ends no later.
fn is_placeholder(slice: &[u8]) -> bool {
    !slice.is_empty() && ZEROS.as_ptr_range().contains(&slice.as_ptr())
}

/// A TCP socket that sends files where placeholders are written to it.
#[derive(Debug)]
pub(super) struct Plain {
    socket: TcpStream,
    wire: Wire,
}

impl Plain {
    pub(super) fn new(socket: TcpStream, wire: Wire) -> Self {
        Self { socket, wire }
    }

    fn poll_send(&self, cx: &mut Context<'_>, placeholder: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.socket.poll_write_ready(cx))?;
            match self.wire.send(&self.socket, placeholder) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                done => return Poll::Ready(done),
            }
        }
    }
}

impl AsyncRead for Plain {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_read(cx, buf)
    }
}

impl AsyncWrite for Plain {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if is_placeholder(buf) {
            return self.poll_send(cx, buf);
        }
        Pin::new(&mut self.socket).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let slices = match slices.iter().position(|slice| !slice.is_empty()) {
            Some(first) => slices.get(first..).unwrap_or_default(),
            None => return Poll::Ready(Ok(0)),
        };
        if let Some(placeholder) = slices.first().filter(|slice| is_placeholder(slice)) {
            return self.poll_send(cx, placeholder);
        }
        let before = slices
            .iter()
            .position(|slice| is_placeholder(slice))
            .unwrap_or(slices.len());
        let slices = slices.get(..before).unwrap_or_default();
        Pin::new(&mut self.socket).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}
