//! The parse of one setting's text. Each error says what the text must be.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// Where the rows are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DatabaseUrl {
    /// A file.
    Sqlite(PathBuf),
    /// A server, as its whole URL.
    Postgres(String),
}

/// Where the bytes are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StorageUrl {
    /// A folder.
    File(PathBuf),
    /// A bucket, as its whole URL.
    Cloud(String),
}

/// What those may do who don't log in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Anonymous {
    /// Only what a rule for `anonymous` says.
    None,
    /// Pull everything.
    Pull,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// A range of addresses, `10.0.0.0/8` or one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

impl Network {
    /// Tells whether `ip` is in this range. An IPv4 address that came mapped into IPv6 counts as what it is.
    pub fn contains(&self, ip: IpAddr) -> bool {
        match (self.address, ip.to_canonical()) {
            (IpAddr::V4(net), IpAddr::V4(ip)) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.bits)).unwrap_or(0);
                net.to_bits() & mask == ip.to_bits() & mask
            }
            (IpAddr::V6(net), IpAddr::V6(ip)) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.bits)).unwrap_or(0);
                net.to_bits() & mask == ip.to_bits() & mask
            }
            _ => false,
        }
    }
}

pub(super) fn address(text: &str) -> Result<SocketAddr, String> {
    let text = text
        .strip_prefix(':')
        .map_or_else(|| text.to_owned(), |port| format!("0.0.0.0:{port}"));
    text.parse()
        .or_else(|_not| text.replacen("localhost:", "127.0.0.1:", 1).parse())
        .map_err(|_not| {
            "must be IP:PORT, like 127.0.0.1:5000 or [::]:5000 (port 0 takes a free one)".to_owned()
        })
}

/// As [`address`]; nothing where there is none.
pub(super) fn optional_address(text: &str) -> Result<Option<SocketAddr>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    address(text).map(Some)
}

pub(super) fn default_data_dir() -> String {
    if rustix::process::geteuid().is_root() {
        return "/var/lib/wharf-registry".to_owned();
    }
    let home = std::env::var("XDG_DATA_HOME")
        .or_else(|_not| std::env::var("HOME").map(|home| format!("{home}/.local/share")))
        .unwrap_or_else(|_not| ".".to_owned());
    format!("{home}/wharf-registry")
}

pub(super) fn path(text: &str) -> Result<PathBuf, String> {
    if text.is_empty() {
        return Err("must be the path of a folder".to_owned());
    }
    Ok(PathBuf::from(text))
}

#[expect(clippy::unnecessary_wraps, reason = "one shape for every parse")]
pub(super) fn optional_path(text: &str) -> Result<Option<PathBuf>, String> {
    Ok((!text.is_empty()).then(|| PathBuf::from(text)))
}

pub(super) fn database(text: &str) -> Result<DatabaseUrl, String> {
    let fix = "must be sqlite:PATH or postgres://USER@HOST/DATABASE";
    if text.starts_with("postgres://") || text.starts_with("postgresql://") {
        return Ok(DatabaseUrl::Postgres(text.to_owned()));
    }
    let path = text
        .strip_prefix("sqlite://")
        .or_else(|| text.strip_prefix("sqlite:"))
        .ok_or(fix)?;
    if path.is_empty() || path.starts_with(":memory:") {
        return Err(fix.to_owned());
    }
    Ok(DatabaseUrl::Sqlite(PathBuf::from(path)))
}

pub(super) fn storage(text: &str) -> Result<StorageUrl, String> {
    let fix = "must be file:PATH, s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or az://CONTAINER/PREFIX";
    if ["s3://", "gs://", "az://"]
        .iter()
        .any(|scheme| text.len() > scheme.len() && text.starts_with(scheme))
    {
        return Ok(StorageUrl::Cloud(text.to_owned()));
    }
    let path = text
        .strip_prefix("file://")
        .or_else(|| text.strip_prefix("file:"))
        .ok_or(fix)?;
    if path.is_empty() {
        Err(fix.to_owned())
    } else {
        Ok(StorageUrl::File(PathBuf::from(path)))
    }
}

pub(super) fn anonymous(text: &str) -> Result<Anonymous, String> {
    match text {
        "none" => Ok(Anonymous::None),
        "pull" => Ok(Anonymous::Pull),
        _ => Err("must be \"none\" or \"pull\"".to_owned()),
    }
}

pub(super) fn log_format(text: &str) -> Result<LogFormat, String> {
    match text {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err("must be \"text\" or \"json\"".to_owned()),
    }
}

pub(super) fn log_filter(text: &str) -> Result<String, String> {
    tracing_subscriber::EnvFilter::try_new(text)
        .map(|_| text.to_owned())
        .map_err(|error| format!("must be error, warn, info, debug, trace, or a filter of those ({error})"))
}

pub(super) fn switch(text: &str) -> Result<bool, String> {
    match text {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err("must be true or false".to_owned()),
    }
}

/// The service is quoted in challenges, and clients find the scheme there with a regular expression.
pub(super) fn service(text: &str) -> Result<String, String> {
    let plain = !text.is_empty()
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"._:-".contains(&b));
    let lower = text.to_ascii_lowercase();
    if !plain || lower.contains("bearer") || lower.contains("basic") {
        return Err(
            "must be of letters, digits and . _ : - and hold neither \"bearer\" nor \"basic\"".to_owned(),
        );
    }
    Ok(text.to_owned())
}

pub(super) fn public_url(text: &str) -> Result<Option<String>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    let text = text.trim_end_matches('/');
    let host = text
        .strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"));
    match host {
        Some(host) if !host.is_empty() && !host.contains(['/', '"', '?', '#', '@', ' ']) => {
            Ok(Some(text.to_owned()))
        }
        _ => Err("must be http://HOST[:PORT] or https://HOST[:PORT], without a path".to_owned()),
    }
}

pub(super) fn networks(text: &str) -> Result<Vec<Network>, String> {
    list(text).map(network).collect()
}

pub(super) fn network(text: &str) -> Result<Network, String> {
    let fix = || format!("{text:?} must be an address or a range, like 10.0.0.0/8 or ::1");
    let (address, bits) = text
        .split_once('/')
        .map_or((text, None), |(address, bits)| (address, Some(bits)));
    let address: IpAddr = address.parse().map_err(|_not| fix())?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    let bits = bits.map_or(Ok(most), |bits| bits.parse::<u8>().map_err(|_not| fix()))?;
    if bits > most {
        Err(fix())
    } else {
        Ok(Network { address, bits })
    }
}

pub(super) fn media_types(text: &str) -> Result<Vec<String>, String> {
    let word = |text: &str| {
        !text.is_empty()
            && text
                .bytes()
                .all(|b| b.is_ascii_graphic() && !b"\";,/".contains(&b))
    };
    list(text)
        .map(|text| match text.split_once('/') {
            Some((kind, rest)) if word(kind) && word(rest) => Ok(text.to_owned()),
            _ => Err(format!(
                "{text:?} must be a media type, like application/vnd.example+json"
            )),
        })
        .collect()
}

pub(super) fn list(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|item| !item.is_empty())
}

pub(super) fn count(text: &str, least: u64, most: u64) -> Result<usize, String> {
    let fix = || format!("must be a whole number from {least} to {most}");
    let number: u64 = text.parse().map_err(|_not| fix())?;
    if number < least || number > most {
        return Err(fix());
    }
    usize::try_from(number).map_err(|_not| fix())
}

/// Reads a size: bytes, or a number with `KiB`, `MiB`, `GiB`.
pub(super) fn size(text: &str, least: u64, most: u64) -> Result<u64, String> {
    let fix = || format!("must be a size from {least} to {most} bytes, like 65536, 64KiB, 4MiB or 1GiB");
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits).ok_or_else(fix)?;
    let factor: u64 = match unit.trim() {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        _ => return Err(fix()),
    };
    let bytes = number
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(factor))
        .ok_or_else(fix)?;
    if bytes < least || bytes > most {
        Err(fix())
    } else {
        Ok(bytes)
    }
}

/// Reads a duration: seconds, or numbers with `s`, `m`, `h`, `d` in a row, like `1h30m`.
pub(crate) fn duration(text: &str, least_s: u64, most_s: u64) -> Result<Duration, String> {
    let fix = || format!("must be a time from {least_s}s to {most_s}s, like 90s, 5m, 1h30m or 7d");
    let seconds = seconds(text).ok_or_else(fix)?;
    if seconds < least_s || seconds > most_s {
        Err(fix())
    } else {
        Ok(Duration::from_secs(seconds))
    }
}

fn seconds(text: &str) -> Option<u64> {
    if let Ok(plain) = text.parse::<u64>() {
        return Some(plain);
    }
    let (mut total, mut rest) = (0_u64, text);
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = rest.split_at_checked(digits)?;
        let mut unit_chars = unit.chars();
        let factor = match unit_chars.next()? {
            's' => 1,
            'm' => 60,
            'h' => 3600,
            'd' => 86400,
            _ => return None,
        };
        total = total.checked_add(number.parse::<u64>().ok()?.checked_mul(factor)?)?;
        rest = unit_chars.as_str();
    }
    (!text.is_empty()).then_some(total)
}
