//! Patterns over repository names, and what a caller may see by them.

#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;

/// What a rule allows in the repositories that its pattern matches.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Actions {
    /// Reading: blobs, manifests, tags, referrers.
    pub pull: bool,
    /// Writing: uploads, mounts, manifests, tags.
    pub push: bool,
    /// Removing blobs, manifests and tags.
    pub delete: bool,
}

impl Actions {
    /// Everything.
    pub const ALL: Self = Self {
        pull: true,
        push: true,
        delete: true,
    };

    /// Returns what either of the two allows.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self {
            pull: self.pull || other.pull,
            push: self.push || other.push,
            delete: self.delete || other.delete,
        }
    }
}

impl fmt::Display for Actions {
    /// Writes the allowed ones as `pull,push,delete`, in this order.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = [(self.pull, "pull"), (self.push, "push"), (self.delete, "delete")];
        let mut first = true;
        for (_, word) in words.into_iter().filter(|(allowed, _)| *allowed) {
            if !first {
                f.write_str(",")?;
            }
            first = false;
            f.write_str(word)?;
        }
        Ok(())
    }
}

impl FromStr for Actions {
    type Err = BadPattern;

    /// Reads `pull,push,delete` in any order, at least one of them; `*` is all.
    fn from_str(text: &str) -> Result<Self, BadPattern> {
        let mut actions = Self::default();
        for word in text.split(',') {
            match word.trim() {
                "pull" => actions.pull = true,
                "push" => actions.push = true,
                "delete" => actions.delete = true,
                "*" => actions = Self::ALL,
                other => return Err(BadPattern::Action(other.to_owned())),
            }
        }
        Ok(actions)
    }
}

/// Why a pattern or a list of actions was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadPattern {
    /// The pattern is empty, or has an empty component.
    #[error("a pattern is components with a slash between them, none of them empty: {0:?}")]
    Empty(String),
    /// A character that no repository name has.
    #[error("a pattern holds a-z, 0-9, '.', '_', '-', '/' and '*' only, not {character:?}: {pattern:?}")]
    Character {
        /// The whole pattern.
        pattern: String,
        /// What is wrong in it.
        character: char,
    },
    /// `**` beside something else in one component, or more of them than are cheap to match.
    #[error("'**' stands alone between slashes, and at most 4 times: {0:?}")]
    DoubleStar(String),
    /// A pattern longer than any repository name.
    #[error("a pattern has at most 255 characters")]
    TooLong,
    /// A pattern without actions.
    #[error("it is PATTERN:ACTIONS, like team/**:pull,push, not {0:?}")]
    Allowance(String),
    /// An unknown action.
    #[error("unknown action {0:?}: pull, push, delete, or * for all")]
    Action(String),
}

/// Matches repository names: `*` is any characters within a component, `**` is one component or more.
///
/// So `alice/**` is all below `alice/` but not `alice` itself, `*/app` is `app` below any one component, and `**`
/// is every repository.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pattern(String);

impl Pattern {
    /// Returns the pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns whether the repository's name matches.
    pub fn matches(&self, name: &str) -> bool {
        let pattern: Vec<&str> = self.0.split('/').collect();
        let name: Vec<&str> = name.split('/').collect();
        components_match(&pattern, &name)
    }

    /// Returns what every matching name begins with.
    pub fn literal_prefix(&self) -> &str {
        self.0
            .split_once('*')
            .map_or(self.0.as_str(), |(prefix, _)| prefix)
    }

    /// Returns whether it matches one name alone.
    pub fn is_literal(&self) -> bool {
        !self.0.contains('*')
    }
}

fn components_match(pattern: &[&str], name: &[&str]) -> bool {
    match pattern.split_first() {
        None => name.is_empty(),
        Some((&"**", rest)) => {
            (1..=name.len()).any(|taken| name.get(taken..).is_some_and(|left| components_match(rest, left)))
        }
        Some((first, rest)) => name
            .split_first()
            .is_some_and(|(component, left)| stars_match(first, component) && components_match(rest, left)),
    }
}

/// Matches one component. The pieces between stars are found from left to right, the first and last at the ends.
fn stars_match(pattern: &str, text: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else {
        return pattern == text;
    };
    let Some(mut left) = text.strip_prefix(first) else {
        return false;
    };
    let mut pieces = rest.split('*').peekable();
    while let Some(piece) = pieces.next() {
        if pieces.peek().is_none() {
            return left.ends_with(piece);
        }
        match left.split_once(piece) {
            Some((_, after)) => left = after,
            None => return false,
        }
    }
    true
}

impl FromStr for Pattern {
    type Err = BadPattern;

    fn from_str(text: &str) -> Result<Self, BadPattern> {
        if text.len() > 255 {
            return Err(BadPattern::TooLong);
        }
        let allowed = |c: char| matches!(c, 'a'..='z' | '0'..='9' | '.' | '_' | '-' | '/' | '*');
        if let Some(character) = text.chars().find(|c| !allowed(*c)) {
            return Err(BadPattern::Character {
                pattern: text.to_owned(),
                character,
            });
        }
        if text.split('/').any(str::is_empty) {
            return Err(BadPattern::Empty(text.to_owned()));
        }
        let doubles = text.split('/').filter(|component| component.contains("**"));
        if doubles.clone().any(|component| component != "**") || doubles.count() > 4 {
            return Err(BadPattern::DoubleStar(text.to_owned()));
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Actions in the repositories of a pattern, written `team/**:pull,push`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Allowance {
    /// Where.
    pub pattern: Pattern,
    /// What.
    pub actions: Actions,
}

impl FromStr for Allowance {
    type Err = BadPattern;

    fn from_str(text: &str) -> Result<Self, BadPattern> {
        let (pattern, actions) = text
            .split_once(':')
            .ok_or_else(|| BadPattern::Allowance(text.to_owned()))?;
        Ok(Self {
            pattern: pattern.parse()?,
            actions: actions.parse()?,
        })
    }
}

impl fmt::Display for Allowance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.pattern, self.actions)
    }
}

/// Which repositories a caller may see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Visible {
    /// Every one.
    All,
    /// Those that one of the patterns matches; none, if there is no pattern.
    Matching(Vec<Pattern>),
    /// Those of the first that one of the patterns matches too.
    Within(Box<Visible>, Vec<Pattern>),
}

impl Visible {
    /// Returns whether the repository of this name may be seen.
    pub fn includes(&self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::Matching(patterns) => patterns.iter().any(|pattern| pattern.matches(name)),
            Self::Within(visible, patterns) => {
                visible.includes(name) && patterns.iter().any(|pattern| pattern.matches(name))
            }
        }
    }

    /// Returns the ranges of names (first, and the first one past it, or no end) that hold every visible name: in
    /// order, without overlap. A listing reads these alone, so that it costs what the caller may see.
    pub fn ranges(&self) -> Vec<Range> {
        match self {
            Self::All => vec![(String::new(), None)],
            Self::Matching(patterns) => merged(patterns),
            Self::Within(visible, patterns) => intersected(&visible.ranges(), &merged(patterns)),
        }
    }
}

/// From the first name to the first one past it, or without an end.
type Range = (String, Option<String>);

/// Returns the ranges of all patterns, in order and without overlap.
fn merged(patterns: &[Pattern]) -> Vec<Range> {
    let mut ranges: Vec<Range> = patterns.iter().map(pattern_range).collect();
    ranges.sort();
    let mut merged: Vec<Range> = Vec::new();
    for (start, end) in ranges {
        match merged.last_mut() {
            Some((_, None)) => break,
            Some((_, Some(last))) if start <= *last => match end {
                Some(end) => *last = end.max(std::mem::take(last)),
                None => {
                    let open = merged.pop().map(|(start, _)| (start, None));
                    merged.extend(open);
                }
            },
            _ => merged.push((start, end)),
        }
    }
    merged
}

/// Returns what is in both, in order.
fn intersected(first: &[Range], second: &[Range]) -> Vec<Range> {
    let mut both = Vec::new();
    for (start, end) in first {
        for (other_start, other_end) in second {
            let start = start.max(other_start).clone();
            let end = match (end, other_end) {
                (Some(end), Some(other)) => Some(end.min(other).clone()),
                (Some(end), None) | (None, Some(end)) => Some(end.clone()),
                (None, None) => None,
            };
            if end.as_ref().is_none_or(|end| start < *end) {
                both.push((start, end));
            }
        }
    }
    both
}

/// Returns the range of names that a pattern can match. The characters of a name are ASCII, so the first one past a
/// prefix is the prefix with its last byte one higher; no name holds a `!`, which sorts before all that it holds, so
/// a name with one is the first past the name alone.
fn pattern_range(pattern: &Pattern) -> Range {
    let prefix = pattern.literal_prefix();
    if pattern.is_literal() {
        return (prefix.to_owned(), Some(format!("{prefix}!")));
    }
    let mut past = prefix.to_owned();
    let end = past.pop().and_then(|last| {
        let next = char::from_u32(u32::from(last).saturating_add(1))?;
        past.push(next);
        Some(past)
    });
    (prefix.to_owned(), end)
}
