//! One layer: a tar whose bytes depend on nothing but what was put into it.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};
use flate2::{Compression, GzBuilder};
use tar::{Builder, EntryType, Header};

/// Whose a file is, by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner(pub u64);

impl Owner {
    /// User and group 0.
    pub const ROOT: Self = Self(0);
}

/// A layer that is whole: its tar, uncompressed.
pub struct Layer(Vec<u8>);

impl Layer {
    /// The layer's bytes, uncompressed.
    #[must_use]
    pub fn tar(&self) -> &[u8] {
        &self.0
    }

    pub(super) fn into_tar(self) -> Vec<u8> {
        self.0
    }

    /// Takes a tar that another program made.
    #[must_use]
    pub fn of(tar: Vec<u8>) -> Self {
        Self(tar)
    }
}

/// A layer in the making. Times are 0, names of users are left out, missing parents are made.
pub struct LayerBuilder {
    tar: Builder<Vec<u8>>,
    folders: BTreeSet<String>,
}

impl Default for LayerBuilder {
    fn default() -> Self {
        Self {
            tar: Builder::new(Vec::new()),
            folders: BTreeSet::new(),
        }
    }
}

impl LayerBuilder {
    /// Puts a folder at `path`, absolute in the image.
    pub fn folder(&mut self, path: &str, mode: u32, owner: Owner) -> Result<()> {
        let path = path.trim_matches('/').to_owned();
        self.parents(&path)?;
        if self.folders.insert(path.clone()) {
            let mut header = header(EntryType::Directory, mode, owner, 0);
            self.append(&mut header, &format!("{path}/"), &[])?;
        }
        Ok(())
    }

    /// Puts a file with these bytes at `path`.
    pub fn file(&mut self, path: &str, mode: u32, bytes: &[u8]) -> Result<()> {
        let path = path.trim_matches('/');
        self.parents(path)?;
        let size = u64::try_from(bytes.len()).context("a file is larger than tar can say")?;
        let mut header = header(EntryType::Regular, mode, Owner::ROOT, size);
        self.append(&mut header, path, bytes)
    }

    /// Puts a copy of the file at `from`, links followed, at `path`.
    pub fn copy(&mut self, from: &Path, path: &str, mode: u32) -> Result<()> {
        let bytes = std::fs::read(from).with_context(|| format!("cannot read {}", from.display()))?;
        self.file(path, mode, &bytes)
    }

    /// Puts a symbolic link at `path` that says `target`.
    pub fn link(&mut self, path: &str, target: &str) -> Result<()> {
        let path = path.trim_matches('/');
        self.parents(path)?;
        let mut header = header(EntryType::Symlink, 0o777, Owner::ROOT, 0);
        self.tar
            .append_link(&mut header, path, target)
            .with_context(|| format!("cannot put /{path} into the layer"))
    }

    /// Ends the layer.
    pub fn finish(self) -> Result<Layer> {
        self.tar
            .into_inner()
            .map(Layer)
            .context("cannot end the layer's tar")
    }

    fn parents(&mut self, path: &str) -> Result<()> {
        match path.rsplit_once('/') {
            Some((parent, _)) if !self.folders.contains(parent) => self.folder(parent, 0o755, Owner::ROOT),
            _ => Ok(()),
        }
    }

    fn append(&mut self, header: &mut Header, path: &str, bytes: &[u8]) -> Result<()> {
        self.tar
            .append_data(header, path, bytes)
            .with_context(|| format!("cannot put /{path} into the layer"))
    }
}

fn header(kind: EntryType, mode: u32, Owner(owner): Owner, size: u64) -> Header {
    let mut header = Header::new_ustar();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(owner);
    header.set_gid(owner);
    header.set_size(size);
    header.set_mtime(0);
    header
}

/// Compresses a tar; the header names no file and no time.
pub(super) fn gzip(tar: &[u8]) -> Result<Vec<u8>> {
    let mut encoder = GzBuilder::new().write(Vec::new(), Compression::default());
    encoder
        .write_all(tar)
        .and_then(|()| encoder.finish())
        .context("cannot compress a layer")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(tar: &[u8]) -> Vec<String> {
        let mut archive = tar::Archive::new(tar);
        let entries = archive.entries().unwrap().map(|entry| {
            let entry = entry.unwrap();
            let header = entry.header();
            format!(
                "{} {:o} {} {}",
                entry.path().unwrap().display(),
                header.mode().unwrap(),
                header.uid().unwrap(),
                header.mtime().unwrap()
            )
        });
        entries.collect()
    }

    #[test]
    fn parents_are_made_once_and_in_order() {
        let mut layer = LayerBuilder::default();
        layer.file("/usr/bin/a", 0o755, b"a").unwrap();
        layer.file("/usr/bin/b", 0o644, b"b").unwrap();
        layer.folder("/var/lib/x", 0o700, Owner(65_532)).unwrap();
        layer.link("/bin", "usr/bin").unwrap();
        assert_eq!(
            entries(layer.finish().unwrap().tar()),
            [
                "usr/ 755 0 0",
                "usr/bin/ 755 0 0",
                "usr/bin/a 755 0 0",
                "usr/bin/b 644 0 0",
                "var/ 755 0 0",
                "var/lib/ 755 0 0",
                "var/lib/x/ 700 65532 0",
                "bin 777 0 0",
            ]
        );
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = LayerBuilder::default()
            .copy(Path::new("/no/such/file"), "/x", 0o644)
            .unwrap_err();
        assert!(format!("{error:#}").contains("/no/such/file"));
    }
}
