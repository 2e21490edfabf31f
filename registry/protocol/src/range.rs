//! Byte ranges: the `Range` header of a download (RFC 9110, section 14) and the `Content-Range` of an
//! upload's chunk (distribution-spec, "Pushing a blob in chunks").

use std::fmt;
use std::str::FromStr;

/// The most parts of one `Range` header that are looked at; a header with more is ignored.
///
/// It is how many a client of zstd:chunked layers asks for at once.
pub const MAX_RANGES: usize = 1024;

/// One part of a `Range` header, not yet held against a length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ByteRange {
    /// `first-last`, both included. `last` may be before `first`: such a range can't be met.
    FromTo {
        /// Offset of the first byte.
        first: u64,
        /// Offset of the last byte.
        last: u64,
    },
    /// `first-`: from an offset to the end.
    From {
        /// Offset of the first byte.
        first: u64,
    },
    /// `-length`: the last bytes.
    Suffix {
        /// How many bytes.
        length: u64,
    },
}

/// A range that lies within some content: `start < end`, both within the content's size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResolvedRange {
    /// Offset of the first byte.
    pub start: u64,
    /// Offset one past the last byte.
    pub end: u64,
}

impl ResolvedRange {
    /// How many bytes it holds, at least one.
    #[must_use]
    pub fn len(self) -> u64 {
        self.end - self.start
    }

    /// Always false: an empty range can't be met and is never made.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.end == self.start
    }
}

impl ByteRange {
    /// Reads a `Range` header's value. `None` means that the header is to be ignored (RFC 9110: an unknown
    /// unit, or text that is no range). A list keeps its order.
    #[must_use]
    pub fn parse_header(value: &str) -> Option<Vec<ByteRange>> {
        let (unit, list) = value.split_once('=')?;
        if !unit.trim().eq_ignore_ascii_case("bytes") {
            return None;
        }
        let mut ranges = Vec::new();
        for part in list.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            if ranges.len() == MAX_RANGES {
                return None;
            }
            ranges.push(ByteRange::parse_part(part)?);
        }
        if ranges.is_empty() { None } else { Some(ranges) }
    }

    fn parse_part(part: &str) -> Option<ByteRange> {
        match part.split_once('-')? {
            ("", length) => Some(ByteRange::Suffix {
                length: offset(length)?,
            }),
            (first, "") => Some(ByteRange::From {
                first: offset(first)?,
            }),
            (first, last) => Some(ByteRange::FromTo {
                first: offset(first)?,
                last: offset(last)?,
            }),
        }
    }

    /// The bytes that it means of content of `size` bytes; `None` when it can't be met (416).
    #[must_use]
    pub fn resolve(self, size: u64) -> Option<ResolvedRange> {
        let (start, end) = match self {
            ByteRange::FromTo { first, last } => (first, last.saturating_add(1).min(size)),
            ByteRange::From { first } => (first, size),
            ByteRange::Suffix { length } => (size.saturating_sub(length), size),
        };
        (start < end).then_some(ResolvedRange { start, end })
    }
}

/// What a `Range` header means of some content (RFC 9110, section 14.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    /// Everything: the ranges together are more than a client can need.
    Whole,
    /// One part.
    Part(ResolvedRange),
    /// At least two parts, in the order they were asked for.
    Parts(Vec<ResolvedRange>),
    /// None of the ranges can be met.
    Nothing,
}

/// How many ranges may begin within one before them; more are an attack or a mistake (RFC 9110, section 14.2).
const MAX_OVERLAPS: usize = 2;

impl Selection {
    /// Holds ranges against content of `size` bytes. Those that can't be met are left out if another one can.
    #[must_use]
    pub fn of(ranges: &[ByteRange], size: u64) -> Selection {
        let met: Vec<_> = ranges.iter().filter_map(|range| range.resolve(size)).collect();
        match met.as_slice() {
            [] => Selection::Nothing,
            [part] => Selection::Part(*part),
            _ if is_excessive(&met, size) => Selection::Whole,
            _ => Selection::Parts(met),
        }
    }
}

/// Whether the parts have more bytes than the whole, or overlap more than a careless client's do.
fn is_excessive(parts: &[ResolvedRange], size: u64) -> bool {
    let total = parts
        .iter()
        .fold(0u64, |sum, part| sum.saturating_add(part.len()));
    let mut sorted = parts.to_vec();
    sorted.sort_unstable_by_key(|part| part.start);
    let (mut overlaps, mut end) = (0, 0);
    for part in sorted {
        overlaps += usize::from(part.start < end);
        end = end.max(part.end);
    }
    total > size || overlaps > MAX_OVERLAPS
}

/// A number of bytes: digits alone (no sign), saturating, since an offset past the end is past the end.
fn offset(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u64::MAX))
}

/// The place of an uploaded chunk: offsets of its first and last byte, `first <= last`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContentRange {
    /// Offset of the first byte.
    pub first: u64,
    /// Offset of the last byte.
    pub last: u64,
}

/// Why a text is not a [`ContentRange`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a chunk's range: expected FIRST-LAST, two offsets in bytes with FIRST <= LAST")]
pub struct ContentRangeError;

impl ContentRange {
    /// How many bytes the chunk has; `None` for the one range that a `u64` can't count.
    #[must_use]
    pub fn length(self) -> Option<u64> {
        (self.last - self.first).checked_add(1)
    }
}

impl FromStr for ContentRange {
    type Err = ContentRangeError;

    /// Reads `FIRST-LAST`, and HTTP's own form `bytes FIRST-LAST/SIZE` that some clients send.
    fn from_str(text: &str) -> Result<Self, ContentRangeError> {
        let text = text.trim();
        let bare = text.strip_prefix("bytes ").map_or(text, str::trim_start);
        let bare = bare.split_once('/').map_or(bare, |(range, _)| range);
        let (first, last) = bare.split_once('-').ok_or(ContentRangeError)?;
        let number = |part: &str| {
            let digits = !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
            if digits { part.parse::<u64>().ok() } else { None }
        };
        match (number(first), number(last)) {
            (Some(first), Some(last)) if first <= last => Ok(ContentRange { first, last }),
            _ => Err(ContentRangeError),
        }
    }
}

impl fmt::Display for ContentRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

#[cfg(test)]
mod tests;
