//! A client that pushes images and tries again until it is told that they are there, as clients do.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use reqwest::RequestBuilder;
use storage_tests::content::content;
use storage_tests::fleet::Fleet;
use storage_tests::fleet::client::{Answer, Caller, Login, answer, image, sha256, with_digest};
use tokio::task::JoinHandle;
use wharf_protocol::digest::Digest;

use super::ledger::{Ledger, REPOSITORY, Standing};

const MIB: usize = 1 << 20;

/// How long a request may take before it is given up.
const PATIENCE: Duration = Duration::from_secs(20);

/// How often something is tried before the client gives the image up.
const ATTEMPTS: usize = 60;

/// A client.
struct Pusher {
    /// Shows the password, for tokens.
    login: Caller,
    /// Shows the last token.
    caller: Caller,
    ledger: Arc<Ledger>,
    number: u64,
    told: Told,
}

/// How often clients were told what: a status, or nothing at all.
pub(crate) type Told = BTreeMap<String, usize>;

/// Clients that push one image after another through the proxy.
pub(crate) struct Crowd {
    stop: Arc<AtomicBool>,
    pushers: Vec<JoinHandle<Told>>,
}

impl Crowd {
    /// Lets so many clients begin.
    pub(crate) fn of(count: u64, fleet: &Fleet, ledger: &Arc<Ledger>) -> Self {
        let (stop, seeds) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(1)));
        let begin = |number| {
            let login = fleet.caller(Login::password("admin"));
            let mut pusher = Pusher::new(login, Arc::clone(ledger), number);
            let (stop, seeds) = (Arc::clone(&stop), Arc::clone(&seeds));
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    pusher.push(seeds.fetch_add(1, Ordering::Relaxed)).await;
                }
                pusher.told
            })
        };
        let pushers = (0..count).map(begin).collect();
        Self { stop, pushers }
    }

    /// Lets each end what it pushes, and returns what they were told.
    pub(crate) async fn go_home(self) -> Told {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Told::new();
        for pusher in self.pushers {
            for (what, times) in pusher.await.unwrap() {
                *all.entry(what).or_default() += times;
            }
        }
        all
    }
}

/// Why a way to push was left: another must be tried.
struct Lost;

impl Pusher {
    /// Makes a client; `login` shows a password.
    fn new(login: Caller, ledger: Arc<Ledger>, number: u64) -> Self {
        Self {
            caller: login.clone(),
            login,
            ledger,
            number,
            told: Told::new(),
        }
    }

    /// Pushes an image whose content follows from `seed`: a config at once, a layer by one of three ways, a manifest.
    /// Deletes every seventh again.
    async fn push(&mut self, seed: u64) {
        let size = match seed % 4 {
            0 => 9 * MIB + usize::try_from(seed).unwrap(),
            _ => usize::try_from(1 + seed * 7919 % 200_000).unwrap(),
        };
        let (config, layer) = (content(seed, 300), content(seed + (1 << 40), size));
        self.push_blob(&config, 0).await;
        self.push_blob(&layer, seed % 3).await;
        let (tag, manifest) = (format!("t{seed}"), image(&config, &[&layer]));
        let path = format!("/v2/{REPOSITORY}/manifests/{tag}");
        self.ledger.manifest(&tag, &manifest, Standing::Tried);
        let put = self
            .until_told(|caller| {
                let put = caller.ask("PUT", &path).body(manifest.clone());
                put.header("content-type", "application/vnd.oci.image.manifest.v1+json")
            })
            .await;
        assert_eq!(put.status, 201, "{tag}: {put:?}");
        self.ledger.manifest(&tag, &manifest, Standing::There);
        if seed.is_multiple_of(7) {
            self.ledger.manifest(&tag, &manifest, Standing::Leaving);
            let path = format!("/v2/{REPOSITORY}/manifests/{}", sha256(&manifest));
            let gone = self.until_told(|caller| caller.ask("DELETE", &path)).await;
            // 404: an earlier try was done, and its answer lost.
            assert!([202, 404].contains(&gone.status), "{gone:?}");
            self.ledger.manifest(&tag, &manifest, Standing::Gone);
        }
    }

    async fn push_blob(&mut self, bytes: &[u8], way: u64) {
        let digest = sha256(bytes);
        let name = digest.to_string();
        self.ledger.blob(&name, Standing::Tried);
        for _ in 0..ATTEMPTS {
            let pushed = match way {
                0 => self.at_once(&digest, bytes).await,
                // As docker does it: all in one PATCH.
                1 => self.in_pieces(&digest, bytes, bytes.len()).await,
                _ => self.in_pieces(&digest, bytes, bytes.len().div_ceil(3)).await,
            };
            if pushed.is_ok() {
                self.ledger.blob(&name, Standing::There);
                return;
            }
        }
        panic!("{name} could not be pushed in {ATTEMPTS} attempts");
    }

    async fn at_once(&mut self, digest: &Digest, bytes: &[u8]) -> Result<(), Lost> {
        let path = format!("/v2/{REPOSITORY}/blobs/uploads/?digest={digest}");
        let pushed = self
            .until_told(|caller| caller.ask("POST", &path).body(bytes.to_vec()))
            .await;
        assert_eq!(pushed.status, 201, "{pushed:?}");
        Ok(())
    }

    /// Pushes in a session; after a cut it asks how far the session has come, and goes on from there.
    async fn in_pieces(&mut self, digest: &Digest, bytes: &[u8], piece: usize) -> Result<(), Lost> {
        let begun = self
            .until_told(|caller| caller.ask("POST", &format!("/v2/{REPOSITORY}/blobs/uploads/")))
            .await;
        assert_eq!(begun.status, 202, "{begun:?}");
        let session = begun.header("location").to_owned();
        let mut offset = 0;
        while offset < bytes.len() {
            let end = (offset + piece).min(bytes.len());
            let place = format!("{offset}-{}", end - 1);
            let patch = self.caller.ask("PATCH", &session).header("content-range", place);
            match self.once(patch.body(bytes[offset..end].to_vec())).await {
                Some(taken) if taken.status == 202 => offset = end,
                _ => offset = self.how_far(&session).await?,
            }
        }
        let close = with_digest(&session, digest);
        for _ in 0..ATTEMPTS {
            match self.once(self.caller.ask("PUT", &close)).await {
                Some(closed) if closed.status == 201 => return Ok(()),
                Some(closed) if closed.status == 404 => break,
                _ => self.pause().await,
            }
        }
        // The session is gone: an earlier try may have ended it, and its answer was lost.
        let path = format!("/v2/{REPOSITORY}/blobs/{digest}");
        let head = self.until_told(|caller| caller.ask("HEAD", &path)).await;
        if head.status == 200 { Ok(()) } else { Err(Lost) }
    }

    async fn how_far(&mut self, session: &str) -> Result<usize, Lost> {
        self.pause().await;
        let told = self.until_told(|caller| caller.ask("GET", session)).await;
        if told.status != 204 {
            return Err(Lost);
        }
        let end = told.header("range").split('-').nth(1).unwrap_or_default();
        let end: usize = end.parse().unwrap();
        // "0-0" is said of a session without bytes as well; then one byte is sent twice, and refused.
        Ok(if end == 0 { 0 } else { end + 1 })
    }

    /// Sends a request until it is answered with something that trying again does not change.
    async fn until_told(&mut self, request: impl Fn(&Caller) -> RequestBuilder) -> Answer {
        for _ in 0..ATTEMPTS {
            let request = request(&self.caller);
            if let Some(told) = self.once(request).await {
                return told;
            }
            self.pause().await;
        }
        panic!("no answer in {ATTEMPTS} attempts");
    }

    /// Sends a request once. `None`: there was no answer, or one that says to try again.
    async fn once(&mut self, request: RequestBuilder) -> Option<Answer> {
        let told = tokio::time::timeout(PATIENCE, answer(request)).await;
        let what = match &told {
            Ok(Ok(told)) => told.status.to_string(),
            Ok(Err(_)) => "cut off".to_owned(),
            Err(_) => "no answer".to_owned(),
        };
        *self.told.entry(what).or_default() += 1;
        let told = told.ok()?.ok()?;
        match told.status {
            401 => {
                self.log_in().await;
                None
            }
            429 | 500..=599 => None,
            _ => Some(told),
        }
    }

    async fn log_in(&mut self) {
        let path = format!("/token?service=wharf-registry&scope=repository:{REPOSITORY}:pull,push,delete");
        let Ok(told) = answer(self.login.ask("GET", &path)).await else {
            return;
        };
        if told.status == 200 {
            let token = told.json()["token"].as_str().unwrap().to_owned();
            self.caller = self.login.showing(Login::Bearer(token));
        }
    }

    async fn pause(&self) {
        tokio::time::sleep(Duration::from_millis(50 + 10 * self.number)).await;
    }
}
