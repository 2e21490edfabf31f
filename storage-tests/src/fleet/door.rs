//! One client's way to an S3 server: a socket of its own, whose requests are watched, delayed, refused or lost.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::CONTENT_LENGTH;
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use s3s::service::S3Service;
use s3s::{Body, HttpError};
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};

use super::in_flight::InFlight;
use crate::backends::bucket::ACCESS;

/// What happens to requests on their way.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Trouble {
    /// Nothing.
    None,
    /// They are answered with this status, and never reach the store.
    Status(u16),
    /// They reach the store, which does them, and are answered with this status.
    StatusAfter(u16),
    /// They take so long, and so much longer for each byte of their bodies.
    Slow {
        /// Each request.
        latency: Duration,
        /// The bytes that pass in a second, for each request.
        bytes_per_s: f64,
    },
    /// They are not answered, as long as the trouble lasts: then their connections end.
    Never,
}

/// A way to the server.
#[derive(Debug)]
pub struct Door {
    place: String,
    address: SocketAddr,
    watch: Arc<Watch>,
    serving: Mutex<Option<JoinHandle<()>>>,
}

struct Watch {
    service: S3Service,
    trouble: tokio::sync::watch::Sender<Trouble>,
    in_flight: InFlight,
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watch")
            .field("in_flight", &self.in_flight)
            .finish_non_exhaustive()
    }
}

impl Door {
    /// Opens a door to a server; `place` is the storage's URL without the endpoint.
    pub(super) async fn open(service: S3Service, place: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let door = Self {
            place,
            address: listener.local_addr().unwrap(),
            watch: Arc::new(Watch {
                service,
                trouble: tokio::sync::watch::Sender::new(Trouble::None),
                in_flight: InFlight::default(),
            }),
            serving: Mutex::default(),
        };
        door.serve(listener);
        door
    }

    /// Returns the storage's URL, as `--storage` takes it.
    pub fn url(&self) -> String {
        format!(
            "{}?endpoint=http://{}&region=eu-central-1",
            self.place, self.address
        )
    }

    /// Returns the variables that hold the credentials.
    pub fn credentials(&self) -> [(&'static str, &'static str); 2] {
        [
            ("AWS_ACCESS_KEY_ID", ACCESS.0),
            ("AWS_SECRET_ACCESS_KEY", ACCESS.1),
        ]
    }

    /// Makes trouble from the next request on, or ends it.
    pub fn make(&self, trouble: Trouble) {
        self.watch.trouble.send_replace(trouble);
    }

    /// Returns the requests that are under way: method, path and query of each.
    pub fn in_flight(&self) -> Vec<String> {
        self.watch.in_flight.list()
    }

    /// Waits until a request is under way that `wanted` accepts.
    pub async fn wait_for(&self, wanted: impl Fn(&str) -> bool) {
        self.watch.in_flight.wait_for(wanted).await;
    }

    /// Ends every connection and takes no more, as a server does that is killed. What had come in whole is still done,
    /// and its answer lost.
    pub fn close(&self) {
        if let Some(serving) = self.serving.lock().unwrap().take() {
            serving.abort();
        }
    }

    /// Opens again where it was.
    pub async fn reopen(&self) {
        // What the server had open may hold the address for a moment.
        let listener = loop {
            match TcpListener::bind(self.address).await {
                Ok(listener) => break listener,
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        };
        self.serve(listener);
    }

    fn serve(&self, listener: TcpListener) {
        let watch = Arc::clone(&self.watch);
        let serving = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                stream.set_nodelay(true).unwrap();
                let watch = Arc::clone(&watch);
                connections.spawn(async move {
                    let service = service_fn(move |request| {
                        let watch = Arc::clone(&watch);
                        // In a task of its own: a store carries out what it was asked whole, whoever waits for it.
                        let answer = tokio::spawn(async move { watch.answer(request).await });
                        async move {
                            answer
                                .await
                                .unwrap_or_else(|lost| Err(HttpError::new(Box::new(lost))))
                        }
                    });
                    let connection = hyper::server::conn::http1::Builder::new();
                    // A client that goes away ends its connection with an error; that is its affair.
                    let _ = connection.serve_connection(TokioIo::new(stream), service).await;
                });
                while connections.try_join_next().is_some() {}
            }
        });
        *self.serving.lock().unwrap() = Some(serving);
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.close();
    }
}

impl Watch {
    async fn answer(&self, request: Request<Incoming>) -> Result<Response<Body>, HttpError> {
        let what = request.uri().path_and_query().map_or("/", |path| path.as_str());
        let _call = self.in_flight.begin(format!("{} {what}", request.method()));
        let request = request.map(Body::from);
        let trouble = *self.trouble.borrow();
        match trouble {
            Trouble::None => self.service.call(request).await,
            Trouble::Status(status) => Ok(refusal(status)),
            Trouble::StatusAfter(status) => self.service.call(request).await.map(|_| refusal(status)),
            Trouble::Slow { latency, bytes_per_s } => {
                let upward = takes(request.headers(), bytes_per_s);
                tokio::time::sleep(latency + upward).await;
                let answer = self.service.call(request).await?;
                tokio::time::sleep(takes(answer.headers(), bytes_per_s)).await;
                Ok(answer)
            }
            Trouble::Never => {
                let mut over = self.trouble.subscribe();
                // The sender lives as long as this.
                let _ = over.wait_for(|trouble| *trouble != Trouble::Never).await;
                Err(HttpError::new("the request was lost".into()))
            }
        }
    }
}

/// Returns how long a body takes.
fn takes(headers: &HeaderMap, bytes_per_s: f64) -> Duration {
    let bytes = headers
        .get(CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok());
    let bytes: f64 = bytes.and_then(|bytes| bytes.parse().ok()).unwrap_or_default();
    Duration::from_secs_f64(bytes / bytes_per_s)
}

fn refusal(status: u16) -> Response<Body> {
    let code = if status == 503 {
        "SlowDown"
    } else {
        "InternalError"
    };
    let text =
        format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>injected</Message></Error>");
    let mut answer = Response::new(Body::from(text));
    *answer.status_mut() = StatusCode::from_u16(status).unwrap();
    answer
}
