//! Numbers for each value of a label, all of them made beforehand.

use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

use super::{Gauge, Label};
use crate::operation::Kind;

/// A counter for each value of `L`.
#[derive(Debug)]
pub struct Counters<L> {
    cells: Arc<[AtomicU64]>,
    label: PhantomData<fn(L)>,
}

impl<L> Clone for Counters<L> {
    fn clone(&self) -> Self {
        Self {
            cells: Arc::clone(&self.cells),
            label: PhantomData,
        }
    }
}

impl<L: Label> Default for Counters<L> {
    fn default() -> Self {
        Self {
            cells: L::every().map(|_| AtomicU64::new(0)).collect(),
            label: PhantomData,
        }
    }
}

impl<L: Label> Counters<L> {
    /// Counts one.
    pub fn inc(&self, label: L) {
        self.add(label, 1);
    }

    /// Counts several.
    pub fn add(&self, label: L, count: u64) {
        if let Some(cell) = self.cells.get(label.index()) {
            cell.fetch_add(count, Ordering::Relaxed);
        }
    }
}

impl<L: Label> EncodeMetric for Counters<L> {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> std::fmt::Result {
        for (label, cell) in L::every().zip(&*self.cells) {
            let count = cell.load(Ordering::Relaxed);
            if count == 0 && !L::SHOWN_AT_NOUGHT {
                continue;
            }
            encoder
                .encode_family(&label.pairs())?
                .encode_counter::<NoLabelSet, _, u64>(&count, None)?;
        }
        Ok(())
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Counter
    }
}

/// The upper bounds of the durations that are told apart, in microseconds: from an answer out of memory to a layer
/// over a slow line.
const BOUNDS_US: [u64; 12] = [
    500,
    1_000,
    5_000,
    10_000,
    50_000,
    100_000,
    500_000,
    1_000_000,
    5_000_000,
    15_000_000,
    60_000_000,
    300_000_000,
];

/// A histogram of durations for each kind of operation.
#[derive(Debug, Clone)]
pub struct Durations(Arc<[Histogram]>);

#[derive(Debug, Default)]
struct Histogram {
    /// How many were within each bound but not within the one before.
    within: [AtomicU64; BOUNDS_US.len()],
    longer: AtomicU64,
    sum_us: AtomicU64,
}

impl Default for Durations {
    fn default() -> Self {
        Self(Kind::EVERY.iter().map(|_| Histogram::default()).collect())
    }
}

impl Durations {
    /// Counts one.
    pub fn observe(&self, kind: Kind, took: Duration) {
        if let Some(histogram) = self.0.get(kind as usize) {
            histogram.observe(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
        }
    }
}

impl Histogram {
    fn observe(&self, us: u64) {
        let bound = BOUNDS_US.iter().position(|bound| us <= *bound);
        let cell = bound
            .and_then(|bound| self.within.get(bound))
            .unwrap_or(&self.longer);
        cell.fetch_add(1, Ordering::Relaxed);
        self.sum_us.fetch_add(us, Ordering::Relaxed);
    }
}

impl EncodeMetric for Durations {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> std::fmt::Result {
        let seconds = |us| Duration::from_micros(us).as_secs_f64();
        for (kind, histogram) in Kind::EVERY.iter().zip(&*self.0) {
            let bounds = BOUNDS_US.iter().map(|bound| seconds(*bound));
            let mut buckets: Vec<(f64, u64)> = bounds
                .zip(&histogram.within)
                .map(|(bound, cell)| (bound, cell.load(Ordering::Relaxed)))
                .collect();
            buckets.push((f64::INFINITY, histogram.longer.load(Ordering::Relaxed)));
            // The sum of what was read, so that it agrees with the buckets while others count on.
            let count = buckets.iter().map(|(_, count)| count).sum();
            if count == 0 {
                continue;
            }
            let sum = seconds(histogram.sum_us.load(Ordering::Relaxed));
            encoder
                .encode_family(&[("operation", kind.name())])?
                .encode_histogram::<NoLabelSet>(sum, count, &buckets, None)?;
        }
        Ok(())
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}

/// One more in a gauge, for as long as it lives.
#[derive(Debug)]
pub struct Present(Gauge);

impl Present {
    /// Counts one until it is dropped.
    pub fn new(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Present {
    fn drop(&mut self) {
        self.0.dec();
    }
}
