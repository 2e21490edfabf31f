//! From a profile's rules to one decision for each range of call numbers of an architecture.

use super::{
    SeccompError,
    action::Verdict,
    architecture::Architecture,
    table::{Call, Multiplexed},
};
use crate::spec::seccomp::{LinuxSeccompArg, LinuxSyscall, SeccompOperator};

/// 32-bit ARM's private calls begin here; they are no sign of how new a profile is.
const ARM_PRIVATE: u32 = 0x000f_0000;
/// The bit that tells x32's numbers from those of x86-64.
const X32_BIT: u32 = 0x4000_0000;
/// The number a tracer sets so that a call is skipped.
const SKIPPED: u32 = u32::MAX;
const ARGUMENTS: u32 = 6;
/// Numbers that lie close together: those of every architecture but for its private ones.
const NUMBERS: usize = 512;
/// The index of no match.
const NO_MATCH: usize = usize::MAX;

/// A rule ready to be matched: the verdict, and the conditions under which it holds.
#[derive(Clone, Debug)]
pub(super) struct Match {
    pub(super) verdict: Verdict,
    /// Any one of these must hold, each being a list that must hold entirely. Empty: always.
    pub(super) alternatives: Vec<Vec<LinuxSeccompArg>>,
}

/// What happens to the numbers of a range.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Decision {
    Return(Verdict),
    /// The first of these matches that holds (indexes into [`Rules::matches`]), else the fallback.
    FirstOf(Vec<usize>, Verdict),
}

/// The numbers from `first` to the next range's.
#[derive(Clone, Debug)]
pub(super) struct Range {
    pub(super) first: u32,
    pub(super) decision: Decision,
}

/// The rules of a profile.
pub(super) struct Rules {
    /// The calls of each rule. A name that no architecture knows matches nothing: profiles name calls of
    /// kernels newer than their reader.
    calls: Vec<Vec<Call>>,
    default: Verdict,
    answers_unknown: bool,
    /// One for each rule, then those that stand for calls through `socketcall` and `ipc`.
    pub(super) matches: Vec<Match>,
}

/// A match about one number.
#[derive(Clone, Copy, Eq, Ord, PartialEq, PartialOrd)]
struct Use {
    number: u32,
    index: usize,
}

/// What the rules say of one architecture's numbers.
struct Said {
    /// For each number from the architecture's first on: 1 and the first match that always holds, 0 for none.
    always: Vec<usize>,
    /// Matches that hold under conditions, and those of numbers far from all others.
    others: Vec<Use>,
    /// The newest call that any rule names, whatever it says.
    newest: Option<u32>,
}

impl Rules {
    /// Checks every rule.
    pub(super) fn new(
        rules: &[LinuxSyscall<'_>],
        default: Verdict,
        default_errno: Option<u32>,
    ) -> Result<Self, SeccompError> {
        let mut matches = Vec::with_capacity(rules.len() + 32);
        let mut calls = Vec::with_capacity(rules.len());
        for (index, rule) in rules.iter().enumerate() {
            matches.push(checked(index, rule)?);
            calls.push(rule.names.iter().filter_map(|name| Call::named(name)).collect());
        }
        // A profile that answers ENOSYS by itself needs no help with what it doesn't know.
        let answers_unknown =
            !default.is_permissive_default() && default_errno != Some(Verdict::NO_SUCH_CALL.0 & 0xffff);
        Ok(Self {
            calls,
            default,
            answers_unknown,
            matches,
        })
    }

    /// The decisions of one architecture, without gaps, from its first number on.
    pub(super) fn ranges(&mut self, architecture: Architecture) -> Vec<Range> {
        let first = if architecture == Architecture::X32 {
            X32_BIT
        } else {
            0
        };
        let mut said = self.said(architecture, first);
        said.others.sort_unstable();
        let mut ranges = Ranges {
            ranges: Vec::with_capacity(160),
            default: self.default,
            newest: if self.answers_unknown { said.newest } else { None },
        };
        let mut others = said
            .others
            .chunk_by(|left, right| left.number == right.number)
            .peekable();
        let mut next = first;
        for (number, &always) in (first..).zip(&said.always) {
            let conditional =
                others.next_if(|group| group.first().is_some_and(|entry| entry.number == number));
            let decision = match (always.checked_sub(1), conditional) {
                (Some(index), _) => self
                    .matches
                    .get(index)
                    .map(|found| Decision::Return(found.verdict)),
                (None, Some(group)) => Some(self.decide(group)),
                (None, None) => None,
            };
            if let Some(decision) = decision {
                ranges.fill(next, number);
                ranges.push(number, decision);
                next = number + 1;
            }
        }
        for group in others {
            let Some(number) = group.first().map(|entry| entry.number) else {
                continue;
            };
            ranges.fill(next, number);
            ranges.push(number, self.decide(group));
            next = number.saturating_add(1);
        }
        ranges.fill(next, SKIPPED);
        match architecture {
            Architecture::X86_64 => ranges.close_x32(),
            _ => ranges.ranges,
        }
    }

    /// Goes through the rules once. As libseccomp has it, a rule that says what the default says is no rule.
    fn said(&mut self, architecture: Architecture, first: u32) -> Said {
        let mut said = Said {
            always: vec![0; NUMBERS],
            others: Vec::new(),
            newest: None,
        };
        for (index, calls) in self.calls.iter().enumerate() {
            let Some(found) = self.matches.get(index) else {
                continue;
            };
            let (always, counts) = (found.alternatives.is_empty(), found.verdict != self.default);
            for &call in calls {
                if let Some(number) = call.number(architecture) {
                    said.names(architecture, number);
                    if counts {
                        said.add(Use { number, index }, always, first);
                    } else if is_private(architecture, number) {
                        // Known, though nothing else tells that it is.
                        let index = NO_MATCH;
                        said.others.push(Use { number, index });
                    }
                }
                if architecture == Architecture::X86
                    && let Some(entry) = multiplexed(&mut self.matches, index, call)
                {
                    said.names(architecture, entry.number);
                    if counts {
                        said.others.push(entry);
                    }
                }
            }
        }
        said
    }

    /// What the matches of one number come to: one without conditions goes before all that have some.
    fn decide(&self, group: &[Use]) -> Decision {
        let mut conditional = Vec::with_capacity(group.len());
        for entry in group {
            match self.matches.get(entry.index) {
                Some(found) if found.alternatives.is_empty() => return Decision::Return(found.verdict),
                Some(_) => conditional.push(entry.index),
                None => {}
            }
        }
        if conditional.is_empty() {
            Decision::Return(self.default)
        } else {
            Decision::FirstOf(conditional, self.default)
        }
    }
}

impl Said {
    /// A call counts as known, unless its number tells nothing about how new it is.
    fn names(&mut self, architecture: Architecture, number: u32) {
        if !is_private(architecture, number) {
            self.newest = self.newest.max(Some(number));
        }
    }

    fn add(&mut self, entry: Use, always: bool, first: u32) {
        let place = usize::try_from(entry.number.wrapping_sub(first)).ok();
        match place.and_then(|place| self.always.get_mut(place)) {
            Some(slot) if always && *slot == 0 => *slot = entry.index + 1,
            Some(_) if always => {}
            _ => self.others.push(entry),
        }
    }
}

/// The same call through `socketcall` or `ipc`.
///
/// Its own arguments lie in memory there, where a filter cannot look: a rule with conditions holds without
/// them if it stops the call, and not at all if it lets it through.
fn multiplexed(matches: &mut Vec<Match>, index: usize, call: Call) -> Option<Use> {
    let (through, selector) = call.multiplexed();
    let (name, condition) = match through {
        Multiplexed::No => return None,
        Multiplexed::Socketcall => ("socketcall", equals(u64::from(selector))),
        Multiplexed::Ipc => ("ipc", low_half_equals(u64::from(selector))),
    };
    let original = matches.get(index)?;
    if original.verdict.lets_through() && !original.alternatives.is_empty() {
        return None;
    }
    let number = Call::named(name)?.number(Architecture::X86)?;
    let verdict = original.verdict;
    matches.push(Match {
        verdict,
        alternatives: vec![vec![condition]],
    });
    Some(Use {
        number,
        index: matches.len() - 1,
    })
}

fn is_private(architecture: Architecture, number: u32) -> bool {
    architecture == Architecture::Arm && number >= ARM_PRIVATE
}

/// Ranges under construction.
struct Ranges {
    ranges: Vec<Range>,
    default: Verdict,
    /// The newest call of the profile, where numbers above it are answered as unknown.
    newest: Option<u32>,
}

impl Ranges {
    fn push(&mut self, first: u32, decision: Decision) {
        if self.ranges.last().is_none_or(|last| last.decision != decision) {
            self.ranges.push(Range { first, decision });
        }
    }

    /// Decides the numbers from `from` to before `to`, which no rule names. (The last number of all goes with
    /// those before it.)
    fn fill(&mut self, from: u32, to: u32) {
        if from >= to {
            return;
        }
        let unknown = self.newest.map_or(to, |newest| from.max(newest + 1));
        if from < unknown {
            self.push(from, Decision::Return(self.default));
        }
        if unknown < to {
            self.push(unknown, Decision::Return(Verdict::NO_SUCH_CALL));
        }
    }

    /// Ends x86-64's numbers where those of x32 begin. Without a block for x32 its calls are those of an
    /// architecture outside the profile.
    fn close_x32(mut self) -> Vec<Range> {
        let skipped = self.ranges.last().map(|last| last.decision.clone());
        self.ranges.retain(|range| range.first < X32_BIT);
        self.push(X32_BIT, Decision::Return(Verdict::KILL_PROCESS));
        if let Some(decision) = skipped {
            self.push(SKIPPED, decision);
        }
        self.ranges
    }
}

fn equals(value: u64) -> LinuxSeccompArg {
    LinuxSeccompArg {
        index: 0,
        value,
        value_two: 0,
        op: SeccompOperator::EqualTo,
    }
}

/// `ipc` takes a version in the upper half of its selector.
fn low_half_equals(value: u64) -> LinuxSeccompArg {
    LinuxSeccompArg {
        index: 0,
        value: 0xffff,
        value_two: value,
        op: SeccompOperator::MaskedEqual,
    }
}

fn checked(index: usize, rule: &LinuxSyscall<'_>) -> Result<Match, SeccompError> {
    let verdict = Verdict::new(rule.action, rule.errno_ret, &|| {
        format!("syscalls[{index}].errnoRet")
    })?;
    if verdict.notifies() && rule.names.iter().any(|name| &**name == "write") {
        // The start of the container needs it after the filter is in force.
        return Err(SeccompError::refused(
            format!("syscalls[{index}].action"),
            "SCMP_ACT_NOTIFY cannot be used for write",
        ));
    }
    for (position, condition) in rule.args.iter().enumerate() {
        if condition.index >= ARGUMENTS {
            let field = format!("syscalls[{index}].args[{position}].index");
            return Err(SeccompError::refused(field, "a system call has arguments 0 to 5"));
        }
    }
    Ok(Match {
        verdict,
        alternatives: alternatives(&rule.args),
    })
}

/// runc's reading of the conditions: all must hold; but where two of them are about one argument, any one of
/// the whole list.
fn alternatives(conditions: &[LinuxSeccompArg]) -> Vec<Vec<LinuxSeccompArg>> {
    let mut seen = [false; ARGUMENTS as usize];
    let repeated = conditions.iter().any(|condition| {
        usize::try_from(condition.index)
            .ok()
            .and_then(|index| seen.get_mut(index))
            .is_some_and(|seen| std::mem::replace(seen, true))
    });
    match conditions {
        [] => Vec::new(),
        _ if repeated => conditions.iter().map(|&condition| vec![condition]).collect(),
        _ => vec![conditions.to_vec()],
    }
}
