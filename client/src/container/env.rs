//! What `-e`, `--env-file`, `--memory` and `--cpus` say.

use std::path::Path;

use crate::error::{Error, Kind, Result};

/// Reads `NAME=value`, or `NAME`, whose value is this process's; a `NAME` that has none here stays alone.
///
/// # Errors
/// A text without a name.
pub fn variable(text: &str, own: impl Fn(&str) -> Option<String>) -> Result<String> {
    match text.split_once('=') {
        Some(("", _)) | None if text.is_empty() || text.starts_with('=') => Err(Error::new(
            Kind::BadFlag,
            format!(
                "invalid argument \"{text}\" for \"-e, --env\" flag: invalid environment variable: {text}"
            ),
        )),
        Some(_) => Ok(text.to_owned()),
        None => Ok(own(text).map_or_else(|| text.to_owned(), |value| format!("{text}={value}"))),
    }
}

/// Reads a file of variables, one a line.
///
/// # Errors
/// A file that cannot be read, a line without a name or with blanks in it.
pub fn file(path: &Path, own: impl Fn(&str) -> Option<String>) -> Result<Vec<String>> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        let reason = match error.kind() {
            std::io::ErrorKind::NotFound => "no such file or directory".to_owned(),
            _ => error.to_string(),
        };
        Error::new(Kind::BadArguments, format!("open {}: {reason}", path.display()))
    })?;
    let mut variables = Vec::new();
    for line in text.trim_start_matches('\u{feff}').lines().map(str::trim_start) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let bad = |text: String| {
            Error::new(
                Kind::BadArguments,
                format!("invalid env file ({}): {text}", path.display()),
            )
        };
        match line.split_once('=') {
            Some(("", _)) => return Err(bad(format!("no variable name on line '{line}'"))),
            Some((name, _)) if name.contains(char::is_whitespace) => {
                return Err(bad(format!("variable '{name}' contains whitespaces")));
            }
            Some(_) => variables.push(line.to_owned()),
            None => variables.extend(own(line).map(|value| format!("{line}={value}"))),
        }
    }
    Ok(variables)
}

/// Reads a size in bytes: a number with `b`, `k`, `m`, `g` or `t`, by 1,024 each.
pub fn bytes(text: &str) -> Option<i64> {
    let lower = text.trim().to_ascii_lowercase();
    let lower = lower.strip_suffix('b').unwrap_or(&lower).trim_end_matches('i');
    let (number, shift) = match lower.char_indices().last()? {
        (at, 'k') => (lower.get(..at)?, 10),
        (at, 'm') => (lower.get(..at)?, 20),
        (at, 'g') => (lower.get(..at)?, 30),
        (at, 't') => (lower.get(..at)?, 40),
        _ => (lower, 0),
    };
    let (whole, fraction) = number.trim().split_once('.').unwrap_or((number.trim(), ""));
    let unit = 1_i64.checked_shl(shift)?;
    let scaled = whole
        .parse::<i64>()
        .ok()
        .filter(|whole| *whole >= 0)?
        .checked_mul(unit)?;
    scaled.checked_add(fraction_of(fraction, unit)?)
}

/// Reads a number of processors, in billionths.
pub fn nano_cpus(text: &str) -> Option<i64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let whole = if whole.is_empty() {
        0
    } else {
        whole.parse::<u32>().ok()?.into()
    };
    let whole: i64 = whole;
    whole
        .checked_mul(1_000_000_000)?
        .checked_add(fraction_of(fraction, 1_000_000_000)?)
        .filter(|nano| *nano > 0)
}

/// That part of `unit` which these decimal digits say.
fn fraction_of(digits: &str, unit: i64) -> Option<i64> {
    if digits.is_empty() {
        return Some(0);
    }
    if digits.len() > 9 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let value = i128::from(digits.parse::<i64>().ok()?) * i128::from(unit);
    i64::try_from(value / 10_i128.pow(u32::try_from(digits.len()).ok()?)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_take_this_process_s_value_and_sizes_their_units() {
        let own = |name: &str| (name == "B").then(|| "2".to_owned());
        assert_eq!(variable("A=1=2", own).unwrap(), "A=1=2");
        assert_eq!(variable("B", own).unwrap(), "B=2");
        assert_eq!(variable("C", own).unwrap(), "C");
        assert!(variable("", own).is_err() && variable("=x", own).is_err());
        for (text, size) in [
            ("6m", Some(6 << 20)),
            ("1.5g", Some(3 << 29)),
            ("512", Some(512)),
            ("1KB", Some(1024)),
        ] {
            assert_eq!(bytes(text), size, "{text}");
        }
        assert_eq!((bytes("x"), bytes("-1"), bytes("")), (None, None, None));
        assert_eq!(
            (nano_cpus("1.5"), nano_cpus(".25")),
            (Some(1_500_000_000), Some(250_000_000))
        );
        assert_eq!(
            (nano_cpus("0"), nano_cpus("x"), nano_cpus("-1")),
            (None, None, None)
        );
    }

    #[test]
    fn a_file_of_variables_has_comments_and_refuses_blanks_in_names() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("env");
        std::fs::write(&path, "# no\n\n  A=1 2\nB\nC\n").unwrap();
        let own = |name: &str| (name == "B").then(|| "2".to_owned());
        assert_eq!(file(&path, own).unwrap(), ["A=1 2", "B=2"]);
        std::fs::write(&path, "A B=1\n").unwrap();
        assert!(
            file(&path, own)
                .unwrap_err()
                .to_string()
                .ends_with("variable 'A B' contains whitespaces")
        );
        let missing = file(&folder.path().join("no"), own).unwrap_err().to_string();
        assert!(missing.ends_with(": no such file or directory"), "{missing}");
    }
}
