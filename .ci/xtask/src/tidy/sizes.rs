//! Files that someone can read in one sitting.

use super::{Finding, Source};

/// Lines that a source file may have.
const LINES: usize = 600;
/// Lines of tests that may stand in the file they test; more go to a sibling `x/tests.rs`.
const LINES_OF_TESTS: usize = 100;
/// Lines of a test module that is over [`LINES_OF_TESTS`] but in a file small enough to be read whole.
const LINES_READ_WHOLE: usize = 300;

/// Finds files that are too long, and tests that should have moved out of theirs.
pub(super) fn check(sources: &[Source]) -> Vec<Finding> {
    sources
        .iter()
        .filter(|source| source.has_extension("rs"))
        .flat_map(of_one)
        .collect()
}

fn of_one(source: &Source) -> Option<Finding> {
    let lines = source.text.lines().count();
    if lines > LINES {
        return Some(Finding::of(
            &source.path,
            format!("{lines} lines; at most {LINES}: split it by what it does"),
        ));
    }
    let tests = lines_of_tests(&source.text);
    (tests > LINES_OF_TESTS && lines > LINES_READ_WHOLE).then(|| {
        let what = format!("{tests} lines of tests in a file of {lines}; move them to a sibling x/tests.rs");
        Finding::of(&source.path, what)
    })
}

/// Lines from `#[cfg(test)]` before an inline `mod tests {` to the end.
fn lines_of_tests(text: &str) -> usize {
    let lines: Vec<&str> = text.lines().collect();
    let start = lines
        .iter()
        .zip(lines.iter().skip(1))
        .position(|(first, second)| *first == "#[cfg(test)]" && second.starts_with("mod tests {"));
    start.map_or(0, |start| lines.len() - start)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::source;

    #[test]
    fn a_file_over_the_limit_is_found_and_one_at_the_limit_is_not() {
        let long = source("a.rs", &"\n".repeat(LINES + 1));
        let fits = source("b.rs", &"\n".repeat(LINES));
        let found = check(&[long, fits]);
        assert_eq!(found.len(), 1);
        assert!(
            found[0].to_string().starts_with("a.rs: 601 lines"),
            "{}",
            found[0]
        );
    }

    #[test]
    fn other_files_may_be_long() {
        assert_eq!(check(&[source("Cargo.lock", &"\n".repeat(5_000))]), []);
    }

    #[test]
    fn many_lines_of_tests_belong_in_a_file_of_their_own() {
        let code = "fn f() {}\n".repeat(250);
        let tests = format!("#[cfg(test)]\nmod tests {{\n{}}}\n", "    \n".repeat(120));
        assert_eq!(check(&[source("a.rs", &format!("{code}{tests}"))]).len(), 1);
        assert_eq!(
            check(&[source("a.rs", &format!("fn f() {{}}\n{tests}"))]),
            [],
            "short enough as a whole"
        );
        assert_eq!(
            check(&[source("a.rs", &format!("{code}#[cfg(test)]\nmod tests;\n"))]),
            []
        );
    }
}
