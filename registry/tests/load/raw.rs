//! A client of HTTP/1.1 that does what no library would.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

use crate::support::server::Server;

/// How long anything may take on a machine that does much else.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

/// A connection.
pub(crate) struct Raw {
    pub(crate) stream: TcpStream,
}

/// An answer, its head as text.
#[derive(Debug)]
pub(crate) struct RawAnswer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl RawAnswer {
    /// Returns a header's text, empty if it isn't there.
    pub(crate) fn header(&self, name: &str) -> &str {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines
            .filter(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
            .next()
            .unwrap_or_default()
    }

    /// Returns the code and the message of the first error.
    pub(crate) fn error(&self) -> (String, String) {
        let document: serde_json::Value =
            serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"));
        let entry = &document["errors"][0];
        let text = |key: &str| entry[key].as_str().unwrap_or_default().to_owned();
        (text("code"), text("message"))
    }
}

impl Raw {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        Self {
            stream: TcpStream::connect(address).await.unwrap(),
        }
    }

    /// Connects with a receive buffer so small that the server notices soon when nothing is read.
    pub(crate) async fn connect_reading_little(address: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        Self {
            stream: socket.connect(address).await.unwrap(),
        }
    }

    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).await.unwrap();
    }

    /// Sends as much as the server takes; it may have ended the connection.
    pub(crate) async fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.stream.write_all(bytes.as_ref()).await.is_ok()
    }

    /// Sends a chunk of a chunked body.
    pub(crate) async fn send_chunk(&mut self, bytes: &[u8]) {
        self.send(chunk(bytes)).await;
    }

    /// Reads the next answer, whose length is announced.
    pub(crate) async fn answer(&mut self) -> RawAnswer {
        tokio::time::timeout(PATIENCE, self.read_answer())
            .await
            .expect("an answer in time")
            .expect("a whole answer")
    }

    async fn read_answer(&mut self) -> Option<RawAnswer> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(self.stream.read_u8().await.ok()?);
        }
        let head = String::from_utf8(head).unwrap();
        let mut answer = RawAnswer {
            status: head.split(' ').nth(1).unwrap().parse().unwrap(),
            head,
            body: Vec::new(),
        };
        if answer.status == 100 {
            return Box::pin(self.read_answer()).await;
        }
        let length = answer.header("content-length").parse().unwrap_or(0);
        answer.body.resize(length, 0);
        self.stream.read_exact(&mut answer.body).await.ok()?;
        Some(answer)
    }

    /// Reads to the end of the connection, however it ends, and returns how many bytes came.
    pub(crate) async fn drain(&mut self) -> usize {
        let mut scratch = vec![0; 64 * 1024];
        let mut all = 0;
        let reading = async {
            while let Ok(bytes) = self.stream.read(&mut scratch).await {
                if bytes == 0 {
                    break;
                }
                all += bytes;
            }
        };
        tokio::time::timeout(PATIENCE, reading)
            .await
            .expect("the connection ends in time");
        all
    }

    /// Ends the connection with a reset.
    pub(crate) fn reset(self) {
        self.stream.set_zero_linger().unwrap();
    }
}

/// Writes a chunk of a chunked body.
pub(crate) fn chunk(bytes: &[u8]) -> Vec<u8> {
    let mut chunk = format!("{:x}\r\n", bytes.len()).into_bytes();
    chunk.extend_from_slice(bytes);
    chunk.extend_from_slice(b"\r\n");
    chunk
}

/// Writes a request's head; `headers` are whole lines.
pub(crate) fn head(method: &str, path: &str, token: &str, headers: &[&str]) -> String {
    let lines: String = headers.iter().map(|line| format!("{line}\r\n")).collect();
    format!("{method} {path} HTTP/1.1\r\nHost: registry\r\nAuthorization: Bearer {token}\r\n{lines}\r\n")
}

/// Asks for something small, on a connection of its own.
pub(crate) async fn is_served(server: &Server) {
    let mut good = Raw::connect(server.address()).await;
    good.send("GET /healthz HTTP/1.1\r\nHost: registry\r\nConnection: close\r\n\r\n")
        .await;
    assert_eq!(good.answer().await.status, 200);
}
