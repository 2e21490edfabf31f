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

/// Returns texts as the JSON array that `{list}` reads. One with a NUL is left out: no row holds one.
pub(super) fn list<'a>(texts: impl IntoIterator<Item = &'a str>) -> String {
    let texts: Vec<&str> = texts.into_iter().filter(|text| !text.contains('\0')).collect();
    // An array of strings always has a JSON form.
    serde_json::to_string(&texts).unwrap_or_default()
}
