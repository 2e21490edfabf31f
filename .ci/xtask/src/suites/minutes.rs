//! Reads from nextest's JUnit report how long each test program's tests took. Pure.

use std::fmt;
use std::time::Duration;

/// What the tests of one program took.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Program {
    /// As nextest names it: `wharf-registry::it` for `registry/tests/it`, `wharf-registry` for the tests beside the
    /// code.
    name: String,
    tests: usize,
    /// The tests' own times, added up: on two cores about twice what they kept a person waiting.
    took: Duration,
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let minutes = self.took.as_secs_f64() / 60.0;
        write!(f, "  {:<32} {minutes:>5.1} min   {} tests", self.name, self.tests)
    }
}

/// Reads the report, in its order. What is not understood is left out: the numbers of tests come from elsewhere.
pub(super) fn read(report: &str) -> Vec<Program> {
    let mut programs: Vec<Program> = Vec::new();
    for line in report.lines().map(str::trim_start) {
        if line.starts_with("<testsuite ") {
            programs.extend(attribute(line, "name").map(|name| Program {
                name: name.to_owned(),
                tests: 0,
                took: Duration::ZERO,
            }));
        } else if line.starts_with("<testcase ")
            && let Some(program) = programs.last_mut()
        {
            program.tests += 1;
            program.took += seconds(line).unwrap_or_default();
        }
    }
    programs
}

fn seconds(line: &str) -> Option<Duration> {
    Duration::try_from_secs_f64(attribute(line, "time")?.parse().ok()?).ok()
}

/// The value of an attribute of the element that opens on this line. A value holds no bare quotation mark.
fn attribute<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = line.split_once(&format!(" {name}=\""))?;
    Some(rest.split_once('"')?.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_programs_tests_are_added_up_and_nothing_else() {
        let report = r#"<?xml version="1.0" encoding="UTF-8"?>
<testsuites name="nextest-run" tests="3" failures="1" errors="0" uuid="x" timestamp="2026-11-24T19:29:09.784+00:00" time="61.5">
    <testsuite name="wharf-registry" tests="1" disabled="0" errors="0" failures="0">
        <testcase name="names::a &quot;b&quot;" classname="wharf-registry" timestamp="2026-11-24T19:29:09.784+00:00" time="0.500">
        </testcase>
    </testsuite>
    <testsuite name="wharf-registry::it" tests="2" disabled="0" errors="0" failures="1">
        <testcase name="base::x" classname="wharf-registry::it" timestamp="2026-11-24T19:29:10.784+00:00" time="60.000"/>
        <testcase name="base::y" classname="wharf-registry::it" timestamp="2026-11-24T19:29:10.784+00:00" time="1.250">
            <failure message="x" type="test failure">time="9"</failure>
        </testcase>
    </testsuite>
</testsuites>"#;
        let programs = read(report);
        let shown: Vec<String> = programs.iter().map(ToString::to_string).collect();
        assert_eq!(
            shown,
            [
                "  wharf-registry                     0.0 min   1 tests",
                "  wharf-registry::it                 1.0 min   2 tests",
            ]
        );
        assert_eq!(programs[1].took, Duration::from_millis(61_250));
    }

    #[test]
    fn what_is_no_report_has_no_programs() {
        assert_eq!(read(""), []);
        assert_eq!(read("<testcase time=\"1\">"), []);
    }
}
