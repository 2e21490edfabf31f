//! Somebody who calls the registry, with a connection for each request.

use std::net::SocketAddr;

use bytes::Bytes;
use reqwest::header::HeaderMap;
use reqwest::{Client, Method, RequestBuilder};
use serde_json::{Value, json};
use wharf_protocol::digest::{Algorithm, Digest};
use wharf_protocol::media_type::{OCI_CONFIG, OCI_LAYER_GZIP, OCI_MANIFEST};

use super::PASSWORD;
use crate::content::content;

/// What a caller shows.
#[derive(Debug, Clone)]
pub enum Login {
    /// A name and its password.
    Basic(String, String),
    /// A token.
    Bearer(String),
}

impl Login {
    /// A user with the password of all users.
    pub fn password(user: &str) -> Self {
        Self::Basic(user.to_owned(), PASSWORD.to_owned())
    }
}

/// Somebody who calls one address.
#[derive(Debug, Clone)]
pub struct Caller {
    client: Client,
    address: SocketAddr,
    login: Login,
}

/// A whole answer.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

impl Answer {
    /// Returns a header's text, empty if it isn't there.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// Returns the body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Returns itself if it has this status.
    #[track_caller]
    #[must_use]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{self:?}");
        self
    }
}

impl Caller {
    /// Calls an address.
    pub fn new(address: SocketAddr, login: Login) -> Self {
        let client = Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .pool_max_idle_per_host(0)
            .build()
            .unwrap();
        Self {
            client,
            address,
            login,
        }
    }

    /// Calls the same address, showing something else.
    #[must_use]
    pub fn showing(&self, login: Login) -> Self {
        Self {
            login,
            ..self.clone()
        }
    }

    /// Begins a request to a path, or to a whole URL.
    pub fn ask(&self, method: &str, path: &str) -> RequestBuilder {
        let url = if path.starts_with("http") {
            path.to_owned()
        } else {
            format!("http://{}{path}", self.address)
        };
        let request = self.client.request(method.parse::<Method>().unwrap(), url);
        match &self.login {
            Login::Basic(name, password) => request.basic_auth(name, Some(password)),
            Login::Bearer(token) => request.bearer_auth(token),
        }
    }

    /// Sends a request without a body, which must be answered.
    pub async fn send(&self, method: &str, path: &str) -> Answer {
        answer(self.ask(method, path)).await.unwrap()
    }

    /// GETs a path.
    pub async fn get(&self, path: &str) -> Answer {
        self.send("GET", path).await
    }

    /// Gets a token for scopes, each `TYPE:NAME:ACTIONS`.
    pub async fn token(&self, scopes: &[&str]) -> String {
        let query: String = scopes.iter().map(|scope| format!("&scope={scope}")).collect();
        let answer = self.get(&format!("/token?service=wharf-registry{query}")).await;
        answer.expect(200).json()["token"].as_str().unwrap().to_owned()
    }

    /// POSTs a form, showing nothing but what is in it.
    pub async fn post_form(&self, path: &str, form: String) -> Answer {
        let url = format!("http://{}{path}", self.address);
        let request = self.client.post(url).body(form);
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        answer(request).await.unwrap()
    }

    /// Pushes a blob in one request.
    pub async fn push_blob(&self, name: &str, bytes: &[u8]) -> Digest {
        let digest = sha256(bytes);
        let path = format!("/v2/{name}/blobs/uploads/?digest={digest}");
        let pushed = answer(self.ask("POST", &path).body(bytes.to_vec())).await;
        let _ = pushed.unwrap().expect(201);
        digest
    }

    /// Begins an upload and returns where to go on.
    pub async fn begin(&self, name: &str) -> String {
        let begun = self.send("POST", &format!("/v2/{name}/blobs/uploads/")).await;
        begun.expect(202).header("location").to_owned()
    }

    /// Sends a piece of an upload.
    pub async fn patch(&self, upload: &str, bytes: &[u8]) -> Answer {
        answer(self.ask("PATCH", upload).body(bytes.to_vec()))
            .await
            .unwrap()
    }

    /// Ends an upload with its last piece.
    pub async fn finish(&self, upload: &str, digest: &Digest, bytes: &[u8]) -> Answer {
        let path = with_digest(upload, digest);
        answer(self.ask("PUT", &path).body(bytes.to_vec())).await.unwrap()
    }

    /// Puts a manifest under a tag or its digest, with further headers.
    pub async fn put_manifest(
        &self,
        name: &str,
        reference: &str,
        bytes: &[u8],
        headers: &[(&str, &str)],
    ) -> Answer {
        let document: Value = serde_json::from_slice(bytes).unwrap();
        let path = format!("/v2/{name}/manifests/{reference}");
        let mut request = self.ask("PUT", &path).body(bytes.to_vec());
        request = request.header("content-type", document["mediaType"].as_str().unwrap());
        for (header, value) in headers {
            request = request.header(*header, *value);
        }
        answer(request).await.unwrap()
    }

    /// Pushes an image whose content depends on `seed`, under a tag, and returns its manifest's bytes.
    pub async fn push_image(&self, name: &str, tag: &str, seed: u64) -> Vec<u8> {
        let (config, layer) = (content(seed, 300), content(seed + (1 << 40), 5000));
        self.push_blob(name, &config).await;
        self.push_blob(name, &layer).await;
        let manifest = image(&config, &[&layer]);
        let _ = self.put_manifest(name, tag, &manifest, &[]).await.expect(201);
        manifest
    }
}

/// Adds a digest to an upload's address.
pub fn with_digest(upload: &str, digest: &Digest) -> String {
    let glue = if upload.contains('?') { '&' } else { '?' };
    format!("{upload}{glue}digest={digest}")
}

/// Sends a request and reads its answer.
///
/// # Errors
/// There is no answer, or it breaks off.
pub async fn answer(request: RequestBuilder) -> Result<Answer, reqwest::Error> {
    let response = request.send().await?;
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    Ok(Answer {
        status,
        headers,
        body: response.bytes().await?,
    })
}

/// Returns the digest that registries use.
pub fn sha256(bytes: &[u8]) -> Digest {
    Digest::of(Algorithm::Sha256, bytes)
}

/// Describes bytes as a manifest does.
pub fn descriptor(media_type: &str, bytes: &[u8]) -> Value {
    json!({ "mediaType": media_type, "digest": sha256(bytes), "size": bytes.len() })
}

/// Returns the bytes of an image's manifest.
pub fn image(config: &[u8], layers: &[&[u8]]) -> Vec<u8> {
    let layers: Vec<Value> = layers
        .iter()
        .map(|layer| descriptor(OCI_LAYER_GZIP, layer))
        .collect();
    let document = json!({
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": descriptor(OCI_CONFIG, config),
        "layers": layers,
    });
    serde_json::to_vec(&document).unwrap()
}
