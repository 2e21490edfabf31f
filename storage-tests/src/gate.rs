//! A gate before an HTTP server: it lets requests through, or does to some of them what networks and clouds do.
//!
//! It speaks HTTP/1.1 on both sides and changes nothing of what it lets through, so that signatures stay good.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::TryStreamExt as _;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// What happens to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It is answered with this status and S3's error code, and never reaches the server.
    Answer(u16, &'static str),
    /// The server does it, and the connection ends without an answer.
    Lost,
    /// Nothing ever.
    Never,
    /// It waits so long before it goes on.
    Slow(Duration),
    /// The answer's body breaks off after so many bytes.
    Cut(usize),
    /// The answer's body stops after so many bytes, and the connection stays.
    Stall(usize),
}

/// Says what happens to a request: the number of those asked about so far (from 1), its method, its path with query.
pub type Plan = Box<dyn Fn(usize, &Method, &str) -> Option<Fault> + Send + Sync>;

/// A gate before a server.
pub struct Gate {
    address: SocketAddr,
    rules: Arc<Rules>,
    serving: JoinHandle<()>,
}

struct Rules {
    upstream: String,
    /// The present plan, and how many requests it was asked about.
    plan: Mutex<(Plan, usize)>,
}

impl Gate {
    /// Opens a gate before the server at `endpoint` (`http://HOST:PORT`); everything passes.
    pub async fn before(endpoint: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let rules = Arc::new(Rules {
            upstream: endpoint.strip_prefix("http://").unwrap().to_owned(),
            plan: Mutex::new((Box::new(|_, _, _| None), 0)),
        });
        let serving = tokio::spawn(serve(listener, Arc::clone(&rules)));
        Self {
            address,
            rules,
            serving,
        }
    }

    /// Returns where to go instead of to the server.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Lets `plan` decide from now on, and counts anew.
    pub fn follow(&self, plan: impl Fn(usize, &Method, &str) -> Option<Fault> + Send + Sync + 'static) {
        *self.rules.plan.lock().unwrap() = (Box::new(plan), 0);
    }

    /// Lets everything through from now on.
    pub fn heal(&self) {
        self.follow(|_, _, _| None);
    }

    /// Returns how many requests have come since the last plan.
    pub fn requests(&self) -> usize {
        self.rules.plan.lock().unwrap().1
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve(listener: TcpListener, rules: Arc<Rules>) {
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let rules = Arc::clone(&rules);
        connections.spawn(async move {
            let service = service_fn(|request| pass(&rules, request));
            let connection = hyper::server::conn::http1::Builder::new();
            // A fault ends the connection with an error, and so does a client that goes away.
            let _ = connection.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

type Ended = Box<dyn std::error::Error + Send + Sync>;
type Answer = Response<UnsyncBoxBody<Bytes, Ended>>;

async fn pass(rules: &Rules, request: Request<Incoming>) -> Result<Answer, Ended> {
    let target = request.uri().to_string();
    let fault = {
        let mut plan = rules.plan.lock().unwrap();
        plan.1 += 1;
        (plan.0)(plan.1, request.method(), &target)
    };
    match fault {
        Some(Fault::Answer(status, code)) => {
            let body = format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code></Error>");
            // Who is still sending reads no answer.
            let _ = request.into_body().collect().await;
            let answer = Response::builder().status(status);
            let body = Full::new(Bytes::from(body)).map_err(Ended::from);
            return Ok(answer.body(body.boxed_unsync())?);
        }
        Some(Fault::Never) => std::future::pending().await,
        Some(Fault::Slow(wait)) => tokio::time::sleep(wait).await,
        Some(Fault::Lost | Fault::Cut(_) | Fault::Stall(_)) | None => {}
    }
    let stream = TcpStream::connect(&rules.upstream).await?;
    let (mut upstream, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let (head, body) = upstream.send_request(request).await?.into_parts();
    if fault == Some(Fault::Lost) {
        let _ = body.collect().await;
        return Err("the answer is lost".into());
    }
    let mut left = match fault {
        Some(Fault::Cut(bytes) | Fault::Stall(bytes)) => bytes,
        _ => usize::MAX,
    };
    let stalls = matches!(fault, Some(Fault::Stall(_)));
    let frames = body
        .into_data_stream()
        .map_err(Ended::from)
        .and_then(move |piece| {
            let passes = piece.len() <= left;
            left = left.saturating_sub(piece.len());
            async move {
                match (passes, stalls) {
                    (true, _) => Ok(Frame::data(piece)),
                    (false, true) => std::future::pending().await,
                    (false, false) => Err("cut".into()),
                }
            }
        });
    Ok(Response::from_parts(head, StreamBody::new(frames).boxed_unsync()))
}
