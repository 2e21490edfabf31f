//! `/metrics`: who reads it, and that each number on it moves.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use sqlx::{Connection as _, SqliteConnection};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::content::sha256;
use crate::support::server::{Caller, Server, answer};

/// Numbers that no test makes move here: a constant of the process, or a store's failure that takes a broken disk (the
/// unit tests of `metrics` walk those).
const STILL: [&str; 10] = [
    "process_max_fds",
    concat!(
        "wharf_registry_build_info{version=\"",
        env!("CARGO_PKG_VERSION"),
        "\"}"
    ),
    "wharf_registry_storage_errors_total{store=\"blobs\",kind=\"unavailable\"}",
    "wharf_registry_storage_errors_total{store=\"blobs\",kind=\"full\"}",
    "wharf_registry_storage_errors_total{store=\"blobs\",kind=\"writes_stopped\"}",
    "wharf_registry_storage_errors_total{store=\"blobs\",kind=\"other\"}",
    "wharf_registry_storage_errors_total{store=\"metadata\",kind=\"unavailable\"}",
    "wharf_registry_storage_errors_total{store=\"metadata\",kind=\"full\"}",
    "wharf_registry_storage_errors_total{store=\"metadata\",kind=\"writes_stopped\"}",
    "wharf_registry_storage_errors_total{store=\"metadata\",kind=\"damaged\"}",
];

/// The numbers of a page by name and labels.
type Page = BTreeMap<String, f64>;

fn parsed(text: &str) -> Page {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let (series, value) = line.rsplit_once(' ').unwrap();
            (series.to_owned(), value.parse().unwrap())
        })
        .collect()
}

/// Returns where the server shows the page to all, as its log says.
fn open_address(server: &Server) -> SocketAddr {
    let log = server.log();
    let line = log.lines().rfind(|line| line.contains("serving metrics"));
    let (_, address) = line.unwrap().rsplit_once("address=").unwrap();
    address.parse().unwrap()
}

async fn page(address: SocketAddr) -> Page {
    let answer = reqwest::get(format!("http://{address}/metrics")).await.unwrap();
    assert_eq!(answer.status(), 200);
    parsed(&answer.text().await.unwrap())
}

/// Reads the page until a number is as wished.
async fn until(address: SocketAddr, series: &str, wished: impl Fn(f64) -> bool) -> Page {
    let begun = std::time::Instant::now();
    loop {
        let page = page(address).await;
        if page.get(series).is_some_and(|value| wished(*value)) {
            return page;
        }
        assert!(begun.elapsed().as_secs() < 60, "{series}: {page:#?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn the_second_address_shows_the_page_to_all_and_nothing_else() {
    let server = Server::with("metrics_listen = \"127.0.0.1:0\"");
    let url = |path: &str| format!("http://{}{path}", open_address(&server));
    for path in ["/", "/v2/", "/healthz", "/metrics/", "/token"] {
        assert_eq!(reqwest::get(url(path)).await.unwrap().status(), 404, "{path}");
    }
    let client = reqwest::Client::new();
    let posted = client.post(url("/metrics")).send().await.unwrap();
    assert_eq!(
        (posted.status().as_u16(), &posted.headers()["allow"]),
        (405, &"GET, HEAD".parse().unwrap())
    );
    let head = client.head(url("/metrics")).send().await.unwrap();
    assert_eq!(head.status(), 200);
    server
        .nobody()
        .get("/metrics")
        .await
        .is_refused(401, "UNAUTHORIZED");
}

#[tokio::test]
async fn the_page_has_the_form_that_the_reader_asks_for() {
    let server = Server::start();
    let admin = server.admin();
    let text = admin.get("/metrics").await;
    assert_eq!(
        text.header("content-type"),
        "text/plain; version=0.0.4; charset=utf-8"
    );
    // What Prometheus 3 sends.
    let accept = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,text/plain;version=0.0.4;q=0.2,*/*;q=0.1";
    let open = answer(admin.ask("GET", "/metrics").header("accept", accept)).await;
    assert_eq!(
        open.header("content-type"),
        "application/openmetrics-text; version=1.0.0; charset=utf-8"
    );
    assert!(open.body.ends_with(b"# EOF\n"), "{open:?}");
}

/// The first page, and which of its numbers have changed since.
struct Watch {
    first: Page,
    moved: BTreeSet<String>,
}

impl Watch {
    /// Reads the page until a number is as wished, and notes what has changed by then.
    async fn until(&mut self, address: SocketAddr, series: &str, wished: impl Fn(f64) -> bool) {
        let page = until(address, series, wished).await;
        let changed = page
            .into_iter()
            .filter(|(series, value)| self.first.get(series) != Some(value));
        self.moved.extend(changed.map(|(series, _)| series));
    }

    /// Returns what was on the first page and has not changed.
    fn still(&self) -> BTreeSet<&str> {
        let series = self.first.keys().filter(|series| !self.moved.contains(*series));
        series.map(String::as_str).collect()
    }
}

#[tokio::test]
async fn each_number_moves() {
    let mut server = Server::with(
        "metrics_listen = \"127.0.0.1:0\"\nlimits.idle_timeout = \"1s\"\nlimits.login_failures_account = 2",
    );
    let address = open_address(&server);
    let mut watch = Watch {
        first: page(address).await,
        moved: BTreeSet::new(),
    };
    use_everything(&server).await;
    let more = |count| count > 0.0;
    watch.until(address, SWEPT, more).await;
    let upload = server.admin().begin("a/b").await;
    let mut slow = bring_slowly(&server, &upload).await;
    let bringing = "wharf_registry_uploads_in_progress";
    watch.until(address, bringing, |count| count == 1.0).await;
    slow.write_all(b"x").await.unwrap();
    until(address, bringing, |count| count == 0.0).await;
    let idle = TcpStream::connect(server.address()).await.unwrap();
    let timed_out = "wharf_registry_connections_timed_out_total";
    watch.until(address, timed_out, more).await;
    drop(idle);

    server.stop();
    change_rows(&server, EXPIRE).await;
    server.start_again();
    let address = open_address(&server);
    let expired = "wharf_registry_uploads_total{event=\"expired\"}";
    watch.until(address, expired, more).await;
    let removed = "wharf_registry_objects_removed_total";
    watch.until(address, removed, more).await;

    server.stop();
    change_rows(&server, BREAK).await;
    server.start_again();
    watch.until(open_address(&server), SWEEP_FAILED, more).await;

    assert_eq!(watch.still(), BTreeSet::from(STILL));
    for seen in [
        "requests_total{operation=\"none\",method=\"GET\",status=\"4xx\"}",
        "request_duration_seconds_count{operation=\"ReadManifest\"}",
    ] {
        assert!(watch.moved.contains(&format!("wharf_registry_{seen}")), "{seen}");
    }
}

const SWEPT: &str = "wharf_registry_sweeps_total{outcome=\"done\"}";
const SWEEP_FAILED: &str = "wharf_registry_sweeps_total{outcome=\"failed\"}";

/// Makes every upload one that has expired, and names an object that nothing points at.
const EXPIRE: &str = "UPDATE uploads SET expires_ms = 1;
    INSERT INTO dead_objects (object_key, since_ms) VALUES ('blobs/01ARZ3NDEKTSV4RRFFQ69G5FAV', 1)";
/// Takes a table away that the sweep asks.
const BREAK: &str = "ALTER TABLE dead_objects RENAME TO gone";

/// Changes the rows of a server that is stopped.
async fn change_rows(server: &Server, statements: &'static str) {
    let file = server.data_dir().join("registry.db");
    let mut rows = SqliteConnection::connect(&format!("sqlite:{}", file.display()))
        .await
        .unwrap();
    sqlx::raw_sql(statements).execute(&mut rows).await.unwrap();
    rows.close().await.unwrap();
}

/// Makes every number move that a client can make move at once.
async fn use_everything(server: &Server) {
    server.add_user("bob");
    let admin = server.admin();
    admin.push_image("a/b", "t", "1").await;
    for _ in 0..2 {
        assert_eq!(admin.get("/v2/a/b/manifests/t").await.status, 200);
    }
    assert_eq!(admin.get("/nowhere").await.status, 404);
    let cancelled = admin.begin("a/b").await;
    assert_eq!(admin.delete(&cancelled).await.status, 204);
    let mismatched = format!("{}?digest={}", admin.begin("a/b").await, sha256(b"another"));
    let refused = answer(admin.ask("PUT", &mismatched).body("bytes")).await;
    refused.is_refused(400, "DIGEST_INVALID");
    admin.token(&[]).await;
    let wrong = server.user_with("bob", "wrong");
    for status in [401, 401, 429] {
        assert_eq!(wrong.get("/v2/").await.status, status);
    }
    assert_eq!(server.bearer("x").get("/v2/").await.status, 401);
    let lost = admin.push_blob("a/b", b"to be lost").await;
    for object in std::fs::read_dir(server.data_dir().join("storage/blobs")).unwrap() {
        std::fs::remove_file(object.unwrap().path()).unwrap();
    }
    assert_eq!(admin.get(&format!("/v2/a/b/blobs/{lost}")).await.status, 500);
}

/// Sends a PATCH but for its last byte.
async fn bring_slowly(server: &Server, upload: &str) -> TcpStream {
    let path = upload
        .split_once("/v2/")
        .map_or(upload.to_owned(), |(_, path)| format!("/v2/{path}"));
    let request = server.admin().ask("PATCH", &path).build().unwrap();
    let login = request.headers()["authorization"].to_str().unwrap().to_owned();
    let mut stream = TcpStream::connect(server.address()).await.unwrap();
    let head =
        format!("PATCH {path} HTTP/1.1\r\nhost: x\r\nauthorization: {login}\r\ncontent-length: 2\r\n\r\nx");
    stream.write_all(head.as_bytes()).await.unwrap();
    stream
}

#[tokio::test]
async fn what_clients_name_makes_no_number() {
    let server = Server::start();
    let admin = server.admin();
    let names = |round: u32| {
        ["GET", "PROPFIND", "X-OTHER"]
            .map(|method| (method, format!("/v2/name-{round}/app/manifests/tag-{round}")))
    };
    let mut pages = Vec::new();
    for rounds in [0..2, 2..40] {
        for round in rounds {
            admin
                .push_image(&format!("name-{round}/app"), &format!("tag-{round}"), "1")
                .await;
            server
                .user_with(&format!("user-{round}"), "wrong")
                .get("/v2/")
                .await;
            for (method, path) in names(round) {
                answer(admin.ask(method, &path)).await;
            }
        }
        pages.push(text_of(&admin).await);
    }
    let series: Vec<BTreeSet<String>> = pages
        .iter()
        .map(|page| parsed(page).into_keys().collect())
        .collect();
    assert_eq!(series[0], series[1]);
    for word in ["name-", "tag-", "user-", "PROPFIND", "X-OTHER", "sha256", "admin"] {
        assert!(!pages[1].contains(word), "{word}: {}", pages[1]);
    }
}

async fn text_of(admin: &Caller<'_>) -> String {
    // The answer to one scrape is counted by the next one.
    admin.get("/metrics").await;
    String::from_utf8(admin.get("/metrics").await.body.to_vec()).unwrap()
}

#[tokio::test]
async fn bytes_are_counted_as_they_move_not_as_they_are_announced() {
    const BLOB_BYTES: usize = 48 << 20;
    let server = Server::with("metrics_listen = \"127.0.0.1:0\"");
    let (admin, address) = (server.admin(), open_address(&server));
    let sent = |page: &Page| page["wharf_registry_sent_bytes_total"];
    let whole = f64::from(u32::try_from(BLOB_BYTES).unwrap());
    let before = page(address).await;
    let blob = admin.push_blob("a/b", &vec![7; BLOB_BYTES]).await;
    let pushed = page(address).await;
    let received =
        pushed["wharf_registry_received_bytes_total"] - before["wharf_registry_received_bytes_total"];
    assert!((whole..whole + 10_000.0).contains(&received), "{received}");

    let path = format!("/v2/a/b/blobs/{blob}");
    assert_eq!(admin.get(&path).await.body.len(), BLOB_BYTES);
    let pulled = page(address).await;
    let read = sent(&pulled) - sent(&pushed);
    assert!((whole..whole + 10_000.0).contains(&read), "{read}");

    let request = admin.ask("GET", &path).build().unwrap();
    let login = request.headers()["authorization"].to_str().unwrap();
    let mut stream = TcpStream::connect(server.address()).await.unwrap();
    let head = format!("GET {path} HTTP/1.1\r\nhost: x\r\nauthorization: {login}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.read_exact(&mut [0; 4096]).await.unwrap();
    drop(stream);
    // One connection is the caller's own.
    let cut = until(address, "wharf_registry_connections_open", |open| open <= 1.0).await;
    let read = sent(&cut) - sent(&pulled);
    assert!((4096.0..whole / 2.0).contains(&read), "{read}");
}
