//! A registry of a few lines that answers what a test wants it to, and remembers what it was asked.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use wharf_protocol::media_type;

use super::image::{Image, digest};

/// A request as it arrived.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// Path and query.
    pub(crate) target: String,
    pub(crate) headers: Vec<(String, String)>,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }
}

/// An answer; `cut_after` ends the connection after so many bytes of the body, `stuck` keeps it open then until
/// the client goes away.
#[derive(Debug, Clone, Default)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) cut_after: Option<usize>,
    pub(crate) stuck: bool,
}

impl Answer {
    pub(crate) fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self {
            status,
            body: body.into(),
            ..Self::default()
        }
    }

    pub(crate) fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }
}

type Behaviour = dyn Fn(&Request) -> Answer + Send + Sync;

/// A registry on a port of its own.
pub(crate) struct Registry {
    pub(crate) host: String,
    asked: Arc<Mutex<Vec<Request>>>,
    stop: Arc<AtomicBool>,
    accepting: Option<JoinHandle<()>>,
}

impl Registry {
    pub(crate) fn start(behaviour: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let (asked, stop) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let behaviour: Arc<Behaviour> = Arc::new(behaviour);
        let accepting = std::thread::spawn({
            let (asked, stop) = (Arc::clone(&asked), Arc::clone(&stop));
            move || {
                for stream in listener.incoming() {
                    if stop.load(Ordering::SeqCst) {
                        return;
                    }
                    let (asked, behaviour) = (Arc::clone(&asked), Arc::clone(&behaviour));
                    let stream = stream.unwrap();
                    // A client that goes away in mid-answer is no failure of the registry.
                    std::thread::spawn(move || drop(serve(stream, &asked, &*behaviour)));
                }
            }
        });
        Self {
            host,
            asked,
            stop,
            accepting: Some(accepting),
        }
    }

    /// One that holds images under `app:NAME`.
    pub(crate) fn holding(images: Vec<(&'static str, Image)>) -> Self {
        Self::start(move |request| hold(&images, request))
    }

    /// Every request so far.
    pub(crate) fn asked(&self) -> Vec<Request> {
        self.asked.lock().unwrap().clone()
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(&self.host));
        if let Some(accepting) = self.accepting.take() {
            drop(accepting.join());
        }
    }
}

/// What an honest registry answers.
pub(crate) fn hold(images: &[(&str, Image)], request: &Request) -> Answer {
    let path = request.target.split('?').next().unwrap();
    if let Some(reference) = path.strip_prefix("/v2/app/manifests/") {
        let found = images
            .iter()
            .find(|(tag, image)| *tag == reference || digest(&image.manifest) == reference);
        return found.map_or_else(
            || {
                Answer::new(
                    404,
                    r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}"#,
                )
            },
            |(_, image)| {
                Answer::new(200, image.manifest.clone())
                    .header("Content-Type", media_type::OCI_MANIFEST)
                    .header("Docker-Content-Digest", digest(&image.manifest))
            },
        );
    }
    if let Some(wanted) = path.strip_prefix("/v2/app/blobs/") {
        let blob = images.iter().find_map(|(_, image)| image.blobs.get(wanted));
        return blob.map_or_else(|| Answer::new(404, ""), |blob| part_of(blob, request));
    }
    Answer::new(200, "{}")
}

/// A blob or the range of it that was asked for.
pub(crate) fn part_of(blob: &[u8], request: &Request) -> Answer {
    let from = request
        .header("range")
        .and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok());
    match from {
        Some(from) if from < blob.len() => Answer::new(206, &blob[from..]).header(
            "Content-Range",
            format!("bytes {from}-{}/{}", blob.len() - 1, blob.len()),
        ),
        _ => Answer::new(200, blob),
    }
}

fn serve(stream: TcpStream, asked: &Mutex<Vec<Request>>, behaviour: &Behaviour) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut writer = stream;
    loop {
        let mut line = String::new();
        // What is no HTTP (a TLS handshake) is answered by closing the connection.
        if reader.read_line(&mut line)? == 0 || !line.contains("HTTP/1.1") {
            return Ok(());
        }
        let mut words = line.split_whitespace();
        let (method, target) = (words.next().unwrap().to_owned(), words.next().unwrap().to_owned());
        let mut headers = Vec::new();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            let Some((name, value)) = line.trim().split_once(':') else {
                break;
            };
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let request = Request {
            method,
            target,
            headers,
        };
        let length = request
            .header("content-length")
            .and_then(|length| length.parse().ok())
            .unwrap_or(0);
        std::io::copy(&mut (&mut reader).take(length), &mut std::io::sink())?;
        asked.lock().unwrap().push(request.clone());
        let answer = behaviour(&request);
        let mut head = format!(
            "HTTP/1.1 {} X\r\nContent-Length: {}\r\n",
            answer.status,
            answer.body.len()
        );
        for (name, value) in &answer.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        writer.write_all(format!("{head}\r\n").as_bytes())?;
        if request.method != "HEAD" {
            let body = &answer.body[..answer
                .cut_after
                .unwrap_or(answer.body.len())
                .min(answer.body.len())];
            writer.write_all(body)?;
        }
        if answer.stuck {
            return std::io::copy(&mut reader, &mut std::io::sink()).map(drop);
        }
        if answer.cut_after.is_some() {
            return Ok(());
        }
    }
}
