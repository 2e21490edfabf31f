//! What was tried, what of it was acknowledged, and whether the replicas hold it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use storage_tests::fleet::Fleet;
use storage_tests::fleet::client::{Caller, sha256};

/// The repository of those who keep a ledger.
pub(crate) const REPOSITORY: &str = "team/app";

/// How many things are asked for at once.
const AT_ONCE: usize = 8;

/// Where something stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Standing {
    /// It was sent: it may be there, whole.
    Tried,
    /// It was acknowledged: it must be there.
    There,
    /// Its deletion was sent: it may be there, whole.
    Leaving,
    /// Its deletion was acknowledged: it must be gone.
    Gone,
}

/// By digest for blobs, by tag for manifests.
type Entries = BTreeMap<String, Standing>;

/// A ledger of blobs and manifests.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    blobs: Mutex<Entries>,
    manifests: Mutex<BTreeMap<String, (Standing, Vec<u8>)>>,
}

impl Ledger {
    /// Notes how a blob stands, by its digest.
    pub(crate) fn blob(&self, digest: &str, standing: Standing) {
        let mut blobs = self.blobs.lock().unwrap();
        let entry = blobs.entry(digest.to_owned()).or_insert(standing);
        *entry = standing.max(*entry);
    }

    /// Notes how a tag's manifest stands.
    pub(crate) fn manifest(&self, tag: &str, bytes: &[u8], standing: Standing) {
        let mut manifests = self.manifests.lock().unwrap();
        let entry = manifests
            .entry(tag.to_owned())
            .or_insert_with(|| (standing, bytes.to_vec()));
        entry.0 = standing.max(entry.0);
    }

    /// Counts what was acknowledged.
    pub(crate) fn summary(&self) -> String {
        let blobs = self.blobs.lock().unwrap();
        let manifests = self.manifests.lock().unwrap();
        let count = |wanted| {
            manifests
                .values()
                .filter(|(standing, _)| *standing == wanted)
                .count()
        };
        format!(
            "acknowledged: {} blobs, {} manifests, {} deletions; begun and never acknowledged: {} manifests",
            blobs
                .values()
                .filter(|standing| **standing == Standing::There)
                .count(),
            count(Standing::There),
            count(Standing::Gone),
            count(Standing::Tried) + count(Standing::Leaving),
        )
    }

    /// Verifies on every replica that all that was acknowledged is there with its bytes, that the rest is whole or not
    /// there, and that nothing else is there.
    pub(crate) async fn verify(&self, fleet: &Fleet) {
        for index in 0..fleet.replicas.len() {
            self.verify_at(&fleet.admin_at(index), index).await;
        }
    }

    async fn verify_at(&self, caller: &Caller, index: usize) {
        let blobs = self.blobs.lock().unwrap().clone();
        let checks = stream::iter(blobs).map(|(digest, standing)| async move {
            let got = caller.get(&format!("/v2/{REPOSITORY}/blobs/{digest}")).await;
            match got.status {
                200 if sha256(&got.body).to_string() == digest => Ok(()),
                404 if standing != Standing::There => Ok(()),
                status => Err(format!("replica {index}: {digest} ({standing:?}) is {status}")),
            }
        });
        let verified: Result<Vec<()>, String> = checks.buffer_unordered(AT_ONCE).try_collect().await;
        verified.unwrap();
        let listed = caller
            .get(&format!("/v2/{REPOSITORY}/tags/list"))
            .await
            .expect(200)
            .json();
        let listed: BTreeSet<String> = serde_json::from_value(listed["tags"].clone()).unwrap();
        let manifests = self.manifests.lock().unwrap().clone();
        let unknown: Vec<_> = listed
            .iter()
            .filter(|tag| !manifests.contains_key(*tag))
            .collect();
        assert!(
            unknown.is_empty(),
            "replica {index} lists what was never pushed: {unknown:?}"
        );
        let checks = stream::iter(manifests).map(|(tag, (standing, bytes))| {
            let is_listed = listed.contains(&tag);
            async move {
                for reference in [&tag, &sha256(&bytes).to_string()] {
                    let got = caller.get(&format!("/v2/{REPOSITORY}/manifests/{reference}")).await;
                    let right = match got.status {
                        200 => standing != Standing::Gone && got.body == bytes && is_listed,
                        404 => standing != Standing::There && !is_listed,
                        _ => false,
                    };
                    if !right {
                        let status = got.status;
                        return Err(format!(
                            "replica {index}: {reference} ({tag}, {standing:?}, listed: {is_listed}) is {status}"
                        ));
                    }
                }
                Ok(())
            }
        });
        let verified: Result<Vec<()>, String> = checks.buffer_unordered(AT_ONCE).try_collect().await;
        verified.unwrap();
    }
}
