//! Reads how many tests passed from what the runners print. Pure.

use std::fmt;
use std::iter::Sum;
use std::ops::AddAssign;

/// How many tests passed and how many did not.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Tests that ran and passed.
    pub passed: u64,
    /// Tests that failed, ran out of time, could not start, or were asked for and did not run.
    pub failed: u64,
}

impl Tally {
    /// Says whether something ran and all of it passed.
    #[must_use]
    pub fn is_success(self) -> bool {
        self.failed == 0 && self.passed > 0
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
    }
}

impl Sum for Tally {
    fn sum<I: Iterator<Item = Self>>(tallies: I) -> Self {
        tallies.fold(Self::default(), |mut sum, tally| {
            sum += tally;
            sum
        })
    }
}

/// Reads nextest's closing line:
/// `Summary [   0.100s] 5 tests run: 3 passed (1 slow), 1 failed, 1 timed out, 0 skipped`.
///
/// What ran and did not pass has failed, by whatever word; so has what was to run and did not
/// (`3/5 tests run`).
pub(super) fn nextest(line: &str) -> Option<Tally> {
    let line = without_colours(line);
    let (_, rest) = line.trim_start().strip_prefix("Summary [")?.split_once(']')?;
    let (run, results) = rest.split_once(" run:")?;
    let wanted: u64 = run.split_whitespace().next()?.rsplit('/').next()?.parse().ok()?;
    let passed = results
        .split([',', '('])
        .find_map(|part| part.trim().strip_suffix(" passed")?.parse().ok());
    let passed: u64 = passed.unwrap_or(0);
    Some(Tally {
        passed,
        failed: wanted.saturating_sub(passed),
    })
}

/// Reads a closing line of cargo's own runner:
/// `test result: FAILED. 2 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out`.
///
/// A test that is ignored counts as failed: nothing is skipped.
pub(super) fn doctests(line: &str) -> Option<Tally> {
    let line = without_colours(line);
    let results = line.trim_start().strip_prefix("test result: ")?;
    let count = |word: &str| -> Option<u64> {
        results
            .split([';', '.'])
            .find_map(|part| part.trim().strip_suffix(word)?.trim().parse().ok())
    };
    Some(Tally {
        passed: count("passed")?,
        failed: count("failed")? + count("ignored").unwrap_or(0),
    })
}

/// The line without the terminal's colour sequences.
fn without_colours(line: &str) -> String {
    let mut plain = String::with_capacity(line.len());
    let mut rest = line.chars();
    while let Some(c) = rest.next() {
        if c == '\u{1b}' {
            rest.by_ref().find(|c| *c == 'm');
        } else {
            plain.push(c);
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(passed: u64, failed: u64) -> Option<Tally> {
        Some(Tally { passed, failed })
    }

    #[test]
    fn nextests_closing_lines_are_read() {
        let cases = [
            (
                "     Summary [   0.100s] 3 tests run: 3 passed, 0 skipped",
                tally(3, 0),
            ),
            (
                "     Summary [   0.100s] 1 test run: 1 passed, 0 skipped",
                tally(1, 0),
            ),
            (
                "Summary [ 61.100s] 5 tests run: 3 passed (1 slow), 1 failed, 1 timed out, 2 skipped",
                tally(3, 2),
            ),
            (
                "Summary [ 61.100s] 2 tests run: 0 passed, 2 exec failed, 0 skipped",
                tally(0, 2),
            ),
            (
                "Summary [ 61.100s] 3/5 tests run: 2 passed, 1 failed, 0 skipped",
                tally(2, 3),
            ),
            (
                "Summary [ 61.100s] 5 tests run: 5 passed (1 slow, 1 flaky), 0 skipped",
                tally(5, 0),
            ),
            (
                "\u{1b}[32;1m     Summary\u{1b}[0m [   0.1s] \u{1b}[1m3\u{1b}[0m tests run: \u{1b}[1m3\u{1b}[0m passed",
                tally(3, 0),
            ),
            ("        PASS [   0.006s] xtask cli::tests::x", None),
            ("", None),
        ];
        for (line, expected) in cases {
            assert_eq!(nextest(line), expected, "{line}");
        }
    }

    #[test]
    fn cargos_closing_lines_are_read() {
        let cases = [
            (
                "test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.10s",
                tally(2, 0),
            ),
            (
                "test result: FAILED. 2 passed; 1 failed; 3 ignored; 0 measured; 0 filtered out",
                tally(2, 4),
            ),
            ("test src/lib.rs - parse (line 3) ... ok", None),
        ];
        for (line, expected) in cases {
            assert_eq!(doctests(line), expected, "{line}");
        }
    }

    #[test]
    fn nothing_run_is_no_success() {
        assert!(!Tally::default().is_success());
        assert!(!Tally { passed: 9, failed: 1 }.is_success());
        assert!(Tally { passed: 1, failed: 0 }.is_success());
    }

    #[test]
    fn tallies_add_up_to_the_closing_line() {
        let sum: Tally = [Tally { passed: 2, failed: 0 }, Tally { passed: 3, failed: 1 }]
            .into_iter()
            .sum();
        assert_eq!(sum.to_string(), "5 passed, 1 failed");
    }
}
