//! A path that a document names must exist.

use std::path::Path;

use super::{Finding, Source};

/// Folders whose paths are ours to check.
const OURS: &[&str] = &[
    "registry/",
    "client/",
    "runtime/",
    "storage-tests/",
    "helm/",
    ".ci/",
];

/// Finds the paths in backticks, in documents of the top level, at which nothing stands.
pub(super) fn check(sources: &[Source]) -> Vec<Finding> {
    let top = sources
        .iter()
        .filter(|source| source.has_extension("md") && source.path.iter().count() == 1);
    top.flat_map(|document| of_one(document, sources)).collect()
}

fn of_one(document: &Source, sources: &[Source]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (index, line) in document.text.lines().enumerate() {
        let named = line.split('`').skip(1).step_by(2).filter(|name| is_path(name));
        for name in named.filter(|name| !exists(name, sources)) {
            findings.push(Finding::at(
                &document.path,
                index + 1,
                format!("nothing stands at {name}"),
            ));
        }
    }
    findings
}

fn is_path(name: &str) -> bool {
    OURS.iter().any(|folder| name.starts_with(folder)) && !name.contains([' ', '*', '{', '<'])
}

fn exists(name: &str, sources: &[Source]) -> bool {
    sources
        .iter()
        .any(|source| source.path.starts_with(Path::new(name)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::source;

    #[test]
    fn a_path_that_went_away_is_found() {
        let sources = [
            source(
                "ARCHITECTURE.md",
                "see `client/src/image/` and\n`client/src/gone.rs`, not `GET /v2/`",
            ),
            source("client/src/image/mod.rs", ""),
        ];
        let found: Vec<String> = check(&sources).iter().map(ToString::to_string).collect();
        assert_eq!(found, ["ARCHITECTURE.md:2: nothing stands at client/src/gone.rs"]);
    }

    #[test]
    fn only_documents_of_the_top_level_are_read() {
        assert_eq!(check(&[source("helm/tests/x.md", "`client/src/gone.rs`")]), []);
    }
}
