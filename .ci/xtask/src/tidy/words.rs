//! Lines that must not stay: tests switched off, work left for later, paths of somebody's machine.

use super::{Finding, Source};

/// A word, the files it must not stand in, and why.
struct Banned {
    /// In two halves, so that this table does not find itself.
    word: (&'static str, &'static str),
    rust_only: bool,
    why: &'static str,
}

const BANNED: &[Banned] = &[
    Banned {
        word: ("#[ign", "ore"),
        rust_only: true,
        why: "a test runs or does not exist",
    },
    Banned {
        word: ("to", "do!("),
        rust_only: true,
        why: "what is not built is refused by name",
    },
    Banned {
        word: ("unimple", "mented!("),
        rust_only: true,
        why: "what is not built is refused by name",
    },
    Banned {
        word: ("#![al", "low("),
        rust_only: true,
        why: "use expect with a reason",
    },
    Banned {
        word: ("TO", "DO"),
        rust_only: false,
        why: "an issue holds what is to do",
    },
    Banned {
        word: ("FIX", "ME"),
        rust_only: false,
        why: "an issue holds what is to do",
    },
    Banned {
        word: ("/wo", "rk/"),
        rust_only: false,
        why: "a path of one machine",
    },
    Banned {
        word: ("/ho", "me/runner"),
        rust_only: false,
        why: "a path of one machine",
    },
    Banned {
        word: ("../sha", "red"),
        rust_only: false,
        why: "a path outside the project",
    },
];

/// Files whose lines are not ours to word.
const NOT_OURS: &[&str] = &["Cargo.lock", "LICENSE"];

/// Finds every banned word, by file and line.
pub(super) fn check(sources: &[Source]) -> Vec<Finding> {
    let ours = sources
        .iter()
        .filter(|source| !NOT_OURS.iter().any(|name| source.is_called(name)));
    ours.flat_map(of_one).collect()
}

fn of_one(source: &Source) -> Vec<Finding> {
    let rust = source.has_extension("rs");
    let mut findings = Vec::new();
    for banned in BANNED.iter().filter(|banned| rust || !banned.rust_only) {
        let word = format!("{}{}", banned.word.0, banned.word.1);
        for (index, _) in source
            .text
            .lines()
            .enumerate()
            .filter(|(_, line)| contains(line, &word))
        {
            findings.push(Finding::at(
                &source.path,
                index + 1,
                format!("{word:?}: {}", banned.why),
            ));
        }
    }
    findings
}

/// Says whether `word` stands in `line` and is not the middle of a longer one.
fn contains(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let before = line.get(..at).and_then(|text| text.chars().next_back());
        let after = line.get(at + word.len()..).and_then(|text| text.chars().next());
        let joins = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
        let starts_a_word = word.starts_with(|c: char| c.is_alphanumeric());
        let ends_a_word = word.ends_with(|c: char| c.is_alphanumeric());
        let goes_on = (starts_a_word && joins(before)) || (ends_a_word && joins(after));
        !goes_on && !joins_path(word, before)
    })
}

/// A path that goes on to the left is another path.
fn joins_path(word: &str, before: Option<char>) -> bool {
    word.starts_with('/') && before.is_some_and(|c| c.is_alphanumeric() || "._-$})".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::source;

    fn banned(index: usize) -> String {
        format!("{}{}", BANNED[index].word.0, BANNED[index].word.1)
    }

    #[test]
    fn each_banned_word_is_found_with_its_line() {
        for index in 0..BANNED.len() {
            let found = check(&[source("a.rs", &format!("fine\n    {} x", banned(index)))]);
            assert_eq!(found.len(), 1, "{}", banned(index));
            assert_eq!(found[0].line, 2);
        }
    }

    #[test]
    fn rusts_words_may_stand_in_prose() {
        assert_eq!(check(&[source("a.md", &banned(0))]), []);
        assert_eq!(check(&[source("LICENSE", &banned(4))]), []);
    }

    #[test]
    fn a_word_inside_a_longer_one_is_another_word() {
        assert_eq!(
            check(&[source("a.rs", "MASTODON TODON overlay/work/x $DIR/work/")]),
            []
        );
    }

    #[test]
    fn this_table_does_not_find_itself() {
        assert_eq!(check(&[source("words.rs", include_str!("words.rs"))]), []);
    }
}
