//! `cargo x tidy`: what no lint can check. Each check is a module whose rules are pure; this one
//! reads the files and tells what was found.

mod dependencies;
mod documents;
mod layout;
mod promises;
mod sizes;
mod words;

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::say;
use crate::workspace::Workspace;

/// One thing that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Finding {
    file: PathBuf,
    /// Counted from 1; 0 is the file as a whole.
    line: usize,
    what: String,
}

impl Finding {
    fn at(file: &Path, line: usize, what: impl Into<String>) -> Self {
        Self {
            file: file.to_owned(),
            line,
            what: what.into(),
        }
    }

    fn of(file: &Path, what: impl Into<String>) -> Self {
        Self::at(file, 0, what)
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.file.display(), self.what),
            line => write!(f, "{}:{line}: {}", self.file.display(), self.what),
        }
    }
}

/// A text file of the workspace: its path under the root and what it holds.
struct Source {
    path: PathBuf,
    text: String,
}

impl Source {
    fn has_extension(&self, wanted: &str) -> bool {
        self.path.extension().is_some_and(|extension| extension == wanted)
    }

    fn is_called(&self, wanted: &str) -> bool {
        self.path.file_name().is_some_and(|name| name == wanted)
    }
}

/// Runs every check and prints what they found. `false`: something was found.
pub fn command(workspace: &Workspace) -> Result<bool> {
    let sources = read(workspace)?;
    let mut findings = layout::check(&sources);
    findings.extend(sizes::check(&sources));
    findings.extend(words::check(&sources));
    findings.extend(promises::check(&sources));
    findings.extend(documents::check(&sources));
    findings.extend(dependencies::check(workspace, &sources)?);
    for finding in &findings {
        say::line(&finding.to_string());
    }
    say::line(&format!(
        "tidy: {} files, {} findings",
        sources.len(),
        findings.len()
    ));
    Ok(findings.is_empty())
}

/// Every source that is text; what is not UTF-8 (a golden archive, say) is nobody's to read.
fn read(workspace: &Workspace) -> Result<Vec<Source>> {
    let mut sources = Vec::new();
    for path in workspace.sources()? {
        let file = workspace.root().join(&path);
        let bytes = std::fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
        if let Ok(text) = String::from_utf8(bytes) {
            sources.push(Source { path, text });
        }
    }
    Ok(sources)
}

#[cfg(test)]
fn source(path: &str, text: &str) -> Source {
    Source {
        path: PathBuf::from(path),
        text: text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_reads_as_an_editor_jumps_to_it() {
        assert_eq!(
            Finding::at(Path::new("a/b.rs"), 7, "long").to_string(),
            "a/b.rs:7: long"
        );
        assert_eq!(
            Finding::of(Path::new("a/b.rs"), "long").to_string(),
            "a/b.rs: long"
        );
    }

    #[test]
    fn this_workspace_is_read_whole() {
        let sources = read(&Workspace::locate().unwrap()).unwrap();
        assert!(sources.iter().any(|source| source.is_called("Cargo.lock")));
        assert!(
            sources
                .iter()
                .any(|source| source.path.ends_with("tidy/words.rs"))
        );
    }
}
