//! Conditions on arguments: 64 bits compared in two loads of 32.

use super::{
    assembler::{Assembler, Compare, Target},
    rules::Match,
};
use crate::spec::seccomp::{LinuxSeccompArg, SeccompOperator};

/// Where the six arguments begin in `seccomp_data`.
const ARGUMENTS_OFFSET: u32 = 16;
const ARGUMENT_SIZE: u32 = 8;

/// How an architecture passes arguments.
#[derive(Clone, Copy, Debug)]
pub(super) enum Width {
    /// Only the lower half of an argument and of what it is compared with counts.
    Narrow,
    Wide,
}

/// One half of an argument.
#[derive(Clone, Copy)]
struct Half {
    offset: u32,
    value: u32,
    mask: u32,
}

impl Assembler {
    /// The first of `matches` that holds, else `otherwise`.
    pub(super) fn first_of<'m>(
        &mut self,
        matches: impl DoubleEndedIterator<Item = &'m Match>,
        width: Width,
        otherwise: Target,
    ) -> Target {
        let mut fail = otherwise;
        for found in matches.rev() {
            let pass = Target::Return(found.verdict);
            for all in found.alternatives.iter().rev() {
                let mut next = pass;
                for condition in all.iter().rev() {
                    next = self.condition(condition, width, next, fail);
                }
                fail = next;
            }
        }
        fail
    }

    fn condition(&mut self, condition: &LinuxSeccompArg, width: Width, pass: Target, fail: Target) -> Target {
        let (compare, pass, fail) = match condition.op {
            SeccompOperator::EqualTo | SeccompOperator::MaskedEqual => (Compare::Equal, pass, fail),
            SeccompOperator::NotEqual => (Compare::Equal, fail, pass),
            SeccompOperator::GreaterThan => (Compare::Greater, pass, fail),
            SeccompOperator::LessEqual => (Compare::Greater, fail, pass),
            SeccompOperator::GreaterEqual => (Compare::GreaterOrEqual, pass, fail),
            SeccompOperator::LessThan => (Compare::GreaterOrEqual, fail, pass),
        };
        let (low, high) = halves(condition);
        let after = self.half(low, compare, pass, fail);
        match (width, compare) {
            (Width::Narrow, _) => after,
            (Width::Wide, Compare::Equal) => self.half(high, Compare::Equal, after, fail),
            // A greater upper half decides alone, an equal one leaves it to the lower.
            (Width::Wide, Compare::Greater | Compare::GreaterOrEqual) => {
                let equal = self.branch(Compare::Equal, high.value, after, fail);
                let decided = self.branch(Compare::Greater, high.value, pass, equal);
                self.load(high.offset, decided)
            }
        }
    }

    fn half(&mut self, half: Half, compare: Compare, pass: Target, fail: Target) -> Target {
        if half.mask == 0 {
            // Nothing is left to compare: zero equals zero.
            return pass;
        }
        let decided = self.branch(compare, half.value, pass, fail);
        let masked = if half.mask == u32::MAX {
            decided
        } else {
            self.and(half.mask, decided)
        };
        self.load(half.offset, masked)
    }
}

/// The lower and the upper half.
fn halves(condition: &LinuxSeccompArg) -> (Half, Half) {
    let offset = ARGUMENTS_OFFSET + condition.index * ARGUMENT_SIZE;
    let (value, mask) = match condition.op {
        SeccompOperator::MaskedEqual => (condition.value_two & condition.value, condition.value),
        _ => (condition.value, u64::MAX),
    };
    let (low_value, high_value) = split(value);
    let (low_mask, high_mask) = split(mask);
    // Every architecture with a table is little-endian.
    (
        Half {
            offset,
            value: low_value,
            mask: low_mask,
        },
        Half {
            offset: offset + 4,
            value: high_value,
            mask: high_mask,
        },
    )
}

fn split(value: u64) -> (u32, u32) {
    let [a, b, c, d, e, f, g, h] = value.to_le_bytes();
    (u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h]))
}
