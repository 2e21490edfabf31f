//! One client of a shim.

use std::{
    io::{self, Read, Write},
    os::fd::{AsFd, BorrowedFd},
    os::unix::net::UnixStream,
};

use super::wire::{Frame, Hello, Reader};

/// A client that has so much still to read holds the container's output up.
const WAITING_BYTES_MAX: usize = 256 * 1024;

/// A client, and what is on its way to it.
#[derive(Debug)]
pub(super) struct Connection {
    stream: UnixStream,
    reader: Reader,
    waiting: Vec<u8>,
    /// What it came for; nothing until it said so.
    pub(super) hello: Hello,
    /// It reads nothing more; what it said before is still heard.
    deaf: bool,
    /// Nothing more comes from it.
    pub(super) gone: bool,
}

impl Connection {
    pub(super) fn new(stream: UnixStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        let (reader, waiting) = (Reader::default(), Vec::new());
        Ok(Self {
            stream,
            reader,
            waiting,
            hello: Hello::default(),
            deaf: false,
            gone: false,
        })
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }

    pub(super) fn wants_to_write(&self) -> bool {
        !self.waiting.is_empty()
    }

    pub(super) fn is_behind(&self) -> bool {
        self.waiting.len() > WAITING_BYTES_MAX
    }

    /// Sends a frame, now as far as it goes.
    pub(super) fn send(&mut self, frame: &Frame) {
        if !self.deaf {
            self.waiting.extend(frame.encode());
            self.flush();
        }
    }

    /// Sends what waits, as far as it goes now.
    pub(super) fn flush(&mut self) {
        while !self.waiting.is_empty() {
            match self.stream.write(&self.waiting) {
                Ok(length) => {
                    self.waiting.drain(..length);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(_closed) => {
                    self.deaf = true;
                    self.waiting.clear();
                }
            }
        }
        self.waiting.shrink_to(4096);
    }

    /// Reads what has come, once.
    pub(super) fn receive(&mut self) {
        let mut buffer = [0; 16 * 1024];
        match self.stream.read(&mut buffer) {
            Ok(length @ 1..) => self.reader.feed(buffer.get(..length).unwrap_or_default()),
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
                ) => {}
            Ok(_) | Err(_) => self.gone = true,
        }
    }

    /// The next word that has come whole.
    pub(super) fn next_frame(&mut self) -> Option<Frame> {
        match self.reader.next_frame() {
            Ok(frame) => frame,
            Err(_does_not_speak_our_words) => {
                self.gone = true;
                None
            }
        }
    }

    /// Waits for the first word, for as long as the client lives.
    pub(super) fn first_frame(&mut self) -> io::Result<Option<Frame>> {
        self.stream.set_nonblocking(false)?;
        let frame = self.reader.read_frame(&self.stream);
        self.stream.set_nonblocking(true)?;
        frame
    }
}
