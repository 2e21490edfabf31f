//! The 512 bytes before each entry.

use super::{BLOCK, Error, Kind, Parts};

/// One header block, its checksum already agreed.
pub(super) struct Header<'a>(&'a [u8; BLOCK]);

impl<'a> Header<'a> {
    /// `None` for the block of zeros that ends a stream.
    pub(super) fn parse(block: &'a [u8; BLOCK]) -> Result<Option<Self>, Error> {
        if block.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        let header = Header(block);
        // The field itself counts as eight spaces. Some old writers summed signed bytes.
        let plain = block
            .iter()
            .enumerate()
            .map(|(i, b)| if (148..156).contains(&i) { b' ' } else { *b });
        let unsigned: u64 = plain.clone().map(u64::from).sum();
        let signed: i64 = plain.map(|b| i64::from(b.cast_signed())).sum();
        let told = number(header.field(148, 8), "checksum").unwrap_or(u64::MAX);
        if told != unsigned && i64::try_from(told) != Ok(signed) {
            return Err(Error::Checksum);
        }
        Ok(Some(header))
    }

    fn field(&self, offset: usize, length: usize) -> &'a [u8] {
        self.0.get(offset..offset + length).unwrap_or_default()
    }

    /// The name, with ustar's prefix before it.
    pub(super) fn path(&self) -> Vec<u8> {
        let name = text(self.field(0, 100));
        let prefix = if self.is_ustar() {
            text(self.field(345, 155))
        } else {
            &[]
        };
        if prefix.is_empty() {
            name.to_vec()
        } else {
            [prefix, b"/", name].concat()
        }
    }

    pub(super) fn link(&self) -> &'a [u8] {
        text(self.field(157, 100))
    }

    pub(super) fn mode(&self) -> Result<u32, Error> {
        let mode = number(self.field(100, 8), "mode")?;
        // Some writers put the file's type above the permissions; it says nothing that the type flag doesn't.
        u32::try_from(mode & 0o7777).map_err(|_e| Error::Field {
            field: "mode",
            problem: "is too large",
        })
    }

    pub(super) fn uid(&self) -> Result<u64, Error> {
        number(self.field(108, 8), "uid")
    }

    pub(super) fn gid(&self) -> Result<u64, Error> {
        number(self.field(116, 8), "gid")
    }

    pub(super) fn size(&self) -> Result<u64, Error> {
        number(self.field(124, 12), "size")
    }

    pub(super) fn mtime(&self) -> Result<i64, Error> {
        signed_number(self.field(136, 12), "mtime")
    }

    pub(super) fn device(&self) -> Result<(u32, u32), Error> {
        let part = |offset| {
            let value = number(self.field(offset, 8), "device number")?;
            u32::try_from(value).map_err(|_e| Error::Field {
                field: "device number",
                problem: "is too large",
            })
        };
        Ok((part(329)?, part(337)?))
    }

    pub(super) fn type_flag(&self) -> u8 {
        self.0.get(156).copied().unwrap_or_default()
    }

    /// The kind that the type flag says of an entry called `path`; extended headers have none.
    pub(super) fn kind(&self, path: &[u8]) -> Result<Kind, Error> {
        match self.type_flag() {
            // Before ustar, a directory was a file whose name ends in a slash.
            0 | b'0' if !self.is_ustar() && path.ends_with(b"/") => Ok(Kind::Directory),
            0 | b'0' | b'7' | b'S' => Ok(Kind::File),
            b'1' => Ok(Kind::HardLink),
            b'2' => Ok(Kind::Symlink),
            b'3' => Ok(Kind::CharDevice),
            b'4' => Ok(Kind::BlockDevice),
            b'5' => Ok(Kind::Directory),
            b'6' => Ok(Kind::Fifo),
            other => Err(Error::Unsupported(char::from(other))),
        }
    }

    fn is_ustar(&self) -> bool {
        // GNU's own headers have the magic `ustar  ` and other things where the prefix would be.
        self.field(257, 8) == b"ustar\x0000" || self.field(257, 6) == b"ustar\0"
    }

    /// The four sparse parts of an old GNU header, whether more follow, and the file's real size.
    pub(super) fn gnu_sparse(&self) -> Result<(Parts, bool, u64), Error> {
        let parts = sparse_parts(self.field(386, 96))?;
        Ok((
            parts,
            self.field(482, 1) == [1],
            number(self.field(483, 12), "real size")?,
        ))
    }
}

/// Offsets and lengths in twelve-byte numbers; the first pair of length zero at an empty field ends them.
pub(super) fn sparse_parts(fields: &[u8]) -> Result<Parts, Error> {
    let mut parts = Vec::new();
    for pair in fields.chunks_exact(24) {
        let (offset, length) = pair.split_at(12);
        if offset.first() == Some(&0) {
            break;
        }
        parts.push((number(offset, "sparse offset")?, number(length, "sparse length")?));
    }
    Ok(parts)
}

/// Text up to the first zero byte.
fn text(field: &[u8]) -> &[u8] {
    field.split(|byte| *byte == 0).next().unwrap_or_default()
}

fn number(field: &[u8], name: &'static str) -> Result<u64, Error> {
    u64::try_from(signed_number(field, name)?).map_err(|_e| Error::Field {
        field: name,
        problem: "is negative",
    })
}

/// Octal digits between spaces and zeros, or GNU's base 256 (first bit set, big-endian two's complement).
fn signed_number(field: &[u8], name: &'static str) -> Result<i64, Error> {
    let wrong = |problem| Error::Field { field: name, problem };
    if let Some((first, rest)) = field.split_first()
        && first & 0x80 != 0
    {
        let negative = first & 0x40 != 0;
        let mut value: i128 = if negative { -1 } else { 0 };
        value = (value << 6) | i128::from(first & 0x3f);
        for byte in rest {
            value = value.checked_mul(256).ok_or_else(|| wrong("is too large"))? | i128::from(*byte);
        }
        return i64::try_from(value).map_err(|_e| wrong("is too large"));
    }
    let digits = field.trim_ascii_start();
    let end = digits
        .iter()
        .position(|b| *b == 0 || *b == b' ')
        .unwrap_or(digits.len());
    let mut value: i64 = 0;
    for digit in digits.get(..end).unwrap_or_default() {
        if !(b'0'..=b'7').contains(digit) {
            return Err(wrong("is not an octal number"));
        }
        value = value
            .checked_mul(8)
            .and_then(|v| v.checked_add(i64::from(digit - b'0')))
            .ok_or_else(|| wrong("is too large"))?;
    }
    Ok(value)
}
