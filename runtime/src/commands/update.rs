//! `update`: other limits for a container that is there.

use std::{io::Read, path::Path};

use crate::{
    cgroups,
    cli::UpdateOptions,
    error::{Doing, Error},
    lifecycle::Store,
    spec::{
        Text,
        resources::{BlockIo, Cpu, Memory, Pids, Resources},
    },
    state::Status,
};

/// Writes the limits of a file in the form of `linux.resources`, or those of the options.
pub(super) fn update(store: &Store, options: &UpdateOptions) -> Result<u8, Error> {
    let mut text = String::new();
    if let Some(file) = &options.resources {
        if !options.limits.is_empty() {
            return Err(Error::Usage(
                "update: --resources and single limits exclude each other".to_owned(),
            ));
        }
        text = read(file)?;
    }
    let resources = if text.is_empty() {
        from_options(&options.limits)?
    } else {
        from_text(&text)?
    };
    let folder = store.lock(&options.id)?;
    let record = folder.load()?;
    if folder.status(&record) == Status::Stopped {
        return Err(Error::State("container not running".to_owned()));
    }
    let devices_too = !resources.devices.is_empty();
    cgroups::apply(&record.layout, Some(&resources), devices_too)?;
    Ok(0)
}

fn read(file: &Path) -> Result<String, Error> {
    const LIMIT: u64 = 1 << 20;
    let doing = || format!("--resources: read {}", file.display());
    let mut text = String::new();
    if file == Path::new("-") {
        std::io::stdin()
            .take(LIMIT)
            .read_to_string(&mut text)
            .doing(doing)?;
    } else {
        std::fs::File::open(file)
            .doing(doing)?
            .take(LIMIT)
            .read_to_string(&mut text)
            .doing(doing)?;
    }
    if text.is_empty() {
        Err(Error::Malformed {
            what: "--resources".to_owned(),
            why: "is empty".to_owned(),
        })
    } else {
        Ok(text)
    }
}

fn from_text(text: &str) -> Result<Resources<'_>, Error> {
    serde_json::from_str(text).map_err(|error| Error::Malformed {
        what: "--resources".to_owned(),
        why: error.to_string(),
    })
}

/// Limits as options name them.
fn from_options<'a>(limits: &'a [(&'static str, String)]) -> Result<Resources<'a>, Error> {
    if limits.is_empty() {
        return Err(Error::Usage(
            "update: no limit is named, nor --resources".to_owned(),
        ));
    }
    let (mut memory, mut cpu, mut resources) = (Memory::default(), Cpu::default(), Resources::default());
    for (name, value) in limits {
        let wrong = || Error::Usage(format!("update: --{name}: {value:?} is no limit"));
        let signed = || value.parse::<i64>().map_err(|_not_a_number| wrong());
        let unsigned = || value.parse::<u64>().map_err(|_not_a_number| wrong());
        match *name {
            "memory" => memory.limit = Some(bytes(value).ok_or_else(wrong)?),
            "memory-swap" => memory.swap = Some(bytes(value).ok_or_else(wrong)?),
            "memory-reservation" => memory.reservation = Some(bytes(value).ok_or_else(wrong)?),
            "cpu-share" => cpu.shares = Some(unsigned()?),
            "cpu-quota" => cpu.quota = Some(signed()?),
            "cpu-period" => cpu.period = Some(unsigned()?),
            "cpu-burst" => cpu.burst = Some(unsigned()?),
            "cpu-idle" => cpu.idle = Some(signed()?),
            "cpu-rt-runtime" => cpu.realtime_runtime = Some(signed()?),
            "cpu-rt-period" => cpu.realtime_period = Some(unsigned()?),
            "cpuset-cpus" => cpu.cpus = Some(Text::from(value.as_str())),
            "cpuset-mems" => cpu.mems = Some(Text::from(value.as_str())),
            "pids-limit" => {
                resources.pids = Some(Pids {
                    limit: Some(signed()?),
                })
            }
            "blkio-weight" => {
                let weight = Some(value.parse().map_err(|_not_a_number| wrong())?);
                resources.block_io = Some(BlockIo {
                    weight,
                    ..BlockIo::default()
                });
            }
            _ => return Err(Error::Usage(format!("update: --{name} is not supported yet"))),
        }
    }
    (resources.memory, resources.cpu) = (Some(memory), Some(cpu));
    Ok(resources)
}

/// A number of bytes with a unit of 1024, or −1 for no limit.
fn bytes(text: &str) -> Option<i64> {
    if text == "-1" {
        return Some(-1);
    }
    let lower = text.to_ascii_lowercase();
    let digits = lower.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let unit = lower.strip_prefix(digits)?;
    let shift = match unit.trim_end_matches('b').trim_end_matches('i') {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        _ => return None,
    };
    let number: i64 = digits.parse().ok().filter(|number| *number >= 0)?;
    number.checked_mul(1 << shift)
}

#[cfg(test)]
mod tests {
    use super::bytes;

    #[test]
    fn sizes_have_units() {
        for (text, size) in [
            ("0", 0),
            ("1000", 1000),
            ("64k", 65_536),
            ("2MB", 2 << 20),
            ("1GiB", 1 << 30),
            ("-1", -1),
        ] {
            assert_eq!(bytes(text), Some(size), "{text}");
        }
        for text in ["", "k", "-2", "1x", "1 k", "9999999999g", "1.5g"] {
            assert_eq!(bytes(text), None, "{text}");
        }
    }
}
