//! `linux.resources`, which is also what `update` reads.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{Text, nullable};

/// Limits of a cgroup.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Resources<'a> {
    /// Access rules for device nodes, in order.
    #[serde(borrow, default, deserialize_with = "nullable")]
    pub devices: Vec<DeviceRule<'a>>,
    /// Memory.
    #[serde(default)]
    pub memory: Option<Memory>,
    /// Processor time.
    #[serde(borrow, default)]
    pub cpu: Option<Cpu<'a>>,
    /// Number of tasks.
    #[serde(default)]
    pub pids: Option<Pids>,
    /// Disk bandwidth.
    #[serde(default, rename = "blockIO")]
    pub block_io: Option<BlockIo>,
    /// Huge pages.
    #[serde(borrow, default, deserialize_with = "nullable")]
    pub hugepage_limits: Vec<HugepageLimit<'a>>,
    /// Class and priorities of packets.
    #[serde(borrow, default)]
    pub network: Option<Network<'a>>,
    /// RDMA, by device.
    #[serde(borrow, default, deserialize_with = "nullable")]
    pub rdma: BTreeMap<Text<'a>, Rdma>,
    /// Files of the v2 cgroup, by name, written as they are.
    #[serde(borrow, default, deserialize_with = "nullable")]
    pub unified: BTreeMap<Text<'a>, Text<'a>>,
}

/// One access rule.
#[derive(Debug, Deserialize)]
pub struct DeviceRule<'a> {
    /// Allowed, or denied.
    #[serde(default, deserialize_with = "nullable")]
    pub allow: bool,
    /// `a c b`; absent is `a`.
    #[serde(borrow, default, rename = "type")]
    pub kind: Option<Text<'a>>,
    /// Absent is every one.
    #[serde(default)]
    pub major: Option<i64>,
    /// Absent is every one.
    #[serde(default)]
    pub minor: Option<i64>,
    /// Letters out of `rwm`.
    #[serde(borrow, default)]
    pub access: Option<Text<'a>>,
}

/// Memory limits, in bytes; −1 is none.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the specification's own words")]
pub struct Memory {
    pub limit: Option<i64>,
    pub reservation: Option<i64>,
    pub swap: Option<i64>,
    pub kernel: Option<i64>,
    #[serde(rename = "kernelTCP")]
    pub kernel_tcp: Option<i64>,
    pub swappiness: Option<u64>,
    #[serde(rename = "disableOOMKiller", default, deserialize_with = "nullable")]
    pub disable_oom_killer: bool,
    pub use_hierarchy: Option<bool>,
    pub check_before_update: Option<bool>,
}

/// Processor limits.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the specification's own words")]
pub struct Cpu<'a> {
    pub shares: Option<u64>,
    pub quota: Option<i64>,
    pub burst: Option<u64>,
    pub period: Option<u64>,
    pub realtime_runtime: Option<i64>,
    pub realtime_period: Option<u64>,
    #[serde(borrow, default)]
    pub cpus: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub mems: Option<Text<'a>>,
    pub idle: Option<i64>,
}

/// Limit of tasks: above zero a limit, −1 none, 0 as few as can be.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Pids {
    /// The limit; absent leaves it as it is.
    pub limit: Option<i64>,
}

/// Disk bandwidth.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the specification's own words")]
pub struct BlockIo {
    pub weight: Option<u16>,
    pub leaf_weight: Option<u16>,
    #[serde(default, deserialize_with = "nullable")]
    pub weight_device: Vec<WeightDevice>,
    #[serde(default, deserialize_with = "nullable")]
    pub throttle_read_bps_device: Vec<ThrottleDevice>,
    #[serde(default, deserialize_with = "nullable")]
    pub throttle_write_bps_device: Vec<ThrottleDevice>,
    #[serde(default, rename = "throttleReadIOPSDevice", deserialize_with = "nullable")]
    pub throttle_read_iops_device: Vec<ThrottleDevice>,
    #[serde(default, rename = "throttleWriteIOPSDevice", deserialize_with = "nullable")]
    pub throttle_write_iops_device: Vec<ThrottleDevice>,
}

/// A weight for one device.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the specification's own words")]
pub struct WeightDevice {
    pub major: i64,
    pub minor: i64,
    pub weight: Option<u16>,
    pub leaf_weight: Option<u16>,
}

/// A rate for one device.
#[derive(Clone, Debug, Deserialize)]
#[expect(missing_docs, reason = "the specification's own words")]
pub struct ThrottleDevice {
    pub major: i64,
    pub minor: i64,
    pub rate: u64,
}

/// A limit of huge pages of one size.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HugepageLimit<'a> {
    /// `2MB`, `1GB`.
    #[serde(borrow)]
    pub page_size: Text<'a>,
    /// Bytes.
    pub limit: u64,
}

/// Class and priorities of packets.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Network<'a> {
    /// Class of the packets.
    #[serde(rename = "classID")]
    pub class_id: Option<u32>,
    /// Priorities by network device.
    #[serde(borrow, default, deserialize_with = "nullable")]
    pub priorities: Vec<InterfacePriority<'a>>,
}

/// The priority on one network device.
#[derive(Clone, Debug, Deserialize)]
pub struct InterfacePriority<'a> {
    /// The device.
    #[serde(borrow)]
    pub name: Text<'a>,
    /// Its priority.
    pub priority: u32,
}

/// Limits of one RDMA device.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the specification's own words")]
pub struct Rdma {
    pub hca_handles: Option<u32>,
    pub hca_objects: Option<u32>,
}
