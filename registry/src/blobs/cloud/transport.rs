//! How requests reach a bucket: how long each is waited for, how often it is repeated, what its failure means.
//!
//! A cloud answers some requests with "slow down", loses some, and leaves some without any answer. Each request can be
//! repeated (its effect is the same the second time), so it is, for a bounded time; then it is known that the store
//! does not answer *now*, which a client is told in other words than that something is broken.

use std::error::Error;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, StatusCode};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpResponseBody,
    HttpService, ReqwestConnector,
};
use object_store::{ClientOptions, RetryConfig};
use tokio::time::{Instant, Sleep};

/// How long the second attempt waits; each later one waits twice as long, up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// How much is read of an answer that is looked into: one that reports an error, or what became of a POST.
const EXAMINED_BYTES: usize = 1 << 20;

/// What S3 and its like call a bucket that has no space left, apart from the status 507.
const FULL: [&str; 3] = [
    "QuotaExceeded",
    "XMinioStorageFull",
    "XMinioAdminBucketQuotaExceeded",
];

/// What an answer of 200 may say all the same: S3 sends the status of a long work before it has done it.
const FAILED_LATE: [&str; 3] = ["InternalError", "SlowDown", "ServiceUnavailable"];

/// How long a bucket is waited for.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// For an answer to begin, and then for each further piece of it.
    pub answer: Duration,
    /// How many bytes a second a request's body must go at least: it is waited for so much longer.
    pub bytes_per_s: u64,
    /// For how long a request is repeated; a wait that has begun then goes on to its end.
    pub repeat_for: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            answer: Duration::from_secs(15),
            bytes_per_s: 128 << 10,
            repeat_for: Duration::from_secs(20),
        }
    }
}

/// Why a bucket did not do what it was asked, where a caller decides by it.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    /// It has no space left.
    #[error("the bucket is full: {0}")]
    Full(String),
    /// Repeating was in vain.
    #[error("given up after {attempts} attempts, the last of which met {last}")]
    Unavailable {
        /// How many requests were made.
        attempts: u32,
        /// What came of the last.
        last: String,
    },
}

impl Trouble {
    /// Finds the trouble among an error's causes.
    pub(super) fn in_causes<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a Self> {
        let mut cause = Some(error);
        while let Some(error) = cause {
            if let Some(trouble) = error.downcast_ref() {
                return Some(trouble);
            }
            cause = error.source();
        }
        None
    }

    fn error(self) -> HttpError {
        // Of this kind, the client library repeats nothing by itself.
        HttpError::new(HttpErrorKind::Unknown, self)
    }
}

/// Makes clients that are patient within bounds.
#[derive(Debug, Clone, Copy)]
pub struct PatientConnector(pub Patience);

impl PatientConnector {
    /// Returns what keeps the client library from repeating requests by itself.
    pub fn retry(&self) -> RetryConfig {
        RetryConfig {
            max_retries: 0,
            ..RetryConfig::default()
        }
    }
}

impl HttpConnector for PatientConnector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        // That time-out is over a whole answer, so it would cut large objects off.
        let options = options.clone().with_timeout_disabled();
        Ok(HttpClient::new(PatientService {
            client: ReqwestConnector::default().connect(&options)?,
            patience: self.0,
        }))
    }
}

/// A client that repeats requests.
#[derive(Debug)]
struct PatientService {
    client: HttpClient,
    patience: Patience,
}

impl HttpService for PatientService {
    fn call<'a, 'b>(
        &'a self,
        request: HttpRequest,
    ) -> Pin<Box<dyn Future<Output = Result<HttpResponse, HttpError>> + Send + 'b>>
    where
        'a: 'b,
        Self: 'b,
    {
        Box::pin(self.send(request))
    }
}

impl PatientService {
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let repeat_until = Instant::now() + self.patience.repeat_for;
        let mut pause = FIRST_PAUSE;
        let mut attempts = 0;
        loop {
            attempts += 1;
            let last = match self.attempt(&request).await? {
                Attempt::Answered(answer) => return Ok(answer),
                Attempt::Failed(last) => last,
            };
            let pause_now = pause.mul_f64(0.5 + chance());
            if Instant::now() + pause_now >= repeat_until {
                return Err(Trouble::Unavailable { attempts, last }.error());
            }
            tracing::debug!(
                attempts,
                last,
                path = request.uri().path(),
                "a request to the bucket is repeated"
            );
            tokio::time::sleep(pause_now).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Makes a request once. What repeating cannot heal is an error or an answer.
    async fn attempt(&self, request: &HttpRequest) -> Result<Attempt, HttpError> {
        let body_bytes = u64::try_from(request.body().content_length()).unwrap_or(u64::MAX);
        let sending = Duration::from_secs(body_bytes / self.patience.bytes_per_s.max(1));
        let wait = self.patience.answer.saturating_add(sending);
        let answer = match tokio::time::timeout(wait, self.client.execute(request.clone())).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) if may_pass(&error) => return Ok(Attempt::Failed(causes(&error))),
            Ok(Err(error)) => return Err(error),
            Err(_) => return Ok(Attempt::Failed(format!("no answer within {wait:?}"))),
        };
        let (head, body) = answer.into_parts();
        let body = Watched::new(body, self.patience.answer);
        let (status, refused) = (head.status, !head.status.is_success());
        let examined = refused || request.method() == Method::POST;
        if !examined || status.is_redirection() {
            return Ok(Attempt::Answered(HttpResponse::from_parts(
                head,
                HttpResponseBody::new(body),
            )));
        }
        let body = match Limited::new(body, EXAMINED_BYTES).collect().await {
            Ok(body) => body.to_bytes(),
            // Nothing that we ask for is answered at such length; what it is cannot be told.
            Err(error) if error.is::<LengthLimitError>() => Bytes::new(),
            Err(error) => return Ok(Attempt::Failed(error.to_string())),
        };
        let code = code(&body);
        if status == StatusCode::INSUFFICIENT_STORAGE || refused && FULL.contains(&code) {
            return Err(Trouble::Full(format!("{status} {code}")).error());
        }
        let passes = match status {
            StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT => true,
            StatusCode::NOT_IMPLEMENTED => false,
            _ => status.is_server_error() || !refused && FAILED_LATE.contains(&code),
        };
        if passes {
            return Ok(Attempt::Failed(format!("the answer {status} {code}")));
        }
        Ok(Attempt::Answered(HttpResponse::from_parts(head, body.into())))
    }
}

/// What came of a request.
enum Attempt {
    Answered(HttpResponse),
    /// What may be otherwise the next time.
    Failed(String),
}

fn may_pass(error: &HttpError) -> bool {
    match error.kind() {
        HttpErrorKind::Connect
        | HttpErrorKind::Request
        | HttpErrorKind::Timeout
        | HttpErrorKind::Interrupted => true,
        // The kind's enum may grow.
        _ => false,
    }
}

fn causes(error: &HttpError) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// Finds the first `<Code>` of an answer in S3's, Google's or Azure's XML; empty if there is none.
fn code(body: &[u8]) -> &str {
    let text = std::str::from_utf8(body).unwrap_or_default();
    let after = text.split_once("<Code>").map_or("", |(_, after)| after);
    after.split_once("</Code>").map_or("", |(code, _)| code)
}

/// A number from 0 to 1, so that replicas that were refused together do not come back together.
fn chance() -> f64 {
    f64::from(uuid::Uuid::new_v4().as_fields().0) / f64::from(u32::MAX)
}

/// An answer's body, each piece of which must come in time. While nobody asks for a piece no time passes.
struct Watched {
    body: HttpResponseBody,
    wait: Duration,
    waiting: Option<Pin<Box<Sleep>>>,
}

impl Watched {
    fn new(body: HttpResponseBody, wait: Duration) -> Self {
        Self {
            body,
            wait,
            waiting: None,
        }
    }
}

impl Body for Watched {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) {
            self.waiting = None;
            return Poll::Ready(frame);
        }
        let wait = self.wait;
        let waiting = self
            .waiting
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(wait)));
        waiting.as_mut().poll(context).map(|()| {
            let late = format!("the rest of the answer did not come within {wait:?}");
            Some(Err(HttpError::new(
                HttpErrorKind::Timeout,
                std::io::Error::new(std::io::ErrorKind::TimedOut, late),
            )))
        })
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_of_an_answer_is_found() {
        let slow = b"<?xml version=\"1.0\"?><Error><Code>SlowDown</Code><Message>x</Message></Error>";
        assert_eq!(code(slow), "SlowDown");
        for none in ["", "<Code>", "{\"code\":1}", "<Code>cut"] {
            assert_eq!(code(none.as_bytes()), "");
        }
        assert_eq!(code(b"\xff<Code>x</Code>"), "");
    }

    #[test]
    fn trouble_is_found_however_deep_it_lies() {
        let trouble = Trouble::Full("507".to_owned()).error();
        let error = object_store::Error::Generic {
            store: "S3",
            source: Box::new(trouble),
        };
        assert!(matches!(Trouble::in_causes(&error), Some(Trouble::Full(_))));
        let other = std::io::Error::other("something else");
        assert!(Trouble::in_causes(&other).is_none());
    }
}
