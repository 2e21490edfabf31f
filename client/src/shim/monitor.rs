//! The loop of a shim: bytes from and to the container, clients coming and going, the container's end.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd},
    os::unix::net::UnixStream,
};

use jiff::Timestamp;
use nix::{
    sys::{
        signal::{SigSet, SigmaskHow, Signal, kill, sigprocmask},
        signalfd::{SfdFlags, SignalFd},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::Pid,
};
use rustix::event::{PollFd, PollFlags, poll};

use super::{
    connection::Connection,
    launch::Launched,
    log::Stream,
    streams::READ_BYTES,
    wire::{Frame, Hello, Started, VERSION},
};
use crate::error::{Error, Result};

/// Input that the container has not read yet; no more is taken from clients while there is some.
type Pending = Vec<u8>;

/// Clients and signals.
pub(super) struct Monitor {
    signals: SignalFd,
    connections: Vec<Connection>,
    input: Pending,
}

/// What may become ready.
#[derive(Clone, Copy)]
enum Source {
    Signals,
    Listener,
    Input,
    Output(usize),
    Forwarder(usize),
    Connection(usize),
}

impl Monitor {
    /// Takes on the client that started this shim; signals come as bytes from here on.
    pub(super) fn new(client: UnixStream) -> Result<Self> {
        let failed = |error: io::Error| Error::io("listen to the client and to signals", error);
        let caught = [
            Signal::SIGCHLD,
            Signal::SIGTERM,
            Signal::SIGINT,
            Signal::SIGQUIT,
            Signal::SIGHUP,
        ];
        let mask: SigSet = caught.into_iter().collect();
        sigprocmask(SigmaskHow::SIG_BLOCK, Some(&mask), None).map_err(|error| failed(error.into()))?;
        let signals = SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
            .map_err(|error| failed(error.into()))?;
        let mut client = Connection::new(client).map_err(failed)?;
        if let Some(Frame::Hello(hello)) = client.first_frame().map_err(failed)? {
            client.hello = hello;
        }
        Ok(Self {
            signals,
            connections: vec![client],
            input: Vec::new(),
        })
    }

    /// What the client that started this shim wants.
    pub(super) fn hello(&self) -> Hello {
        self.connections
            .first()
            .map(|client| client.hello.clone())
            .unwrap_or_default()
    }

    /// Looks after the container until it ends, and returns its exit code.
    pub(super) fn run(&mut self, container: &mut Launched) -> i32 {
        self.tell_all(&Frame::Started(Started {
            version: VERSION,
            pid: container.pid,
        }));
        loop {
            for source in self.wait(container) {
                match source {
                    Source::Signals => {
                        if let Some(code) = self.take_signals(container) {
                            self.drain(container);
                            return code;
                        }
                    }
                    Source::Listener => self.accept(container),
                    Source::Input => self.pass_input_on(container),
                    Source::Output(at) => drop(self.pass_output_on(at, container)),
                    Source::Forwarder(at) => container.accept_connection(at),
                    Source::Connection(at) => self.serve(at, container),
                }
            }
            self.forget_gone(container);
        }
    }

    /// Waits until something is ready.
    fn wait(&self, container: &Launched) -> Vec<Source> {
        let mut sources = vec![Source::Signals, Source::Listener];
        let mut polled = vec![
            readable(self.signals.as_fd()),
            readable(container.listener.as_fd()),
        ];
        if let Some(input) = container.streams.input_fd().filter(|_| !self.input.is_empty()) {
            sources.push(Source::Input);
            polled.push(PollFd::from_borrowed_fd(input, PollFlags::OUT));
        }
        // The container waits for the slowest of those who read it.
        if !self.connections.iter().any(Connection::is_behind) {
            for (at, (_, file)) in container.streams.outputs.iter().enumerate() {
                sources.push(Source::Output(at));
                polled.push(readable(file.as_fd()));
            }
        }
        for (at, forwarder) in container.forwarders.iter().enumerate() {
            sources.push(Source::Forwarder(at));
            polled.push(readable(forwarder.as_fd()));
        }
        for (at, connection) in self.connections.iter().enumerate() {
            let mut wanted = PollFlags::empty();
            if self.input.is_empty() || !connection.hello.input {
                wanted |= PollFlags::IN;
            }
            if connection.wants_to_write() {
                wanted |= PollFlags::OUT;
            }
            sources.push(Source::Connection(at));
            polled.push(PollFd::from_borrowed_fd(connection.fd(), wanted));
        }
        // Only a signal that is not caught could interrupt it; then it is waited for again.
        if poll(&mut polled, None).is_err() {
            return Vec::new();
        }
        let ready = sources
            .into_iter()
            .zip(&polled)
            .filter(|(_, polled)| !polled.revents().is_empty());
        let mut ready: Vec<Source> = ready.map(|(source, _)| source).collect();
        // An output that ends moves the ones behind it.
        ready.reverse();
        ready
    }

    /// Reaps children and passes signals on; the container's exit code once it has ended.
    fn take_signals(&mut self, container: &Launched) -> Option<i32> {
        while let Ok(Some(signal)) = self.signals.read_signal() {
            let number = i32::try_from(signal.ssi_signo).unwrap_or_default();
            if let Ok(signal) = Signal::try_from(number)
                && signal != Signal::SIGCHLD
            {
                container.signal(number);
            }
        }
        let own = Pid::from_raw(container.pid);
        let mut code = None;
        while let Ok(status) = waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            match status {
                WaitStatus::Exited(pid, status) if pid == own => code = Some(status),
                WaitStatus::Signaled(pid, signal, _) if pid == own => code = Some(128 + signal as i32),
                WaitStatus::StillAlive => break,
                _ => {}
            }
        }
        code
    }

    /// Reads what the container wrote before it ended. Nobody can write any more, so this ends.
    fn drain(&mut self, container: &mut Launched) {
        for at in (0..container.streams.outputs.len()).rev() {
            while self.pass_output_on(at, container) {}
        }
        container.finish_log(Timestamp::now());
    }

    fn pass_output_on(&mut self, at: usize, container: &mut Launched) -> bool {
        let mut buffer = [0; READ_BYTES];
        let Some((stream, length)) = container.streams.read_output(at, &mut buffer) else {
            return false;
        };
        let bytes = buffer.get(..length).unwrap_or_default();
        container.keep(stream, bytes, Timestamp::now());
        let mut listening = self
            .connections
            .iter_mut()
            .filter(|client| client.hello.output)
            .peekable();
        if listening.peek().is_some() {
            let frame = match stream {
                Stream::Stdout => Frame::Output(bytes.to_vec()),
                Stream::Stderr => Frame::ErrorOutput(bytes.to_vec()),
            };
            listening.for_each(|client| client.send(&frame));
        }
        true
    }

    fn pass_input_on(&mut self, container: &mut Launched) {
        let written = container.streams.write_input(&self.input);
        self.input.drain(..written.min(self.input.len()));
    }

    fn accept(&mut self, container: &Launched) {
        // One that has gone again already is no loss.
        let accepted = container
            .listener
            .accept()
            .and_then(|(stream, _)| Connection::new(stream));
        if let Ok(mut connection) = accepted {
            connection.send(&Frame::Started(Started {
                version: VERSION,
                pid: container.pid,
            }));
            self.connections.push(connection);
        }
    }

    /// Reads what a client says and does it.
    fn serve(&mut self, at: usize, container: &mut Launched) {
        let Some(connection) = self.connections.get_mut(at) else {
            return;
        };
        connection.flush();
        if self.input.is_empty() || !connection.hello.input {
            connection.receive();
        }
        while let Some(frame) = connection.next_frame() {
            match frame {
                Frame::Hello(hello) => {
                    if let Some((rows, columns)) = hello.size {
                        container.streams.resize(rows, columns);
                    }
                    connection.hello = hello;
                }
                Frame::Input(bytes) => self.input.extend(bytes),
                Frame::EndOfInput => container.input_ended = true,
                Frame::Resize(rows, columns) => container.streams.resize(rows, columns),
                Frame::Signal(number) => container.signal(number.into()),
                // What only a shim says means nothing here.
                _ => {}
            }
        }
        if connection.gone && connection.hello.input {
            container.input_ended = true;
        }
        self.pass_input_on(container);
    }

    /// Lets clients go that are gone, and the input with the one that gave it.
    fn forget_gone(&mut self, container: &mut Launched) {
        self.connections.retain(|connection| !connection.gone);
        if container.input_ended && self.input.is_empty() {
            container.input_ended = false;
            container.streams.end_input();
        }
    }

    fn tell_all(&mut self, frame: &Frame) {
        for connection in &mut self.connections {
            connection.send(frame);
        }
    }

    /// Sends the last frame, and all that waits, to everybody, however long they take to read it.
    pub(super) fn farewell(mut self, frame: &Frame) {
        self.tell_all(frame);
        loop {
            self.connections
                .retain(|connection| !connection.gone && connection.wants_to_write());
            if self.connections.is_empty() {
                return;
            }
            let fds = self
                .connections
                .iter()
                .map(|one| PollFd::from_borrowed_fd(one.fd(), PollFlags::OUT));
            let mut polled: Vec<_> = fds.collect();
            let _ = poll(&mut polled, None);
            self.connections.iter_mut().for_each(Connection::flush);
        }
    }
}

fn readable(fd: BorrowedFd<'_>) -> PollFd<'_> {
    PollFd::from_borrowed_fd(fd, PollFlags::IN)
}

/// Sends a signal to a process that is this one's child and not reaped yet.
pub(super) fn signal_child(pid: i32, number: i32) {
    // One that has ended does not need it any more.
    let signal = Signal::try_from(number);
    let _ = signal.and_then(|signal| kill(Pid::from_raw(pid), signal));
}
