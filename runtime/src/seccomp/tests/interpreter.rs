//! A classic BPF machine with the instructions that the kernel allows in a filter and the generator writes.

use super::super::Instruction;

/// What a filter sees of a call (`struct seccomp_data`).
#[derive(Clone, Copy, Debug)]
pub(super) struct Data {
    pub(super) number: u32,
    pub(super) architecture: u32,
    pub(super) arguments: [u64; 6],
}

impl Data {
    fn word(&self, offset: u32) -> u32 {
        let mut bytes = Vec::new();
        bytes.extend(self.number.to_le_bytes());
        bytes.extend(self.architecture.to_le_bytes());
        bytes.extend(0_u64.to_le_bytes());
        for argument in self.arguments {
            bytes.extend(argument.to_le_bytes());
        }
        let start = offset as usize;
        assert!(start.is_multiple_of(4), "the kernel loads aligned words alone");
        u32::from_le_bytes(bytes[start..start + 4].try_into().unwrap())
    }
}

/// Runs the program and returns its verdict.
///
/// Panics where the kernel would refuse the program: an instruction it doesn't have, a jump past the end.
pub(super) fn run(program: &[Instruction], data: &Data) -> u32 {
    let mut accumulator = 0;
    let mut position = 0;
    loop {
        let instruction = program[position];
        position += 1;
        let jump = |holds: bool| usize::from(if holds { instruction.jt } else { instruction.jf });
        match instruction.code {
            0x20 => accumulator = data.word(instruction.k),
            0x54 => accumulator &= instruction.k,
            0x05 => position += instruction.k as usize,
            0x15 => position += jump(accumulator == instruction.k),
            0x25 => position += jump(accumulator > instruction.k),
            0x35 => position += jump(accumulator >= instruction.k),
            0x06 => return instruction.k,
            code => panic!("instruction {code:#x} at {}", position - 1),
        }
    }
}
