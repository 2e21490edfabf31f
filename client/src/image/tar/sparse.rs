//! Sparse files: which parts of a file stand in the stream.

use std::io::Read;

use super::header::{Header, sparse_parts};
use super::pax::{SparseRecords, decimal};
use super::reader::Source;
use super::{BLOCK, Error, MAX_SPARSE_PARTS, Parts};

/// A sparse file's real size and the parts that have data.
pub(super) struct Map {
    pub(super) size: u64,
    pub(super) parts: Parts,
    /// Bytes of the entry's data that the map itself took (format 1.0).
    pub(super) taken: u64,
}

/// Old GNU: parts in the header, and in as many blocks after it as the header and each of them announce.
pub(super) fn old_gnu<R: Read>(header: &Header<'_>, source: &mut Source<R>) -> Result<Map, Error> {
    let (mut parts, mut more, size) = header.gnu_sparse()?;
    while more {
        if parts.len() > MAX_SPARSE_PARTS {
            return Err(Error::Limit {
                field: "sparse map",
                limit: MAX_SPARSE_PARTS as u64,
            });
        }
        let block = source.block()?.ok_or(Error::Truncated)?;
        let (fields, rest) = block.split_at(504);
        parts.extend(sparse_parts(fields)?);
        more = rest.first() == Some(&1);
    }
    checked(size, parts, 0)
}

/// PAX 0.0 and 0.1: the map stands in the records.
pub(super) fn from_records(records: &SparseRecords) -> Result<Map, Error> {
    let size = records.real_size.ok_or(Error::Field {
        field: "GNU.sparse.realsize",
        problem: "is missing",
    })?;
    if !records.map.len().is_multiple_of(2) {
        return Err(Error::Field {
            field: "sparse map",
            problem: "has an offset without a length",
        });
    }
    let pairs = records.map.chunks_exact(2);
    let parts = pairs
        .filter_map(|pair| Some((*pair.first()?, *pair.get(1)?)))
        .collect();
    checked(size, parts, 0)
}

/// PAX 1.0: decimal numbers, a line each, at the beginning of the data, padded to a block.
pub(super) fn from_data<R: Read>(
    records: &SparseRecords,
    stored: u64,
    source: &mut Source<R>,
) -> Result<Map, Error> {
    let size = records.real_size.ok_or(Error::Field {
        field: "GNU.sparse.realsize",
        problem: "is missing",
    })?;
    let mut lines = Lines {
        source,
        block: [0; BLOCK],
        at: BLOCK,
        taken: 0,
        stored,
    };
    let count = lines.number()?;
    let count = usize::try_from(count).ok().filter(|n| *n <= MAX_SPARSE_PARTS);
    let count = count.ok_or(Error::Limit {
        field: "sparse map",
        limit: MAX_SPARSE_PARTS as u64,
    })?;
    let mut parts = Vec::new();
    for _ in 0..count {
        parts.push((lines.number()?, lines.number()?));
    }
    let taken = lines.taken;
    checked(size, parts, taken)
}

struct Lines<'a, R> {
    source: &'a mut Source<R>,
    block: [u8; BLOCK],
    at: usize,
    taken: u64,
    stored: u64,
}

impl<R: Read> Lines<'_, R> {
    fn number(&mut self) -> Result<u64, Error> {
        let mut digits = Vec::new();
        loop {
            if self.at == BLOCK {
                if self.taken + BLOCK as u64 > self.stored {
                    return Err(Error::Field {
                        field: "sparse map",
                        problem: "is longer than the entry",
                    });
                }
                self.block = self.source.block()?.ok_or(Error::Truncated)?;
                self.taken += BLOCK as u64;
                self.at = 0;
            }
            let byte = self.block.get(self.at).copied().unwrap_or_default();
            self.at += 1;
            if byte == b'\n' {
                return decimal(&digits, "sparse map");
            }
            digits.push(byte);
            if digits.len() > 20 {
                return Err(Error::Field {
                    field: "sparse map",
                    problem: "is not a decimal number",
                });
            }
        }
    }
}

/// Parts must be in order, apart, and within the file.
fn checked(size: u64, mut parts: Parts, taken: u64) -> Result<Map, Error> {
    parts.retain(|(_, length)| *length > 0);
    let mut end = 0;
    for (offset, length) in &parts {
        let next = offset
            .checked_add(*length)
            .filter(|next| *offset >= end && *next <= size);
        end = next.ok_or(Error::Field {
            field: "sparse map",
            problem: "has parts out of order or outside the file",
        })?;
    }
    Ok(Map { size, parts, taken })
}
