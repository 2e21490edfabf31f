//! Manifests that are read often, by tag and by digest, within a bound of bytes.
//!
//! Only for a process that is alone on its database: it sees every change, since every change is its own.
//!
//! Invariant: what is here was in the database after the last change of its repository that this process answered.
//! A reader notes the count of changes before it asks the database and leaves its answer here only if the count is
//! still the same; a writer raises the count after its commit and before its client is told.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use wharf_protocol::name::RepositoryName;
use wharf_protocol::reference::Reference;

use crate::metadata::StoredManifest;

/// What an entry costs beside its manifest's bytes, about.
const ENTRY_BYTES: usize = 512;

/// See the module's page.
#[derive(Debug)]
pub(super) struct ManifestCache {
    limit_bytes: usize,
    held: RwLock<Held>,
}

#[derive(Debug, Default)]
struct Held {
    changes: u64,
    bytes: usize,
    repositories: HashMap<RepositoryName, HashMap<Reference, Entry>>,
}

#[derive(Debug)]
struct Entry {
    manifest: Arc<StoredManifest>,
    /// Whether it was read since entries were last thrown out.
    used: AtomicBool,
}

impl Entry {
    fn cost(&self) -> usize {
        ENTRY_BYTES + self.manifest.bytes.len()
    }
}

impl ManifestCache {
    /// Holds so many bytes at most; with 0 it holds nothing.
    pub(super) fn new(limit_bytes: usize) -> Self {
        Self {
            limit_bytes,
            held: RwLock::default(),
        }
    }

    /// Finds a manifest.
    pub(super) fn get(&self, name: &RepositoryName, reference: &Reference) -> Option<Arc<StoredManifest>> {
        let held = self.held.read().unwrap_or_else(PoisonError::into_inner);
        let entry = held.repositories.get(name)?.get(reference)?;
        // Reading first spares the other processors a contended write.
        if !entry.used.load(Ordering::Relaxed) {
            entry.used.store(true, Ordering::Relaxed);
        }
        Some(Arc::clone(&entry.manifest))
    }

    /// Returns the count of changes, to be noted before the database is asked.
    pub(super) fn changes(&self) -> u64 {
        self.held.read().unwrap_or_else(PoisonError::into_inner).changes
    }

    /// Keeps what the database answered, unless something has changed since `changes` was noted.
    pub(super) fn put(
        &self,
        changes: u64,
        name: &RepositoryName,
        reference: &Reference,
        manifest: &Arc<StoredManifest>,
    ) {
        let entry = Entry {
            manifest: Arc::clone(manifest),
            used: AtomicBool::new(true),
        };
        if entry.cost() > self.limit_bytes / 8 {
            return;
        }
        let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
        if held.changes != changes {
            return;
        }
        held.make_room(self.limit_bytes.saturating_sub(entry.cost()));
        held.bytes += entry.cost();
        let replaced = held
            .repositories
            .entry(name.clone())
            .or_default()
            .insert(reference.clone(), entry);
        held.bytes -= replaced.map_or(0, |old| old.cost());
    }

    /// Forgets a repository: after a committed change of it.
    pub(super) fn changed(&self, name: &RepositoryName) {
        let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
        held.changes += 1;
        let gone = held.repositories.remove(name).unwrap_or_default();
        held.bytes -= gone.values().map(Entry::cost).sum::<usize>();
    }
}

impl Held {
    /// Throws out what was not read since the last time; if that is not enough, everything.
    fn make_room(&mut self, limit_bytes: usize) {
        if self.bytes <= limit_bytes {
            return;
        }
        for entries in self.repositories.values_mut() {
            entries.retain(|_, entry| entry.used.swap(false, Ordering::Relaxed));
        }
        self.repositories.retain(|_, entries| !entries.is_empty());
        self.bytes = self
            .repositories
            .values()
            .flat_map(HashMap::values)
            .map(Entry::cost)
            .sum();
        if self.bytes > limit_bytes {
            self.repositories.clear();
            self.bytes = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use wharf_protocol::digest::{Algorithm, Digest};

    use super::*;

    fn manifest(size: usize) -> Arc<StoredManifest> {
        let bytes = Bytes::from(vec![b'x'; size]);
        let digest = Digest::of(Algorithm::Sha256, &bytes);
        Arc::new(StoredManifest {
            digest,
            media_type: "a/b".to_owned(),
            bytes,
        })
    }

    #[test]
    fn an_answer_from_before_a_change_is_not_kept() {
        let cache = ManifestCache::new(1 << 20);
        let (name, tag) = ("a".parse().unwrap(), "t".parse().unwrap());
        let before = cache.changes();
        cache.changed(&name);
        cache.put(before, &name, &tag, &manifest(1));
        assert!(cache.get(&name, &tag).is_none());
        cache.put(cache.changes(), &name, &tag, &manifest(1));
        assert!(cache.get(&name, &tag).is_some());
        cache.changed(&name);
        assert!(cache.get(&name, &tag).is_none());
        assert_eq!(cache.held.read().unwrap().bytes, 0);
    }

    #[test]
    fn its_bytes_are_bounded_and_what_is_read_stays_longest() {
        let cache = ManifestCache::new(100_000);
        let name = "a".parse().unwrap();
        let hot: Reference = "hot".parse().unwrap();
        cache.put(cache.changes(), &name, &hot, &manifest(10));
        for n in 0..1000 {
            cache.get(&name, &hot);
            cache.put(
                cache.changes(),
                &name,
                &format!("t{n}").parse().unwrap(),
                &manifest(1000),
            );
            assert!(cache.held.read().unwrap().bytes <= 100_000);
        }
        cache.put(cache.changes(), &name, &"big".parse().unwrap(), &manifest(50_000));
        assert!(cache.get(&name, &"big".parse().unwrap()).is_none());
    }
}
