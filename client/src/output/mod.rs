//! The only module that prints: data to stdout, all else to stderr.

pub mod help;
pub mod progress;
pub mod table;
pub mod template;
pub mod units;

use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::{Error, Kind, Result};

/// Where a command prints. Clones share the streams.
#[derive(Clone)]
pub struct Output {
    streams: Arc<Mutex<Streams>>,
    terminal: bool,
}

struct Streams {
    data: Box<dyn Write + Send>,
    notes: Box<dyn Write + Send>,
}

impl std::fmt::Debug for Output {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Output")
            .field("terminal", &self.terminal)
            .finish_non_exhaustive()
    }
}

impl Output {
    /// Prints to this process's stdout and stderr.
    pub fn standard() -> Self {
        Self::to(
            Box::new(io::stdout()),
            Box::new(io::stderr()),
            io::stderr().is_terminal(),
        )
    }

    /// Prints to these two; `terminal` says whether progress may redraw the second.
    pub fn to(data: Box<dyn Write + Send>, notes: Box<dyn Write + Send>, terminal: bool) -> Self {
        Self {
            streams: Arc::new(Mutex::new(Streams { data, notes })),
            terminal,
        }
    }

    /// Whether stderr is a terminal.
    pub fn is_terminal(&self) -> bool {
        self.terminal
    }

    /// Whether stdout is a terminal.
    pub fn data_is_terminal(&self) -> bool {
        io::stdout().is_terminal()
    }

    /// Prints data as it is.
    ///
    /// # Errors
    /// [`Kind::ClosedPipe`] when nobody reads any more, else what the stream says.
    pub fn data(&self, text: &str) -> Result<()> {
        self.bytes(text.as_bytes())
    }

    /// Prints a line of data.
    ///
    /// # Errors
    /// As [`Output::data`].
    pub fn line(&self, text: &str) -> Result<()> {
        self.bytes(format!("{text}\n").as_bytes())
    }

    /// Prints bytes of data.
    ///
    /// # Errors
    /// As [`Output::data`].
    pub fn bytes(&self, bytes: &[u8]) -> Result<()> {
        let mut streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        streams
            .data
            .write_all(bytes)
            .and_then(|()| streams.data.flush())
            .map_err(|error| {
                if error.kind() == io::ErrorKind::BrokenPipe {
                    Error::new(Kind::ClosedPipe, "nobody reads the output any more")
                } else {
                    Error::io("write to stdout", error)
                }
            })
    }

    /// Prints a line that is not data: progress, a warning. Nobody listening is no error.
    pub fn note(&self, text: &str) {
        self.note_bytes(format!("{text}\n").as_bytes());
    }

    /// Prints text that is not data, such as a question, without ending the line.
    pub fn note_bytes(&self, bytes: &[u8]) {
        let mut streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        // A note that nobody can read must not end the command.
        drop(
            streams
                .notes
                .write_all(bytes)
                .and_then(|()| streams.notes.flush()),
        );
    }

    /// Prints the error that ends the command.
    pub fn error(&self, error: &Error) {
        self.note(&error.to_string());
    }
}

/// Data as a stream: what `save` writes.
impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        streams.data.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.streams
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .data
            .flush()
    }
}
