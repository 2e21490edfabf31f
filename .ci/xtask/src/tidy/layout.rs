//! The top level, and names that say nothing.

use std::path::Path;

use super::{Finding, Source};

/// What stands at the root, besides dot names.
const TOP: &[&str] = &[
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "README.md",
    "SECURITY.md",
    "client",
    "helm",
    "registry",
    "runtime",
    "storage-tests",
];

/// Names of modules and folders that tell nobody what is inside.
const EMPTY_NAMES: &[&str] = &[
    "common", "helper", "helpers", "manager", "misc", "shared", "util", "utils",
];

/// Crates that hold no unsafe line, by their `lib.rs`.
const SAFE: &[&str] = &[
    "registry/protocol/src/lib.rs",
    "registry/src/lib.rs",
    "client/src/lib.rs",
    "storage-tests/src/lib.rs",
];

/// Finds strangers and gaps at the top level, names that say nothing, and crates that forgot to
/// forbid unsafe code.
pub(super) fn check(sources: &[Source]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for name in TOP {
        if !sources.iter().any(|source| source.path.starts_with(name)) {
            findings.push(Finding::of(Path::new(name), "is missing from the top level"));
        }
    }
    for source in sources {
        findings.extend(top_level(source));
        findings.extend(empty_name(source));
        if SAFE.iter().any(|lib| source.path == Path::new(lib))
            && !source.text.contains("#![forbid(unsafe_code)]")
        {
            findings.push(Finding::of(&source.path, "must say #![forbid(unsafe_code)]"));
        }
    }
    findings
}

fn top_level(source: &Source) -> Option<Finding> {
    let first = source.path.iter().next()?.to_str()?;
    let known = first.starts_with('.') || TOP.contains(&first);
    (!known).then(|| Finding::of(&source.path, "the top level has no place for this"))
}

fn empty_name(source: &Source) -> Option<Finding> {
    if !source.has_extension("rs") {
        return None;
    }
    let says_nothing = |part: &str| EMPTY_NAMES.contains(&part.trim_end_matches(".rs"));
    let name = source
        .path
        .iter()
        .filter_map(|part| part.to_str())
        .find(|part| says_nothing(part))?;
    Some(Finding::of(
        &source.path,
        format!("{name:?} does not say what is inside"),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::source;

    fn whole() -> Vec<Source> {
        TOP.iter().map(|name| source(name, "")).collect()
    }

    #[test]
    fn the_top_level_as_it_should_be_passes() {
        assert_eq!(check(&whole()), []);
    }

    #[test]
    fn a_missing_entry_and_a_stranger_are_found() {
        let mut sources = whole();
        sources.retain(|source| !source.is_called("LICENSE"));
        sources.push(source("notes.txt", ""));
        sources.push(source(".ci/run", ""));
        let found: Vec<String> = check(&sources).iter().map(ToString::to_string).collect();
        assert_eq!(
            found,
            [
                "LICENSE: is missing from the top level",
                "notes.txt: the top level has no place for this"
            ]
        );
    }

    #[test]
    fn names_that_say_nothing_are_found_wherever_they_stand() {
        for path in [
            "client/src/utils.rs",
            "client/src/common/mod.rs",
            "registry/tests/it/helpers.rs",
        ] {
            let mut sources = whole();
            sources.push(source(path, ""));
            assert_eq!(check(&sources).len(), 1, "{path}");
        }
    }

    #[test]
    fn a_safe_crate_must_forbid_unsafe_code() {
        let mut sources = whole();
        sources.push(source("client/src/lib.rs", "//! text"));
        assert_eq!(check(&sources).len(), 1);
        sources.pop();
        sources.push(source("client/src/lib.rs", "//! text\n#![forbid(unsafe_code)]"));
        assert_eq!(check(&sources), []);
    }
}
