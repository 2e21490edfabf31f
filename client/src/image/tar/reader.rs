//! Entries out of a stream, one after the other.

use std::io::Read;

use super::header::Header;
use super::pax::Records;
use super::sparse;
use super::{BLOCK, Entry, Error, Kind, MAX_EXTENDED, MAX_PATH};

/// The bytes below the entries: whole blocks, and what is left of the current entry's data.
pub(super) struct Source<R> {
    inner: R,
}

impl<R: Read> Source<R> {
    /// The next block; `None` at the stream's end, between two blocks.
    pub(super) fn block(&mut self) -> Result<Option<[u8; BLOCK]>, Error> {
        let mut block = [0; BLOCK];
        let mut filled = 0;
        while filled < BLOCK {
            match self.inner.read(block.get_mut(filled..).unwrap_or_default()) {
                Ok(0) if filled == 0 => return Ok(None),
                Ok(0) => return Err(Error::Truncated),
                Ok(n) => filled += n,
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e.into()),
            }
        }
        Ok(Some(block))
    }

    fn skip(&mut self, bytes: u64) -> Result<(), Error> {
        let skipped = std::io::copy(&mut (&mut self.inner).take(bytes), &mut std::io::sink())?;
        if skipped == bytes {
            Ok(())
        } else {
            Err(Error::Truncated)
        }
    }

    /// A whole small body with its padding: an extended header's records, a long name.
    fn body(&mut self, size: u64, field: &'static str) -> Result<Vec<u8>, Error> {
        if size > MAX_EXTENDED {
            return Err(Error::Limit {
                field,
                limit: MAX_EXTENDED,
            });
        }
        let mut body = Vec::new();
        (&mut self.inner).take(size).read_to_end(&mut body)?;
        if body.len() as u64 != size {
            return Err(Error::Truncated);
        }
        self.skip(padding(size))?;
        Ok(body)
    }
}

/// Bytes from the end of `size` bytes of data to the next block.
pub(super) fn padding(size: u64) -> u64 {
    size.wrapping_neg() % BLOCK as u64
}

/// Reads a tar stream. Call [`Reader::next`] for each entry and [`Reader::read`] for its data; what is not
/// read is skipped.
pub struct Reader<R> {
    source: Source<R>,
    left: u64,
    padding: u64,
    ended: bool,
    global: Records,
}

impl<R: Read> Reader<R> {
    /// Reads from `inner`, which should be buffered.
    pub fn new(inner: R) -> Self {
        Reader {
            source: Source { inner },
            left: 0,
            padding: 0,
            ended: false,
            global: Records::default(),
        }
    }

    /// The next entry; `None` after the last. A stream that just stops between two entries has ended too, as
    /// every tar program takes it.
    ///
    /// # Errors
    /// See [`Error`]. After one, the stream can't be read on.
    #[expect(
        clippy::should_implement_trait,
        reason = "an iterator can't give the data between two entries"
    )]
    pub fn next(&mut self) -> Result<Option<Entry>, Error> {
        self.source.skip(self.left + self.padding)?;
        (self.left, self.padding) = (0, 0);
        if self.ended {
            return Ok(None);
        }
        let mut records = self.global.clone();
        let mut described = false;
        loop {
            let block = self.source.block()?;
            let header = match &block {
                Some(block) => Header::parse(block)?,
                None => None,
            };
            let Some(header) = header else {
                self.ended = true;
                return if described {
                    Err(Error::Truncated)
                } else {
                    Ok(None)
                };
            };
            match header.type_flag() {
                b'x' => records.take(&self.source.body(header.size()?, "extended header")?)?,
                b'g' => {
                    let body = self.source.body(header.size()?, "extended header")?;
                    self.global.take(&body)?;
                    records.take(&body)?;
                    continue;
                }
                b'L' => records.path = Some(long_name(self.source.body(header.size()?, "path")?)?),
                b'K' => records.link = Some(long_name(self.source.body(header.size()?, "link")?)?),
                _ => return self.entry(&header, records).map(Some),
            }
            described = true;
        }
    }

    /// The current entry's next bytes of data (of a sparse file, of its parts one after the other); 0 at
    /// their end.
    ///
    /// # Errors
    /// [`Error::Truncated`] when the stream ends first.
    pub fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        let wanted = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        if wanted == 0 {
            return Ok(0);
        }
        let n = self
            .source
            .inner
            .read(buffer.get_mut(..wanted).unwrap_or_default())?;
        if n == 0 {
            return Err(Error::Truncated);
        }
        self.left -= n as u64;
        Ok(n)
    }

    /// Reads the stream to its end, so that whoever hashes it has seen every byte.
    ///
    /// # Errors
    /// When the stream fails.
    pub fn drain(mut self) -> Result<(), Error> {
        std::io::copy(&mut self.source.inner, &mut std::io::sink())?;
        Ok(())
    }

    fn entry(&mut self, header: &Header<'_>, records: Records) -> Result<Entry, Error> {
        let long = records.sparse.name.as_ref().or(records.path.as_ref());
        let path = long.cloned().unwrap_or_else(|| header.path());
        let kind = header.kind(&path)?;
        let stored = stored_size(header, kind, &records)?;
        let map = if header.type_flag() == b'S' {
            Some(sparse::old_gnu(header, &mut self.source)?)
        } else if records.sparse.major == Some(1) {
            Some(sparse::from_data(&records.sparse, stored, &mut self.source)?)
        } else if records.sparse.real_size.is_some() {
            Some(sparse::from_records(&records.sparse)?)
        } else {
            None
        };
        let link = records.link.unwrap_or_else(|| header.link().to_vec());
        if path.len() > MAX_PATH || link.len() > MAX_PATH {
            return Err(Error::Limit {
                field: "path",
                limit: MAX_PATH as u64,
            });
        }
        self.left = stored - map.as_ref().map_or(0, |map| map.taken);
        self.padding = padding(stored);
        let entry = Entry {
            path,
            kind,
            link: if matches!(kind, Kind::HardLink | Kind::Symlink) {
                link
            } else {
                Vec::new()
            },
            mode: header.mode()?,
            uid: id(records.uid.map_or_else(|| header.uid(), Ok)?, "uid")?,
            gid: id(records.gid.map_or_else(|| header.gid(), Ok)?, "gid")?,
            mtime: records
                .mtime
                .map_or_else(|| header.mtime().map(|seconds| (seconds, 0)), Ok)?,
            size: map.as_ref().map_or(stored, |map| map.size),
            device: if matches!(kind, Kind::CharDevice | Kind::BlockDevice) {
                header.device()?
            } else {
                (0, 0)
            },
            xattrs: records.xattrs,
            sparse: map.map(|map| map.parts),
        };
        if entry.sparse.is_some() && entry.stored_bytes() != self.left {
            return Err(Error::Conflict {
                field: "size of a sparse file",
            });
        }
        Ok(entry)
    }
}

/// The largest size that a header's eleven octal digits hold.
const MAX_OCTAL: u64 = 0o77_777_777_777;

/// The bytes that follow the header: one reading of it, or none.
fn stored_size(header: &Header<'_>, kind: Kind, records: &Records) -> Result<u64, Error> {
    let plain = header.size()?;
    let size = match records.size {
        // A writer whose number does not fit the header's field leaves it 0 there (or at its largest value);
        // any other difference would be read as two different streams.
        Some(size) if plain != size && (size <= MAX_OCTAL || (plain != 0 && plain != MAX_OCTAL)) => {
            return Err(Error::Conflict { field: "size" });
        }
        Some(size) => size,
        None => plain,
    };
    // Only a file has data; old writers gave links the size of what they point at.
    if kind == Kind::File {
        Ok(size)
    } else if size == 0 || kind == Kind::HardLink {
        Ok(0)
    } else {
        no_data(kind)
    }
}

fn no_data(kind: Kind) -> Result<u64, Error> {
    match kind {
        Kind::Directory | Kind::Symlink => Ok(0),
        _ => Err(Error::Field {
            field: "size",
            problem: "is given for what has no data",
        }),
    }
}

fn long_name(mut body: Vec<u8>) -> Result<Vec<u8>, Error> {
    if let Some(end) = body.iter().position(|byte| *byte == 0) {
        body.truncate(end);
    }
    if body.len() > MAX_PATH {
        Err(Error::Limit {
            field: "path",
            limit: MAX_PATH as u64,
        })
    } else {
        Ok(body)
    }
}

/// `u32::MAX` means "leave it" to the kernel, so it is no owner.
fn id(value: u64, field: &'static str) -> Result<u32, Error> {
    let id = u32::try_from(value).ok().filter(|id| *id != u32::MAX);
    id.ok_or(Error::Field {
        field,
        problem: "is beyond what Linux has",
    })
}
