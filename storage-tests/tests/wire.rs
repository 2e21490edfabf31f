//! What the registry answers depends on where its bytes are: blobs in a bucket, asked for over a real socket.
#![expect(clippy::unwrap_used, reason = "tests: a failure is a failed test")]

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use storage_tests::backends::bucket::Bucket;
use storage_tests::backends::{ObjectStoreUnderTest as _, key, s3};
use storage_tests::clauses::metadata::{commit, digest, rule};
use storage_tests::faults::Faults;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use wharf_protocol::digest::{Algorithm, Digest};
use wharf_registry::app::App;
use wharf_registry::blobs::cloud::Patience;
use wharf_registry::blobs::{Blobs, NoJournal};
use wharf_registry::cli::{Places, Serve};
use wharf_registry::clock::{Clock as _, SystemClock};
use wharf_registry::config::Config;
use wharf_registry::http;
use wharf_registry::metadata::{Accounts as _, BlobRows as _, Metadata, Options, SqlMetadata};
use wharf_registry::metrics::{Metrics, Traffic};
use wharf_registry::random::SystemRandom;

/// A registry whose bytes are in a bucket, open to all who pull.
struct Registry {
    bucket: s3::Server,
    metadata: Arc<SqlMetadata>,
    address: String,
    serving: JoinHandle<()>,
    client: reqwest::Client,
    #[expect(dead_code, reason = "held for its Drop")]
    folder: tempfile::TempDir,
}

impl Registry {
    async fn with(settings: &str) -> Self {
        Self::over(settings, s3::Server::blobs).await
    }

    /// As [`with`](Self::with), over another store of the bucket.
    async fn over(settings: &str, store: impl FnOnce(&s3::Server) -> Arc<dyn Blobs>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config.toml");
        std::fs::write(&file, format!("anonymous = \"pull\"\n{settings}")).unwrap();
        let places = Places {
            config: Some(file),
            data_dir: Some(folder.path().join("data").display().to_string()),
            storage: Some("s3://bucket/some/prefix".to_owned()),
            ..Places::default()
        };
        let config = Config::from_layers(&places, &Serve::default(), std::iter::empty()).unwrap();
        std::fs::create_dir(&config.data_dir).unwrap();
        let metadata = SqlMetadata::open(&config.database, Options::default())
            .await
            .unwrap();
        let metadata = Arc::new(metadata);
        let rows: Arc<dyn Metadata> = Arc::clone(&metadata) as _;
        let bucket = s3::start().await;
        let (clock, random) = (Arc::new(SystemClock), Arc::new(SystemRandom));
        let metrics = Arc::new(Metrics::new(clock.now()));
        let app = App::new(config, rows, store(&bucket), clock, random, metrics)
            .await
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let router = http::router(Arc::new(app));
        let serving = http::server::serve(
            listener,
            None,
            http::server::Limits::default(),
            Traffic::default(),
            router,
            std::future::pending(),
        );
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .unwrap();
        Self {
            bucket,
            metadata,
            address,
            serving: tokio::spawn(serving),
            client,
            folder,
        }
    }

    /// Stores a blob in a repository.
    async fn push(&self, repository: &str, content: &Bytes) -> Digest {
        let expected = Digest::of(Algorithm::Sha256, content);
        let bytes = Box::pin(futures_util::stream::iter([Ok(content.clone())]));
        let stored = self
            .bucket
            .blobs()
            .put(key(), bytes, u64::MAX, &expected, &NoJournal)
            .await
            .unwrap();
        let mut row = commit(repository, "");
        row.digest = expected.clone();
        row.object_key = stored.key.to_string();
        row.size = stored.size;
        self.metadata.commit_blob(row).await.unwrap();
        expected
    }

    fn ask(&self, method: &str, repository: &str, blob: &Digest) -> reqwest::RequestBuilder {
        let url = format!("http://{}/v2/{repository}/blobs/{blob}", self.address);
        self.client.request(method.parse().unwrap(), url)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

#[tokio::test]
async fn a_get_goes_to_the_bucket_by_repository_and_network() {
    let registry = Registry::with(
        "redirects = [\"open/**\", \"team/**@10.0.0.0/8\"]\ntrusted_proxies = [\"127.0.0.0/8\"]",
    )
    .await;
    let content = Bytes::from_static(b"0123456789");
    for repository in ["open/app", "team/app", "kept/app"] {
        registry.push(repository, &content).await;
    }
    let blob = digest("0123456789");
    let get = async |repository: &str, from: &str| {
        let request = registry
            .ask("GET", repository, &blob)
            .header("x-forwarded-for", from);
        request.send().await.unwrap()
    };
    for (repository, from, status) in [
        ("open/app", "192.0.2.1", 307),
        ("team/app", "10.1.2.3", 307),
        ("team/app", "192.0.2.1", 200),
        ("kept/app", "10.1.2.3", 200),
    ] {
        let answer = get(repository, from).await;
        assert_eq!(answer.status(), status, "{repository} for {from}");
        assert_eq!(answer.headers()["docker-content-digest"], blob.as_str());
        if status == 200 {
            assert_eq!(answer.bytes().await.unwrap(), content);
            continue;
        }
        assert_eq!(answer.headers()["content-length"], "0");
        // Without credentials, straight from the bucket.
        let url = answer.headers()["location"].to_str().unwrap().to_owned();
        assert!(!url.contains(&registry.address), "{url}");
        assert_eq!(reqwest::get(&url).await.unwrap().bytes().await.unwrap(), content);
        let part = registry
            .client
            .get(&url)
            .header("range", "bytes=2-4")
            .send()
            .await
            .unwrap();
        assert_eq!(
            (part.status().as_u16(), part.bytes().await.unwrap()),
            (206, content.slice(2..5))
        );
    }
}

#[tokio::test]
async fn what_the_bucket_cannot_answer_is_not_redirected() {
    let registry = Registry::with("redirects = \"**\"").await;
    let content = Bytes::from(vec![7_u8; 200_000]);
    let blob = registry.push("a/b", &content).await;
    let ask = async |method: &str, headers: &[(&str, &str)]| {
        let mut request = registry.ask(method, "a/b", &blob);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.send().await.unwrap()
    };
    let known = format!("\"{blob}\"");
    for (range, status) in [("bytes=2-100000", 307), ("bytes=1000-", 307), ("bytes=0-1", 206)] {
        assert_eq!(ask("GET", &[("range", range)]).await.status(), status, "{range}");
    }
    let head = ask("HEAD", &[]).await;
    assert_eq!(
        (head.status().as_u16(), &head.headers()["content-length"]),
        (200, &"200000".parse().unwrap())
    );
    assert_eq!(ask("GET", &[("range", "bytes=0-1,4-5")]).await.status(), 206);
    assert_eq!(ask("GET", &[("range", "bytes=200000-")]).await.status(), 416);
    assert_eq!(
        ask("GET", &[("range", "bytes=0-1"), ("if-range", &known)])
            .await
            .status(),
        206
    );
    assert_eq!(ask("GET", &[("if-none-match", &known)]).await.status(), 304);
    let empty = registry.push("a/b", &Bytes::new()).await;
    assert_eq!(
        registry.ask("GET", "a/b", &empty).send().await.unwrap().status(),
        200
    );
}

#[tokio::test]
async fn several_ranges_come_from_the_bucket_part_by_part() {
    let registry = Registry::with("").await;
    let content: Bytes = (0..6_000_000_u32).map(|n| (n / 7).to_le_bytes()[0]).collect();
    let blob = registry.push("a/b", &content).await;
    let ranges = "bytes=0-9,1000-1999,2000000-5000000,5999999-";
    let request = registry.ask("GET", "a/b", &blob).header("range", ranges);
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status(), 206);
    let content_type = answer.headers()["content-type"].to_str().unwrap().to_owned();
    let boundary = content_type
        .strip_prefix("multipart/byteranges; boundary=")
        .unwrap();
    let length = answer.headers()["content-length"].to_str().unwrap().parse();
    let body = answer.bytes().await.unwrap();
    assert_eq!(length, Ok(body.len()));
    let mut expected = Vec::new();
    for (first, last) in [
        (0, 9),
        (1000, 1999),
        (2_000_000, 5_000_000),
        (5_999_999, 5_999_999),
    ] {
        let line = if expected.is_empty() { "" } else { "\r\n" };
        let head = format!(
            "{line}--{boundary}\r\nContent-Type: application/octet-stream\r\n\
             Content-Range: bytes {first}-{last}/6000000\r\n\r\n"
        );
        expected.extend_from_slice(head.as_bytes());
        expected.extend_from_slice(&content[first..=last]);
    }
    expected.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
    assert!(body == expected);
}

#[tokio::test]
async fn a_bucket_says_how_large_chunks_should_be_and_takes_smaller_ones() {
    let registry = Registry::with("").await;
    let everything = rule("anonymous", "**", "*");
    registry.metadata.grant(everything).await.unwrap();
    let at = |path: &str| format!("http://{}{path}", registry.address);
    let begun = registry
        .client
        .post(at("/v2/a/b/blobs/uploads/"))
        .send()
        .await
        .unwrap();
    assert_eq!(begun.status(), 202);
    let least = begun.headers()["oci-chunk-min-length"].to_str().unwrap();
    // What S3 takes for a part that is not the last one.
    assert!(least.parse::<u64>().unwrap() >= 5 << 20, "{least}");
    let upload = at(begun.headers()["location"].to_str().unwrap());
    let content: Bytes = (0..10_000_000_u32).map(|n| (n / 11).to_le_bytes()[0]).collect();
    let mut start = 0;
    for end in [1, 3_000_000, 3_000_001, 9_500_000] {
        let chunk = registry
            .client
            .patch(&upload)
            .header("content-range", format!("{start}-{}", end - 1));
        let taken = chunk.body(content.slice(start..end)).send().await.unwrap();
        assert_eq!(
            (
                taken.status().as_u16(),
                taken.headers()["range"].to_str().unwrap()
            ),
            (202, format!("0-{}", end - 1).as_str())
        );
        start = end;
    }
    // The algorithm is known at the end alone.
    let digest = Digest::of(Algorithm::Sha512, &content);
    let close = registry.client.put(format!("{upload}?digest={digest}"));
    let closed = close.body(content.slice(start..)).send().await.unwrap();
    assert_eq!(closed.status(), 201);
    let got = registry.ask("GET", "a/b", &digest).send().await.unwrap();
    assert_eq!(got.bytes().await.unwrap(), content);
}

#[tokio::test]
async fn a_bucket_that_does_not_answer_is_503_and_says_when_to_come_back() {
    let patience = Patience {
        answer: Duration::from_millis(200),
        repeat_for: Duration::ZERO,
        ..Patience::default()
    };
    // Nobody listens at this port: it was free a moment ago, and is no longer taken.
    let gone = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let nobody = Bucket::with_patience(&format!("http://{gone}"), patience);
    let registry = Registry::over("", |_| nobody.store(Faults::none())).await;
    let blob = registry.push("a/b", &Bytes::from_static(b"hello")).await;
    for range in ["bytes=0-", "bytes=1-2", "bytes=0-1,3-4"] {
        let request = registry.ask("GET", "a/b", &blob).header("range", range);
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 503);
        assert!(answer.headers().contains_key("retry-after"));
        let body = answer.text().await.unwrap();
        assert!(
            body.contains("\"TOOMANYREQUESTS\"") && body.contains("request_id"),
            "{body}"
        );
    }
}

#[tokio::test]
async fn a_part_that_breaks_off_ends_the_answer_before_its_length() {
    let registry = Registry::over("", |server| server.faulty(Faults::cut_reads_after(1000))).await;
    let content = Bytes::from(vec![7; 100_000]);
    let blob = registry.push("a/b", &content).await;
    let request = registry
        .ask("GET", "a/b", &blob)
        .header("range", "bytes=0-9,50-50000,90000-");
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status(), 206);
    assert!(answer.bytes().await.is_err(), "a cut answer looked whole");
}
