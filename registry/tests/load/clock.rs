//! The clock is set back and forward while the registry serves.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use wharf_registry::app::App;
use wharf_registry::auth::basic;
use wharf_registry::blobs::disk::Disk;
use wharf_registry::cli::{Places, Serve};
use wharf_registry::clock::{Clock, SystemClock, Timestamp};
use wharf_registry::config::Config;
use wharf_registry::http;
use wharf_registry::metadata::{Accounts as _, Metadata, NewUser, Options, SqlMetadata, UploadClaim};
use wharf_registry::metrics::{Metrics, Traffic};
use wharf_registry::random::SystemRandom;
use wharf_registry::upkeep::Upkeep;

use crate::support::content::sha256;

const HOUR: i64 = 3_600_000;

/// The machine's clock, and by how much it was set.
#[derive(Debug, Default)]
struct SetClock(AtomicI64);

impl Clock for SetClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(SystemClock.now().as_millis() + self.0.load(Ordering::Relaxed))
    }
}

/// A registry in this process, whose clock can be set.
struct Registry {
    clock: Arc<SetClock>,
    rows: Arc<dyn Metadata>,
    app: Arc<App>,
    upkeep: Upkeep,
    address: std::net::SocketAddr,
    client: reqwest::Client,
    serving: JoinHandle<()>,
    folder: tempfile::TempDir,
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Registry {
    async fn start() -> Self {
        let _ = jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.install_default();
        let folder = tempfile::tempdir().unwrap();
        let places = Places {
            data_dir: Some(folder.path().join("data").display().to_string()),
            ..Places::default()
        };
        let config = Config::from_layers(&places, &Serve::default(), std::iter::empty()).unwrap();
        std::fs::create_dir(&config.data_dir).unwrap();
        let metadata = SqlMetadata::open(&config.database, Options::default())
            .await
            .unwrap();
        let clock = Arc::new(SetClock::default());
        let admin = NewUser {
            name: "admin".to_owned(),
            password_hash: basic::hash("secret").unwrap(),
            admin: true,
            rules: Vec::new(),
        };
        metadata.add_user(admin, clock.now()).await.unwrap();
        let blobs = Arc::new(Disk::open(&folder.path().join("storage")).unwrap());
        let metrics = Arc::new(Metrics::new(clock.now()));
        let rows: Arc<dyn Metadata> = Arc::new(metadata);
        let random = Arc::new(SystemRandom);
        let app = App::new(
            config,
            Arc::clone(&rows),
            blobs,
            Arc::clone(&clock) as _,
            random,
            metrics,
        )
        .await
        .unwrap();
        let app = Arc::new(app);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = http::server::serve(
            listener,
            None,
            http::server::Limits::default(),
            Traffic::default(),
            http::router(Arc::clone(&app)),
            std::future::pending(),
        );
        Self {
            clock,
            rows,
            upkeep: Upkeep::new(Arc::clone(&app)),
            app,
            address,
            client: reqwest::Client::new(),
            serving: tokio::spawn(serving),
            folder,
        }
    }

    /// Sets the clock to so many milliseconds before or after the machine's.
    fn set(&self, offset: i64) {
        self.clock.0.store(offset, Ordering::Relaxed);
    }

    fn ask(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        let url = format!("http://{}{path}", self.address);
        self.client.request(method.parse().unwrap(), url)
    }

    async fn status(&self, request: reqwest::RequestBuilder) -> u16 {
        request.send().await.unwrap().status().as_u16()
    }

    async fn token(&self, offline: bool) -> serde_json::Value {
        let scope = "scope=repository:a/b:pull,push";
        let path = format!("/token?service=wharf-registry&{scope}&offline_token={offline}&client_id=test");
        let answer = self.ask("GET", &path).basic_auth("admin", Some("secret"));
        let answer = answer.send().await.unwrap();
        assert_eq!(answer.status(), 200);
        answer.json().await.unwrap()
    }

    /// Asks for a token with a refresh token.
    async fn refresh(&self, refresh_token: &str) -> u16 {
        let form = format!(
            "grant_type=refresh_token&service=wharf-registry&client_id=test&refresh_token={refresh_token}"
        );
        let request = self.ask("POST", "/token");
        let typed = request.header("content-type", "application/x-www-form-urlencoded");
        self.status(typed.body(form)).await
    }

    async fn begin(&self, token: &str) -> String {
        let begin = self.ask("POST", "/v2/a/b/blobs/uploads/").bearer_auth(token);
        let answer = begin.send().await.unwrap();
        assert_eq!(answer.status(), 202);
        answer.headers()["location"].to_str().unwrap().to_owned()
    }

    async fn patch(&self, token: &str, upload: &str, bytes: &'static str) -> u16 {
        self.status(self.ask("PATCH", upload).bearer_auth(token).body(bytes))
            .await
    }

    async fn finish(&self, token: &str, upload: &str, content: &str) -> u16 {
        let path = format!("{upload}?digest={}", sha256(content.as_bytes()));
        self.status(self.ask("PUT", &path).bearer_auth(token)).await
    }
}

fn text(document: &serde_json::Value, key: &str) -> String {
    document[key].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_set_back_locks_nobody_out_and_loses_no_upload() {
    let registry = Registry::start().await;
    let before = registry.token(true).await;
    let (token, refresh) = (text(&before, "token"), text(&before, "refresh_token"));
    let upload = registry.begin(&token).await;
    assert_eq!(registry.patch(&token, &upload, "first ").await, 202);
    // The replica that writes to another session is killed, with its claim in the row.
    let held = registry.begin(&token).await;
    let claim = UploadClaim {
        id: held.rsplit('/').next().unwrap().to_owned(),
        writer: "killed".to_owned(),
    };
    let (name, now) = ("a/b".parse().unwrap(), registry.clock.now());
    let until = now.plus(Duration::from_secs(60));
    registry
        .rows
        .claim_upload(&name, &claim, now, until)
        .await
        .unwrap();

    registry.set(-5 * HOUR);
    // A new login works at once, by password and by refresh token.
    let token = text(&registry.token(false).await, "token");
    assert_eq!(registry.refresh(&refresh).await, 200);
    assert_eq!(registry.patch(&token, &upload, "second").await, 202);
    assert_eq!(registry.finish(&token, &upload, "first second").await, 201);
    // The session that was held when the clock stood later is not held for five hours more.
    assert_eq!(registry.patch(&token, &held, "whole").await, 202);
    assert_eq!(registry.finish(&token, &held, "whole").await, 201);
    let blob = format!("/v2/a/b/blobs/{}", sha256(b"whole"));
    assert_eq!(
        registry
            .status(registry.ask("GET", &blob).bearer_auth(&token))
            .await,
        200
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_set_forward_and_right_again_ends_no_upload_and_no_refresh_token() {
    let mut registry = Registry::start().await;
    let before = registry.token(true).await;
    let (token, refresh) = (text(&before, "token"), text(&before, "refresh_token"));
    let upload = registry.begin(&token).await;
    assert_eq!(registry.patch(&token, &upload, "first ").await, 202);
    registry.upkeep.sweep().await;

    registry.set(200 * 24 * HOUR);
    registry.upkeep.sweep().await;
    // By this clock all has expired; who logs in again is served.
    assert_eq!(registry.patch(&token, &upload, "x").await, 401);
    let later = text(&registry.token(false).await, "token");
    assert_eq!(registry.patch(&later, &upload, "x").await, 404);
    assert_eq!(registry.refresh(&refresh).await, 401);

    registry.set(0);
    registry.upkeep.sweep().await;
    let token = text(&registry.token(false).await, "token");
    assert_eq!(registry.refresh(&refresh).await, 200);
    assert_eq!(registry.patch(&token, &upload, "second").await, 202);
    assert_eq!(registry.finish(&token, &upload, "first second").await, 201);
}

#[tokio::test(flavor = "multi_thread")]
async fn sweeps_of_several_replicas_at_once_end_every_expired_upload_with_its_bytes() {
    let registry = Registry::start().await;
    let token = text(&registry.token(false).await, "token");
    for _ in 0..250 {
        let upload = registry.begin(&token).await;
        assert_eq!(registry.patch(&token, &upload, "bytes").await, 202);
    }
    let staged = registry.folder.path().join("storage/uploads");
    let files = || std::fs::read_dir(&staged).unwrap().count();
    assert_eq!(files(), 250);
    registry.set(25 * HOUR);
    let sweeps = (0..3).map(|_| {
        let mut replica = Upkeep::new(Arc::clone(&registry.app));
        async move { replica.sweep().await }
    });
    futures_util::future::join_all(sweeps).await;
    assert_eq!(files(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_could_not_be_removed_with_their_upload_are_removed_later() {
    let mut registry = Registry::start().await;
    let token = text(&registry.token(false).await, "token");
    let upload = registry.begin(&token).await;
    assert_eq!(registry.patch(&token, &upload, "bytes").await, 202);
    let staged = registry.folder.path().join("storage/uploads");
    let file = std::fs::read_dir(&staged)
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    // A folder in the file's place cannot be removed as a file is.
    std::fs::rename(&file, registry.folder.path().join("kept")).unwrap();
    std::fs::create_dir(&file).unwrap();
    let cancel = registry.ask("DELETE", &upload).bearer_auth(&token);
    assert_eq!(registry.status(cancel).await, 204);
    assert_eq!(registry.patch(&token, &upload, "x").await, 404);
    registry.upkeep.sweep().await;
    std::fs::remove_dir(&file).unwrap();
    std::fs::rename(registry.folder.path().join("kept"), &file).unwrap();
    registry.upkeep.sweep().await;
    assert!(file.exists(), "it is tried again after a while, not at once");
    registry.set(120_000);
    registry.upkeep.sweep().await;
    assert!(!file.exists());
}
