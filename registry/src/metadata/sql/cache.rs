//! Rows that are remembered, within a bound of bytes.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::metrics::{Counters, Lookup};

/// A map from texts to values that costs at most so many bytes. What has not been asked for lately goes first.
#[derive(Debug)]
pub(super) struct Cache<V> {
    budget: usize,
    lookups: Counters<Lookup>,
    inner: Mutex<Inner<V>>,
}

/// Two maps: what was asked for lately, and what was before that. When the first one is half the budget it becomes the
/// second, and what was left in the second is forgotten. An entry costs no list node and a hit no order.
#[derive(Debug)]
struct Inner<V> {
    recent: HashMap<Box<str>, (V, usize)>,
    older: HashMap<Box<str>, (V, usize)>,
    recent_cost: usize,
    changes: u64,
}

/// A moment in the life of a cache. What was read from the database after it may be remembered if nothing was
/// forgotten since.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Moment(u64);

/// What an entry costs beside its value and key, about.
const OVERHEAD: usize = 96;

impl<V: Clone> Cache<V> {
    /// Makes a cache of `budget` bytes.
    pub(super) fn new(budget: usize, lookups: Counters<Lookup>) -> Self {
        let inner = Inner {
            recent: HashMap::new(),
            older: HashMap::new(),
            recent_cost: 0,
            changes: 0,
        };
        Self {
            budget,
            lookups,
            inner: Mutex::new(inner),
        }
    }

    /// Returns what is remembered under a key.
    pub(super) fn get(&self, key: &str) -> Option<V> {
        let found = self.look_for(key);
        self.lookups.inc(if found.is_some() {
            Lookup::Hit
        } else {
            Lookup::Miss
        });
        found
    }

    fn look_for(&self, key: &str) -> Option<V> {
        let mut inner = self.lock();
        if let Some((value, _)) = inner.recent.get(key) {
            return Some(value.clone());
        }
        let (key, (value, cost)) = inner.older.remove_entry(key)?;
        inner.insert(key, value.clone(), cost, self.budget);
        Some(value)
    }

    /// Returns the present moment: to be taken before the database is read.
    pub(super) fn moment(&self) -> Moment {
        Moment(self.lock().changes)
    }

    /// Remembers what was read after `moment`, unless something was forgotten since: it might be this.
    pub(super) fn remember(&self, moment: Moment, key: &str, value: V, bytes: usize) {
        let cost = bytes.saturating_add(key.len()).saturating_add(OVERHEAD);
        let mut inner = self.lock();
        if inner.changes == moment.0 && cost <= self.budget / 8 {
            inner.insert(key.into(), value, cost, self.budget);
        }
    }

    /// Forgets these keys. What a reader has read before is not remembered after.
    pub(super) fn forget(&self, keys: &[String]) {
        let mut inner = self.lock();
        inner.changes = inner.changes.wrapping_add(1);
        for key in keys {
            inner.older.remove(key.as_str());
            if let Some((_, cost)) = inner.recent.remove(key.as_str()) {
                inner.recent_cost = inner.recent_cost.saturating_sub(cost);
            }
        }
    }

    /// Forgets everything.
    pub(super) fn clear(&self) {
        let mut inner = self.lock();
        inner.changes = inner.changes.wrapping_add(1);
        inner.recent = HashMap::new();
        inner.older = HashMap::new();
        inner.recent_cost = 0;
    }

    fn lock(&self) -> MutexGuard<'_, Inner<V>> {
        // The worst that a panic in between leaves is a cost that is off.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<V> Inner<V> {
    fn insert(&mut self, key: Box<str>, value: V, cost: usize, budget: usize) {
        if self.recent_cost.saturating_add(cost) > budget / 2 {
            self.older = std::mem::take(&mut self.recent);
            self.recent_cost = 0;
        }
        self.older.remove(&key);
        self.recent_cost = self.recent_cost.saturating_add(cost);
        if let Some((_, replaced)) = self.recent.insert(key, (value, cost)) {
            self.recent_cost = self.recent_cost.saturating_sub(replaced);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_stays_and_the_rest_goes_when_the_budget_is_used_up() {
        let cache = Cache::new(8000, Counters::default());
        let moment = cache.moment();
        cache.remember(moment, "kept", 0, 10);
        for number in 1..200 {
            cache.remember(moment, &format!("key {number}"), number, 100);
            assert_eq!(cache.get("kept"), Some(0));
            let inner = cache.lock();
            let cost =
                |map: &HashMap<Box<str>, (i32, usize)>| map.values().map(|(_, cost)| cost).sum::<usize>();
            assert_eq!(cost(&inner.recent), inner.recent_cost);
            assert!(cost(&inner.recent) + cost(&inner.older) <= 8000);
        }
        assert_eq!(cache.get("key 1"), None);
        assert_eq!(cache.get("key 199"), Some(199));
    }

    #[test]
    fn what_was_read_before_a_change_is_not_remembered_after_it() {
        let cache = Cache::new(8000, Counters::default());
        let before = cache.moment();
        cache.forget(&["tag".to_owned()]);
        cache.remember(before, "tag", 1, 1);
        assert_eq!(cache.get("tag"), None);
        cache.remember(cache.moment(), "tag", 2, 1);
        assert_eq!(cache.get("tag"), Some(2));
        cache.clear();
        assert_eq!(cache.get("tag"), None);
    }

    #[test]
    fn what_would_fill_the_cache_alone_is_not_remembered() {
        let cache = Cache::new(8000, Counters::default());
        cache.remember(cache.moment(), "big", 1, 2000);
        assert_eq!(cache.get("big"), None);
    }
}
