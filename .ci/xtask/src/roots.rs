//! File systems of real programs, from Debian's packages: made once, kept by what they hold.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::{install, process, say, workspace};

/// A root file system that mmdebstrap makes.
pub struct Root {
    /// The program that it is for, and the file's name.
    pub name: &'static str,
    /// `extract` unpacks the packages alone; `essential` also lets them set themselves up.
    variant: &'static str,
    packages: &'static str,
}

/// A web server with its default page, set up as its package does it.
pub const NGINX: Root = Root {
    name: "nginx",
    variant: "essential",
    packages: "nginx-light",
};

/// The interpreter with its standard library.
pub const PYTHON: Root = Root {
    name: "python",
    variant: "extract",
    packages: "python3",
};

impl Root {
    /// What a user types to make it as `NAME.tar`.
    #[must_use]
    pub fn typed(&self, suite: &str) -> String {
        let Self {
            name,
            variant,
            packages,
        } = self;
        format!("mmdebstrap --mode=root --variant={variant} --include={packages} {suite} {name}.tar")
    }

    /// The tar of the root in `folder`, made there on first use.
    pub fn tarball(&self, folder: &Path) -> Result<PathBuf> {
        let typed = self.typed(&suite()?);
        let _lock = workspace::lock(folder)?;
        let kept = folder.join(format!(
            "{}-{}.tar",
            self.name,
            install::fingerprint(typed.as_bytes())
        ));
        if !kept.exists() {
            install::packages(&["mmdebstrap"])?;
            let made = folder.join(format!("{}.tar", self.name));
            apart(&typed, folder)?;
            fs::rename(&made, &kept).with_context(|| format!("cannot keep {}", kept.display()))?;
        }
        Ok(kept)
    }
}

/// Runs one shell line in a mount namespace of its own: what mmdebstrap mounts never shows outside.
pub(crate) fn apart(line: &str, folder: &Path) -> Result<()> {
    say::typed(line);
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "--propagation", "private", "sh", "-euc", line])
        .current_dir(folder);
    process::quietly(&mut command)
}

/// The name of this machine's Debian release.
pub fn suite() -> Result<String> {
    let text = fs::read_to_string("/etc/os-release").context("cannot read /etc/os-release")?;
    suite_of(&text)
}

fn suite_of(os_release: &str) -> Result<String> {
    let name = os_release
        .lines()
        .find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    match name
        .map(|name| name.trim_matches('"'))
        .filter(|name| !name.is_empty())
    {
        Some(name) => Ok(name.to_owned()),
        None => bail!("/etc/os-release names no VERSION_CODENAME: this needs Debian or what is made from it"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_release_is_read_by_its_name() {
        assert_eq!(
            suite_of("ID=debian\nVERSION_CODENAME=bookworm\n").unwrap(),
            "bookworm"
        );
        assert_eq!(suite_of("VERSION_CODENAME=\"trixie\"\n").unwrap(), "trixie");
        assert!(
            suite_of("ID=arch\n")
                .unwrap_err()
                .to_string()
                .contains("VERSION_CODENAME")
        );
    }

    #[test]
    fn the_typed_line_names_suite_and_file() {
        assert_eq!(
            PYTHON.typed("bookworm"),
            "mmdebstrap --mode=root --variant=extract --include=python3 bookworm python.tar"
        );
    }

    #[test]
    fn a_line_apart_keeps_its_mounts_to_itself() {
        let folder = tempfile::tempdir().unwrap();
        apart(
            "mkdir m && mount -t tmpfs none m && touch m/inside",
            folder.path(),
        )
        .unwrap();
        assert!(!folder.path().join("m/inside").exists());
    }
}
