//! A bucket on a real S3 server over a folder, reached by as many doors as it has clients.

use std::path::Path;

use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use tempfile::TempDir;

use super::door::Door;
use crate::backends::bucket::{ACCESS, NAME, PREFIX};

/// Multipart uploads that are neither completed nor aborted.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Unfinished {
    /// How many were begun.
    pub begun: usize,
    /// How many parts all of them have.
    pub parts: usize,
}

/// A bucket and its server.
pub struct Bucket {
    folder: TempDir,
    service: S3Service,
}

impl Bucket {
    /// Makes an empty bucket.
    pub(super) fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join(NAME)).unwrap();
        let mut builder = S3ServiceBuilder::new(s3s_fs::FileSystem::new(folder.path()).unwrap());
        builder.set_auth(SimpleAuth::from_single(ACCESS.0, ACCESS.1));
        let service = builder.build();
        Self { folder, service }
    }

    /// Opens another way to the bucket.
    pub async fn door(&self) -> Door {
        Door::open(self.service.clone(), format!("s3://{NAME}/{PREFIX}")).await
    }

    /// Returns the names of all objects, below the prefix and in order, looked at from behind.
    pub fn objects(&self) -> Vec<String> {
        let prefix = self.folder.path().join(NAME).join(PREFIX);
        let mut names = Vec::new();
        collect(&prefix, &prefix, &mut names);
        names.sort();
        names
    }

    /// Returns what the server keeps of multipart uploads that were neither completed nor aborted.
    pub fn unfinished(&self) -> Unfinished {
        let mut found = Unfinished::default();
        for file in std::fs::read_dir(self.folder.path()).unwrap() {
            let name = file.unwrap().file_name();
            // The server's own names.
            match name.to_string_lossy() {
                name if name.starts_with(".upload_id-") => found.parts += 1,
                name if name.starts_with(".upload-") => found.begun += 1,
                _ => {}
            }
        }
        found
    }
}

fn collect(folder: &Path, prefix: &Path, names: &mut Vec<String>) {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return;
    };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, prefix, names);
        } else {
            let name = path.strip_prefix(prefix).unwrap();
            names.push(name.to_str().unwrap().to_owned());
        }
    }
}
