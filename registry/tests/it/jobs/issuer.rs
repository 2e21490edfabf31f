//! An issuer of JWTs on this machine, honest or not.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair,
};
use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::StatusCode;
use serde_json::{Value, json};

/// Now, in seconds since 1970.
pub(super) fn now_s() -> i64 {
    jiff::Timestamp::now().as_second()
}

/// A key that signs.
#[derive(Clone)]
pub(super) struct Key {
    id: String,
    pair: Pair,
}

#[derive(Clone)]
enum Pair {
    Ec(Arc<EcdsaKeyPair>),
    Rsa(Arc<RsaKeyPair>),
}

impl Key {
    pub(super) fn es256(id: &str) -> Self {
        let document =
            EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new()).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document.as_ref()).unwrap();
        Self {
            id: id.to_owned(),
            pair: Pair::Ec(Arc::new(pair)),
        }
    }

    pub(super) fn rs256(id: &str) -> Self {
        let pair = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
        Self {
            id: id.to_owned(),
            pair: Pair::Rsa(Arc::new(pair)),
        }
    }

    fn algorithm(&self) -> &'static str {
        match self.pair {
            Pair::Ec(_) => "ES256",
            Pair::Rsa(_) => "RS256",
        }
    }

    fn jwk(&self) -> Value {
        let mut jwk = match &self.pair {
            Pair::Ec(pair) => {
                let point = pair.public_key().as_ref();
                json!({
                    "kty": "EC", "crv": "P-256",
                    "x": URL_SAFE_NO_PAD.encode(&point[1..33]), "y": URL_SAFE_NO_PAD.encode(&point[33..]),
                })
            }
            Pair::Rsa(pair) => json!({
                "kty": "RSA",
                "n": URL_SAFE_NO_PAD.encode(pair.public_key().modulus().big_endian_without_leading_zero()),
                "e": URL_SAFE_NO_PAD.encode(pair.public_key().exponent().big_endian_without_leading_zero()),
            }),
        };
        jwk["kid"] = json!(self.id);
        jwk["use"] = json!("sig");
        jwk["alg"] = json!(self.algorithm());
        jwk
    }

    /// Signs claims as an honest issuer does.
    pub(super) fn sign(&self, claims: &Value) -> String {
        self.sign_under(
            &json!({ "typ": "JWT", "alg": self.algorithm(), "kid": self.id }),
            claims,
        )
    }

    /// Signs, and puts the public key into the header (CVE-2025-24976).
    pub(super) fn sign_with_own_key(&self, claims: &Value) -> String {
        let header = json!({ "typ": "JWT", "alg": self.algorithm(), "kid": self.id, "jwk": self.jwk() });
        self.sign_under(&header, claims)
    }

    fn sign_under(&self, header: &Value, claims: &Value) -> String {
        let signed = format!("{}.{}", encoded(header), encoded(claims));
        let signature = match &self.pair {
            Pair::Ec(pair) => pair
                .sign(&SystemRandom::new(), signed.as_bytes())
                .unwrap()
                .as_ref()
                .to_vec(),
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                let random = SystemRandom::new();
                pair.sign(&RSA_PKCS1_SHA256, &random, signed.as_bytes(), &mut signature)
                    .unwrap();
                signature
            }
        };
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

fn encoded(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

/// A JWT that nobody signed.
pub(super) fn unsigned(claims: &Value) -> String {
    format!(
        "{}.{}.",
        encoded(&json!({ "typ": "JWT", "alg": "none" })),
        encoded(claims)
    )
}

/// Other claims under a signature.
pub(super) fn with_payload(jwt: &str, claims: &Value) -> String {
    let parts: Vec<&str> = jwt.split('.').collect();
    format!("{}.{}.{}", parts[0], encoded(claims), parts[2])
}

/// What a JWT says.
pub(super) fn payload(jwt: &str) -> Value {
    let payload = jwt.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
}

#[derive(Default)]
struct Shared {
    url: String,
    keys: Mutex<Vec<Key>>,
    jwks_uri: Mutex<Option<String>>,
    asked: AtomicU32,
    fails: AtomicBool,
}

/// The issuer, until it is dropped.
pub(super) struct Issuer {
    pub(super) url: String,
    shared: Arc<Shared>,
    serving: tokio::task::JoinHandle<()>,
}

impl Issuer {
    pub(super) async fn start(keys: Vec<Key>) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let shared = Arc::new(Shared {
            url: url.clone(),
            keys: Mutex::new(keys),
            ..Shared::default()
        });
        let router = Router::new()
            .route("/.well-known/openid-configuration", get(describe))
            .route("/keys", get(publish))
            .route("/redirect", get(redirect))
            .with_state(Arc::clone(&shared));
        let serving = tokio::spawn(async move {
            axum::serve(listener, router).await.unwrap();
        });
        Self { url, shared, serving }
    }

    /// How often its keys were asked for.
    pub(super) fn asked(&self) -> u32 {
        self.shared.asked.load(Ordering::SeqCst)
    }

    /// Lets every request fail, or no longer.
    pub(super) fn fail(&self, fails: bool) {
        self.shared.fails.store(fails, Ordering::SeqCst);
    }

    /// Says that the keys are elsewhere.
    pub(super) fn point_at(&self, uri: &str) {
        *self.shared.jwks_uri.lock().unwrap() = Some(uri.to_owned());
    }

    pub(super) fn replace(&self, keys: Vec<Key>) {
        *self.shared.keys.lock().unwrap() = keys;
    }

    pub(super) fn key(&self, id: &str) -> Key {
        let keys = self.shared.keys.lock().unwrap();
        keys.iter().find(|key| key.id == id).unwrap().clone()
    }

    pub(super) fn jwks(&self) -> Value {
        let keys = self.shared.keys.lock().unwrap();
        json!({ "keys": keys.iter().map(Key::jwk).collect::<Vec<_>>() })
    }

    pub(super) fn sign(&self, id: &str, claims: &Value) -> String {
        self.key(id).sign(claims)
    }

    /// Signs under a header with some of its fields changed; a null takes one away.
    pub(super) fn sign_with(&self, id: &str, claims: &Value, changes: Value) -> String {
        let key = self.key(id);
        let mut header = json!({ "typ": "JWT", "alg": key.algorithm(), "kid": id });
        for (name, value) in changes.as_object().unwrap() {
            match value {
                Value::Null => {
                    header.as_object_mut().unwrap().remove(name);
                }
                value => header[name] = value.clone(),
            }
        }
        key.sign_under(&header, claims)
    }

    /// Signs by HS256 with what is no secret: the public key.
    pub(super) fn signed_by_public_key(&self, id: &str, claims: &Value) -> String {
        let jwk = self.key(id).jwk();
        let secret = URL_SAFE_NO_PAD.decode(jwk["n"].as_str().unwrap()).unwrap();
        let signed = format!(
            "{}.{}",
            encoded(&json!({ "typ": "JWT", "alg": "HS256", "kid": id })),
            encoded(claims)
        );
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &secret);
        let tag = aws_lc_rs::hmac::sign(&key, signed.as_bytes());
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(tag.as_ref()))
    }
}

impl Drop for Issuer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn describe(State(shared): State<Arc<Shared>>) -> Response {
    if shared.fails.load(Ordering::SeqCst) {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    let elsewhere = shared.jwks_uri.lock().unwrap().clone();
    let uri = elsewhere.unwrap_or_else(|| format!("{}/keys", shared.url));
    json!({ "issuer": shared.url, "jwks_uri": uri })
        .to_string()
        .into_response()
}

async fn publish(State(shared): State<Arc<Shared>>) -> Response {
    if shared.fails.load(Ordering::SeqCst) {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    shared.asked.fetch_add(1, Ordering::SeqCst);
    let keys = shared.keys.lock().unwrap();
    json!({ "keys": keys.iter().map(Key::jwk).collect::<Vec<_>>() })
        .to_string()
        .into_response()
}

async fn redirect(State(shared): State<Arc<Shared>>) -> Response {
    (StatusCode::FOUND, [("location", format!("{}/keys", shared.url))]).into_response()
}
