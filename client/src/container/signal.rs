//! Signals as users name them.

use nix::sys::signal::Signal;

use crate::error::{Error, Kind, Result};

/// Reads `TERM`, `SIGTERM`, `term` or `15`.
///
/// # Errors
/// Docker's words for what is no signal.
pub fn parse(text: &str) -> Result<u8> {
    let invalid = || Error::engine(Kind::BadArguments, format!("Invalid signal: {text}"));
    if let Ok(number) = text.parse::<u8>() {
        return if (1..=64).contains(&number) {
            Ok(number)
        } else {
            Err(invalid())
        };
    }
    let upper = text.to_ascii_uppercase();
    let bare = upper.strip_prefix("SIG").unwrap_or(&upper);
    if let Some(number) = real_time(bare) {
        return Ok(number);
    }
    let signal: Signal = format!("SIG{bare}")
        .parse()
        .map_err(|_unknown: nix::Error| invalid())?;
    u8::try_from(signal as i32).map_err(|_out_of_range| invalid())
}

/// `RTMIN`, `RTMIN+3`, `RTMAX-2`.
fn real_time(text: &str) -> Option<u8> {
    let (base, offset) = match text.split_once(['+', '-']) {
        Some((base, offset)) => (base, offset.parse::<u8>().ok()?),
        None => (text, 0),
    };
    let number = match base {
        "RTMIN" => 34_u8.checked_add(offset)?,
        "RTMAX" => 64_u8.checked_sub(offset)?,
        _ => return None,
    };
    (34..=64).contains(&number).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_have_names_and_numbers() {
        for (text, number) in [
            ("TERM", 15),
            ("SIGKILL", 9),
            ("hup", 1),
            ("3", 3),
            ("RTMIN+3", 37),
            ("SIGRTMAX", 64),
        ] {
            assert_eq!(parse(text).unwrap(), number, "{text}");
        }
        for text in ["NOSUCH", "0", "65", "", "-1", "RTMIN+40"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
