//! Where things are: the workspace's root, its sources, what the commands leave behind.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::process;

/// The workspace that `cargo x` was called in.
#[derive(Debug, Clone)]
pub struct Workspace {
    root: PathBuf,
}

impl Workspace {
    /// Asks cargo for the root above the current folder.
    pub fn locate() -> Result<Self> {
        let manifest = process::output(process::cargo().args([
            "locate-project",
            "--workspace",
            "--message-format",
            "plain",
        ]))?;
        let root = Path::new(manifest.trim_end())
            .parent()
            .context("cargo named no manifest")?;
        Ok(Self::at(root))
    }

    /// Takes `root` as the workspace's root.
    #[must_use]
    pub fn at(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
        }
    }

    /// The root's folder.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where `dist` and `image` put what they make, whatever `CARGO_TARGET_DIR` says.
    #[must_use]
    pub fn dist(&self) -> PathBuf {
        self.root.join("target/dist")
    }

    /// Every file that git tracks or would track, as a path under the root, in byte order.
    pub fn sources(&self) -> Result<Vec<PathBuf>> {
        let listed = process::output(Command::new("git").current_dir(&self.root).args([
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
        ]))?;
        let mut files: Vec<PathBuf> = listed
            .split('\0')
            .filter(|name| !name.is_empty())
            .map(PathBuf::from)
            .collect();
        // A file deleted from the work tree stays listed until the deletion is staged.
        files.retain(|file| self.root.join(file).is_file());
        files.sort();
        files.dedup();
        Ok(files)
    }
}

/// What is fetched or made once and used by every checkout: `$XDG_CACHE_HOME/wharf-tools`.
pub fn cache() -> Result<PathBuf> {
    let base = match std::env::var_os("XDG_CACHE_HOME").filter(|value| !value.is_empty()) {
        Some(folder) => PathBuf::from(folder),
        None => PathBuf::from(std::env::var_os("HOME").context("HOME is not set")?).join(".cache"),
    };
    Ok(base.join("wharf-tools"))
}

/// Makes `folder` and takes its lock, which is given back when the file is dropped.
pub fn lock(folder: &Path) -> Result<File> {
    let doing = || format!("cannot lock {}", folder.display());
    std::fs::create_dir_all(folder).with_context(doing)?;
    let file = File::create(folder.join("lock")).with_context(doing)?;
    file.lock().with_context(doing)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_holds_the_lock_file_and_this_crate_among_its_sources() {
        let workspace = Workspace::locate().unwrap();
        assert!(workspace.root().join("Cargo.lock").is_file());
        let sources = workspace.sources().unwrap();
        assert!(sources.contains(&PathBuf::from(".ci/xtask/src/workspace.rs")));
        assert!(!sources.iter().any(|file| file.starts_with("target")));
    }
}
