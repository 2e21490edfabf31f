//! What every program's page says of its process, read when it is asked for.

use std::fmt;
use std::fs;
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeGaugeValue, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;
use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, clock_gettime};

use crate::clock::Timestamp;

/// This process, under the names that Prometheus' own libraries give.
#[derive(Debug)]
pub(super) struct Process {
    started: Duration,
}

impl Process {
    pub(super) fn new(started: Timestamp) -> Self {
        let ms = u64::try_from(started.as_millis()).unwrap_or_default();
        Self {
            started: Duration::from_millis(ms),
        }
    }
}

impl Collector for Process {
    fn encode(&self, mut page: DescriptorEncoder<'_>) -> fmt::Result {
        let (seconds, bytes) = (Some(&Unit::Seconds), Some(&Unit::Bytes));
        page.encode_descriptor(
            "process_cpu",
            "Time of processors that was used.",
            seconds,
            MetricType::Counter,
        )?
        .encode_counter::<NoLabelSet, _, u64>(&cpu().as_secs_f64(), None)?;
        let started = self.started.as_secs_f64();
        gauge(
            &mut page,
            "process_start_time",
            "When it started, since 1970.",
            seconds,
            Some(started),
        )?;
        gauge(
            &mut page,
            "process_resident_memory",
            "Memory that is in use.",
            bytes,
            resident_bytes(),
        )?;
        gauge(
            &mut page,
            "process_open_fds",
            "Descriptors that are open.",
            None,
            open_fds(),
        )?;
        let limit = getrlimit(Resource::Nofile).current;
        gauge(
            &mut page,
            "process_max_fds",
            "Descriptors that may be open.",
            None,
            limit,
        )
    }
}

/// Writes a gauge, if the system told its value.
fn gauge<V: EncodeGaugeValue>(
    page: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    unit: Option<&Unit>,
    value: Option<V>,
) -> fmt::Result {
    match value {
        Some(value) => page
            .encode_descriptor(name, help, unit, MetricType::Gauge)?
            .encode_gauge(&value),
        None => Ok(()),
    }
}

fn cpu() -> Duration {
    // A process's own time is never negative.
    Duration::try_from(clock_gettime(ClockId::ProcessCPUTime)).unwrap_or_default()
}

fn resident_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib * 1024)
}

fn open_fds() -> Option<u64> {
    let open = fs::read_dir("/proc/self/fd").ok()?.count();
    // One of them is this look's own.
    u64::try_from(open).ok()?.checked_sub(1)
}
