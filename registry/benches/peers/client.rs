//! A client that costs as little as it can, so that the servers are what is measured.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

/// One connection to a server.
pub(crate) struct Connection {
    stream: TcpStream,
    address: String,
    /// A header line with the credentials, or nothing.
    authorization: String,
    buffer: Vec<u8>,
}

/// An answer whose body was read and thrown away, but for its first bytes.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) location: Option<String>,
    pub(crate) body_bytes: usize,
    pub(crate) body_start: Vec<u8>,
}

impl Connection {
    pub(crate) fn open(address: &str, authorization: &str) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        Self {
            stream,
            address: address.to_owned(),
            authorization: authorization.to_owned(),
            buffer: vec![0; 1 << 20],
        }
    }

    /// Holds little memory for answers, which are short: for clients by the thousand.
    pub(crate) fn read_little(&mut self) {
        self.buffer = vec![0; 4096];
    }

    /// Sends a request and reads its answer.
    pub(crate) fn ask(&mut self, method: &str, path: &str, headers: &str, body: &[u8]) -> Answer {
        self.send(method, path, headers, body.len());
        self.send_body(body);
        let answer = self.head();
        let mut left = answer.body_bytes - answer.body_start.len();
        while left > 0 {
            let read = self.stream.read(&mut self.buffer).unwrap();
            assert!(read > 0, "the server closed the connection");
            left -= read;
        }
        answer
    }

    /// Sends a request's head alone.
    pub(crate) fn send(&mut self, method: &str, path: &str, headers: &str, body_bytes: usize) {
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\n{}{headers}Content-Length: {body_bytes}\r\n\r\n",
            self.address, self.authorization,
        );
        self.stream.write_all(head.as_bytes()).unwrap();
    }

    /// Sends bytes of a request's body.
    pub(crate) fn send_body(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// Reads an answer's head, and what of its body came with it.
    pub(crate) fn head(&mut self) -> Answer {
        let mut filled = 0;
        let head_end = loop {
            let read = self.stream.read(&mut self.buffer[filled..]).unwrap();
            assert!(read > 0, "the server closed the connection");
            filled += read;
            if let Some(end) = self.buffer[..filled]
                .windows(4)
                .position(|window| window == b"\r\n\r\n")
            {
                break end + 4;
            }
        };
        let head = String::from_utf8_lossy(&self.buffer[..head_end]).into_owned();
        let header = |name: &str| {
            head.lines().find_map(|line| {
                let (key, value) = line.split_once(": ")?;
                key.eq_ignore_ascii_case(name).then(|| value.to_owned())
            })
        };
        let body_bytes = header("content-length").map_or(0, |length| length.parse().unwrap());
        let body_start = self.buffer[head_end..filled].to_vec();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Answer {
            status,
            location: header("location"),
            body_bytes,
            body_start,
        }
    }

    /// Begins an upload; returns its path.
    pub(crate) fn begin_upload(&mut self, repository: &str) -> String {
        let begun = self.ask("POST", &format!("/v2/{repository}/blobs/uploads/"), "", b"");
        assert_eq!(begun.status, 202);
        let place = begun.location.unwrap();
        match place
            .strip_prefix("http://")
            .and_then(|rest| rest.split_once('/'))
        {
            Some((_, path)) => format!("/{path}"),
            None => place,
        }
    }

    /// Pushes a blob: a session, then all of it with the closing PUT.
    pub(crate) fn push(&mut self, repository: &str, digest: &str, bytes: &[u8]) {
        let path = self.begin_upload(repository);
        let glue = if path.contains('?') { '&' } else { '?' };
        let headers = "Content-Type: application/octet-stream\r\n";
        let done = self.ask("PUT", &format!("{path}{glue}digest={digest}"), headers, bytes);
        assert_eq!(done.status, 201, "{}", String::from_utf8_lossy(&done.body_start));
    }

    /// Puts a manifest.
    pub(crate) fn put_manifest(&mut self, repository: &str, tag: &str, manifest: &[u8]) {
        let headers = "Content-Type: application/vnd.oci.image.manifest.v1+json\r\n";
        let done = self.ask(
            "PUT",
            &format!("/v2/{repository}/manifests/{tag}"),
            headers,
            manifest,
        );
        assert_eq!(done.status, 201, "{}", String::from_utf8_lossy(&done.body_start));
    }
}
