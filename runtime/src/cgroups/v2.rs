//! The files of cgroup v2.

use std::{collections::BTreeMap, path::Path};

use rustix::{fs::Mode, io::Errno};

use super::{
    Hierarchy, Layout, read,
    settings::Setting,
    v1::{most_tasks, page_size, rdma_settings},
    write,
};
use crate::{
    error::{Doing, Error},
    spec::{
        Text,
        resources::{BlockIo, Cpu, Memory, Resources},
    },
};

/// The controllers that the machine's v2 hierarchy has.
pub(super) fn controllers(layout: &Layout) -> Vec<String> {
    let listed = layout
        .v2()
        .and_then(|hierarchy| read(hierarchy.mount_point().join("cgroup.controllers")).ok());
    listed
        .unwrap_or_default()
        .split_whitespace()
        .map(str::to_owned)
        .collect()
}

/// Makes the folder and those above it, each handing its controllers down.
pub(super) fn make_dirs(hierarchy: &Hierarchy, path: &Path) -> Result<(), Errno> {
    let below = path
        .strip_prefix(hierarchy.mount_point())
        .map_err(|_outside| Errno::INVAL)?;
    let mut level = hierarchy.mount_point().to_owned();
    for part in below {
        let listed = read(level.join("cgroup.controllers"))?;
        let given = read(level.join("cgroup.subtree_control"))?;
        let missing = listed
            .split_whitespace()
            .filter(|name| !given.split_whitespace().any(|there| there == *name));
        for controller in missing {
            // A folder with processes of its own cannot; whether that matters shows when a limit is written.
            let _ = write(level.join("cgroup.subtree_control"), &format!("+{controller}"));
        }
        level.push(part);
        match rustix::fs::mkdir(&level, Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// What to write, in order.
pub(super) fn settings(resources: &Resources<'_>) -> Result<Vec<Setting>, Error> {
    let mut settings = Vec::new();
    if let Some(memory) = &resources.memory {
        memory_settings(memory, &mut settings)?;
    }
    if let Some(cpu) = &resources.cpu {
        cpu_settings(cpu, &mut settings)?;
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
        io_settings(block_io, &mut settings);
    }
    for limit in &resources.hugepage_limits {
        let file = format!("hugetlb.{}.max", page_size(&limit.page_size)?);
        settings.push(Setting::new(
            "linux.resources.hugepageLimits",
            "hugetlb",
            file,
            limit.limit,
        ));
    }
    rdma_settings(resources, &mut settings);
    Ok(settings)
}

/// Writes `linux.resources.unified`.
pub(super) fn unified(hierarchy: &Hierarchy, files: &BTreeMap<Text<'_>, Text<'_>>) -> Result<(), Error> {
    for (name, value) in files {
        let field = || format!("linux.resources.unified[{:?}]", &**name);
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if !name.contains('.') || name.starts_with('.') || !name.bytes().all(plain) {
            return Err(Error::refused(field(), "is no file of a cgroup"));
        }
        for line in value.lines() {
            write(hierarchy.container_path().join(&**name), line)
                .doing(|| format!("{}: write {line:?}", field()))?;
        }
    }
    Ok(())
}

fn or_max(limit: i64) -> String {
    if limit < 0 {
        "max".to_owned()
    } else {
        limit.to_string()
    }
}

fn memory_settings(memory: &Memory, settings: &mut Vec<Setting>) -> Result<(), Error> {
    let mut put =
        |field, file: &str, value: String| settings.push(Setting::new(field, "memory", file, value));
    let limit = memory.limit.filter(|limit| *limit != 0);
    if let Some(limit) = limit {
        put("linux.resources.memory.limit", "memory.max", or_max(limit));
    }
    match (memory.swap.filter(|swap| *swap != 0), limit) {
        (Some(swap), _) if swap < 0 => {
            put("linux.resources.memory.swap", "memory.swap.max", "max".to_owned())
        }
        // v1's value counts memory and swap together, v2's swap alone.
        (Some(swap), Some(limit)) if limit > 0 && swap >= limit => {
            put(
                "linux.resources.memory.swap",
                "memory.swap.max",
                (swap - limit).to_string(),
            );
        }
        (Some(swap), _) => {
            let why = format!("{swap} (memory and swap together) needs a memory limit that is not above it");
            return Err(Error::refused("linux.resources.memory.swap", why));
        }
        (None, _) => {}
    }
    if let Some(reservation) = memory.reservation.filter(|reservation| *reservation != 0) {
        put(
            "linux.resources.memory.reservation",
            "memory.low",
            or_max(reservation),
        );
    }
    Ok(())
}

fn cpu_settings(cpu: &Cpu<'_>, settings: &mut Vec<Setting>) -> Result<(), Error> {
    let mut put = |field, controller, file: &str, value: String| {
        settings.push(Setting::new(field, controller, file, value));
    };
    if let Some(shares) = cpu.shares.filter(|shares| *shares != 0) {
        // 2..=262144 onto 1..=10000, as everyone does.
        let weight = 1 + (shares.clamp(2, 262_144) - 2) * 9999 / 262_142;
        put(
            "linux.resources.cpu.shares",
            "cpu",
            "cpu.weight",
            weight.to_string(),
        );
    }
    if cpu.quota.is_some() || cpu.period.is_some() {
        let quota = cpu
            .quota
            .filter(|quota| *quota > 0)
            .map_or("max".to_owned(), |quota| quota.to_string());
        let period = cpu.period.filter(|period| *period != 0).unwrap_or(100_000);
        put(
            "linux.resources.cpu.quota",
            "cpu",
            "cpu.max",
            format!("{quota} {period}"),
        );
    }
    if let Some(burst) = cpu.burst {
        put(
            "linux.resources.cpu.burst",
            "cpu",
            "cpu.max.burst",
            burst.to_string(),
        );
    }
    if let Some(idle) = cpu.idle {
        put("linux.resources.cpu.idle", "cpu", "cpu.idle", idle.to_string());
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
    Ok(())
}

fn io_settings(block_io: &BlockIo, settings: &mut Vec<Setting>) {
    let mut put = |field, file: &str, value: String| settings.push(Setting::new(field, "io", file, value));
    // 10..=1000 onto 1..=10000.
    let weight = |weight: u16| 1 + (u64::from(weight.clamp(10, 1000)) - 10) * 9999 / 990;
    if let Some(value) = block_io.weight.filter(|weight| *weight != 0) {
        put(
            "linux.resources.blockIO.weight",
            "io.weight",
            format!("default {}", weight(value)),
        );
    }
    for device in &block_io.weight_device {
        if let Some(value) = device.weight {
            let value = format!("{}:{} {}", device.major, device.minor, weight(value));
            put("linux.resources.blockIO.weightDevice", "io.weight", value);
        }
    }
    let throttles = [
        (
            "linux.resources.blockIO.throttleReadBpsDevice",
            "rbps",
            &block_io.throttle_read_bps_device,
        ),
        (
            "linux.resources.blockIO.throttleWriteBpsDevice",
            "wbps",
            &block_io.throttle_write_bps_device,
        ),
        (
            "linux.resources.blockIO.throttleReadIOPSDevice",
            "riops",
            &block_io.throttle_read_iops_device,
        ),
        (
            "linux.resources.blockIO.throttleWriteIOPSDevice",
            "wiops",
            &block_io.throttle_write_iops_device,
        ),
    ];
    for (field, kind, devices) in throttles {
        for device in devices {
            put(
                field,
                "io.max",
                format!("{}:{} {kind}={}", device.major, device.minor, device.rate),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings_of(json: &str) -> Vec<(String, String)> {
        let resources: Resources<'_> = serde_json::from_str(json).unwrap();
        settings(&resources)
            .unwrap()
            .into_iter()
            .map(|setting| (setting.file, setting.value))
            .collect()
    }

    #[test]
    fn v1_words_become_v2_values() {
        let found = settings_of(
            r#"{"memory":{"limit":1048576,"swap":3145728},"cpu":{"shares":1024,"quota":50000},"pids":{"limit":-1}}"#,
        );
        let expected = [
            ("memory.max", "1048576"),
            ("memory.swap.max", "2097152"),
            ("cpu.weight", "39"),
            ("cpu.max", "50000 100000"),
            ("pids.max", "max"),
        ];
        assert_eq!(
            found,
            expected.map(|(file, value)| (file.to_owned(), value.to_owned()))
        );
    }

    #[test]
    fn an_absent_limit_of_tasks_is_not_a_limit_of_none() {
        assert_eq!(settings_of(r#"{"pids":{}}"#), []);
        assert_eq!(
            settings_of(r#"{"pids":{"limit":0}}"#),
            [("pids.max".to_owned(), "1".to_owned())]
        );
    }
}
