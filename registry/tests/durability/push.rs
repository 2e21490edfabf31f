//! Pushing, and a ledger of what was acknowledged.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use reqwest::{Client, Method, RequestBuilder, StatusCode};
use storage_tests::content::content;
use wharf_protocol::digest::{Algorithm, Digest};

use super::server::{PASSWORD, Server};

/// The repository of these tests.
const REPOSITORY: &str = "admin/r";

/// Why a push stopped: the server said so, or went away.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Stopped {
    Refused(StatusCode),
    Gone(String),
}

/// A client of one server.
#[derive(Debug, Clone)]
pub(crate) struct Registry {
    client: Client,
    url: String,
}

/// What was tried, and of that what was acknowledged.
#[derive(Debug, Default)]
pub(crate) struct Ledger(Mutex<Entries>);

#[derive(Debug, Default)]
struct Entries {
    blobs: BTreeMap<String, Entry>,
    /// By tag.
    manifests: BTreeMap<String, Entry>,
}

#[derive(Debug, Clone)]
struct Entry {
    bytes: Vec<u8>,
    acknowledged: bool,
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    Digest::of(Algorithm::Sha256, bytes).to_string()
}

impl Registry {
    pub(crate) fn of(server: &Server) -> Self {
        Self {
            client: Client::builder().no_proxy().build().unwrap(),
            url: server.url(),
        }
    }

    fn ask(&self, method: Method, path: &str) -> RequestBuilder {
        let url = if path.starts_with("http") {
            path.to_owned()
        } else {
            format!("{}{path}", self.url)
        };
        self.client
            .request(method, url)
            .basic_auth("admin", Some(PASSWORD))
    }

    async fn expect(
        &self,
        request: RequestBuilder,
        wanted: StatusCode,
    ) -> Result<reqwest::Response, Stopped> {
        let answer = request
            .send()
            .await
            .map_err(|gone| Stopped::Gone(gone.to_string()))?;
        if answer.status() == wanted {
            Ok(answer)
        } else {
            Err(Stopped::Refused(answer.status()))
        }
    }

    /// Pushes a blob in one request.
    pub(crate) async fn put_blob(&self, bytes: &[u8]) -> Result<(), Stopped> {
        let path = format!("/v2/{REPOSITORY}/blobs/uploads/?digest={}", sha256(bytes));
        self.expect(
            self.ask(Method::POST, &path).body(bytes.to_vec()),
            StatusCode::CREATED,
        )
        .await?;
        Ok(())
    }

    /// Pushes a blob in a session: half of it by PATCH, half with the closing PUT.
    pub(crate) async fn put_blob_in_pieces(&self, bytes: &[u8]) -> Result<(), Stopped> {
        let begin = self.ask(Method::POST, &format!("/v2/{REPOSITORY}/blobs/uploads/"));
        let place = location(&self.expect(begin, StatusCode::ACCEPTED).await?);
        let (first, second) = bytes.split_at(bytes.len() / 2);
        let append = self.ask(Method::PATCH, &place).body(first.to_vec());
        let place = location(&self.expect(append, StatusCode::ACCEPTED).await?);
        let glue = if place.contains('?') { '&' } else { '?' };
        let close = format!("{place}{glue}digest={}", sha256(bytes));
        self.expect(
            self.ask(Method::PUT, &close).body(second.to_vec()),
            StatusCode::CREATED,
        )
        .await?;
        Ok(())
    }

    async fn put_manifest(&self, tag: &str, manifest: &[u8]) -> Result<(), Stopped> {
        let put = self
            .ask(Method::PUT, &format!("/v2/{REPOSITORY}/manifests/{tag}"))
            .header("Content-Type", "application/vnd.oci.image.manifest.v1+json")
            .body(manifest.to_vec());
        self.expect(put, StatusCode::CREATED).await?;
        Ok(())
    }

    /// Returns what is at a path, `None` if there is nothing. Comes back for a while where it is told to.
    async fn get(&self, path: &str) -> Option<Vec<u8>> {
        let begun = Instant::now();
        loop {
            let ask = self.ask(Method::GET, &format!("/v2/{REPOSITORY}/{path}"));
            let answer = ask.send().await.unwrap();
            match answer.status() {
                StatusCode::OK => return Some(answer.bytes().await.unwrap().to_vec()),
                StatusCode::NOT_FOUND => return None,
                StatusCode::SERVICE_UNAVAILABLE if begun.elapsed() < Duration::from_secs(10) => {
                    assert!(answer.headers().contains_key("Retry-After"), "{answer:?}");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                other => panic!("GET {path}: {other}"),
            }
        }
    }

    pub(crate) async fn blob(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        self.get(&format!("blobs/{}", sha256(bytes))).await
    }

    /// Asks for the list of tags, whatever becomes of it.
    pub(crate) async fn tags_answer(&self) -> reqwest::Response {
        let path = format!("/v2/{REPOSITORY}/tags/list");
        self.ask(Method::GET, &path).send().await.unwrap()
    }

    async fn tags(&self) -> Vec<String> {
        let Some(list) = self.get("tags/list").await else {
            return Vec::new();
        };
        let list: serde_json::Value = serde_json::from_slice(&list).unwrap();
        list["tags"]
            .as_array()
            .unwrap()
            .iter()
            .map(|tag| tag.as_str().unwrap().to_owned())
            .collect()
    }
}

fn location(answer: &reqwest::Response) -> String {
    answer.headers()["Location"].to_str().unwrap().to_owned()
}

impl Ledger {
    /// Pushes an image whose content follows from `seed`: two blobs, one in pieces, and a tagged manifest.
    pub(crate) async fn push_image(&self, registry: &Registry, seed: u64) -> Result<(), Stopped> {
        let size = 1 + (seed.wrapping_mul(7919) % 200_000) as usize;
        let (config, layer) = (content(seed, 300), content(seed + (1 << 40), size));
        let descriptor = |media_type: &str, bytes: &[u8]| serde_json::json!({ "mediaType": media_type, "digest": sha256(bytes), "size": bytes.len() });
        let manifest = serde_json::to_vec(&serde_json::json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": descriptor("application/vnd.oci.image.config.v1+json", &config),
            "layers": [descriptor("application/vnd.oci.image.layer.v1.tar", &layer)],
        }))
        .unwrap();
        let tag = format!("t{seed}");
        self.note(|entries| (&mut entries.blobs, sha256(&config)), &config, false);
        registry.put_blob(&config).await?;
        self.note(|entries| (&mut entries.blobs, sha256(&config)), &config, true);
        self.note(|entries| (&mut entries.blobs, sha256(&layer)), &layer, false);
        registry.put_blob_in_pieces(&layer).await?;
        self.note(|entries| (&mut entries.blobs, sha256(&layer)), &layer, true);
        self.note(|entries| (&mut entries.manifests, tag.clone()), &manifest, false);
        registry.put_manifest(&tag, &manifest).await?;
        self.note(|entries| (&mut entries.manifests, tag.clone()), &manifest, true);
        Ok(())
    }

    fn note(
        &self,
        place: impl FnOnce(&mut Entries) -> (&mut BTreeMap<String, Entry>, String),
        bytes: &[u8],
        acknowledged: bool,
    ) {
        let mut entries = self.0.lock().unwrap();
        let (map, name) = place(&mut entries);
        let entry = map.entry(name).or_insert_with(|| Entry {
            bytes: bytes.to_vec(),
            acknowledged,
        });
        entry.acknowledged |= acknowledged;
    }

    /// How many manifests were acknowledged.
    pub(crate) fn acknowledged(&self) -> usize {
        self.0
            .lock()
            .unwrap()
            .manifests
            .values()
            .filter(|entry| entry.acknowledged)
            .count()
    }

    /// As [`verify`](Self::verify), where another ledger's pushes are there as well.
    pub(crate) async fn verify_beside(&self, other: &Ledger, registry: &Registry) {
        let all = Ledger::default();
        for ledger in [self, other] {
            let entries = ledger.0.lock().unwrap();
            let mut all = all.0.lock().unwrap();
            all.blobs.extend(entries.blobs.clone());
            all.manifests.extend(entries.manifests.clone());
        }
        all.verify(registry).await;
    }

    /// Verifies that all that was acknowledged is there and whole, that what was not is whole or not there, and that
    /// nothing else is there.
    pub(crate) async fn verify(&self, registry: &Registry) {
        let (blobs, manifests) = {
            let entries = self.0.lock().unwrap();
            (entries.blobs.clone(), entries.manifests.clone())
        };
        for (digest, entry) in &blobs {
            judge(digest, entry, registry.get(&format!("blobs/{digest}")).await);
        }
        let tags = registry.tags().await;
        for (tag, entry) in &manifests {
            let there = registry.get(&format!("manifests/{tag}")).await;
            assert_eq!(
                there.is_some(),
                tags.contains(tag),
                "{tag} is listed if it is there"
            );
            judge(tag, entry, there);
            let digest = sha256(&entry.bytes);
            judge(&digest, entry, registry.get(&format!("manifests/{digest}")).await);
        }
        for tag in tags {
            assert!(manifests.contains_key(&tag), "{tag} was never pushed");
        }
    }
}

fn judge(name: &str, entry: &Entry, there: Option<Vec<u8>>) {
    match there {
        Some(bytes) => assert!(bytes == entry.bytes, "{name} is not whole"),
        None => assert!(!entry.acknowledged, "{name} was acknowledged and is gone"),
    }
}
