//! From columns to the types of the contract, and back.

use std::str::FromStr;

use crate::clock::Timestamp;

/// A column that holds what this program never wrote.
#[derive(Debug, Clone)]
pub(super) struct Damaged {
    /// Which column, and what is wrong with it.
    pub(super) what: String,
}

/// Reads a text that was written from a typed value.
pub(super) fn parsed<T: FromStr>(column: &'static str, text: &str) -> Result<T, Damaged> {
    text.parse().map_err(|_refused| Damaged {
        what: format!("{column} holds {text:?}"),
    })
}

/// Reads a number that was never negative.
pub(super) fn unsigned<T: TryFrom<i64>>(column: &'static str, number: i64) -> Result<T, Damaged> {
    T::try_from(number).map_err(|_range| Damaged {
        what: format!("{column} holds {number}"),
    })
}

/// Writes a number of bytes or things. No disk holds more than the column does.
pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Reads a time.
pub(super) fn time(ms: i64) -> Timestamp {
    Timestamp::from_millis(ms)
}

/// Returns a text that both databases take and that sorts before and after the same names: PostgreSQL refuses a NUL,
/// which no name holds.
pub(super) fn without_nul(text: &str) -> &str {
    text.split('\0').next().unwrap_or_default()
}

/// Returns the least text that a name after `last` can be: no name holds a character below `-`.
pub(super) fn just_after(last: &str) -> String {
    format!("{}!", without_nul(last))
}

/// Returns digests as the JSON array that `{list}` reads: they hold nothing that JSON would escape.
pub(super) fn list<'a>(digests: impl IntoIterator<Item = &'a str>) -> String {
    let mut json = String::from("[");
    for digest in digests {
        if json.len() > 1 {
            json.push(',');
        }
        json.push('"');
        json.push_str(digest);
        json.push('"');
    }
    json.push(']');
    json
}
