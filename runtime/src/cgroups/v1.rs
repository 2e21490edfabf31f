//! The files of cgroup v1.

use std::path::Path;

use rustix::io::Errno;

use super::{read, settings::Setting, write};
use crate::{
    error::Error,
    spec::resources::{BlockIo, Cpu, Memory, Resources},
};

/// Gives a new cpuset its parent's processors and memory nodes: an empty one takes no process.
pub(super) fn inherit_cpuset(folder: &Path) -> Result<(), Errno> {
    let parent = folder.parent().ok_or(Errno::NOENT)?;
    for file in ["cpuset.cpus", "cpuset.mems"] {
        if read(folder.join(file))?.trim().is_empty() {
            let mut value = read(parent.join(file))?;
            if value.trim().is_empty() {
                inherit_cpuset(parent)?;
                value = read(parent.join(file))?;
            }
            write(folder.join(file), value.trim())?;
        }
    }
    Ok(())
}

/// What to write, in order.
pub(super) fn settings(resources: &Resources<'_>) -> Result<Vec<Setting>, Error> {
    let mut settings = Vec::new();
    if let Some(memory) = &resources.memory {
        memory_settings(memory, &mut settings);
    }
    if let Some(cpu) = &resources.cpu {
        cpu_settings(cpu, &mut settings);
    }
    if let Some(limit) = resources.pids.and_then(|pids| pids.limit) {
        settings.push(Setting::new(
            "linux.resources.pids.limit",
            "pids",
            "pids.max",
            most_tasks(limit),
        ));
    }
    if let Some(block_io) = &resources.block_io {
        block_io_settings(block_io, &mut settings);
    }
    for limit in &resources.hugepage_limits {
        let file = format!("hugetlb.{}.limit_in_bytes", page_size(&limit.page_size)?);
        settings.push(Setting::new(
            "linux.resources.hugepageLimits",
            "hugetlb",
            file,
            limit.limit,
        ));
    }
    for priority in resources.network.iter().flat_map(|network| &network.priorities) {
        let value = format!("{} {}", &*priority.name, priority.priority);
        settings.push(Setting::new(
            "linux.resources.network.priorities",
            "net_prio",
            "net_prio.ifpriomap",
            value,
        ));
    }
    if let Some(class) = resources.network.as_ref().and_then(|network| network.class_id) {
        settings.push(Setting::new(
            "linux.resources.network.classID",
            "net_cls",
            "net_cls.classid",
            class,
        ));
    }
    rdma_settings(resources, &mut settings);
    Ok(settings)
}

/// RDMA's file is the same on both versions.
pub(super) fn rdma_settings(resources: &Resources<'_>, settings: &mut Vec<Setting>) {
    for (device, limits) in &resources.rdma {
        let mut value = device.to_string();
        for (name, limit) in [
            ("hca_handle", limits.hca_handles),
            ("hca_object", limits.hca_objects),
        ] {
            if let Some(limit) = limit {
                value.push_str(&format!(" {name}={limit}"));
            }
        }
        settings.push(Setting::new("linux.resources.rdma", "rdma", "rdma.max", value));
    }
}

/// A limit of tasks; 0 asks for as few as can be, which is the program itself.
pub(super) fn most_tasks(limit: i64) -> String {
    if limit < 0 {
        "max".to_owned()
    } else {
        limit.max(1).to_string()
    }
}

/// A page size as a part of a file name: `2MB`, `1GB`, `64KB`.
pub(super) fn page_size(text: &str) -> Result<&str, Error> {
    let number = ["KB", "MB", "GB"].iter().find_map(|unit| text.strip_suffix(unit));
    if number.is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())) {
        return Ok(text);
    }
    Err(Error::refused(
        "linux.resources.hugepageLimits",
        format!("{text:?} is no page size, as 2MB is"),
    ))
}

fn memory_settings(memory: &Memory, settings: &mut Vec<Setting>) {
    let mut put =
        |field, file: &str, value: String| settings.push(Setting::new(field, "memory", file, value));
    if let Some(limit) = memory.limit.filter(|limit| *limit != 0) {
        put(
            "linux.resources.memory.limit",
            "memory.limit_in_bytes",
            limit.to_string(),
        );
    }
    if let Some(swap) = memory.swap.filter(|swap| *swap != 0) {
        put(
            "linux.resources.memory.swap",
            "memory.memsw.limit_in_bytes",
            swap.to_string(),
        );
    }
    if let Some(reservation) = memory.reservation.filter(|reservation| *reservation != 0) {
        put(
            "linux.resources.memory.reservation",
            "memory.soft_limit_in_bytes",
            reservation.to_string(),
        );
    }
    if let Some(kernel) = memory.kernel.filter(|kernel| *kernel != 0) {
        put(
            "linux.resources.memory.kernel",
            "memory.kmem.limit_in_bytes",
            kernel.to_string(),
        );
    }
    if let Some(tcp) = memory.kernel_tcp.filter(|tcp| *tcp != 0) {
        put(
            "linux.resources.memory.kernelTCP",
            "memory.kmem.tcp.limit_in_bytes",
            tcp.to_string(),
        );
    }
    // −1 as an unsigned number is how encoders write "as it is".
    if let Some(swappiness) = memory.swappiness.filter(|swappiness| *swappiness != u64::MAX) {
        put(
            "linux.resources.memory.swappiness",
            "memory.swappiness",
            swappiness.to_string(),
        );
    }
    if memory.disable_oom_killer {
        put(
            "linux.resources.memory.disableOOMKiller",
            "memory.oom_control",
            "1".to_owned(),
        );
    }
}

fn cpu_settings(cpu: &Cpu<'_>, settings: &mut Vec<Setting>) {
    let mut put = |field, controller, file: &str, value: String| {
        settings.push(Setting::new(field, controller, file, value));
    };
    if let Some(shares) = cpu.shares.filter(|shares| *shares != 0) {
        put(
            "linux.resources.cpu.shares",
            "cpu",
            "cpu.shares",
            shares.to_string(),
        );
    }
    if let Some(period) = cpu.period.filter(|period| *period != 0) {
        put(
            "linux.resources.cpu.period",
            "cpu",
            "cpu.cfs_period_us",
            period.to_string(),
        );
    }
    if let Some(quota) = cpu.quota.filter(|quota| *quota != 0) {
        put(
            "linux.resources.cpu.quota",
            "cpu",
            "cpu.cfs_quota_us",
            quota.to_string(),
        );
    }
    if let Some(burst) = cpu.burst {
        put(
            "linux.resources.cpu.burst",
            "cpu",
            "cpu.cfs_burst_us",
            burst.to_string(),
        );
    }
    if let Some(idle) = cpu.idle {
        put("linux.resources.cpu.idle", "cpu", "cpu.idle", idle.to_string());
    }
    if let Some(period) = cpu.realtime_period.filter(|period| *period != 0) {
        put(
            "linux.resources.cpu.realtimePeriod",
            "cpu",
            "cpu.rt_period_us",
            period.to_string(),
        );
    }
    if let Some(runtime) = cpu.realtime_runtime.filter(|runtime| *runtime != 0) {
        put(
            "linux.resources.cpu.realtimeRuntime",
            "cpu",
            "cpu.rt_runtime_us",
            runtime.to_string(),
        );
    }
    if let Some(cpus) = cpu.cpus.as_deref().filter(|cpus| !cpus.is_empty()) {
        put(
            "linux.resources.cpu.cpus",
            "cpuset",
            "cpuset.cpus",
            cpus.to_owned(),
        );
    }
    if let Some(mems) = cpu.mems.as_deref().filter(|mems| !mems.is_empty()) {
        put(
            "linux.resources.cpu.mems",
            "cpuset",
            "cpuset.mems",
            mems.to_owned(),
        );
    }
}

fn block_io_settings(block_io: &BlockIo, settings: &mut Vec<Setting>) {
    let mut put = |field, file: &str, value: String| settings.push(Setting::new(field, "blkio", file, value));
    if let Some(weight) = block_io.weight.filter(|weight| *weight != 0) {
        put(
            "linux.resources.blockIO.weight",
            "blkio.bfq.weight",
            weight.to_string(),
        );
    }
    if let Some(weight) = block_io.leaf_weight.filter(|weight| *weight != 0) {
        put(
            "linux.resources.blockIO.leafWeight",
            "blkio.leaf_weight",
            weight.to_string(),
        );
    }
    for device in &block_io.weight_device {
        if let Some(weight) = device.weight {
            let value = format!("{}:{} {weight}", device.major, device.minor);
            put(
                "linux.resources.blockIO.weightDevice",
                "blkio.bfq.weight_device",
                value,
            );
        }
        if let Some(weight) = device.leaf_weight {
            let value = format!("{}:{} {weight}", device.major, device.minor);
            put(
                "linux.resources.blockIO.weightDevice",
                "blkio.leaf_weight_device",
                value,
            );
        }
    }
    let throttles = [
        (
            "linux.resources.blockIO.throttleReadBpsDevice",
            "read_bps",
            &block_io.throttle_read_bps_device,
        ),
        (
            "linux.resources.blockIO.throttleWriteBpsDevice",
            "write_bps",
            &block_io.throttle_write_bps_device,
        ),
        (
            "linux.resources.blockIO.throttleReadIOPSDevice",
            "read_iops",
            &block_io.throttle_read_iops_device,
        ),
        (
            "linux.resources.blockIO.throttleWriteIOPSDevice",
            "write_iops",
            &block_io.throttle_write_iops_device,
        ),
    ];
    for (field, kind, devices) in throttles {
        for device in devices {
            let value = format!("{}:{} {}", device.major, device.minor, device.rate);
            put(field, &format!("blkio.throttle.{kind}_device"), value);
        }
    }
}
