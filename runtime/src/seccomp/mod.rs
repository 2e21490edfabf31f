//! From `linux.seccomp` of a bundle to a classic BPF program.
//!
//! ```text
//! profile ──rules──► ranges of call numbers, one list an architecture ──assembler──► instructions
//! ```
//!
//! The program begins with one comparison for the native architecture, then one for each other one. A block
//! loads the call's number and finds its range in a balanced tree, in which neighbours with the same decision
//! are one range. Numbers above the newest call that the profile names are answered ENOSYS, so that programs
//! fall back to older calls; an architecture outside the profile kills the process.
//!
//! Everything here is a pure function: it runs before the container's process exists, on each start of one, so
//! it takes tens of microseconds. Nothing here knows of namespaces, processes or the installing of a filter.

mod action;
mod architecture;
mod assembler;
mod conditions;
mod hash;
mod rules;
mod supported;
mod table;
#[cfg(test)]
#[expect(clippy::cast_possible_truncation, reason = "tests")]
mod tests;

pub use architecture::Architecture;
pub use assembler::Instruction;
pub use supported::{ACTIONS, ARCHITECTURES, FLAGS, OPERATORS};
pub use table::Call;

use action::Verdict;
use architecture::Audit;
use assembler::{Assembler, Compare, Target};
use conditions::Width;
use rules::{Decision, Range, Rules};

use crate::spec::LinuxSeccomp;

/// The most instructions that the kernel takes (`BPF_MAXINSNS`).
pub const MAX_INSTRUCTIONS: usize = 4096;

/// Where `seccomp_data` holds the call's number and its architecture.
const NUMBER_OFFSET: u32 = 0;
const ARCHITECTURE_OFFSET: u32 = 4;

const FLAG_TSYNC: u32 = 1;
const FLAG_LOG: u32 = 1 << 1;
const FLAG_SPEC_ALLOW: u32 = 1 << 2;
const FLAG_NEW_LISTENER: u32 = 1 << 3;
const FLAG_TSYNC_ESRCH: u32 = 1 << 4;
const FLAG_WAIT_KILLABLE_RECV: u32 = 1 << 5;

/// Why a profile gives no program.
#[derive(Debug, thiserror::Error)]
pub enum SeccompError {
    /// A field holds what cannot be carried out.
    #[error("linux.seccomp.{field}: {reason}")]
    Refused {
        /// The field's path below `linux.seccomp`.
        field: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The program is longer than the kernel takes.
    #[error(
        "linux.seccomp: the profile makes a filter of {0} instructions, the kernel takes {MAX_INSTRUCTIONS}"
    )]
    TooLong(usize),
}

impl SeccompError {
    fn refused(field: String, reason: &'static str) -> Self {
        Self::Refused { field, reason }
    }
}

/// A filter ready to be installed.
#[derive(Clone, Debug)]
pub struct Program {
    /// What the kernel runs at each system call, 1 to 4,096 instructions.
    pub instructions: Vec<Instruction>,
    /// The flags of `seccomp(2)` to install it with.
    pub flags: u32,
    /// Whether installing it answers with a descriptor that the listener must be sent.
    pub notifies: bool,
}

/// Makes the program of a profile for the machine that this program was built for.
///
/// # Errors
///
/// As [`compile_for`].
pub fn compile(profile: &LinuxSeccomp<'_>) -> Result<Program, SeccompError> {
    compile_for(profile, Architecture::NATIVE)
}

/// Makes the program of a profile for a machine of the architecture `native`.
///
/// # Errors
///
/// A profile that cannot be carried out exactly is refused, and one that makes too long a program.
pub fn compile_for(profile: &LinuxSeccomp<'_>, native: Architecture) -> Result<Program, SeccompError> {
    let default = action::default_verdict(profile)?;
    let mut rules = Rules::new(&profile.syscalls, default, profile.default_errno_ret)?;
    let notifies = rules.matches.iter().any(|found| found.verdict.notifies());
    let flags = install_flags(profile, notifies)?;

    let mut assembler = Assembler::with_capacity(768);
    let mut entry = Target::Return(Verdict::KILL_PROCESS);
    for (audit, ranges) in blocks(profile, native, &mut rules)?.iter().rev() {
        let width = if audit.has_wide_arguments() {
            Width::Wide
        } else {
            Width::Narrow
        };
        let tree = tree(&mut assembler, ranges, &rules, width);
        let block = assembler.load(NUMBER_OFFSET, tree);
        entry = assembler.branch(Compare::Equal, audit.0, block, entry);
    }
    entry = assembler.load(ARCHITECTURE_OFFSET, entry);
    let instructions = assembler.finish(entry);
    if instructions.len() > MAX_INSTRUCTIONS {
        return Err(SeccompError::TooLong(instructions.len()));
    }
    Ok(Program {
        instructions,
        flags,
        notifies,
    })
}

/// The ranges of each architecture of the filter, native first.
fn blocks(
    profile: &LinuxSeccomp<'_>,
    native: Architecture,
    rules: &mut Rules,
) -> Result<Vec<(Audit, Vec<Range>)>, SeccompError> {
    let mut blocks: Vec<(Audit, Vec<Range>)> = Vec::with_capacity(3);
    let mut done = Vec::with_capacity(3);
    let mut listed = vec![native];
    for (index, name) in profile.architectures.iter().enumerate() {
        let unknown =
            || SeccompError::refused(format!("architectures[{index}]"), "there is no such architecture");
        listed.push(Architecture::named(name).ok_or_else(unknown)?);
    }
    for architecture in listed {
        let Some(audit) = architecture.audit().filter(|_| architecture.runs_on(native)) else {
            continue;
        };
        if done.contains(&architecture) {
            continue;
        }
        done.push(architecture);
        let ranges = rules.ranges(architecture);
        match blocks.iter_mut().find(|(known, _)| *known == audit) {
            Some((_, known)) => join_x32(known, ranges),
            None => blocks.push((audit, ranges)),
        }
    }
    Ok(blocks)
}

/// Puts the numbers of x32 in the place where x86-64's end.
fn join_x32(known: &mut Vec<Range>, x32: Vec<Range>) {
    let Some(first) = x32.first().map(|range| range.first) else {
        return;
    };
    known.retain(|range| range.first < first);
    known.extend(x32);
}

/// Finds a number's range in a balanced tree of comparisons.
fn tree(assembler: &mut Assembler, ranges: &[Range], rules: &Rules, width: Width) -> Target {
    let (left, right) = ranges.split_at(ranges.len() / 2);
    match (left, right) {
        (_, []) => Target::Return(Verdict::KILL_PROCESS),
        ([], [only, ..]) => leaf(assembler, &only.decision, rules, width),
        (_, [middle, ..]) => {
            let above = tree(assembler, right, rules, width);
            let below = tree(assembler, left, rules, width);
            assembler.branch(Compare::GreaterOrEqual, middle.first, above, below)
        }
    }
}

fn leaf(assembler: &mut Assembler, decision: &Decision, rules: &Rules, width: Width) -> Target {
    match decision {
        Decision::Return(verdict) => Target::Return(*verdict),
        Decision::FirstOf(indexes, fallback) => {
            let matches: Vec<_> = indexes
                .iter()
                .filter_map(|&index| rules.matches.get(index))
                .collect();
            assembler.first_of(matches.into_iter(), width, Target::Return(*fallback))
        }
    }
}

fn install_flags(profile: &LinuxSeccomp<'_>, notifies: bool) -> Result<u32, SeccompError> {
    let has_path = profile
        .listener_path
        .as_ref()
        .is_some_and(|path| !path.is_empty());
    let has_metadata = profile
        .listener_metadata
        .as_ref()
        .is_some_and(|text| !text.is_empty());
    if notifies && !has_path {
        return Err(SeccompError::refused(
            "listenerPath".to_owned(),
            "SCMP_ACT_NOTIFY needs a listener",
        ));
    }
    if has_metadata && !has_path {
        return Err(SeccompError::refused(
            "listenerMetadata".to_owned(),
            "there is no listenerPath to send it to",
        ));
    }
    let Some(asked) = profile.flags.as_deref() else {
        return Ok(FLAG_SPEC_ALLOW | if notifies { FLAG_NEW_LISTENER } else { 0 });
    };
    let mut flags = if notifies { FLAG_NEW_LISTENER } else { 0 };
    for (index, flag) in asked.iter().enumerate() {
        flags |= match &**flag {
            // With a listener the kernel needs another way to say that a thread could not follow.
            "SECCOMP_FILTER_FLAG_TSYNC" if notifies => FLAG_TSYNC | FLAG_TSYNC_ESRCH,
            "SECCOMP_FILTER_FLAG_TSYNC" => FLAG_TSYNC,
            "SECCOMP_FILTER_FLAG_LOG" => FLAG_LOG,
            "SECCOMP_FILTER_FLAG_SPEC_ALLOW" => FLAG_SPEC_ALLOW,
            // The kernel knows it beside a listener alone; without one there is nothing to wait for.
            "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV" if notifies => FLAG_WAIT_KILLABLE_RECV,
            "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV" => 0,
            _ => {
                return Err(SeccompError::refused(
                    format!("flags[{index}]"),
                    "there is no such flag",
                ));
            }
        };
    }
    Ok(flags)
}
