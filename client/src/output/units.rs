//! Sizes and ages as docker writes them.

use jiff::Timestamp;

const DECIMAL: &[&str] = &["B", "kB", "MB", "GB", "TB", "PB", "EB"];

/// A size in decimal units with so many significant digits: `1.11MB`, `187MB`, `0B`.
#[expect(clippy::cast_precision_loss, reason = "a few digits are shown")]
pub fn size(bytes: u64, digits: usize) -> String {
    let mut value = bytes as f64;
    let mut units = DECIMAL.iter();
    let mut unit = units.next().copied().unwrap_or_default();
    while value >= 1000.0 {
        let Some(next) = units.next() else { break };
        (value, unit) = (value / 1000.0, *next);
    }
    format!("{}{unit}", significant(value, digits))
}

/// The number with so many significant digits and no zeros at its end; with an exponent where it has
/// more digits before the point than that, as Go's `%g` does.
fn significant(value: f64, digits: usize) -> String {
    let scientific = format!("{value:.*e}", digits.saturating_sub(1));
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let trim = |text: &str| {
        if text.contains('.') {
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        } else {
            text.to_owned()
        }
    };
    match usize::try_from(exponent) {
        Ok(exponent) if exponent >= digits => format!("{}e+{exponent:02}", trim(mantissa)),
        Ok(exponent) => trim(&format!("{value:.*}", digits.saturating_sub(1 + exponent))),
        Err(_) => trim(&format!(
            "{value:.*}",
            digits + usize::try_from(-exponent - 1).unwrap_or(0)
        )),
    }
}

/// How long ago that was, as the tables say it: `2 minutes ago`.
pub fn ago(then: Timestamp, now: Timestamp) -> String {
    format!(
        "{} ago",
        duration(now.as_second().saturating_sub(then.as_second()))
    )
}

/// A length of time in words.
pub fn duration(seconds: i64) -> String {
    let minutes = seconds / 60;
    let hours = (seconds + 1800) / 3600;
    if seconds < 1 {
        "Less than a second".to_owned()
    } else if seconds == 1 {
        "1 second".to_owned()
    } else if seconds < 60 {
        format!("{seconds} seconds")
    } else if minutes == 1 {
        "About a minute".to_owned()
    } else if minutes < 60 {
        format!("{minutes} minutes")
    } else if hours == 1 {
        "About an hour".to_owned()
    } else if hours < 48 {
        format!("{hours} hours")
    } else if hours < 24 * 7 * 2 {
        format!("{} days", hours / 24)
    } else if hours < 24 * 30 * 2 {
        format!("{} weeks", hours / 24 / 7)
    } else if hours < 24 * 365 * 2 {
        format!("{} months", hours / 24 / 30)
    } else {
        format!("{} years", seconds / 3600 / 24 / 365)
    }
}

/// The first twelve digits of an id or digest, as tables show them.
pub fn short_id(id: &str) -> &str {
    let hex = id.split_once(':').map_or(id, |(_, hex)| hex);
    hex.get(..12).unwrap_or(hex)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_as_docker_writes_them() {
        let cases = [
            (0, "0B"),
            (999, "999B"),
            (1_000, "1kB"),
            (1_024, "1.02kB"),
            (1_113_000, "1.11MB"),
            (187_400_000, "187MB"),
            (999_900, "1e+03kB"),
            (2_000_000_000, "2GB"),
        ];
        for (bytes, text) in cases {
            assert_eq!(size(bytes, 3), text);
        }
        assert_eq!(size(1_234_567, 4), "1.235MB");
    }

    #[test]
    fn ages_read_as_docker_writes_them() {
        let cases = [
            (0, "Less than a second"),
            (1, "1 second"),
            (59, "59 seconds"),
            (60, "About a minute"),
            (120, "2 minutes"),
            (3_600, "About an hour"),
            (5_400, "2 hours"),
            (86_400 * 3, "3 days"),
            (86_400 * 20, "2 weeks"),
            (86_400 * 100, "3 months"),
            (86_400 * 800, "2 years"),
        ];
        for (seconds, text) in cases {
            assert_eq!(duration(seconds), text);
        }
    }
}
