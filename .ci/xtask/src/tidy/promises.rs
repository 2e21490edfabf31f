//! A row of SECURITY.md's tables that names a test is a promise: the test must exist.

use std::path::Path;

use super::{Finding, Source};

const FILE: &str = "SECURITY.md";

/// Finds rows that name no test, and tests that do not exist.
pub(super) fn check(sources: &[Source]) -> Vec<Finding> {
    let Some(document) = sources.iter().find(|source| source.path == Path::new(FILE)) else {
        return Vec::new();
    };
    let mut findings = Vec::new();
    for (index, row) in rows(&document.text) {
        let tests = guards(row);
        if tests.is_empty() {
            findings.push(Finding::at(
                &document.path,
                index,
                "the row names no test that guards it",
            ));
        }
        for test in tests.into_iter().filter(|test| !exists(sources, test)) {
            findings.push(Finding::at(
                &document.path,
                index,
                format!("no test is called {test}"),
            ));
        }
    }
    findings
}

/// The rows of every table whose last column is headed `guarded by`, with their line numbers.
fn rows(text: &str) -> Vec<(usize, &str)> {
    let mut rows = Vec::new();
    let mut in_table = false;
    for (index, line) in text.lines().enumerate() {
        if !line.starts_with('|') {
            in_table = false;
        } else if last_cell(line) == "guarded by" {
            in_table = true;
        } else if in_table && !line.starts_with("|---") && !line.starts_with("| ---") {
            rows.push((index + 1, line));
        }
    }
    rows
}

fn last_cell(row: &str) -> &str {
    row.trim_end()
        .trim_end_matches('|')
        .rsplit('|')
        .next()
        .unwrap_or("")
        .trim()
}

/// The names in backticks of a row's last cell, which are functions, maybe with their module.
fn guards(row: &str) -> Vec<&str> {
    last_cell(row)
        .split('`')
        .skip(1)
        .step_by(2)
        .map(|name| name.rsplit("::").next().unwrap_or(name))
        .collect()
}

fn exists(sources: &[Source], test: &str) -> bool {
    let plain = format!("fn {test}(");
    // proptest's functions take their arguments in the macro's own form, clauses are stamped.
    let rust = sources.iter().filter(|source| source.has_extension("rs"));
    rust.into_iter().any(|source| source.text.contains(&plain))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::source;

    fn found(row: &str) -> Vec<String> {
        let table = format!(
            "# Past mistakes\n\n| mistake | guarded by |\n|---|---|\n{row}\n\n| other | table |\n| a | b |\n"
        );
        let code = source(
            "runtime/tests/it/cve.rs",
            "#[test]\nfn cve_2019_5736_the_runtime_is_sealed() {}\n",
        );
        check(&[source(FILE, &table), code])
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn a_row_whose_test_exists_passes() {
        assert_eq!(
            found("| overwritten | `cve::cve_2019_5736_the_runtime_is_sealed` |"),
            [""; 0]
        );
    }

    #[test]
    fn a_row_that_names_a_test_that_does_not_exist_is_found() {
        assert_eq!(
            found("| overwritten | `cve_2019_5736_the_runtime_is_sealed`, `gone` |"),
            ["SECURITY.md:5: no test is called gone"]
        );
    }

    #[test]
    fn a_row_without_a_test_is_found() {
        assert_eq!(
            found("| overwritten | soon |"),
            ["SECURITY.md:5: the row names no test that guards it"]
        );
    }
}
