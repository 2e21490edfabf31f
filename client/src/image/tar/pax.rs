//! PAX extended headers: records of `LENGTH KEY=VALUE\n` that replace or add to a header's fields.

use super::{Error, MAX_PATH};

/// What extended headers said of the entry that follows.
#[derive(Debug, Clone, Default)]
pub(super) struct Records {
    pub(super) path: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) uid: Option<u64>,
    pub(super) gid: Option<u64>,
    pub(super) mtime: Option<(i64, u32)>,
    pub(super) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    pub(super) sparse: SparseRecords,
}

/// GNU's sparse formats 0.0, 0.1 and 1.0.
#[derive(Debug, Clone, Default)]
pub(super) struct SparseRecords {
    pub(super) major: Option<u64>,
    pub(super) minor: Option<u64>,
    pub(super) name: Option<Vec<u8>>,
    pub(super) real_size: Option<u64>,
    pub(super) map: Vec<u64>,
}

impl Records {
    /// Takes the records of one extended header; a later one of the same key wins, an empty value removes it.
    pub(super) fn take(&mut self, mut block: &[u8]) -> Result<(), Error> {
        while !block.is_empty() {
            let (key, value, rest) = record(block)?;
            self.set(key, value)?;
            block = rest;
        }
        Ok(())
    }

    fn set(&mut self, key: &[u8], value: &[u8]) -> Result<(), Error> {
        match key {
            b"path" => self.path = path(value)?,
            b"linkpath" => self.link = path(value)?,
            b"size" => self.size = optional(value, "size")?,
            b"uid" => self.uid = optional(value, "uid")?,
            b"gid" => self.gid = optional(value, "gid")?,
            b"mtime" => {
                self.mtime = if value.is_empty() {
                    None
                } else {
                    Some(time(value)?)
                }
            }
            b"GNU.sparse.major" => self.sparse.major = optional(value, "GNU.sparse.major")?,
            b"GNU.sparse.minor" => self.sparse.minor = optional(value, "GNU.sparse.minor")?,
            b"GNU.sparse.name" => self.sparse.name = path(value)?,
            b"GNU.sparse.size" | b"GNU.sparse.realsize" => {
                self.sparse.real_size = optional(value, "GNU.sparse.realsize")?;
            }
            b"GNU.sparse.map" => {
                for part in value.split(|byte| *byte == b',') {
                    self.sparse_number(part)?;
                }
            }
            b"GNU.sparse.offset" | b"GNU.sparse.numbytes" => self.sparse_number(value)?,
            _ => {
                if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
                    self.xattrs.retain(|(known, _)| known != name);
                    self.xattrs.push((name.to_vec(), value.to_vec()));
                }
            }
        }
        Ok(())
    }

    fn sparse_number(&mut self, text: &[u8]) -> Result<(), Error> {
        if self.sparse.map.len() >= 2 * super::MAX_SPARSE_PARTS {
            return Err(Error::Limit {
                field: "sparse map",
                limit: super::MAX_SPARSE_PARTS as u64,
            });
        }
        self.sparse.map.push(decimal(text, "sparse map")?);
        Ok(())
    }
}

/// A record's key, its value, and what follows it.
type Record<'a> = (&'a [u8], &'a [u8], &'a [u8]);

/// Splits off the first record.
fn record(block: &[u8]) -> Result<Record<'_>, Error> {
    let wrong = || Error::Field {
        field: "extended header",
        problem: "has a record that can't be read",
    };
    let space = block
        .iter()
        .take(20)
        .position(|byte| *byte == b' ')
        .ok_or_else(wrong)?;
    let length = decimal(block.get(..space).unwrap_or_default(), "extended header")?;
    let length = usize::try_from(length)
        .ok()
        .filter(|n| *n > space + 1 && *n <= block.len())
        .ok_or_else(wrong)?;
    let (this, rest) = block.split_at(length);
    let body = this
        .get(space + 1..)
        .and_then(|b| b.strip_suffix(b"\n"))
        .ok_or_else(wrong)?;
    let equals = body.iter().position(|byte| *byte == b'=').ok_or_else(wrong)?;
    let (key, value) = body.split_at(equals);
    Ok((key, value.get(1..).unwrap_or_default(), rest))
}

fn path(value: &[u8]) -> Result<Option<Vec<u8>>, Error> {
    if value.len() > MAX_PATH {
        return Err(Error::Limit {
            field: "path",
            limit: MAX_PATH as u64,
        });
    }
    if value.contains(&0) {
        return Err(Error::Field {
            field: "path",
            problem: "holds a zero byte",
        });
    }
    Ok((!value.is_empty()).then(|| value.to_vec()))
}

fn optional(value: &[u8], field: &'static str) -> Result<Option<u64>, Error> {
    if value.is_empty() {
        Ok(None)
    } else {
        decimal(value, field).map(Some)
    }
}

pub(super) fn decimal(text: &[u8], field: &'static str) -> Result<u64, Error> {
    let wrong = Error::Field {
        field,
        problem: "is not a decimal number",
    };
    if text.is_empty() || text.len() > 20 || !text.iter().all(u8::is_ascii_digit) {
        return Err(wrong);
    }
    std::str::from_utf8(text)
        .ok()
        .and_then(|digits| digits.parse().ok())
        .ok_or(wrong)
}

/// Seconds with an optional sign and fraction.
fn time(text: &[u8]) -> Result<(i64, u32), Error> {
    let wrong = |_: ()| Error::Field {
        field: "mtime",
        problem: "is not a time in seconds",
    };
    let (negative, text) = match text.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let mut parts = text.splitn(2, |byte| *byte == b'.');
    let seconds = decimal(parts.next().unwrap_or_default(), "mtime")?;
    let seconds = i64::try_from(seconds).map_err(|_e| wrong(()))?;
    let mut nanos: u32 = 0;
    let mut scale = 100_000_000;
    for digit in parts.next().unwrap_or_default() {
        if !digit.is_ascii_digit() {
            return Err(wrong(()));
        }
        nanos += u32::from(digit - b'0') * scale;
        scale /= 10;
    }
    match (negative, nanos) {
        (false, _) => Ok((seconds, nanos)),
        (true, 0) => Ok((-seconds, 0)),
        // A time before the epoch counts its nanoseconds upwards from the second below.
        (true, _) => Ok((-seconds - 1, 1_000_000_000 - nanos)),
    }
}
