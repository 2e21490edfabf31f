//! What a process holds.

use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How long a process may take to give back what it no longer needs.
const PATIENCE: Duration = Duration::from_secs(60);

/// Returns the largest resident memory since [`forget_peak`], in bytes.
pub(crate) fn peak_bytes(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap();
    let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse().unwrap();
    kilobytes * 1024
}

/// Begins the peak anew at what is resident now, and returns that.
pub(crate) fn forget_peak(pid: u32) -> u64 {
    std::fs::write(format!("/proc/{pid}/clear_refs"), "5").unwrap();
    peak_bytes(pid)
}

fn open(pid: u32) -> Vec<PathBuf> {
    let open = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    open.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok())
        .collect()
}

/// Returns how many descriptors are open, but for the database's: it opens connections as it needs them, and keeps them.
pub(crate) fn descriptors(pid: u32) -> usize {
    let database = |path: &PathBuf| path.to_string_lossy().contains("/registry.db");
    open(pid).iter().filter(|path| !database(path)).count()
}

/// Returns how many stored objects are open.
pub(crate) fn open_objects(pid: u32) -> usize {
    let object = |path: &&PathBuf| path.to_string_lossy().contains("/storage/blobs/");
    open(pid).iter().filter(object).count()
}

/// Waits until no more descriptors are open than `most`.
pub(crate) async fn descriptors_fall_to(pid: u32, most: usize) {
    let instead = || format!("more than {most} descriptors: {:?}", open(pid));
    until(|| descriptors(pid) <= most, instead).await;
}

/// Waits for a condition; says what is so instead if it does not come.
pub(crate) async fn until(condition: impl Fn() -> bool, instead: impl Fn() -> String) {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < PATIENCE, "{}", instead());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Raises this process's own limit of open files: a test has as many sockets as the server.
pub(crate) fn allow_many_sockets() {
    let mut limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    limit.current = limit.maximum.map_or(Some(65_536), Some);
    rustix::process::setrlimit(rustix::process::Resource::Nofile, limit).unwrap();
}
