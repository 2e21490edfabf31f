//! A filter program, written from its end to its beginning.
//!
//! Jumps of classic BPF go forward only. Written backwards, a jump's target is always there already and its
//! distance known; where a conditional jump's eight bits don't reach, an unconditional one is put in between.

use super::action::Verdict;

/// One instruction, as the kernel reads it.
pub type Instruction = libc::sock_filter;

pub(super) const LOAD: u16 = 0x20;
pub(super) const AND: u16 = 0x54;
pub(super) const JUMP: u16 = 0x05;
pub(super) const RETURN: u16 = 0x06;

/// The comparison of a conditional jump.
#[derive(Clone, Copy, Debug)]
#[repr(u16)]
pub(super) enum Compare {
    Equal = 0x15,
    Greater = 0x25,
    GreaterOrEqual = 0x35,
}

/// The farthest a conditional jump is aimed; one less than it reaches, since putting a jump in between for its
/// other branch moves it by one.
const REACH: usize = 254;

/// Where to go on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Target {
    /// At an instruction, counted from the end of the program, its own included.
    At(usize),
    /// At any instruction that returns this.
    Return(Verdict),
}

/// The program so far, last instruction first.
#[derive(Debug, Default)]
pub(super) struct Assembler {
    reversed: Vec<Instruction>,
    /// The nearest place that returns each verdict.
    returns: Vec<(Verdict, usize)>,
}

impl Assembler {
    pub(super) fn with_capacity(instructions: usize) -> Self {
        Self {
            reversed: Vec::with_capacity(instructions),
            returns: Vec::with_capacity(8),
        }
    }

    /// Loads 32 bits of `seccomp_data` and goes on at `next`.
    pub(super) fn load(&mut self, offset: u32, next: Target) -> Target {
        self.fall_into(next);
        self.push(LOAD, offset)
    }

    /// Masks the loaded value and goes on at `next`.
    pub(super) fn and(&mut self, mask: u32, next: Target) -> Target {
        self.fall_into(next);
        self.push(AND, mask)
    }

    /// Goes on at `yes` or at `no`.
    pub(super) fn branch(&mut self, compare: Compare, operand: u32, yes: Target, no: Target) -> Target {
        if yes == no {
            return yes;
        }
        let no = self.within_reach(no);
        let yes = self.within_reach(yes);
        let code = compare as u16;
        // Both distances fit: `within_reach` keeps them below 256.
        let jump_true = u8::try_from(self.distance(yes)).unwrap_or(u8::MAX);
        let jump_false = u8::try_from(self.distance(no)).unwrap_or(u8::MAX);
        self.reversed.push(Instruction {
            code,
            jt: jump_true,
            jf: jump_false,
            k: operand,
        });
        Target::At(self.reversed.len())
    }

    /// The program, the entry being the instruction written last.
    pub(super) fn finish(mut self, entry: Target) -> Vec<Instruction> {
        self.fall_into(entry);
        self.reversed.reverse();
        self.reversed
    }

    fn push(&mut self, code: u16, operand: u32) -> Target {
        self.reversed.push(Instruction {
            code,
            jt: 0,
            jf: 0,
            k: operand,
        });
        Target::At(self.reversed.len())
    }

    /// Makes the next instruction written come directly before `target`.
    fn fall_into(&mut self, target: Target) {
        match target {
            Target::At(position) if position == self.reversed.len() => {}
            Target::At(position) => self.jump(position),
            Target::Return(verdict) => self.write_return(verdict),
        }
    }

    fn within_reach(&mut self, target: Target) -> usize {
        match target {
            Target::At(position) if self.distance(position) <= REACH => position,
            Target::At(position) => {
                self.jump(position);
                self.reversed.len()
            }
            Target::Return(verdict) => {
                let known = self
                    .returns
                    .iter()
                    .find(|&&(known, _)| known == verdict)
                    .map(|&(_, position)| position);
                match known {
                    Some(position) if self.distance(position) <= REACH => position,
                    _ => {
                        self.write_return(verdict);
                        self.reversed.len()
                    }
                }
            }
        }
    }

    /// Instructions between the next one written and the one at `position`.
    fn distance(&self, position: usize) -> usize {
        self.reversed.len() - position
    }

    fn jump(&mut self, position: usize) {
        // A program that outgrows 32 bits has long outgrown the kernel's limit, which the caller checks.
        let operand = u32::try_from(self.distance(position)).unwrap_or(u32::MAX);
        self.push(JUMP, operand);
    }

    fn write_return(&mut self, verdict: Verdict) {
        self.push(RETURN, verdict.0);
        let position = self.reversed.len();
        match self.returns.iter_mut().find(|(known, _)| *known == verdict) {
            Some(entry) => entry.1 = position,
            None => self.returns.push((verdict, position)),
        }
    }
}
