//! What the registry counts of its own work, and the page that shows it to Prometheus.
//!
//! Counting is adding to a number that was there before: no lock and no memory, whatever comes, since the most frequent
//! request pays for it too. Each label is an enum, so that the page has a size that no client can change: what clients
//! name (repositories, tags, digests, users, addresses) is never a label.
//!
//! A metric is declared once, in [`Metrics::new`], with its name and what it means; whoever does the work counts it.
//!
//! What this module must not know: how a request is answered.

mod count;
mod label;
mod process;
#[cfg(test)]
mod tests;

use std::error::Error;
use std::fmt;

use prometheus_client::encoding::{prometheus_text, text};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Metric, Registry, Unit};

pub use prometheus_client::metrics::counter::Counter;
pub use prometheus_client::metrics::gauge::Gauge;

pub use self::count::{Counters, Durations, Present};
pub use self::label::{
    BadLogin, Fault, Label, Lookup, Method, Request, Status, StorageError, Store, Sweep, UploadEvent,
};
use crate::clock::Timestamp;
use crate::metadata;

/// What the page's names begin with, but for those that every program has.
const PREFIX: &str = "wharf_registry";

/// All that is counted.
#[derive(Debug)]
pub struct Metrics {
    /// Answers.
    pub requests: Counters<Request>,
    /// How long answers took.
    pub durations: Durations,
    /// What moves on connections.
    pub traffic: Traffic,
    /// What became of uploads.
    pub uploads: Counters<UploadEvent>,
    /// Requests that bring an upload's bytes at present.
    pub uploads_in_progress: Gauge,
    /// Callers whose password or token was not taken.
    pub bad_logins: Counters<BadLogin>,
    /// Tokens given out.
    pub tokens_issued: Counter,
    /// Failures of the database and of the storage.
    pub storage_errors: Counters<StorageError>,
    /// How often a row was remembered.
    pub row_lookups: Counters<Lookup>,
    /// Rounds of the sweep.
    pub sweeps: Counters<Sweep>,
    /// Objects that no row pointed at, which it removed.
    pub objects_removed: Counter,
    page: Registry,
}

/// What moves on the connections of one listener.
#[derive(Debug, Clone, Default)]
pub struct Traffic {
    /// Connections that are open.
    pub open: Gauge,
    /// Connections that were accepted.
    pub accepted: Counter,
    /// Connections ended because nothing moved on them for too long.
    pub timed_out: Counter,
    /// Bytes that came, heads too, without TLS's own.
    pub received: Counter,
    /// Bytes that the system took to send, heads too, without TLS's own.
    pub sent: Counter,
}

/// How a page is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// OpenMetrics 1.0, which Prometheus asks for.
    OpenMetrics,
    /// Prometheus' own older text, which everything reads.
    Text,
}

impl Format {
    /// Returns the page's `Content-Type`.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Text => prometheus_text::CONTENT_TYPE,
        }
    }
}

impl Metrics {
    /// Makes all of them, at nought, for a process that started at `started`.
    pub fn new(started: Timestamp) -> Self {
        let mut page = Registry::default();
        page.register_collector(Box::new(process::Process::new(started)));
        let ours = page.sub_registry_with_prefix(PREFIX);
        ours.register(
            "build",
            "The program",
            Info::new([("version", env!("CARGO_PKG_VERSION"))]),
        );
        Self {
            requests: put(ours, "requests", "Answers, by what was asked for"),
            durations: put_in(
                ours,
                Unit::Seconds,
                "request_duration",
                "From a request's head to its answer's head, with the body that came and without the one that goes",
            ),
            traffic: Traffic::on(ours),
            uploads: put(ours, "uploads", "Uploads that began or ended, by how"),
            uploads_in_progress: put(
                ours,
                "uploads_in_progress",
                "Requests that bring bytes of an upload at present",
            ),
            bad_logins: put(
                ours,
                "logins_failed",
                "Callers whose password or token was not taken",
            ),
            tokens_issued: put(ours, "tokens_issued", "Tokens given out"),
            storage_errors: put(
                ours,
                "storage_errors",
                "Failures of the database and of the storage",
            ),
            row_lookups: put(
                ours,
                "row_lookups",
                "Rows looked for in memory, by whether they were there",
            ),
            sweeps: put(ours, "sweeps", "Rounds of the sweep for what has expired"),
            objects_removed: put(
                ours,
                "objects_removed",
                "Objects that no row pointed at, removed by the sweep",
            ),
            page,
        }
    }

    /// Counts a failure of the database, if that is what is behind the error.
    pub fn database_failed(&self, error: &(dyn Error + 'static)) {
        let mut causes = std::iter::successors(Some(error), |error| (*error).source());
        let behind = causes.find_map(|error| error.downcast_ref::<metadata::Error>());
        if let Some(fault) = behind.and_then(Fault::of_database) {
            self.storage_errors.inc(StorageError {
                store: Store::Metadata,
                fault,
            });
        }
    }

    /// Writes the page.
    ///
    /// # Errors
    /// None that a `String` can have.
    pub fn page(&self, format: Format) -> Result<String, fmt::Error> {
        let mut page = String::new();
        match format {
            Format::OpenMetrics => text::encode(&mut page, &self.page)?,
            Format::Text => prometheus_text::encode(&mut page, &self.page)?,
        }
        Ok(page)
    }
}

impl Traffic {
    fn on(page: &mut Registry) -> Self {
        Self {
            open: put(page, "connections_open", "Connections that are open"),
            accepted: put(page, "connections", "Connections that were accepted"),
            timed_out: put(
                page,
                "connections_timed_out",
                "Connections ended because nothing moved on them for too long",
            ),
            received: put_in(
                page,
                Unit::Bytes,
                "received",
                "What clients sent, without TLS's own bytes",
            ),
            sent: put_in(
                page,
                Unit::Bytes,
                "sent",
                "What clients were sent, without TLS's own bytes",
            ),
        }
    }
}

/// Puts a new metric on the page.
fn put<M: Metric + Clone + Default>(page: &mut Registry, name: &str, help: &str) -> M {
    let metric = M::default();
    page.register(name, help, metric.clone());
    metric
}

/// As [`put`], for a metric with a unit, which its name then ends in.
fn put_in<M: Metric + Clone + Default>(page: &mut Registry, unit: Unit, name: &str, help: &str) -> M {
    let metric = M::default();
    page.register_with_unit(name, help, unit, metric.clone());
    metric
}
