//! The words between a client and a shim: frames over a Unix stream.
//!
//! A frame is its payload's length (four bytes, big-endian), a kind (one byte), the payload. A kind
//! that the reader does not know is passed over, and a field of a JSON payload too: so a shim of last
//! month's works with today's client, which may ask for [`VERSION`] of [`Hello`] and do without what
//! came later.

use std::io::{self, Read, Write};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// The version of the words below.
pub const VERSION: u32 = 1;

/// A payload is cut at this size by who sends it, and refused above it by who reads it.
pub const PAYLOAD_BYTES_MAX: usize = 1 << 20;

const HEADER_BYTES: usize = 5;

/// What a connection is for; the first frame that a client sends.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The client's [`VERSION`].
    pub version: u32,
    /// Send what the container writes.
    #[serde(default)]
    pub output: bool,
    /// The container's standard input ends when this connection does, or says so.
    #[serde(default)]
    pub input: bool,
    /// The size of the client's terminal: rows, columns.
    #[serde(default)]
    pub size: Option<(u16, u16)>,
}

/// The container runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Started {
    /// The shim's [`VERSION`].
    pub version: u32,
    /// The container's process 1, as the host counts.
    pub pid: i32,
}

/// The container has ended, and nothing of its run is left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exited {
    /// The program's exit code, or 128 and the signal.
    pub code: i32,
    /// What could not be cleaned up.
    #[serde(default)]
    pub problems: Vec<String>,
}

/// One word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// Client: what the connection is for.
    Hello(Hello),
    /// Client: bytes for the container.
    Input(Vec<u8>),
    /// Client: no more bytes will come.
    EndOfInput,
    /// Client: the terminal has so many rows and columns now.
    Resize(u16, u16),
    /// Client: pass this signal on.
    Signal(u8),
    /// Shim: the container runs.
    Started(Started),
    /// Shim: the container could not be started.
    Failed(crate::container::Failure),
    /// Shim: bytes of the container's standard output, or of its terminal.
    Output(Vec<u8>),
    /// Shim: bytes of the container's standard error.
    ErrorOutput(Vec<u8>),
    /// Shim: the container has ended.
    Exited(Exited),
}

impl Frame {
    /// The frame as bytes.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Hello(hello) => frame(1, &json(hello)),
            Self::Input(bytes) => frame(2, bytes),
            Self::EndOfInput => frame(3, &[]),
            Self::Resize(rows, columns) => {
                let [a, b] = rows.to_be_bytes();
                let [c, d] = columns.to_be_bytes();
                frame(4, &[a, b, c, d])
            }
            Self::Signal(number) => frame(5, &[*number]),
            Self::Started(started) => frame(16, &json(started)),
            Self::Failed(failure) => frame(17, &json(failure)),
            Self::Output(bytes) => frame(18, bytes),
            Self::ErrorOutput(bytes) => frame(19, bytes),
            Self::Exited(exited) => frame(20, &json(exited)),
        }
    }

    /// Sends the frame.
    ///
    /// # Errors
    /// What the stream says.
    pub fn send(&self, mut to: impl Write) -> io::Result<()> {
        to.write_all(&self.encode())
    }

    /// `None` for a kind that this program does not know, or a payload that does not fit its kind.
    fn decode(kind: u8, payload: &[u8]) -> Option<Self> {
        Some(match (kind, payload) {
            (1, json) => Self::Hello(parse(json)?),
            (2, bytes) => Self::Input(bytes.to_vec()),
            (3, _) => Self::EndOfInput,
            (4, [a, b, c, d]) => Self::Resize(u16::from_be_bytes([*a, *b]), u16::from_be_bytes([*c, *d])),
            (5, [number]) => Self::Signal(*number),
            (16, json) => Self::Started(parse(json)?),
            (17, json) => Self::Failed(parse(json)?),
            (18, bytes) => Self::Output(bytes.to_vec()),
            (19, bytes) => Self::ErrorOutput(bytes.to_vec()),
            (20, json) => Self::Exited(parse(json)?),
            _ => return None,
        })
    }
}

fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER_BYTES + payload.len());
    bytes.extend(u32::try_from(payload.len()).unwrap_or(u32::MAX).to_be_bytes());
    bytes.push(kind);
    bytes.extend_from_slice(payload);
    bytes
}

fn json(value: &impl Serialize) -> Vec<u8> {
    // These are structs of texts and numbers: they can always be written.
    serde_json::to_vec(value).unwrap_or_default()
}

fn parse<T: DeserializeOwned>(json: &[u8]) -> Option<T> {
    serde_json::from_slice(json).ok()
}

/// Cuts a stream of bytes into frames.
#[derive(Debug, Default)]
pub struct Reader {
    bytes: Vec<u8>,
}

impl Reader {
    /// Takes in what was read.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The next frame that is there whole, unknown ones left out.
    ///
    /// # Errors
    /// A frame that is longer than [`PAYLOAD_BYTES_MAX`]: the other side does not speak these words.
    pub fn next_frame(&mut self) -> io::Result<Option<Frame>> {
        loop {
            let Some(([a, b, c, d, kind], rest)) = self.bytes.split_first_chunk::<HEADER_BYTES>() else {
                return Ok(None);
            };
            let length = usize::try_from(u32::from_be_bytes([*a, *b, *c, *d])).unwrap_or(usize::MAX);
            if length > PAYLOAD_BYTES_MAX {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "a frame is too long"));
            }
            let Some(payload) = rest.get(..length) else {
                return Ok(None);
            };
            let frame = Frame::decode(*kind, payload);
            self.bytes.drain(..HEADER_BYTES + length);
            if frame.is_some() {
                return Ok(frame);
            }
        }
    }

    /// Reads until a frame is there; `None` at the end of the stream.
    ///
    /// # Errors
    /// What the stream says, and as [`next_frame`](Self::next_frame).
    pub fn read_frame(&mut self, mut from: impl Read) -> io::Result<Option<Frame>> {
        loop {
            if let Some(frame) = self.next_frame()? {
                return Ok(Some(frame));
            }
            let mut buffer = [0; 16 * 1024];
            match from.read(&mut buffer) {
                Ok(0) => return Ok(None),
                Ok(length) => self.feed(buffer.get(..length).unwrap_or_default()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_word_comes_back_as_it_was_sent_however_the_stream_is_cut() {
        let words = [
            Frame::Hello(Hello {
                version: VERSION,
                output: true,
                input: true,
                size: Some((24, 80)),
            }),
            Frame::Input(b"ls\n".to_vec()),
            Frame::EndOfInput,
            Frame::Resize(50, 132),
            Frame::Signal(15),
            Frame::Started(Started {
                version: VERSION,
                pid: 42,
            }),
            Frame::Failed(crate::container::Failure {
                code: 127,
                text: "not found".to_owned(),
            }),
            Frame::Output(vec![0; 70_000]),
            Frame::ErrorOutput(Vec::new()),
            Frame::Exited(Exited {
                code: 137,
                problems: vec!["a link is left".to_owned()],
            }),
        ];
        let stream: Vec<u8> = words.iter().flat_map(Frame::encode).collect();
        for size in [1, 7, 4096, stream.len()] {
            let (mut reader, mut read) = (Reader::default(), Vec::new());
            for chunk in stream.chunks(size) {
                reader.feed(chunk);
                while let Some(frame) = reader.next_frame().unwrap() {
                    read.push(frame);
                }
            }
            assert_eq!(read, words);
        }
    }

    #[test]
    fn a_newer_word_and_a_newer_field_are_passed_over() {
        let mut reader = Reader::default();
        reader.feed(&frame(99, b"later"));
        reader.feed(&frame(1, br#"{"version":2,"output":true,"later":[1]}"#));
        let hello = Hello {
            version: 2,
            output: true,
            ..Hello::default()
        };
        assert_eq!(reader.next_frame().unwrap(), Some(Frame::Hello(hello)));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
            let mut reader = Reader::default();
            reader.feed(&bytes);
            while let Ok(Some(_)) = reader.next_frame() {}
        }
    }
}
